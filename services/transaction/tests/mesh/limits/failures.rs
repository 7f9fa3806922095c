//! What is given back, what is kept, and what happens when nothing can be read.

use std::time::Duration;

use bursar_contracts::transaction::v1::{
    LimitVelocity, LimitedMovement, PutLimitRuleRequest, TransactionState,
};
use serde_json::json;
use tonic::Code;

use super::{exceeded, mine, put, rule, try_put};
use crate::support::calls::{refusal, told, transfer, withdrawal};
use crate::support::person::Person;
use crate::support::wire::Mode;
use crate::support::{Mesh, away_from_midnight};

/// A deadline that a test can wait for.
const SHORT: Duration = Duration::from_secs(4);

fn daily(minor: i64) -> PutLimitRuleRequest {
    PutLimitRuleRequest {
        daily_minor: Some(minor),
        monthly_minor: Some(minor),
        ..rule()
    }
}

/// What a user has used today and this month of one kind of movement.
async fn used(mesh: &Mesh, person: &Person<'_>, movement: LimitedMovement) -> (i64, i64) {
    let limits = mine(mesh, person, movement).await;
    let (daily, monthly) = (limits.daily, limits.monthly);
    (
        daily.expect("it is limited").used_minor,
        monthly.expect("it is limited").used_minor,
    )
}

/// A transfer that fails gives back what it used, once: what it left can be used to
/// the last unit and no further. An attempt counts for how often, failed or not.
#[tokio::test]
async fn what_fails_gives_back_once() {
    away_from_midnight().await;
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(100).await, bob.wallet().await);
    put(&mesh, daily(500)).await;
    for _ in 0..3 {
        let failed = alice.transfer(transfer(&from, &to, 400)).await;
        let failed = failed.expect_err("there is not enough");
        assert_eq!(refusal(&failed).1, "INSUFFICIENT_FUNDS");
        assert_eq!(used(&mesh, &alice, LimitedMovement::Transfer).await, (0, 0));
    }
    let done = alice.transfer(transfer(&from, &to, 100)).await;
    done.expect("nothing is used");
    assert_eq!(
        used(&mesh, &alice, LimitedMovement::Transfer).await,
        (100, 100)
    );
    let often = PutLimitRuleRequest {
        velocity: Some(LimitVelocity {
            max_count: 4,
            window_seconds: 3_600,
        }),
        ..daily(500)
    };
    put(&mesh, often).await;
    let refused = alice.transfer(transfer(&from, &to, 1)).await;
    let (reason, _) = exceeded(&refused.expect_err("four attempts were made"));
    assert_eq!(reason, "VELOCITY_LIMIT_EXCEEDED");
    mesh.verify().await;
}

/// While a transfer waits for the ledger it keeps what it has reserved; recovery, which
/// ends it as failed, gives that back once.
#[tokio::test]
async fn recovery_gives_back_once() {
    away_from_midnight().await;
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(100).await, bob.wallet().await);
    put(&mesh, daily(500)).await;
    mesh.to_wallet.set(Mode::Cut);
    let away = alice
        .transfer_within(transfer(&from, &to, 400), "k", SHORT)
        .await
        .expect_err("the ledger is away");
    let id = told(&away).transaction_id.expect("it is recorded");
    assert_eq!(
        used(&mesh, &alice, LimitedMovement::Transfer).await,
        (400, 400)
    );
    let refused = alice.transfer(transfer(&from, &to, 101)).await;
    let (_, metadata) = exceeded(&refused.expect_err("it is reserved"));
    assert_eq!((&*metadata["used"], &*metadata["left"]), ("400", "100"));
    mesh.to_wallet.set(Mode::Whole);
    mesh.let_leases_lapse().await;
    mesh.reaches(&id, TransactionState::Failed).await;
    assert_eq!(used(&mesh, &alice, LimitedMovement::Transfer).await, (0, 0));
    mesh.verify().await;
}

/// A payout that is declined gives back; one whose outcome is not known does not, and
/// neither does one that was made.
#[tokio::test]
async fn payouts_give_back_only_when_they_fail() {
    away_from_midnight().await;
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let wallet = alice.funded(1_000).await;
    put(&mesh, daily(500)).await;
    mesh.fault(json!({"operation": "payout", "kind": "decline", "decline_code": "account_closed"}))
        .await;
    let declined = alice.withdraw(withdrawal(&wallet, 400)).await;
    assert_eq!(
        refusal(&declined.expect_err("declined")).1,
        "PROVIDER_DECLINED"
    );
    let withdrawn = || used(&mesh, &alice, LimitedMovement::Withdrawal);
    assert_eq!(withdrawn().await, (0, 0));
    mesh.fault(json!({"operation": "payout", "kind": "slow", "delay_ms": 3_000}))
        .await;
    let unknown = alice.withdraw(withdrawal(&wallet, 400)).await;
    let unknown = unknown.expect("an answer all the same");
    assert_eq!(withdrawn().await, (400, 400));
    mesh.reaches(&unknown.transaction_id, TransactionState::Completed)
        .await;
    assert_eq!(withdrawn().await, (400, 400));
    mesh.verify().await;
}

/// A refund uses no limit and gives none back.
#[tokio::test]
async fn refunds_leave_limits_alone() {
    use bursar_contracts::transaction::v1::CreateRefundRequest;

    away_from_midnight().await;
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    put(&mesh, daily(500)).await;
    let done = alice.transfer(transfer(&from, &to, 500)).await;
    let done = done.expect("it reaches the limit");
    let request = CreateRefundRequest {
        transaction_id: done.transaction_id,
        ..CreateRefundRequest::default()
    };
    let refunded = mesh.client().create_refund(bob.request(request)).await;
    refunded.expect("who received it sends it back");
    assert_eq!(
        used(&mesh, &alice, LimitedMovement::Transfer).await,
        (500, 500)
    );
    assert_eq!(used(&mesh, &bob, LimitedMovement::Transfer).await, (0, 0));
    mesh.verify().await;
}

/// What was moved before the first rule counts, and what was under way then and fails
/// later is given back: nothing is counted twice and nothing is missed.
#[tokio::test]
async fn a_first_rule_counts_what_was_before() {
    away_from_midnight().await;
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(300).await, bob.wallet().await);
    let done = alice.transfer(transfer(&from, &to, 100)).await;
    done.expect("there are no rules");
    let failed = alice.transfer(transfer(&from, &to, 10_000)).await;
    failed.expect_err("there is not enough");
    mesh.to_wallet.set(Mode::Cut);
    let away = alice
        .transfer_within(transfer(&from, &to, 250), "k", SHORT)
        .await
        .expect_err("the ledger is away");
    let id = told(&away).transaction_id.expect("it is recorded");
    assert_eq!(
        mesh.count("SELECT count(*) FROM limit_usage").await,
        0,
        "nothing is counted while there are no rules"
    );

    put(&mesh, daily(400)).await;
    assert_eq!(
        used(&mesh, &alice, LimitedMovement::Transfer).await,
        (350, 350)
    );
    let refused = alice.transfer(transfer(&from, &to, 51)).await;
    let refused = refused.expect_err("it exceeds the limit");
    assert_eq!(exceeded(&refused).1["used"], "350");
    mesh.to_wallet.set(Mode::Whole);
    let done = alice.transfer(transfer(&from, &to, 50)).await;
    done.expect("it reaches the limit");
    mesh.let_leases_lapse().await;
    // At most 200 are left of 300, and 250 are asked for.
    mesh.reaches(&id, TransactionState::Failed).await;
    assert_eq!(
        used(&mesh, &alice, LimitedMovement::Transfer).await,
        (150, 150)
    );
    mesh.verify().await;
}

/// While the rules cannot be read nothing is recorded and nothing moves; the same key
/// does once they can.
#[tokio::test]
async fn without_rules_nothing_moves() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let owner = async |sql: &'static str| {
        let done = sqlx::query(sql).execute(&mesh.database.owner).await;
        done.expect("the owner may rename tables");
    };
    for table in ["limit_rules", "limit_usage"] {
        put(&mesh, daily(500)).await;
        let (away, back) = match table {
            "limit_rules" => (
                "ALTER TABLE limit_rules RENAME TO away",
                "ALTER TABLE away RENAME TO limit_rules",
            ),
            _ => (
                "ALTER TABLE limit_usage RENAME TO away",
                "ALTER TABLE away RENAME TO limit_usage",
            ),
        };
        owner(away).await;
        let request = transfer(&from, &to, 100);
        let refused = alice.transfer_with(request.clone(), table).await;
        let refused = told(&refused.expect_err("the limits are not known"));
        assert_eq!(
            (refused.code, &*refused.reason),
            (Code::Unavailable, "LIMITS_UNREADABLE")
        );
        assert_eq!(refused.transaction_id, None);
        owner(back).await;
        let before = bob.balance(&to).await.0;
        let done = alice.transfer_with(request, table).await;
        done.expect("the same key goes on");
        assert_eq!(bob.balance(&to).await, (before + 100, 0));
    }
    assert_eq!(
        mesh.count("SELECT count(*) FROM transactions WHERE kind = 'transfer'")
            .await,
        2
    );
    mesh.verify().await;
}

/// A first rule that is put while many transfers are being recorded misses none of
/// them: what is used is what was moved, and the limit holds from then on.
#[tokio::test]
async fn a_first_rule_amid_transfers_misses_none() {
    away_from_midnight().await;
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(10_000).await, bob.wallet().await);
    let transfers = (0..60).map(|_| alice.transfer(transfer(&from, &to, 10)));
    let putting = async {
        loop {
            match try_put(&mesh, daily(300)).await {
                Ok(rule) => return rule,
                Err(status) => assert!(told(&status).retries, "{status:?}"),
            }
        }
    };
    let (made, _) = tokio::join!(futures::future::join_all(transfers), putting);
    let made = made.iter().filter(|tried| tried.is_ok()).count();
    let moved = 10 * i64::try_from(made).expect("they are few");
    assert_eq!(bob.balance(&to).await, (moved, 0));
    assert_eq!(
        used(&mesh, &alice, LimitedMovement::Transfer).await,
        (moved, moved)
    );
    for _ in made..30 {
        let done = alice.transfer(transfer(&from, &to, 10)).await;
        done.expect("the limit is not reached");
    }
    let refused = alice.transfer(transfer(&from, &to, 1)).await;
    let (reason, _) = exceeded(&refused.expect_err("the limit is reached"));
    assert_eq!(reason, "TIER_DAILY_LIMIT_EXCEEDED");
    mesh.verify().await;
}

/// A sum that is wrong is found, and right again once its row is deleted.
#[tokio::test]
async fn a_wrong_sum_is_found_and_mended() {
    away_from_midnight().await;
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    put(&mesh, daily(500)).await;
    let done = alice.transfer(transfer(&from, &to, 100)).await;
    done.expect("it is within the limit");
    mesh.verify().await;
    let rules = bursar_transaction::definition().invariants;
    let rule = rules
        .iter()
        .find(|rule| rule.name.starts_with("what is used of limits"))
        .expect("there is such a rule");
    for (statement, found) in [
        ("UPDATE limit_usage SET used_minor = used_minor + 1", 2),
        ("UPDATE limit_usage SET used_minor = 100, movements = 2", 2),
        ("DELETE FROM limit_usage WHERE period = 'day'", 0),
    ] {
        let owner = &mesh.database.owner;
        let done = sqlx::query(statement).execute(owner).await;
        done.expect("the owner may change rows");
        let offending = sqlx::query(rule.sql).fetch_all(owner).await;
        assert_eq!(offending.expect("a query").len(), found, "{statement}");
        if found == 2 {
            let right = "UPDATE limit_usage SET used_minor = 100, movements = 1";
            let done = sqlx::query(right).execute(owner).await;
            done.expect("the owner may change rows");
        }
    }
    let refused = alice.transfer(transfer(&from, &to, 401)).await;
    let (_, metadata) = exceeded(&refused.expect_err("what was moved counts"));
    assert_eq!(metadata["used"], "100");
    let done = alice.transfer(transfer(&from, &to, 400)).await;
    done.expect("it reaches the limit");
    mesh.verify().await;
}

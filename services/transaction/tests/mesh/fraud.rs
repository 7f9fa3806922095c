//! Fraud rules over the real service: what they stop, what they count, and when they
//! count.

use bursar_contracts::transaction::v1::bulk_service_client::BulkServiceClient;
use bursar_contracts::transaction::v1::transaction_service_client::TransactionServiceClient;
use bursar_contracts::transaction::v1::{
    BulkTransferMode, BulkTransferOrder, CreateBulkTransferRequest, FraudOutcome, FraudRuleDraft,
    FraudRuleMode, Transaction, TransactionState,
};
use bursar_status::StatusExt;
use bursar_testkit::TestService;
use futures::future::join_all;
use tonic::{Code, Status};

use crate::support::Mesh;
use crate::support::calls::{is_replayed, refusal, told, transfer, withdrawal};
use crate::support::fraud::{Desk, draft, ready};

const TRANSACTIONS: &str = "SELECT count(*) FROM transactions";

fn denied(status: &Status) {
    let expected = (Code::FailedPrecondition, "FRAUD_DENIED".to_owned());
    assert_eq!(refusal(status), expected);
}

fn shadow(expression: &str) -> FraudRuleDraft {
    FraudRuleDraft {
        mode: FraudRuleMode::Shadow.into(),
        ..draft(expression, FraudOutcome::Deny)
    }
}

/// What a rule denies is refused, not recorded, and refused again in the same words;
/// nothing tells which rule it was.
#[tokio::test]
async fn what_is_denied_is_not_recorded() {
    let mesh = Mesh::start().await;
    let desk = Desk::new(&mesh);
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let before = mesh.count(TRANSACTIONS).await;
    desk.put(
        "no_more_than_500",
        draft("transaction.amount_minor > 500", FraudOutcome::Deny),
    )
    .await;
    let request = transfer(&from, &to, 501);
    let first = alice
        .transfer_with(request.clone(), "k")
        .await
        .expect_err("it is denied");
    denied(&first);
    assert!(!format!("{first:?}").contains("no_more_than_500"));
    let again = alice
        .transfer_with(request, "k")
        .await
        .expect_err("as before");
    assert!(is_replayed(again.metadata()));
    assert_eq!(told(&again), told(&first));
    assert_eq!(mesh.count(TRANSACTIONS).await, before);
    let counts = desk.counts("no_more_than_500").await;
    assert_eq!((counts.active_total, counts.active_last_day), (1, 1));

    denied(
        &alice
            .withdraw(withdrawal(&from, 501))
            .await
            .expect_err("too much"),
    );
    alice
        .transfer(transfer(&from, &to, 500))
        .await
        .expect("not too much");
    assert_eq!(alice.balance(&from).await, (500, 0));
    mesh.verify().await;
}

/// A rule that is made, changed or deleted counts from its answer on, on every instance.
#[tokio::test]
async fn a_change_counts_at_once_everywhere() {
    let mesh = Mesh::start().await;
    let desk = Desk::new(&mesh);
    let other = mesh.another_service().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let passes = async |service: &TestService| {
        let request = alice.request(transfer(&from, &to, 7));
        let mut client = TransactionServiceClient::new(service.channel());
        match client.create_transfer(request).await {
            Ok(_) => true,
            Err(status) => {
                denied(&status);
                false
            }
        }
    };
    assert!(passes(&other).await, "there are no rules");
    let changes = [
        (Some("true"), false),
        (Some("false"), true),
        (Some("transaction.amount_minor == 7"), false),
        (None, true),
        (Some("true"), false),
    ];
    for (change, expected) in changes {
        match change {
            Some(expression) => {
                desk.put("a", draft(expression, FraudOutcome::Deny)).await;
            }
            None => desk.delete("a").await,
        }
        // Rules are changed at the first instance.
        assert_eq!(passes(&other).await, expected, "{change:?}");
        assert_eq!(passes(&mesh.service).await, expected, "{change:?}");
    }
}

/// Shadow rules are counted and decide nothing.
#[tokio::test]
async fn shadow_rules_only_count() {
    let mesh = Mesh::start().await;
    let desk = Desk::new(&mesh);
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    desk.put("all", shadow("transaction.type == 'TRANSFER'"))
        .await;
    desk.put("none", shadow("transaction.amount_minor > 1000"))
        .await;
    desk.put("broken", shadow("1 / user.payments_30_days > 0"))
        .await;
    for _ in 0..3 {
        let paid = alice
            .transfer(transfer(&from, &to, 10))
            .await
            .expect("it goes on");
        assert_eq!(paid.state(), TransactionState::Completed);
    }
    let all = desk.counts("all").await;
    assert_eq!(
        (all.shadow_total, all.shadow_last_day, all.active_total),
        (3, 3, 0)
    );
    let none = desk.counts("none").await;
    assert_eq!((none.shadow_total, none.errors_total), (0, 0));
    let broken = desk.counts("broken").await;
    assert_eq!((broken.shadow_total, broken.errors_total), (0, 3));
    assert_eq!(mesh.count("SELECT count(*) FROM fraud_cases").await, 0);
    mesh.verify().await;
}

/// A back-test finds the very transactions that the live rule found.
#[tokio::test]
async fn a_back_test_says_what_the_rule_said() {
    let mesh = Mesh::start().await;
    let desk = Desk::new(&mesh);
    let (alice, bob, carol) = (mesh.person(), mesh.person(), mesh.person());
    let from = alice.funded(10_000).await;
    let (to, other) = (bob.wallet().await, carol.funded(1_000).await);
    let expression = "user.transfers_last_hour >= 2 && user.transfers_minor_last_hour > 250 \
                      || user.withdrawals_last_day == 1 || user.is_new";
    desk.put("live", draft(expression, FraudOutcome::Review))
        .await;
    desk.put("beside", shadow(expression)).await;
    for minor in [100, 200, 300, 50] {
        alice
            .transfer(transfer(&from, &to, minor))
            .await
            .expect("recorded");
        carol
            .transfer(transfer(&other, &to, 1))
            .await
            .expect("recorded");
    }
    for _ in 0..3 {
        alice
            .withdraw(withdrawal(&from, 10))
            .await
            .expect("recorded");
    }
    bob.transfer(transfer(&to, &from, 1))
        .await
        .expect("recorded");
    let backtest = desk.backtest(expression).await;
    let counts = desk.counts("live").await;
    assert!(counts.active_total > 3, "{counts:?}");
    assert_eq!(
        desk.counts("beside").await.shadow_total,
        counts.active_total
    );
    // The deposits came before the rule and are the users' first transactions.
    let deposits = "SELECT count(*) FROM transactions WHERE kind = 'deposit'";
    let deposits = mesh.count(deposits).await;
    assert_eq!(backtest.matches, counts.active_total + deposits);
    assert_eq!(backtest.transactions, mesh.count(TRANSACTIONS).await);
    assert_eq!((backtest.errors, backtest.is_truncated), (0, false));
    let live: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT 'txn_' || transaction_id::text FROM fraud_hits ORDER BY 1",
    )
    .fetch_all(&mesh.database.pool)
    .await
    .expect("hits can be read");
    let found: Vec<&str> = backtest
        .examples
        .iter()
        .map(|it| &*it.transaction_id)
        .collect();
    for id in &live {
        assert!(found.contains(&id.as_str()), "{id} is not in {found:?}");
    }
}

/// Requests that come at once count each other: of eight no more than two pass, whether
/// they are recorded together, as transfers are, or each by itself.
#[tokio::test(flavor = "multi_thread")]
async fn requests_at_once_count_each_other() {
    let mesh = Mesh::start().await;
    let desk = Desk::new(&mesh);
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let third = "user.transfers_last_hour >= 2 || user.withdrawals_last_hour >= 2";
    desk.put("third", draft(third, FraudOutcome::Deny)).await;
    let passed = |answers: Vec<Result<Transaction, Status>>| {
        let (passed, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        for answer in refused {
            denied(&answer.expect_err("it is one of the refused"));
        }
        passed.len()
    };
    let withdrawals = join_all((0..8).map(|_| alice.withdraw(withdrawal(&from, 10)))).await;
    assert_eq!(passed(withdrawals), 2);
    assert_eq!(alice.balance(&from).await, (980, 0));
    desk.put(
        "third",
        draft("user.transfers_last_hour >= 2", FraudOutcome::Deny),
    )
    .await;
    let transfers = join_all((0..8).map(|_| alice.transfer(transfer(&from, &to, 10)))).await;
    assert_eq!(passed(transfers), 2);
    assert_eq!(bob.balance(&to).await, (20, 0));
    mesh.verify().await;
}

/// A malformed rule is refused with the field and the place of the fault, and so is a
/// change of another version.
#[tokio::test]
async fn malformed_rules_are_refused() {
    let mesh = Mesh::start().await;
    let desk = Desk::new(&mesh);
    for (expression, words) in [
        (
            "user.nope > 1",
            "line 1, column 1: there is no variable `user.nope`",
        ),
        ("payee.is_new &&", "line 1, column"),
        ("transaction.amount_minor", "this is a whole number"),
        ("[1].all(x, x > 0)", "macros"),
    ] {
        let rule = draft(expression, FraudOutcome::Deny);
        let refused = desk
            .put_at("a", rule, 0)
            .await
            .expect_err("it is malformed");
        let told = told(&refused);
        assert_eq!(
            (told.code, &*told.reason),
            (Code::InvalidArgument, "FRAUD_EXPRESSION_INVALID")
        );
        assert_eq!(told.fields, ["rule.expression"]);
        let details = refused.get_error_details();
        let bad = details.bad_request().expect("the field is named");
        let description = &bad.field_violations[0].description;
        assert!(description.contains(words), "{description}");
    }
    assert!(desk.rule("a").await.is_none());
    let rule = || draft("true", FraudOutcome::Allow);
    let first = desk.put_at("a", rule(), 0).await.expect("it is new");
    assert_eq!(first.version, 1);
    for version in [0, 2] {
        let stale = desk
            .put_at("a", rule(), version)
            .await
            .expect_err("it is 1");
        assert_eq!(
            refusal(&stale),
            (Code::Aborted, "FRAUD_RULE_CHANGED".to_owned())
        );
    }
    let second = desk.put_at("a", rule(), 1).await.expect("it is 1");
    assert_eq!(second.version, 2);
    desk.delete("a").await;
    desk.delete("a").await;
    desk.put_at("a", rule(), 0)
        .await
        .expect("it is another rule");
    mesh.verify().await;
}

/// A bulk transfer is screened like its transfers one after the other, and refused as a
/// whole.
#[tokio::test]
async fn a_bulk_transfer_is_refused_as_a_whole() {
    let mesh = Mesh::start().await;
    let desk = Desk::new(&mesh);
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let before = mesh.count(TRANSACTIONS).await;
    let bulk = |count: usize, key: &str| {
        let order = |position: usize| BulkTransferOrder {
            item_key: format!("item-{position}"),
            from_wallet_id: from.clone(),
            to_wallet_id: to.clone(),
            amount: crate::support::calls::euros(10),
            description: String::new(),
        };
        let request = CreateBulkTransferRequest {
            mode: BulkTransferMode::Independent.into(),
            transfers: (0..count).map(order).collect(),
        };
        let request = alice.request_with(request, key);
        let mut client = BulkServiceClient::new(mesh.service.channel());
        async move { client.create_bulk_transfer(request).await }
    };
    desk.put(
        "four",
        draft("user.transfers_last_hour >= 3", FraudOutcome::Review),
    )
    .await;
    let stopped = bulk(5, "a").await.expect_err("the last two need a person");
    let reason = "FRAUD_REVIEW_NEEDED".to_owned();
    assert_eq!(refusal(&stopped), (Code::FailedPrecondition, reason));
    let details = stopped.get_error_details();
    let info = details.error_info().expect("every error has an ErrorInfo");
    assert_eq!(
        info.metadata.get("positions").map(String::as_str),
        Some("3,4")
    );
    desk.put(
        "four",
        draft("user.transfers_last_hour >= 3", FraudOutcome::Deny),
    )
    .await;
    denied(&bulk(4, "b").await.expect_err("the last is denied"));
    let again = bulk(4, "b").await.expect_err("as before");
    assert!(is_replayed(again.metadata()));
    assert_eq!(mesh.count(TRANSACTIONS).await, before);
    bulk(3, "c").await.expect("three are not too many");
    mesh.verify().await;
}

/// The five ready rules stop what they say, and nothing before it.
#[tokio::test]
async fn the_ready_rules_stop_their_patterns() {
    let mesh = Mesh::start().await;
    let desk = Desk::new(&mesh);
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(5_000_000).await, bob.wallet().await);
    let state = async |kind: &str, minor| {
        let paid = match kind {
            "transfer" => alice.transfer(transfer(&from, &to, minor)).await,
            _ => alice.withdraw(withdrawal(&from, minor)).await,
        };
        paid.expect("it is recorded").state()
    };
    // Each by itself: together the first would hide the others.
    for (name, course) in [
        (
            "rapid_withdrawals",
            vec![("withdrawal", 10, 3), ("withdrawal", 10, 0)],
        ),
        (
            "high_value",
            vec![("transfer", 999_999, 1), ("transfer", 1_000_000, 0)],
        ),
        (
            "new_payee_high_value",
            vec![("transfer", 99_999, 1), ("transfer", 100_000, 0)],
        ),
        (
            "many_small_transfers",
            vec![("transfer", 10, 10), ("transfer", 10, 0)],
        ),
    ] {
        desk.put(name, draft(ready(name), FraudOutcome::Review))
            .await;
        for (kind, minor, passes) in course {
            for _ in 0..passes {
                let state = state(kind, minor).await;
                assert_eq!(state, TransactionState::Completed, "{name}: {kind} {minor}");
            }
            if passes == 0 {
                let state = state(kind, minor).await;
                assert_eq!(
                    state,
                    TransactionState::ManualReview,
                    "{name}: {kind} {minor}"
                );
            }
        }
        desk.delete(name).await;
    }
    let name = "dormant_account_wakes";
    desk.put(name, draft(ready(name), FraudOutcome::Review))
        .await;
    assert_eq!(state("transfer", 20_000).await, TransactionState::Completed);
    // All that was is a hundred days ago; an id is the time of its transaction.
    sqlx::query(
        "UPDATE transactions
         SET created_at = created_at - interval '100 days',
             transaction_id = (lpad(to_hex((extract(epoch FROM created_at - interval '100 days')
                 * 1000)::bigint), 12, '0') || right(replace(transaction_id::text, '-', ''), 20))::uuid",
    )
    .execute(&mesh.database.owner)
    .await
    .expect("the owner may change transactions");
    assert_eq!(state("transfer", 10).await, TransactionState::Completed);
    assert_eq!(
        state("transfer", 20_000).await,
        TransactionState::ManualReview
    );
}

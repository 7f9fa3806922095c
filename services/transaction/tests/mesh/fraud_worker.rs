//! The fraud worker, with events that a real relay publishes.

use bursar_contracts::transaction::v1::{
    FraudDecision, FraudOutcome, FraudRuleDraft, FraudStage, TransactionState,
};
use bursar_events::relay::republish;
use bursar_testkit::redis_url;

use crate::support::calls::{deposit, transfer, withdrawal};
use crate::support::fraud::{Desk, draft, ready};
use crate::support::{Mesh, away_from_midnight};

async fn live() -> Mesh {
    let redis = redis_url();
    Mesh::start_with(&[("BURSAR_REDIS_EVENTS_URL", redis.as_str())]).await
}

/// A rule of the stage AFTER opens a case for what is COMPLETED, of which the decision
/// is only recorded; what is delivered again counts once.
#[tokio::test]
async fn a_completed_transaction_is_looked_at_once() {
    away_from_midnight().await;
    let mesh = live().await;
    let desk = Desk::new(&mesh);
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(10_000).await, bob.wallet().await);
    let after = FraudRuleDraft {
        stage: FraudStage::After.into(),
        ..draft("transaction.amount_minor == 400", FraudOutcome::Deny)
    };
    desk.put("later", after).await;
    let paid = alice
        .transfer(transfer(&from, &to, 400))
        .await
        .expect("it is not stopped");
    assert_eq!(paid.state(), TransactionState::Completed);
    mesh.until("SELECT count(*) FROM fraud_cases", 1).await;
    let case = desk.open_case().await;
    assert_eq!(
        (case.stage(), &*case.rule_name),
        (FraudStage::After, "later")
    );
    assert_eq!(case.transaction_id, paid.transaction_id);

    let mut conn = mesh.database.owner.acquire().await.expect("a connection");
    let since = time::OffsetDateTime::UNIX_EPOCH;
    assert!(republish(&mut conn, since).await.expect("they are there") > 0);
    // What comes behind it is handled after it.
    alice
        .transfer(transfer(&from, &to, 7))
        .await
        .expect("there is money");
    let seven = "SELECT count(*) FROM fraud_profile_days WHERE payments = 2";
    mesh.until(seven, 1).await;
    mesh.until("SELECT count(*) FROM outbox_batches", 0).await;
    alice
        .withdraw(withdrawal(&from, 8))
        .await
        .expect("there is money");
    mesh.until("SELECT payments FROM fraud_profile_days", 3)
        .await;
    assert_eq!(
        mesh.count("SELECT sum_minor::bigint FROM fraud_profile_days")
            .await,
        415
    );
    assert_eq!(mesh.count("SELECT count(*) FROM fraud_cases").await, 1);
    assert_eq!(desk.counts("later").await.active_total, 1);

    let decided = desk
        .decide(&case, FraudDecision::Reject)
        .await
        .expect("it is open");
    let transaction = decided.transaction.expect("a response has it");
    assert_eq!(transaction.state(), TransactionState::Completed);
    assert_eq!(transaction.version, paid.version);
    assert_eq!(bob.balance(&to).await, (407, 0));
    mesh.verify().await;
}

/// A payee is new until a transfer to it is COMPLETED; deposits are no payments.
#[tokio::test]
async fn a_payee_becomes_known() {
    away_from_midnight().await;
    let mesh = live().await;
    let desk = Desk::new(&mesh);
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000_000).await, bob.wallet().await);
    let name = "new_payee_high_value";
    desk.put(name, draft(ready(name), FraudOutcome::Review))
        .await;
    let stopped = alice
        .transfer(transfer(&from, &to, 100_000))
        .await
        .expect("recorded");
    assert_eq!(stopped.state(), TransactionState::ManualReview);
    desk.approve().await;
    mesh.until("SELECT count(*) FROM fraud_payees", 1).await;
    let passed = alice
        .transfer(transfer(&from, &to, 100_000))
        .await
        .expect("known");
    assert_eq!(passed.state(), TransactionState::Completed);
    alice
        .deposit(deposit(&from, 5))
        .await
        .expect("the provider takes it");
    mesh.until("SELECT payments FROM fraud_profile_days", 2)
        .await;
    // To somebody else the payee is as new as ever.
    let carol = mesh.person();
    let other = carol.funded(100_000).await;
    let stopped = carol
        .transfer(transfer(&other, &to, 100_000))
        .await
        .expect("recorded");
    assert_eq!(stopped.state(), TransactionState::ManualReview);
    mesh.verify().await;
}

/// Averages are of the whole days before today, in the transaction's currency.
#[tokio::test]
async fn averages_are_of_the_days_before() {
    away_from_midnight().await;
    let mesh = live().await;
    let desk = Desk::new(&mesh);
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(10_000).await, bob.wallet().await);
    for minor in [100, 201] {
        alice
            .transfer(transfer(&from, &to, minor))
            .await
            .expect("there is money");
    }
    mesh.until(
        "SELECT coalesce(max(payments), 0) FROM fraud_profile_days",
        2,
    )
    .await;
    let expression = "user.payments_30_days == 2 && user.average_minor_30_days == 150 \
                      && user.max_minor_30_days == 201";
    desk.put("usual", draft(expression, FraudOutcome::Deny))
        .await;
    alice
        .transfer(transfer(&from, &to, 1))
        .await
        .expect("today does not count");
    mesh.until("SELECT payments FROM fraud_profile_days", 3)
        .await;
    let earlier = |days: i32| {
        let sql = "UPDATE fraud_profile_days SET day = (now() AT TIME ZONE 'UTC')::date - $1,
                       payments = 2, sum_minor = 301";
        sqlx::query(sql).bind(days).execute(&mesh.database.owner)
    };
    for (days, matches) in [(1, true), (30, true), (31, false)] {
        earlier(days).await.expect("the owner may change days");
        let paid = alice.transfer(transfer(&from, &to, 1)).await;
        assert_eq!(paid.is_err(), matches, "{days}");
    }
}

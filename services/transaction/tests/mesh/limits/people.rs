//! What people decide about movements that have reserved something.

use std::time::{Duration, Instant};

use bursar_aip::id::UserId;
use bursar_contracts::transaction::v1::review_service_client::ReviewServiceClient;
use bursar_contracts::transaction::v1::{
    FraudDecision, FraudOutcome, LimitedMovement, PutLimitRuleRequest, ResolveReviewRequest,
    ReviewResolution, TransactionState,
};
use bursar_testkit::with_token;
use uuid::Uuid;

use super::{mine, put, rule};
use crate::support::calls::{deposit, keyed, refusal, transfer};
use crate::support::fraud::{Desk, draft};
use crate::support::person::Person;
use crate::support::wire::Mode;
use crate::support::{Mesh, away_from_midnight};

/// How long a test waits until an operator may decide.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

async fn daily(mesh: &Mesh, minor: i64) {
    let daily = PutLimitRuleRequest {
        daily_minor: Some(minor),
        ..rule()
    };
    put(mesh, daily).await;
}

async fn used(mesh: &Mesh, person: &Person<'_>, movement: LimitedMovement) -> i64 {
    let daily = mine(mesh, person, movement).await.daily;
    daily.expect("it is limited").used_minor
}

/// What fraud screening has stopped keeps what it has reserved; approved it counts once,
/// rejected it gives that back.
#[tokio::test]
async fn what_is_stopped_keeps_until_it_is_decided() {
    away_from_midnight().await;
    let mesh = Mesh::start().await;
    let desk = Desk::new(&mesh);
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    daily(&mesh, 500).await;
    let review = draft("transaction.amount_minor > 5", FraudOutcome::Review);
    desk.put("all", review).await;
    let moved = || used(&mesh, &alice, LimitedMovement::Transfer);

    let stopped = alice.transfer(transfer(&from, &to, 400)).await;
    let stopped = stopped.expect("it is recorded");
    assert_eq!(stopped.state(), TransactionState::ManualReview);
    assert_eq!(moved().await, 400);
    let refused = alice.transfer(transfer(&from, &to, 101)).await;
    assert_eq!(
        refusal(&refused.expect_err("it is reserved")).1,
        "TIER_DAILY_LIMIT_EXCEEDED"
    );
    let case = desk.open_case().await;
    let decided = desk.decide(&case, FraudDecision::Reject).await;
    decided.expect("it is open");
    assert_eq!(moved().await, 0);

    let stopped = alice.transfer(transfer(&from, &to, 500)).await;
    stopped.expect("nothing is used");
    assert_eq!(moved().await, 500);
    desk.approve().await;
    assert_eq!(moved().await, 500);
    assert_eq!(bob.balance(&to).await, (500, 0));
    mesh.verify().await;
}

/// A deposit whose outcome nobody knows keeps what it has reserved; when an operator
/// finds that it has not happened, it gives that back.
#[tokio::test]
async fn an_operators_decision_gives_back() {
    away_from_midnight().await;
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    daily(&mesh, 500).await;
    mesh.to_sandbox.set(Mode::LosesAnswers);
    let unknown = alice.deposit(deposit(&wallet, 400)).await;
    let unknown = unknown.expect("an answer all the same");
    mesh.to_sandbox.set(Mode::Cut);
    assert_eq!(unknown.state(), TransactionState::Unknown);
    assert_eq!(used(&mesh, &alice, LimitedMovement::Deposit).await, 400);

    let give_up = Instant::now() + PATIENCE;
    let operator = mesh.tokens.admin(UserId::generate());
    loop {
        let request = ResolveReviewRequest {
            transaction_id: unknown.transaction_id.clone(),
            resolution: ReviewResolution::Fail.into(),
            reason: "seen in the provider's console".to_owned(),
        };
        let request = keyed(with_token(request, &operator), &Uuid::now_v7().to_string());
        let decided = ReviewServiceClient::new(mesh.service.channel())
            .resolve_review(request)
            .await;
        match decided {
            Ok(_) => break,
            // The provider's window is open yet, or recovery is looking.
            Err(status) => assert!(Instant::now() < give_up, "{status:?}"),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    mesh.reaches(&unknown.transaction_id, TransactionState::Failed)
        .await;
    assert_eq!(used(&mesh, &alice, LimitedMovement::Deposit).await, 0);
    mesh.verify().await;
}

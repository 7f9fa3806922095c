//! Cases: what a person decides about a transaction that was stopped.

use bursar_contracts::transaction::v1::review_service_client::ReviewServiceClient;
use bursar_contracts::transaction::v1::{
    FraudCaseState, FraudDecision, FraudOutcome, FraudStage, ResolveReviewRequest,
    ReviewResolution, TransactionState,
};
use bursar_testkit::with_token;
use tonic::Code;

use crate::support::Mesh;
use crate::support::calls::{deposit, is_replayed, keyed, refusal, transfer, withdrawal};
use crate::support::fraud::{Desk, draft};

/// Stopped before any money moves, and approved: it goes on to its end, once.
#[tokio::test]
async fn what_is_approved_goes_on() {
    let mesh = Mesh::start().await;
    let desk = Desk::new(&mesh);
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    desk.put(
        "all",
        draft("transaction.amount_minor > 5", FraudOutcome::Review),
    )
    .await;

    let request = transfer(&from, &to, 400);
    let stopped = alice
        .transfer_with(request.clone(), "k")
        .await
        .expect("it is recorded")
        .into_inner();
    let of_transfer = stopped.transaction.clone().expect("a response has it");
    assert_eq!(of_transfer.state(), TransactionState::ManualReview);
    assert_eq!(alice.balance(&from).await, (1_000, 0));
    let case = desk.open_case().await;
    assert_eq!(case.transaction_id, of_transfer.transaction_id);
    assert_eq!(case.user_id, alice.id.to_string());
    assert_eq!(
        (case.stage(), &*case.rule_name),
        (FraudStage::Before, "all")
    );
    let amount = case
        .variables
        .iter()
        .find(|it| it.name == "transaction.amount_minor");
    assert_eq!(amount.expect("it was seen").value, "400");
    desk.approve().await;
    assert_eq!(alice.balance(&from).await, (600, 0));
    assert_eq!(bob.balance(&to).await, (400, 0));
    let again = alice.transfer_with(request, "k").await.expect("as before");
    assert!(is_replayed(again.metadata()));
    assert_eq!(again.into_inner(), stopped);

    let paid = alice
        .withdraw(withdrawal(&from, 100))
        .await
        .expect("it is recorded");
    assert_eq!(paid.state(), TransactionState::ManualReview);
    assert_eq!(alice.balance(&from).await, (600, 0));
    let known = mesh.at_provider("payouts", &paid.transaction_id).await;
    assert_eq!(known, None);
    desk.approve().await;
    assert_eq!(alice.balance(&from).await, (500, 0));

    let taken = alice
        .deposit(deposit(&from, 50))
        .await
        .expect("it is recorded");
    assert_eq!(taken.state(), TransactionState::ManualReview);
    desk.approve().await;
    assert_eq!(alice.balance(&from).await, (550, 0));
    assert_eq!(desk.cases(FraudCaseState::Approved).await.len(), 3);
    mesh.verify().await;
}

/// Rejected, it fails without any effect, and stays so.
#[tokio::test]
async fn what_is_rejected_fails_without_effect() {
    let mesh = Mesh::start().await;
    let desk = Desk::new(&mesh);
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    desk.put(
        "all",
        draft("transaction.amount_minor > 5", FraudOutcome::Review),
    )
    .await;
    let stopped = [
        alice.transfer(transfer(&from, &to, 400)).await,
        alice.withdraw(withdrawal(&from, 400)).await,
        alice.deposit(deposit(&from, 400)).await,
    ];
    for stopped in stopped {
        let id = stopped.expect("it is recorded").transaction_id;
        let cases = desk.cases(FraudCaseState::Open).await;
        let case = cases.iter().find(|case| case.transaction_id == id);
        let decided = desk
            .decide(case.expect("it has a case"), FraudDecision::Reject)
            .await
            .expect("it is open");
        let failed = decided.transaction.expect("a response has it");
        assert_eq!(failed.state(), TransactionState::Failed);
        let failure = failed.failure.expect("it says why");
        assert_eq!(failure.reason, "FRAUD_REJECTED");
        assert_eq!(
            decided.case.expect("a response has it").state(),
            FraudCaseState::Rejected
        );
        assert_eq!(mesh.at_provider("payouts", &id).await, None);
        assert_eq!(mesh.at_provider("charges", &id).await, None);
    }
    assert_eq!(alice.balance(&from).await, (1_000, 0));
    assert_eq!(bob.balance(&to).await, (0, 0));
    mesh.verify().await;
}

/// A rule that cannot be evaluated stops what it would have allowed.
#[tokio::test]
async fn a_rule_that_fails_stops() {
    let mesh = Mesh::start().await;
    let desk = Desk::new(&mesh);
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let broken = "transaction.amount_minor / user.payments_30_days > 0";
    desk.put("broken", draft(broken, FraudOutcome::Allow)).await;
    let stopped = alice
        .transfer(transfer(&from, &to, 400))
        .await
        .expect("recorded");
    assert_eq!(stopped.state(), TransactionState::ManualReview);
    assert!(desk.open_case().await.is_rule_error);
    let counts = desk.counts("broken").await;
    assert_eq!((counts.errors_total, counts.active_total), (1, 0));
    desk.approve().await;
    mesh.verify().await;
}

/// Cases are listed page by page, of one user, the oldest first, and shown with their
/// transaction; one that is not there is not found.
#[tokio::test]
async fn cases_are_listed_and_shown() {
    let mesh = Mesh::start().await;
    let desk = Desk::new(&mesh);
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    desk.put("all", draft("true", FraudOutcome::Review)).await;
    let mut stopped = Vec::new();
    for minor in [1, 2, 3] {
        let request = transfer(&from, &to, minor);
        let transfer = alice.transfer(request).await.expect("recorded");
        stopped.push(transfer.transaction_id);
    }
    bob.deposit(deposit(&to, 1)).await.expect("recorded");
    let user = alice.id.to_string();
    let first = desk.page(&user, "").await.expect("a page");
    let second = desk
        .page(&user, &first.next_page_token)
        .await
        .expect("a page");
    assert_eq!(second.next_page_token, "");
    let listed: Vec<_> = first.cases.iter().chain(&second.cases).collect();
    let of: Vec<&str> = listed.iter().map(|case| &*case.transaction_id).collect();
    assert_eq!(of, stopped);
    let elsewhere = desk.page(&bob.id.to_string(), &first.next_page_token).await;
    let refused = elsewhere.expect_err("the token is of another list");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let shown = desk
        .case(&listed[0].case_id)
        .await
        .expect("there is such a case");
    assert_eq!(shown.case.as_ref(), Some(listed[0]));
    let shown = shown.transaction.expect("it has its transaction");
    assert_eq!(shown.transaction_id, stopped[0]);
    let unknown = desk
        .case("fcs_00000000-0000-7000-8000-000000000000")
        .await
        .expect_err("there is no such case");
    assert_eq!(
        refusal(&unknown),
        (Code::NotFound, "FRAUD_CASE_NOT_FOUND".to_owned())
    );
}

/// Of two people who decide at once one wins, and the other is told so; the winner's key
/// answers the same again.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_decisions_one_wins() {
    let mesh = Mesh::start().await;
    let (desk, other) = (Desk::new(&mesh), Desk::new(&mesh));
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    desk.put("all", draft("true", FraudOutcome::Review)).await;
    for _ in 0..3 {
        let stopped = alice
            .transfer(transfer(&from, &to, 10))
            .await
            .expect("recorded");
        let case = desk.open_case().await;
        let (approved, rejected) = tokio::join!(
            desk.decide_with(&case, FraudDecision::Approve, "k"),
            other.decide_with(&case, FraudDecision::Reject, "k"),
        );
        let id = &stopped.transaction_id;
        let (won, lost) = match (approved, rejected) {
            (Ok(won), Err(lost)) => {
                mesh.reaches(id, TransactionState::Completed).await;
                let again = desk.decide_with(&case, FraudDecision::Approve, "k").await;
                assert_eq!(again.expect("as before").get_ref(), won.get_ref());
                (won, lost)
            }
            (Err(lost), Ok(won)) => {
                mesh.reaches(id, TransactionState::Failed).await;
                let again = other.decide_with(&case, FraudDecision::Reject, "k").await;
                assert_eq!(again.expect("as before").get_ref(), won.get_ref());
                (won, lost)
            }
            both => panic!("one wins: {both:?}"),
        };
        assert_ne!(
            won.into_inner().case.expect("set").state(),
            FraudCaseState::Open
        );
        let expected = (Code::FailedPrecondition, "FRAUD_CASE_DECIDED".to_owned());
        assert_eq!(refusal(&lost), expected);
        // The keys of these two are free for the next case.
        sqlx::query("DELETE FROM idempotency_keys WHERE key = 'k'")
            .execute(&mesh.database.owner)
            .await
            .expect("the owner may delete keys");
    }
    mesh.verify().await;
}

/// A case that is gone, or says another thing than its transaction, is found.
#[tokio::test]
async fn planted_breaks_are_found() {
    let mesh = Mesh::start().await;
    let desk = Desk::new(&mesh);
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    desk.put("all", draft("true", FraudOutcome::Review)).await;
    alice
        .transfer(transfer(&from, &to, 10))
        .await
        .expect("recorded");
    mesh.verify().await;
    let rules = bursar_transaction::definition().invariants;
    let rule = rules.iter().find(|rule| rule.sql.contains("fraud_cases"));
    let rule = rule.expect("there is a rule about cases");
    for planted in [
        "DELETE FROM fraud_cases",
        "UPDATE fraud_cases SET transaction_id = gen_random_uuid()",
        "UPDATE fraud_cases
         SET state = 'REJECTED', decided_by = 'x', decided_at = now(), reason = 'x'",
        "UPDATE fraud_cases
         SET state = 'APPROVED', decided_by = 'x', decided_at = now(), reason = 'x'",
    ] {
        let mut conn = mesh.database.owner.begin().await.expect("a connection");
        sqlx::query(planted)
            .execute(&mut *conn)
            .await
            .expect("the break is planted");
        let found = sqlx::query(rule.sql).fetch_all(&mut *conn).await;
        assert!(!found.expect("a query").is_empty(), "{planted}");
        conn.rollback().await.expect("nothing stays");
    }
}

/// The general decision does not go past the case.
#[tokio::test]
async fn the_general_decision_is_refused() {
    let mesh = Mesh::start().await;
    let desk = Desk::new(&mesh);
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    desk.put("all", draft("true", FraudOutcome::Review)).await;
    let stopped = alice
        .transfer(transfer(&from, &to, 10))
        .await
        .expect("recorded");
    let token = mesh.tokens.admin(alice.id);
    for resolution in [ReviewResolution::Retry, ReviewResolution::Fail] {
        let request = ResolveReviewRequest {
            transaction_id: stopped.transaction_id.clone(),
            resolution: resolution.into(),
            reason: "it looks quite all right".to_owned(),
        };
        let request = keyed(with_token(request, &token), "k");
        let refused = ReviewServiceClient::new(mesh.service.channel())
            .resolve_review(request)
            .await
            .expect_err("it has a case");
        let expected = (Code::FailedPrecondition, "FRAUD_CASE_OPEN".to_owned());
        assert_eq!(refusal(&refused), expected);
    }
    assert_eq!(desk.open_case().await.state(), FraudCaseState::Open);
    mesh.verify().await;
}

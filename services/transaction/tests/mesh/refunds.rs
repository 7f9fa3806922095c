//! Refunds and operators' decisions, over the real ledger and the real sandbox
//! provider.

use std::time::Duration;

use bursar_aip::id::UserId;
use bursar_contracts::transaction::v1::review_service_client::ReviewServiceClient;
use bursar_contracts::transaction::v1::{
    CreateRefundRequest, CreateRefundResponse, ListReviewsRequest, ResolveReviewRequest, Review,
    ReviewResolution, Transaction, TransactionState, TransactionType,
};
use bursar_testkit::with_token;
use serde_json::json;
use tonic::{Code, Response, Status};
use uuid::Uuid;

use crate::support::Mesh;
use crate::support::calls::{
    deposit, euros, is_replayed, keyed, refusal, told, transfer, withdrawal,
};
use crate::support::wire::Mode;

/// A deadline that a test can wait for.
const SHORT: Duration = Duration::from_millis(1_500);
/// How long a test waits before it asks again.
const AGAIN: Duration = Duration::from_millis(50);

/// A token with these permissions besides a user's.
fn token(mesh: &Mesh, id: UserId, permissions: &[&str]) -> String {
    let mut claims = bursar_testkit::Tokens::user_claims(id);
    let added = permissions.iter().map(|&text| text.to_owned());
    claims.permissions.extend(added);
    mesh.tokens.mint(claims)
}

pub(crate) fn operator(mesh: &Mesh) -> String {
    let permissions = [
        "refund:create:any",
        "review:list:any",
        "review:resolve:any",
        "transaction:read:any",
    ];
    token(mesh, UserId::generate(), &permissions)
}

fn wanted(id: &str, minor: Option<i64>) -> CreateRefundRequest {
    CreateRefundRequest {
        transaction_id: id.to_owned(),
        amount: minor.and_then(euros),
        description: "goods came back".to_owned(),
    }
}

async fn refund_with(
    mesh: &Mesh,
    token: &str,
    request: CreateRefundRequest,
    key: &str,
) -> Result<Response<CreateRefundResponse>, Status> {
    let request = keyed(with_token(request, token), key);
    mesh.client().create_refund(request).await
}

pub(crate) async fn refund(
    mesh: &Mesh,
    token: &str,
    id: &str,
    minor: Option<i64>,
) -> Result<Transaction, Status> {
    let key = Uuid::now_v7().to_string();
    let response = refund_with(mesh, token, wanted(id, minor), &key).await?;
    let transaction = response.into_inner().transaction;
    Ok(transaction.expect("a response has its transaction"))
}

async fn reviews(mesh: &Mesh, token: &str) -> Vec<Review> {
    let request = ListReviewsRequest {
        min_unknown_seconds: 1,
        ..ListReviewsRequest::default()
    };
    let response = ReviewServiceClient::new(mesh.service.channel())
        .list_reviews(with_token(request, token))
        .await
        .expect("an operator may look");
    response.into_inner().reviews
}

async fn resolve(
    mesh: &Mesh,
    token: &str,
    id: &str,
    resolution: ReviewResolution,
) -> Result<Transaction, Status> {
    let request = ResolveReviewRequest {
        transaction_id: id.to_owned(),
        resolution: resolution.into(),
        reason: "seen in the provider's console".to_owned(),
    };
    let request = keyed(with_token(request, token), &Uuid::now_v7().to_string());
    let response = ReviewServiceClient::new(mesh.service.channel())
        .resolve_review(request)
        .await?;
    let transaction = response.into_inner().transaction;
    Ok(transaction.expect("a response has its transaction"))
}

/// Who received a transfer sends it back, in parts, and no more than it was; who
/// sent it cannot.
#[tokio::test]
async fn a_transfer_is_sent_back_in_parts() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let original = alice.transfer(transfer(&from, &to, 400)).await;
    let original = original.expect("enough").transaction_id;
    let bobs = token(&mesh, bob.id, &["refund:create:own"]);
    let alices = token(&mesh, alice.id, &["refund:create:own"]);

    let hers = refund(&mesh, &alices, &original, None).await;
    assert_eq!(
        refusal(&hers.expect_err("she sent it")),
        (Code::PermissionDenied, "REFUND_NOT_PERMITTED".to_owned())
    );
    let part = refund(&mesh, &bobs, &original, Some(150)).await;
    let part = part.expect("he has it");
    assert_eq!(part.state(), TransactionState::Completed);
    assert_eq!(part.r#type(), TransactionType::Refund);
    assert_eq!(part.original_transaction_id, original);
    assert_eq!((&*part.from_wallet_id, &*part.to_wallet_id), (&*to, &*from));
    assert_eq!(mesh.transaction(&original).await.refunded, euros(150));
    let too_much = refund(&mesh, &bobs, &original, Some(251)).await;
    assert_eq!(
        refusal(&too_much.expect_err("250 are left")),
        (
            Code::FailedPrecondition,
            "REFUND_EXCEEDS_ORIGINAL".to_owned()
        )
    );
    let rest = refund(&mesh, &bobs, &original, None).await;
    assert_eq!(rest.expect("he has it").amount, euros(250));
    assert_eq!(alice.balance(&from).await, (1_000, 0));
    assert_eq!(bob.balance(&to).await, (0, 0));
    let seen = alice.get(&part.transaction_id).await;
    assert!(seen.is_ok(), "it reached her");
    let of_refund = refund(&mesh, &bobs, &part.transaction_id, None).await;
    assert_eq!(
        told(&of_refund.expect_err("final")).reason,
        "NOT_REFUNDABLE"
    );
    mesh.verify().await;
}

/// Ten calls at once for parts of one transfer: what fits is given back, and a
/// key sent again gets its first answer.
#[tokio::test]
async fn concurrent_refunds_never_exceed_the_original() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let original = alice.transfer(transfer(&from, &to, 100)).await;
    let original = original.expect("enough").transaction_id;
    let operator = operator(&mesh);
    let calls = (0..10).map(|_| refund(&mesh, &operator, &original, Some(30)));
    let outcomes = futures::future::join_all(calls).await;
    let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(done, 3);
    assert_eq!(bob.balance(&to).await, (10, 0));

    let last = wanted(&original, Some(10));
    let first = refund_with(&mesh, &operator, last.clone(), "k").await;
    let first = first.expect("10 are left").into_inner();
    let again = refund_with(&mesh, &operator, last, "k").await;
    let again = again.expect("as before");
    assert!(is_replayed(again.metadata()));
    assert_eq!(again.into_inner(), first);
    mesh.verify().await;
}

/// The receiver has spent the money: the refund fails, and what it had reserved
/// can be asked for again.
#[tokio::test]
async fn a_refund_that_the_ledger_refuses_reserves_nothing() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let original = alice.transfer(transfer(&from, &to, 400)).await;
    let original = original.expect("enough").transaction_id;
    bob.transfer(transfer(&to, &from, 300)).await.expect("his");
    let operator = operator(&mesh);
    let failed = refund(&mesh, &operator, &original, None).await;
    let failed = failed.expect_err("100 are there");
    assert_eq!(told(&failed).reason, "INSUFFICIENT_FUNDS");
    assert_eq!(mesh.transaction(&original).await.refunded, None);
    refund(&mesh, &operator, &original, Some(100))
        .await
        .expect("so much is there");
    mesh.verify().await;
}

/// A deposit goes back by its provider, out of the wallet.
#[tokio::test]
async fn a_deposit_goes_back_by_its_provider() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    let taken = alice.deposit(deposit(&wallet, 1_000)).await;
    let original = taken.expect("the provider takes it").transaction_id;
    let operator = operator(&mesh);
    let back = refund(&mesh, &operator, &original, Some(300)).await;
    let back = back.expect("the provider gives it back");
    assert_eq!(back.state(), TransactionState::Completed);
    assert_eq!(back.receivable, None);
    assert_eq!(alice.balance(&wallet).await, (700, 0));
    let at_provider = mesh.at_provider("refunds", &back.transaction_id).await;
    let at_provider = at_provider.expect("the provider knows it");
    assert_eq!(at_provider["amount_minor"], 300);
    assert_eq!(at_provider["charge_reference"], json!(original));
    assert!(alice.get(&back.transaction_id).await.is_ok(), "her wallet");
    let hers = token(&mesh, alice.id, &["refund:create:own"]);
    let refused = refund(&mesh, &hers, &original, None).await;
    assert_eq!(
        told(&refused.expect_err("for operators")).reason,
        "REFUND_NOT_PERMITTED"
    );
    mesh.verify().await;
}

/// A deposit that was spent still goes back: the wallet pays what it has, the rest
/// is a claim of the platform's, and no balance is negative.
#[tokio::test]
async fn a_spent_deposit_leads_to_a_receivable() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (wallet, other) = (alice.wallet().await, bob.wallet().await);
    let taken = alice.deposit(deposit(&wallet, 1_000)).await;
    let original = taken.expect("the provider takes it").transaction_id;
    alice
        .transfer(transfer(&wallet, &other, 600))
        .await
        .expect("enough");
    let operator = operator(&mesh);
    let back = refund(&mesh, &operator, &original, None).await;
    let back = back.expect("the platform pays the rest");
    assert_eq!(back.state(), TransactionState::Completed);
    assert_eq!(back.receivable, euros(600));
    assert_eq!(alice.balance(&wallet).await, (0, 0));
    assert_eq!(receivable(&mesh, &wallet).await, -600);

    let again = alice.deposit(deposit(&wallet, 50)).await;
    let again = again.expect("the provider takes it").transaction_id;
    alice
        .transfer(transfer(&wallet, &other, 50))
        .await
        .expect("enough");
    let nothing = refund(&mesh, &operator, &again, None).await;
    assert_eq!(nothing.expect("all of it").receivable, euros(50));
    assert_eq!(receivable(&mesh, &wallet).await, -650);
    mesh.verify().await;
}

/// What the owner of a wallet owes the platform, from the ledger.
async fn receivable(mesh: &Mesh, wallet: &str) -> i64 {
    let name = wallet.trim_start_matches("wal_").replace('-', "");
    sqlx::query_scalar(
        "SELECT available FROM wallets
         WHERE system_purpose = 'receivable' AND system_name = $1",
    )
    .bind(name)
    .fetch_one(&mesh.wallet_database.pool)
    .await
    .expect("there is such a wallet")
}

/// A provider that declines leaves everything as it was; one whose answer is lost
/// is asked what it did.
#[tokio::test]
async fn refunds_of_deposits_end_by_the_providers_word() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    let taken = alice.deposit(deposit(&wallet, 1_000)).await;
    let original = taken.expect("the provider takes it").transaction_id;
    let operator = operator(&mesh);
    mesh.fault(json!({"operation": "refund", "kind": "decline"}))
        .await;
    let declined = refund(&mesh, &operator, &original, Some(400)).await;
    assert_eq!(
        told(&declined.expect_err("declined")).reason,
        "PROVIDER_DECLINED"
    );
    assert_eq!(alice.balance(&wallet).await, (1_000, 0));
    assert_eq!(mesh.transaction(&original).await.refunded, None);

    mesh.fault(json!({"operation": "refund", "kind": "lost_response"}))
        .await;
    let lost = refund(&mesh, &operator, &original, Some(400)).await;
    let lost = lost.expect("it is recorded");
    assert_eq!(lost.state(), TransactionState::Unknown);
    mesh.reaches(&lost.transaction_id, TransactionState::Completed)
        .await;
    assert_eq!(alice.balance(&wallet).await, (600, 0));
    mesh.verify().await;
}

/// What cannot be refunded is refused with its reason.
#[tokio::test]
async fn withdrawals_and_strangers_are_refused() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let wallet = alice.funded(1_000).await;
    let paid = alice.withdraw(withdrawal(&wallet, 100)).await;
    let paid = paid.expect("the provider pays").transaction_id;
    let operator = operator(&mesh);
    let refused = refund(&mesh, &operator, &paid, None).await;
    assert_eq!(
        refusal(&refused.expect_err("a payout")),
        (Code::FailedPrecondition, "NOT_REFUNDABLE".to_owned())
    );
    let bobs = token(&mesh, bob.id, &["refund:create:own"]);
    let foreign = refund(&mesh, &bobs, &paid, None).await;
    assert_eq!(
        refusal(&foreign.expect_err("not his")),
        (Code::NotFound, "TRANSACTION_NOT_FOUND".to_owned())
    );
    mesh.verify().await;
}

/// A deposit that the ledger does not take waits for a person, who opens the
/// wallet and lets it go on.
#[tokio::test]
async fn an_operator_lets_a_stopped_deposit_go_on() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    mesh.to_wallet.set(Mode::Whole);
    mesh.fault(json!({"operation": "charge", "kind": "pending", "delay_ms": 500}))
        .await;
    let taken = alice.deposit(deposit(&wallet, 1_000)).await;
    let id = taken.expect("the provider accepts it").transaction_id;
    mesh.set_status(&wallet, "closed").await;
    mesh.reaches(&id, TransactionState::ManualReview).await;

    let operator = operator(&mesh);
    let listed = reviews(&mesh, &operator).await;
    let review = listed.first().expect("it is listed");
    assert_eq!(review.stopped_in(), TransactionState::Settling);
    assert!(!review.allowed().any(|it| it == ReviewResolution::Fail));
    let refused = resolve(&mesh, &operator, &id, ReviewResolution::Fail).await;
    assert_eq!(
        refusal(&refused.expect_err("the provider has the money")),
        (
            Code::FailedPrecondition,
            "RESOLUTION_NOT_ALLOWED".to_owned()
        )
    );
    mesh.set_status(&wallet, "active").await;
    let resolved = resolve(&mesh, &operator, &id, ReviewResolution::Retry).await;
    assert_eq!(
        resolved.expect("allowed").state(),
        TransactionState::Settling
    );
    mesh.reaches(&id, TransactionState::Completed).await;
    assert_eq!(alice.balance(&wallet).await, (1_000, 0));
    assert!(reviews(&mesh, &operator).await.is_empty());
    let late = resolve(&mesh, &operator, &id, ReviewResolution::Retry).await;
    assert_eq!(told(&late.expect_err("done")).reason, "NOT_IN_REVIEW");
    mesh.verify().await;
}

/// The ledger's answers are lost while a spent deposit is refunded: recovery makes
/// sure that the first attempt can no longer happen, finds the wallet's share, and
/// the deposit goes back once.
#[tokio::test]
async fn a_shortfall_is_found_also_when_answers_are_lost() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (wallet, other) = (alice.wallet().await, bob.wallet().await);
    let taken = alice.deposit(deposit(&wallet, 1_000)).await;
    let original = taken.expect("the provider takes it").transaction_id;
    alice
        .transfer(transfer(&wallet, &other, 600))
        .await
        .expect("enough");
    mesh.to_wallet.set(Mode::LosesAnswers);
    let operator = operator(&mesh);
    let mut request = keyed(with_token(wanted(&original, None), &operator), "k");
    request.set_timeout(SHORT);
    let lost = mesh.client().create_refund(request).await;
    let lost = told(&lost.expect_err("no answer"));
    let id = lost.transaction_id.expect("the refund is named");
    mesh.to_wallet.set(Mode::Whole);
    let back = mesh.reaches(&id, TransactionState::Completed).await;
    assert_eq!(back.receivable, euros(600));
    assert_eq!(alice.balance(&wallet).await, (0, 0));
    assert_eq!(receivable(&mesh, &wallet).await, -600);
    let bars = "SELECT count(*) FROM event_log WHERE kind = 'transaction.shortfall_found'";
    assert_eq!(mesh.count(bars).await, 1);
    mesh.verify().await;
}

/// The provider gives no answer any more. An operator who has asked it otherwise
/// says what it did; that it did nothing, only once nothing can reach it.
#[tokio::test]
async fn an_operator_ends_an_unknown_outcome() {
    // Open for as long as a busy machine needs to decide something.
    let window = ("BURSAR_SANDBOX_LOOKUP_WINDOW_MS", "6000");
    let mesh = Mesh::start_with(&[window]).await;
    let alice = mesh.person();
    let wallet = alice.funded(1_000).await;
    let mut ids = Vec::new();
    // The provider pays the first one out and never hears of the second.
    for mode in [Mode::LosesAnswers, Mode::Cut] {
        mesh.to_sandbox.set(mode);
        let paid = alice.withdraw(withdrawal(&wallet, 100)).await;
        ids.push(paid.expect("it is held").transaction_id);
    }
    let operator = operator(&mesh);
    let early = until_decided(&mesh, &operator, &ids[0], ReviewResolution::Fail).await;
    let early = early.expect_err("the window is open");
    assert_eq!(told(&early).reason, "RESOLUTION_NOT_ALLOWED");
    let complete = ReviewResolution::Complete;
    let settling = until_decided(&mesh, &operator, &ids[0], complete).await;
    assert_eq!(
        settling.expect("allowed").state(),
        TransactionState::Settling
    );
    mesh.reaches(&ids[0], TransactionState::Completed).await;

    // Once the window has closed the decision is open.
    let failed = loop {
        match until_decided(&mesh, &operator, &ids[1], ReviewResolution::Fail).await {
            Err(status) if told(&status).reason == "RESOLUTION_NOT_ALLOWED" => {
                tokio::time::sleep(AGAIN).await;
            }
            decided => break decided,
        }
    };
    assert_eq!(
        failed.expect("allowed").state(),
        TransactionState::Releasing
    );
    let failed = mesh.reaches(&ids[1], TransactionState::Failed).await;
    let failure = failed.failure.expect("it says why");
    assert_eq!(failure.reason, "RESOLVED_AS_FAILED");
    assert_eq!(alice.balance(&wallet).await, (900, 0));
    mesh.verify().await;
}

/// Decides, as soon as the service is not just looking at the transaction.
async fn until_decided(
    mesh: &Mesh,
    token: &str,
    id: &str,
    resolution: ReviewResolution,
) -> Result<Transaction, Status> {
    loop {
        match resolve(mesh, token, id, resolution).await {
            Err(status) if told(&status).reason == "TRANSACTION_BUSY" => {
                tokio::time::sleep(AGAIN).await;
            }
            decided => return decided,
        }
    }
}

//! Explanations through the whole mesh: the chain, who sees what of it, and what is
//! told while something is down.

use bursar_aip::id::UserId;
use bursar_contracts::transaction::v1::explain_service_client::ExplainServiceClient;
use bursar_contracts::transaction::v1::{
    ExplainTransactionRequest, ExplainedStep, Explanation, ProviderCallOutcome, TransactionState,
};
use bursar_contracts::wallet::v1::PostingKind;
use bursar_testkit::{Tokens, with_token};
use serde_json::json;
use tonic::{Code, Status};

use crate::support::Mesh;
use crate::support::calls::{refusal, transfer, withdrawal};
use crate::support::wire::Mode;

async fn explain(mesh: &Mesh, token: &str, id: &str) -> Result<Explanation, Status> {
    let request = ExplainTransactionRequest {
        transaction_id: id.to_owned(),
    };
    let response = ExplainServiceClient::new(mesh.service.channel())
        .explain_transaction(with_token(request, token))
        .await?;
    Ok(response
        .into_inner()
        .explanation
        .expect("a response has its explanation"))
}

/// A token of somebody who may have every transaction explained.
fn operator(mesh: &Mesh) -> String {
    let mut claims = Tokens::user_claims(UserId::generate());
    for permission in ["transaction:explain:any", "wallet:read:any"] {
        claims.permissions.push(permission.to_owned());
    }
    mesh.tokens.mint(claims)
}

fn kinds(explanation: &Explanation) -> Vec<&str> {
    let events = explanation
        .steps
        .iter()
        .filter_map(|step| step.event.as_ref());
    events.map(|event| event.kind.as_str()).collect()
}

/// The entries of all postings, as posting kind, wallet and amount.
fn entries(explanation: &Explanation) -> Vec<(PostingKind, &str, i64)> {
    let postings = explanation
        .steps
        .iter()
        .filter_map(|step| step.posting.as_ref());
    postings
        .flat_map(|posting| {
            let entries = posting.entries.iter();
            entries.map(|entry| (posting.kind(), &*entry.wallet_id, entry.amount_minor))
        })
        .collect()
}

/// A transfer is explained from the request to the entries: the owner sees her own
/// side and nothing of the inside, an operator both sides and the inside.
#[tokio::test]
async fn a_transfer_is_explained_to_each_as_they_may_see_it() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let done = alice
        .transfer_with(transfer(&from, &to, 400), "k")
        .await
        .expect("there is money")
        .into_inner()
        .transaction
        .expect("a response has its transaction");
    let id = done.transaction_id;

    let own = explain(&mesh, &alice.token, &id).await.expect("her own");
    assert_eq!(
        kinds(&own),
        ["transaction.initiated", "transaction.completed"]
    );
    assert_eq!(entries(&own), [(PostingKind::Transfer, &*from, -400)]);
    assert!(own.missing_parts.is_empty(), "{:?}", own.missing_parts);
    let request = own.steps[0].request.as_ref().expect("it comes first");
    assert_eq!(request.actor, alice.id.to_string());
    assert_eq!(request.idempotency_key_hash, "");

    let all = explain(&mesh, &operator(&mesh), &id).await.expect("any");
    let request = all.steps[0].request.as_ref().expect("it comes first");
    // The first 16 digits of the SHA-256 of `k`.
    assert_eq!(request.idempotency_key_hash, "8254c329a92850f6");
    assert!(request.method.ends_with("/CreateTransfer"));
    assert!(request.is_answered);
    assert_eq!(
        entries(&all),
        [
            (PostingKind::Transfer, &*from, -400),
            (PostingKind::Transfer, &*to, 400)
        ]
    );
    // Nobody publishes events in this mesh.
    let published = |step: &ExplainedStep| step.event.as_ref().is_some_and(|e| e.is_published);
    assert!(!all.steps.iter().any(published));

    let his = explain(&mesh, &bob.token, &id)
        .await
        .expect("it reached him");
    assert_eq!(entries(&his), [(PostingKind::Transfer, &*to, 400)]);
    let stranger = mesh.person();
    let hidden = explain(&mesh, &stranger.token, &id)
        .await
        .expect_err("not hers");
    assert_eq!(
        refusal(&hidden),
        (Code::NotFound, "TRANSACTION_NOT_FOUND".to_owned())
    );
}

/// A withdrawal whose answer was lost is explained with its hold, the call and the
/// last word on it, and the postings of both.
#[tokio::test]
async fn a_withdrawal_is_explained_with_its_call() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let wallet = alice.funded(1_000).await;
    mesh.fault(json!({"operation": "payout", "kind": "lost_response"}))
        .await;
    let started = alice
        .withdraw(withdrawal(&wallet, 300))
        .await
        .expect("it is taken");
    let id = started.transaction_id;
    mesh.reaches(&id, TransactionState::Completed).await;
    let told = explain(&mesh, &operator(&mesh), &id).await.expect("any");
    let calls: Vec<_> = told
        .steps
        .iter()
        .filter_map(|step| step.provider_call.as_ref())
        .collect();
    assert_eq!(calls.len(), 1, "it was asked to act once");
    assert_eq!(calls[0].outcome(), ProviderCallOutcome::Succeeded);
    assert!(!calls[0].provider_reference.is_empty());
    assert!(told.steps.iter().any(|step| step.hold.is_some()));
    let posted: Vec<_> = entries(&told)
        .into_iter()
        .map(|(kind, _, _)| kind)
        .collect();
    assert!(posted.contains(&PostingKind::Hold), "{posted:?}");
    assert!(posted.contains(&PostingKind::HoldCapture), "{posted:?}");
    assert!(told.next_check.is_none(), "it is at rest");
}

/// While wallet is away everything else is told, and what is missing is named.
#[tokio::test]
async fn what_is_missing_is_named() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let done = alice
        .transfer(transfer(&from, &to, 400))
        .await
        .expect("there is money");
    mesh.to_wallet.set(Mode::Refused);
    let told = explain(&mesh, &alice.token, &done.transaction_id)
        .await
        .expect("it is told all the same");
    assert_eq!(
        kinds(&told),
        ["transaction.initiated", "transaction.completed"]
    );
    let missing: Vec<_> = told
        .missing_parts
        .iter()
        .map(|missing| missing.part.as_str())
        .collect();
    assert_eq!(missing, ["entries"]);
    assert!(!told.missing_parts[0].cause.is_empty());
}

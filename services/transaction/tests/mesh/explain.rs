//! Explanations through the whole mesh: the chain, who sees what of it, and what is
//! told while something is down.

use bursar_aip::id::UserId;
use bursar_contracts::transaction::v1::explain_service_client::ExplainServiceClient;
use bursar_contracts::transaction::v1::{
    BulkTransferMode, ExplainTransactionRequest, ExplainedPosting, ExplainedStep, Explanation, Fee,
    FeePayer, ProviderCallOutcome, TransactionState, TransactionType,
};
use bursar_contracts::wallet::v1::PostingKind;
use bursar_testkit::{Tokens, with_token};
use serde_json::json;
use tonic::{Code, Status};

use crate::bulk::{banker, bulk, create};
use crate::support::Mesh;
use crate::support::calls::{deposit, refusal, transfer, withdrawal};
use crate::support::prices::rule;
use crate::support::wire::Mode;

pub(crate) async fn explain(mesh: &Mesh, token: &str, id: &str) -> Result<Explanation, Status> {
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
pub(crate) fn operator(mesh: &Mesh) -> String {
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

fn postings(explanation: &Explanation) -> impl Iterator<Item = &ExplainedPosting> {
    let steps = explanation.steps.iter();
    steps.filter_map(|step| step.posting.as_ref())
}

/// The fee of a posting is told by itself, to the payer, to whoever receives the money
/// and to operators, and only of the posting that takes it.
#[tokio::test]
async fn a_fee_is_told_apart_from_the_amount() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(3_000).await, bob.wallet().await);
    for kind in [TransactionType::Transfer, TransactionType::Withdrawal] {
        let made = mesh.make_rule(rule(kind, FeePayer::Sender)).await;
        made.expect("the rule makes sense");
    }
    let sent = alice.transfer(transfer(&from, &to, 1_000)).await;
    let sent = sent.expect("alice has enough");
    let taken = Fee {
        amount_minor: 35,
        ..sent.fee.clone().expect("a rule is there for it")
    };
    for token in [&alice.token, &bob.token, &operator(&mesh)] {
        let told = explain(&mesh, token, &sent.transaction_id).await;
        let told = told.expect("they may see it");
        let fees: Vec<_> = postings(&told).map(|posting| posting.fee.clone()).collect();
        assert_eq!(fees, [Some(taken.clone())]);
    }
    let own = explain(&mesh, &alice.token, &sent.transaction_id).await;
    let own = own.expect("it is hers");
    assert_eq!(entries(&own), [(PostingKind::Transfer, &*from, -1_035)]);

    let paid = alice.withdraw(withdrawal(&from, 1_000)).await;
    let paid = paid.expect("alice has enough").transaction_id;
    mesh.reaches(&paid, TransactionState::Completed).await;
    let told = explain(&mesh, &alice.token, &paid).await.expect("hers");
    let fees: Vec<_> = postings(&told)
        .map(|posting| {
            (
                posting.kind(),
                posting.fee.as_ref().map(|fee| fee.amount_minor),
            )
        })
        .collect();
    let expected = [
        (PostingKind::Hold, None),
        (PostingKind::HoldCapture, Some(35)),
    ];
    assert_eq!(fees, expected);

    // Deposits have no rule.
    let free = alice
        .deposit(deposit(&from, 100))
        .await
        .expect("it is taken");
    let told = explain(&mesh, &alice.token, &free.transaction_id).await;
    assert!(postings(&told.expect("hers")).all(|posting| posting.fee.is_none()));
}

/// A transfer of a bulk transfer is explained with it, and one that a person made by
/// itself with neither a bulk transfer nor a schedule.
#[tokio::test]
async fn a_transfer_of_a_bulk_names_it() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (banker(&mesh), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let order = bulk(BulkTransferMode::Independent, &from, &to, &[10, 20]);
    let made = create(&mesh, &alice, order, "k", None).await;
    let made = made.expect("there is money").into_inner();
    let bulk = made.bulk_transfer.expect("a response has it");
    for item in &made.items {
        for token in [&alice.token, &operator(&mesh)] {
            let told = explain(&mesh, token, &item.transaction_id).await;
            let told = told.expect("they may see it");
            assert_eq!(told.bulk_transfer_id, bulk.bulk_transfer_id);
            assert_eq!((&*told.schedule_id, told.schedule_run_number), ("", 0));
        }
    }
    let sent = alice.transfer(transfer(&from, &to, 10)).await;
    let sent = sent.expect("alice has enough").transaction_id;
    let told = explain(&mesh, &alice.token, &sent).await.expect("hers");
    assert_eq!((&*told.bulk_transfer_id, &*told.schedule_id), ("", ""));
    assert_eq!(told.schedule_run_number, 0);
}

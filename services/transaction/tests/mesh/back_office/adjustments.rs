//! Adjustments.

use std::time::Duration;

use bursar_contracts::transaction::v1::transaction_service_client::TransactionServiceClient;
use bursar_contracts::transaction::v1::{
    AdjustmentReason, CreateAdjustmentRequest, CreateRefundRequest, ListTransactionsRequest,
    TransactionState, TransactionType,
};
use bursar_contracts::wallet::v1::PostingKind;
use tonic::Code;

use super::{Office, answered, credit, debit};
use crate::explain::explain;
use crate::support::Mesh;
use crate::support::calls::{is_replayed, refusal, told, transfer};
use crate::support::wire::Mode;

/// A deadline that a test can wait for.
const SHORT: Duration = Duration::from_millis(2_500);

/// A credit and a debit each move the money once between the wallet and suspense; the
/// owner finds them in the list, one by one and explained, and nobody else does.
#[tokio::test]
async fn a_wallet_is_adjusted_both_ways() {
    let mesh = Mesh::start().await;
    let office = Office::of(&mesh);
    let (ada, eve) = (mesh.person(), mesh.person());
    let wallet = ada.funded(1_000).await;

    let given = office.adjust(credit(&wallet, 300)).await.expect("given");
    assert_eq!(given.state(), TransactionState::Completed);
    assert_eq!(given.r#type(), TransactionType::Adjustment);
    assert_eq!(given.adjustment_reason(), AdjustmentReason::Goodwill);
    assert_eq!(given.initiator_user_id, office.operator.to_string());
    assert_eq!((&*given.from_wallet_id, &given.to_wallet_id), ("", &wallet));
    assert_eq!(ada.balance(&wallet).await, (1_300, 0));
    assert_eq!(office.suspense().await, -300);

    let taken = office.adjust(debit(&wallet, 500)).await.expect("taken");
    assert_eq!((&taken.from_wallet_id, &*taken.to_wallet_id), (&wallet, ""));
    assert_eq!(taken.description, "credited twice");
    assert_eq!(taken.fee, None);
    assert_eq!(ada.balance(&wallet).await, (800, 0));
    assert_eq!(office.suspense().await, 200);

    for (adjusted, amount) in [(&given, 300), (&taken, -500)] {
        let id = &adjusted.transaction_id;
        assert_eq!(ada.get(id).await.expect("her own"), *adjusted);
        assert_eq!(
            eve.get(id).await.expect_err("not hers").code(),
            Code::NotFound
        );
        let told = explain(&mesh, &ada.token, id).await.expect("her own");
        let posted = told.steps.iter().find_map(|step| step.posting.as_ref());
        let posted = posted.expect("it was posted");
        assert_eq!(posted.kind(), PostingKind::Adjustment);
        let entries: Vec<i64> = posted.entries.iter().map(|one| one.amount_minor).collect();
        assert_eq!(entries, [amount]);
    }
    for wallet_id in [String::new(), wallet.clone()] {
        let listed = ada
            .list(ListTransactionsRequest {
                wallet_id,
                ..ListTransactionsRequest::default()
            })
            .await
            .expect("her own");
        assert_eq!(listed.transactions[..2], [taken.clone(), given.clone()]);
        assert_eq!(listed.transactions.len(), 3);
    }
    mesh.verify().await;
}

/// What the ledger forbids ends FAILED and moves nothing: too little money, a frozen
/// wallet's debit, a closed wallet, another currency. A frozen wallet can be given money.
#[tokio::test]
async fn the_ledger_decides() {
    let mesh = Mesh::start().await;
    let office = Office::of(&mesh);
    let ada = mesh.person();
    let (wallet, dollars) = (ada.funded(100).await, ada.wallet_in("USD").await);
    let (frozen, closed) = (ada.funded(100).await, ada.wallet().await);
    mesh.set_status(&frozen, "frozen").await;
    mesh.set_status(&closed, "closed").await;
    let unmet = Code::FailedPrecondition;
    for (message, code, reason) in [
        (debit(&wallet, 101), unmet, "INSUFFICIENT_FUNDS"),
        (debit(&frozen, 1), unmet, "WALLET_FROZEN"),
        (debit(&closed, 1), unmet, "WALLET_CLOSED"),
        (credit(&closed, 1), unmet, "WALLET_CLOSED"),
        (
            credit(&dollars, 1),
            Code::InvalidArgument,
            "CURRENCY_MISMATCH",
        ),
    ] {
        let refused = office.adjust(message).await.expect_err(reason);
        assert_eq!(refusal(&refused), (code, reason.to_owned()));
        let id = told(&refused).transaction_id.expect("it was recorded");
        let failed = mesh.transaction(&id).await;
        assert_eq!(failed.state(), TransactionState::Failed);
        assert_eq!(failed.failure.expect("why").reason, reason);
    }
    office.adjust(credit(&frozen, 1)).await.expect("given");
    assert_eq!(ada.balance(&wallet).await, (100, 0));
    assert_eq!(ada.balance(&frozen).await, (101, 0));
    assert_eq!(office.suspense().await, -1);
    mesh.verify().await;
}

/// Users cannot adjust, nor can anybody without a description, and there is no wallet
/// that is nobody's: before anything is recorded.
#[tokio::test]
async fn not_everything_is_recorded() {
    let mesh = Mesh::start().await;
    let office = Office::of(&mesh);
    let ada = mesh.person();
    let wallet = ada.funded(100).await;
    let by_user = office
        .client()
        .create_adjustment(ada.request(credit(&wallet, 1)))
        .await
        .expect_err("she may not");
    assert_eq!(by_user.code(), Code::PermissionDenied);
    let wordless = CreateAdjustmentRequest {
        description: String::new(),
        ..credit(&wallet, 1)
    };
    let reasonless = CreateAdjustmentRequest {
        reason: AdjustmentReason::Unspecified.into(),
        ..credit(&wallet, 1)
    };
    let longest = CreateAdjustmentRequest {
        description: "ä".repeat(500),
        ..credit(&wallet, 1)
    };
    let too_long = CreateAdjustmentRequest {
        description: "ä".repeat(501),
        ..credit(&wallet, 1)
    };
    for (message, field) in [
        (wordless, "description"),
        (too_long, "description"),
        (reasonless, "reason"),
    ] {
        let refused = office.adjust(message).await.expect_err(field);
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(told(&refused).fields, [field]);
    }
    let nobody = bursar_aip::id::WalletId::generate().to_string();
    let absent = office.adjust(debit(&nobody, 1)).await.expect_err("nobody");
    assert_eq!(
        refusal(&absent),
        (Code::NotFound, "WALLET_NOT_FOUND".to_owned())
    );
    let adjustments = "SELECT count(*) FROM transactions WHERE kind = 'adjustment'";
    assert_eq!(mesh.count(adjustments).await, 0);
    office.adjust(longest).await.expect("it fits");
    mesh.verify().await;
}

/// Nobody adjusts a wallet of one's own, in either direction, and nothing is recorded of
/// it; somebody else may, and the key is as new.
#[tokio::test]
async fn nobody_adjusts_ones_own_wallet() {
    let mesh = Mesh::start().await;
    let ada = mesh.person();
    let wallet = ada.funded(1_000).await;
    let hers = Office::held_by(&mesh, ada.id);
    for message in [credit(&wallet, 1), debit(&wallet, 1)] {
        let request = hers.request(message, "k");
        let refused = hers.client().create_adjustment(request).await;
        let refused = refused.expect_err("it is her own");
        let denied = (Code::PermissionDenied, "PERMISSION_DENIED".to_owned());
        assert_eq!(refusal(&refused), denied);
        assert!(refused.message().contains("one's own"), "{refused:?}");
    }
    let adjustments = "SELECT count(*) FROM transactions WHERE kind = 'adjustment'";
    assert_eq!(mesh.count(adjustments).await, 0);
    let others = mesh.person().wallet().await;
    let request = hers.request(credit(&others, 1), "k");
    let given = hers.client().create_adjustment(request).await;
    given.expect("it is somebody else's");
    let office = Office::of(&mesh);
    office.adjust(credit(&wallet, 1)).await.expect("given");
    assert_eq!(ada.balance(&wallet).await, (1_001, 0));
    mesh.verify().await;
}

/// An adjustment names the transaction that it corrects, if the wallet has a part in it;
/// and it cannot be refunded itself.
#[tokio::test]
async fn a_correction_names_what_it_corrects() {
    let mesh = Mesh::start().await;
    let office = Office::of(&mesh);
    let (ada, bob) = (mesh.person(), mesh.person());
    let (from, to) = (ada.funded(1_000).await, bob.wallet().await);
    let other = bob.wallet().await;
    let sent = ada.transfer(transfer(&from, &to, 400)).await;
    let sent = sent.expect("enough").transaction_id;
    let correcting = |wallet: &str, corrected: &str| CreateAdjustmentRequest {
        corrected_transaction_id: corrected.to_owned(),
        ..credit(wallet, 40)
    };
    let done = office.adjust(correcting(&to, &sent)).await.expect("his");
    assert_eq!(done.corrected_transaction_id, sent);
    assert_eq!(mesh.transaction(&done.transaction_id).await, done);
    let unrelated = office.adjust(correcting(&other, &sent)).await;
    assert_eq!(
        refusal(&unrelated.expect_err("no part in it")),
        (Code::FailedPrecondition, "CORRECTION_UNRELATED".to_owned())
    );
    let nothing = bursar_aip::id::TransactionId::generate().to_string();
    let absent = office.adjust(correcting(&to, &nothing)).await;
    assert_eq!(
        refusal(&absent.expect_err("nothing")),
        (Code::NotFound, "TRANSACTION_NOT_FOUND".to_owned())
    );
    let refund = office.new_request(CreateRefundRequest {
        transaction_id: done.transaction_id,
        ..CreateRefundRequest::default()
    });
    let refund = TransactionServiceClient::new(mesh.service.channel())
        .create_refund(refund)
        .await;
    assert_eq!(
        refusal(&refund.expect_err("it is no payment")),
        (Code::FailedPrecondition, "NOT_REFUNDABLE".to_owned())
    );
    mesh.verify().await;
}

/// Ten calls at once with one key adjust once, and the key gives its answer again.
#[tokio::test]
async fn a_key_adjusts_once() {
    let mesh = Mesh::start().await;
    let office = Office::of(&mesh);
    let ada = mesh.person();
    let wallet = ada.funded(1_000).await;
    let call = || {
        let (mut client, request) = (office.client(), office.request(debit(&wallet, 70), "k"));
        async move { client.create_adjustment(request).await }
    };
    let answers = answered(futures::future::join_all((0..10).map(|_| call())).await);
    let again = call().await.expect("as before");
    assert!(is_replayed(again.metadata()));
    assert_eq!(*again.get_ref(), answers[0]);
    assert_eq!(ada.balance(&wallet).await, (930, 0));
    mesh.verify().await;
}

/// The ledger posts and its answer is lost: recovery, which nobody has to wake, ends the
/// adjustment, and the key asked again gives that end.
#[tokio::test]
async fn an_adjustment_whose_answer_was_lost_counts_once() {
    let mesh = Mesh::start().await;
    let office = Office::of(&mesh);
    let ada = mesh.person();
    let wallet = ada.funded(1_000).await;
    let mut request = office.request(credit(&wallet, 70), "k");
    request.set_timeout(SHORT);
    let mut client = office.client();
    let lost = office
        .loses_posting(client.create_adjustment(request))
        .await;
    let lost = told(&lost.expect_err("no answer"));
    assert!(lost.retries);
    let id = lost.transaction_id.expect("what waits is named");
    assert_eq!(ada.balance(&wallet).await, (1_070, 0));
    mesh.to_wallet.set(Mode::Whole);
    mesh.reaches(&id, TransactionState::Completed).await;
    let again = office.request(credit(&wallet, 70), "k");
    let again = office.client().create_adjustment(again).await;
    let again = again.expect("it has ended").into_inner().transaction;
    assert_eq!(again.expect("told").transaction_id, id);
    assert_eq!(ada.balance(&wallet).await, (1_070, 0));
    mesh.verify().await;
}

//! Fees: each movement's, by the rule that counts, over the real ledger.

use bursar_contracts::transaction::v1::bulk_service_client::BulkServiceClient;
use bursar_contracts::transaction::v1::{
    BulkTransferMode, BulkTransferOrder, CreateBulkTransferRequest, CreateFeeRuleRequest,
    CreateRefundRequest, Fee, FeePayer, FeeRounding, Transaction, TransactionState,
    TransactionType,
};
use bursar_testkit::with_token;
use serde_json::json;
use tonic::Code;

use crate::support::Mesh;
use crate::support::calls::{deposit, euros, keyed, refusal, told, transfer, withdrawal};
use crate::support::prices::rule;

/// The fee of a transaction: how much, and who bears it.
fn fee(transaction: &Transaction) -> (i64, FeePayer) {
    let fee = transaction.fee.as_ref().expect("a rule is there for it");
    assert_eq!(fee.currency_code, "EUR");
    (fee.amount_minor, fee.payer())
}

/// A sender pays the fee on top; it reaches the platform in the same posting, and
/// the transaction says which rule it was.
#[tokio::test]
async fn a_sender_pays_on_top() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(10_000).await, bob.wallet().await);
    let made = mesh
        .make_rule(rule(TransactionType::Transfer, FeePayer::Sender))
        .await
        .expect("the rule makes sense");
    let sent = alice
        .transfer(transfer(&from, &to, 1_000))
        .await
        .expect("alice has enough");
    let expected = Fee {
        amount_minor: 35,
        currency_code: "EUR".to_owned(),
        payer: FeePayer::Sender.into(),
        fee_rule_id: made.fee_rule_id,
    };
    assert_eq!(sent.fee, Some(expected));
    assert_eq!(mesh.transaction(&sent.transaction_id).await, sent);
    assert_eq!(alice.balance(&from).await, (8_965, 0));
    assert_eq!(bob.balance(&to).await, (1_000, 0));
    assert_eq!(mesh.platform("fees", "EUR").await, 35);
    mesh.verify().await;
}

/// A fee that the sender has not got refuses the whole transfer.
#[tokio::test]
async fn the_fee_has_to_be_there_too() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_034).await, bob.wallet().await);
    mesh.make_rule(rule(TransactionType::Transfer, FeePayer::Sender))
        .await
        .expect("the rule makes sense");
    let poor = alice.transfer(transfer(&from, &to, 1_000)).await;
    let poor = poor.expect_err("a cent is missing");
    assert_eq!(
        refusal(&poor),
        (Code::FailedPrecondition, "INSUFFICIENT_FUNDS".to_owned())
    );
    assert_eq!(alice.balance(&from).await, (1_034, 0));
    assert_eq!(mesh.platform("fees", "EUR").await, 0);
    mesh.verify().await;
}

/// A recipient pays out of what arrives, and a refund gives back the amount, not
/// the fee.
#[tokio::test]
async fn a_recipient_pays_out_of_the_amount() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.funded(100).await);
    mesh.make_rule(rule(TransactionType::Transfer, FeePayer::Recipient))
        .await
        .expect("the rule makes sense");
    let sent = alice
        .transfer(transfer(&from, &to, 1_000))
        .await
        .expect("alice has just enough");
    assert_eq!(fee(&sent), (35, FeePayer::Recipient));
    assert_eq!(alice.balance(&from).await, (0, 0));
    assert_eq!(bob.balance(&to).await, (1_065, 0));

    let refund = CreateRefundRequest {
        transaction_id: sent.transaction_id,
        ..CreateRefundRequest::default()
    };
    let refunded = mesh.client().create_refund(bob.request(refund)).await;
    let refunded = refunded.expect("bob has enough").into_inner().transaction;
    assert_eq!(refunded.expect("set").fee, None);
    assert_eq!(alice.balance(&from).await, (1_000, 0));
    assert_eq!(bob.balance(&to).await, (65, 0));
    assert_eq!(mesh.platform("fees", "EUR").await, 35);
    mesh.verify().await;
}

/// A deposit's fee is taken from what is credited; the provider charges the amount.
#[tokio::test]
async fn a_deposits_fee_is_taken_from_the_credit() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    mesh.make_rule(rule(TransactionType::Deposit, FeePayer::Recipient))
        .await
        .expect("the rule makes sense");
    let put = alice
        .deposit(deposit(&wallet, 1_000))
        .await
        .expect("the provider takes it");
    assert_eq!(put.state(), TransactionState::Completed);
    assert_eq!(fee(&put), (35, FeePayer::Recipient));
    assert_eq!(alice.balance(&wallet).await, (965, 0));
    assert_eq!(mesh.platform("fees", "EUR").await, 35);
    assert_eq!(mesh.platform("settlement", "EUR").await, -1_000);
    mesh.verify().await;
}

/// A withdrawal sets the fee aside with the amount. Paid out, the provider has the
/// amount and the platform the fee; declined, both go back.
#[tokio::test]
async fn a_withdrawals_fee_goes_with_the_hold() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let wallet = alice.funded(5_000).await;
    mesh.make_rule(rule(TransactionType::Withdrawal, FeePayer::Sender))
        .await
        .expect("the rule makes sense");
    let out = alice
        .withdraw(withdrawal(&wallet, 1_000))
        .await
        .expect("the provider pays");
    assert_eq!(fee(&out), (35, FeePayer::Sender));
    assert_eq!(alice.balance(&wallet).await, (3_965, 0));
    assert_eq!(mesh.platform("fees", "EUR").await, 35);
    assert_eq!(mesh.platform("settlement", "EUR").await, -4_000);

    mesh.fault(json!({"operation": "payout", "kind": "decline", "decline_code": "do_not_honor"}))
        .await;
    let declined = alice.withdraw(withdrawal(&wallet, 1_000)).await;
    let declined = declined.expect_err("the provider declines");
    assert_eq!(told(&declined).reason, "PROVIDER_DECLINED");
    assert_eq!(alice.balance(&wallet).await, (3_965, 0));
    assert_eq!(mesh.platform("fees", "EUR").await, 35);
    mesh.verify().await;
}

/// Every transfer of a bulk transfer is priced by itself.
#[tokio::test]
async fn bulk_transfers_are_priced_one_by_one() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(10_000).await, bob.wallet().await);
    mesh.make_rule(rule(TransactionType::Transfer, FeePayer::Sender))
        .await
        .expect("the rule makes sense");
    let small = CreateFeeRuleRequest {
        to_amount_minor: 100,
        ..free_of_charge()
    };
    mesh.make_rule(small).await.expect("the rule makes sense");
    let order = |key: &str, minor| BulkTransferOrder {
        item_key: key.to_owned(),
        from_wallet_id: from.clone(),
        to_wallet_id: to.clone(),
        amount: euros(minor),
        description: String::new(),
    };
    let request = CreateBulkTransferRequest {
        mode: BulkTransferMode::Atomic.into(),
        transfers: vec![order("a", 1_000), order("b", 100), order("c", 101)],
    };
    let mut client = BulkServiceClient::new(mesh.service.channel());
    let done = client.create_bulk_transfer(alice.request(request)).await;
    let items = done.expect("alice has enough").into_inner().items;
    let mut fees = Vec::new();
    for item in items {
        fees.push(fee(&mesh.transaction(&item.transaction_id).await).0);
    }
    assert_eq!(fees, [35, 0, 26]);
    assert_eq!(alice.balance(&from).await, (10_000 - 1_201 - 61, 0));
    assert_eq!(bob.balance(&to).await, (1_201, 0));
    assert_eq!(mesh.platform("fees", "EUR").await, 61);
    mesh.verify().await;
}

fn free_of_charge() -> CreateFeeRuleRequest {
    CreateFeeRuleRequest {
        r#type: TransactionType::Transfer.into(),
        currency_code: "EUR".to_owned(),
        payer: FeePayer::Sender.into(),
        rounding: FeeRounding::Down.into(),
        ..CreateFeeRuleRequest::default()
    }
}

/// An archived rule counts no more, and what went by it still says so.
#[tokio::test]
async fn archived_rules_count_no_more() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(10_000).await, bob.wallet().await);
    let dear = mesh
        .make_rule(rule(TransactionType::Transfer, FeePayer::Sender))
        .await
        .expect("the rule makes sense");
    let first = CreateFeeRuleRequest {
        fixed_minor: 3,
        priority: 1,
        ..free_of_charge()
    };
    let first = mesh.make_rule(first).await.expect("the rule makes sense");
    let send = async || {
        let sent = alice.transfer(transfer(&from, &to, 100)).await;
        sent.expect("alice has enough").fee
    };
    assert_eq!(send().await.expect("a fee").amount_minor, 3);
    let archived = mesh
        .archive_rule(&first.fee_rule_id)
        .await
        .expect("it is there");
    let again = mesh
        .archive_rule(&first.fee_rule_id)
        .await
        .expect("it stays");
    assert_eq!(archived, again);
    assert!(archived.archived_at.is_some());
    assert_eq!(send().await.expect("a fee").amount_minor, 26);
    mesh.archive_rule(&dear.fee_rule_id)
        .await
        .expect("it is there");
    assert_eq!(send().await, None);

    assert_eq!(
        mesh.rules(true).await,
        [first.fee_rule_id, dear.fee_rule_id]
    );
    assert!(mesh.rules(false).await.is_empty());
    let missing = mesh
        .archive_rule("fee_0190b6a0-0000-7000-8000-000000000000")
        .await;
    assert_eq!(
        refusal(&missing.expect_err("there is none")),
        (Code::NotFound, "FEE_RULE_NOT_FOUND".to_owned())
    );
    mesh.verify().await;
}

/// Rules that make no sense are refused with the field at fault, and only operators
/// make any.
#[tokio::test]
async fn nonsense_is_refused_by_field() {
    let mesh = Mesh::start().await;
    let sensible = rule(TransactionType::Transfer, FeePayer::Sender);
    for (rule, field) in [
        (rule(TransactionType::Refund, FeePayer::Sender), "type"),
        (rule(TransactionType::Deposit, FeePayer::Sender), "payer"),
        (
            rule(TransactionType::Withdrawal, FeePayer::Recipient),
            "payer",
        ),
        (
            CreateFeeRuleRequest {
                from_amount_minor: 2,
                to_amount_minor: 1,
                ..sensible.clone()
            },
            "to_amount_minor",
        ),
        (
            CreateFeeRuleRequest {
                min_fee_minor: 30,
                max_fee_minor: 29,
                ..sensible.clone()
            },
            "max_fee_minor",
        ),
        (
            CreateFeeRuleRequest {
                max_fee_minor: 24,
                ..sensible.clone()
            },
            "fixed_minor",
        ),
        (
            CreateFeeRuleRequest {
                currency_code: "XQQ".to_owned(),
                ..sensible.clone()
            },
            "currency_code",
        ),
    ] {
        let refused = mesh.make_rule(rule).await.expect_err("nonsense");
        let told = told(&refused);
        assert_eq!(
            (told.code, &*told.fields),
            (Code::InvalidArgument, &[field.to_owned()][..])
        );
    }
    let user = mesh.tokens.user(bursar_aip::id::UserId::generate());
    let request = keyed(with_token(sensible, &user), "k");
    let denied = mesh.fee_client().create_fee_rule(request).await;
    let code = denied.expect_err("a user is no operator").code();
    assert_eq!(code, Code::PermissionDenied);
    assert_eq!(mesh.count("SELECT count(*) FROM fee_rules").await, 0);
}

/// A key makes one rule, and the same answer again.
#[tokio::test]
async fn a_key_makes_one_rule() {
    let mesh = Mesh::start().await;
    let token = mesh.tokens.admin(bursar_aip::id::UserId::generate());
    let message = rule(TransactionType::Transfer, FeePayer::Sender);
    let mut made = Vec::new();
    for _ in 0..2 {
        let request = keyed(with_token(message.clone(), &token), "k");
        let response = mesh.fee_client().create_fee_rule(request).await;
        made.push(response.expect("it is made once").into_inner());
    }
    assert_eq!(made[0], made[1]);
    assert_eq!(mesh.count("SELECT count(*) FROM fee_rules").await, 1);
}

//! Quotes: what they promise, and that each is used once.

use bursar_contracts::transaction::v1::{
    CreateQuoteRequest, CreateTransferRequest, FeePayer, GetQuoteRequest, Quote, TransactionType,
};
use bursar_contracts::r#type::v1::Money;
use bursar_testkit::with_token;
use tonic::{Code, Status};

use crate::support::Mesh;
use crate::support::calls::{deposit, euros, is_replayed, refusal, told, transfer, withdrawal};
use crate::support::person::Person;
use crate::support::prices::{rule, transfer_quote};

/// A transfer that names a quote.
fn quoted(from: &str, to: &str, minor_units: i64, quote: &Quote) -> CreateTransferRequest {
    CreateTransferRequest {
        quote_id: quote.quote_id.clone(),
        ..transfer(from, to, minor_units)
    }
}

/// The quote as it is now.
async fn look(person: &Person<'_>, mesh: &Mesh, id: &str) -> Result<Quote, Status> {
    let request = GetQuoteRequest {
        quote_id: id.to_owned(),
    };
    let request = with_token(request, &person.token);
    let response = mesh.quote_client().get_quote(request).await?;
    Ok(response
        .into_inner()
        .quote
        .expect("a response has its quote"))
}

/// A quote says what leaves and what arrives, and holds although the rule is gone
/// and another one has come.
#[tokio::test]
async fn a_quote_holds_whatever_becomes_of_the_rules() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(10_000).await, bob.wallet().await);
    let cheap = mesh
        .make_rule(rule(TransactionType::Transfer, FeePayer::Sender))
        .await
        .expect("the rule makes sense");
    let quote = alice
        .quote(transfer_quote(&from, &to, 1_000))
        .await
        .expect("alice may ask");
    assert_eq!(
        (&quote.debited, &quote.credited),
        (&euros(1_035), &euros(1_000))
    );
    let fee = quote.fee.clone().expect("a rule is there for it");
    assert_eq!(
        (fee.amount_minor, &fee.fee_rule_id),
        (35, &cheap.fee_rule_id)
    );

    mesh.archive_rule(&cheap.fee_rule_id)
        .await
        .expect("it is there");
    mesh.make_rule(bursar_contracts::transaction::v1::CreateFeeRuleRequest {
        fixed_minor: 500,
        ..rule(TransactionType::Transfer, FeePayer::Recipient)
    })
    .await
    .expect("the rule makes sense");
    let sent = alice
        .transfer(quoted(&from, &to, 1_000, &quote))
        .await
        .expect("the quote holds");
    assert_eq!(sent.fee, Some(fee));
    assert_eq!(alice.balance(&from).await, (8_965, 0));
    assert_eq!(bob.balance(&to).await, (1_000, 0));
    let used = look(&alice, &mesh, &quote.quote_id).await.expect("hers");
    assert_eq!(used.transaction_id, sent.transaction_id);
    mesh.verify().await;
}

/// Deposits and withdrawals go by a quote too.
#[tokio::test]
async fn money_in_and_out_is_quoted() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let wallet = alice.funded(5_000).await;
    for (kind, payer) in [
        (TransactionType::Deposit, FeePayer::Recipient),
        (TransactionType::Withdrawal, FeePayer::Sender),
    ] {
        mesh.make_rule(rule(kind, payer))
            .await
            .expect("the rule makes sense");
    }
    let ask = |kind: TransactionType, from: &str, to: &str| CreateQuoteRequest {
        r#type: kind.into(),
        ..transfer_quote(from, to, 1_000)
    };
    let into = alice
        .quote(ask(TransactionType::Deposit, "", &wallet))
        .await;
    let into = into.expect("alice may ask");
    assert_eq!(
        (&into.debited, &into.credited),
        (&euros(1_000), &euros(965))
    );
    let mut request = deposit(&wallet, 1_000);
    request.quote_id = into.quote_id;
    alice.deposit(request).await.expect("the quote fits");
    assert_eq!(alice.balance(&wallet).await, (5_965, 0));

    let out = alice
        .quote(ask(TransactionType::Withdrawal, &wallet, ""))
        .await;
    let out = out.expect("alice may ask");
    assert_eq!(
        (&out.debited, &out.credited),
        (&euros(1_035), &euros(1_000))
    );
    let mut request = withdrawal(&wallet, 1_000);
    request.quote_id = out.quote_id;
    alice.withdraw(request).await.expect("the quote fits");
    assert_eq!(alice.balance(&wallet).await, (4_930, 0));
    assert_eq!(mesh.platform("fees", "EUR").await, 70);
    mesh.verify().await;
}

/// A quote that was used, has expired, is another user's, or is for something else
/// is refused, each with its reason, and nothing is recorded. The key keeps that.
#[tokio::test]
async fn quotes_that_do_not_fit_are_refused() {
    let mesh = Mesh::start_with(&[("BURSAR_QUOTE_TTL_SECONDS", "300")]).await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(10_000).await, bob.wallet().await);
    let own = bob.funded(1_000).await;
    let quote = alice
        .quote(transfer_quote(&from, &to, 100))
        .await
        .expect("alice may ask");
    let before = mesh.count("SELECT count(*) FROM transactions").await;

    let foreign = bob.transfer(quoted(&own, &to, 100, &quote)).await;
    let missing = Quote {
        quote_id: "qte_0190b6a0-0000-7000-8000-000000000000".to_owned(),
        ..quote.clone()
    };
    let missing = alice.transfer(quoted(&from, &to, 100, &missing)).await;
    for refused in [foreign, missing] {
        assert_eq!(
            refusal(&refused.expect_err("not hers")),
            (Code::NotFound, "QUOTE_NOT_FOUND".to_owned())
        );
    }
    let other = alice.wallet().await;
    let mut as_withdrawal = withdrawal(&from, 100);
    as_withdrawal.quote_id = quote.quote_id.clone();
    for (refused, field) in [
        (
            alice.transfer(quoted(&from, &to, 101, &quote)).await,
            "amount",
        ),
        (
            alice.transfer(quoted(&from, &own, 100, &quote)).await,
            "to_wallet_id",
        ),
        (
            alice.transfer(quoted(&other, &to, 100, &quote)).await,
            "from_wallet_id",
        ),
        (alice.withdraw(as_withdrawal).await, "quote_id"),
    ] {
        let told = told(&refused.expect_err("the quote is for something else"));
        assert_eq!(
            (told.code, &*told.reason),
            (Code::InvalidArgument, "QUOTE_MISMATCH")
        );
        assert_eq!(told.fields, [field]);
    }
    assert_eq!(
        mesh.count("SELECT count(*) FROM transactions").await,
        before
    );

    let request = quoted(&from, &to, 100, &quote);
    let sent = alice
        .transfer_with(request.clone(), "k")
        .await
        .expect("it fits");
    let again = alice
        .transfer_with(request.clone(), "k")
        .await
        .expect("the same answer");
    assert_eq!(sent.into_inner(), again.into_inner());
    for _ in 0..2 {
        let used = alice
            .transfer_with(request.clone(), "l")
            .await
            .expect_err("used");
        let told = told(&used);
        assert_eq!(
            (told.code, &*told.reason),
            (Code::FailedPrecondition, "QUOTE_USED")
        );
        assert_eq!(told.preconditions, ["QUOTE_USED"]);
    }
    let kept = alice.transfer_with(request, "l").await.expect_err("used");
    assert!(is_replayed(kept.metadata()));

    let late = alice
        .quote(transfer_quote(&from, &to, 100))
        .await
        .expect("alice may ask");
    sqlx::query("UPDATE quotes SET expires_at = now() WHERE transaction_id IS NULL")
        .execute(&mesh.database.owner)
        .await
        .expect("the owner may change quotes");
    let late = alice.transfer(quoted(&from, &to, 100, &late)).await;
    assert_eq!(
        refusal(&late.expect_err("too late")),
        (Code::FailedPrecondition, "QUOTE_EXPIRED".to_owned())
    );
    assert_eq!(bob.balance(&to).await, (100, 0));
    mesh.verify().await;
}

/// Of many transfers at once that name one quote, one gets it.
#[tokio::test]
async fn concurrent_uses_have_one_winner() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(10_000).await, bob.wallet().await);
    let quote = alice
        .quote(transfer_quote(&from, &to, 100))
        .await
        .expect("alice may ask");
    let calls = (0..16).map(|number| {
        let message = quoted(&from, &to, 100, &quote);
        let alice = &alice;
        async move { alice.until_answered(message, &format!("k{number}")).await }
    });
    let mut sent = 0;
    for answer in futures::future::join_all(calls).await {
        match answer {
            Ok(_) => sent += 1,
            Err(status) => assert_eq!(
                refusal(&status),
                (Code::FailedPrecondition, "QUOTE_USED".to_owned())
            ),
        }
    }
    assert_eq!(sent, 1);
    assert_eq!(bob.balance(&to).await, (100, 0));
    mesh.verify().await;
}

/// A quote is used up by a transfer that fails, because what it promised was kept.
#[tokio::test]
async fn a_failed_transfer_uses_its_quote_up() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(99).await, bob.wallet().await);
    let quote = alice
        .quote(transfer_quote(&from, &to, 100))
        .await
        .expect("alice may ask");
    let request = quoted(&from, &to, 100, &quote);
    let poor = alice
        .transfer(request.clone())
        .await
        .expect_err("a cent is missing");
    assert_eq!(refusal(&poor).1, "INSUFFICIENT_FUNDS");
    let used = alice.transfer(request).await.expect_err("used");
    assert_eq!(refusal(&used).1, "QUOTE_USED");
    mesh.verify().await;
}

/// What can never be made is not quoted: the wallets that are named are looked at.
#[tokio::test]
async fn only_what_can_be_made_is_quoted() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(100).await, bob.wallet().await);
    let missing = "wal_0190b6a0-0000-7000-8000-000000000000";
    let closed = bob.wallet().await;
    mesh.set_status(&closed, "closed").await;
    let of_kind = |kind: TransactionType, from: &str, to: &str| CreateQuoteRequest {
        r#type: kind.into(),
        ..transfer_quote(from, to, 10)
    };
    let to_dollars = |request: CreateQuoteRequest| CreateQuoteRequest {
        to_currency_code: "USD".to_owned(),
        ..request
    };
    let in_dollars = CreateQuoteRequest {
        amount: Some(Money {
            currency_code: "USD".to_owned(),
            minor_units: 10,
        }),
        ..transfer_quote(&from, &to, 10)
    };
    for (request, reason) in [
        (transfer_quote(&to, &from, 10), "WALLET_NOT_FOUND"),
        (transfer_quote(&from, missing, 10), "WALLET_NOT_FOUND"),
        (transfer_quote(&from, &closed, 10), "WALLET_CLOSED"),
        (transfer_quote(&from, &from, 10), "SAME_WALLET"),
        (in_dollars, "CURRENCY_MISMATCH"),
        (
            to_dollars(transfer_quote(&from, &to, 10)),
            "CURRENCY_MISMATCH",
        ),
        (
            of_kind(TransactionType::Refund, &from, &to),
            "INVALID_FIELD",
        ),
        (
            of_kind(TransactionType::Deposit, &from, ""),
            "INVALID_FIELD",
        ),
        (
            of_kind(TransactionType::Deposit, "", &to),
            "WALLET_NOT_FOUND",
        ),
        (
            of_kind(TransactionType::Withdrawal, "", &to),
            "INVALID_FIELD",
        ),
        (
            to_dollars(of_kind(TransactionType::Withdrawal, &from, "")),
            "INVALID_FIELD",
        ),
    ] {
        let refused = alice
            .quote(request.clone())
            .await
            .expect_err("it can never be made");
        assert_eq!(refusal(&refused).1, reason, "{request:?}");
    }
    assert_eq!(mesh.count("SELECT count(*) FROM quotes").await, 0);

    let mine = alice
        .quote(transfer_quote(&from, &to, 10))
        .await
        .expect("it can");
    let theirs = look(&bob, &mesh, &mine.quote_id).await;
    assert_eq!(
        refusal(&theirs.expect_err("it is alice's")),
        (Code::NotFound, "QUOTE_NOT_FOUND".to_owned())
    );
}

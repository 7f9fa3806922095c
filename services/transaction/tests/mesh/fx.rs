//! Transfers between currencies, at the rate of a quote.

use std::time::{Duration, SystemTime};

use bursar_contracts::transaction::v1::{
    CreateQuoteRequest, CreateRefundRequest, CreateTransferRequest, FeePayer,
    ListExchangeRatesRequest, PutExchangeRateRequest, TransactionState, TransactionType,
};
use bursar_contracts::r#type::v1::Money;
use tonic::Code;

use crate::support::Mesh;
use crate::support::calls::{euros, refusal, told, transfer};
use crate::support::prices::{dollars_for_a_euro, rule, transfer_quote};
use crate::support::wire::Mode;

fn dollars(minor_units: i64) -> Option<Money> {
    Some(Money {
        currency_code: "USD".to_owned(),
        minor_units,
    })
}

/// A quoted transfer moves each currency by itself: what leaves the payer stays with
/// the platform's liquidity, which gives the other currency to the payee.
#[tokio::test]
async fn a_transfer_goes_over_liquidity() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(10_000).await, bob.wallet_in("USD").await);
    mesh.make_rule(rule(TransactionType::Transfer, FeePayer::Sender))
        .await
        .expect("the rule makes sense");
    let rate = PutExchangeRateRequest {
        spread_basis_points: 50,
        ..dollars_for_a_euro("1.08340")
    };
    let rate = mesh.put_rate(rate).await.expect("the rate is one");
    assert_eq!(rate.rate, "1.0834");

    let quote = alice
        .quote(transfer_quote(&from, &to, 1_000))
        .await
        .expect("there is a rate");
    // 10.00 × 1.0834 × 0.995 is 10.779…
    assert_eq!(
        (&quote.debited, &quote.credited),
        (&euros(1_035), &dollars(1_077))
    );
    let sent = alice
        .transfer(CreateTransferRequest {
            quote_id: quote.quote_id,
            ..transfer(&from, &to, 1_000)
        })
        .await
        .expect("alice has enough");
    assert_eq!(sent.state(), TransactionState::Completed);
    let conversion = sent.conversion.clone().expect("it changed its currency");
    assert_eq!(Some(&conversion), quote.conversion.as_ref());
    assert_eq!(conversion.amount, dollars(1_077));
    assert_eq!((&*conversion.rate, &*conversion.source), ("1.0834", "ecb"));
    assert_eq!(conversion.exchange_rate_id, rate.exchange_rate_id);
    assert_eq!(mesh.transaction(&sent.transaction_id).await, sent);

    assert_eq!(alice.balance(&from).await, (8_965, 0));
    assert_eq!(bob.balance(&to).await, (1_077, 0));
    assert_eq!(mesh.platform("liquidity", "EUR").await, 1_000);
    assert_eq!(mesh.platform("liquidity", "USD").await, -1_077);
    assert_eq!(mesh.platform("fees", "EUR").await, 35);
    for currency in ["EUR", "USD"] {
        let sum: i64 = sqlx::query_scalar(
            "SELECT coalesce(sum(available + held + bonus), 0)::bigint
             FROM wallets WHERE currency = $1",
        )
        .bind(currency)
        .fetch_one(&mesh.wallet_database.pool)
        .await
        .expect("the books are read");
        assert_eq!(sum, 0, "{currency} was made or lost");
    }
    mesh.verify().await;

    // At another rate it would not come back.
    let refund = CreateRefundRequest {
        transaction_id: sent.transaction_id,
        ..CreateRefundRequest::default()
    };
    let refused = mesh.client().create_refund(bob.request(refund)).await;
    assert_eq!(
        refusal(&refused.expect_err("it cannot be refunded")),
        (Code::FailedPrecondition, "NOT_REFUNDABLE".to_owned())
    );
}

/// The ledger posted and its answer was lost: whoever goes on repeats the very same
/// posting, fee and rate included, although rule and rate are others by then.
#[tokio::test]
async fn a_lost_answer_keeps_the_price() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(10_000).await, bob.wallet_in("USD").await);
    let old = mesh
        .make_rule(rule(TransactionType::Transfer, FeePayer::Sender))
        .await
        .expect("the rule makes sense");
    mesh.put_rate(dollars_for_a_euro("1.1"))
        .await
        .expect("a rate");
    let quote = alice
        .quote(transfer_quote(&from, &to, 1_000))
        .await
        .expect("there is a rate");
    let request = CreateTransferRequest {
        quote_id: quote.quote_id,
        ..transfer(&from, &to, 1_000)
    };
    mesh.to_wallet.set(Mode::LosesAnswers);
    let short = Duration::from_secs(4);
    let lost = alice.transfer_within(request.clone(), "k", short).await;
    assert_eq!(lost.expect_err("no answer").code(), Code::Unavailable);
    mesh.archive_rule(&old.fee_rule_id)
        .await
        .expect("it is there");
    mesh.put_rate(dollars_for_a_euro("3"))
        .await
        .expect("a rate");
    mesh.to_wallet.set(Mode::Whole);
    let done = alice
        .until_answered(request, "k")
        .await
        .expect("the same key goes on");
    assert_eq!(done.state(), TransactionState::Completed);
    assert_eq!(alice.balance(&from).await, (8_965, 0));
    assert_eq!(bob.balance(&to).await, (1_100, 0));
    assert_eq!(mesh.platform("fees", "EUR").await, 35);
    mesh.verify().await;
}

/// Of a fee that the recipient bears, less is left to be converted.
#[tokio::test]
async fn a_recipients_fee_is_taken_before_the_exchange() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet_in("USD").await);
    mesh.make_rule(rule(TransactionType::Transfer, FeePayer::Recipient))
        .await
        .expect("the rule makes sense");
    mesh.put_rate(dollars_for_a_euro("2"))
        .await
        .expect("a rate");
    let quote = alice
        .quote(transfer_quote(&from, &to, 1_000))
        .await
        .expect("there is a rate");
    assert_eq!(
        (&quote.debited, &quote.credited),
        (&euros(1_000), &dollars(1_930))
    );
    alice
        .transfer(CreateTransferRequest {
            quote_id: quote.quote_id,
            ..transfer(&from, &to, 1_000)
        })
        .await
        .expect("alice has just enough");
    assert_eq!(bob.balance(&to).await, (1_930, 0));
    assert_eq!(mesh.platform("liquidity", "EUR").await, 965);
    mesh.verify().await;
}

/// Without a quote money keeps its currency; a quote without wallets still moves
/// only between those two currencies.
#[tokio::test]
async fn without_a_quote_there_is_no_exchange() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet_in("USD").await);
    mesh.put_rate(dollars_for_a_euro("1.1"))
        .await
        .expect("a rate");
    let plain = alice.transfer(transfer(&from, &to, 100)).await;
    assert_eq!(
        refusal(&plain.expect_err("two currencies")),
        (Code::InvalidArgument, "CURRENCY_MISMATCH".to_owned())
    );
    let quote = alice
        .quote(CreateQuoteRequest {
            to_currency_code: "USD".to_owned(),
            ..transfer_quote("", "", 100)
        })
        .await
        .expect("there is a rate");
    let euro_wallet = bob.wallet().await;
    let astray = alice
        .transfer(CreateTransferRequest {
            quote_id: quote.quote_id,
            ..transfer(&from, &euro_wallet, 100)
        })
        .await;
    assert_eq!(
        refusal(&astray.expect_err("the wallet has no dollars")),
        (Code::InvalidArgument, "CURRENCY_MISMATCH".to_owned())
    );
    assert_eq!(alice.balance(&from).await, (1_000, 0));
    mesh.verify().await;
}

/// The latest rate in time counts, whatever was entered last; one that is too old
/// counts no more, and without any there is no quote.
#[tokio::test]
async fn only_fresh_rates_count() {
    let mesh = Mesh::start_with(&[("BURSAR_FX_MAX_RATE_AGE_SECONDS", "3600")]).await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet_in("USD").await);
    let ask = async || alice.quote(transfer_quote(&from, &to, 100)).await;
    let ago = |seconds| {
        Some(prost_types::Timestamp::from(
            SystemTime::now() - Duration::from_secs(seconds),
        ))
    };

    let none = told(&ask().await.expect_err("there is no rate"));
    assert_eq!(
        (none.code, &*none.reason),
        (Code::FailedPrecondition, "FX_RATE_NOT_FOUND")
    );

    let old = PutExchangeRateRequest {
        observed_at: ago(3_700),
        ..dollars_for_a_euro("1.5")
    };
    mesh.put_rate(old).await.expect("old rates may be entered");
    let stale = told(&ask().await.expect_err("the rate is too old"));
    assert_eq!(
        (stale.code, &*stale.reason),
        (Code::FailedPrecondition, "FX_RATE_STALE")
    );

    for (rate, seconds) in [("1.2", 60), ("1.3", 600)] {
        let rate = PutExchangeRateRequest {
            observed_at: ago(seconds),
            ..dollars_for_a_euro(rate)
        };
        mesh.put_rate(rate).await.expect("a rate");
    }
    let quote = ask().await.expect("there is a fresh rate");
    assert_eq!(quote.conversion.expect("two currencies").rate, "1.2");

    let dust = alice.quote(CreateQuoteRequest {
        amount: Some(Money {
            currency_code: "JPY".to_owned(),
            minor_units: 1,
        }),
        to_currency_code: "EUR".to_owned(),
        ..transfer_quote("", "", 1)
    });
    mesh.put_rate(PutExchangeRateRequest {
        from_currency_code: "JPY".to_owned(),
        to_currency_code: "EUR".to_owned(),
        ..dollars_for_a_euro("0.0062")
    })
    .await
    .expect("a rate");
    let dust = told(&dust.await.expect_err("a yen is less than a cent"));
    assert_eq!(
        (&*dust.reason, &*dust.fields),
        ("INVALID_FIELD", &["amount.minor_units".to_owned()][..])
    );
}

/// What is no rate is refused by field; what is one is listed, last entered first.
#[tokio::test]
async fn rates_are_checked_and_listed() {
    let mesh = Mesh::start().await;
    let ahead = SystemTime::now() + Duration::from_secs(3_600);
    for (request, field) in [
        (dollars_for_a_euro("0.000"), "rate"),
        (
            PutExchangeRateRequest {
                to_currency_code: "EUR".to_owned(),
                ..dollars_for_a_euro("1")
            },
            "to_currency_code",
        ),
        (
            PutExchangeRateRequest {
                from_currency_code: "XQQ".to_owned(),
                ..dollars_for_a_euro("1")
            },
            "from_currency_code",
        ),
        (
            PutExchangeRateRequest {
                observed_at: Some(prost_types::Timestamp::from(ahead)),
                ..dollars_for_a_euro("1")
            },
            "observed_at",
        ),
    ] {
        let told = told(&mesh.put_rate(request).await.expect_err("no rate"));
        assert_eq!(
            (told.code, &*told.fields),
            (Code::InvalidArgument, &[field.to_owned()][..])
        );
    }
    let mut ids = Vec::new();
    for rate in ["1.1", "1.2", "1.3"] {
        let put = mesh
            .put_rate(dollars_for_a_euro(rate))
            .await
            .expect("a rate");
        ids.insert(0, put.exchange_rate_id);
    }
    let mut listed = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = mesh.operators(ListExchangeRatesRequest {
            from_currency_code: "EUR".to_owned(),
            page_size: 2,
            page_token,
            ..ListExchangeRatesRequest::default()
        });
        let page = mesh.fx_client().list_exchange_rates(request).await;
        let page = page.expect("an operator lists rates").into_inner();
        listed.extend(
            page.exchange_rates
                .into_iter()
                .map(|rate| rate.exchange_rate_id),
        );
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, ids);
}

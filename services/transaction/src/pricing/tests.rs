//! Prices on the real database: many at once, and what is read back.

use std::time::Duration;

use bursar_aip::id::{ExchangeRateId, FeeRuleId, WalletId};
use bursar_money::Currency;
use bursar_server::now;
use bursar_testkit::TestDatabase;

use super::*;
use crate::domain::{
    Conversion, Event, FeePayer, FeeRule, Initiated, Quote, Rounding, Transaction,
};
use crate::store::events::EventBatch;
use crate::store::fees::StoredRule;
use crate::store::quotes::StoredQuote;
use crate::store::transactions::Stored;
use crate::store::{events, transactions};

async fn database() -> TestDatabase {
    TestDatabase::create(&crate::definition().migrations).await
}

fn money(code: &str, minor: i64) -> PositiveMoney {
    let currency = Currency::parse(code).expect("a currency");
    PositiveMoney::new(currency, minor).expect("positive")
}

fn transfer() -> Movement {
    Movement::Transfer {
        from: WalletId::generate(),
        to: WalletId::generate(),
    }
}

fn deposit() -> Movement {
    Movement::Deposit {
        to: WalletId::generate(),
        provider: "sandbox".parse().expect("a name"),
    }
}

/// A rule with a fixed fee for transfers in euros.
fn rule(fixed_minor: i64) -> FeeRule {
    FeeRule {
        id: FeeRuleId::generate(),
        kind: MovementKind::Transfer,
        currency: money("EUR", 1).currency(),
        from_minor: 0,
        to_minor: None,
        fixed_minor,
        basis_points: 0,
        min_fee_minor: 0,
        max_fee_minor: None,
        payer: FeePayer::Sender,
        rounding: Rounding::HalfUp,
        priority: 0,
    }
}

async fn make(conn: &mut PgConnection, tenant: &TenantId, rule: FeeRule) {
    let stored = StoredRule {
        rule,
        tenant: tenant.clone(),
        created_by: "usr_1".to_owned(),
        created_at: now(),
        archived: None,
    };
    fees::insert(conn, &stored).await.expect("a new rule");
}

/// A quote for a transfer of one euro, with a fee of 7 and a conversion.
async fn quote(conn: &mut PgConnection, tenant: &TenantId, user: UserId) -> Quote {
    let conversion = Conversion {
        amount: money("USD", 110),
        rate: "1.1".parse().expect("a rate"),
        spread_basis_points: 25,
        source: "ecb".to_owned(),
        observed_at: now(),
        exchange_rate: ExchangeRateId::generate(),
    };
    let quote = Quote {
        id: QuoteId::generate(),
        user,
        kind: MovementKind::Transfer,
        amount: money("EUR", 100),
        from: None,
        to: None,
        price: Price {
            fee: Some(rule(7).fee(100)),
            conversion: Some(conversion),
        },
        created_at: now(),
        expires_at: now() + Duration::from_secs(300),
        used_by: None,
    };
    let stored = StoredQuote {
        quote: quote.clone(),
        tenant: tenant.clone(),
    };
    quotes::insert(conn, &stored).await.expect("a new quote");
    let found = quotes::find(conn, quote.id).await.expect("it is read");
    assert_eq!(found, Some(stored));
    quote
}

/// Many transactions are priced at once, each by its own tenant's rules or by its
/// quote; of two that name one quote the first gets it.
#[tokio::test]
async fn many_are_priced_at_once() {
    let database = database().await;
    let mut conn = database.pool.begin().await.expect("a connection");
    let (own, other): (TenantId, TenantId) =
        (TenantId::default(), "acme".parse().expect("a tenant"));
    let user = UserId::generate();
    make(&mut conn, &own, rule(3)).await;
    make(&mut conn, &other, rule(5)).await;
    let quote = quote(&mut conn, &own, user).await;
    let (sent, put) = (transfer(), deposit());
    let order = |tenant, movement, amount, quote| Order {
        transaction: TransactionId::generate(),
        tenant,
        user,
        movement,
        amount,
        quote,
    };
    let euro = money("EUR", 100);
    let orders = [
        order(&own, &sent, euro, None),
        order(&own, &sent, euro, Some(quote.id)),
        order(&other, &sent, euro, None),
        order(&own, &sent, money("USD", 100), None),
        order(&own, &sent, euro, Some(quote.id)),
        order(&own, &put, euro, None),
        order(&own, &sent, euro, Some(QuoteId::generate())),
        order(&other, &sent, euro, Some(quote.id)),
        order(&own, &sent, money("EUR", MAX_AMOUNT_MINOR), None),
    ];
    let prices = price(&mut conn, &orders, now())
        .await
        .expect("they are priced");
    let fees: Vec<_> = prices
        .into_iter()
        .map(|price| price.map(|price| price.fee_minor()))
        .collect();
    let refused = |error| Err(PricingError::Quote(error));
    assert_eq!(
        fees,
        [
            Ok(3),
            Ok(7),
            Ok(5),
            Ok(0),
            refused(QuoteError::Used),
            Ok(0),
            refused(QuoteError::NotFound),
            refused(QuoteError::NotFound),
            Err(PricingError::AmountTooLarge),
        ]
    );
    let used = quotes::find(&mut conn, quote.id).await.expect("it is read");
    let used_by = used.expect("it is there").quote.used_by;
    assert_eq!(used_by, Some(orders[1].transaction));
}

/// A price is in the first event and in the row, and both say the same.
#[tokio::test]
async fn prices_are_read_back_from_log_and_row() {
    let database = database().await;
    let mut conn = database.pool.begin().await.expect("a connection");
    let (tenant, user) = (TenantId::default(), UserId::generate());
    let quote = quote(&mut conn, &tenant, user).await;
    let only_fee = Price {
        conversion: None,
        ..quote.price.clone()
    };
    for price in [Price::default(), only_fee, quote.price] {
        let initiated = Initiated {
            movement: transfer(),
            amount: quote.amount,
            price,
            initiator: user,
        };
        let id = TransactionId::generate();
        let stored = Stored {
            transaction: Transaction::initiate(id, initiated.clone(), now()),
            tenant: tenant.clone(),
            description: String::new(),
            refunded_minor: 0,
        };
        let batch = EventBatch::new();
        transactions::insert(&mut conn, &stored, &batch)
            .await
            .expect("a new row");
        let log = [Event::Initiated(initiated)];
        batch
            .append(&mut conn, &stored, &log, "usr_1")
            .await
            .expect("a new log");
        let log = events::load(&mut conn, id).await.expect("the log is read");
        let folded = Transaction::fold(id, log).expect("the log is whole");
        let row = transactions::find(&mut conn, id).await.expect("it is read");
        assert_eq!(row.expect("it is there").transaction, folded);
        assert_eq!(folded, stored.transaction);
    }
}

/// Quotes that expired unused are deleted after a while, used ones never.
#[tokio::test]
async fn unused_quotes_are_deleted() {
    let database = database().await;
    let mut conn = database.pool.begin().await.expect("a connection");
    let (tenant, user) = (TenantId::default(), UserId::generate());
    let used = quote(&mut conn, &tenant, user).await;
    let unused = quote(&mut conn, &tenant, user).await;
    quotes::use_up(&mut conn, &[(used.id, TransactionId::generate())], now())
        .await
        .expect("it is there");
    let early = quotes::delete_unused(&mut conn, now(), 10)
        .await
        .expect("it deletes");
    assert_eq!(early, 0);
    let late = now() + Duration::from_secs(301);
    let late = quotes::delete_unused(&mut conn, late, 10)
        .await
        .expect("it deletes");
    assert_eq!(late, 1);
    let left = quotes::lock(&mut conn, &[used.id, unused.id])
        .await
        .expect("it is read");
    let left: Vec<_> = left.into_iter().map(|stored| stored.quote.id).collect();
    assert_eq!(left, [used.id]);
}

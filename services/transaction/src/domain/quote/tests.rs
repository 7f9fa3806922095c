//! When a quote can be used.

use std::time::Duration;

use bursar_money::Currency;
use uuid::Uuid;

use super::*;

const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

fn euros(minor: i64) -> PositiveMoney {
    let euro = Currency::parse("EUR").expect("a currency");
    PositiveMoney::new(euro, minor).expect("positive")
}

fn wallet(id: u128) -> WalletId {
    WalletId::from_uuid(Uuid::from_u128(id))
}

fn user(id: u128) -> UserId {
    UserId::from_uuid(Uuid::from_u128(id))
}

fn quote() -> Quote {
    Quote {
        id: QuoteId::from_uuid(Uuid::from_u128(1)),
        user: user(1),
        kind: MovementKind::Transfer,
        amount: euros(100),
        from: Some(wallet(1)),
        to: Some(wallet(2)),
        price: Price::default(),
        created_at: NOW,
        expires_at: NOW + Duration::from_secs(300),
        used_by: None,
    }
}

fn transfer(from: u128, to: u128) -> Movement {
    Movement::Transfer {
        from: wallet(from),
        to: wallet(to),
    }
}

/// It fits just what it is for, until the moment at which it expires.
#[test]
fn a_quote_fits_what_it_is_for() {
    let quote = quote();
    let last = quote.expires_at - Duration::from_micros(1);
    for now in [NOW, last] {
        assert_eq!(
            quote.fits(user(1), &transfer(1, 2), euros(100), now),
            Ok(())
        );
    }
    let late = quote.fits(user(1), &transfer(1, 2), euros(100), quote.expires_at);
    assert_eq!(late, Err(QuoteError::Expired));
}

/// Without wallets it fits any.
#[test]
fn a_quote_without_wallets_fits_any() {
    let quote = Quote {
        from: None,
        to: None,
        ..quote()
    };
    assert_eq!(
        quote.fits(user(1), &transfer(7, 8), euros(100), NOW),
        Ok(())
    );
}

/// What differs is named; another user does not even learn that it is there.
#[test]
fn what_differs_is_named() {
    let deposit = Movement::Deposit {
        to: wallet(2),
        provider: "sandbox".parse().expect("a name"),
    };
    let quote = quote();
    let fits = |who, movement: &Movement, minor| quote.fits(user(who), movement, euros(minor), NOW);
    let mismatch = |field| Err(QuoteError::Mismatch { field });
    assert_eq!(fits(2, &transfer(1, 2), 100), Err(QuoteError::NotFound));
    assert_eq!(fits(1, &deposit, 100), mismatch("quote_id"));
    assert_eq!(fits(1, &transfer(1, 2), 101), mismatch("amount"));
    assert_eq!(fits(1, &transfer(3, 2), 100), mismatch("from_wallet_id"));
    assert_eq!(fits(1, &transfer(1, 3), 100), mismatch("to_wallet_id"));
}

/// One that was used is used, also when it has expired by now.
#[test]
fn a_quote_is_used_once() {
    let used = Quote {
        used_by: Some(TransactionId::from_uuid(Uuid::nil())),
        ..quote()
    };
    let again = used.fits(user(1), &transfer(1, 2), euros(100), used.expires_at);
    assert_eq!(again, Err(QuoteError::Used));
}

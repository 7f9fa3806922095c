use bursar_aip::id::{TenantId, UserId, WalletId};
use bursar_money::Currency;
use time::macros::datetime;
use uuid::Uuid;

use super::*;

fn wallet(status: WalletStatus) -> Wallet {
    let currency = Currency::parse("EUR").expect("a currency");
    Wallet {
        status,
        ..Wallet::open(
            WalletId::from_uuid(Uuid::nil()),
            TenantId::default(),
            UserId::from_uuid(Uuid::nil()),
            currency,
            datetime!(2026-01-01 00:00 UTC),
        )
    }
}

/// The table of the module, cell by cell; every change counts one event and
/// touches nothing else.
#[test]
fn statuses_follow_the_table() {
    use WalletStatus::{Active, Closed, Frozen};
    for (from, rule, to) in [
        (Active, freeze as fn(&Wallet) -> Changed, Ok(Some(Frozen))),
        (Frozen, freeze, Ok(None)),
        (Closed, freeze, Err(Refusal::Closed)),
        (Active, unfreeze, Ok(None)),
        (Frozen, unfreeze, Ok(Some(Active))),
        (Closed, unfreeze, Err(Refusal::Closed)),
        (Active, close, Ok(Some(Closed))),
        (Frozen, close, Err(Refusal::Frozen)),
        (Closed, close, Ok(None)),
    ] {
        let before = wallet(from);
        let expected = to.map(|status: Option<WalletStatus>| {
            status.map(|status| Wallet {
                status,
                event_version: 2,
                ..before.clone()
            })
        });
        assert_eq!(rule(&before), expected, "{from:?} to {to:?}");
        let system = Wallet {
            owner: None,
            ..before
        };
        assert_eq!(rule(&system), Err(Refusal::System));
    }
}

/// One minor unit in any bucket, or owed, keeps a wallet open.
#[test]
fn only_empty_wallets_close() {
    let balances = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, 0, 1)];
    for (available, held, bonus) in balances {
        let full = Wallet {
            balance: Balance {
                available,
                held,
                bonus,
            },
            ..wallet(WalletStatus::Active)
        };
        assert_eq!(close(&full), Err(Refusal::NotEmpty));
    }
}

/// A credit limit may be as low as what the wallet owes, and no lower.
#[test]
fn credit_in_use_is_kept() {
    let owing = Wallet {
        balance: Balance {
            available: -40,
            ..Balance::default()
        },
        min_available: -100,
        ..wallet(WalletStatus::Active)
    };
    assert_eq!(set_credit_limit(&owing, 39), Err(Refusal::CreditInUse));
    let lower = set_credit_limit(&owing, 40).expect("just enough");
    assert_eq!(lower.expect("another limit").min_available, -40);
    assert_eq!(set_credit_limit(&owing, 100), Ok(None));
    let closed = wallet(WalletStatus::Closed);
    assert_eq!(set_credit_limit(&closed, 1), Err(Refusal::Closed));
    let most = set_credit_limit(&owing, i64::MAX).expect("no overflow");
    assert_eq!(most.expect("another limit").min_available, -i64::MAX);
}

/// New limits keep what was spent today, and none keep counting too.
#[test]
fn what_was_spent_stays_counted() {
    let now = datetime!(2026-03-31 12:00 UTC);
    let wallet = wallet(WalletStatus::Frozen);
    let daily = |daily| Limits {
        daily,
        ..Limits::default()
    };
    assert_eq!(
        set_spending_limits(&wallet, None, Limits::default(), now),
        Ok(None)
    );
    let (with_limits, first) = set_spending_limits(&wallet, None, daily(Some(10)), now)
        .expect("open")
        .expect("a change");
    assert!(with_limits.has_limits);
    assert_eq!(with_limits.event_version, 2);
    let spent = first.spend(7, now).expect("within");
    let (_, none) = set_spending_limits(&with_limits, Some(spent), daily(None), now)
        .expect("open")
        .expect("a change");
    assert_eq!((none.limits, none.day_spent), (Limits::default(), 7));
    let tomorrow = datetime!(2026-04-01 00:00 UTC);
    let (_, later) = set_spending_limits(&with_limits, Some(none), daily(Some(3)), tomorrow)
        .expect("open")
        .expect("a change");
    assert_eq!((later.day_spent, later.month_spent), (0, 0));
}

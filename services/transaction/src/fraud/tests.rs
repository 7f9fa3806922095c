//! The pure part: variables, expressions, and what rules come to.

mod expressions;
mod patterns;
mod rules;

use bursar_aip::id::{TenantId, TransactionId, UserId, WalletId};
use bursar_money::{Currency, PositiveMoney};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::features::SMALL_MINOR;
use super::variables::VARIABLES;
use super::{Features, History, Subject, Variables};
use crate::domain::MovementKind;

/// A Saturday.
const AT: OffsetDateTime = datetime!(2026-03-07 14:30 UTC);
/// The operators' page.
const PAGE: &str = include_str!("../../../../docs/operations/fraud.md");

fn subject(kind: MovementKind, minor: i64) -> Subject {
    let id = Uuid::from_u128(1);
    let is_transfer = kind == MovementKind::Transfer;
    Subject {
        tenant: TenantId::parse("default").expect("a tenant"),
        transaction: TransactionId::from_uuid(id),
        user: UserId::from_uuid(id),
        kind,
        amount: PositiveMoney::new(Currency::parse("EUR").expect("a currency"), minor)
            .expect("a positive amount"),
        payee: is_transfer.then(|| WalletId::from_uuid(id)),
        provider: (!is_transfer).then(|| "sandbox".parse().expect("a name")),
        at: AT,
    }
}

fn variables(subject: &Subject, history: History) -> Variables {
    Variables::of(subject, &Features::of(subject, history))
}

fn ago(duration: Duration) -> Option<OffsetDateTime> {
    Some(AT - duration)
}

fn told(variables: &Variables, name: &str) -> String {
    let mut told = variables.told();
    told.find(|(told, _)| told == name)
        .expect("there is such a variable")
        .1
}

/// Every variable has the value that its name says.
#[test]
fn every_variable_has_its_value() {
    let history = History {
        withdrawals_last_hour: 1,
        withdrawals_last_day: 2,
        withdrawals_minor_last_hour: 3,
        withdrawals_minor_last_day: 4,
        transfers_last_10_minutes: 5,
        transfers_last_hour: 6,
        transfers_minor_last_hour: 7,
        small_transfers_last_hour: 8,
        small_transfers_last_day: 9,
        first_of_last_day: None,
        last_of_last_day: None,
        before_last_day: ago(Duration::hours(59)),
        first_of_all: ago(Duration::days(12)),
        payee_known_since: ago(Duration::days(11)),
        paid_30_days: 13,
        average_minor_30_days: 14,
        max_minor_30_days: 15,
    };
    let variables = variables(&subject(MovementKind::Transfer, 700), history);
    let told: Vec<(String, String)> = variables.told().collect();
    let expected = [
        ("transaction.type", "TRANSFER"),
        ("transaction.amount_minor", "700"),
        ("transaction.currency_code", "EUR"),
        ("transaction.provider", ""),
        ("user.withdrawals_last_hour", "1"),
        ("user.withdrawals_last_day", "2"),
        ("user.withdrawals_minor_last_hour", "3"),
        ("user.withdrawals_minor_last_day", "4"),
        ("user.transfers_last_10_minutes", "5"),
        ("user.transfers_last_hour", "6"),
        ("user.transfers_minor_last_hour", "7"),
        ("user.small_transfers_last_hour", "8"),
        ("user.small_transfers_last_day", "9"),
        ("user.is_new", "false"),
        ("user.account_age_days", "12"),
        ("user.days_since_last_activity", "2"),
        ("user.days_dormant", "2"),
        ("user.payments_30_days", "13"),
        ("user.average_minor_30_days", "14"),
        ("user.max_minor_30_days", "15"),
        (
            "payee.wallet_id",
            "wal_00000000-0000-0000-0000-000000000001",
        ),
        ("payee.is_new", "false"),
        ("payee.known_days", "11"),
        ("now.hour", "14"),
        ("now.weekday", "6"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(told, expected);
}

/// Every variable stands on the operators' page, and the page has no other.
#[test]
fn the_page_lists_every_variable() {
    let listed: Vec<&str> = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|name| name.contains('.'))
        .collect();
    let names: Vec<String> = VARIABLES
        .iter()
        .map(|variable| format!("{}.{}", variable.space, variable.name))
        .collect();
    assert_eq!(listed, names);
}

/// A user of whom nothing is known is new, and so is the payee; a withdrawal has none.
#[test]
fn nothing_known_is_new() {
    let transfer = variables(&subject(MovementKind::Transfer, 1), History::default());
    let withdrawal = variables(&subject(MovementKind::Withdrawal, 1), History::default());
    for (name, of_transfer, of_withdrawal) in [
        ("user.is_new", "true", "true"),
        ("user.account_age_days", "0", "0"),
        ("user.days_dormant", "0", "0"),
        ("payee.is_new", "true", "false"),
        ("payee.known_days", "0", "0"),
        ("transaction.type", "TRANSFER", "WITHDRAWAL"),
        ("transaction.provider", "", "sandbox"),
    ] {
        assert_eq!(told(&transfer, name), of_transfer, "{name}");
        assert_eq!(told(&withdrawal, name), of_withdrawal, "{name}");
    }
}

/// A small payment does not end a long sleep for the next 24 hours.
#[test]
fn a_first_payment_does_not_hide_a_long_sleep() {
    let history = History {
        before_last_day: ago(Duration::days(200)),
        first_of_all: ago(Duration::days(300)),
        first_of_last_day: ago(Duration::hours(3)),
        last_of_last_day: ago(Duration::minutes(1)),
        ..History::default()
    };
    let woken = variables(&subject(MovementKind::Transfer, 1), history.clone());
    assert_eq!(told(&woken, "user.days_dormant"), "199");
    assert_eq!(told(&woken, "user.days_since_last_activity"), "0");
    let waking = History {
        first_of_last_day: None,
        last_of_last_day: None,
        ..history
    };
    let waking = variables(&subject(MovementKind::Transfer, 1), waking);
    assert_eq!(told(&waking, "user.days_dormant"), "200");
    assert_eq!(told(&waking, "user.days_since_last_activity"), "200");
}

/// What stands before it in a batch counts as if it were recorded.
#[test]
fn a_batch_counts_what_stands_before() {
    let this = subject(MovementKind::Transfer, 1);
    let mut history = History::default();
    history.take_in(&subject(MovementKind::Transfer, SMALL_MINOR), &this);
    history.take_in(&subject(MovementKind::Transfer, SMALL_MINOR + 1), &this);
    history.take_in(&subject(MovementKind::Withdrawal, 40), &this);
    let expected = History {
        withdrawals_last_hour: 1,
        withdrawals_last_day: 1,
        withdrawals_minor_last_hour: 40,
        withdrawals_minor_last_day: 40,
        transfers_last_10_minutes: 2,
        transfers_last_hour: 2,
        transfers_minor_last_hour: 2 * SMALL_MINOR + 1,
        small_transfers_last_hour: 1,
        small_transfers_last_day: 1,
        first_of_last_day: Some(AT),
        last_of_last_day: Some(AT),
        first_of_all: Some(AT),
        ..History::default()
    };
    assert_eq!(history, expected);
    let mut dollars = subject(MovementKind::Transfer, 5);
    dollars.amount =
        PositiveMoney::new(Currency::parse("USD").expect("a currency"), 5).expect("positive");
    let mut history = History::default();
    history.take_in(&dollars, &this);
    assert_eq!(history.transfers_last_hour, 1);
    assert_eq!(history.transfers_minor_last_hour, 0);
    assert_eq!(history.small_transfers_last_hour, 0);
}

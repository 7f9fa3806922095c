//! The five patterns, by the expressions of the operators' page.

use time::Duration;

use super::{AT, PAGE, ago, subject, variables};
use crate::domain::MovementKind::{self, Deposit, Transfer, Withdrawal};
use crate::fraud::{Expression, History};

/// The expression of a ready rule.
fn ready(name: &str) -> Expression {
    let (_, rest) = PAGE
        .split_once(&format!("#### {name}\n"))
        .expect("the page has the rule");
    let (_, rest) = rest.split_once("```cel\n").expect("it has an expression");
    let (text, _) = rest.split_once("```").expect("which ends");
    Expression::compile(text.trim()).expect("which is valid")
}

fn matches(name: &str, kind: MovementKind, minor: i64, history: History) -> bool {
    let variables = variables(&subject(kind, minor), history);
    let matches = ready(name).matches(&variables);
    matches.expect("it can be evaluated")
}

fn known() -> History {
    History {
        payee_known_since: ago(Duration::days(3)),
        first_of_all: ago(Duration::days(3)),
        ..History::default()
    }
}

/// The fourth withdrawal of an hour.
#[test]
fn rapid_withdrawals() {
    let after = |withdrawals_last_hour| History {
        withdrawals_last_hour,
        ..known()
    };
    let of = |kind, count| matches("rapid_withdrawals", kind, 10, after(count));
    assert!(!of(Withdrawal, 2));
    assert!(of(Withdrawal, 3));
    assert!(!of(Transfer, 3));
}

/// 10,000.00 and more, on its way out.
#[test]
fn high_value() {
    let of = |kind, minor| matches("high_value", kind, minor, known());
    assert!(!of(Transfer, 999_999));
    assert!(of(Transfer, 1_000_000));
    assert!(of(Withdrawal, 1_000_000));
    assert!(!of(Deposit, 1_000_000));
}

/// Much, to somebody who never got anything.
#[test]
fn new_payee_high_value() {
    let of = |kind, minor, history| matches("new_payee_high_value", kind, minor, history);
    assert!(of(Transfer, 100_000, History::default()));
    assert!(!of(Transfer, 99_999, History::default()));
    assert!(!of(Transfer, 100_000, known()));
    assert!(!of(Withdrawal, 100_000, History::default()));
}

/// The eleventh small transfer of an hour.
#[test]
fn many_small_transfers() {
    let after = |small_transfers_last_hour| History {
        small_transfers_last_hour,
        ..known()
    };
    let of = |minor, count| matches("many_small_transfers", Transfer, minor, after(count));
    assert!(!of(5_000, 9));
    assert!(of(5_000, 10));
    assert!(!of(5_001, 10));
}

/// The first payments after three months.
#[test]
fn dormant_account_wakes() {
    let slept = |days| History {
        before_last_day: ago(Duration::days(days)),
        first_of_last_day: Some(AT),
        last_of_last_day: Some(AT),
        ..known()
    };
    let of = |kind, minor, days| matches("dormant_account_wakes", kind, minor, slept(days));
    assert!(of(Withdrawal, 20_000, 90));
    assert!(of(Transfer, 20_000, 90));
    assert!(!of(Withdrawal, 19_999, 90));
    assert!(!of(Withdrawal, 20_000, 89));
    assert!(!of(Deposit, 20_000, 90));
}

use bursar_aip::id::SettlementFileId;
use bursar_money::Currency;
use proptest::prelude::*;
use time::macros::{date, datetime};
use uuid::Uuid;

use super::*;
use crate::reconciliation::LineType;

fn currency(code: &str) -> Currency {
    Currency::parse(code).expect("a currency")
}

fn id(number: u128) -> TransactionId {
    TransactionId::from_uuid(Uuid::from_u128(number))
}

/// A charge of one euro on the second of March, of this transaction.
fn line(number: i64, transaction: u128) -> Line {
    Line {
        id: LineId {
            file: SettlementFileId::from_uuid(Uuid::nil()),
            number,
        },
        reference: id(transaction).to_string(),
        provider_reference: format!("ch_{transaction}"),
        batch_reference: String::new(),
        type_word: "charge".to_owned(),
        kind: LineType::Charge,
        currency: currency("EUR"),
        gross_minor: 100,
        fee_minor: 0,
        net_minor: 100,
        occurred_at: datetime!(2026-03-02 12:00 UTC),
    }
}

/// The transaction that [`line`] means.
fn recorded(number: u128) -> Recorded {
    Recorded {
        id: id(number),
        provider_reference: Some(format!("ch_{number}")),
        kind: LineType::Charge,
        currency: currency("EUR"),
        amount_minor: 100,
        standing: Standing::Completed,
        state: "COMPLETED".to_owned(),
        day: date!(2026 - 03 - 02),
        is_taken: false,
    }
}

fn reasons(outcome: &Outcome) -> Vec<Reason> {
    outcome.breaks.iter().map(|found| found.reason).collect()
}

fn outcome(lines: &[Line], recorded: &[Recorded]) -> Outcome {
    reconcile(&Rule::initial(), lines, recorded)
}

/// A line that agrees is joined by our reference, and one without it by the
/// provider's.
#[test]
fn one_line_meets_one_transaction() {
    let found = outcome(&[line(2, 1)], &[recorded(1)]);
    assert_eq!(found.breaks, []);
    assert_eq!(found.matches[0].rule, "reference");
    let unnamed = Line {
        reference: String::new(),
        ..line(2, 1)
    };
    let found = outcome(&[unnamed], &[recorded(1)]);
    assert_eq!(found.matches[0].rule, "provider_reference");
    assert_eq!(found.matches[0].transactions, [id(1)]);
}

/// Each difference has its own reason, and the line keeps the transaction.
#[test]
fn each_difference_has_its_reason() {
    let other = |change: fn(&mut Line)| {
        let mut line = line(2, 1);
        change(&mut line);
        line
    };
    let cases = [
        (other(|line| line.gross_minor = 99), Reason::AmountMismatch),
        (
            other(|line| line.currency = currency("USD")),
            Reason::CurrencyMismatch,
        ),
        (
            other(|line| line.kind = LineType::Refund),
            Reason::TypeMismatch,
        ),
        (
            other(|line| line.occurred_at = datetime!(2026-03-04 00:00 UTC)),
            Reason::DateOutsideWindow,
        ),
        (
            other(|line| line.reference = "unknown_7".to_owned()),
            Reason::UnknownReference,
        ),
    ];
    for (line, reason) in cases {
        let found = outcome(&[line], &[recorded(1)]);
        assert_eq!(reasons(&found), [reason]);
        assert_eq!(found.breaks[0].subject, Subject::Transaction(id(1)));
        assert_eq!(found.breaks[0].transaction, Some(id(1)));
    }
    let failed = Recorded {
        standing: Standing::Other,
        ..recorded(1)
    };
    let found = outcome(&[line(2, 1)], &[failed]);
    assert_eq!(reasons(&found), [Reason::StatusMismatch]);
}

/// What nobody recorded is missing in the ledger when it has a reference of ours,
/// and unknown otherwise.
#[test]
fn what_is_not_ours_is_told_apart() {
    let found = outcome(&[line(2, 1)], &[]);
    assert_eq!(reasons(&found), [Reason::MissingInLedger]);
    assert_eq!(found.breaks[0].subject, Subject::Transaction(id(1)));
    let unnamed = Line {
        reference: "extra".to_owned(),
        ..line(2, 1)
    };
    let found = outcome(&[unnamed], &[recorded(2)]);
    assert_eq!(reasons(&found), [Reason::UnknownReference]);
    assert_eq!(found.breaks[0].transaction, None);
}

/// A second line about a transaction is a duplicate, in this file or in a later
/// one.
#[test]
fn a_repeated_line_is_a_duplicate() {
    let found = outcome(&[line(3, 1), line(2, 1)], &[recorded(1)]);
    assert_eq!(found.matches.len(), 1);
    assert_eq!(reasons(&found), [Reason::DuplicateLine]);
    let taken = Recorded {
        is_taken: true,
        ..recorded(1)
    };
    let found = outcome(&[line(2, 1)], &[taken]);
    assert_eq!(reasons(&found), [Reason::DuplicateLine]);
    let wrong = |number| Line {
        gross_minor: 7,
        ..line(number, 1)
    };
    let found = outcome(&[wrong(2), wrong(3)], &[recorded(1)]);
    let wanted = [Reason::AmountMismatch, Reason::DuplicateLine];
    assert_eq!(reasons(&found), wanted);
}

/// Parts of one transaction, a batch, and a collective line are joined by their
/// sums, and not by anything less.
#[test]
fn sums_are_joined() {
    let part = |number, gross_minor| Line {
        gross_minor,
        ..line(number, 1)
    };
    let found = outcome(&[part(2, 30), part(3, 70)], &[recorded(1)]);
    assert_eq!(found.matches[0].rule, "parts_of_one");
    assert_eq!(found.matches[0].lines.len(), 2);
    let found = outcome(&[part(2, 30), part(3, 71)], &[recorded(1)]);
    assert_eq!(found.matches, []);

    let batched = |number| Line {
        batch_reference: "ch_1".to_owned(),
        reference: String::new(),
        provider_reference: String::new(),
        gross_minor: 50,
        ..line(number, 1)
    };
    let found = outcome(&[batched(2), batched(3)], &[recorded(1)]);
    assert_eq!(found.matches[0].rule, "batch");

    let of_batch = |number| Recorded {
        provider_reference: Some("po_1".to_owned()),
        ..recorded(number)
    };
    let collective = Line {
        reference: String::new(),
        provider_reference: "po_1".to_owned(),
        gross_minor: 200,
        ..line(2, 1)
    };
    let found = outcome(&[collective], &[of_batch(1), of_batch(2)]);
    assert_eq!(found.matches[0].rule, "collective");
    assert_eq!(found.matches[0].transactions, [id(1), id(2)]);
}

/// A tolerance lets a line be off by as much and no more, and what agrees
/// exactly comes first.
#[test]
fn tolerance_is_kept() {
    let rules = [Rule {
        name: "near".to_owned(),
        key: Key::ProviderReference,
        cardinality: Cardinality::OneToOne,
        tolerance_minor: 5,
        window_days: 0,
    }];
    let near = |number, gross_minor| Line {
        reference: String::new(),
        gross_minor,
        ..line(number, 1)
    };
    let found = reconcile(&rules, &[near(2, 105)], &[recorded(1)]);
    assert_eq!(found.breaks, []);
    let found = reconcile(&rules, &[near(2, 106)], &[recorded(1)]);
    assert_eq!(reasons(&found), [Reason::AmountMismatch]);
    let found = reconcile(&rules, &[near(2, 95), near(3, 100)], &[recorded(1)]);
    assert_eq!(found.matches[0].lines[0].number, 3);
}

/// What goes out may be below zero; a charge may not.
#[test]
fn signs_follow_the_direction() {
    let paid = |number, kind| Line {
        kind,
        gross_minor: -100,
        ..line(number, 1)
    };
    let payout = Recorded {
        kind: LineType::Payout,
        ..recorded(1)
    };
    let found = outcome(&[paid(2, LineType::Payout)], &[payout]);
    assert_eq!(found.breaks, []);
    let found = outcome(&[paid(2, LineType::Charge)], &[recorded(1)]);
    assert_eq!(reasons(&found), [Reason::AmountMismatch]);
}

fn any_lines() -> impl Strategy<Value = Vec<Line>> {
    let one = (
        (0..6_u128, 0..3_u8, 0..4_u128, 0..3_u8),
        proptest::sample::select(vec![50_i64, 99, 100, 101, 200, -100]),
        proptest::sample::select(LineType::ALL.to_vec()),
        (proptest::bool::weighted(0.9), 0..4_i64),
    );
    let one = one.prop_map(
        |((own, named, other, batch), gross_minor, kind, (is_eur, days))| {
            let reference = match named {
                0 => String::new(),
                1 => format!("other_{own}"),
                _ => id(own).to_string(),
            };
            Line {
                reference,
                provider_reference: format!("ch_{other}"),
                batch_reference: match batch {
                    0 => format!("ch_{own}"),
                    _ => String::new(),
                },
                gross_minor,
                kind,
                currency: currency(if is_eur { "EUR" } else { "USD" }),
                occurred_at: datetime!(2026-03-02 12:00 UTC) + time::Duration::days(days),
                ..line(0, 0)
            }
        },
    );
    proptest::collection::vec(one, 0..24).prop_map(|mut lines| {
        for (number, line) in (2..).zip(&mut lines) {
            line.id.number = number;
        }
        lines
    })
}

fn any_recorded() -> impl Strategy<Value = Vec<Recorded>> {
    let one = (
        (0..6_u128, 0..4_u128),
        proptest::sample::select(vec![100_i64, 150, 200]),
        proptest::bool::weighted(0.9),
        proptest::bool::weighted(0.1),
    );
    let one = one.prop_map(
        |((number, other), amount_minor, is_done, is_taken)| Recorded {
            provider_reference: Some(format!("ch_{other}")),
            amount_minor,
            standing: if is_done {
                Standing::Completed
            } else {
                Standing::UnderWay
            },
            is_taken,
            ..recorded(number)
        },
    );
    // Ids are unique in the books.
    proptest::collection::btree_map(0..6_u128, one, 0..6).prop_map(|recorded| {
        recorded
            .into_iter()
            .map(|(number, one)| Recorded {
                id: id(number),
                ..one
            })
            .collect()
    })
}

/// What was found, with lines by what they say instead of where they are.
fn by_content(lines: &[Line], outcome: &Outcome) -> (Vec<String>, Vec<String>) {
    let text = |wanted: &LineId| {
        let line = lines.iter().find(|line| line.id == *wanted);
        let mut line = line.expect("a line of this file").clone();
        line.id.number = 0;
        format!("{line:?}")
    };
    let mut matches: Vec<_> = outcome
        .matches
        .iter()
        .map(|found| {
            let mut lines: Vec<_> = found.lines.iter().map(text).collect();
            lines.sort();
            format!("{} {lines:?} {:?}", found.rule, found.transactions)
        })
        .collect();
    let mut breaks: Vec<_> = outcome
        .breaks
        .iter()
        .map(|found| {
            format!(
                "{} {:?} {:?}",
                text(&found.line),
                found.reason,
                found.transaction
            )
        })
        .collect();
    matches.sort();
    breaks.sort();
    (matches, breaks)
}

proptest! {
    /// Every line is in exactly one match or break, every transaction in at most
    /// one match, and none that was taken before is matched.
    #[test]
    fn nothing_is_lost_or_counted_twice(lines in any_lines(), recorded in any_recorded()) {
        let found = outcome(&lines, &recorded);
        let mut seen: Vec<_> = found.matches.iter().flat_map(|found| &found.lines).collect();
        seen.extend(found.breaks.iter().map(|found| &found.line));
        seen.sort();
        let mut given: Vec<_> = lines.iter().map(|line| &line.id).collect();
        given.sort();
        prop_assert_eq!(seen, given);
        let mut matched: Vec<_> =
            found.matches.iter().flat_map(|found| &found.transactions).collect();
        let count = matched.len();
        matched.sort();
        matched.dedup();
        prop_assert_eq!(matched.len(), count);
        for one in &recorded {
            prop_assert!(!one.is_taken || !matched.contains(&&one.id));
            let is_done = one.standing == Standing::Completed;
            prop_assert!(is_done || !matched.contains(&&one.id));
        }
        let subjects: BTreeSet<_> = found.breaks.iter().map(|found| &found.subject).collect();
        prop_assert_eq!(subjects.len(), found.breaks.len());
    }

    /// In whatever order lines and transactions come, the same is found.
    #[test]
    fn order_does_not_matter(
        (lines, shuffled) in any_lines().prop_flat_map(|lines| {
            (Just(lines.clone()), Just(lines).prop_shuffle())
        }),
        recorded in any_recorded(),
    ) {
        let mut moved = shuffled;
        for (number, line) in (2..).zip(&mut moved) {
            line.id.number = number;
        }
        let mut backwards = recorded.clone();
        backwards.reverse();
        let one = by_content(&lines, &outcome(&lines, &recorded));
        let other = by_content(&moved, &outcome(&moved, &backwards));
        prop_assert_eq!(one, other);
    }

    /// The sums of a match agree within the rule's tolerance.
    #[test]
    fn matches_agree(lines in any_lines(), books in any_recorded()) {
        for found in outcome(&lines, &books).matches {
            let said: i64 = lines
                .iter()
                .filter(|line| found.lines.contains(&line.id))
                .map(Line::moved_minor)
                .sum();
            let booked: i64 = books
                .iter()
                .filter(|one| found.transactions.contains(&one.id))
                .map(|one| one.amount_minor)
                .sum();
            prop_assert_eq!(said, booked);
        }
    }
}

//! What is wrong with a settlement file, on demand.
//!
//! A discrepancy belongs to a day and stays: the file of the day is the same
//! whenever it is read. The trailers are those of the lines as they are written,
//! as in the file of a provider that is wrong about its books, not about its
//! arithmetic; `wrong_trailer` is for the other case.

use std::collections::HashMap;

use time::{Date, Duration, Time};

use super::Line;

/// What is done to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DiscrepancyKind {
    /// The line is missing.
    DropLine,
    /// The line is there twice.
    DuplicateLine,
    /// The amount is another one by so many minor units.
    ChangeAmount(i64),
    /// The currency is another one.
    ChangeCurrency(String),
    /// The customer's reference is one that the customer never gave.
    UnknownReference,
    /// The time is so many days off.
    WrongDate(i32),
    /// A charge that nobody asked for is added.
    ExtraLine {
        /// How much, in minor units.
        amount_minor: i64,
        /// The ISO 4217 code.
        currency: String,
    },
    /// The sums of the first trailer are one too high.
    WrongTrailer,
}

/// Which line a discrepancy hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// None: it adds one, or is about the trailer.
    File,
    /// The one with this number in the undisturbed file, from 1.
    Number(u64),
    /// Those of a reference, of one kind of movement when it is named.
    Reference {
        /// The customer's name.
        reference: String,
        /// The kind's name.
        kind: Option<String>,
    },
}

/// A discrepancy that was planted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Discrepancy {
    /// Its number; 0 before it is recorded.
    pub id: i64,
    /// The day of the file.
    pub day: Date,
    /// Which line.
    pub target: Target,
    /// What is done.
    pub kind: DiscrepancyKind,
}

/// All that is wrong with one file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Discrepancies {
    by_number: HashMap<u64, Vec<Discrepancy>>,
    by_reference: HashMap<String, Vec<(Option<String>, Discrepancy)>>,
    of_file: Vec<Discrepancy>,
}

impl DiscrepancyKind {
    /// The name in the API and in the database.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::DropLine => "drop_line",
            Self::DuplicateLine => "duplicate_line",
            Self::ChangeAmount(_) => "change_amount",
            Self::ChangeCurrency(_) => "change_currency",
            Self::UnknownReference => "unknown_reference",
            Self::WrongDate(_) => "wrong_date",
            Self::ExtraLine { .. } => "extra_line",
            Self::WrongTrailer => "wrong_trailer",
        }
    }

    /// Whether it hits a line that is there.
    pub(crate) fn hits_line(&self) -> bool {
        !matches!(self, Self::ExtraLine { .. } | Self::WrongTrailer)
    }
}

impl Discrepancy {
    fn apply(&self, mut lines: Vec<Line>) -> Vec<Line> {
        match &self.kind {
            DiscrepancyKind::DropLine => lines.clear(),
            DiscrepancyKind::DuplicateLine => lines.extend(lines.clone()),
            kind => {
                for line in &mut lines {
                    self.change(kind, line);
                }
            }
        }
        lines
    }

    fn change(&self, kind: &DiscrepancyKind, line: &mut Line) {
        match kind {
            DiscrepancyKind::ChangeAmount(by) => {
                line.gross_minor = line.gross_minor.saturating_add(*by);
            }
            DiscrepancyKind::ChangeCurrency(currency) => line.currency.clone_from(currency),
            DiscrepancyKind::UnknownReference => {
                line.our_reference = format!("unknown_{}", self.id);
            }
            DiscrepancyKind::WrongDate(days) => {
                let shift = Duration::days(i64::from(*days));
                line.occurred_at = line.occurred_at.saturating_add(shift);
            }
            DiscrepancyKind::DropLine
            | DiscrepancyKind::DuplicateLine
            | DiscrepancyKind::ExtraLine { .. }
            | DiscrepancyKind::WrongTrailer => {}
        }
    }
}

impl FromIterator<Discrepancy> for Discrepancies {
    fn from_iter<I: IntoIterator<Item = Discrepancy>>(all: I) -> Self {
        let mut sorted = Self::default();
        for discrepancy in all {
            match &discrepancy.target {
                Target::File => sorted.of_file.push(discrepancy),
                Target::Number(number) => {
                    let of_it = sorted.by_number.entry(*number).or_default();
                    of_it.push(discrepancy);
                }
                Target::Reference { reference, kind } => {
                    let kind = kind.clone();
                    let of_it = sorted.by_reference.entry(reference.clone()).or_default();
                    of_it.push((kind, discrepancy));
                }
            }
        }
        sorted
    }
}

impl Discrepancies {
    /// What becomes of a line with a number.
    pub(super) fn disturb(&self, number: u64, line: Line) -> Vec<Line> {
        let by_number = self.by_number.get(&number).into_iter().flatten();
        let by_reference = self.by_reference.get(&line.our_reference);
        let kind = line.kind;
        let by_reference = by_reference
            .into_iter()
            .flatten()
            .filter(|(wanted, _)| wanted.as_deref().is_none_or(|wanted| wanted == kind))
            .map(|(_, discrepancy)| discrepancy);
        by_number
            .chain(by_reference)
            .fold(vec![line], |lines, discrepancy| discrepancy.apply(lines))
    }

    /// The lines that are added to the file of a day.
    pub(super) fn extra_lines(&self, day: Date) -> Vec<Line> {
        let of_file = self.of_file.iter();
        of_file
            .filter_map(|discrepancy| match &discrepancy.kind {
                DiscrepancyKind::ExtraLine {
                    amount_minor,
                    currency,
                } => Some(Line {
                    our_reference: format!("unknown_{}", discrepancy.id),
                    provider_reference: format!("ch_unknown_{}", discrepancy.id),
                    kind: "charge",
                    currency: currency.clone(),
                    gross_minor: *amount_minor,
                    fee_minor: 0,
                    occurred_at: day.with_time(Time::MIDNIGHT).assume_utc(),
                }),
                _ => None,
            })
            .collect()
    }

    /// Whether the first trailer is wrong.
    pub(super) fn has_wrong_trailer(&self) -> bool {
        let mut of_file = self.of_file.iter();
        of_file.any(|discrepancy| discrepancy.kind == DiscrepancyKind::WrongTrailer)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::super::tests::{line, written};
    use super::*;

    fn planted(kind: DiscrepancyKind, target: Target) -> Discrepancy {
        Discrepancy {
            id: 7,
            day: date!(2025 - 01 - 02),
            target,
            kind,
        }
    }

    fn rows(kind: DiscrepancyKind, target: Target) -> Vec<String> {
        let lines = [line("r1", "EUR", 100, 2), line("r2", "EUR", 300, 5)];
        let rows = written(&lines, [planted(kind, target)].into_iter().collect());
        rows.iter().skip(1).map(|row| row.join(",")).collect()
    }

    /// Each kind changes its one line, and the trailer is that of the lines.
    #[test]
    fn each_kind_is_wrong_in_its_way() {
        let first = || Target::Number(1);
        let dropped = rows(DiscrepancyKind::DropLine, first());
        assert_eq!(dropped.len(), 3);
        assert_eq!(dropped[1], "trailer,1,total,EUR,300,5,295,2025-01-02");
        let doubled = rows(DiscrepancyKind::DuplicateLine, first());
        assert_eq!(doubled[0], doubled[1]);
        assert_eq!(doubled[3], "trailer,3,total,EUR,500,9,491,2025-01-02");
        let changed = rows(DiscrepancyKind::ChangeAmount(-1), first());
        assert!(changed[0].starts_with("r1,ch_r1,charge,EUR,99,2,97,"));
        assert_eq!(changed[2], "trailer,2,total,EUR,399,7,392,2025-01-02");
        let moved = rows(DiscrepancyKind::ChangeCurrency("USD".to_owned()), first());
        assert!(moved[0].starts_with("r1,ch_r1,charge,USD,100,"));
        assert_eq!(moved[3], "trailer,1,total,USD,100,2,98,2025-01-02");
        let unknown = rows(DiscrepancyKind::UnknownReference, first());
        assert!(unknown[0].starts_with("unknown_7,ch_r1,charge,EUR,100,"));
        let late = rows(DiscrepancyKind::WrongDate(2), first());
        assert!(late[0].ends_with(",2025-01-04T03:04:05Z"));
        let wrong = rows(DiscrepancyKind::WrongTrailer, Target::File);
        assert_eq!(wrong[2], "trailer,2,total,EUR,401,7,394,2025-01-02");
        let extra = DiscrepancyKind::ExtraLine {
            amount_minor: 50,
            currency: "EUR".to_owned(),
        };
        let extra = rows(extra, Target::File);
        assert!(extra[2].starts_with("unknown_7,ch_unknown_7,charge,EUR,50,0,50,"));
        assert_eq!(extra[4], "end,3,end,,,,,2025-01-02");
    }

    /// A reference hits its lines, but only those of the kind that is named.
    #[test]
    fn references_hit_their_lines() {
        let target = |reference: &str, kind: Option<&str>| Target::Reference {
            reference: reference.to_owned(),
            kind: kind.map(str::to_owned),
        };
        let left = |target| rows(DiscrepancyKind::DropLine, target).len() - 2;
        assert_eq!(left(target("r2", None)), 1);
        assert_eq!(left(target("r2", Some("charge"))), 1);
        assert_eq!(left(target("r2", Some("payout"))), 2);
        assert_eq!(left(target("r3", None)), 2);
    }
}

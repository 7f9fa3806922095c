//! Settlement files: what was done on one day, a line a movement.
//!
//! A file is a header, the lines in the order in which the movements ended, a
//! trailer line for each currency with the count and the sums of its lines, and
//! an end line with the count of all. All lines have the same columns. A file
//! that breaks off has no end line. Sums are counted while lines are written, so
//! that a file of any size is written with the memory of one line.

mod discrepancy;

pub(crate) use discrepancy::{Discrepancies, Discrepancy, DiscrepancyKind, Target};

use std::collections::BTreeMap;
use std::fmt::Write as _;

use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime};

use super::Movement;

/// The header.
const HEADER: &str = "our_reference,provider_reference,type,currency,gross_minor,fee_minor,\
                      net_minor,occurred_at\n";

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The customer's name for the movement.
    pub our_reference: String,
    /// The provider's name for it.
    pub provider_reference: String,
    /// What was done.
    pub kind: &'static str,
    /// The ISO 4217 code.
    pub currency: String,
    /// What it adds to what the provider owes the customer, in minor units:
    /// negative for money that goes out.
    pub gross_minor: i64,
    /// What the provider keeps, in minor units.
    pub fee_minor: i64,
    /// When it ended.
    pub occurred_at: OffsetDateTime,
}

/// The count and the sums of some lines. A sum of 64-bit numbers can be larger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// How many lines.
    pub lines: u64,
    /// The sum of what they add, in minor units.
    pub gross_minor: i128,
    /// The sum of the fees, in minor units.
    pub fee_minor: i128,
}

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct File {
    day: Date,
    discrepancies: Discrepancies,
    /// How many lines the undisturbed file has so far.
    seen: u64,
    sums: BTreeMap<String, Sums>,
}

impl Line {
    /// What the customer gets of it.
    fn net_minor(&self) -> i128 {
        i128::from(self.gross_minor) - i128::from(self.fee_minor)
    }
}

impl From<&Movement> for Line {
    fn from(movement: &Movement) -> Self {
        Self {
            our_reference: movement.reference.clone(),
            provider_reference: movement.told_id(),
            kind: movement.kind.name(),
            currency: movement.currency.clone(),
            gross_minor: movement.kind.gross_minor(movement.amount_minor),
            fee_minor: movement.fee_minor,
            // Only what has ended is settled.
            occurred_at: movement.finished_at.unwrap_or(movement.created_at),
        }
    }
}

impl Sums {
    /// What the customer gets, in minor units.
    pub(crate) fn net_minor(&self) -> i128 {
        self.gross_minor - self.fee_minor
    }

    fn count(&mut self, line: &Line) {
        self.lines += 1;
        self.gross_minor += i128::from(line.gross_minor);
        self.fee_minor += i128::from(line.fee_minor);
    }
}

impl File {
    /// The file of a day with what is to be wrong with it.
    pub(crate) fn new(day: Date, discrepancies: Discrepancies) -> Self {
        Self {
            day,
            discrepancies,
            seen: 0,
            sums: BTreeMap::new(),
        }
    }

    /// The first line.
    pub(crate) fn header() -> &'static str {
        HEADER
    }

    /// Writes what the file has for a movement: a line, or whatever a planted
    /// discrepancy makes of it.
    pub(crate) fn write(&mut self, line: Line, out: &mut String) {
        self.seen += 1;
        for line in self.discrepancies.disturb(self.seen, line) {
            self.put(&line, out);
        }
    }

    /// Writes what comes after the last movement.
    pub(crate) fn finish(&mut self, out: &mut String) {
        for line in self.discrepancies.extra_lines(self.day) {
            self.put(&line, out);
        }
        let mut lines = 0;
        let mut wrong_by = i128::from(self.discrepancies.has_wrong_trailer());
        for (currency, sums) in &self.sums {
            lines += sums.lines;
            row(
                out,
                &[
                    "trailer",
                    &sums.lines.to_string(),
                    "total",
                    currency,
                    &(sums.gross_minor + wrong_by).to_string(),
                    &sums.fee_minor.to_string(),
                    &(sums.net_minor() + wrong_by).to_string(),
                    &self.day.to_string(),
                ],
            );
            // One wrong number is enough.
            wrong_by = 0;
        }
        let lines = i128::from(lines) + wrong_by;
        let day = self.day.to_string();
        row(
            out,
            &["end", &lines.to_string(), "end", "", "", "", "", &day],
        );
    }

    fn put(&mut self, line: &Line, out: &mut String) {
        match self.sums.get_mut(&line.currency) {
            Some(sums) => sums.count(line),
            None => self
                .sums
                .entry(line.currency.clone())
                .or_default()
                .count(line),
        }
        row(
            out,
            &[
                &line.our_reference,
                &line.provider_reference,
                line.kind,
                &line.currency,
                &line.gross_minor.to_string(),
                &line.fee_minor.to_string(),
                &line.net_minor().to_string(),
                &line.occurred_at.format(&Rfc3339).unwrap_or_default(),
            ],
        );
    }
}

/// Writes a row as RFC 4180 describes it, with line feeds.
fn row(out: &mut String, fields: &[&str]) {
    for (place, field) in fields.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        if field.contains([',', '"', '\n', '\r']) {
            // Writing to a string cannot fail.
            let _ = write!(out, "\"{}\"", field.replace('"', "\"\""));
        } else {
            out.push_str(field);
        }
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::{date, datetime};

    use super::*;

    pub(super) fn line(reference: &str, currency: &str, gross_minor: i64, fee_minor: i64) -> Line {
        Line {
            our_reference: reference.to_owned(),
            provider_reference: format!("ch_{reference}"),
            kind: "charge",
            currency: currency.to_owned(),
            gross_minor,
            fee_minor,
            occurred_at: datetime!(2025-01-02 03:04:05 UTC),
        }
    }

    pub(super) fn written(lines: &[Line], discrepancies: Discrepancies) -> Vec<Vec<String>> {
        let mut file = File::new(date!(2025 - 01 - 02), discrepancies);
        let mut out = File::header().to_owned();
        for line in lines {
            file.write(line.clone(), &mut out);
        }
        file.finish(&mut out);
        let rows = out.lines().map(|row| row.split(',').map(str::to_owned));
        rows.map(Iterator::collect).collect()
    }

    /// A file reads as its description says.
    #[test]
    fn the_file_is_as_described() {
        let lines = [line("r1", "EUR", 1000, 15), line("r2", "EUR", -400, 0)];
        let rows = written(&lines, Discrepancies::default());
        let text: Vec<_> = rows.iter().map(|row| row.join(",")).collect();
        assert_eq!(
            text,
            [
                HEADER.trim_end(),
                "r1,ch_r1,charge,EUR,1000,15,985,2025-01-02T03:04:05Z",
                "r2,ch_r2,charge,EUR,-400,0,-400,2025-01-02T03:04:05Z",
                "trailer,2,total,EUR,600,15,585,2025-01-02",
                "end,2,end,,,,,2025-01-02",
            ]
        );
        let empty = written(&[], Discrepancies::default());
        assert_eq!(empty[1].join(","), "end,0,end,,,,,2025-01-02");
    }

    /// A reference may hold what separates fields.
    #[test]
    fn fields_are_quoted() {
        let mut out = String::new();
        row(&mut out, &["a,b", "c\"d", "e"]);
        assert_eq!(out, "\"a,b\",\"c\"\"d\",e\n");
    }

    proptest! {
        /// Whatever the lines are, each trailer is the count and the sums of the
        /// lines of its currency, and the end counts them all.
        #[test]
        fn trailers_are_the_sums_of_the_lines(
            amounts in prop::collection::vec((0..3_usize, any::<i64>(), 0..i64::MAX), 0..40),
        ) {
            let currencies = ["EUR", "NGN", "USD"];
            let lines: Vec<_> = amounts
                .iter()
                .map(|(currency, gross, fee)| line("r", currencies[*currency], *gross, *fee))
                .collect();
            let rows = written(&lines, Discrepancies::default());
            prop_assert_eq!(rows.last().map(|row| row[1].clone()), Some(lines.len().to_string()));
            for currency in currencies {
                let of_it = |row: &&Vec<String>| row[3] == currency;
                let sum = |column: usize| -> i128 {
                    rows.iter().filter(of_it).filter(|row| row[2] == "charge")
                        .map(|row| row[column].parse::<i128>().expect("a number")).sum()
                };
                let count = lines.iter().filter(|line| line.currency == currency).count();
                let trailer = rows.iter().filter(of_it).find(|row| row[2] == "total");
                prop_assert_eq!(trailer.is_some(), count > 0);
                if let Some(trailer) = trailer {
                    prop_assert_eq!(&trailer[1], &count.to_string());
                    let sums = [4, 5, 6].map(|column| sum(column).to_string());
                    prop_assert_eq!(&trailer[4..7], &sums);
                }
            }
        }
    }
}

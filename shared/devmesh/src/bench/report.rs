//! The report: the medians of the rounds, and how they stand to the targets.

#![expect(
    clippy::float_arithmetic,
    reason = "rates, ratios and milliseconds are what it reports"
)]

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use self::ledger::LedgerReport;
use self::transfers::TransfersReport;

pub(super) mod ledger;
mod table;
pub(super) mod transfers;

/// The report. Its JSON form is what other programs read.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    reference: Reference,
    #[serde(flatten)]
    ledger: Option<LedgerReport>,
    #[serde(flatten)]
    transfers: Option<TransfersReport>,
}

/// The reference as the first part that was measured met it.
#[derive(Clone, Debug, Serialize)]
struct Reference {
    tpcb_c32_tps: f64,
}

impl Report {
    /// The report on the parts that were measured; one was.
    pub(super) fn of(ledger: Option<LedgerReport>, transfers: Option<TransfersReport>) -> Self {
        let with_ledger = ledger.as_ref().map(|part| part.tpcb_c32_tps);
        let with_transfers = transfers.as_ref().map(|part| part.tpcb_c32_tps);
        Self {
            reference: Reference {
                tpcb_c32_tps: with_ledger.or(with_transfers).unwrap_or_default(),
            },
            ledger,
            transfers,
        }
    }
}

/// The table for people.
impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        table::write(self, formatter)
    }
}

/// The middle value; of an even number of values, the mean of the two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    }
}

/// What each of so many things took, in microseconds.
pub(super) fn us_each(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / as_float(count.max(1))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a benchmark are far below 2^53"
)]
fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;

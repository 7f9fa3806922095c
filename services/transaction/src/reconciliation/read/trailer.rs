//! What the lines sum up to, and whether the trailers agree.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::Trailer;
use super::problem::{Problem, ProblemCode, Wrong};
use crate::reconciliation::{Format, Line};

/// The lines of one currency, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub lines: i64,
    /// Their amounts before fees, in minor units.
    pub gross_minor: i128,
    /// Their fees.
    pub fee_minor: i128,
    /// Their amounts after fees.
    pub net_minor: i128,
}

/// The lines so far, summed up by currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    sums: BTreeMap<&'static str, Sum>,
    has_trailer: BTreeSet<&'static str>,
    has_ended: bool,
}

impl Totals {
    /// How many lines.
    pub fn lines(&self) -> i64 {
        self.sums.values().map(|sum| sum.lines).sum()
    }

    /// The sums by the codes of their currencies.
    pub fn sums(&self) -> &BTreeMap<&'static str, Sum> {
        &self.sums
    }

    pub(super) fn take(&mut self, line: &Line) -> Result<(), Wrong> {
        if self.has_ended || !self.has_trailer.is_empty() {
            return Err(Wrong::new("", ProblemCode::AfterTrailer));
        }
        // 2^63 lines of 2^63 each still fit.
        let sum = self.sums.entry(line.currency.code()).or_default();
        sum.lines += 1;
        sum.gross_minor += i128::from(line.gross_minor);
        sum.fee_minor += i128::from(line.fee_minor);
        sum.net_minor += i128::from(line.net_minor);
        Ok(())
    }

    pub(super) fn take_trailer(&mut self, told: Trailer, format: &Format) -> Result<(), Wrong> {
        if self.has_ended {
            return Err(Wrong::new("", ProblemCode::AfterTrailer));
        }
        let code = told.currency.code();
        let sum = self.sums.get(code).copied().unwrap_or_default();
        if !self.has_trailer.insert(code) {
            return Err(Wrong::new(&format.currency, ProblemCode::NoTrailer));
        }
        if told.lines != sum.lines {
            return Err(Wrong::new("", ProblemCode::CountDiffers));
        }
        let columns = [
            (Some(&format.gross), Some(told.gross_minor), sum.gross_minor),
            (format.fee.as_ref(), told.fee_minor, sum.fee_minor),
            (format.net.as_ref(), told.net_minor, sum.net_minor),
        ];
        for (column, told, counted) in columns {
            if told.is_some_and(|told| told != counted) {
                let column = column.map_or("", String::as_str);
                return Err(Wrong::new(column, ProblemCode::SumDiffers));
            }
        }
        Ok(())
    }

    pub(super) fn take_end(&mut self, lines: i64) -> Result<(), Wrong> {
        if self.has_ended {
            return Err(Wrong::new("", ProblemCode::AfterTrailer));
        }
        if lines != self.lines() {
            return Err(Wrong::new("", ProblemCode::CountDiffers));
        }
        self.has_ended = true;
        Ok(())
    }

    /// Whether the file may end here.
    pub(super) fn check_whole(&self) -> Result<(), Problem> {
        if !self.has_ended {
            return Err(Problem::of_file(ProblemCode::NoEnd));
        }
        if self
            .sums
            .keys()
            .any(|code| !self.has_trailer.contains(code))
        {
            return Err(Problem::of_file(ProblemCode::NoTrailer));
        }
        Ok(())
    }
}

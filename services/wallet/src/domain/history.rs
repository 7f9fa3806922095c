//! A wallet's history: instants, statements, and the rule that a statement
//! closes.
//!
//! Entries are ordered by one of two times. By the time of recording that is
//! the order of their versions. By effective time entries of one instant are in
//! the order of their versions, so that a [`Position`] always has exactly one
//! set of entries before it.

use time::OffsetDateTime;

use super::posting::{PostingId, PostingKind};
use super::wallet::{Balance, Bucket};
use bursar_aip::id::TransactionId;

/// By which of its two times an entry counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeBasis {
    /// From when it counts.
    Effective,
    /// When it was recorded.
    Recorded,
}

/// A place between two entries of a wallet's history: those at or before it
/// are the entries with (time, version) up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The instant.
    pub at: OffsetDateTime,
    /// The version of the last entry of that instant that is before the place.
    pub version: i64,
}

impl Position {
    /// After all entries of an instant.
    pub fn after(at: OffsetDateTime) -> Self {
        Self {
            at,
            version: i64::MAX,
        }
    }

    /// Before all entries of an instant.
    pub fn before(at: OffsetDateTime) -> Self {
        Self { at, version: 0 }
    }
}

/// An entry as statements have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The wallet's version after it.
    pub version: i64,
    /// The posting.
    pub posting: PostingId,
    /// The transaction it came from; `None` for wallet's own operations.
    pub transaction: Option<TransactionId>,
    /// What the posting was for.
    pub kind: PostingKind,
    /// The bucket it changed.
    pub bucket: Bucket,
    /// The change in minor units.
    pub amount: i64,
    /// From when it counts.
    pub effective_at: OffsetDateTime,
    /// When it was recorded.
    pub recorded_at: OffsetDateTime,
}

impl Line {
    /// The place right after it.
    pub fn position(&self, basis: TimeBasis) -> Position {
        let at = match basis {
            TimeBasis::Effective => self.effective_at,
            TimeBasis::Recorded => self.recorded_at,
        };
        Position {
            at,
            version: self.version,
        }
    }
}

/// A line with the money after it and all lines before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BalancedLine {
    /// The line.
    pub line: Line,
    /// The money.
    pub balance: Balance,
}

/// A statement whose lines do not lead from its opening to its closing. Its
/// entries and balances come from one ledger by two ways, so one is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the entries lead to {reached:?}, and the balance there is {expected:?}")]
pub struct DoesNotClose {
    /// Where the lines lead.
    pub reached: Balance,
    /// Where they should.
    pub expected: Balance,
}

/// Adds the lines up, starting at `opening`; they must arrive at `closing`.
pub fn close(
    opening: Balance,
    lines: Vec<Line>,
    closing: Balance,
) -> Result<Vec<BalancedLine>, DoesNotClose> {
    let mut balance = opening;
    let balanced: Vec<BalancedLine> = lines
        .into_iter()
        .map(|line| {
            let money = balance.of_mut(line.bucket);
            // By effective time an intermediate sum is no balance that the ledger
            // checked. One that wraps arrives all the same, or the check tells.
            *money = money.wrapping_add(line.amount);
            BalancedLine { line, balance }
        })
        .collect();
    if balance == closing {
        Ok(balanced)
    } else {
        Err(DoesNotClose {
            reached: balance,
            expected: closing,
        })
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;
    use uuid::Uuid;

    use super::*;

    fn line(version: i64, bucket: Bucket, amount: i64) -> Line {
        Line {
            version,
            posting: PostingId::from_uuid(Uuid::nil()),
            transaction: None,
            kind: PostingKind::Adjustment,
            bucket,
            amount,
            effective_at: datetime!(2026-01-01 00:00 UTC),
            recorded_at: datetime!(2026-01-02 00:00 UTC),
        }
    }

    fn balance(available: i64, held: i64) -> Balance {
        Balance {
            available,
            held,
            bonus: 0,
        }
    }

    /// Each line has the money after it; a cent too much or too little is told.
    #[test]
    fn lines_lead_from_opening_to_closing() {
        let lines = vec![
            line(1, Bucket::Available, 50),
            line(2, Bucket::Available, -20),
            line(3, Bucket::Held, 20),
        ];
        let closed = close(balance(7, 0), lines.clone(), balance(37, 20)).expect("it closes");
        let running: Vec<_> = closed.iter().map(|line| line.balance).collect();
        assert_eq!(running, [balance(57, 0), balance(37, 0), balance(37, 20)]);
        for wrong in [balance(38, 20), balance(37, 19), balance(7, 0)] {
            let error = close(balance(7, 0), lines.clone(), wrong).expect_err("it does not");
            assert_eq!(error.reached, balance(37, 20));
            assert_eq!(error.expected, wrong);
        }
        assert_eq!(close(balance(7, 0), Vec::new(), balance(7, 0)), Ok(vec![]));
    }

    /// Positions order first by time, then by version, and lie on the right side
    /// of an instant's entries.
    #[test]
    fn positions_lie_between_entries() {
        let line = line(3, Bucket::Held, 1);
        let effective = line.position(TimeBasis::Effective);
        assert_eq!(effective.at, line.effective_at);
        assert!(Position::before(line.effective_at) < effective);
        assert!(effective < Position::after(line.effective_at));
        assert!(Position::after(line.effective_at) < line.position(TimeBasis::Recorded));
    }
}

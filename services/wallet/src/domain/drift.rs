//! Differences between what is kept and what the entries say.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display};

use bursar_aip::id::{Id, Kind, WalletId};

use super::fold::{DaySums, Displaced, Fold, Snapshot, Turnover};
use super::wallet::Balance;

/// How many differences of one wallet are kept; all are counted.
pub const MAX_KEPT: usize = 20;

/// Names rebuilds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rebuild {}

impl Kind for Rebuild {
    const PREFIX: &'static str = "prb_";
}

/// The id of a rebuild.
pub type RebuildId = Id<Rebuild>;

/// What was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DriftKind {
    /// The wallet's own balance, which is no projection.
    Balance,
    /// How far the wallet is projected, and its money there.
    Cursor,
    /// The sums of a day.
    Day,
    /// The money at a thousandth version.
    Snapshot,
    /// An entry that counts from another time than that of its recording.
    DisplacedEntry,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The wallet.
    pub wallet: WalletId,
    /// What differs.
    pub kind: DriftKind,
    /// Which one: a day or a version.
    pub place: String,
    /// What the entries say; empty for nothing.
    pub expected: String,
    /// What is kept; empty for nothing.
    pub found: String,
}

/// The differences of one wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drifts {
    wallet: WalletId,
    /// The first of them.
    pub kept: Vec<Drift>,
    /// How many rows of projections differ.
    pub projections: i64,
    /// Whether the wallet's own balance differs from its entries.
    pub is_balance_wrong: bool,
}

impl Drifts {
    /// No differences yet.
    pub fn of(wallet: WalletId) -> Self {
        Self {
            wallet,
            kept: Vec::new(),
            projections: 0,
            is_balance_wrong: false,
        }
    }

    /// All of them, the balance's included.
    pub fn count(&self) -> i64 {
        self.projections + i64::from(self.is_balance_wrong)
    }

    /// Adds a difference.
    pub fn add(&mut self, kind: DriftKind, place: String, expected: String, found: String) {
        match kind {
            DriftKind::Balance => self.is_balance_wrong = true,
            DriftKind::Cursor
            | DriftKind::Day
            | DriftKind::Snapshot
            | DriftKind::DisplacedEntry => self.projections += 1,
        }
        if self.kept.len() < MAX_KEPT {
            self.kept.push(Drift {
                wallet: self.wallet,
                kind,
                place,
                expected,
                found,
            });
        }
    }

    /// Compares rows by their places. Returns what must be written and what must
    /// be removed to make the kept ones right.
    pub fn compare<P, R>(
        &mut self,
        kind: DriftKind,
        expected: &BTreeMap<P, R>,
        found: &BTreeMap<P, R>,
    ) -> Difference<P, R>
    where
        P: Ord + Copy + Display,
        R: PartialEq + Copy + Debug + Words,
    {
        let mut difference = Difference {
            wrong: Vec::new(),
            excess: Vec::new(),
        };
        for (place, row) in expected {
            let kept = found.get(place);
            if kept != Some(row) {
                difference.wrong.push(*row);
                let found = kept.map(Words::words).unwrap_or_default();
                self.add(kind, place.to_string(), row.words(), found);
            }
        }
        for (place, row) in found {
            if !expected.contains_key(place) {
                difference.excess.push(*place);
                self.add(kind, place.to_string(), String::new(), row.words());
            }
        }
        difference
    }
}

/// What it takes to make kept rows right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference<P, R> {
    /// Rows that are missing or differ, as they should be.
    pub wrong: Vec<R>,
    /// Places of rows that should not be.
    pub excess: Vec<P>,
}

impl<P, R> Difference<P, R> {
    /// Whether everything is right.
    pub fn is_none(&self) -> bool {
        self.wrong.is_empty() && self.excess.is_empty()
    }
}

/// A row in words, for an operator.
pub trait Words {
    /// The words.
    fn words(&self) -> String;
}

struct InOut<'a>(&'a Turnover);

impl Display for InOut<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "+{} -{}", self.0.incoming, self.0.outgoing)
    }
}

impl Words for DaySums {
    fn words(&self) -> String {
        format!(
            "available {}, held {}, bonus {}, {} entries of versions {} to {}",
            InOut(&self.available),
            InOut(&self.held),
            InOut(&self.bonus),
            self.entries,
            self.first_version,
            self.last_version
        )
    }
}

impl Words for Balance {
    fn words(&self) -> String {
        let Self {
            available,
            held,
            bonus,
        } = self;
        format!("available {available}, held {held}, bonus {bonus}")
    }
}

impl Words for Snapshot {
    fn words(&self) -> String {
        self.balance.words()
    }
}

impl Words for Displaced {
    fn words(&self) -> String {
        format!(
            "{:?} {:+} from {}",
            self.bucket, self.amount, self.effective_at
        )
    }
}

/// The rows of a fold by their places.
pub fn snapshots(fold: &Fold) -> BTreeMap<i64, Snapshot> {
    let rows = fold.snapshots.iter();
    rows.map(|row| (row.version, *row)).collect()
}

/// The rows of a fold by their places.
pub fn displaced(fold: &Fold) -> BTreeMap<i64, Displaced> {
    let rows = fold.displaced.iter();
    rows.map(|row| (row.version, *row)).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn snapshot(version: i64, held: i64) -> (i64, Snapshot) {
        let balance = Balance {
            held,
            ..Balance::default()
        };
        (version, Snapshot { version, balance })
    }

    /// What differs, what is missing and what is too much are each told, and what
    /// is right is not.
    #[test]
    fn rows_are_compared_by_their_places() {
        let mut drifts = Drifts::of(WalletId::from_uuid(Uuid::nil()));
        let expected = BTreeMap::from([snapshot(1, 5), snapshot(2, 6), snapshot(3, 7)]);
        let found = BTreeMap::from([snapshot(1, 5), snapshot(2, 0), snapshot(4, 8)]);
        let difference = drifts.compare(DriftKind::Snapshot, &expected, &found);
        assert_eq!(difference.wrong, [expected[&2], expected[&3]]);
        assert_eq!(difference.excess, [4]);
        let told: Vec<_> = drifts
            .kept
            .iter()
            .map(|drift| {
                (
                    drift.place.as_str(),
                    drift.expected.is_empty(),
                    drift.found.is_empty(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [("2", false, false), ("3", false, true), ("4", true, false)]
        );
        assert_eq!((drifts.count(), drifts.is_balance_wrong), (3, false));
    }

    /// Differences beyond the bound are counted and not kept.
    #[test]
    fn many_differences_are_counted() {
        let mut drifts = Drifts::of(WalletId::from_uuid(Uuid::nil()));
        let expected: BTreeMap<_, _> = (1..100).map(|version| snapshot(version, 1)).collect();
        drifts.compare(DriftKind::Snapshot, &expected, &BTreeMap::new());
        assert_eq!((drifts.kept.len(), drifts.projections), (MAX_KEPT, 99));
    }
}

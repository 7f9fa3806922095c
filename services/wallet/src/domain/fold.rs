//! Folding a wallet's entries, version by version, into what is derived from
//! them: the sums of each day, the money at every thousandth version, and the
//! entries that count from another time than that of their recording.
//!
//! The same fold makes the projections and, from the first entry on, checks
//! them. It goes on from where an earlier one stopped, so a wallet's entries can
//! be folded in slices of any size.

use std::collections::BTreeMap;

use time::{Date, OffsetDateTime, UtcOffset};

use super::wallet::{Balance, Bucket};

/// Every how many versions a wallet's money is kept.
pub const SNAPSHOT_EVERY: i64 = 1_000;

/// What the fold needs of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoldedEntry {
    /// The wallet's version after it.
    pub version: i64,
    /// The bucket it changed.
    pub bucket: Bucket,
    /// The change in minor units.
    pub amount: i64,
    /// From when it counts.
    pub effective_at: OffsetDateTime,
    /// When it was recorded.
    pub recorded_at: OffsetDateTime,
}

/// What came into a bucket and what went out of it, in minor units, both as
/// positive numbers. Wider than a balance: money that comes and goes all day
/// adds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Turnover {
    /// What came in.
    pub incoming: i128,
    /// What went out.
    pub outgoing: i128,
}

impl Turnover {
    fn add(&mut self, amount: i64) {
        // Even 2^63 entries of the largest amount stay in range.
        if amount > 0 {
            self.incoming += i128::from(amount);
        } else {
            self.outgoing -= i128::from(amount);
        }
    }
}

/// The sums of a day's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DaySums {
    /// Of available money.
    pub available: Turnover,
    /// Of held money.
    pub held: Turnover,
    /// Of bonus money.
    pub bonus: Turnover,
    /// How many entries there are.
    pub entries: i64,
    /// The least version among them.
    pub first_version: i64,
    /// The greatest version among them.
    pub last_version: i64,
}

impl DaySums {
    fn starting_with(version: i64) -> Self {
        Self {
            available: Turnover::default(),
            held: Turnover::default(),
            bonus: Turnover::default(),
            entries: 0,
            first_version: version,
            last_version: version,
        }
    }

    fn add(&mut self, entry: &FoldedEntry) {
        match entry.bucket {
            Bucket::Available => self.available.add(entry.amount),
            Bucket::Held => self.held.add(entry.amount),
            Bucket::Bonus => self.bonus.add(entry.amount),
        }
        self.entries += 1;
        self.first_version = self.first_version.min(entry.version);
        self.last_version = self.last_version.max(entry.version);
    }
}

/// A wallet's money at a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// The version.
    pub version: i64,
    /// The money.
    pub balance: Balance,
}

/// An entry that counts from another time than that of its recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Displaced {
    /// Its version.
    pub version: i64,
    /// From when it counts.
    pub effective_at: OffsetDateTime,
    /// The bucket it changed.
    pub bucket: Bucket,
    /// The change in minor units.
    pub amount: i64,
}

/// Why entries cannot be folded: the ledger itself is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// A version is missing.
    #[error("version {found} follows where {expected} should")]
    Gap {
        /// The version that should come.
        expected: i64,
        /// The one that came.
        found: i64,
    },
    /// There is no entry where one should be.
    #[error("there is no version {expected}")]
    Missing {
        /// The version that should be there.
        expected: i64,
    },
    /// A balance leaves the range of 64-bit integers.
    #[error("the balance leaves its range at version {version}")]
    Overflow {
        /// Where.
        version: i64,
    },
}

/// A fold of a wallet's entries up to a version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fold {
    /// The version of the last entry that is in it; 0 before the first.
    pub version: i64,
    /// The wallet's money at that version.
    pub balance: Balance,
    /// The days' sums of what was folded since the start or since it was resumed.
    pub days: BTreeMap<Date, DaySums>,
    /// The snapshots since then.
    pub snapshots: Vec<Snapshot>,
    /// The displaced entries since then.
    pub displaced: Vec<Displaced>,
}

impl Fold {
    /// A fold that goes on after `version`, where the wallet had `balance`.
    pub fn resume(version: i64, balance: Balance) -> Self {
        Self {
            version,
            balance,
            ..Self::default()
        }
    }

    /// Adds the entry of the next version. A fold that failed is of no more use.
    pub fn add(&mut self, entry: &FoldedEntry) -> Result<(), FoldError> {
        let version = entry.version;
        let expected = self.version + 1;
        if version != expected {
            return Err(FoldError::Gap {
                expected,
                found: version,
            });
        }
        let money = self.balance.of_mut(entry.bucket);
        *money = money
            .checked_add(entry.amount)
            .ok_or(FoldError::Overflow { version })?;
        self.version = version;
        self.days
            .entry(day_of(entry.effective_at))
            .or_insert_with(|| DaySums::starting_with(version))
            .add(entry);
        if version % SNAPSHOT_EVERY == 0 {
            self.snapshots.push(Snapshot {
                version,
                balance: self.balance,
            });
        }
        if entry.effective_at != entry.recorded_at {
            self.displaced.push(Displaced {
                version,
                effective_at: entry.effective_at,
                bucket: entry.bucket,
                amount: entry.amount,
            });
        }
        Ok(())
    }

    /// Checks that the fold has come to a version and no entry up to it is missing.
    pub fn reaches(&self, version: i64) -> Result<(), FoldError> {
        if self.version == version {
            Ok(())
        } else {
            Err(FoldError::Missing {
                expected: self.version + 1,
            })
        }
    }
}

/// The day of UTC of an instant.
pub fn day_of(instant: OffsetDateTime) -> Date {
    instant.to_offset(UtcOffset::UTC).date()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::Duration;
    use time::macros::{date, datetime};

    use super::*;

    fn entries(changes: &[(Bucket, i64, i64)]) -> Vec<FoldedEntry> {
        let start = datetime!(2026-01-01 23:59:58 UTC);
        (1..)
            .zip(changes)
            .map(|(version, (bucket, amount, shift))| {
                let recorded_at = start + Duration::seconds(version);
                FoldedEntry {
                    version,
                    bucket: *bucket,
                    amount: *amount,
                    effective_at: recorded_at - Duration::hours(*shift),
                    recorded_at,
                }
            })
            .collect()
    }

    fn change() -> impl Strategy<Value = (Bucket, i64, i64)> {
        let bucket = prop::sample::select(Bucket::ALL.as_slice());
        let amount = prop_oneof![-500_i64..0, 1_i64..500];
        (
            bucket,
            amount,
            prop_oneof![3 => Just(0_i64), 1 => -40_i64..40],
        )
    }

    proptest! {
        /// Wherever entries are cut into slices, the parts together are the whole.
        #[test]
        fn slices_make_the_whole(changes in prop::collection::vec(change(), 1..80), cut in any::<prop::sample::Index>()) {
            let entries = entries(&changes);
            let cut = cut.index(entries.len());
            let mut whole = Fold::default();
            let mut first = Fold::default();
            for entry in &entries {
                whole.add(entry).expect("in order");
            }
            for entry in &entries[..cut] {
                first.add(entry).expect("in order");
            }
            let mut second = Fold::resume(first.version, first.balance);
            for entry in &entries[cut..] {
                second.add(entry).expect("in order");
            }
            prop_assert_eq!(second.version, whole.version);
            prop_assert_eq!(second.balance, whole.balance);
            let displaced = [first.displaced, second.displaced].concat();
            prop_assert_eq!(&displaced, &whole.displaced);
            for (day, sums) in &whole.days {
                let parts = [first.days.get(day), second.days.get(day)];
                let entries: i64 = parts.iter().flatten().map(|sums| sums.entries).sum();
                let incoming: i128 = parts.iter().flatten().map(|sums| sums.held.incoming).sum();
                prop_assert_eq!(entries, sums.entries);
                prop_assert_eq!(incoming, sums.held.incoming);
            }
        }

        /// The days' turnovers, put together, are the balance.
        #[test]
        fn days_sum_to_the_balance(changes in prop::collection::vec(change(), 0..80)) {
            let mut fold = Fold::default();
            for entry in entries(&changes) {
                fold.add(&entry).expect("in order");
            }
            let net = |of: fn(&DaySums) -> Turnover| -> i128 {
                fold.days.values().map(|sums| of(sums).incoming - of(sums).outgoing).sum()
            };
            prop_assert_eq!(net(|sums| sums.available), i128::from(fold.balance.available));
            prop_assert_eq!(net(|sums| sums.held), i128::from(fold.balance.held));
            prop_assert_eq!(net(|sums| sums.bonus), i128::from(fold.balance.bonus));
        }
    }

    /// A day is one of UTC, whatever the instant's own offset.
    #[test]
    fn days_are_of_utc() {
        let late = datetime!(2026-03-01 01:30 +02:00);
        assert_eq!(day_of(late), date!(2026 - 02 - 28));
    }

    /// Snapshots are at the thousands and nowhere else.
    #[test]
    fn snapshots_are_at_the_thousands() {
        let mut fold = Fold::default();
        for entry in entries(&vec![(Bucket::Available, 2, 0); 2_500]) {
            fold.add(&entry).expect("in order");
        }
        let kept: Vec<_> = fold
            .snapshots
            .iter()
            .map(|snapshot| (snapshot.version, snapshot.balance.available))
            .collect();
        assert_eq!(kept, [(1_000, 2_000), (2_000, 4_000)]);
    }

    /// A missing version and a balance out of range are told, not passed over.
    #[test]
    fn a_broken_ledger_is_told() {
        let entries = entries(&[(Bucket::Held, i64::MAX, 0), (Bucket::Held, 1, 0)]);
        let mut fold = Fold::default();
        let gap = FoldError::Gap {
            expected: 1,
            found: 2,
        };
        assert_eq!(fold.add(&entries[1]), Err(gap));
        assert_eq!(fold.add(&entries[0]), Ok(()));
        assert_eq!(fold.reaches(1), Ok(()));
        assert_eq!(fold.reaches(2), Err(FoldError::Missing { expected: 2 }));
        assert_eq!(
            fold.add(&entries[1]),
            Err(FoldError::Overflow { version: 2 })
        );
    }
}

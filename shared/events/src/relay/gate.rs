//! Which of the waiting events may be published now, and in which order. Pure.
//!
//! The rule: version n of an aggregate only after version n−1. Sequence numbers
//! alone cannot tell: a transaction draws its numbers before it commits, so a
//! lower number can appear after a higher one, and an aggregate's versions can
//! even stand in the reverse order of their numbers.

use std::collections::{HashMap, HashSet};

use crate::received::Received;

/// Where the event before one of the same aggregate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Previous {
    /// In the stream already, or there is none because this is version 1.
    Published,
    /// In the outbox, under this sequence number.
    Pending(i64),
    /// Nowhere to be seen: not committed yet, or never written.
    Missing,
}

/// A row of the outbox with its event.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pending {
    pub(super) partition: i16,
    pub(super) seq: i64,
    pub(super) previous: Previous,
    pub(super) event: Received,
}

/// What [`release`] decided.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Released {
    /// What may be published, in this order.
    pub(super) ready: Vec<Pending>,
    /// What has to wait, as partition and sequence number.
    pub(super) held: Vec<(i16, i64)>,
}

/// Releases every event whose predecessor is published or released before it.
/// `rows` is what one look at the outbox found, in the order of `seq`.
pub(super) fn release(rows: Vec<Pending>) -> Released {
    let mut released = Released::default();
    let mut seqs = HashSet::with_capacity(rows.len());
    // The rows that wait for another row, by that row's number.
    let mut waiting: HashMap<i64, Pending> = HashMap::new();
    for row in rows {
        match row.previous {
            Previous::Missing => released.held.push((row.partition, row.seq)),
            Previous::Pending(seq) if !seqs.contains(&seq) => {
                waiting.insert(seq, row);
            }
            Previous::Published | Previous::Pending(_) => {
                let mut next = Some(row);
                while let Some(row) = next {
                    seqs.insert(row.seq);
                    next = waiting.remove(&row.seq);
                    released.ready.push(row);
                }
            }
        }
    }
    released
        .held
        .extend(waiting.into_values().map(|row| (row.partition, row.seq)));
    released
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;

    fn row(seq: i64, aggregate: u128, version: i64, previous: Previous) -> Pending {
        Pending {
            partition: 0,
            seq,
            previous,
            event: Received {
                id: Uuid::nil(),
                source: String::new(),
                kind: String::new(),
                tenant: String::new(),
                aggregate_kind: String::new(),
                aggregate_id: Uuid::from_u128(aggregate),
                subject: String::new(),
                version,
                schema: String::new(),
                data: Vec::new(),
                actor: String::new(),
                correlation_id: String::new(),
                traceparent: None,
                occurred_at: OffsetDateTime::UNIX_EPOCH,
            },
        }
    }

    fn seqs(rows: &[Pending]) -> Vec<i64> {
        rows.iter().map(|row| row.seq).collect()
    }

    /// Versions whose sequence numbers are in reverse leave in their own order.
    #[test]
    fn an_inversion_is_put_right() {
        let released = release(vec![
            row(1, 7, 3, Previous::Pending(2)),
            row(2, 7, 2, Previous::Pending(3)),
            row(3, 7, 1, Previous::Published),
            row(4, 8, 1, Previous::Published),
        ]);
        assert_eq!(seqs(&released.ready), [3, 2, 1, 4]);
        assert!(released.held.is_empty());
    }

    /// A version whose predecessor is not committed, or lies beyond what was
    /// read, waits with all that follow it. Other aggregates do not.
    #[test]
    fn what_lacks_its_predecessor_waits() {
        let released = release(vec![
            row(1, 7, 5, Previous::Missing),
            row(2, 7, 6, Previous::Pending(1)),
            row(3, 8, 2, Previous::Pending(900)),
            row(4, 9, 9, Previous::Published),
        ]);
        assert_eq!(seqs(&released.ready), [4]);
        let mut held = released.held;
        held.sort_unstable();
        assert_eq!(held, [(0, 1), (0, 2), (0, 3)]);
    }

    /// Aggregates with shuffled sequence numbers, of which some rows are not
    /// committed and some are cut off.
    fn outboxes() -> impl Strategy<Value = Vec<Pending>> {
        (1_usize..6, 1_i64..12, any::<u64>(), 1_usize..60).prop_flat_map(
            |(aggregates, versions, missing, limit)| {
                let pairs: Vec<(u128, i64)> = (0..aggregates as u128)
                    .flat_map(|aggregate| (1..=versions).map(move |version| (aggregate, version)))
                    .collect();
                Just(pairs).prop_shuffle().prop_map(move |pairs| {
                    let committed: HashMap<(u128, i64), i64> = (0..)
                        .zip(pairs)
                        .filter(|(at, _)| missing >> (at % 64) & 3 != 0)
                        .map(|(at, pair)| (pair, at))
                        .collect();
                    let mut rows: Vec<Pending> = committed
                        .iter()
                        .map(|(&(aggregate, version), &seq)| {
                            let previous = if version == 1 {
                                Previous::Published
                            } else {
                                committed
                                    .get(&(aggregate, version - 1))
                                    .map_or(Previous::Missing, |&seq| Previous::Pending(seq))
                            };
                            row(seq, aggregate, version, previous)
                        })
                        .collect();
                    rows.sort_by_key(|row| row.seq);
                    rows.truncate(limit);
                    rows
                })
            },
        )
    }

    proptest! {
        /// Whatever the outbox looks like, each aggregate leaves as 1, 2, 3
        /// without a gap, nothing is lost, and all that could leave did.
        #[test]
        fn order_and_completeness_hold(rows in outboxes()) {
            let all: HashSet<i64> = rows.iter().map(|row| row.seq).collect();
            let by_seq: HashMap<i64, Previous> =
                rows.iter().map(|row| (row.seq, row.previous)).collect();
            let released = release(rows);

            let mut last: HashMap<Uuid, i64> = HashMap::new();
            for row in &released.ready {
                let last = last.entry(row.event.aggregate_id).or_default();
                prop_assert_eq!(row.event.version, *last + 1);
                *last = row.event.version;
            }
            let ready: HashSet<i64> = released.ready.iter().map(|row| row.seq).collect();
            let held: HashSet<i64> = released.held.iter().map(|&(_, seq)| seq).collect();
            prop_assert!(ready.is_disjoint(&held));
            prop_assert_eq!(&ready | &held, all);
            for seq in &held {
                let could_leave = match by_seq[seq] {
                    Previous::Published => true,
                    Previous::Pending(previous) => ready.contains(&previous),
                    Previous::Missing => false,
                };
                prop_assert!(!could_leave, "{} was held without need", seq);
            }
        }
    }
}

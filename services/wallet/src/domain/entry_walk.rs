//! Walking through a wallet's versions page by page, in either order and both
//! ways.
//!
//! A wallet's entries have the versions 1..n without a gap, so a page is a walk
//! over numbers: from where the last one ended, up or down, over at most so many
//! versions that one request stays cheap, whatever filter leaves entries out.

/// The most versions that one request looks at.
pub const MAX_VERSIONS: i64 = 10_000;

/// Where a page begins: beyond `after`, in the order of the list or, for the
/// page before another one, against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// The version beyond which the page begins.
    pub after: i64,
    /// Whether it is walked against the order of the list.
    pub is_backward: bool,
}

/// The versions to look at for a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walk {
    /// The lowest and the highest version, both included; empty when the first
    /// is above the second.
    pub versions: (i64, i64),
    /// Whether they are walked upward.
    pub is_ascending: bool,
    /// Whether the list goes on beyond them, were no entry left out.
    pub goes_on: bool,
    /// The version at which the walk ends.
    pub end: i64,
}

/// The walk for a page that begins at `start`, or at the beginning of the list
/// when that is `None`, through versions `first` to `last` of a list that is in
/// ascending order or not.
pub fn walk(start: Option<Start>, is_list_ascending: bool, first: i64, last: i64) -> Walk {
    let is_backward = start.is_some_and(|start| start.is_backward);
    let is_ascending = is_list_ascending != is_backward;
    let (low, high) = match (start, is_ascending) {
        (None, _) => (first, last),
        (Some(start), true) => (first.max(start.after.saturating_add(1)), last),
        (Some(start), false) => (first, last.min(start.after.saturating_sub(1))),
    };
    if is_ascending {
        let end = high.min(low.saturating_add(MAX_VERSIONS - 1));
        Walk {
            versions: (low, end),
            is_ascending,
            goes_on: end < high,
            end,
        }
    } else {
        let end = low.max(high.saturating_sub(MAX_VERSIONS - 1));
        Walk {
            versions: (end, high),
            is_ascending,
            goes_on: end > low,
            end,
        }
    }
}

impl Walk {
    /// The versions cut into pieces of at most `size`, in the order in which they
    /// are walked, so that the walk can end early.
    pub fn pieces(self, size: i64) -> impl Iterator<Item = (i64, i64)> {
        let (low, high) = self.versions;
        let size = size.max(1);
        let count = (high - low + 1).max(0);
        let pieces = (count + size - 1) / size;
        (0..pieces).map(move |piece| {
            if self.is_ascending {
                let from = low + piece * size;
                (from, high.min(from + size - 1))
            } else {
                let to = high - piece * size;
                (low.max(to - size + 1), to)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Following next tokens visits every version of the range once, in
        /// order, and following them back visits the same in reverse.
        #[test]
        fn walks_visit_every_version_once(
            first in 1_i64..50,
            count in 0_i64..25_000,
            is_ascending in any::<bool>(),
            size in 1_i64..3_000,
        ) {
            let last = first + count - 1;
            let mut visited = Vec::new();
            let mut start = None;
            loop {
                let walk = walk(start, is_ascending, first, last);
                let (low, high) = walk.versions;
                prop_assert!(high - low < MAX_VERSIONS);
                for (low, high) in walk.pieces(size) {
                    prop_assert!(high - low < size);
                    if is_ascending {
                        visited.extend(low..=high);
                    } else {
                        visited.extend((low..=high).rev());
                    }
                }
                if !walk.goes_on {
                    break;
                }
                start = Some(Start { after: walk.end, is_backward: false });
            }
            let mut expected: Vec<i64> = (first..=last).collect();
            if !is_ascending {
                expected.reverse();
            }
            prop_assert_eq!(&visited, &expected);
            let Some(end) = visited.last() else { return Ok(()) };
            let beyond = if is_ascending { end + 1 } else { end - 1 };
            let mut back = Vec::new();
            let mut start = Start { after: beyond, is_backward: true };
            loop {
                let walk = walk(Some(start), is_ascending, first, last);
                let (low, high) = walk.versions;
                if walk.is_ascending {
                    back.extend(low..=high);
                } else {
                    back.extend((low..=high).rev());
                }
                if !walk.goes_on {
                    break;
                }
                start = Start { after: walk.end, is_backward: true };
            }
            back.reverse();
            prop_assert_eq!(&back, &expected);
        }
    }
}

//! When a signing key signs, when it verifies, and when its successor is due.
//!
//! Verifiers cache the key set, so a new key is published some time before it
//! signs, and an old one some time after it signed last:
//!
//! ```text
//! created         not_before            successor's not_before    retired_at
//!    |--published-----|--------signs-------------|----verifies------|
//! ```

use time::{Duration, OffsetDateTime};

use crate::domain::session::ACCESS_TOKEN_LIFETIME;

/// How long a key is published before it signs: longer than any verifier
/// keeps a key set without asking again.
pub const ANNOUNCEMENT: Duration = Duration::hours(1);

/// How long verifiers forgive clocks that differ.
const LEEWAY: Duration = Duration::minutes(1);

/// The times of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// From when it signs.
    pub not_before: OffsetDateTime,
    /// From when nothing that it signed is accepted; `None` until a successor
    /// was planned.
    pub retired_at: Option<OffsetDateTime>,
}

impl Validity {
    /// Whether the key set shows the key at `now`: until it is retired, and
    /// before it signs.
    pub fn is_published(&self, now: OffsetDateTime) -> bool {
        self.retired_at.is_none_or(|retired_at| retired_at > now)
    }
}

/// What to do about the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Nothing.
    Keep,
    /// Make a key that signs from `not_before`, and retire all that have no
    /// end yet at `retire_others_at`.
    Create {
        /// From when the new key signs.
        not_before: OffsetDateTime,
        /// From when the keys before it are refused.
        retire_others_at: OffsetDateTime,
    },
}

/// Decides whether a key is due, when no key may sign for longer than
/// `lifetime`. The very first key signs at once: nobody cached a set without it.
pub fn plan(keys: &[Validity], lifetime: Duration, now: OffsetDateTime) -> Plan {
    let newest = keys
        .iter()
        .filter(|key| key.retired_at.is_none())
        .map(|key| key.not_before)
        .max();
    let not_before = match newest {
        None => now,
        Some(newest) if newest + lifetime > now + ANNOUNCEMENT => return Plan::Keep,
        Some(_) => now + ANNOUNCEMENT,
    };
    Plan::Create {
        not_before,
        retire_others_at: not_before + ACCESS_TOKEN_LIFETIME + LEEWAY,
    }
}

/// The index of the key that signs at `now`: the newest of those that have
/// begun and are not retired. `None` when there is none.
pub fn signer(keys: &[Validity], now: OffsetDateTime) -> Option<usize> {
    (0..keys.len())
        .filter(|&index| keys[index].not_before <= now && keys[index].is_published(now))
        .max_by_key(|&index| keys[index].not_before)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    const START: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);

    /// Does what the plan says, as the store would.
    fn apply(keys: &mut Vec<Validity>, lifetime: Duration, now: OffsetDateTime) {
        if let Plan::Create {
            not_before,
            retire_others_at,
        } = plan(keys, lifetime, now)
        {
            for key in keys.iter_mut() {
                key.retired_at.get_or_insert(retire_others_at);
            }
            keys.push(Validity {
                not_before,
                retired_at: None,
            });
        }
    }

    /// The first key signs at once; a second look changes nothing.
    #[test]
    fn the_first_key_signs_at_once() {
        let mut keys = Vec::new();
        apply(&mut keys, Duration::days(90), START);
        assert_eq!(signer(&keys, START), Some(0));
        assert_eq!(plan(&keys, Duration::days(90), START), Plan::Keep);
    }

    /// Without keys nothing signs, and a key that has not begun does not sign.
    #[test]
    fn keys_do_not_sign_before_their_time() {
        assert_eq!(signer(&[], START), None);
        let future = Validity {
            not_before: START + Duration::SECOND,
            retired_at: None,
        };
        assert_eq!(signer(&[future], START), None);
        assert!(future.is_published(START));
    }

    proptest! {
        /// Over years of looks at uneven intervals: some key always signs, what
        /// it signs is accepted to its end, its key was published an hour ahead
        /// (except the first), and the key set stays small.
        #[test]
        fn rotation_overlaps(gaps in prop::collection::vec(1_i64..90, 1..300), lifetime_days in 2_i64..100) {
            let lifetime = Duration::days(lifetime_days);
            let mut keys: Vec<Validity> = Vec::new();
            let mut now = START;
            apply(&mut keys, lifetime, now);
            for hours in gaps {
                let earlier = keys.clone();
                now += Duration::hours(hours);
                let signs = signer(&keys, now).expect("some key signs");
                let token_end = now + ACCESS_TOKEN_LIFETIME;
                prop_assert!(keys[signs].is_published(token_end));
                apply(&mut keys, lifetime, now);
                prop_assert!(keys[signs].is_published(token_end), "planning cuts no token short");
                if keys.len() > earlier.len() {
                    prop_assert!(keys[keys.len() - 1].not_before >= now + ANNOUNCEMENT);
                }
                prop_assert!(keys.iter().filter(|key| key.is_published(now)).count() <= 3);
            }
        }
    }
}

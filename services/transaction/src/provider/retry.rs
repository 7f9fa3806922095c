//! How a provider's calls are tried again within one run: a pure decision.
//!
//! Only what certainly had no effect is tried again here: a request to act that
//! was never sent, and a question. What may have been sent is for the status
//! look of a later run; the state machine knows no other way out of it.

use std::time::Duration;

use serde::Deserialize;

/// The least time that an attempt is worth making in.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(100);

/// A named policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RetryPolicy {
    /// For a provider nearby, whose connections come back in an instant.
    Fast,
    /// For most.
    #[default]
    Standard,
    /// For one that needs a while and dislikes being pressed.
    Slow,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pace {
    /// How often it is tried in all.
    attempts: u32,
    /// The delay after the first attempt; it doubles with each.
    first: Duration,
    /// The longest delay.
    cap: Duration,
}

impl RetryPolicy {
    /// How long to wait after `failed` attempts before the next one; `None` when
    /// there is none, because there were enough or too little is `left` of the
    /// call's time. `jitter_permille` (500 to 1000) shortens the delay, so that
    /// callers who failed together come back apart.
    pub(crate) fn next(
        self,
        failed: u32,
        left: Duration,
        jitter_permille: u32,
    ) -> Option<Duration> {
        let pace = self.pace();
        if failed >= pace.attempts {
            return None;
        }
        let doubled = pace
            .first
            .saturating_mul(1_u32 << failed.saturating_sub(1).min(16))
            .min(pace.cap);
        let delay = doubled.saturating_mul(jitter_permille) / 1000;
        (delay + SHORTEST_ATTEMPT <= left).then_some(delay)
    }

    fn pace(self) -> Pace {
        let (attempts, first, cap) = match self {
            Self::Fast => (4, 25, 100),
            Self::Standard => (3, 100, 500),
            Self::Slow => (3, 500, 2_000),
        };
        Pace {
            attempts,
            first: Duration::from_millis(first),
            cap: Duration::from_millis(cap),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy() -> impl Strategy<Value = RetryPolicy> {
        prop_oneof![
            Just(RetryPolicy::Fast),
            Just(RetryPolicy::Standard),
            Just(RetryPolicy::Slow)
        ]
    }

    proptest! {
        /// A call that fails for ever is tried as often as its policy says at
        /// most, its delays are within their bounds, and it never outlives its time.
        #[test]
        fn a_call_ends_in_time(
            policy in policy(),
            time_ms in 0..10_000_u64,
            took_ms in 0..2_000_u64,
            jitter in 500..=1000_u32,
        ) {
            let time = Duration::from_millis(time_ms);
            let (mut spent, mut attempts, mut longest) = (Duration::ZERO, 0, Duration::ZERO);
            loop {
                let left = time.saturating_sub(spent);
                spent += Duration::from_millis(took_ms).min(left);
                attempts += 1;
                let left = time.saturating_sub(spent);
                let Some(delay) = policy.next(attempts, left, jitter) else {
                    break;
                };
                prop_assert!(delay <= policy.pace().cap);
                prop_assert!(delay >= policy.pace().first / 2);
                prop_assert!(delay >= longest);
                longest = delay;
                spent += delay;
            }
            prop_assert!(attempts <= policy.pace().attempts);
            prop_assert!(spent <= time);
        }

        /// With time enough every attempt of the policy is made.
        #[test]
        fn every_attempt_is_made(policy in policy(), jitter in 500..=1000_u32) {
            let attempts = policy.pace().attempts;
            let hour = Duration::from_secs(3600);
            for failed in 1..attempts {
                prop_assert!(policy.next(failed, hour, jitter).is_some());
            }
            prop_assert_eq!(policy.next(attempts, hour, jitter), None);
        }
    }

    /// The names mean what they say: the first delays grow from fast to slow.
    #[test]
    fn the_names_are_in_order() {
        let first = |policy: RetryPolicy| policy.pace().first;
        assert!(first(RetryPolicy::Fast) < first(RetryPolicy::Standard));
        assert!(first(RetryPolicy::Standard) < first(RetryPolicy::Slow));
    }
}

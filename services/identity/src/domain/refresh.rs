//! What happens when a refresh token is presented.
//!
//! A token works once; using it makes its successor. Presenting a used token
//! again means one of two things: its response was lost and the client tries
//! again, or somebody stole it. As long as the successor is unused the two
//! look alike, and both are answered by *replacing* the successor: the one
//! made first dies, so that there is one live branch whoever asked. The next
//! use of the dead one tells that two parties hold tokens of one session, and
//! ends the session. Once the successor was used, its holder had the response:
//! a repeat of the predecessor is theft.
//!
//! | token       | successor | answer                          |
//! |-------------|-----------|---------------------------------|
//! | live        | none      | [`Decision::Rotate`]            |
//! | used        | unused    | [`Decision::Replace`]           |
//! | used        | used      | [`Decision::Revoke`]            |
//! | superseded  | any       | [`Decision::Revoke`]            |
//! | any, expired, or its session over | | [`Decision::Refuse`] |
//!
//! An expired token is treated as one that was deleted, which the clean-up may
//! have done already: the answer does not depend on when it ran.
//!
//! Every function here is called with the session's row locked, so that the
//! state that was read is the state that is decided upon.

use thiserror::Error;
use time::OffsetDateTime;

/// Why a refresh token is not exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RefreshError {
    /// It is unknown, expired, or its session has ended.
    #[error("the refresh token is unknown, expired or revoked")]
    Invalid,
    /// It was used before; its session has been ended for that.
    #[error("the refresh token was used before; its session is revoked")]
    Reused,
}

/// What became of a refresh token since it was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenState {
    /// Nothing: it is its session's one live token.
    Live,
    /// It was exchanged for a successor.
    Used {
        /// Whether that successor was exchanged in its turn.
        successor_used: bool,
    },
    /// It was never used, and another successor of its predecessor replaced it.
    Superseded,
}

/// A refresh token that somebody presents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presented {
    /// What became of it.
    pub state: TokenState,
    /// When it stops being good.
    pub expires_at: OffsetDateTime,
    /// Whether its session was ended, or is over.
    pub session_over: bool,
}

/// What to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Mark it used and hand out its successor.
    Rotate,
    /// Mark its unused successor superseded and hand out another.
    Replace,
    /// End the session: two parties hold its tokens.
    Revoke,
    /// Do nothing.
    Refuse,
}

/// Decides what to do with a refresh token that is presented at `now`.
pub fn decide(presented: &Presented, now: OffsetDateTime) -> Decision {
    if presented.session_over || presented.expires_at <= now {
        return Decision::Refuse;
    }
    match presented.state {
        TokenState::Live => Decision::Rotate,
        TokenState::Used {
            successor_used: false,
        } => Decision::Replace,
        TokenState::Used {
            successor_used: true,
        }
        | TokenState::Superseded => Decision::Revoke,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    const START: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);
    const LIFETIME: Duration = Duration::days(7);

    /// A token of the model below, as a store would keep it.
    #[derive(Debug, Clone, Copy)]
    struct Token {
        expires_at: OffsetDateTime,
        successor: Option<usize>,
        superseded: bool,
    }

    /// A session with every token it ever had: the smallest store there is.
    #[derive(Debug)]
    struct Family {
        tokens: Vec<Token>,
        ended: bool,
    }

    impl Family {
        fn start(now: OffsetDateTime) -> Self {
            let mut family = Self {
                tokens: Vec::new(),
                ended: false,
            };
            family.issue(now);
            family
        }

        fn issue(&mut self, now: OffsetDateTime) -> usize {
            self.tokens.push(Token {
                expires_at: now + LIFETIME,
                successor: None,
                superseded: false,
            });
            self.tokens.len() - 1
        }

        fn presented(&self, index: usize) -> Presented {
            let token = self.tokens[index];
            let state = match token.successor {
                _ if token.superseded => TokenState::Superseded,
                None => TokenState::Live,
                Some(successor) => TokenState::Used {
                    successor_used: self.tokens[successor].successor.is_some(),
                },
            };
            Presented {
                state,
                expires_at: token.expires_at,
                session_over: self.ended,
            }
        }

        fn present(&mut self, index: usize, now: OffsetDateTime) -> Decision {
            let decision = decide(&self.presented(index), now);
            match decision {
                Decision::Rotate => self.tokens[index].successor = Some(self.issue(now)),
                Decision::Replace => {
                    let old = self.tokens[index]
                        .successor
                        .expect("a used token has a successor");
                    self.tokens[old].superseded = true;
                    self.tokens[index].successor = Some(self.issue(now));
                }
                Decision::Revoke => self.ended = true,
                Decision::Refuse => {}
            }
            decision
        }

        fn live(&self) -> usize {
            (0..self.tokens.len())
                .filter(|&index| self.presented(index).state == TokenState::Live)
                .count()
        }
    }

    /// The four stories of the module's head, one after the other.
    #[test]
    fn lost_responses_are_forgiven_and_theft_is_not() {
        let mut family = Family::start(START);
        assert_eq!(family.present(0, START), Decision::Rotate);
        assert_eq!(
            family.present(0, START),
            Decision::Replace,
            "the response was lost"
        );
        assert_eq!(family.present(2, START), Decision::Rotate);
        assert_eq!(
            family.present(0, START),
            Decision::Revoke,
            "its successor was used"
        );
        assert_eq!(
            family.present(3, START),
            Decision::Refuse,
            "the whole family is gone"
        );
    }

    /// A thief who repeats a token wins the race once; the victim's next
    /// refresh ends the session for both.
    #[test]
    fn a_superseded_successor_gives_the_theft_away() {
        let mut family = Family::start(START);
        assert_eq!(family.present(0, START), Decision::Rotate);
        assert_eq!(family.present(0, START), Decision::Replace);
        assert_eq!(family.present(1, START), Decision::Revoke);
        assert_eq!(family.present(2, START), Decision::Refuse);
    }

    /// A token is no good from its last instant on, whatever its state.
    #[test]
    fn expired_tokens_do_nothing() {
        for state in [
            TokenState::Live,
            TokenState::Used {
                successor_used: false,
            },
            TokenState::Used {
                successor_used: true,
            },
            TokenState::Superseded,
        ] {
            let presented = Presented {
                state,
                expires_at: START,
                session_over: false,
            };
            assert_eq!(decide(&presented, START), Decision::Refuse);
        }
    }

    proptest! {
        /// Whatever is presented in whatever order at whatever time: there is
        /// never more than one live token, a session that ended stays ended,
        /// and no token is accepted again after its successor was used.
        #[test]
        fn there_is_one_live_branch(steps in prop::collection::vec((any::<prop::sample::Index>(), 0_i64..200), 1..60)) {
            let mut family = Family::start(START);
            let mut now = START;
            for (index, hours) in steps {
                now += Duration::hours(hours / 10);
                let index = index.index(family.tokens.len());
                let before = family.presented(index);
                let was_ended = family.ended;
                let decision = family.present(index, now);
                prop_assert_eq!(family.live(), 1);
                prop_assert!(!was_ended || decision == Decision::Refuse);
                if before.state == (TokenState::Used { successor_used: true }) {
                    prop_assert!(matches!(decision, Decision::Revoke | Decision::Refuse));
                }
            }
        }

        /// However often one token is presented at once, one successor lives,
        /// and it is the last that was handed out.
        #[test]
        fn parallel_repeats_leave_the_last_successor(repeats in 1_usize..40) {
            let mut family = Family::start(START);
            for _ in 0..repeats {
                family.present(0, START);
            }
            prop_assert_eq!(family.live(), 1);
            prop_assert_eq!(family.presented(repeats).state, TokenState::Live);
            prop_assert_eq!(family.present(repeats, START), Decision::Rotate);
        }
    }
}

//! Accounts at providers: how far one is, and when the provider is asked again.
//!
//! A request that was sent and not answered may have opened the account. It is
//! settled by asking what became of it, and only when the provider has said,
//! after its window, that it knows of none is it sent again. So the rules here
//! are about time: how long to wait, when to send again, when to give up. An
//! account is never given up while the provider might have opened it and has
//! not said.

use std::time::Duration;

use bursar_aip::id::{ProviderAccountId, TenantId, UserId, WalletId};
use bursar_money::Currency;
use time::OffsetDateTime;

/// Who opens accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderName {
    /// The simulated provider.
    Sandbox,
    /// Providus' Xpress Wallet.
    Providus,
}

impl ProviderName {
    /// Every provider.
    pub const ALL: [Self; 2] = [Self::Sandbox, Self::Providus];

    /// The name in the contract, the configuration and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Providus => "providus",
        }
    }

    /// The provider of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|provider| provider.name() == name)
    }
}

/// Why no account was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The provider declined.
    Declined {
        /// Its code.
        code: String,
    },
    /// The provider's account for this holder belongs to something else.
    AlreadyRegistered,
    /// The provider could not be had for too long, and opened nothing.
    Unavailable,
}

/// How far an account is. What is personal about an active one is not here: it
/// is encrypted where it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Being opened.
    Pending,
    /// Open.
    Active {
        /// The bank's name.
        bank_name: String,
        /// The bank's code; empty when none was told.
        bank_code: String,
        /// When it was opened.
        at: OffsetDateTime,
    },
    /// Not opened.
    Failed {
        /// Why.
        failure: Failure,
        /// When that was known.
        at: OffsetDateTime,
    },
}

/// An account at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderAccount {
    /// Its id, which is our reference at the provider.
    pub id: ProviderAccountId,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// The wallet whose account it is.
    pub wallet: WalletId,
    /// The wallet's owner.
    pub owner: UserId,
    /// The provider.
    pub provider: ProviderName,
    /// The wallet's currency.
    pub currency: Currency,
    /// How far it is.
    pub state: State,
    /// When it was asked for.
    pub created_at: OffsetDateTime,
}

/// What was agreed with a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long after a request was sent the provider may still come to know it.
    pub lookup_window: Duration,
    /// How long after it was asked for an account is given up that the provider
    /// has not opened.
    pub give_up_after: Duration,
}

/// What was done for a pending account so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How often it was worked on, this time included.
    pub attempts: u32,
    /// How long ago the last request was sent; `None` when none was.
    pub sent_ago: Option<Duration>,
    /// How long ago it was asked for.
    pub age: Duration,
}

/// What is done next for a pending account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send the request.
    Send,
    /// Ask what became of the request that was sent.
    Ask,
    /// Look again after this.
    Wait(Duration),
    /// It is not opened any more.
    GiveUp,
}

/// The first delay, and the longest one.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(600);
/// How long after the end of the provider's window the decisive look is taken.
const AFTER_WINDOW: Duration = Duration::from_millis(200);

impl Progress {
    /// What a run begins with.
    pub fn begin(&self, terms: &Terms) -> Next {
        if self.sent_ago.is_some() {
            Next::Ask
        } else if self.age > terms.give_up_after {
            Next::GiveUp
        } else {
            Next::Send
        }
    }

    /// What follows when the provider says that it does not know the request.
    /// `jitter_permille` is as for [`Progress::delay`].
    pub fn unknown_to_provider(&self, terms: &Terms, jitter_permille: u32) -> Next {
        let left = self.sent_ago.map_or(Duration::ZERO, |ago| {
            terms.lookup_window.saturating_sub(ago)
        });
        if !left.is_zero() {
            Next::Wait(self.delay(jitter_permille).min(left + AFTER_WINDOW))
        } else if self.age > terms.give_up_after {
            Next::GiveUp
        } else {
            Next::Send
        }
    }

    /// How long to wait after an attempt that settled nothing: doubling from a
    /// second to ten minutes, scaled by `jitter_permille` (750 to 1250 spreads
    /// what failed together).
    pub fn delay(&self, jitter_permille: u32) -> Duration {
        let doublings = self.attempts.saturating_sub(1).min(16);
        let doubled = FIRST_DELAY
            .saturating_mul(1 << doublings)
            .min(LONGEST_DELAY);
        doubled.saturating_mul(jitter_permille) / 1000
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TERMS: Terms = Terms {
        lookup_window: Duration::from_secs(60),
        give_up_after: Duration::from_secs(3600),
    };

    fn progress(sent_ago: Option<u64>, age: u64) -> Progress {
        Progress {
            attempts: 1,
            sent_ago: sent_ago.map(Duration::from_secs),
            age: Duration::from_secs(age),
        }
    }

    /// A request is sent once; after that the provider is asked, however old it is.
    #[test]
    fn what_was_sent_is_asked_about() {
        assert_eq!(progress(None, 0).begin(&TERMS), Next::Send);
        assert_eq!(progress(None, 3601).begin(&TERMS), Next::GiveUp);
        assert_eq!(progress(Some(0), 0).begin(&TERMS), Next::Ask);
        assert_eq!(progress(Some(9), 99_999).begin(&TERMS), Next::Ask);
    }

    /// "Not known" counts only after the window; then it is sent again, or given up.
    #[test]
    fn not_known_counts_after_the_window() {
        let next = |sent, age| progress(Some(sent), age).unknown_to_provider(&TERMS, 1000);
        assert_eq!(next(5, 5), Next::Wait(Duration::from_secs(1)));
        assert_eq!(next(5, 9999), Next::Wait(Duration::from_secs(1)));
        assert_eq!(next(60, 60), Next::Send);
        assert_eq!(next(60, 3601), Next::GiveUp);
    }

    /// Providers' names are read as they are written.
    #[test]
    fn names_are_read_back() {
        for provider in ProviderName::ALL {
            assert_eq!(ProviderName::parse(provider.name()), Some(provider));
        }
        assert_eq!(ProviderName::parse("Sandbox"), None);
    }

    proptest! {
        /// Delays grow with the attempts, within their bounds.
        #[test]
        fn delays_are_bounded(attempts in 0_u32..=u32::MAX, jitter in 750_u32..=1250) {
            let at = |attempts| Progress { attempts, sent_ago: None, age: Duration::ZERO };
            let delay = at(attempts).delay(jitter);
            prop_assert!(delay >= FIRST_DELAY * 3 / 4 && delay <= LONGEST_DELAY * 5 / 4);
            prop_assert!(at(attempts.saturating_add(1)).delay(jitter) >= delay);
        }

        /// Nothing is sent again or given up while the provider may still come to
        /// know what was sent, and the wait never outlasts the window for long.
        #[test]
        fn the_window_is_kept(sent_ms in 0_u64..120_000, age_s in 0_u64..10_000, jitter in 750_u32..=1250) {
            let sent = Duration::from_millis(sent_ms);
            let progress = Progress {
                attempts: 12,
                sent_ago: Some(sent),
                age: sent.max(Duration::from_secs(age_s)),
            };
            match progress.unknown_to_provider(&TERMS, jitter) {
                Next::Wait(wait) => prop_assert!(
                    sent < TERMS.lookup_window && sent + wait <= TERMS.lookup_window + AFTER_WINDOW
                ),
                Next::Send | Next::GiveUp => prop_assert!(sent >= TERMS.lookup_window),
                Next::Ask => prop_assert!(false, "it was asked just now"),
            }
        }
    }
}

//! The circuit breaker of one provider: a pure decision about whether a call may
//! be made, from what earlier calls have shown.
//!
//! | phase     | calls                          | goes on to                                  |
//! |-----------|--------------------------------|---------------------------------------------|
//! | closed    | all                            | open, when too many of the window's failed  |
//! | open      | none                           | half-open, with the first call after a time |
//! | half-open | at most `probes` of them       | closed when all of them were well, open with the first failure |
//!
//! - Only calls that say something about the provider count. A decline is the
//!   provider at work; see [`Sign`].
//! - A call belongs to the phase in which it was admitted. What it shows later,
//!   in another phase, is old news and counts for nothing.
//! - A provider that is half-open, or about to be, is on probation. Routing may
//!   send it one transaction in a while, so that it is found out when it is
//!   well again, and not more, because the others wait for it.
//!
//! Time and chance are passed in; nothing here reads a clock. It is a breaker of
//! our own because those that exist read the clock themselves, let any number
//! of calls through while they are half-open, and close on a stale answer.

mod window;

use std::time::{Duration, Instant};

use window::Window;

/// How often a provider on probation is chosen for a transaction.
pub(crate) const TRIAL_INTERVAL: Duration = Duration::from_secs(1);

/// What a call has shown of the provider's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It is there and works, whatever it answered.
    Well,
    /// It could not be reached, did not answer in time, hung up, or failed by
    /// its own account (5xx).
    Failing,
    /// Nothing: it was we who cut the call short, or the answer says nothing
    /// about how it is (4xx that a wrong request of ours deserves).
    Nothing,
}

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BreakerSettings {
    /// Over which time calls are counted.
    pub(crate) window: Duration,
    /// With how many calls in the window a rate means something.
    pub(crate) minimum_calls: u32,
    /// At which share of failures it opens, in percent.
    pub(crate) failure_percent: u32,
    /// How long it stays open; spread by a quarter either way.
    pub(crate) open_for: Duration,
    /// How many calls are let through to try, and have to be well.
    pub(crate) probes: u32,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(30),
            minimum_calls: 20,
            failure_percent: 50,
            open_for: Duration::from_secs(5),
            probes: 3,
        }
    }
}

/// A breaker's phase, as operators see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Every call is let through.
    Closed,
    /// A few calls are let through, to try.
    HalfOpen,
    /// No call is let through.
    Open,
}

impl Phase {
    /// The name in metrics and logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// The right to make one call. It has to be given back with what was seen.
#[derive(Debug)]
pub(crate) struct Permit {
    era: u64,
}

/// The breaker.
#[derive(Debug)]
pub(crate) struct Breaker {
    settings: BreakerSettings,
    state: State,
    /// Counts the phases, so that a permit of an earlier one is known.
    era: u64,
    /// When a provider on probation may be chosen next.
    next_trial_at: Instant,
}

#[derive(Debug)]
enum State {
    Closed(Window),
    Open { until: Instant },
    HalfOpen { under_way: u32, well: u32 },
}

impl Breaker {
    /// A closed breaker.
    pub(crate) fn new(settings: BreakerSettings, now: Instant) -> Self {
        Self {
            settings,
            state: State::Closed(Window::new(settings.window, now)),
            era: 0,
            next_trial_at: now,
        }
    }

    /// The phase.
    pub(crate) fn phase(&self) -> Phase {
        match self.state {
            State::Closed(_) => Phase::Closed,
            State::Open { .. } => Phase::Open,
            State::HalfOpen { .. } => Phase::HalfOpen,
        }
    }

    /// Asks to make a call; `None` when it must not be made.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<Permit> {
        if let State::Open { until } = self.state
            && now >= until
        {
            self.turn(State::HalfOpen {
                under_way: 0,
                well: 0,
            });
        }
        match &mut self.state {
            State::Closed(_) => {}
            State::Open { .. } => return None,
            State::HalfOpen { under_way, well } => {
                if *under_way + *well >= self.settings.probes {
                    return None;
                }
                *under_way += 1;
            }
        }
        Some(Permit { era: self.era })
    }

    /// Takes in what a call has shown. `jitter_permille` (750 to 1250) spreads
    /// the time for which the breaker opens by it, so that the processes of a
    /// fleet do not all try at once.
    pub(crate) fn report(
        &mut self,
        permit: Permit,
        sign: Sign,
        now: Instant,
        jitter_permille: u32,
    ) {
        if permit.era != self.era {
            return;
        }
        let opens = match &mut self.state {
            State::Closed(window) => match sign {
                Sign::Nothing => false,
                Sign::Well => {
                    window.count(false, now);
                    false
                }
                Sign::Failing => {
                    window.count(true, now);
                    let tally = window.tally(now);
                    let share = u64::from(tally.failures) * 100;
                    let limit = u64::from(tally.calls) * u64::from(self.settings.failure_percent);
                    tally.calls >= self.settings.minimum_calls && share >= limit
                }
            },
            State::HalfOpen { under_way, well } => {
                *under_way = under_way.saturating_sub(1);
                *well += u32::from(sign == Sign::Well);
                sign == Sign::Failing
            }
            // No permit is of an open breaker's era.
            State::Open { .. } => false,
        };
        if opens {
            let open_for = self.settings.open_for.saturating_mul(jitter_permille) / 1000;
            let until = now + open_for;
            self.next_trial_at = until;
            self.turn(State::Open { until });
        } else if matches!(self.state, State::HalfOpen { well, .. } if well >= self.settings.probes)
        {
            self.turn(State::Closed(Window::new(self.settings.window, now)));
        }
    }

    /// Whether routing may choose the provider now: while the breaker is closed
    /// always, on probation one time in a while, and open never.
    pub(crate) fn is_choosable(&self, now: Instant) -> bool {
        match self.state {
            State::Closed(_) => true,
            State::Open { until } => now >= until && now >= self.next_trial_at,
            State::HalfOpen { under_way, well } => {
                under_way + well < self.settings.probes && now >= self.next_trial_at
            }
        }
    }

    /// Chooses the provider, if it may be chosen now.
    pub(crate) fn choose(&mut self, now: Instant) -> bool {
        let is_choosable = self.is_choosable(now);
        if is_choosable && self.phase() != Phase::Closed {
            self.next_trial_at = now + TRIAL_INTERVAL;
        }
        is_choosable
    }

    fn turn(&mut self, state: State) {
        self.state = state;
        self.era += 1;
    }
}

#[cfg(test)]
mod tests;

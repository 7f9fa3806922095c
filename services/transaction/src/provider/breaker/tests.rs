use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::window::SLOTS;
use super::*;

const SETTINGS: BreakerSettings = BreakerSettings {
    window: Duration::from_secs(10),
    minimum_calls: 6,
    failure_percent: 50,
    open_for: Duration::from_secs(4),
    probes: 3,
};
const SHORTEST: Duration = Duration::from_secs(3);
const LONGEST: Duration = Duration::from_secs(5);

/// What a breaker is put through.
#[derive(Clone, Debug)]
enum Act {
    Wait(u64),
    Call,
    /// One of the calls under way ends.
    End(usize, Sign),
    Choose,
}

fn sign() -> impl Strategy<Value = Sign> {
    prop_oneof![
        2 => Just(Sign::Well),
        3 => Just(Sign::Failing),
        1 => Just(Sign::Nothing)
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => (0..3_000_u64).prop_map(Act::Wait),
        5 => Just(Act::Call),
        5 => (any::<usize>(), sign()).prop_map(|(which, sign)| Act::End(which, sign)),
        1 => Just(Act::Choose),
    ]
}

/// The counting of a closed breaker, as simply as it can be written down.
#[derive(Default)]
struct Diary {
    signs: Vec<(u64, bool)>,
}

impl Diary {
    fn note(&mut self, slot: u64, sign: Sign) {
        if sign != Sign::Nothing {
            self.signs.push((slot, sign == Sign::Failing));
        }
    }

    fn is_over_the_limit(&self, now: u64) -> bool {
        let seen = || self.signs.iter().filter(|(slot, _)| slot + SLOTS > now);
        let (calls, failures) = (seen().count(), seen().filter(|(_, failed)| *failed).count());
        calls >= 6 && failures * 2 >= calls
    }
}

fn slot(closed_at: Instant, now: Instant) -> u64 {
    u64::try_from((now - closed_at).as_millis() / 1000).expect("a test is short")
}

proptest! {
    /// Whatever happens in whatever order: a breaker opens exactly when the
    /// window says so or a probe fails; open it lets nothing through until its
    /// time is over; half-open it never has more probes out than it may; and
    /// calls of an earlier phase change nothing.
    #[test]
    fn a_breaker_keeps_its_rules(acts in prop::collection::vec(act(), 1..400), jitter in 750..=1250_u32) {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(SETTINGS, now);
        let mut under_way: Vec<(Permit, Phase, u64)> = Vec::new();
        let (mut diary, mut closed_at, mut opened_at) = (Diary::default(), now, now);
        let (mut well, mut era) = (0, 0_u64);
        for act in acts {
            let before = breaker.phase();
            match act {
                Act::Wait(ms) => now += Duration::from_millis(ms),
                Act::Call => {
                    let admitted = breaker.admit(now);
                    match before {
                        Phase::Closed => prop_assert!(admitted.is_some()),
                        Phase::Open => {
                            let since = now - opened_at;
                            prop_assert!(admitted.is_none() || since >= SHORTEST);
                            prop_assert!(admitted.is_some() || since < LONGEST);
                            if admitted.is_some() {
                                (well, era) = (0, era + 1);
                            }
                        }
                        Phase::HalfOpen => {}
                    }
                    if let Some(permit) = admitted {
                        under_way.push((permit, breaker.phase(), era));
                    }
                }
                Act::End(which, sign) if !under_way.is_empty() => {
                    let (permit, phase, of) = under_way.swap_remove(which % under_way.len());
                    breaker.report(permit, sign, now, jitter);
                    if of != era {
                        prop_assert_eq!(breaker.phase(), before);
                    } else if phase == Phase::Closed {
                        diary.note(slot(closed_at, now), sign);
                        let opens = sign == Sign::Failing
                            && diary.is_over_the_limit(slot(closed_at, now));
                        prop_assert_eq!(breaker.phase() == Phase::Open, opens);
                    } else {
                        well += u32::from(sign == Sign::Well);
                        let expected = match sign {
                            Sign::Failing => Phase::Open,
                            _ if well == SETTINGS.probes => Phase::Closed,
                            _ => Phase::HalfOpen,
                        };
                        prop_assert_eq!(breaker.phase(), expected);
                    }
                    if breaker.phase() != before {
                        era += 1;
                        (opened_at, closed_at, diary) = (now, now, Diary::default());
                    }
                }
                Act::End(..) => {}
                Act::Choose => {
                    let chosen = breaker.choose(now);
                    prop_assert_eq!(breaker.phase(), before);
                    prop_assert!(chosen || before != Phase::Closed);
                    let is_open = before == Phase::Open && now - opened_at < SHORTEST;
                    prop_assert!(!(chosen && is_open));
                }
            }
            if breaker.phase() == Phase::HalfOpen {
                let probing = under_way.iter().filter(|(_, _, of)| *of == era).count();
                prop_assert!(probing + well as usize <= SETTINGS.probes as usize);
            }
        }
    }

    /// Answers, and calls that say nothing, never open a breaker, however many
    /// there are: declines cannot take a provider out of service.
    #[test]
    fn declines_never_open_it(signs in prop::collection::vec(prop_oneof![Just(Sign::Well), Just(Sign::Nothing)], 0..300)) {
        let now = Instant::now();
        let mut breaker = Breaker::new(SETTINGS, now);
        for sign in signs {
            let permit = breaker.admit(now).expect("closed");
            breaker.report(permit, sign, now, 1000);
            prop_assert_eq!(breaker.phase(), Phase::Closed);
        }
    }

    /// From wherever it has come to, a breaker closes again once the provider is
    /// well, by as many calls as it has probes; also when others were cut short.
    #[test]
    fn it_closes_again(acts in prop::collection::vec(act(), 0..200), jitter in 750..=1250_u32) {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(SETTINGS, now);
        let mut under_way = Vec::new();
        for act in acts {
            match act {
                Act::Wait(ms) => now += Duration::from_millis(ms),
                Act::Call => under_way.extend(breaker.admit(now)),
                Act::End(which, sign) if !under_way.is_empty() => {
                    let permit = under_way.swap_remove(which % under_way.len());
                    breaker.report(permit, sign, now, jitter);
                }
                Act::End(..) | Act::Choose => {}
            }
        }
        for permit in under_way {
            breaker.report(permit, Sign::Nothing, now, jitter);
        }
        now += LONGEST;
        prop_assert!(breaker.choose(now + TRIAL_INTERVAL));
        for _ in 0..SETTINGS.probes {
            if breaker.phase() == Phase::Closed {
                break;
            }
            let permit = breaker.admit(now).expect("its time is over");
            breaker.report(permit, Sign::Well, now, jitter);
        }
        prop_assert_eq!(breaker.phase(), Phase::Closed);
    }
}

/// On probation a provider is chosen once in an interval, not by everybody at
/// the moment when its time is over.
#[test]
fn trials_are_rare() {
    let start = Instant::now();
    let mut breaker = Breaker::new(SETTINGS, start);
    for _ in 0..6 {
        let permit = breaker.admit(start).expect("closed");
        breaker.report(permit, Sign::Failing, start, 1000);
    }
    assert_eq!(breaker.phase(), Phase::Open);
    let over = start + SETTINGS.open_for;
    assert!(!breaker.choose(over - Duration::from_millis(1)));
    assert!(breaker.choose(over));
    assert!(!breaker.choose(over));
    let permit = breaker.admit(over).expect("half-open");
    assert!(!breaker.choose(over + TRIAL_INTERVAL / 2));
    assert!(breaker.choose(over + TRIAL_INTERVAL));
    breaker.report(permit, Sign::Well, over, 1000);
}

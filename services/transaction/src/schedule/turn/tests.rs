use std::collections::BTreeMap;

use proptest::prelude::*;
use uuid::Uuid;

use super::super::sample::{at, daily};
use super::super::{Failures, MissedRuns};
use super::*;

fn id(number: u128) -> TransactionId {
    TransactionId::from_uuid(Uuid::from_u128(number))
}

fn refused(reason: &str) -> Outcome {
    Outcome::Refused(RunFailure {
        reason: reason.to_owned(),
        message: "the tests say so".to_owned(),
    })
}

/// The rows of one schedule, and what its transfers came to.
struct World {
    schedule: Schedule,
    runs: BTreeMap<i32, ScheduleRun>,
    made: BTreeMap<TransactionId, Outcome>,
    ids: u128,
}

impl World {
    fn new(schedule: Schedule) -> Self {
        Self {
            schedule,
            runs: BTreeMap::new(),
            made: BTreeMap::new(),
            ids: 0,
        }
    }

    fn open(&self) -> Option<&ScheduleRun> {
        self.runs.values().find(|run| run.ended_at.is_none())
    }

    /// One step of a job that is told the outcome only if it was not killed before.
    fn step(&mut self, now: OffsetDateTime, outcome: Option<Outcome>) -> Turn {
        self.ids += 1;
        let turn = decide(&self.schedule, self.open(), outcome, now, id(self.ids));
        if let Turn::Write(change) = &turn {
            for run in &change.runs {
                self.runs.insert(run.number, run.clone());
            }
            self.schedule = change.schedule.clone();
        }
        turn
    }

    /// Steps until there is nothing to do, every attempt with this outcome.
    fn settle(&mut self, now: OffsetDateTime, outcome: &Outcome) -> Turn {
        let mut known = None;
        loop {
            match self.step(now, known.take()) {
                Turn::Attempt(run) => {
                    let id = *run.transactions.last().expect("it names its transaction");
                    self.made.insert(id, outcome.clone());
                    known = Some(outcome.clone());
                }
                Turn::Write(_) => {}
                turn @ (Turn::Wait(_) | Turn::Rest) => return turn,
            }
        }
    }

    /// The hour and the state of each run.
    fn told(&self) -> Vec<(i64, &'static str)> {
        let hours = |due: OffsetDateTime| (due - at(0)).whole_hours();
        let runs = self.runs.values();
        runs.map(|run| (hours(run.due_at), run.state.name()))
            .collect()
    }
}

/// What becomes of runs that were missed while nobody looked: five days, of which the
/// last run is not yet late.
#[test]
fn missed_runs_follow_their_rule() {
    let (skipped, completed) = ("SKIPPED", "COMPLETED");
    for (rule, catch_up_limit, expected) in [
        (MissedRule::Skip, 10, [skipped, skipped, skipped, completed]),
        (
            MissedRule::RunOnce,
            10,
            [skipped, skipped, completed, completed],
        ),
        (
            MissedRule::RunAll,
            10,
            [completed, completed, completed, completed],
        ),
        (
            MissedRule::RunAll,
            2,
            [skipped, completed, completed, completed],
        ),
    ] {
        let mut world = World::new(daily());
        world.schedule.missed.rule = rule;
        world.schedule.missed.catch_up_limit = catch_up_limit;
        assert_eq!(
            world.settle(at(73), &Outcome::Completed),
            Turn::Wait(at(96))
        );
        let expected: Vec<_> = [0, 24, 48, 72].into_iter().zip(expected).collect();
        assert_eq!(world.told(), expected, "{rule:?} {catch_up_limit}");
    }
}

/// However long nobody looked, no more is skipped than the rule says, in steps that
/// have a bound.
#[test]
fn years_are_caught_up_with_in_bounded_steps() {
    for (rule, completed) in [
        (MissedRule::Skip, 0),
        (MissedRule::RunOnce, 1),
        (MissedRule::RunAll, 10),
    ] {
        let mut world = World::new(daily());
        world.schedule.missed.rule = rule;
        let days = 1_300;
        world.settle(at(24 * days - 2), &Outcome::Completed);
        let told = world.told();
        assert_eq!(
            told.len(),
            usize::try_from(days).expect("small"),
            "{rule:?}"
        );
        let done = told
            .iter()
            .filter(|(_, state)| *state == "COMPLETED")
            .count();
        assert_eq!(done, completed, "{rule:?}");
        assert!(
            told[told.len() - completed..]
                .iter()
                .all(|(_, state)| *state == "COMPLETED")
        );
    }
}

/// A refusal is tried again as often as agreed, each time under an id of its own, and
/// not once the next run is due.
#[test]
fn refusals_are_tried_again_within_bounds() {
    let mut world = World::new(daily());
    world.schedule.failures.max_retries = 2;
    let poor = refused("INSUFFICIENT_FUNDS");
    assert_eq!(world.settle(at(0), &poor), Turn::Wait(at(1)));
    assert_eq!(world.settle(at(1), &poor), Turn::Wait(at(2)));
    assert_eq!(world.settle(at(2), &poor), Turn::Wait(at(24)));
    assert_eq!(world.told(), [(0, "FAILED")]);
    assert_eq!((world.made.len(), world.schedule.failures_in_a_row), (3, 1));

    world.schedule.failures.retry_interval = std::time::Duration::from_secs(24 * 3600);
    assert_eq!(world.settle(at(24), &poor), Turn::Wait(at(48)));
    assert_eq!(world.told()[1], (24, "FAILED"));
    assert_eq!((world.made.len(), world.schedule.failures_in_a_row), (4, 2));
}

/// A retry that succeeds is a success, and what failed before it is forgotten.
#[test]
fn a_retry_may_succeed() {
    let mut world = World::new(daily());
    world.schedule.failures.max_retries = 1;
    world.schedule.failures_in_a_row = 2;
    world.settle(at(0), &refused("WALLET_FROZEN"));
    world.settle(at(1), &Outcome::Completed);
    assert_eq!(world.told(), [(0, "COMPLETED")]);
    assert_eq!(world.schedule.failures_in_a_row, 0);
    assert_eq!(world.runs[&1].transactions.len(), 2);
}

/// What no repetition can turn is not repeated.
#[test]
fn hopeless_refusals_are_not_tried_again() {
    for reason in ["WALLET_CLOSED", EXPIRED] {
        let mut world = World::new(daily());
        world.schedule.failures.max_retries = 5;
        world.settle(at(0), &refused(reason));
        assert_eq!(world.told(), [(0, "FAILED")]);
        assert_eq!(world.runs[&1].transactions.len(), 1);
    }
}

/// After so many failed runs in a row the schedule is paused; a retry that waits when
/// somebody pauses it is given up.
#[test]
fn failures_pause() {
    let mut world = World::new(daily());
    for day in 0..3 {
        world.settle(at(24 * day), &refused("INSUFFICIENT_FUNDS"));
    }
    assert_eq!(world.schedule.state, State::Paused(PauseCause::FailedRuns));
    assert_eq!(world.settle(at(200), &Outcome::Completed), Turn::Rest);
    assert_eq!(world.told().len(), 3);

    let mut world = World::new(daily());
    world.schedule.failures.max_retries = 5;
    world.settle(at(0), &refused("INSUFFICIENT_FUNDS"));
    world.schedule.state = State::Paused(PauseCause::Owner);
    assert_eq!(world.settle(at(0), &Outcome::Completed), Turn::Rest);
    assert_eq!(world.told(), [(0, "FAILED")]);
}

/// A schedule ends with its last run: by number, by time, or because there is but one.
#[test]
fn schedules_end() {
    let mut numbered = daily();
    numbered.max_runs = Some(2);
    let mut timed = daily();
    timed.end_at = Some(at(24));
    for schedule in [numbered, timed] {
        let mut world = World::new(schedule);
        assert_eq!(world.schedule.coming().count(), 2);
        assert_eq!(world.settle(at(0), &Outcome::Completed), Turn::Wait(at(24)));
        assert_eq!(world.settle(at(24), &Outcome::Completed), Turn::Rest);
        assert_eq!(world.schedule.state, State::Ended);
        assert_eq!(world.told(), [(0, "COMPLETED"), (24, "COMPLETED")]);
    }
    let mut once = daily();
    once.timing = super::super::Timing::Once;
    once.next_run_at = once.first_due();
    let mut world = World::new(once);
    assert_eq!(world.settle(at(0), &Outcome::Review), Turn::Rest);
    assert_eq!(
        (world.told(), world.schedule.state),
        (vec![(0, "MANUAL_REVIEW")], State::Ended)
    );
}

#[derive(Clone, Debug)]
enum Happening {
    /// The job has a step; its attempts end so.
    Step { is_refused: bool },
    /// The job dies between an attempt and its bookkeeping.
    Killed { is_refused: bool },
    /// Time passes.
    Hours(i64),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let one = prop_oneof![
        6 => any::<bool>().prop_map(|is_refused| Happening::Step { is_refused }),
        2 => any::<bool>().prop_map(|is_refused| Happening::Killed { is_refused }),
        2 => (1..80_i64).prop_map(Happening::Hours),
    ];
    prop::collection::vec(one, 1..120)
}

fn policies() -> impl Strategy<Value = (MissedRuns, Failures, Option<i32>)> {
    let rules = vec![MissedRule::Skip, MissedRule::RunOnce, MissedRule::RunAll];
    (
        prop::sample::select(rules),
        1..4_u16,
        0..3_u16,
        1..40_u64,
        1..4_u16,
        prop::option::of(1..12_i32),
    )
        .prop_map(
            |(rule, catch_up_limit, max_retries, hours, pause_after, max_runs)| {
                let missed = MissedRuns {
                    rule,
                    after: std::time::Duration::from_secs(3600),
                    catch_up_limit,
                };
                let failures = Failures {
                    max_retries,
                    retry_interval: std::time::Duration::from_secs(hours * 3600),
                    pause_after,
                };
                (missed, failures, max_runs)
            },
        )
}

proptest! {
    /// Whatever is refused and wherever the job dies: every due time that has passed has
    /// one run, in order; a run moves money once or not at all, by its last attempt; no
    /// attempt's id is used twice; nothing begins before it is due.
    #[test]
    fn no_run_is_lost_or_doubled(
        (missed, failures, max_runs) in policies(),
        happenings in happenings(),
    ) {
        let plan = Schedule { missed, failures, max_runs, ..daily() };
        let expected: Vec<OffsetDateTime> = plan.coming().take(3_000).collect();
        let mut world = World::new(plan);
        let mut now = at(-3);
        let mut known: Option<Outcome> = None;
        for happening in happenings {
            match happening {
                Happening::Hours(hours) => now += time::Duration::hours(hours),
                Happening::Step { is_refused } | Happening::Killed { is_refused } => {
                    let turn = world.step(now, known.take());
                    if let Turn::Attempt(run) = turn {
                        prop_assert!(run.due_at <= now);
                        let last = *run.transactions.last().expect("it names its transaction");
                        let new = if is_refused { refused("INSUFFICIENT_FUNDS") } else { Outcome::Completed };
                        // What was made before stays what it is.
                        let made = world.made.entry(last).or_insert(new).clone();
                        if matches!(happening, Happening::Step { .. }) {
                            known = Some(made);
                        }
                    }
                }
            }
        }
        let runs: Vec<&ScheduleRun> = world.runs.values().collect();
        let mut ids = Vec::new();
        for (index, run) in runs.iter().enumerate() {
            prop_assert_eq!(run.number, i32::try_from(index + 1).expect("few"));
            prop_assert_eq!(run.due_at, expected[index]);
            prop_assert!(run.ended_at.is_some() || index + 1 == runs.len());
            ids.extend(&run.transactions);
            let moved = |id: &TransactionId| world.made.get(id) == Some(&Outcome::Completed);
            let count = run.transactions.iter().filter(|id| moved(id)).count();
            match run.state {
                RunState::Completed => {
                    prop_assert_eq!(count, 1);
                    prop_assert!(moved(run.transactions.last().expect("it has moved money")));
                }
                RunState::Started => prop_assert!(count <= 1),
                RunState::Failed | RunState::Retrying(_) | RunState::Skipped | RunState::Review => {
                    prop_assert_eq!(count, 0);
                }
            }
        }
        let attempts = ids.len();
        ids.sort();
        ids.dedup();
        prop_assert_eq!(ids.len(), attempts);
        prop_assert!(world.made.keys().all(|id| ids.contains(&id)));
        prop_assert_eq!(world.schedule.run_count, i32::try_from(runs.len()).expect("few"));
    }
}

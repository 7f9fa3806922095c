//! What can happen next: the workers' loop, and everything that befalls them.
//!
//! A worker commits and then sends, as `advance` does it: what a step of the
//! machine wants recorded is written under the lease before its command goes
//! out. Sending, the answer and the commit of what follows are one event where
//! nothing comes of their being apart: until its request arrives a worker might
//! as well not have sent it, and an answer that is overtaken by another run, or
//! lost, might as well not have been given. Only "not found" grows old on its way.

use stateright::{Model, Property};

use crate::calm::Calm;
use crate::cast::{LOOK_UNITS, Scene, VALID_UNITS};
use crate::ledger::{self, Slip};
use crate::machine::{Learnt, Machine, Task};
use crate::properties;
use crate::provider::{self, Status, Will};
use crate::rules::Rules;
use crate::world::{Message, Row, Run, World};

/// One thing that happens. A number is a worker, except where it says `tx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A request comes: its intent is committed, and the worker runs it.
    Begin { worker: usize, tx: usize },
    /// A worker takes the lease, which has lapsed, and resumes.
    Claim { worker: usize, tx: usize },
    /// A worker's request arrives, and the worker commits what follows from the
    /// answer.
    Exchange(usize, Will),
    /// The answer "not found" reaches the worker.
    HearNotFound(usize),
    /// A worker waits no longer; the request may still arrive.
    Lose(usize),
    /// There is no connection to the provider, or no sense in sending any more.
    NotSent(usize),
    /// A worker's time is over, and it sends nothing.
    GiveUp(usize),
    /// The worker's process is killed before it sends.
    Crash(usize),
    /// It is killed after it has sent; the request may still arrive.
    CrashAfterSending(usize),
    /// Something arrives that nobody waits for, for the first time or again.
    ArriveLate(Message, Will),
    /// The provider finishes what it had accepted.
    Finish { tx: usize, will: Will },
    /// Time passes.
    Tick,
}

/// The model of one scene under some rules.
pub(crate) struct Bank {
    pub(crate) scene: Scene,
    pub(crate) rules: Rules,
    pub(crate) machine: Machine,
    pub(crate) calm: Calm,
}

impl Bank {
    pub(crate) fn new(scene: Scene, rules: Rules) -> Self {
        Self {
            scene,
            rules,
            machine: Machine::new(scene),
            calm: Calm::default(),
        }
    }
}

impl Model for Bank {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::default()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for worker in 0..2 {
            match &world.workers[worker] {
                Some(run) => self.of_run(world, worker, run, actions),
                None => self.of_idle(world, worker, actions),
            }
        }
        for message in &world.late {
            let wills = match message {
                Message::Post(_) => &[Will::Do],
                Message::Order { tx, .. } => self.wills(world, *tx),
            };
            actions.extend(wills.iter().map(|will| Action::ArriveLate(*message, *will)));
        }
        for tx in 0..2 {
            if world.desks[tx].status == Status::Accepted {
                let wills = [Will::Do, Will::Decline];
                actions.extend(wills.map(|will| Action::Finish { tx, will }));
            }
        }
        if world.clock < self.scene.last_hour() {
            actions.push(Action::Tick);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        match action {
            Action::Begin { worker, tx } => self.begin(&mut next, worker, tx),
            Action::Claim { worker, tx } => self.claim(&mut next, worker, tx),
            Action::Exchange(worker, will) => self.exchange(&mut next, worker, will),
            Action::HearNotFound(worker) => self.learn(&mut next, worker, Learnt::NotFound),
            Action::Lose(worker) => self.lose(&mut next, worker),
            Action::NotSent(worker) => self.learn(&mut next, worker, Learnt::NotSent),
            Action::GiveUp(worker) => self.learn(&mut next, worker, Learnt::Unposted),
            Action::Crash(worker) => next.workers[worker] = None,
            Action::CrashAfterSending(worker) => {
                abandon(&mut next, worker);
                next.workers[worker] = None;
            }
            Action::ArriveLate(message, will) => self.arrive_late(&mut next, message, will),
            Action::Finish { tx, will } => next.desks[tx].turn(will),
            Action::Tick => next.clock += 1,
        }
        self.forget(&mut next);
        // Workers are alike: which of them does something makes no difference.
        next.workers.sort_unstable();
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all(self.scene)
    }
}

impl Bank {
    /// What a worker without work can do.
    fn of_idle(&self, world: &World, worker: usize, actions: &mut Vec<Action>) {
        for tx in 0..self.scene.transactions() {
            match &world.rows[tx] {
                None if world.clock == 0 => actions.push(Action::Begin { worker, tx }),
                Some(row) if !row.known.state.is_at_rest() => {
                    actions.push(Action::Claim { worker, tx });
                }
                Some(_) | None => {}
            }
        }
    }

    /// What can befall a run.
    fn of_run(&self, world: &World, worker: usize, run: &Run, actions: &mut Vec<Action>) {
        actions.push(Action::Crash(worker));
        if let Some(sent) = run.not_found_at {
            if world.clock <= sent + LOOK_UNITS || !self.rules.looks_expire {
                actions.push(Action::HearNotFound(worker));
            }
            actions.push(Action::Lose(worker));
            return;
        }
        let is_in_time = run.task != Task::Ask || self.is_in_time(world, until(run));
        if is_in_time {
            let wills = match run.task {
                Task::Ask => self.wills(world, run.tx),
                Task::Post(_) | Task::Bar(_) | Task::Look | Task::Measure => &[Will::Do],
            };
            actions.extend(wills.iter().map(|will| Action::Exchange(worker, *will)));
            actions.push(Action::Lose(worker));
        }
        match run.task {
            Task::Post(_) | Task::Bar(_) => {
                actions.extend([Action::GiveUp(worker), Action::CrashAfterSending(worker)]);
            }
            Task::Ask => {
                // A provider that cannot be reached twice is enough.
                if !is_in_time || run.known.requests < 2 {
                    actions.push(Action::NotSent(worker));
                }
                if is_in_time {
                    actions.push(Action::CrashAfterSending(worker));
                }
            }
            Task::Look | Task::Measure => {}
        }
    }

    /// What the provider may make of an order: only of a new one there is a choice.
    fn wills(&self, world: &World, tx: usize) -> &'static [Will] {
        if world.desks[tx].status == Status::Nothing || !self.rules.provider_remembers {
            &[Will::Do, Will::Accept, Will::Decline]
        } else {
            &[Will::Do]
        }
    }

    fn is_in_time(&self, world: &World, until: u8) -> bool {
        world.clock < until || !self.rules.orders_expire
    }

    fn begin(&self, world: &mut World, worker: usize, tx: usize) {
        let initiated = self.machine.initiate(tx, world.clock);
        let first = self
            .machine
            .turn(initiated, Learnt::Resume(None), world.clock);
        let task = first.task.expect("a new transaction has something to do");
        world.rows[tx] = Some(Row {
            known: first.after,
            note: None,
            went_on_after_the_end: false,
            was_overwritten: false,
        });
        world.workers[worker] = Some(Run {
            tx,
            known: first.after,
            note: None,
            loose_end: false,
            holds_lease: true,
            task,
            not_found_at: None,
        });
    }

    fn claim(&self, world: &mut World, worker: usize, tx: usize) {
        let row = world.rows[tx].as_ref().expect("only a row is claimed");
        let (known, note) = (row.known, row.note);
        for other in 0..2 {
            match &mut world.workers[other] {
                Some(run) if run.tx != tx => {}
                Some(run) if self.scene.keeps_overtaken() => run.holds_lease = false,
                Some(_) => {
                    abandon(world, other);
                    world.workers[other] = None;
                }
                None => {}
            }
        }
        world.workers[worker] = Some(Run {
            tx,
            known,
            note,
            // Whoever was here before may have sent what it could not finish.
            loose_end: self.rules.sees_loose_ends,
            holds_lease: true,
            // Until the first step has said what to do.
            task: Task::Look,
            not_found_at: None,
        });
        self.learn(world, worker, Learnt::Resume(note));
    }

    /// Steps with what was learnt, commits, and goes on or ends.
    fn learn(&self, world: &mut World, worker: usize, learnt: Learnt) {
        let run = world.workers[worker].take().expect("a run has learnt");
        let turn = self.machine.turn(run.known, learnt, world.clock);
        let note = if turn.has_events {
            turn.note
        } else {
            turn.note.or(run.note)
        };
        // Nothing to record between two commands is not written either.
        let is_written = turn.task.is_none() || turn.has_events || note != run.note;
        let row = world.rows[run.tx].as_mut().expect("a run has a row");
        if is_written {
            let may_write = run.holds_lease && row.known == run.known;
            if self.rules.fenced && !run.holds_lease {
                return;
            }
            row.was_overwritten |= !may_write && turn.has_events;
            row.went_on_after_the_end |= row.known.state.is_terminal() && turn.has_events;
            if turn.has_events {
                row.known = turn.after;
            }
            row.note = note;
        }
        world.workers[worker] = turn.task.map(|task| Run {
            known: turn.after,
            note,
            task,
            not_found_at: None,
            ..run
        });
    }

    /// A worker's request reaches the other side, and the answer the worker.
    fn exchange(&self, world: &mut World, worker: usize, will: Will) {
        let Some(run) = world.workers[worker] else {
            return;
        };
        let learnt = match run.task {
            Task::Post(slip) => self.posted(&run, self.post(world, &slip)),
            Task::Bar(slip) => match self.post(world, &slip) {
                ledger::Word::Applied => Learnt::Barred,
                ledger::Word::IdReused => Learnt::BarredTooLate,
                other => self.posted(&run, other),
            },
            Task::Ask => match self.order(world, run.tx, until(&run), will) {
                provider::Word::Known(said) => Learnt::Answered(said),
                provider::Word::NotFound | provider::Word::Gone => Learnt::NotSent,
            },
            Task::Look => match world.desks[run.tx].look() {
                provider::Word::Known(said) => Learnt::Found(said),
                provider::Word::NotFound | provider::Word::Gone => {
                    let not_found_at = Some(world.clock);
                    world.workers[worker] = Some(Run {
                        not_found_at,
                        ..run
                    });
                    return;
                }
            },
            Task::Measure => Learnt::Measured(Some(world.ledger.balances(self.scene.funds())[0])),
        };
        self.learn(world, worker, learnt);
    }

    fn posted(&self, run: &Run, word: ledger::Word) -> Learnt {
        match word {
            ledger::Word::Applied => Learnt::Posted,
            ledger::Word::Refused => Learnt::Refused {
                sole_attempt: !(run.loose_end && self.rules.sees_loose_ends),
            },
            ledger::Word::IdReused => Learnt::IdReused,
            ledger::Word::HoldNotActive => Learnt::HoldNotActive,
        }
    }

    fn post(&self, world: &mut World, slip: &Slip) -> ledger::Word {
        let (funds, remembers) = (self.scene.funds(), self.rules.ledger_remembers);
        world.ledger.post(slip, funds, remembers)
    }

    fn order(&self, world: &mut World, tx: usize, until: u8, will: Will) -> provider::Word {
        let is_in_time = self.is_in_time(world, until);
        world.desks[tx].order(will, is_in_time, self.rules.provider_remembers)
    }

    fn arrive_late(&self, world: &mut World, message: Message, will: Will) {
        match message {
            Message::Post(slip) => {
                self.post(world, &slip);
            }
            Message::Order { tx, until } => {
                self.order(world, tx, until, will);
            }
        }
    }

    /// A worker waits no longer: it posts again, or knows that it does not know.
    fn lose(&self, world: &mut World, worker: usize) {
        abandon(world, worker);
        let Some(run) = &mut world.workers[worker] else {
            return;
        };
        match run.task {
            Task::Post(_) | Task::Bar(_) => run.loose_end = true,
            Task::Ask => self.learn(world, worker, Learnt::Lost),
            Task::Look => self.learn(world, worker, Learnt::Unanswered),
            Task::Measure => self.learn(world, worker, Learnt::Measured(None)),
        }
    }

    /// Forgets messages that can have no effect any more, which makes many states
    /// one: an id that is taken, an order that is known or has grown old.
    fn forget(&self, world: &mut World) {
        let World {
            late,
            ledger,
            desks,
            clock,
            ..
        } = world;
        late.retain(|message| match message {
            Message::Post(slip) => !(self.rules.ledger_remembers && ledger.has_taken(slip.id)),
            Message::Order { tx, until } => {
                let is_known = desks[*tx].status != Status::Nothing;
                let has_expired = *clock >= *until && self.rules.orders_expire;
                !(has_expired || (is_known && self.rules.provider_remembers))
            }
        });
    }
}

/// Leaves what a worker has sent to its fate.
fn abandon(world: &mut World, worker: usize) {
    let Some(run) = world.workers[worker] else {
        return;
    };
    match run.task {
        Task::Post(slip) | Task::Bar(slip) => world.leave(Message::Post(slip)),
        Task::Ask => world.leave(Message::Order {
            tx: run.tx,
            until: until(&run),
        }),
        Task::Look | Task::Measure => {}
    }
}

/// Until when a run's order may be taken.
fn until(run: &Run) -> u8 {
    run.known.requested.unwrap_or_default() + VALID_UNITS
}

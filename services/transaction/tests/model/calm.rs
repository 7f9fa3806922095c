//! Termination: wherever the world has got to, the calm course leads to an end.
//!
//! Workers that stand still and take over from each other for ever are a cycle,
//! and in a cycle nothing has to happen; so what is shown is that an end can be
//! reached from every state, and by which way. The calm course is one of the
//! model's own: nothing is lost or killed, runs go on, the provider finishes, time
//! passes, recovery claims what is left. It is followed from every state that the
//! checker meets. States known to lead to an end are kept, so that each is left
//! once only.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Mutex, PoisonError};

use bursar_transaction::domain::State;
use stateright::Model;

use crate::moves::{Action, Bank};
use crate::provider::Will;
use crate::world::World;

/// Longer than any calm course, and shorter than going round for ever.
const MAX_STEPS: usize = 100;

/// What is known to end.
#[derive(Default)]
pub(crate) struct Calm {
    ending: Mutex<HashSet<u64>>,
}

impl Calm {
    /// True when the calm course leads from here to an end.
    pub(crate) fn ends(&self, bank: &Bank, world: &World) -> bool {
        let mut course = Vec::new();
        let mut here = world.clone();
        let ends = loop {
            let name = name_of(&here);
            if here.has_ended() || self.is_known(name) {
                break true;
            }
            course.push(name);
            if course.len() > MAX_STEPS {
                break false;
            }
            match next(bank, &here) {
                Some(after) => here = after,
                None => break false,
            }
        };
        if ends {
            self.ending
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(course);
        }
        ends
    }

    fn is_known(&self, name: u64) -> bool {
        self.ending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&name)
    }
}

fn name_of(world: &World) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(world)
}

/// The calm one of what can happen next.
fn next(bank: &Bank, world: &World) -> Option<World> {
    let mut actions = Vec::new();
    bank.actions(world, &mut actions);
    let ranked = actions.into_iter().filter_map(|action| {
        let rank = rank(world, action)?;
        Some((rank, action))
    });
    let (_, action) = ranked.min_by_key(|(rank, _)| *rank)?;
    bank.next_state(world, action)
}

/// How early something is done on the calm course; `None` for what disturbs it.
fn rank(world: &World, action: Action) -> Option<u8> {
    match action {
        Action::HearNotFound(_) => Some(0),
        Action::Exchange(_, Will::Do) => Some(1),
        // Where nothing can be sent any more.
        Action::NotSent(_) => Some(2),
        // Where the answer has come too late.
        Action::Lose(_) => Some(3),
        Action::Finish { will: Will::Do, .. } => Some(4),
        Action::Tick if waits_for_provider(world) => Some(5),
        Action::Claim { .. } => Some(6),
        Action::Begin { .. }
        | Action::Tick
        | Action::GiveUp(_)
        | Action::Crash(_)
        | Action::CrashAfterSending(_)
        | Action::Exchange(..)
        | Action::Finish { .. }
        | Action::ArriveLate(..) => None,
    }
}

fn waits_for_provider(world: &World) -> bool {
    let mut states = world.rows.iter().flatten().map(|row| row.known.state);
    states.any(|state| matches!(state, State::Processing | State::Unknown))
}

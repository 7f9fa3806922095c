//! What came in one reading, on its way into the lanes.
//!
//! Some of it needs no lane: runs of events that the group does not handle are
//! skipped in one go, and events of aggregates that are free may take effect
//! together (`together.rs`). Both ask the database, and a group's handler may wait
//! there for rows that a lane's handler has locked. So sorting owns its batch and
//! knows nothing of the session: the lanes go on meanwhile, and give up what it
//! waits for.

use std::collections::{HashMap, HashSet};

use bursar_crash::crash_point;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Handling;
use super::attempt::Attempts;
use super::lane::{Task, Work};
use super::together::{self, Run};
use crate::inbox::{self, Skipped};
use crate::received::Received;

/// What came in one reading, by aggregate.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The aggregates, as they came.
    order: Vec<Uuid>,
    tasks: HashMap<Uuid, Vec<Task>>,
    /// The aggregates that have no lane.
    free: HashSet<Uuid>,
}

/// What a batch was sorted into.
#[derive(Debug)]
pub(super) struct Sorted {
    /// The entries that may be acknowledged.
    pub(super) done: Vec<String>,
    /// What is left for the lanes, in the order in which it came.
    pub(super) rest: Vec<(Uuid, Vec<Task>)>,
}

impl Batch {
    /// Adds the next task. `is_free` tells whether its aggregate has no lane.
    pub(super) fn add(&mut self, task: Task, is_free: bool) {
        let aggregate_id = task.event.aggregate_id;
        let tasks = self.tasks.entry(aggregate_id).or_insert_with(|| {
            self.order.push(aggregate_id);
            Vec::new()
        });
        tasks.push(task);
        if is_free {
            self.free.insert(aggregate_id);
        }
    }

    /// What is left of the aggregates that are free, each aggregate's tasks by
    /// themselves.
    fn free(&self) -> impl Iterator<Item = &[Task]> {
        let free = self.order.iter().filter(|id| self.free.contains(id));
        free.filter_map(|id| self.tasks.get(id).map(Vec::as_slice))
    }

    /// Takes out what is done of some aggregates; returns its entries.
    fn take(&mut self, aggregates: &[Uuid]) -> Vec<String> {
        let tasks = aggregates.iter().filter_map(|id| self.tasks.remove(id));
        tasks.flatten().map(|task| task.entry_id).collect()
    }
}

impl<H> Attempts<'_, H>
where
    H: for<'a> Fn(&'a mut PgConnection, &'a Received) -> Handling<'a> + Send + Sync,
{
    /// Does with a batch what needs no lane.
    pub(super) async fn sort(&self, mut batch: Batch) -> Sorted {
        let skippable = batch.free().filter_map(skippable);
        // Before an aggregate's first event there is nothing, so that passing over that
        // alone leaves nothing to look for or to write down.
        let (beginnings, skipped): (Vec<Skipped>, Vec<Skipped>) =
            skippable.partition(|run| run.last == 1);
        let beginnings: Vec<Uuid> = beginnings.iter().map(|run| run.aggregate_id).collect();
        let mut done = batch.take(&beginnings);
        let skipped = self.skip(&skipped).await;
        done.extend(batch.take(&skipped));
        let taken = self.take_free(&batch).await;
        done.extend(batch.take(&taken));
        let Batch {
            order, mut tasks, ..
        } = batch;
        let rest = order.into_iter().filter_map(|id| tasks.remove_entry(&id));
        Sorted {
            done,
            rest: rest.collect(),
        }
    }

    /// Skips what can be skipped in one go, and returns those aggregates.
    async fn skip(&self, skipped: &[Skipped]) -> Vec<Uuid> {
        if skipped.is_empty() {
            return Vec::new();
        }
        crash_point!("consumer.before_skip");
        let result = inbox::skip(self.pool, self.consumer.group, skipped).await;
        crash_point!("consumer.after_skip");
        self.note_database(result.as_ref().err());
        match result {
            Ok(difficult) => skipped
                .iter()
                .map(|run| run.aggregate_id)
                .filter(|aggregate_id| !difficult.contains(aggregate_id))
                .collect(),
            // The lanes try again, one by one.
            Err(_) => Vec::new(),
        }
    }

    /// Lets what came together take effect together, where that is possible, and
    /// returns those aggregates. The rest the lanes try, one by one.
    async fn take_free(&self, batch: &Batch) -> Vec<Uuid> {
        let runs: Vec<Run<'_>> = batch.free().filter_map(Run::of).collect();
        let mut taken = Vec::new();
        for runs in runs.chunks(together::MOST) {
            if self.take_together(runs).await {
                taken.extend(runs.iter().map(|run| run.event.aggregate_id));
            }
        }
        taken
    }
}

/// The run that an aggregate's tasks make when none is to be handled and their
/// versions follow one another.
fn skippable(tasks: &[Task]) -> Option<Skipped> {
    let first = tasks.first()?;
    let mut last = first.event.version;
    for task in tasks {
        let version = task.event.version;
        if task.work != Work::Skip || version < first.event.version || version > last + 1 {
            return None;
        }
        last = last.max(version);
    }
    Some(Skipped {
        aggregate_id: first.event.aggregate_id,
        first: first.event.version,
        last,
    })
}

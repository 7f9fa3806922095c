//! Events of many aggregates that take effect in one transaction.
//!
//! A stream brings the events of thousands of aggregates, and a commit for each costs
//! more than what the handler does. What came in one reading takes effect together
//! where it is easy: each aggregate is free, its next event is the one to handle, and
//! nothing of it was seen before. Anything else, a failure of the handler included,
//! leaves everything as it was, and the lanes take the events one by one.

use bursar_crash::crash_point;
use sqlx::PgConnection;
use tracing::Instrument;

use super::attempt::Attempts;
use super::lane::{Task, Work};
use super::{Handling, Together};
use crate::inbox::{self, Next};
use crate::received::{HandlerError, Received};

/// How few events are worth it.
const FEWEST: usize = 2;
/// How many take effect in one transaction at most. A handler has one event's time for
/// all of them.
pub(super) const MOST: usize = 100;

/// Events of one aggregate of which the last is to be handled, and no other.
pub(super) struct Run<'a> {
    /// The version of the first.
    first: i64,
    /// The last.
    pub(super) event: &'a Received,
}

impl<'a> Run<'a> {
    /// The run that an aggregate's tasks make; `None` when they make none.
    pub(super) fn of(tasks: &'a [Task]) -> Option<Self> {
        let (last, before) = tasks.split_last()?;
        let first = tasks.first()?.event.version;
        let follows = tasks
            .iter()
            .zip(first..)
            .all(|(task, version)| task.event.version == version);
        let is_run = follows
            && last.work == Work::Handle
            && before.iter().all(|task| task.work == Work::Skip);
        is_run.then_some(Self {
            first,
            event: &last.event,
        })
    }
}

/// What became of events that were to take effect together.
enum Outcome {
    /// They have, all of them.
    Taken,
    /// One of them is not the next of its aggregate, or cannot be entered now.
    NotNext,
    /// The handler failed.
    Failed(HandlerError),
}

impl<H> Attempts<'_, H>
where
    H: for<'a> Fn(&'a mut PgConnection, &'a Received) -> Handling<'a> + Send + Sync,
{
    /// Lets events take effect in one transaction; false, and nothing is changed, when
    /// they must come one by one.
    pub(super) async fn take_together(&self, runs: &[Run<'_>]) -> bool {
        let Some(handler) = self.together.filter(|_| runs.len() >= FEWEST) else {
            return false;
        };
        let outcome = self.attempt_together(handler, runs).await;
        self.note_database(outcome.as_ref().err());
        let group = self.consumer.group;
        if let Ok(Outcome::Failed(error)) = &outcome {
            let (source, events) = (self.lease.source, runs.len());
            tracing::warn!(group, source, events, %error, "events are handled one by one");
        }
        let name = match &outcome {
            Ok(Outcome::Taken) => "taken",
            Ok(Outcome::NotNext) => "not_next",
            Ok(Outcome::Failed(_)) => "failed",
            Err(_) => "interrupted",
        };
        let labels = [("group", group), ("outcome", name)];
        metrics::counter!("bursar_events_together_total", &labels).increment(1);
        matches!(outcome, Ok(Outcome::Taken))
    }

    async fn attempt_together(
        &self,
        handler: &Together,
        runs: &[Run<'_>],
    ) -> Result<Outcome, sqlx::Error> {
        let (group, timeout) = (self.consumer.group, self.consumer.handler_timeout);
        let next: Vec<Next<'_>> = runs
            .iter()
            .map(|run| Next {
                first: run.first,
                event: run.event,
            })
            .collect();
        // On every early return the transaction is rolled back, behind us.
        let mut transaction = self.pool.begin().await?;
        if !inbox::enter_all(&mut transaction, self.lease, group, &next, timeout).await? {
            return Ok(Outcome::NotNext);
        }
        let events: Vec<&Received> = runs.iter().map(|run| run.event).collect();
        let span = tracing::info_span!("consumer.handle_together", group, events = events.len());
        let handling = async { handler(&mut transaction, &events).await };
        if let Err(error) = inbox::bounded(timeout, handling.instrument(span)).await {
            return Ok(Outcome::Failed(error));
        }
        crash_point!("consumer.before_commit_together");
        match transaction.commit().await {
            Ok(()) => {}
            // A constraint that is checked at the end: the handler's doing.
            Err(error @ sqlx::Error::Database(_)) => return Ok(Outcome::Failed(error.into())),
            Err(error) => return Err(error),
        }
        crash_point!("consumer.after_commit_together");
        for event in events {
            self.record(event);
        }
        Ok(Outcome::Taken)
    }
}

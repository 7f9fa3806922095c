//! Events of many aggregates that take effect in one transaction.
//!
//! A stream brings the events of thousands of aggregates, and a commit for each costs
//! more than what the handler does. What came in one reading takes effect together
//! where it is easy: each aggregate is free, its next event is the one to handle, and
//! nothing of it was seen before. Anything else, a failure of the handler included,
//! leaves everything as it was, and the lanes take the events one by one.

use std::panic::AssertUnwindSafe;

use bursar_crash::crash_point;
use futures::FutureExt;
use sqlx::PgConnection;
use tracing::Instrument;

use super::Handling;
use super::attempt::Attempts;
use super::lane::{Task, Work};
use crate::inbox::{self, Next};
use crate::received::Received;

/// How few events are worth it.
const FEWEST: usize = 2;

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

impl<H> Attempts<'_, H>
where
    H: for<'a> Fn(&'a mut PgConnection, &'a Received) -> Handling<'a> + Send + Sync,
{
    /// Lets events take effect in one transaction; false, and nothing is changed, when
    /// they must come one by one.
    pub(super) async fn take_together(&self, runs: &[Run<'_>]) -> Result<bool, sqlx::Error> {
        let Some(handler) = self.together.filter(|_| runs.len() >= FEWEST) else {
            return Ok(false);
        };
        let (group, timeout) = (self.consumer.group, self.consumer.handler_timeout);
        let next: Vec<Next<'_>> = runs
            .iter()
            .map(|run| Next {
                first: run.first,
                event: run.event,
            })
            .collect();
        let mut transaction = self.pool.begin().await?;
        if !inbox::enter_all(&mut transaction, self.lease, group, &next, timeout).await? {
            transaction.rollback().await?;
            return Ok(false);
        }
        let events: Vec<&Received> = runs.iter().map(|run| run.event).collect();
        let span = tracing::info_span!("consumer.handle_together", group, events = events.len());
        // The handler is called inside, so that a panic before its first await is caught
        // too. Its transaction is rolled back and nothing else is shared.
        let handling = AssertUnwindSafe(async { handler(&mut transaction, &events).await });
        let handling = handling.catch_unwind().instrument(span);
        let is_handled = match tokio::time::timeout(timeout, handling).await {
            Ok(Ok(Ok(()))) => true,
            Ok(Ok(Err(error))) => {
                tracing::debug!(group, %error, "the events are handled one by one");
                false
            }
            Ok(Err(_)) | Err(_) => false,
        };
        if !is_handled {
            return Ok(false);
        }
        crash_point!("consumer.before_commit_together");
        match transaction.commit().await {
            Ok(()) => {}
            // A constraint that is checked at the end: the handler's doing.
            Err(sqlx::Error::Database(_)) => return Ok(false),
            Err(error) => return Err(error),
        }
        crash_point!("consumer.after_commit_together");
        for event in events {
            self.record(event);
        }
        Ok(true)
    }
}

//! One attempt at one event.

use std::sync::atomic::{AtomicBool, Ordering};

use bursar_crash::crash_point;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use super::lane::Work;
use super::lease::Lease;
use super::{Consumer, Handling, Together};
use crate::inbox::{self, Door, Entrance};
use crate::received::{HandlerError, Received};

/// What came of an attempt.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The event has taken effect, now or before.
    Done,
    /// Its aggregate is parked.
    Parked,
    /// One before it has not come.
    Early {
        /// The version that is next.
        expected: i64,
    },
    /// Something moved meanwhile; try at once.
    Again,
    /// The handler failed.
    Failed(HandlerError),
    /// Another instance reads the source now.
    LeaseLost,
}

/// What attempts are made with.
pub(super) struct Attempts<'a, H> {
    pub(super) consumer: &'a Consumer,
    pub(super) handler: &'a H,
    /// The handler of events that came together, when there is one.
    pub(super) together: Option<&'a Together>,
    pub(super) pool: &'a PgPool,
    pub(super) lease: &'a Lease,
    /// True while the database fails, so that an outage is logged once.
    pub(super) database_failing: AtomicBool,
}

impl<H> Attempts<'_, H>
where
    H: for<'a> Fn(&'a mut PgConnection, &'a Received) -> Handling<'a> + Send + Sync,
{
    /// Lets an event take effect, once: the inbox, the aggregate's version and
    /// what the handler writes are one transaction.
    pub(super) async fn attempt(
        &self,
        event: &Received,
        work: &Work,
    ) -> Result<Outcome, sqlx::Error> {
        let group = self.consumer.group;
        let timeout = self.consumer.handler_timeout;
        // On every early return the transaction is rolled back, behind us: a
        // statement that hangs does not hold up the lane.
        let mut transaction = self.pool.begin().await?;
        let door = Door::Consumer(self.lease);
        match inbox::enter(&mut transaction, door, group, event, timeout).await? {
            Entrance::Entered => {}
            Entrance::Past => return Ok(Outcome::Done),
            Entrance::Early { expected } => return Ok(Outcome::Early { expected }),
            Entrance::Parked => return Ok(Outcome::Parked),
            Entrance::LeaseLost => return Ok(Outcome::LeaseLost),
            Entrance::Again => return Ok(Outcome::Again),
        }
        let handled = match work {
            Work::Handle => {
                inbox::handle(self.handler, timeout, group, &mut transaction, event).await
            }
            Work::Skip => Ok(()),
            Work::Refuse(why) => Err(HandlerError::poison(*why)),
        };
        if let Err(error) = handled {
            return Ok(Outcome::Failed(error));
        }
        crash_point!("consumer.before_commit");
        let committed = transaction.commit().await;
        crash_point!("consumer.after_commit");
        match committed {
            Ok(()) => {}
            // A constraint that is checked at the end: the handler's doing.
            Err(error @ sqlx::Error::Database(_)) => return Ok(Outcome::Failed(error.into())),
            Err(error) => return Err(error),
        }
        if *work == Work::Handle {
            self.record(event);
        }
        Ok(Outcome::Done)
    }

    pub(super) fn record(&self, event: &Received) {
        let labels = [
            ("group", self.consumer.group),
            ("source", self.lease.source),
        ];
        metrics::counter!("bursar_events_handled_total", &labels).increment(1);
        let age = OffsetDateTime::now_utc() - event.occurred_at;
        metrics::histogram!("bursar_events_delivery_seconds", &labels)
            .record(age.as_seconds_f64().max(0.0));
    }

    /// Logs a failing database once an outage. One that lets somebody else go first works.
    pub(super) fn note_database(&self, error: Option<&sqlx::Error>) {
        let error = error.filter(|error| !inbox::is_conflict(error));
        let failed_before = self
            .database_failing
            .swap(error.is_some(), Ordering::Relaxed);
        let (group, source) = (self.consumer.group, self.lease.source);
        match error {
            Some(error) if !failed_before => {
                tracing::error!(group, source, %error, "the database fails; events wait");
            }
            None if failed_before => {
                tracing::info!(group, source, "the database works again");
            }
            Some(_) | None => {}
        }
    }
}

//! One attempt at one event.

use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use super::lane::Work;
use super::lease::Lease;
use super::{Consumer, Handling};
use crate::inbox::{self, Claim, Place};
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
    pub(super) pool: &'a PgPool,
    pub(super) lease: &'a Lease,
    /// True while the database fails, so that an outage is logged once.
    pub(super) database_failing: AtomicBool,
}

struct Standing {
    owned: bool,
    parked: bool,
    last: Option<i64>,
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
        let wanted = *work == Work::Handle;
        let group = self.consumer.group;
        let mut transaction = self.pool.begin().await?;
        let standing = self.standing(&mut transaction, event).await?;
        if !standing.owned {
            return Ok(Outcome::LeaseLost);
        }
        if standing.parked {
            return Ok(Outcome::Parked);
        }
        match Place::of(event.version, standing.last) {
            Place::Next => {}
            Place::Past => return Ok(Outcome::Done),
            Place::Early { expected } => return Ok(Outcome::Early { expected }),
        }
        if let Work::Refuse(why) = work {
            return Ok(Outcome::Failed(HandlerError::poison(*why)));
        }
        match inbox::claim(&mut transaction, group, event).await? {
            Claim::Claimed => {}
            Claim::Duplicate => return Ok(Outcome::Done),
            Claim::Raced => return Ok(Outcome::Again),
        }
        if wanted {
            let timeout = self.consumer.handler_timeout;
            let handled =
                inbox::handle(self.handler, timeout, group, &mut transaction, event).await;
            if let Err(error) = handled {
                // An error here changes nothing: the connection is then closed.
                let _ = transaction.rollback().await;
                return Ok(Outcome::Failed(error));
            }
        }
        match transaction.commit().await {
            Ok(()) => {}
            // A constraint that is checked at the end: the handler's doing.
            Err(error @ sqlx::Error::Database(_)) => return Ok(Outcome::Failed(error.into())),
            Err(error) => return Err(error),
        }
        if wanted {
            self.record(event);
        }
        Ok(Outcome::Done)
    }

    async fn standing(
        &self,
        connection: &mut PgConnection,
        event: &Received,
    ) -> Result<Standing, sqlx::Error> {
        sqlx::query_as!(
            Standing,
            r#"
            SELECT
                EXISTS (
                    SELECT FROM consumer_leases
                    WHERE consumer_group = $1 AND source = $2 AND holder = $3 AND epoch = $4
                        AND expires_at > clock_timestamp()
                ) AS "owned!",
                EXISTS (
                    SELECT FROM dead_letters
                    WHERE consumer_group = $1 AND aggregate_id = $5 AND replayed_at IS NULL
                ) AS "parked!",
                (
                    SELECT version FROM inbox_aggregates
                    WHERE consumer_group = $1 AND aggregate_id = $5
                ) AS last
            "#,
            self.consumer.group,
            self.lease.source,
            self.lease.holder,
            self.lease.epoch,
            event.aggregate_id,
        )
        .fetch_one(connection)
        .await
    }

    fn record(&self, event: &Received) {
        let labels = [("group", self.consumer.group), ("source", self.lease.source)];
        metrics::counter!("bursar_events_handled_total", &labels).increment(1);
        let age = OffsetDateTime::now_utc() - event.occurred_at;
        metrics::histogram!("bursar_events_delivery_seconds", &labels)
            .record(age.as_seconds_f64().max(0.0));
    }

    /// Logs a failing database once an outage.
    pub(super) fn note_database(&self, error: Option<&sqlx::Error>) {
        let failed_before = self.database_failing.swap(error.is_some(), Ordering::Relaxed);
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

//! Who reads a source for a group: one instance at a time.
//!
//! The lease lies in the consumer's database and runs on its clock. Every
//! attempt at an event asks for it in its own transaction. An instance that
//! stalls in the middle of such a transaction can still commit after its lease
//! ran out; then the inbox refuses the event to the new holder, who waits for
//! that commit on the inbox's key, and the aggregate's version stays in order.

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A lease that was taken.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) group: &'static str,
    pub(crate) source: &'static str,
    pub(crate) holder: Uuid,
    pub(crate) epoch: i64,
    length: Duration,
    taken_at: Instant,
}

impl Lease {
    /// Takes the lease when it is free.
    pub(crate) async fn take(
        pool: &PgPool,
        group: &'static str,
        source: &'static str,
        length: Duration,
    ) -> Result<Option<Self>, sqlx::Error> {
        let holder = Uuid::now_v7();
        let taken_at = Instant::now();
        let row = sqlx::query!(
            "INSERT INTO consumer_leases AS lease
                 (consumer_group, source, holder, epoch, expires_at)
             VALUES ($1, $2, $3, 1, clock_timestamp() + make_interval(secs => $4))
             ON CONFLICT (consumer_group, source) DO UPDATE
             SET holder = EXCLUDED.holder,
                 epoch = lease.epoch + 1,
                 expires_at = EXCLUDED.expires_at
             WHERE lease.expires_at <= clock_timestamp()
             RETURNING epoch",
            group,
            source,
            holder,
            length.as_secs_f64(),
        )
        .fetch_optional(pool)
        .await?;
        Ok(row.map(|row| Self {
            group,
            source,
            holder,
            epoch: row.epoch,
            length,
            taken_at,
        }))
    }

    /// Renews the lease until `stop`. Cancels `stop` when the lease is lost, or
    /// when it could not be renewed for as long as it lasts.
    pub(crate) async fn keep(self, pool: PgPool, stop: CancellationToken) {
        let mut expires_at = self.taken_at + self.length;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.length / 3) => {}
            }
            let asked_at = Instant::now();
            match self.renew(&pool).await {
                Ok(true) => expires_at = asked_at + self.length,
                Ok(false) => break,
                // The database is away. It may be back before the lease is over.
                Err(_) if Instant::now() < expires_at => {}
                Err(_) => break,
            }
        }
        tracing::warn!(
            group = self.group,
            source = self.source,
            "a consumer lost its lease"
        );
        stop.cancel();
    }

    async fn renew(&self, pool: &PgPool) -> Result<bool, sqlx::Error> {
        let result = sqlx::query!(
            "UPDATE consumer_leases
             SET expires_at = clock_timestamp() + make_interval(secs => $5)
             WHERE consumer_group = $1 AND source = $2 AND holder = $3 AND epoch = $4
                 AND expires_at > clock_timestamp()",
            self.group,
            self.source,
            self.holder,
            self.epoch,
            self.length.as_secs_f64(),
        )
        .execute(pool)
        .await?;
        Ok(result.rows_affected() > 0)
    }

    /// Gives the lease back, so that another instance need not wait.
    pub(crate) async fn release(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "UPDATE consumer_leases SET expires_at = '-infinity'
             WHERE consumer_group = $1 AND source = $2 AND holder = $3 AND epoch = $4",
            self.group,
            self.source,
            self.holder,
            self.epoch,
        )
        .execute(pool)
        .await?;
        Ok(())
    }
}

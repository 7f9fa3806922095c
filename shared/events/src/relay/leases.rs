//! Which partitions this relay publishes.
//!
//! A partition has one holder at a time, by a lease on the database's clock.
//! The lease keeps relays from doing the same work twice; order does not hang
//! on it. A relay that was stopped for a while and goes on after its lease ran
//! out can only repeat events that it read before, in their order, so the first
//! appearance of every event is still in order, and consumers drop the second.
//! What it may not do is delete: [`super::outbox::delete`] checks the epoch.

use std::time::Duration;

use bursar_crash::canary;
use sqlx::PgPool;
use tokio::time::Instant;
use uuid::Uuid;

/// The number under which all batches are leased, beside the partitions of rows.
pub(super) const BATCHES: i16 = 8;

/// A partition that this relay holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) partition: i16,
    pub(super) epoch: i64,
}

/// The leases of one relay.
#[derive(Debug)]
pub(super) struct Leases {
    /// Names this relay; new for every run, so that nothing is taken for ours
    /// that a former run left behind.
    pub(super) holder: Uuid,
    pub(super) held: Vec<Held>,
    length: Duration,
    renew_at: Instant,
    expires_at: Instant,
}

impl Leases {
    pub(super) fn new(length: Duration) -> Self {
        Self {
            holder: Uuid::now_v7(),
            held: Vec::new(),
            length,
            renew_at: Instant::now(),
            expires_at: Instant::now(),
        }
    }

    /// The partitions of rows.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Held> {
        self.held.iter().filter(|held| held.partition != BATCHES)
    }

    /// The batches, when this relay publishes them.
    pub(super) fn batches(&self) -> Option<&Held> {
        self.held.iter().find(|held| held.partition == BATCHES)
    }

    /// When [`Leases::keep`] has something to do again.
    pub(super) fn renew_at(&self) -> Instant {
        self.renew_at
    }

    /// True when the leases have run out by our own clock.
    pub(super) fn lapsed(&self) -> bool {
        Instant::now() >= self.expires_at
    }

    /// Renews what is held and takes what is free.
    pub(super) async fn keep(&mut self, pool: &PgPool) -> Result<(), sqlx::Error> {
        // Counted from before the database counts, so that we stop first.
        let now = Instant::now();
        let length_seconds = self.length.as_secs_f64();
        // Rows are locked in the order of the partitions by every relay, and
        // rows that another relay is just taking are left to it.
        let rows = sqlx::query!(
            r#"
            WITH mine AS (
                SELECT partition, epoch, holder IS DISTINCT FROM $1 AS taken
                FROM relay_leases
                WHERE holder = $1 OR expires_at <= clock_timestamp()
                ORDER BY partition
                FOR UPDATE SKIP LOCKED
            )
            UPDATE relay_leases AS lease
            SET holder = $1,
                epoch = lease.epoch + mine.taken::int,
                expires_at = clock_timestamp() + make_interval(secs => $2)
            FROM mine
            WHERE lease.partition = mine.partition
            RETURNING lease.partition, lease.epoch
            "#,
            self.holder,
            length_seconds,
        )
        .fetch_all(pool)
        .await?;
        let before = self.held.len();
        self.held = rows
            .into_iter()
            .map(|row| Held {
                partition: row.partition,
                epoch: row.epoch,
            })
            .collect();
        if canary!("relay.owner_ignored") {
            let held = std::mem::take(&mut self.held);
            let of = |partition| held.iter().find(|one| one.partition == partition).copied();
            let not_ours = |partition| Held {
                partition,
                epoch: 0,
            };
            self.held = (0..=BATCHES)
                .map(|it| of(it).unwrap_or(not_ours(it)))
                .collect();
        }
        self.renew_at = now + self.length / 3;
        self.expires_at = now + self.length;
        if self.held.len() != before {
            tracing::info!(
                partitions = self.held.len(),
                "the relay's partitions changed"
            );
        }
        Ok(())
    }

    /// Looks at the leases again as soon as possible, because one was lost.
    pub(super) fn doubt(&mut self) {
        self.renew_at = Instant::now();
    }

    /// Gives everything back, so that another relay need not wait.
    pub(super) async fn release(&mut self, pool: &PgPool) -> Result<(), sqlx::Error> {
        self.held.clear();
        sqlx::query!(
            "UPDATE relay_leases SET holder = NULL, expires_at = '-infinity' WHERE holder = $1",
            self.holder,
        )
        .execute(pool)
        .await?;
        Ok(())
    }
}

//! What watches over a comparison: it makes it rest, keeps its lease, and tells
//! it to stop.

use std::time::{Duration, Instant};

use bursar_server::crash_point;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::wallet::Stopped;
use crate::jobs::pace::Share;
use crate::store::rebuilds::{self, Rebuild};

/// How long a lease holds.
pub(super) const LEASE: Duration = Duration::from_secs(30);
/// How often it is kept.
const RENEWAL: Duration = Duration::from_secs(5);

/// The watch over one comparison or one rebuild.
pub(crate) struct Watch {
    share: Share,
    since: Instant,
    end: End,
}

enum End {
    /// A call's: it ends when its time is over.
    At(Instant),
    /// A rebuild's: it ends at shutdown, or when its lease is another's.
    Leased(Box<Lease>),
}

struct Lease {
    pool: PgPool,
    rebuild: Rebuild,
    epoch: i64,
    renewed: Instant,
    shutdown: CancellationToken,
}

impl Watch {
    /// Over work inside a call, which does not rest.
    pub(crate) fn until(end: Instant) -> Self {
        Self {
            share: Share::percent(100),
            since: Instant::now(),
            end: End::At(end),
        }
    }

    /// Over a rebuild under its lease.
    pub(super) fn leased(
        pool: PgPool,
        rebuild: Rebuild,
        epoch: i64,
        share: Share,
        shutdown: CancellationToken,
    ) -> Self {
        let lease = Lease {
            pool,
            rebuild,
            epoch,
            renewed: Instant::now(),
            shutdown,
        };
        Self {
            share,
            since: Instant::now(),
            end: End::Leased(Box::new(lease)),
        }
    }

    /// Whether to go on, without resting.
    pub(crate) fn check(&self) -> Result<(), Stopped> {
        let is_over = match &self.end {
            End::At(end) => Instant::now() >= *end,
            End::Leased(lease) => lease.shutdown.is_cancelled(),
        };
        if is_over { Err(Stopped::Told) } else { Ok(()) }
    }

    /// Rests for what was worked since the last time, and says whether to go on.
    pub(crate) async fn breathe(&mut self) -> Result<(), Stopped> {
        self.check()?;
        let rest = self.share.rest_after(self.since.elapsed());
        if let End::Leased(lease) = &mut self.end {
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = lease.shutdown.cancelled() => return Err(Stopped::Told),
            }
            if lease.renewed.elapsed() >= RENEWAL {
                lease.renew(&lease.rebuild.clone(), LEASE).await?;
            }
        }
        self.since = Instant::now();
        Ok(())
    }

    /// Writes how far the rebuild has come, and keeps the lease for `hold`.
    pub(super) async fn record(
        &mut self,
        rebuild: &Rebuild,
        hold: Duration,
    ) -> Result<(), Stopped> {
        match &mut self.end {
            End::At(_) => Ok(()),
            End::Leased(lease) => lease.renew(rebuild, hold).await,
        }
    }
}

impl Lease {
    async fn renew(&mut self, rebuild: &Rebuild, hold: Duration) -> Result<(), Stopped> {
        let mut connection = self.pool.acquire().await?;
        let seconds = hold.as_secs_f64();
        crash_point!("rebuild.before_progress");
        let is_ours = rebuilds::progress(&mut connection, rebuild, self.epoch, seconds).await?;
        crash_point!("rebuild.after_progress");
        if !is_ours {
            return Err(Stopped::Told);
        }
        self.rebuild = rebuild.clone();
        self.renewed = Instant::now();
        Ok(())
    }
}

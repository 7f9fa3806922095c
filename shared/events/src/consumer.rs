//! Consumers: services that act on the events of others.
//!
//! What a consumer promises its handler:
//!
//! - Each event takes effect once. The handler runs in a transaction that also
//!   writes the event's id into the inbox; the stream hears of it after the
//!   commit, so a crash between means another delivery, which the inbox refuses.
//! - An aggregate's events come in the order of their versions. One instance at
//!   a time reads a source for a group (`lease.rs`); an event whose predecessor
//!   has not come waits for it. The first event that a group sees of an
//!   aggregate may have any version: the group may be younger than the stream.
//! - What fails is tried again, then parked in the dead letters with all that
//!   follows of the same aggregate ([`crate::dead_letters`]). Other aggregates
//!   go on: each has a lane of its own (`session.rs`).
//!
//! It does not promise an order between aggregates. A handler that can take the events
//! of many aggregates at once ([`Consumer::run_together`]) is given what came together,
//! in one transaction (`together.rs`); whatever is in the way of that comes one by one.

mod attempt;
mod batch;
mod lane;
pub(crate) mod lease;
mod session;
mod stream;
mod together;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bursar_crash::crash_point;
use futures::future::{BoxFuture, join_all};
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::attempt::Attempts;
use self::lease::Lease;
use self::session::{End, Session};
use crate::backoff::Backoff;
use crate::received::{HandlerError, Received};

/// What a handler returns: a boxed future.
///
/// ```
/// # use bursar_events::{HandlerError, Received, consumer::Handling};
/// # use sqlx::PgConnection;
/// async fn open_wallet(connection: &mut PgConnection, event: &Received) -> Result<(), HandlerError> {
///     // Writes through `connection`, which commits with the inbox.
/// #   let _ = (connection, event);
///     Ok(())
/// }
///
/// fn handler<'a>(connection: &'a mut PgConnection, event: &'a Received) -> Handling<'a> {
///     Box::pin(open_wallet(connection, event))
/// }
/// ```
pub type Handling<'a> = BoxFuture<'a, Result<(), HandlerError>>;

/// A handler of the events of several aggregates, at most one of each.
pub(crate) type Together =
    dyn for<'a> Fn(&'a mut PgConnection, &'a [&'a Received]) -> Handling<'a> + Send + Sync;

/// Which events a consumer handles. The others only count for the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kinds {
    /// All.
    All,
    /// Those of these kinds, such as `wallet.credited`.
    Only(Vec<&'static str>),
    /// Those of all other kinds, kinds of later versions included.
    Except(Vec<&'static str>),
}

impl Kinds {
    /// Whether events of a kind are handled.
    pub fn contains(&self, kind: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(kinds) => kinds.contains(&kind),
            Self::Except(kinds) => !kinds.contains(&kind),
        }
    }
}

/// A consumer.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// Its name, unique among the consumers of a source. Another name is
    /// another consumer, which starts at the beginning of the stream.
    pub group: &'static str,
    /// What it reads, such as `bursar.identity`.
    pub sources: Vec<&'static str>,
    /// Which events it handles.
    pub kinds: Kinds,
    /// How often an event is tried before it is parked.
    pub max_attempts: u32,
    /// The longest wait before the second try; each further wait is twice as
    /// long, up to `longest_wait`.
    pub first_wait: Duration,
    /// The longest wait between two tries.
    pub longest_wait: Duration,
    /// How long a handler may take.
    pub handler_timeout: Duration,
    /// How many aggregates of a source are worked on at the same time; as many
    /// connections of the pool are used, and one for what has just come.
    pub concurrency: usize,
    /// How long a source stays with an instance that died.
    pub lease: Duration,
    /// What the streams' keys start with; the source follows.
    pub stream_prefix: String,
}

impl Consumer {
    /// A consumer with the usual settings: 8 attempts within about half a
    /// minute, 4 aggregates at a time, a lease of 10 seconds.
    pub fn new(group: &'static str, sources: impl Into<Vec<&'static str>>, kinds: Kinds) -> Self {
        Self {
            group,
            sources: sources.into(),
            kinds,
            max_attempts: 8,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(10),
            handler_timeout: Duration::from_secs(10),
            concurrency: 4,
            lease: Duration::from_secs(10),
            stream_prefix: crate::STREAM_PREFIX.to_owned(),
        }
    }

    /// Consumes until `shutdown`, whatever fails meanwhile. The events that are
    /// being handled then are finished first, and the leases given back.
    ///
    /// Await it to its end rather than drop it: a dropped transaction may go
    /// back to the pool unfinished.
    pub async fn run<H>(
        self,
        pool: PgPool,
        redis: redis::Client,
        handler: H,
        shutdown: CancellationToken,
    ) where
        H: for<'a> Fn(&'a mut PgConnection, &'a Received) -> Handling<'a> + Send + Sync + 'static,
    {
        self.consume(pool, redis, handler, None, shutdown).await;
    }

    /// Does the same with a handler that takes the events of several aggregates, at
    /// most one of each, in one transaction: what came together takes effect together.
    /// When that fails, each event comes alone, with all the promises of
    /// [`Consumer::run`].
    pub async fn run_together<H>(
        self,
        pool: PgPool,
        redis: redis::Client,
        handler: H,
        shutdown: CancellationToken,
    ) where
        H: for<'a> Fn(&'a mut PgConnection, &'a [&'a Received]) -> Handling<'a>
            + Send
            + Sync
            + 'static,
    {
        let together: Arc<Together> = Arc::new(handler);
        let one = Arc::clone(&together);
        self.consume(pool, redis, alone(one), Some(together), shutdown)
            .await;
    }

    async fn consume<H>(
        self,
        pool: PgPool,
        redis: redis::Client,
        handler: H,
        together: Option<Arc<Together>>,
        shutdown: CancellationToken,
    ) where
        H: for<'a> Fn(&'a mut PgConnection, &'a Received) -> Handling<'a> + Send + Sync + 'static,
    {
        let consumer = Arc::new(self);
        let handler = Arc::new(handler);
        let sources = consumer.sources.iter().map(|&source| {
            Source {
                consumer: Arc::clone(&consumer),
                handler: Arc::clone(&handler),
                together: together.clone(),
                source,
                pool: pool.clone(),
                redis: redis.clone(),
            }
            .run(shutdown.clone())
        });
        join_all(sources).await;
    }
}

/// A handler of several events as one of single ones.
fn alone(
    together: Arc<Together>,
) -> impl for<'a> Fn(&'a mut PgConnection, &'a Received) -> Handling<'a> + Send + Sync + 'static {
    move |connection, event| {
        let together = Arc::clone(&together);
        Box::pin(async move { together(connection, &[event]).await })
    }
}

/// One source of a consumer.
struct Source<H> {
    consumer: Arc<Consumer>,
    handler: Arc<H>,
    together: Option<Arc<Together>>,
    source: &'static str,
    pool: PgPool,
    redis: redis::Client,
}

impl<H> Source<H>
where
    H: for<'a> Fn(&'a mut PgConnection, &'a Received) -> Handling<'a> + Send + Sync,
{
    /// Takes the source when it is free, consumes, and starts again.
    async fn run(self, shutdown: CancellationToken) {
        let (group, source) = (self.consumer.group, self.source);
        let mut outage = Outage::default();
        while !shutdown.is_cancelled() {
            crash_point!("consumer.before_lease");
            let taken = Lease::take(&self.pool, group, source, self.consumer.lease).await;
            crash_point!("consumer.after_lease");
            let wait = match taken {
                Err(error) => outage.begins(group, source, &error),
                // Another instance has it. Asked often enough to take over soon
                // after it runs out.
                Ok(None) => self.consumer.lease / 4,
                Ok(Some(lease)) => match self.consume(&lease, &shutdown, &mut outage).await {
                    End::Stopped => Duration::ZERO,
                    End::Broken(error) => outage.begins(group, source, &error),
                },
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Consumes while the lease lasts.
    async fn consume(
        &self,
        lease: &Lease,
        shutdown: &CancellationToken,
        outage: &mut Outage,
    ) -> End {
        let stop = shutdown.child_token();
        let keep = lease.clone().keep(self.pool.clone(), stop.clone());
        let kept = AbortOnDropHandle::new(tokio::spawn(keep));
        let attempts = Attempts {
            consumer: &self.consumer,
            handler: &*self.handler,
            together: self.together.as_deref(),
            pool: &self.pool,
            lease,
            database_failing: AtomicBool::new(false),
        };
        let session = Session::open(&self.redis, &attempts, stop.clone()).await;
        let end = match session {
            Ok(session) => {
                outage.over(self.consumer.group, self.source);
                session.run().await
            }
            Err(error) => End::Broken(error),
        };
        stop.cancel();
        // Ends with the token; it fails only when it panics.
        if let Err(error) = kept.await {
            tracing::error!(%error, "the renewal of a consumer's lease failed");
        }
        if let Err(error) = lease.release(&self.pool).await {
            tracing::warn!(%error, source = self.source, "a source could not be given back");
        }
        end
    }
}

/// An outage: logged when it begins and when it is over.
#[derive(Debug, Default)]
struct Outage {
    failures: u32,
}

impl Outage {
    const BACKOFF: Backoff = Backoff {
        first: Duration::from_millis(100),
        longest: Duration::from_secs(5),
    };

    /// Counts a failure; returns how long to wait.
    fn begins(&mut self, group: &str, source: &str, error: &dyn std::error::Error) -> Duration {
        if self.failures == 0 {
            tracing::error!(group, source, %error, "a source cannot be consumed");
        }
        metrics::counter!("bursar_events_consumer_failures_total").increment(1);
        self.failures = self.failures.saturating_add(1);
        Self::BACKOFF.wait(self.failures)
    }

    fn over(&mut self, group: &str, source: &str) {
        if self.failures > 0 {
            tracing::info!(
                group,
                source,
                failures = self.failures,
                "the source is consumed again"
            );
            self.failures = 0;
        }
    }
}

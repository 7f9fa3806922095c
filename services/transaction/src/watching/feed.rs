//! The streams, read once for the whole process.
//!
//! Nothing is read before somebody watches. From then on each stream is followed,
//! and every batch that concerns anybody goes to all watches by a bounded channel.
//!
//! The published position is turned before a batch is handed on, and a watch reads
//! it after it has joined: so everything behind the position that it reads comes to
//! it by the channel, and everything up to it has to be read from the stream.

use std::sync::Arc;
use std::time::Duration;

use bursar_events::tail::{LONGEST_BLOCK, Position, Tail};
use sqlx::PgPool;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::error::Error;
use super::news::{self, News, Source};

/// How many entries are read at once.
pub(crate) const BATCH_ENTRIES: usize = 200;
/// How many batches the channel keeps for slow watches.
const KEPT_BATCHES: usize = 512;
/// How long a watch waits for a stream to be followed.
const JOIN_TIME: Duration = Duration::from_secs(3);
/// The first and the longest wait after a failure.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// One stream.
struct Stream {
    source: Source,
    news: broadcast::Sender<Arc<News>>,
    /// How far it is read; `None` before it is.
    position: watch::Sender<Option<Position>>,
}

/// What a watch gets of a stream.
pub(crate) struct Joined {
    /// What comes behind `position`, and perhaps some before it.
    pub(crate) news: broadcast::Receiver<Arc<News>>,
    pub(crate) position: Position,
}

/// The streams of a process.
pub(crate) struct Feed {
    pool: PgPool,
    /// `None` where no Redis is configured.
    redis: Option<redis::Client>,
    stream_prefix: String,
    /// Whether anybody has watched.
    is_wanted: watch::Sender<bool>,
    transactions: Stream,
    wallets: Stream,
}

impl Stream {
    fn new(source: Source) -> Self {
        Self {
            source,
            news: broadcast::Sender::new(KEPT_BATCHES),
            position: watch::Sender::new(None),
        }
    }
}

impl Feed {
    pub(crate) fn new(pool: PgPool, redis: Option<redis::Client>, stream_prefix: String) -> Self {
        Self {
            pool,
            redis,
            stream_prefix,
            is_wanted: watch::Sender::new(false),
            transactions: Stream::new(Source::Transactions),
            wallets: Stream::new(Source::Wallets),
        }
    }

    /// Follows the streams from the first watch on, until the process ends.
    pub(crate) async fn run(self: Arc<Self>, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut wanted = self.is_wanted.subscribe();
        tokio::select! {
            _ = wanted.wait_for(|is_wanted| *is_wanted) => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        tokio::join!(
            self.follow(&self.transactions, &shutdown),
            self.follow(&self.wallets, &shutdown),
        );
        Ok(())
    }

    /// Takes part in a stream's news.
    pub(crate) async fn join(&self, source: Source) -> Result<Joined, Error> {
        if self.redis.is_none() {
            return Err(Error::Unavailable);
        }
        self.is_wanted.send_replace(true);
        let stream = match source {
            Source::Transactions => &self.transactions,
            Source::Wallets => &self.wallets,
        };
        // First the channel, then the position: see above.
        let news = stream.news.subscribe();
        let mut positions = stream.position.subscribe();
        let known = tokio::time::timeout(JOIN_TIME, positions.wait_for(Option::is_some)).await;
        let position = known.ok().and_then(Result::ok).and_then(|known| *known);
        Ok(Joined {
            news,
            position: position.ok_or(Error::Unavailable)?,
        })
    }

    /// A connection for a watch that has to catch up.
    pub(crate) async fn connect(&self, source: Source) -> Result<Tail, Error> {
        let client = self.redis.as_ref().ok_or(Error::Unavailable)?;
        Ok(Tail::connect(client, &self.stream_prefix, source.name()).await?)
    }

    /// Follows one stream, whatever fails meanwhile.
    async fn follow(&self, stream: &Stream, shutdown: &CancellationToken) {
        let mut wait = FIRST_WAIT;
        while !shutdown.is_cancelled() {
            match self.read_on(stream, shutdown, &mut wait).await {
                Ok(()) => return,
                Err(error) => {
                    let source = stream.source.name();
                    tracing::warn!(source, %error, "a stream cannot be followed now");
                }
            }
            pause(wait, shutdown).await;
            wait = wait.saturating_mul(2).min(LONGEST_WAIT);
        }
    }

    async fn read_on(
        &self,
        stream: &Stream,
        shutdown: &CancellationToken,
        wait: &mut Duration,
    ) -> Result<(), Error> {
        let mut tail = self.connect(stream.source).await?;
        let bounds = tail.bounds().await?;
        let known = *stream.position.borrow();
        let mut behind = known.unwrap_or(bounds.last);
        if bounds.has_lost(behind) {
            behind = bounds.last;
            stream.tell_gap(behind);
        }
        stream.position.send_replace(Some(behind));
        loop {
            let entries = tokio::select! {
                read = tail.read(behind, BATCH_ENTRIES, Some(LONGEST_BLOCK)) => read?,
                () = shutdown.cancelled() => return Ok(()),
            };
            *wait = FIRST_WAIT;
            let Some(last) = entries.last().map(|entry| entry.position) else {
                continue;
            };
            // Whoever falls so far behind that a batch is full may have been
            // overtaken by the trimming of the stream.
            if entries.len() >= BATCH_ENTRIES && tail.bounds().await?.has_lost(behind) {
                stream.tell_gap(last);
            }
            behind = last;
            stream.position.send_replace(Some(last));
            if stream.news.receiver_count() == 0 {
                continue;
            }
            let Some(news) = self.news(stream.source, &entries, last, shutdown).await else {
                return Ok(());
            };
            // Fails when the last watch has just gone.
            let _ = stream.news.send(Arc::new(news));
        }
    }

    /// What a batch tells, however long the database takes; `None` when the process
    /// ends.
    async fn news(
        &self,
        source: Source,
        entries: &[bursar_events::tail::Entry],
        last: Position,
        shutdown: &CancellationToken,
    ) -> Option<News> {
        let mut wait = FIRST_WAIT;
        while !shutdown.is_cancelled() {
            match news::read(&self.pool, source, entries, last).await {
                Ok(news) => return Some(news),
                Err(error) => tracing::warn!(%error, "whom events concern cannot be read now"),
            }
            pause(wait, shutdown).await;
            wait = wait.saturating_mul(2).min(LONGEST_WAIT);
        }
        None
    }
}

impl Stream {
    /// Tells every watch that something before `last` was never read.
    fn tell_gap(&self, last: Position) {
        tracing::warn!(
            source = self.source.name(),
            "entries were gone before they were read"
        );
        let _ = self.news.send(Arc::new(News {
            source: self.source,
            of_user: std::collections::HashMap::new(),
            last,
            is_after_gap: true,
        }));
    }
}

async fn pause(wait: Duration, shutdown: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(wait) => {}
        () = shutdown.cancelled() => {}
    }
}

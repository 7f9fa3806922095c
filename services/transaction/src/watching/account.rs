//! One watch of one user's account.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bursar_aip::id::{TenantId, UserId};
use bursar_contracts::transaction::v1::{WatchAccountResponse, WatchHeartbeat, WatchedTransaction};
use bursar_events::tail::{Position, Tail};
use bursar_server::now;
use sqlx::PgPool;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::cursor::Cursor;
use super::error::Error;
use super::feed::{BATCH_ENTRIES, Feed};
use super::limits::Place;
use super::news::{self, Change, News, Source};
use crate::contract::{self, timestamp};
use crate::store::transactions;

/// How long nothing may be told before a sign of life is.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// For whom and for how long.
pub(crate) struct Watcher {
    pub(crate) user: UserId,
    pub(crate) tenant: TenantId,
    /// How long the caller's token is good for.
    pub(crate) left: Duration,
    pub(crate) place: Place,
    pub(crate) shutdown: CancellationToken,
}

/// A stream that is still read from an older cursor.
struct CatchingUp {
    source: Source,
    tail: Tail,
    /// Up to where; what is behind it comes by the channel.
    until: Position,
}

/// A watch under way.
pub(crate) struct Watch {
    pool: PgPool,
    user: UserId,
    tenant: TenantId,
    /// Everything up to here is told or in `queue`.
    cursor: Cursor,
    /// What is to be told next: at most what one batch has, and at first what is
    /// current.
    queue: VecDeque<WatchAccountResponse>,
    catching_up: Vec<CatchingUp>,
    transactions: broadcast::Receiver<Arc<News>>,
    wallets: broadcast::Receiver<Arc<News>>,
    ends_at: Instant,
    beats_at: Instant,
    shutdown: CancellationToken,
    _place: Place,
}

impl Watch {
    /// Begins a watch behind a cursor, or with what comes from now on.
    pub(crate) async fn begin(
        feed: &Feed,
        pool: PgPool,
        watcher: Watcher,
        from: Option<Cursor>,
    ) -> Result<Self, Error> {
        let transactions = feed.join(Source::Transactions).await?;
        let wallets = feed.join(Source::Wallets).await?;
        let reached = Cursor {
            transactions: transactions.position,
            wallets: wallets.position,
        };
        let cursor = from.unwrap_or(reached);
        let mut catching_up = Vec::new();
        for source in [Source::Transactions, Source::Wallets] {
            let mut tail = feed.connect(source).await?;
            if tail.bounds().await?.has_lost(cursor.of(source)) {
                return Err(Error::CursorExpired);
            }
            let until = reached.of(source);
            if cursor.of(source) < until {
                catching_up.push(CatchingUp {
                    source,
                    tail,
                    until,
                });
            }
        }
        let now = Instant::now();
        Ok(Self {
            pool,
            user: watcher.user,
            tenant: watcher.tenant,
            cursor,
            queue: VecDeque::new(),
            catching_up,
            transactions: transactions.news,
            wallets: wallets.news,
            ends_at: now + watcher.left,
            beats_at: now + HEARTBEAT,
            shutdown: watcher.shutdown,
            _place: watcher.place,
        })
    }

    /// Puts something first that is current.
    pub(crate) fn tell_first(&mut self, message: WatchAccountResponse) {
        let cursor = self.cursor.encode(self.user);
        self.queue
            .push_back(WatchAccountResponse { cursor, ..message });
    }

    /// The next message. An error ends the watch.
    pub(crate) async fn next(&mut self) -> Result<WatchAccountResponse, Error> {
        loop {
            self.check_end()?;
            if let Some(message) = self.queue.pop_front() {
                self.beats_at = Instant::now() + HEARTBEAT;
                return Ok(message);
            }
            if let Some(mut stream) = self.catching_up.pop() {
                if self.catch_up(&mut stream).await? {
                    self.catching_up.push(stream);
                }
                continue;
            }
            let received = tokio::select! {
                received = self.transactions.recv() => received,
                received = self.wallets.recv() => received,
                () = tokio::time::sleep_until(self.ends_at) => return Err(Error::TokenEnded),
                () = self.shutdown.cancelled() => return Err(Error::Stopping),
                () = tokio::time::sleep_until(self.beats_at) => {
                    self.queue.push_back(self.heartbeat());
                    continue;
                }
            };
            match received {
                Ok(news) => self.take(&news).await?,
                Err(RecvError::Lagged(_)) => {
                    let cursor = self.cursor.encode(self.user);
                    return Err(Error::TooSlow { cursor });
                }
                Err(RecvError::Closed) => return Err(Error::Stopping),
            }
        }
    }

    fn check_end(&self) -> Result<(), Error> {
        if self.shutdown.is_cancelled() {
            return Err(Error::Stopping);
        }
        if Instant::now() >= self.ends_at {
            return Err(Error::TokenEnded);
        }
        Ok(())
    }

    /// Reads on behind the cursor; false when everything is read that does not come
    /// by the channel.
    async fn catch_up(&mut self, stream: &mut CatchingUp) -> Result<bool, Error> {
        let source = stream.source;
        let behind = self.cursor.of(source);
        let entries = stream.tail.read(behind, BATCH_ENTRIES, None).await?;
        // Looked at after the read: what was removed before it is missed now, and
        // what is removed later is in hand.
        if stream.tail.bounds().await?.has_lost(behind) {
            return Err(Error::CursorExpired);
        }
        let Some(last) = entries.last().map(|entry| entry.position) else {
            return Ok(false);
        };
        let news = news::read(&self.pool, source, &entries, last).await?;
        self.take(&news).await?;
        Ok(last < stream.until)
    }

    /// Takes in what a batch tells the user.
    async fn take(&mut self, news: &News) -> Result<(), Error> {
        let source = news.source;
        if news.last <= self.cursor.of(source) {
            return Ok(());
        }
        if news.is_after_gap {
            return Err(Error::CursorExpired);
        }
        let told = news.of_user.get(&self.user).map_or(&[][..], Vec::as_slice);
        for (position, change) in told {
            if *position <= self.cursor.of(source) {
                continue;
            }
            let message = self.message(change).await?;
            self.cursor.set(source, *position);
            if let Some(message) = message {
                let cursor = self.cursor.encode(self.user);
                self.queue
                    .push_back(WatchAccountResponse { cursor, ..message });
            }
        }
        self.cursor.set(source, news.last);
        Ok(())
    }

    /// What a change is told as. A transaction is told as it stands now: its row is
    /// at least as new as the event.
    async fn message(&self, change: &Change) -> Result<Option<WatchAccountResponse>, Error> {
        match change {
            Change::Wallet(wallet) => Ok(Some(WatchAccountResponse {
                wallet: Some(wallet.clone()),
                ..WatchAccountResponse::default()
            })),
            Change::Transaction { id, event, version } => {
                let mut conn = self.pool.acquire().await?;
                let found = transactions::find(&mut conn, *id).await?;
                let stored = found.filter(|stored| stored.tenant == self.tenant);
                Ok(stored.map(|stored| WatchAccountResponse {
                    transaction: Some(WatchedTransaction {
                        transaction: Some(contract::transaction(&stored)),
                        event: event.clone(),
                        event_version: *version,
                    }),
                    ..WatchAccountResponse::default()
                }))
            }
        }
    }

    /// A sign of life.
    pub(crate) fn heartbeat(&self) -> WatchAccountResponse {
        WatchAccountResponse {
            cursor: self.cursor.encode(self.user),
            heartbeat: Some(WatchHeartbeat {
                at: Some(timestamp(now())),
            }),
            ..WatchAccountResponse::default()
        }
    }
}

#[cfg(test)]
mod tests;

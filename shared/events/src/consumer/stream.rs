//! The consumer's side of a stream: its group, reading, acknowledging.
//!
//! All instances read under one name within their group, one after the other.
//! What the last one read and did not acknowledge is therefore "pending" for
//! the next, which reads that first.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bursar_crash::crash_point;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamId, StreamPendingReply, StreamReadOptions, StreamReadReply};
use redis::{AsyncCommands, RedisResult};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::connection;
use crate::envelope::{self, EnvelopeError};
use crate::received::Received;

/// The name under which every instance reads.
const READER: &str = "owner";
/// How many entries are read at once.
const BATCH_ENTRIES: usize = 500;
/// For how long entries gather after some came together. What takes effect together
/// costs the less an event the more they are; where events come one by one, none waits.
const GATHER: Duration = Duration::from_millis(40);
/// How long Redis waits for new entries before it answers with none: less than an
/// answer may take.
const BLOCK: Duration = Duration::from_millis(1000);

/// An entry of the stream.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Its id in the stream.
    pub(super) id: String,
    /// What it holds.
    pub(super) content: Content,
}

/// What an entry holds.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// An event.
    Event(Box<Received>),
    /// Something else, with what stands in an event's place, if anything does.
    Rubbish { why: EnvelopeError, data: Vec<u8> },
    /// Nothing: it was deleted from the stream after it had been delivered.
    Deleted,
}

impl From<StreamId> for Entry {
    fn from(entry: StreamId) -> Self {
        let content = match envelope::bytes(&entry) {
            Some(bytes) => match envelope::decode(bytes) {
                Ok(event) => Content::Event(Box::new(event)),
                Err(why) => Content::Rubbish {
                    why,
                    data: bytes.to_vec(),
                },
            },
            None if entry.map.is_empty() => Content::Deleted,
            None => Content::Rubbish {
                why: EnvelopeError::Missing(envelope::FIELD),
                data: Vec::new(),
            },
        };
        Self {
            id: entry.id,
            content,
        }
    }
}

/// Whether a reading of so many entries makes it likely that more are about to come: of
/// one it does not, and behind a full one they are there already.
fn is_part_of_a_crowd(entries: usize) -> bool {
    (2..BATCH_ENTRIES).contains(&entries)
}

/// A connection to the stream of one source.
pub(super) struct Stream {
    connection: MultiplexedConnection,
    key: String,
    group: &'static str,
}

impl Stream {
    /// Connects.
    pub(super) async fn connect(
        client: &redis::Client,
        key: &str,
        group: &'static str,
    ) -> RedisResult<Self> {
        Ok(Self {
            connection: connection::open(client).await?,
            key: key.to_owned(),
            group,
        })
    }

    /// Makes the group, from the beginning of the stream, and the stream when
    /// it is not there. Nothing happens when both are. Looks whether the group
    /// can be read, so that what would always fail fails here.
    pub(super) async fn ensure_group(&mut self) -> RedisResult<()> {
        let made: RedisResult<()> = self
            .connection
            .xgroup_create_mkstream(&self.key, self.group, "0")
            .await;
        match made {
            Err(error) if error.code() != Some("BUSYGROUP") => return Err(error),
            Ok(()) | Err(_) => {}
        }
        // What is pending is read without any change.
        self.read("0", &self.options().count(1)).await.map(drop)
    }

    /// Acknowledges what comes through `ids`, until it is closed and empty.
    pub(super) async fn acknowledge_from(
        mut self,
        mut ids: mpsc::UnboundedReceiver<String>,
    ) -> RedisResult<()> {
        let mut batch = Vec::with_capacity(BATCH_ENTRIES);
        while ids.recv_many(&mut batch, BATCH_ENTRIES).await > 0 {
            crash_point!("consumer.before_acknowledge");
            let _: usize = self.connection.xack(&self.key, self.group, &batch).await?;
            crash_point!("consumer.after_acknowledge");
            batch.clear();
        }
        Ok(())
    }

    /// Reads into `entries` until nobody takes them any more, or Redis fails:
    /// first what is pending, then what is new.
    ///
    /// Looks at what is pending again, every `sweep_interval`, when that is
    /// more than the `held` entries. An instance that stalled and lost its
    /// lease may still have had entries delivered, which then are nobody's.
    pub(super) async fn read_into(
        mut self,
        entries: mpsc::Sender<Vec<Entry>>,
        held: Arc<AtomicUsize>,
        sweep_interval: Duration,
    ) -> RedisResult<()> {
        let block_ms = usize::try_from(BLOCK.as_millis()).unwrap_or(usize::MAX);
        let options = self.options().block(block_ms);
        self.sweep(&entries).await?;
        let mut swept_at = Instant::now();
        while !entries.is_closed() {
            if swept_at.elapsed() >= sweep_interval {
                let pending: StreamPendingReply =
                    self.connection.xpending(&self.key, self.group).await?;
                if pending.count() > held.load(Ordering::Relaxed) {
                    self.sweep(&entries).await?;
                }
                swept_at = Instant::now();
            }
            crash_point!("consumer.before_read");
            let batch = self.read(">", &options).await?;
            if batch.is_empty() {
                continue;
            }
            crash_point!("consumer.after_read");
            let is_part_of_a_crowd = is_part_of_a_crowd(batch.len());
            if entries.send(batch).await.is_err() {
                return Ok(());
            }
            if is_part_of_a_crowd {
                sleep(GATHER).await;
            }
        }
        Ok(())
    }

    /// Reads everything that is pending.
    async fn sweep(&mut self, entries: &mpsc::Sender<Vec<Entry>>) -> RedisResult<()> {
        let options = self.options();
        let mut after = "0".to_owned();
        loop {
            let batch = self.read(&after, &options).await?;
            let Some(last) = batch.last() else {
                return Ok(());
            };
            after.clone_from(&last.id);
            if entries.send(batch).await.is_err() {
                return Ok(());
            }
        }
    }

    fn options(&self) -> StreamReadOptions {
        StreamReadOptions::default()
            .group(self.group, READER)
            .count(BATCH_ENTRIES)
    }

    async fn read(&mut self, after: &str, options: &StreamReadOptions) -> RedisResult<Vec<Entry>> {
        let reply: Option<StreamReadReply> = self
            .connection
            .xread_options(&[&self.key], &[after], options)
            .await?;
        let keys = reply.map(|reply| reply.keys).unwrap_or_default();
        Ok(keys
            .into_iter()
            .flat_map(|key| key.ids)
            .map(Entry::from)
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Neither a lone entry nor a full reading is followed by a wait.
    #[test]
    fn only_a_crowd_gathers() {
        let readings = [1, 2, BATCH_ENTRIES - 1, BATCH_ENTRIES];
        let gathers = readings.map(is_part_of_a_crowd);
        assert_eq!(gathers, [false, true, true, false]);
    }
}

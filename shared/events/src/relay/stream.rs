//! The relay's side of the stream: adding, looking, trimming.

use std::fmt;
use std::str::FromStr;

use redis::aio::MultiplexedConnection;
use redis::streams::{StreamInfoGroupsReply, StreamPendingReply, StreamRangeReply};
use redis::{AsyncCommands, ErrorKind, FromRedisValue, RedisError, RedisResult, Value};

use crate::connection;
use crate::envelope;
use crate::received::Received;

/// The id of a stream's entry: milliseconds and a number within them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EntryId {
    pub(super) ms: i64,
    pub(super) seq: i64,
}

impl fmt::Display for EntryId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.ms, self.seq)
    }
}

impl FromStr for EntryId {
    type Err = RedisError;

    fn from_str(text: &str) -> Result<Self, RedisError> {
        text.split_once('-')
            .and_then(|(ms, seq)| {
                Some(Self {
                    ms: ms.parse().ok()?,
                    seq: seq.parse().ok()?,
                })
            })
            .ok_or_else(|| RedisError::from((ErrorKind::Parse, "not the id of an entry")))
    }
}

/// What publishing did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Added {
    /// The stream's last entry before.
    pub(super) before: Option<EntryId>,
    /// The stream's last entry now.
    pub(super) last: EntryId,
}

/// A group's standing in the stream.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) name: String,
    /// The group has acknowledged all entries before this one.
    pub(super) position: EntryId,
    /// How many entries it has still to read or to acknowledge, when Redis knows.
    pub(super) lag: Option<usize>,
}

/// A stream, over one connection.
pub(super) struct Stream {
    connection: MultiplexedConnection,
    key: String,
}

impl Stream {
    pub(super) async fn connect(client: &redis::Client, key: &str) -> RedisResult<Self> {
        Ok(Self {
            connection: connection::open(client).await?,
            key: key.to_owned(),
        })
    }

    /// Adds events in order, all or none. There is at least one.
    ///
    /// In one transaction, because a server that runs out of memory half-way
    /// could otherwise refuse an event and take the one after it.
    pub(super) async fn add<'a>(
        &mut self,
        events: impl Iterator<Item = &'a Received>,
    ) -> RedisResult<Added> {
        let mut pipe = redis::pipe();
        pipe.atomic();
        pipe.xrevrange_count(&self.key, "+", "-", 1);
        for event in events {
            let entry = [(envelope::FIELD, envelope::encode(event))];
            pipe.xadd(&self.key, "*", &entry);
        }
        let mut replies: Vec<Value> = pipe.query_async(&mut self.connection).await?;
        let last = replies
            .pop()
            .ok_or_else(|| RedisError::from((ErrorKind::Parse, "no reply to XADD")))?;
        let last = String::from_redis_value(last)?.parse()?;
        let before = match replies.into_iter().next() {
            Some(reply) => last_of(StreamRangeReply::from_redis_value(reply)?)?,
            None => None,
        };
        Ok(Added { before, last })
    }

    /// The stream's last entry; `None` when it is empty or not there.
    pub(super) async fn last(&mut self) -> RedisResult<Option<EntryId>> {
        let reply = self
            .connection
            .xrevrange_count(&self.key, "+", "-", 1)
            .await?;
        last_of(reply)
    }

    /// The groups that read the stream.
    pub(super) async fn groups(&mut self) -> RedisResult<Vec<Group>> {
        if !self.connection.exists(&self.key).await? {
            return Ok(Vec::new());
        }
        let reply: StreamInfoGroupsReply = self.connection.xinfo_groups(&self.key).await?;
        let mut groups = Vec::with_capacity(reply.groups.len());
        for group in reply.groups {
            let pending: StreamPendingReply =
                self.connection.xpending(&self.key, &group.name).await?;
            let position = match &pending {
                StreamPendingReply::Data(data) => &data.start_id,
                // Nothing is pending.
                _ => &group.last_delivered_id,
            };
            groups.push(Group {
                position: position.parse()?,
                lag: group.lag.map(|lag| lag.saturating_add(pending.count())),
                name: group.name,
            });
        }
        Ok(groups)
    }

    /// The event at an entry; `None` when the entry is gone or holds none.
    pub(super) async fn event(&mut self, id: EntryId) -> RedisResult<Option<Received>> {
        let id = id.to_string();
        let reply: StreamRangeReply = self.connection.xrange(&self.key, &id, &id).await?;
        Ok(reply.ids.first().and_then(Received::of_entry))
    }

    /// Drops old entries: of those before `acknowledged`, or of all when there
    /// is no group, but never so many that fewer than `keep` are left. Redis
    /// drops whole blocks of about a hundred, so it may leave a few more.
    pub(super) async fn trim(
        &mut self,
        acknowledged: Option<EntryId>,
        keep: usize,
    ) -> RedisResult<usize> {
        let length: usize = self.connection.xlen(&self.key).await?;
        let Some(excess) = length.checked_sub(keep).filter(|&excess| excess > 0) else {
            return Ok(0);
        };
        let mut command = redis::cmd("XTRIM");
        command.arg(&self.key);
        match acknowledged {
            Some(id) => command.arg("MINID").arg("~").arg(id.to_string()),
            None => command.arg("MAXLEN").arg("~").arg(keep),
        };
        command
            .arg("LIMIT")
            .arg(excess)
            .query_async(&mut self.connection)
            .await
    }
}

fn last_of(reply: StreamRangeReply) -> RedisResult<Option<EntryId>> {
    reply.ids.first().map(|entry| entry.id.parse()).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids compare by number, not as text.
    #[test]
    fn ids_are_numbers() {
        let id = |text: &str| text.parse::<EntryId>();
        assert!(id("999-0").unwrap() < id("1000-0").unwrap());
        assert!(id("5-9").unwrap() < id("5-10").unwrap());
        assert_eq!(id("5-10").unwrap().to_string(), "5-10");
        for bad in ["", "5", "5-", "-5", "a-b", "5-1-2"] {
            assert!(id(bad).is_err(), "{bad:?}");
        }
    }
}

//! Reading a stream without a group: for those who only tell what happens.
//!
//! A [`Consumer`](crate::consumer::Consumer) acts on events and must miss none, so
//! its group holds the stream back and every event is acknowledged. A tail has no
//! group: it holds nothing back, changes nothing in Redis, and may come too late,
//! which [`Bounds::has_lost`] tells. Any number of processes may read the same
//! stream, each from where it likes.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::streams::{StreamId, StreamReadOptions, StreamReadReply};
use redis::{AsyncCommands, ErrorKind, FromRedisValue, RedisError, RedisResult, Value};

use crate::connection;
use crate::received::Received;

/// The longest time for which a read may block: less than a response may take.
pub const LONGEST_BLOCK: Duration = Duration::from_secs(2);

/// A place in a stream: behind the entry of this id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    ms: u64,
    seq: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.ms, self.seq)
    }
}

/// The text is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the id of an entry")]
pub struct PositionInvalid;

impl FromStr for Position {
    type Err = PositionInvalid;

    fn from_str(text: &str) -> Result<Self, PositionInvalid> {
        let (ms, seq) = text.split_once('-').ok_or(PositionInvalid)?;
        let digits = |text: &str| {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| is_number)
        };
        Ok(Self {
            ms: digits(ms).ok_or(PositionInvalid)?,
            seq: digits(seq).ok_or(PositionInvalid)?,
        })
    }
}

/// An entry of the stream.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where it is.
    pub position: Position,
    /// The event; `None` for an entry that holds none.
    pub event: Option<Received>,
}

/// What a stream has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Its first entry; `None` when it has none.
    pub first: Option<Position>,
    /// The last entry that it ever had.
    pub last: Position,
    /// Whether entries were removed from it, or how many it ever had is not known.
    pub is_trimmed: bool,
}

impl Bounds {
    /// Whether something that came after `position` is no longer there, or the
    /// stream is another one than that in which `position` was.
    pub fn has_lost(&self, position: Position) -> bool {
        if position >= self.last {
            return position > self.last;
        }
        self.is_trimmed && self.first.is_none_or(|first| position < first)
    }
}

/// A stream that is read without a group, over a connection of its own.
pub struct Tail {
    connection: MultiplexedConnection,
    key: String,
}

impl Tail {
    /// Connects. `stream_prefix` is what the streams' keys start with; `source` is
    /// what publishes, such as `bursar.wallet`.
    pub async fn connect(
        client: &redis::Client,
        stream_prefix: &str,
        source: &str,
    ) -> RedisResult<Self> {
        Ok(Self {
            connection: connection::open(client).await?,
            key: format!("{stream_prefix}{source}"),
        })
    }

    /// What the stream has now. A stream that is not there has nothing.
    pub async fn bounds(&mut self) -> RedisResult<Bounds> {
        if !self.connection.exists(&self.key).await? {
            return Ok(Bounds::default());
        }
        let info: HashMap<String, Value> = redis::cmd("XINFO")
            .arg("STREAM")
            .arg(&self.key)
            .query_async(&mut self.connection)
            .await?;
        let number = |name: &str| {
            info.get(name)
                .and_then(|value| u64::from_redis_value(value.clone()).ok())
        };
        let last = info.get("last-generated-id").cloned();
        let last = String::from_redis_value(last.unwrap_or(Value::Nil))?;
        let first = match info.get("first-entry") {
            Some(Value::Array(entry)) => entry.first().cloned(),
            Some(_) | None => None,
        };
        Ok(Bounds {
            first: first
                .map(String::from_redis_value)
                .transpose()?
                .map(|id| position(&id))
                .transpose()?,
            last: position(&last)?,
            is_trimmed: number("entries-added").is_none_or(|added| number("length") != Some(added)),
        })
    }

    /// The next entries behind a position, at most `count`. Waits for some for as
    /// long as `block` says, at most [`LONGEST_BLOCK`]; `None` does not wait.
    pub async fn read(
        &mut self,
        behind: Position,
        count: usize,
        block: Option<Duration>,
    ) -> RedisResult<Vec<Entry>> {
        let mut options = StreamReadOptions::default().count(count);
        if let Some(block) = block {
            // Zero would wait for ever.
            let ms = block.min(LONGEST_BLOCK).as_millis().max(1);
            options = options.block(usize::try_from(ms).unwrap_or(usize::MAX));
        }
        let reply: Option<StreamReadReply> = self
            .connection
            .xread_options(&[&self.key], &[behind.to_string()], &options)
            .await?;
        reply
            .map(|reply| reply.keys)
            .unwrap_or_default()
            .into_iter()
            .flat_map(|key| key.ids)
            .map(entry)
            .collect()
    }
}

fn entry(entry: StreamId) -> RedisResult<Entry> {
    Ok(Entry {
        position: position(&entry.id)?,
        event: Received::of_entry(&entry),
    })
}

fn position(text: &str) -> RedisResult<Position> {
    text.parse()
        .map_err(|_| RedisError::from((ErrorKind::Parse, "not the id of an entry")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Position {
        Position { ms, seq: 0 }
    }

    /// A position is lost when something behind it was removed, or when it lies
    /// beyond all that the stream ever had.
    #[test]
    fn lost_positions_are_known() {
        let whole = Bounds {
            first: Some(at(5)),
            last: at(9),
            is_trimmed: false,
        };
        let trimmed = Bounds {
            is_trimmed: true,
            ..whole
        };
        let emptied = Bounds {
            first: None,
            ..trimmed
        };
        for (bounds, position, lost) in [
            (whole, at(0), false),
            (whole, at(9), false),
            (whole, at(10), true),
            (trimmed, at(4), true),
            (trimmed, at(5), false),
            (trimmed, at(9), false),
            (emptied, at(8), true),
            (emptied, at(9), false),
            (Bounds::default(), at(0), false),
            (Bounds::default(), at(1), true),
        ] {
            assert_eq!(bounds.has_lost(position), lost, "{bounds:?} {position}");
        }
    }

    proptest! {
        /// Positions are numbers: they come back from their text and compare so.
        #[test]
        fn positions_come_back(ms: u64, seq: u64, other_ms: u64, text in ".{0,20}") {
            let position = Position { ms, seq };
            prop_assert_eq!(position.to_string().parse(), Ok(position));
            let other = Position { ms: other_ms, seq: 0 };
            prop_assert_eq!(position < other, (ms, seq) < (other_ms, 0));
            let _ = text.parse::<Position>();
        }
    }
}

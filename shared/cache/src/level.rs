//! The level in Redis: what goes over the wire, and the breaker before it.
//!
//! A value is eight bytes of version, big endian, and the encoded message. A
//! shorter one marks a load under way: it makes the key present, so that an
//! update that commits meanwhile is stored, and the load's older value refused.

use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use redis::{FromRedisValue, RedisError, RedisResult, Script, SetExpiry, SetOptions, Value};

use crate::breaker::Breaker;
use crate::connection::Connection;
use crate::pattern;
use crate::purpose::Keyspace;
use crate::statistics::Counters;

/// How many keys one call takes: its script blocks the server meanwhile.
const KEYS_A_CALL: usize = 512;
const SCAN_COUNT: usize = 1000;
const MARK: &[u8] = b"?";
const VERSION_LEN: usize = 8;

pub(crate) struct Level {
    connection: Connection,
    keys: Keyspace,
    breaker: Breaker,
    write: Script,
    time_to_live: Duration,
    mark_time_to_live: Duration,
}

/// When a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Set,
    /// Only where something is there.
    Update,
}

pub(crate) struct Write<'a> {
    pub(crate) key: &'a str,
    pub(crate) version: u64,
    pub(crate) content: Vec<u8>,
    pub(crate) mode: Mode,
}

/// A value as it was read.
pub(crate) struct Raw {
    pub(crate) version: u64,
    pub(crate) content: Vec<u8>,
}

/// What became of one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Stored,
    Older,
    Absent,
    Dropped,
}

impl Level {
    pub(crate) fn new(
        connection: Connection,
        keys: Keyspace,
        time_to_live: Duration,
        mark_time_to_live: Duration,
        breaker: Breaker,
    ) -> Self {
        Self {
            connection,
            keys,
            breaker,
            write: Script::new(include_str!("scripts/write.lua")),
            time_to_live,
            mark_time_to_live,
        }
    }

    /// The values, none for each that is missing or could not be read.
    pub(crate) async fn read(&self, keys: &[&str], counters: &Counters) -> Vec<Option<Raw>> {
        let mut values = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(KEYS_A_CALL) {
            let mut command = redis::cmd("MGET");
            for key in chunk {
                command.arg(self.keys.key(key));
            }
            let answer: Option<Vec<Option<Vec<u8>>>> = self
                .guarded(counters, command.query_async(&mut self.connection.clone()))
                .await;
            let mut answers = answer.unwrap_or_default();
            answers.resize(chunk.len(), None);
            values.extend(answers.into_iter().map(|bytes| parse(bytes?)));
        }
        values
    }

    /// The value, or a mark in its place that a load is under way.
    pub(crate) async fn read_or_mark(&self, key: &str, counters: &Counters) -> Option<Raw> {
        let options = SetOptions::default()
            .conditional_set(redis::ExistenceCheck::NX)
            .get(true)
            .with_expiration(SetExpiry::PX(millis(self.mark_time_to_live)));
        let mut command = redis::cmd("SET");
        command.arg(self.keys.key(key)).arg(MARK).arg(options);
        let answer: Option<Option<Vec<u8>>> = self
            .guarded(counters, command.query_async(&mut self.connection.clone()))
            .await;
        parse(answer??)
    }

    /// Writes what is newer than what is there; one answer a write.
    pub(crate) async fn write(&self, writes: Vec<Write<'_>>, counters: &Counters) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(writes.len());
        let keys_a_call = if self.connection.is_cluster() {
            1
        } else {
            KEYS_A_CALL
        };
        if keys_a_call >= writes.len() {
            return self.write_chunk(&writes, counters).await;
        }
        // On a cluster each key has its own slot: one call a key, all under way
        // at once over the nodes' connections.
        for window in writes.chunks(KEYS_A_CALL) {
            let calls: futures::stream::FuturesOrdered<_> = window
                .chunks(keys_a_call)
                .map(|chunk| self.write_chunk(chunk, counters))
                .collect();
            answers.extend(calls.collect::<Vec<_>>().await.into_iter().flatten());
        }
        answers
    }

    async fn write_chunk(&self, writes: &[Write<'_>], counters: &Counters) -> Vec<Answer> {
        if writes.is_empty() {
            return Vec::new();
        }
        let modes: String = writes
            .iter()
            .map(|write| match write.mode {
                Mode::Set => 's',
                Mode::Update => 'u',
            })
            .collect();
        let mut call = self.write.prepare_invoke();
        let time_to_live = millis(self.time_to_live);
        call.arg(time_to_live).arg(time_to_live / 10 + 1).arg(modes);
        for write in writes {
            call.key(self.keys.key(write.key));
            let mut value = Vec::with_capacity(VERSION_LEN + write.content.len());
            value.extend_from_slice(&write.version.to_be_bytes());
            value.extend_from_slice(&write.content);
            call.arg(value);
        }
        let letters: Option<String> = self
            .guarded(counters, call.invoke_async(&mut self.connection.clone()))
            .await;
        let mut answers: Vec<Answer> = letters
            .unwrap_or_default()
            .bytes()
            .map(|letter| match letter {
                b'+' => Answer::Stored,
                b'=' => Answer::Older,
                b'-' => Answer::Absent,
                _ => Answer::Dropped,
            })
            .collect();
        answers.resize(writes.len(), Answer::Dropped);
        answers
    }

    /// Removes the key; whether Redis was there to do it.
    pub(crate) async fn remove(&self, key: &str, counters: &Counters) -> bool {
        let mut command = redis::cmd("UNLINK");
        command.arg(self.keys.key(key));
        let answer: Option<u64> = self
            .guarded(counters, command.query_async(&mut self.connection.clone()))
            .await;
        answer.is_some()
    }

    /// Removes what matches on every node; how many keys, none when not all of
    /// it could be done.
    pub(crate) async fn remove_matching(&self, wanted: &str, counters: &Counters) -> Option<u64> {
        let wanted = pattern::for_redis(self.keys.prefix(), wanted);
        let nodes = self.guarded(counters, self.connection.primaries()).await?;
        let mut removals: FuturesUnordered<_> = nodes
            .iter()
            .map(|node| self.remove_on(node.as_ref(), &wanted, counters))
            .collect();
        let mut removed = Some(0);
        while let Some(count) = removals.next().await {
            removed = removed.zip(count).map(|(sum, count)| sum + count);
        }
        removed
    }

    async fn remove_on(
        &self,
        node: Option<&(String, u16)>,
        wanted: &str,
        counters: &Counters,
    ) -> Option<u64> {
        let (mut cursor, mut removed) = (0_u64, 0_u64);
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor)
                .arg("MATCH")
                .arg(wanted)
                .arg("COUNT")
                .arg(SCAN_COUNT);
            let answer = self
                .guarded(counters, self.connection.on_node(node, scan))
                .await?;
            let (next, keys) = scanned(answer).ok()?;
            if !keys.is_empty() {
                // The client library splits the command over the cluster's slots.
                let mut unlink = redis::cmd("UNLINK");
                unlink.arg(&keys);
                removed += self
                    .guarded(
                        counters,
                        unlink.query_async::<u64>(&mut self.connection.clone()),
                    )
                    .await?;
            }
            if next == 0 {
                return Some(removed);
            }
            cursor = next;
        }
    }

    /// The answer, or nothing: a failure is counted and told to the breaker.
    async fn guarded<T>(
        &self,
        counters: &Counters,
        call: impl Future<Output = RedisResult<T>>,
    ) -> Option<T> {
        if !self.breaker.allows() {
            counters.short_circuited.one();
            return None;
        }
        match call.await {
            Ok(answer) => {
                self.breaker.succeeded();
                Some(answer)
            }
            Err(error) => {
                self.failed(&error, counters);
                None
            }
        }
    }

    fn failed(&self, error: &RedisError, counters: &Counters) {
        counters.errors.one();
        self.breaker.failed();
        tracing::debug!(purpose = %self.connection.purpose(), %error, "redis did not serve the cache");
    }
}

fn scanned(answer: Value) -> RedisResult<(u64, Vec<Vec<u8>>)> {
    Ok(FromRedisValue::from_redis_value(answer)?)
}

fn parse(mut bytes: Vec<u8>) -> Option<Raw> {
    let version = u64::from_be_bytes(*bytes.first_chunk::<VERSION_LEN>()?);
    bytes.drain(..VERSION_LEN);
    Some(Raw {
        version,
        content: bytes,
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .max(1)
}

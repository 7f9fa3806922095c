//! A session: one source, one lease, one connection that reads.
//!
//! Entries are sorted (`batch.rs`) into lanes, one an aggregate. A lane runs its
//! events one after the other; lanes run side by side, and go on while the next
//! batch is being sorted. A lane whose event failed waits without holding up the
//! others. What is not acknowledged stays pending in Redis, so a session that
//! ends anywhere loses nothing.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::{Fuse, FusedFuture};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use redis::{ErrorKind, RedisError, RedisResult};
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::Handling;
use super::attempt::Attempts;
use super::batch::{Batch, Sorted};
use super::lane::{Next, Ran, Task, Work};
use super::stream::{Content, Entry, Stream};
use crate::envelope::EnvelopeError;
use crate::received::Received;

/// How many entries a session holds at most, running and waiting, before it
/// stops reading.
const MAX_HELD: usize = 1000;

/// How many entries a lane holds at most while it waits for a failed event. The
/// rest is forgotten, so that one aggregate does not use up [`MAX_HELD`]; it
/// stays pending in Redis, and the reader finds it again.
const MAX_HELD_WAITING: usize = 100;

/// Why a session ended.
#[derive(Debug)]
pub(super) enum End {
    /// It was stopped, or the lease was lost.
    Stopped,
    /// Redis failed.
    Broken(RedisError),
}

/// What ended the loop of a session.
enum Cause {
    Stop,
    Reader,
    Acknowledger,
}

/// Where a lane is.
#[derive(Debug)]
enum State {
    /// In the queue to run, or running.
    Busy,
    /// Waiting for its next try.
    Waiting(Instant),
}

#[derive(Debug)]
struct Lane {
    /// In the order of their versions.
    tasks: VecDeque<Task>,
    /// How often the first of them was tried.
    attempts: u32,
    state: State,
}

impl Lane {
    /// Adds events. They come in order, unless the stream lost some and has
    /// them again now. True when the lane begins with another event than before.
    fn add(&mut self, tasks: impl IntoIterator<Item = Task>) -> bool {
        let first = self.tasks.front().map(|task| task.event.version);
        self.tasks.extend(tasks);
        self.tasks
            .make_contiguous()
            .sort_by_key(|task| task.event.version);
        first != self.tasks.front().map(|task| task.event.version)
    }

    /// Forgets what is too much for a lane that waits.
    fn forget_excess(&mut self, held: &mut HashSet<String>) {
        let kept = self.tasks.len().min(MAX_HELD_WAITING);
        for task in self.tasks.drain(kept..) {
            held.remove(&task.entry_id);
        }
    }
}

/// A session at work.
pub(super) struct Session<'a, H> {
    attempts: &'a Attempts<'a, H>,
    stop: CancellationToken,
    entries: mpsc::Receiver<Vec<Entry>>,
    reader: AbortOnDropHandle<RedisResult<()>>,
    /// Entries that are done. Not bounded itself, but by `MAX_HELD`.
    done: mpsc::UnboundedSender<String>,
    acknowledger: AbortOnDropHandle<RedisResult<()>>,
    lanes: HashMap<Uuid, Lane>,
    ready: VecDeque<Uuid>,
    /// The entries in the lanes and in the batch that is being sorted, and how
    /// many they are, for the reader.
    held: HashSet<String>,
    held_count: Arc<AtomicUsize>,
}

impl<'a, H> Session<'a, H>
where
    H: for<'h> Fn(&'h mut PgConnection, &'h Received) -> Handling<'h> + Send + Sync,
{
    /// Connects, makes the group when it is not there, and starts to read.
    pub(super) async fn open(
        redis: &redis::Client,
        attempts: &'a Attempts<'a, H>,
        stop: CancellationToken,
    ) -> RedisResult<Self> {
        let consumer = attempts.consumer;
        let key = format!("{}{}", consumer.stream_prefix, attempts.lease.source);
        let mut acknowledger = Stream::connect(redis, &key, consumer.group).await?;
        acknowledger.ensure_group().await?;
        let reader = Stream::connect(redis, &key, consumer.group).await?;
        // Two connections, because a blocking read stops what comes after it.
        let (sender, entries) = mpsc::channel(1);
        let (done, receiver) = mpsc::unbounded_channel();
        let acknowledging = acknowledger.acknowledge_from(receiver);
        let held_count = Arc::new(AtomicUsize::new(0));
        let reading = reader.read_into(sender, Arc::clone(&held_count), consumer.lease / 2);
        Ok(Self {
            attempts,
            stop,
            entries,
            reader: AbortOnDropHandle::new(tokio::spawn(reading)),
            done,
            acknowledger: AbortOnDropHandle::new(tokio::spawn(acknowledging)),
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            held: HashSet::new(),
            held_count,
        })
    }

    /// Consumes until stopped or something breaks. Attempts that are under way
    /// then are finished, those at a batch's events together too.
    pub(super) async fn run(mut self) -> End {
        let mut running = FuturesUnordered::new();
        // At most one batch is being sorted. It may wait in the database for what
        // a lane has locked, so it is polled beside the lanes, never instead.
        let mut sorting = Fuse::terminated();
        let cause = loop {
            while running.len() < self.attempts.consumer.concurrency.max(1) {
                let Some(aggregate_id) = self.ready.pop_front() else {
                    break;
                };
                if let Some(lane) = self.lanes.get_mut(&aggregate_id) {
                    let tasks = std::mem::take(&mut lane.tasks);
                    let stop = self.stop.clone();
                    running.push(self.attempts.run(aggregate_id, tasks, lane.attempts, stop));
                }
            }
            let due = self.next_due();
            tokio::select! {
                () = self.stop.cancelled() => break Cause::Stop,
                Some(ran) = running.next() => self.settle(ran),
                sorted = &mut sorting => self.take_up(sorted),
                entries = self.entries.recv(), if sorting.is_terminated() && self.has_room() => {
                    match entries {
                        Some(entries) => {
                            let batch = self.accept(entries);
                            sorting = Box::pin(self.attempts.sort(batch)).fuse();
                        }
                        None => break Cause::Reader,
                    }
                }
                () = self.done.closed() => break Cause::Acknowledger,
                () = sleep_until(due) => self.wake(),
            }
        };
        loop {
            tokio::select! {
                Some(ran) = running.next() => self.settle(ran),
                sorted = &mut sorting, if !sorting.is_terminated() => self.take_up(sorted),
                else => break,
            }
        }
        // Closes the channel, so that the acknowledger ends when all is told.
        drop(self.done);
        let acknowledged = ended(self.acknowledger).await;
        match cause {
            Cause::Reader => End::Broken(ended(self.reader).await.unwrap_or_else(early)),
            Cause::Acknowledger => End::Broken(acknowledged.unwrap_or_else(early)),
            Cause::Stop => acknowledged.map_or(End::Stopped, End::Broken),
        }
    }

    fn has_room(&self) -> bool {
        self.held.len() < MAX_HELD
    }

    /// Takes in what was read, to be sorted. An aggregate that is free now stays
    /// free until then: only batches make lanes, one batch at a time.
    fn accept(&mut self, entries: Vec<Entry>) -> Batch {
        let mut batch = Batch::default();
        for entry in entries {
            if let Some(task) = self.task(entry) {
                let is_free = !self.lanes.contains_key(&task.event.aggregate_id);
                batch.add(task, is_free);
            }
        }
        self.tell_held();
        batch
    }

    /// Takes up what a batch was sorted into.
    fn take_up(&mut self, sorted: Sorted) {
        sorted
            .done
            .into_iter()
            .for_each(|entry_id| self.acknowledge(entry_id));
        for (aggregate_id, tasks) in sorted.rest {
            self.queue(aggregate_id, tasks);
        }
        self.tell_held();
    }

    /// Tells the reader how much is held.
    fn tell_held(&self) {
        self.held_count.store(self.held.len(), Ordering::Relaxed);
    }

    fn queue(&mut self, aggregate_id: Uuid, tasks: Vec<Task>) {
        let lane = self.lanes.entry(aggregate_id).or_insert_with(|| {
            self.ready.push_back(aggregate_id);
            Lane {
                tasks: VecDeque::new(),
                attempts: 0,
                state: State::Busy,
            }
        });
        let changed = lane.add(tasks);
        if matches!(lane.state, State::Busy) {
            return;
        }
        if changed {
            lane.attempts = 0;
            lane.state = State::Busy;
            self.ready.push_back(aggregate_id);
        } else {
            lane.forget_excess(&mut self.held);
        }
    }

    /// Makes a task of an entry; `None` when there is nothing to do.
    fn task(&mut self, entry: Entry) -> Option<Task> {
        if !self.held.insert(entry.id.clone()) {
            return None;
        }
        let source = self.attempts.lease.source;
        match entry.content {
            Content::Event(event) => {
                let wanted = self.attempts.consumer.kinds.contains(&event.kind);
                Some(Task {
                    entry_id: entry.id,
                    event,
                    work: if wanted { Work::Handle } else { Work::Skip },
                })
            }
            Content::Rubbish { why, data } => Some(refused(source, entry.id, why, data)),
            Content::Deleted => {
                tracing::warn!(source, entry = entry.id, "a pending entry was deleted");
                self.acknowledge(entry.id);
                None
            }
        }
    }

    /// Takes up what a run of a lane came to.
    fn settle(&mut self, ran: Ran) {
        ran.done
            .into_iter()
            .for_each(|entry_id| self.acknowledge(entry_id));
        let Some(lane) = self.lanes.get_mut(&ran.aggregate_id) else {
            return;
        };
        let came = std::mem::replace(&mut lane.tasks, ran.rest);
        let changed = lane.add(came);
        match ran.next {
            Next::LeaseLost => self.stop.cancel(),
            Next::Wait { attempts, until } if !changed => {
                lane.attempts = attempts;
                lane.state = State::Waiting(until);
                lane.forget_excess(&mut self.held);
            }
            Next::Go if lane.tasks.is_empty() => {
                self.lanes.remove(&ran.aggregate_id);
            }
            Next::Go | Next::Wait { .. } => {
                lane.attempts = 0;
                self.ready.push_back(ran.aggregate_id);
            }
        }
        self.tell_held();
    }

    fn next_due(&self) -> Option<Instant> {
        let waiting = self.lanes.values().filter_map(|lane| match lane.state {
            State::Waiting(until) => Some(until),
            State::Busy => None,
        });
        waiting.min()
    }

    /// Queues the lanes that have waited long enough.
    fn wake(&mut self) {
        let now = Instant::now();
        for (&aggregate_id, lane) in &mut self.lanes {
            if matches!(lane.state, State::Waiting(until) if until <= now) {
                lane.state = State::Busy;
                self.ready.push_back(aggregate_id);
            }
        }
    }

    fn acknowledge(&mut self, entry_id: String) {
        self.held.remove(&entry_id);
        // When the acknowledger is gone the session ends, and the entry comes
        // again.
        let _ = self.done.send(entry_id);
    }
}

/// The error with which one of a session's tasks ended.
async fn ended(task: AbortOnDropHandle<RedisResult<()>>) -> Option<RedisError> {
    match task.await {
        Ok(result) => result.err(),
        Err(_) => Some(RedisError::from((ErrorKind::Client, "a task panicked"))),
    }
}

/// A task ended without an error before it should.
fn early() -> RedisError {
    RedisError::from((ErrorKind::Client, "a task ended early"))
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => pending().await,
    }
}

/// An entry that holds no event, as an event that can be parked. It is its own
/// aggregate, so that it parks nothing else.
fn refused(source: &str, entry_id: String, why: EnvelopeError, data: Vec<u8>) -> Task {
    let id = Uuid::new_v5(
        &Uuid::NAMESPACE_URL,
        format!("{source}/{entry_id}").as_bytes(),
    );
    let added_ms = entry_id.split_once('-').and_then(|(ms, _)| ms.parse().ok());
    let event = Received {
        id,
        source: source.to_owned(),
        kind: String::new(),
        tenant: "default".to_owned(),
        aggregate_kind: String::new(),
        aggregate_id: id,
        subject: entry_id.clone(),
        version: 0,
        schema: String::new(),
        data,
        actor: String::new(),
        correlation_id: String::new(),
        traceparent: None,
        occurred_at: OffsetDateTime::UNIX_EPOCH + Duration::milliseconds(added_ms.unwrap_or(0)),
    };
    Task {
        entry_id,
        event: Box::new(event),
        work: Work::Refuse(why),
    }
}

//! The lane of one aggregate: its events, one after the other.

use std::collections::VecDeque;

use sqlx::PgConnection;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Handling;
use super::attempt::{Attempts, Outcome};
use crate::backoff::Backoff;
use crate::dead_letters::{self, Letter, Reason};
use crate::envelope::EnvelopeError;
use crate::received::{HandlerError, Received};

/// How often in a row an event is tried at once, because something moved.
const MAX_AGAIN: u32 = 10;

/// What is to be done with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// The handler wants it.
    Handle,
    /// It only counts for the order.
    Skip,
    /// It is no event.
    Refuse(EnvelopeError),
}

/// An event in its lane.
#[derive(Clone, Debug)]
pub(super) struct Task {
    /// The entry that brought it, to acknowledge.
    pub(super) entry_id: String,
    pub(super) event: Box<Received>,
    pub(super) work: Work,
}

/// How a lane goes on.
#[derive(Debug)]
pub(super) enum Next {
    /// With what comes.
    Go,
    /// With the same event again, at a later time.
    Wait {
        /// How often the event was tried.
        attempts: u32,
        /// When it is tried again.
        until: Instant,
    },
    /// Not at all: another instance reads the source now.
    LeaseLost,
}

/// What a run of a lane came to.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) aggregate_id: Uuid,
    /// The entries that may be acknowledged.
    pub(super) done: Vec<String>,
    /// What is left, in order.
    pub(super) rest: VecDeque<Task>,
    pub(super) next: Next,
}

/// What became of the first event of a lane.
enum Step {
    Done,
    Again,
    Wait(u32, Instant),
    LeaseLost,
}

impl<H> Attempts<'_, H>
where
    H: for<'a> Fn(&'a mut PgConnection, &'a Received) -> Handling<'a> + Send + Sync,
{
    /// Works through a lane until it is empty, has to wait, or `stop`. The
    /// first event was tried `attempts` times before.
    pub(super) async fn run(
        &self,
        aggregate_id: Uuid,
        mut tasks: VecDeque<Task>,
        mut attempts: u32,
        stop: CancellationToken,
    ) -> Ran {
        let mut done = Vec::new();
        let mut next = Next::Go;
        let mut again = 0;
        while let Some(task) = tasks.front() {
            if stop.is_cancelled() {
                break;
            }
            let step = self.step(task, attempts).await;
            self.note_database(step.as_ref().err());
            match step {
                Ok(Step::Done) => {
                    done.extend(tasks.pop_front().map(|task| task.entry_id));
                    attempts = 0;
                    again = 0;
                }
                Ok(Step::Again) if again < MAX_AGAIN => again += 1,
                Ok(Step::Wait(attempts, until)) => {
                    next = Next::Wait { attempts, until };
                    break;
                }
                Ok(Step::LeaseLost) => {
                    next = Next::LeaseLost;
                    break;
                }
                // Not the event's fault, so it does not count as an attempt.
                Ok(Step::Again) | Err(_) => {
                    let until = Instant::now() + self.backoff().wait(2);
                    next = Next::Wait { attempts, until };
                    break;
                }
            }
        }
        Ran {
            aggregate_id,
            done,
            rest: tasks,
            next,
        }
    }

    async fn step(&self, task: &Task, attempts: u32) -> Result<Step, sqlx::Error> {
        let outcome = self.attempt(&task.event, &task.work).await?;
        let attempts = attempts + 1;
        let error = match outcome {
            Outcome::Done => return Ok(Step::Done),
            Outcome::Again => return Ok(Step::Again),
            Outcome::LeaseLost => return Ok(Step::LeaseLost),
            Outcome::Parked => {
                return self
                    .park(task, Reason::Behind, 0, "an earlier event is parked")
                    .await;
            }
            Outcome::Early { expected } => HandlerError::retry(format!(
                "version {} came, but version {expected} is next",
                task.event.version
            )),
            Outcome::Failed(error) => error,
        };
        match error {
            HandlerError::Retry(_) if attempts < self.consumer.max_attempts => {
                self.log_retry(&task.event, attempts, &error);
                Ok(Step::Wait(
                    attempts,
                    Instant::now() + self.backoff().wait(attempts),
                ))
            }
            HandlerError::Retry(_) | HandlerError::Poison(_) => {
                self.park(task, Reason::Failed, attempts, &error.to_string())
                    .await
            }
        }
    }

    /// Sets an event aside. When that is not possible, because it took effect
    /// or its aggregate is not parked any more, it has another try.
    async fn park(
        &self,
        task: &Task,
        reason: Reason,
        attempts: u32,
        error: &str,
    ) -> Result<Step, sqlx::Error> {
        let group = self.consumer.group;
        let letter = Letter {
            group,
            event: &task.event,
            wanted: task.work != Work::Skip,
            reason,
            attempts,
            error,
        };
        if !dead_letters::park(self.pool, self.lease, &letter).await? {
            return Ok(Step::Again);
        }
        let labels = [("group", group), ("reason", reason.name())];
        metrics::counter!("bursar_events_dead_lettered_total", &labels).increment(1);
        match reason {
            Reason::Failed => tracing::error!(
                group,
                kind = task.event.kind,
                subject = task.event.subject,
                version = task.event.version,
                event_id = %task.event.id,
                attempts,
                error,
                "an event cannot be handled; its aggregate is parked"
            ),
            Reason::Behind => {}
        }
        Ok(Step::Done)
    }

    fn log_retry(&self, event: &Received, attempts: u32, error: &HandlerError) {
        let group = self.consumer.group;
        metrics::counter!("bursar_events_retried_total", "group" => group).increment(1);
        tracing::warn!(
            group,
            kind = event.kind,
            subject = event.subject,
            version = event.version,
            event_id = %event.id,
            attempts,
            %error,
            "an event is tried again later"
        );
    }

    fn backoff(&self) -> Backoff {
        Backoff {
            first: self.consumer.first_wait,
            longest: self.consumer.longest_wait,
        }
    }
}

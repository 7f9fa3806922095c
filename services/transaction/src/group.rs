//! Work that is done for many callers at once.
//!
//! While a worker is busy, what comes in gathers; when it is done, or held up for
//! longer than usual, the next one takes what is there. Nobody waits on purpose, so a
//! lone caller is served at once and a crowd together, with one commit or one call for
//! all of it. A caller that leaves takes nothing back, unless the kind of work says
//! otherwise.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bursar_status::correlation::{self, CorrelationId};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How much may wait; what comes then waits for room until its deadline.
const QUEUE: usize = 1_024;
/// How much a worker takes at once.
pub(crate) const MAX_TOGETHER: usize = 200;
/// How many workers there are.
const WORKERS: usize = 2;
/// For how long the others leave what comes in to a worker that is busy. The larger a
/// batch the less each piece of it costs, so that a second one is only begun when the
/// first is held up.
const HELD_UP: Duration = Duration::from_millis(50);

struct Call<T, R> {
    work: T,
    correlation: CorrelationId,
    reply: oneshot::Sender<R>,
}

/// Work as a worker gets it, with what joins it to the request that began it.
pub(crate) struct Piece<T> {
    /// The work.
    pub(crate) work: T,
    /// The correlation id of the caller.
    pub(crate) correlation: CorrelationId,
}

/// The way to the workers. They end when the last clone is gone.
pub(crate) struct Group<T, R>(mpsc::Sender<Call<T, R>>);

impl<T, R> Clone for Group<T, R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// The workers' end.
pub(crate) struct Inbox<T, R> {
    calls: mpsc::Receiver<Call<T, R>>,
    skips_left: bool,
    held_up: Duration,
}

/// A queue for work of one kind.
pub(crate) fn queue<T, R>() -> (Group<T, R>, Inbox<T, R>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let inbox = Inbox {
        calls: receiver,
        skips_left: false,
        held_up: HELD_UP,
    };
    (Group(sender), inbox)
}

impl<T: Send, R: Send> Group<T, R> {
    /// What comes of a piece of work; `None` when the worker went down with it, and
    /// it may or may not be done.
    pub(crate) async fn join(&self, work: T) -> Option<R> {
        let (reply, answer) = oneshot::channel();
        let call = Call {
            work,
            correlation: correlation::current(),
            reply,
        };
        self.0.send(call).await.ok()?;
        answer.await.ok()
    }
}

impl<T: Send + 'static, R: Send + 'static> Inbox<T, R> {
    /// Work whose caller has left by the time a worker comes to it is not done.
    pub(crate) fn skipping_left(self) -> Self {
        Self {
            skips_left: true,
            ..self
        }
    }

    /// Does what comes in until nothing can come any more. `together` gives one
    /// result a piece, in their order.
    pub(crate) async fn serve<W, F>(self, together: W) -> anyhow::Result<()>
    where
        W: Fn(Vec<Piece<T>>) -> F + Clone + Send + 'static,
        F: Future<Output = Vec<R>> + Send,
    {
        let (skips_left, held_up) = (self.skips_left, self.held_up);
        let calls = Arc::new(Mutex::new(self.calls));
        let mut workers = JoinSet::new();
        for _ in 0..WORKERS {
            let (calls, together) = (Arc::clone(&calls), together.clone());
            workers.spawn(async move {
                loop {
                    let mut turn = calls.lock().await;
                    let mut taken = Vec::new();
                    if turn.recv_many(&mut taken, MAX_TOGETHER).await == 0 {
                        return;
                    }
                    if skips_left {
                        taken.retain(|call| !call.reply.is_closed());
                    }
                    let (pieces, replies) = split(taken);
                    let mut working = pin!(together(pieces));
                    let results = match timeout(held_up, &mut working).await {
                        Ok(results) => results,
                        Err(_) => {
                            drop(turn);
                            working.await
                        }
                    };
                    for (reply, result) in replies.into_iter().zip(results) {
                        // Who has left does not hear it, which is fine.
                        drop(reply.send(result));
                    }
                }
            });
        }
        while let Some(ended) = workers.join_next().await {
            // A worker that panicked takes the process with it: what it knew of its
            // work is gone, and only the database can tell.
            ended?;
        }
        Ok(())
    }
}

/// The work of some calls, and where its results go.
fn split<T, R>(taken: Vec<Call<T, R>>) -> (Vec<Piece<T>>, Vec<oneshot::Sender<R>>) {
    let part = |call: Call<T, R>| {
        let piece = Piece {
            work: call.work,
            correlation: call.correlation,
        };
        (piece, call.reply)
    };
    taken.into_iter().map(part).unzip()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;
    use tokio::task::JoinHandle;

    use super::*;

    /// Workers that begin nothing but what a permit is given for. Each work's result is
    /// twice itself, and how many were done together.
    struct Gated {
        group: Group<u32, (u32, usize)>,
        gate: Arc<Semaphore>,
        begun: Arc<AtomicUsize>,
        serving: JoinHandle<anyhow::Result<()>>,
    }

    impl Gated {
        fn new(held_up: Duration) -> Self {
            let (group, inbox) = queue();
            let inbox = Inbox { held_up, ..inbox };
            let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
            let (held, counted) = (Arc::clone(&gate), Arc::clone(&begun));
            let serving = tokio::spawn(inbox.serve(move |pieces: Vec<Piece<u32>>| {
                counted.fetch_add(1, Ordering::Relaxed);
                let held = Arc::clone(&held);
                async move {
                    held.acquire().await.expect("it stays open").forget();
                    let together = pieces.len();
                    let done = pieces.into_iter();
                    done.map(|piece| (piece.work * 2, together)).collect()
                }
            }));
            Self {
                group,
                gate,
                begun,
                serving,
            }
        }

        fn ask(&self, work: u32) -> JoinHandle<Option<(u32, usize)>> {
            let group = self.group.clone();
            tokio::spawn(async move { group.join(work).await })
        }

        /// Waits until so many groups were begun.
        async fn begun(&self, groups: usize) {
            while self.begun.load(Ordering::Relaxed) < groups {
                tokio::task::yield_now().await;
            }
        }

        /// Waits until so many wait for a worker.
        async fn queued(&self, waiting: usize) {
            while self.group.0.capacity() > QUEUE - waiting {
                tokio::task::yield_now().await;
            }
        }

        /// Ends the workers, which began so many groups in all.
        async fn end(self, groups: usize) {
            assert_eq!(self.begun.load(Ordering::Relaxed), groups);
            drop(self.group);
            let served = self.serving.await.expect("it ends");
            served.expect("nothing failed");
        }
    }

    /// What comes while a worker is busy is left to it, and done together when it is
    /// done: nobody else begins anything before it is held up.
    #[tokio::test]
    async fn a_busy_worker_gets_the_crowd() {
        let workers = Gated::new(Duration::MAX);
        let first = workers.ask(1);
        workers.begun(1).await;
        let crowd: Vec<_> = (2..5).map(|work| workers.ask(work)).collect();
        workers.queued(3).await;
        workers.gate.add_permits(2);
        assert_eq!(first.await.expect("it ends"), Some((2, 1)));
        for (work, asked) in (2..5).zip(crowd) {
            assert_eq!(asked.await.expect("it ends"), Some((work * 2, 3)));
        }
        workers.end(2).await;
    }

    /// When a worker is held up another one goes on, and then what comes is done
    /// together; each caller gets its own result, and a caller that leaves stops nobody.
    #[tokio::test]
    async fn a_crowd_is_served_together() {
        let workers = Gated::new(Duration::ZERO);
        let mut first = Vec::new();
        for work in 0..2 {
            first.push(workers.ask(work));
            // Both workers take one each before the crowd comes.
            workers.begun(first.len()).await;
        }
        let crowd: Vec<_> = (10..20).map(|work| workers.ask(work)).collect();
        workers.queued(10).await;
        crowd[9].abort();
        workers.gate.add_permits(3);
        for (work, asked) in (0..).zip(first) {
            assert_eq!(asked.await.expect("it ends"), Some((work * 2, 1)));
        }
        for (work, asked) in (10..19).zip(crowd) {
            assert_eq!(asked.await.expect("it ends"), Some((work * 2, 10)));
        }
        workers.end(3).await;
    }

    /// Work that goes down with its worker is told to be uncertain.
    #[tokio::test]
    async fn a_worker_that_goes_down_leaves_doubt() {
        let (group, inbox) = queue::<u32, u32>();
        let serving = tokio::spawn(inbox.serve(|_| async { panic!("down") }));
        assert_eq!(group.join(1).await, None);
        assert!(serving.await.expect("it ends").is_err());
    }
}

//! Work that is done for many callers at once.
//!
//! While a worker is busy, what comes in gathers; when it is done, or held up for
//! longer than usual, the next one takes what is there. A lone caller is served at once
//! and a crowd together, with one commit or one call for all of it. What a batch costs is
//! mostly the same however many share it, so that in a crowd a worker waits a moment for
//! its part of it ([`Crowd`]), but never for somebody who is not on the way already. A
//! caller that leaves takes nothing back, unless the kind of work says otherwise.

mod crowd;

pub(crate) use crowd::Crowd;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bursar_status::correlation::{self, CorrelationId};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

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
/// How long a worker waits at most for its part of a crowd: less than the batch takes.
const PATIENCE: Duration = Duration::from_millis(10);
/// How often it looks meanwhile whether anybody is left to wait for.
const LOOK: Duration = Duration::from_millis(1);

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
pub(crate) struct Group<T, R> {
    calls: mpsc::Sender<Call<T, R>>,
    crowd: Crowd,
}

impl<T, R> Clone for Group<T, R> {
    fn clone(&self) -> Self {
        Self {
            calls: self.calls.clone(),
            crowd: self.crowd.clone(),
        }
    }
}

/// The workers' end.
pub(crate) struct Inbox<T, R> {
    turn: Turn<T, R>,
    skips_left: bool,
    held_up: Duration,
}

/// The right to take what comes next.
struct Turn<T, R> {
    calls: mpsc::Receiver<Call<T, R>>,
    crowd: Crowd,
    patience: Duration,
}

/// A queue for work of one kind, which those of a crowd come to.
pub(crate) fn queue<T, R>(crowd: &Crowd) -> (Group<T, R>, Inbox<T, R>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let group = Group {
        calls: sender,
        crowd: crowd.clone(),
    };
    let turn = Turn {
        calls: receiver,
        crowd: crowd.clone(),
        patience: PATIENCE,
    };
    let inbox = Inbox {
        turn,
        skips_left: false,
        held_up: HELD_UP,
    };
    (group, inbox)
}

impl<T: Send, R: Send> Group<T, R> {
    /// What comes of a piece of work; `None` when the worker went down with it, and
    /// it may or may not be done.
    pub(crate) async fn join(&self, work: T) -> Option<R> {
        let _present = self.crowd.enter();
        let (reply, answer) = oneshot::channel();
        let call = Call {
            work,
            correlation: correlation::current(),
            reply,
        };
        self.calls.send(call).await.ok()?;
        answer.await.ok()
    }
}

impl<T, R> Turn<T, R> {
    /// What is to be done together; nothing when nobody can come any more.
    async fn take(&mut self) -> Vec<Call<T, R>> {
        let mut taken = Vec::new();
        self.calls.recv_many(&mut taken, MAX_TOGETHER).await;
        let mut patience = pin!(sleep(self.patience));
        while taken.len() < MAX_TOGETHER && !self.crowd.is_gathered(taken.len()) {
            let room = MAX_TOGETHER - taken.len();
            tokio::select! {
                came = self.calls.recv_many(&mut taken, room) => {
                    if came == 0 {
                        break;
                    }
                }
                () = sleep(LOOK) => {}
                () = &mut patience => break,
            }
        }
        taken
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
        let turns = Arc::new(Mutex::new(self.turn));
        let mut workers = JoinSet::new();
        for _ in 0..WORKERS {
            let (turns, together) = (Arc::clone(&turns), together.clone());
            workers.spawn(async move {
                loop {
                    let mut turn = turns.lock().await;
                    let mut taken = turn.take().await;
                    if taken.is_empty() {
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
        fn new(crowd: &Crowd, patience: Duration, held_up: Duration) -> Self {
            let (group, inbox) = queue(crowd);
            let turn = Turn {
                patience,
                ..inbox.turn
            };
            let inbox = Inbox {
                turn,
                held_up,
                ..inbox
            };
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
            while self.group.calls.capacity() > QUEUE - waiting {
                tokio::task::yield_now().await;
            }
        }

        /// Waits until so many are there, and a worker has taken them.
        async fn taken(&self, present: usize) {
            while self.group.crowd.present() < present || self.group.calls.capacity() < QUEUE {
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
        let workers = Gated::new(&Crowd::new(), Duration::MAX, Duration::MAX);
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
        let workers = Gated::new(&Crowd::new(), Duration::MAX, Duration::ZERO);
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

    /// In a crowd a worker waits for its part of it, and for nobody who has left.
    #[tokio::test]
    async fn a_worker_waits_for_its_part_of_a_crowd() {
        let crowd = Crowd::new();
        let workers = Gated::new(&crowd, Duration::MAX, Duration::MAX);
        workers.gate.add_permits(2);
        let elsewhere: Vec<_> = (0..6).map(|_| crowd.enter()).collect();
        let first = workers.ask(1);
        workers.taken(7).await;
        let second = workers.ask(2);
        assert_eq!(first.await.expect("it ends"), Some((2, 2)));
        assert_eq!(second.await.expect("it ends"), Some((4, 2)));
        let third = workers.ask(3);
        workers.taken(7).await;
        drop(elsewhere);
        assert_eq!(third.await.expect("it ends"), Some((6, 1)));
        workers.end(2).await;
    }

    /// Nobody is waited for any longer than a moment.
    #[tokio::test]
    async fn patience_ends() {
        let crowd = Crowd::new();
        let workers = Gated::new(&crowd, Duration::ZERO, Duration::MAX);
        workers.gate.add_permits(1);
        let _elsewhere: Vec<_> = (0..6).map(|_| crowd.enter()).collect();
        let alone = workers.ask(1);
        assert_eq!(alone.await.expect("it ends"), Some((2, 1)));
        workers.end(1).await;
    }

    /// Work that goes down with its worker is told to be uncertain.
    #[tokio::test]
    async fn a_worker_that_goes_down_leaves_doubt() {
        let (group, inbox) = queue::<u32, u32>(&Crowd::new());
        let serving = tokio::spawn(inbox.serve(|_| async { panic!("down") }));
        assert_eq!(group.join(1).await, None);
        assert!(serving.await.expect("it ends").is_err());
    }
}

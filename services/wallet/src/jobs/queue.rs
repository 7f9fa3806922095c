//! Where calls wait for a writer.
//!
//! The queue is what makes batches: while the writers are busy calls gather in
//! it, and a writer that is done takes what is there. Nobody waits on purpose,
//! so a lone call is written at once and a crowd is written together.
//!
//! The bound is on postings, waiting and under way alike. A call beyond it is
//! refused at once: a longer queue would only let every caller's deadline pass.
//! A caller that leaves takes nothing back: its call stays in the queue and is
//! written like any other, unless its deadline passes before a writer comes to
//! it. So whoever lost an answer knows that, a short while after its deadline,
//! the call is in the ledger or never will be.

use std::sync::Arc;
use std::time::Instant;

use bursar_status::correlation::{self, CorrelationId};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tracing::Span;

use crate::domain::batch::{Mode, Outcome};
use crate::domain::posting::Posting;
use crate::error::Error;

/// How many postings a batch has at most, unless one call alone has more.
const MAX_BATCH_POSTINGS: usize = 200;

/// The postings of a call, and what its events say of it.
#[derive(Debug)]
pub struct Order {
    /// The postings, 1 to 1,000.
    pub postings: Vec<Posting>,
    /// Whether they stand or fall together.
    pub mode: Mode,
    /// Who is behind them.
    pub actor: String,
    /// After when the postings shall no longer be applied.
    pub deadline: Instant,
}

/// Who asked for postings, for the events that tell of them.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) actor: String,
    pub(super) correlation: CorrelationId,
    pub(super) span: Span,
}

/// An order in the queue.
pub(super) struct Call {
    pub(super) postings: Vec<Posting>,
    pub(super) mode: Mode,
    pub(super) origin: Origin,
    pub(super) deadline: Instant,
    reply: oneshot::Sender<Result<Vec<Outcome>, Error>>,
    _room: Room,
}

/// A call's share of the queue's bound, given back when the call is answered.
struct Room(OwnedSemaphorePermit);

impl Room {
    fn new(permits: OwnedSemaphorePermit) -> Self {
        gauge().increment(size(&permits));
        Self(permits)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        gauge().decrement(size(&self.0));
    }
}

/// How many postings wait or are under way.
fn gauge() -> metrics::Gauge {
    metrics::gauge!("bursar_ledger_queued_postings")
}

fn size(permits: &OwnedSemaphorePermit) -> f64 {
    u32::try_from(permits.num_permits()).map_or(f64::INFINITY, f64::from)
}

impl Call {
    /// Tells the caller. One that has left does not hear it, which is fine.
    pub(super) fn answer(self, result: Result<Vec<Outcome>, Error>) {
        let _ = self.reply.send(result);
    }
}

/// The way into the ledger. Cheap to clone; the writers end when the last
/// clone is gone and the queue is empty.
#[derive(Clone)]
pub struct Ledger {
    calls: mpsc::UnboundedSender<Call>,
    room: Arc<Semaphore>,
}

/// The other end of the queue.
pub struct Inbox(Mutex<Queue>);

struct Queue {
    calls: mpsc::UnboundedReceiver<Call>,
    /// A call that did not fit the last batch.
    next: Option<Call>,
}

/// A queue for at most `max_postings` postings.
pub fn queue(max_postings: u32) -> (Ledger, Inbox) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let ledger = Ledger {
        calls: sender,
        room: Arc::new(Semaphore::new(max_postings as usize)),
    };
    let inbox = Inbox(Mutex::new(Queue {
        calls: receiver,
        next: None,
    }));
    (ledger, inbox)
}

impl Ledger {
    /// Posts an order and waits for what becomes of it: one outcome a posting.
    pub async fn post(&self, order: Order) -> Result<Vec<Outcome>, Error> {
        let postings = u32::try_from(order.postings.len()).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room)
            .try_acquire_many_owned(postings)
            .map_err(|_| Error::LedgerOverloaded)?;
        let (reply, answer) = oneshot::channel();
        let call = Call {
            postings: order.postings,
            mode: order.mode,
            origin: Origin {
                actor: order.actor,
                correlation: correlation::current(),
                span: Span::current(),
            },
            deadline: order.deadline,
            reply,
            _room: Room::new(room),
        };
        self.calls
            .send(call)
            .map_err(|_| Error::LedgerUnavailable)?;
        // A writer that went down with the call may have committed it before.
        answer.await.unwrap_or(Err(Error::LedgerUnavailable))
    }
}

impl Inbox {
    /// The next batch: what is queued now, in order, up to the bound. Waits
    /// for a first call; `None` when none can come any more.
    pub(super) async fn take(&self) -> Option<Vec<Call>> {
        let mut queue = self.0.lock().await;
        let first = match queue.next.take() {
            Some(call) => call,
            None => queue.calls.recv().await?,
        };
        let mut postings = first.postings.len();
        let mut calls = vec![first];
        while let Ok(call) = queue.calls.try_recv() {
            postings += call.postings.len();
            if postings > MAX_BATCH_POSTINGS {
                queue.next = Some(call);
                break;
            }
            calls.push(call);
        }
        Some(calls)
    }
}

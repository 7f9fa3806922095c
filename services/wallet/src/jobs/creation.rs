//! Opens users' wallets, many at once.
//!
//! Calls wait in a queue; the one writer takes what is there and opens all of it
//! in one transaction:
//!
//! ```text
//! BEGIN
//! SELECT pg_advisory_xact_lock(…) …   the owners, in the order of their locks
//! SELECT count(*) …                   how many wallets each of them has
//! INSERT INTO idempotency_keys …      with the answers, which are known already
//! INSERT INTO wallets …
//! INSERT INTO event_batches …
//! COMMIT
//! ```
//!
//! Nobody waits on purpose, so a lone call is served at once.
//!
//! Whatever a batch cannot settle is settled by `single`, in a transaction of its
//! own: a key that was used before, a key that is twice
//! in the batch, and every call of a batch that the database refuses.
//!
//! Locks: first the owners, whom a batch locks in one order for all replicas,
//! then their keys. A key belongs to its owner, so whoever holds an owner's lock
//! waits for none of the owner's keys, and nobody waits in a circle. The lock
//! makes counting an owner's wallets and adding one a single step.

mod single;

use std::collections::HashSet;

use bursar_aip::id::{TenantId, UserId, WalletId};
use bursar_aip::idempotency::{self, Answer, Answered, Key, Scope};
use bursar_contracts::wallet::v1::CreateWalletResponse;
use bursar_events::{Event, append_locked};
use bursar_money::Currency;
use bursar_server::{crash_point, database, now};
use bursar_status::correlation::{self, CorrelationId};
use futures::{StreamExt, stream};
use sqlx::{PgConnection, PgPool};
use tokio::sync::{mpsc, oneshot};
use tonic::{Response, Status};
use tracing::{Instrument, Span};

use crate::contract::{event, wallet};
use crate::domain::wallet::Wallet;
use crate::error::Error;
use crate::store::wallets::{self, Owner};

/// How many calls may wait; further ones wait for room until their deadline.
const QUEUE_CALLS: usize = 1_024;
/// How many wallets a batch opens at most.
const MAX_BATCH: usize = 200;
/// How many of a batch's calls that have to be served alone are served at once.
const ALONE_AT_ONCE: usize = 4;

type Reply = Result<Response<CreateWalletResponse>, Status>;

/// A wallet that is to be opened, and for whom.
#[derive(Debug, Clone)]
pub(crate) struct Opening {
    pub(crate) tenant: TenantId,
    pub(crate) owner: UserId,
    pub(crate) currency: Currency,
    pub(crate) actor: String,
    pub(crate) keyed: Option<Keyed>,
}

/// The caller's idempotency key, with what it is bound to.
#[derive(Debug, Clone)]
pub(crate) struct Keyed {
    pub(crate) key: Key,
    pub(crate) principal: String,
    pub(crate) method: &'static str,
    pub(crate) fingerprint: [u8; 32],
}

impl Opening {
    fn scope(&self) -> Option<Scope<'_>> {
        self.keyed.as_ref().map(|keyed| Scope {
            tenant: &self.tenant,
            principal: &keyed.principal,
            method: keyed.method,
            key: &keyed.key,
        })
    }
}

/// An opening in the queue, and who asked for it.
struct Call {
    opening: Opening,
    correlation: CorrelationId,
    span: Span,
    reply: oneshot::Sender<Reply>,
}

/// The way to the writer. The writer ends when the last clone is gone and the
/// queue is empty.
#[derive(Clone)]
pub(crate) struct Openings(mpsc::Sender<Call>);

/// The other end of the queue.
pub(crate) struct Inbox(mpsc::Receiver<Call>);

/// A queue for openings.
pub(crate) fn queue() -> (Openings, Inbox) {
    let (sender, receiver) = mpsc::channel(QUEUE_CALLS);
    (Openings(sender), Inbox(receiver))
}

impl Openings {
    /// Opens a wallet. A caller that leaves takes nothing back once its call is
    /// in the queue.
    pub(crate) async fn open(&self, opening: Opening) -> Reply {
        let (reply, answer) = oneshot::channel();
        let call = Call {
            opening,
            correlation: correlation::current(),
            span: Span::current(),
            reply,
        };
        // The writer went down, with what it was about to open.
        let gone = || Status::from(Error::Database(sqlx::Error::WorkerCrashed));
        if self.0.send(call).await.is_err() {
            return Err(gone());
        }
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// Opens what comes through `inbox` until nothing can come any more. A user may
/// own `max_per_user` wallets.
pub(crate) async fn run(inbox: Inbox, pool: PgPool, max_per_user: u32) -> anyhow::Result<()> {
    let mut calls = inbox.0;
    let mut batch = Vec::with_capacity(MAX_BATCH);
    while calls.recv_many(&mut batch, MAX_BATCH).await > 0 {
        let span = tracing::info_span!("wallets.open", calls = batch.len());
        serve(std::mem::take(&mut batch), &pool, max_per_user)
            .instrument(span)
            .await;
    }
    Ok(())
}

/// Serves calls together, and those that cannot be served so one by one, beside
/// the next batch.
async fn serve(calls: Vec<Call>, pool: &PgPool, max_per_user: u32) {
    let (mut together, mut alone) = without_twins(calls);
    while !together.is_empty() {
        match open_together(&together, pool, max_per_user).await {
            Ok(replies) => {
                for (call, reply) in together.drain(..).zip(replies) {
                    // Who has left does not hear it, which is fine.
                    drop(call.reply.send(reply));
                }
            }
            Err(Failure::Used(was_used)) => {
                let mut was_used = was_used.into_iter();
                let (used, rest) = together
                    .into_iter()
                    .partition(|_| was_used.next().unwrap_or_default());
                alone.extend::<Vec<Call>>(used);
                together = rest;
            }
            Err(Failure::Before(error)) => {
                tracing::warn!(%error, calls = together.len(), "wallets are opened one by one");
                alone.append(&mut together);
            }
            Err(Failure::AtCommit(error)) => {
                // It may have happened: a caller with a key can find out by
                // asking again, and nobody else may be given a second wallet.
                tracing::error!(%error, calls = together.len(), "wallets may not be open");
                for call in together.drain(..) {
                    let unknown = Error::Database(sqlx::Error::WorkerCrashed);
                    drop(call.reply.send(Err(unknown.into())));
                }
            }
        }
    }
    if !alone.is_empty() {
        tokio::spawn(serve_alone(alone, pool.clone(), max_per_user));
    }
}

async fn serve_alone(calls: Vec<Call>, pool: PgPool, max_per_user: u32) {
    let pool = &pool;
    stream::iter(calls)
        .for_each_concurrent(ALONE_AT_ONCE, async |call| {
            let opened = single::open(pool, &call.opening, max_per_user).instrument(call.span);
            let reply = correlation::scope(call.correlation, opened).await;
            drop(call.reply.send(reply));
        })
        .await;
}

/// Parts off the calls whose key an earlier one has: they are to find its answer.
fn without_twins(calls: Vec<Call>) -> (Vec<Call>, Vec<Call>) {
    let mut seen: HashSet<(TenantId, String, Key)> = HashSet::new();
    calls.into_iter().partition(|call| {
        let opening = &call.opening;
        opening.keyed.as_ref().is_none_or(|keyed| {
            seen.insert((
                opening.tenant.clone(),
                keyed.principal.clone(),
                keyed.key.clone(),
            ))
        })
    })
}

/// Why a batch was not written.
enum Failure {
    /// Some keys were used before; says of each call whether its key was. The
    /// others may have been decided on wallets that are not opened now, so
    /// nothing of the batch happened.
    Used(Vec<bool>),
    /// Nothing of it happened.
    Before(sqlx::Error),
    /// It may have happened.
    AtCommit(sqlx::Error),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Before(error)
    }
}

/// A user owns as many wallets as a user may.
#[derive(Debug, Clone, Copy)]
struct Full {
    limit: u32,
}

impl From<Full> for Status {
    fn from(full: Full) -> Self {
        Error::WalletLimitReached { limit: full.limit }.into()
    }
}

/// A wallet for a call, or the refusal.
type Decided = Result<Wallet, Full>;

/// Opens wallets in one transaction; the replies in the order of the calls.
async fn open_together(
    calls: &[Call],
    pool: &PgPool,
    max_per_user: u32,
) -> Result<Vec<Reply>, Failure> {
    let mut transaction = database::begin(pool).await?;
    let decided = decide(&mut transaction, calls, max_per_user).await?;
    let was_used = claim(&mut transaction, calls, &decided).await?;
    if was_used.contains(&true) {
        transaction.rollback().await?;
        return Err(Failure::Used(was_used));
    }
    let opened: Vec<&Wallet> = decided.iter().filter_map(|d| d.as_ref().ok()).collect();
    wallets::insert_many(&mut transaction, &opened).await?;
    append_locked(&mut transaction, &events(calls, &decided).await).await?;
    crash_point!("creation.before_commit");
    transaction.commit().await.map_err(Failure::AtCommit)?;
    crash_point!("creation.after_commit");
    Ok(decided.iter().map(reply).collect())
}

/// Locks the owners and decides the calls in their order.
async fn decide(
    conn: &mut PgConnection,
    calls: &[Call],
    max_per_user: u32,
) -> Result<Vec<Decided>, sqlx::Error> {
    let owner = |call: &Call| (call.opening.tenant.clone(), call.opening.owner);
    let owners: HashSet<Owner> = calls.iter().map(owner).collect();
    let owners: Vec<Owner> = owners.into_iter().collect();
    wallets::lock_owners(conn, &owners).await?;
    let limit = i64::from(max_per_user);
    let mut owned = wallets::counts(conn, &owners, limit).await?;
    let now = now();
    let decided = calls.iter().map(|call| {
        let count = owned.entry(owner(call)).or_default();
        if *count >= limit {
            return Err(Full {
                limit: max_per_user,
            });
        }
        *count += 1;
        let opening = &call.opening;
        Ok(Wallet::open(
            WalletId::generate(),
            opening.tenant.clone(),
            opening.owner,
            opening.currency,
            now,
        ))
    });
    Ok(decided.collect())
}

/// Claims the calls' keys and records their answers; says of each call whether
/// its key was used before.
async fn claim(
    conn: &mut PgConnection,
    calls: &[Call],
    decided: &[Decided],
) -> Result<Vec<bool>, sqlx::Error> {
    let mut was_used = vec![false; calls.len()];
    let (places, answered): (Vec<usize>, Vec<Answered<'_>>) = calls
        .iter()
        .zip(decided)
        .enumerate()
        .filter_map(|(place, (call, decided))| {
            let answered = Answered {
                scope: call.opening.scope()?,
                fingerprint: call.opening.keyed.as_ref()?.fingerprint,
                answer: answer(decided),
            };
            Some((place, answered))
        })
        .unzip();
    if !answered.is_empty() {
        let free = idempotency::answer_all(conn, &answered, now()).await?;
        for (place, was_free) in places.into_iter().zip(free) {
            was_used[place] = !was_free;
        }
    }
    Ok(was_used)
}

/// The event of each wallet, with the correlation id and the trace of the call
/// that it came with.
async fn events(calls: &[Call], decided: &[Decided]) -> Vec<Event> {
    let mut events = Vec::with_capacity(calls.len());
    for (call, decided) in calls.iter().zip(decided) {
        if let Ok(wallet) = decided {
            let actor = call.opening.actor.clone();
            let made = async { call.span.in_scope(|| event::created(wallet, actor)) };
            events.push(correlation::scope(call.correlation.clone(), made).await);
        }
    }
    events
}

fn response(opened: &Wallet) -> CreateWalletResponse {
    CreateWalletResponse {
        wallet: Some(wallet::wallet(opened)),
    }
}

fn reply(decided: &Decided) -> Reply {
    match decided {
        Ok(wallet) => Ok(Response::new(response(wallet))),
        Err(full) => Err((*full).into()),
    }
}

fn answer(decided: &Decided) -> Answer {
    match decided {
        Ok(wallet) => Answer::response(&response(wallet)),
        Err(full) => Answer::error(&(*full).into()),
    }
}

//! The writers: they turn queued calls into committed batches.
//!
//! Two of them take turns at the queue, so that one gathers and decides while
//! the other waits for the disk; a third made it slower. A batch is one
//! transaction, described in `batch`. What can happen to it:
//!
//! | what | then |
//! |---|---|
//! | it commits | the cache shows it, then each caller gets its own results |
//! | a deadlock, a serialization failure, a lost connection, a posting id that another batch has just used | the whole batch again, with the same ids, a bounded number of times; then UNAVAILABLE |
//! | the connection is lost while it commits | the same: if it did commit, the second try finds the postings and answers with their results |
//! | the database refuses it for another reason | each call of it in a batch of its own, so that one poisoned posting does not fail its neighbours; an independent call is cut into its postings too |
//!
//! A rejected posting is a result like any other and leaves no trace: its id
//! may be tried again.

mod batch;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bursar_aip::id::WalletId;
use bursar_server::{crash_point, database};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::task::JoinSet;
use tracing::Instrument;

use self::batch::Part;
use super::queue::{Call, Inbox};
use crate::cache::WalletCache;
use crate::domain::batch::{Mode, Outcome, system_accounts_of};
use crate::domain::book::SpendOrder;
use crate::error::Error;
use crate::store::wallets::{self, SystemWallet};

/// How many batches are under way at once.
const WRITERS: usize = 2;
/// How often a batch is tried, and how long before it is tried again the first
/// time; the wait doubles with each.
const MAX_ATTEMPTS: u32 = 6;
const FIRST_BACKOFF: Duration = Duration::from_millis(10);
/// How long a writer waits for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How many wallets of the platform a writer remembers to be open.
const MAX_KNOWN_SYSTEM_WALLETS: usize = 10_000;
/// What a writer's session has besides the pool's settings. All its statements
/// reach rows by key, whatever the planner thinks of tables that were empty when
/// it last looked. The time limits bound how long after its callers' deadlines
/// a batch can still commit.
const SESSION: &str = "SET enable_seqscan = off; SET enable_hashjoin = off; \
    SET enable_mergejoin = off; SET plan_cache_mode = force_generic_plan; \
    SET lock_timeout = '2s'; SET statement_timeout = '5s'";

/// What the writers do besides writing, and by which rules.
#[derive(Clone)]
pub struct Settings {
    spend_order: SpendOrder,
    cache: Option<WalletCache>,
}

impl From<SpendOrder> for Settings {
    fn from(spend_order: SpendOrder) -> Self {
        Self {
            spend_order,
            cache: None,
        }
    }
}

impl Settings {
    /// Writers that show in `cache` what they committed.
    pub(crate) fn showing(self, cache: WalletCache) -> Self {
        Self {
            cache: Some(cache),
            ..self
        }
    }
}

/// Writes what comes through `inbox` until nothing can come any more.
pub async fn run(inbox: Inbox, pool: PgPool, settings: impl Into<Settings>) -> anyhow::Result<()> {
    let settings = settings.into();
    let inbox = Arc::new(inbox);
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let inbox = Arc::clone(&inbox);
        let mut writer = Writer {
            pool: pool.clone(),
            connection: None,
            open_system_wallets: HashSet::new(),
            settings: settings.clone(),
        };
        writers.spawn(async move {
            while let Some(calls) = inbox.take().await {
                crash_point!("ledger.after_take");
                writer.serve(calls).await;
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        // A writer that panicked takes the process with it: what it knew of
        // its batch is gone, and only the database can tell.
        ended?;
    }
    Ok(())
}

struct Writer {
    pool: PgPool,
    /// The writer's own connection, so that readers cannot make it wait. `None`
    /// before the first batch and after a failure.
    connection: Option<PgConnection>,
    /// Wallets of the platform that are known to be open.
    open_system_wallets: HashSet<WalletId>,
    settings: Settings,
}

/// Why a batch was not written.
enum Failure {
    /// It may be written later, and for all we know it was.
    Transient,
    /// The database refuses it.
    Refused(sqlx::Error),
}

impl Writer {
    /// Writes calls as one batch and answers each.
    async fn serve(&mut self, calls: Vec<Call>) {
        let now = Instant::now();
        let (calls, late): (Vec<_>, Vec<_>) =
            calls.into_iter().partition(|call| call.deadline > now);
        for call in late {
            call.answer(Err(Error::LedgerTooLate));
        }
        if calls.is_empty() {
            return;
        }
        let span = tracing::info_span!("ledger.batch", calls = calls.len());
        let results = self.settle(&calls).instrument(span).await;
        metrics::histogram!("bursar_ledger_batch_duration_seconds").record(now.elapsed());
        for (call, result) in calls.into_iter().zip(results) {
            count(&result);
            call.answer(result);
            crash_point!("ledger.after_answer");
        }
    }

    /// What becomes of each call.
    async fn settle(&mut self, calls: &[Call]) -> Vec<Result<Vec<Outcome>, Error>> {
        let parts: Vec<Part<'_>> = calls.iter().map(Part::whole).collect();
        match self.write(&parts, latest_deadline(calls)).await {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            Err(Failure::Transient) => calls
                .iter()
                .map(|_| Err(Error::LedgerUnavailable))
                .collect(),
            Err(Failure::Refused(error)) => {
                tracing::warn!(%error, calls = calls.len(), "a batch was refused; writing its calls one by one");
                let mut results = Vec::with_capacity(calls.len());
                for call in calls {
                    results.push(self.settle_alone(call).await);
                }
                results
            }
        }
    }

    /// What becomes of a call whose batch was refused. The postings of an
    /// independent call are written one by one: those that can be are in the
    /// ledger even if another one makes the call fail, and posting them again
    /// returns their results.
    async fn settle_alone(&mut self, call: &Call) -> Result<Vec<Outcome>, Error> {
        let parts: Vec<Part<'_>> = match call.mode {
            Mode::Atomic => vec![Part::whole(call)],
            Mode::Independent => (0..call.postings.len())
                .map(|index| Part::one(call, index))
                .collect(),
        };
        let mut outcomes = Vec::with_capacity(call.postings.len());
        let mut failure = None;
        for part in parts {
            match self.write(&[part], call.deadline).await {
                Ok(written) => outcomes.extend(written.into_iter().flatten()),
                Err(Failure::Transient) => return Err(Error::LedgerUnavailable),
                Err(Failure::Refused(error)) => failure = Some(error),
            }
        }
        match failure {
            None => Ok(outcomes),
            Some(error) => Err(Error::Database(error)),
        }
    }

    /// Writes a batch, trying again while that may help and `deadline` is not past.
    async fn write(
        &mut self,
        parts: &[Part<'_>],
        deadline: Instant,
    ) -> Result<Vec<Vec<Outcome>>, Failure> {
        let mut backoff = FIRST_BACKOFF;
        for attempt in 1..=MAX_ATTEMPTS {
            let error = match self.try_write(parts).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(error) => error,
            };
            if !database::is_retryable(&error) {
                // In whatever state the connection is, nobody needs it.
                self.connection = None;
            }
            if !is_transient(&error) {
                return Err(Failure::Refused(error));
            }
            tracing::warn!(%error, attempt, "a batch could not be written");
            if Instant::now() >= deadline {
                break;
            }
            tokio::time::sleep(backoff).await;
            backoff *= 2;
        }
        Err(Failure::Transient)
    }

    async fn try_write(&mut self, parts: &[Part<'_>]) -> Result<Vec<Vec<Outcome>>, sqlx::Error> {
        if self.connection.is_none() {
            self.connection = Some(connect(&self.pool).await?);
            // Another connection may lead to another database: a restored one.
            self.open_system_wallets.clear();
        }
        let connection = self
            .connection
            .as_mut()
            .expect("it was made just now if there was none");
        open_system_wallets(connection, &mut self.open_system_wallets, parts).await?;
        let written = batch::write(connection, parts, self.settings.spend_order).await?;
        if let Some(cache) = &self.settings.cache {
            cache.committed(&written.wallets).await;
            crash_point!("ledger.after_cache");
        }
        Ok(written.outcomes)
    }
}

/// A connection for a writer, with the settings of the pool but not from it:
/// the pool waits for a database that is away, and the callers could not.
async fn connect(pool: &PgPool) -> Result<PgConnection, sqlx::Error> {
    let options = pool.connect_options();
    let connecting = PgConnection::connect_with(&options);
    let mut connection = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
        .await
        .map_err(|_| sqlx::Error::PoolTimedOut)??;
    sqlx::raw_sql(SESSION).execute(&mut connection).await?;
    Ok(connection)
}

/// Opens the wallets of the platform that a batch is the first to touch, in a
/// transaction of its own: it is idempotent, and the batch can then lock them in
/// their place among the others.
async fn open_system_wallets(
    connection: &mut PgConnection,
    open: &mut HashSet<WalletId>,
    parts: &[Part<'_>],
) -> Result<(), sqlx::Error> {
    let postings = parts.iter().flat_map(|part| part.postings);
    let mut missing = BTreeMap::new();
    for posting in postings {
        for (id, account) in system_accounts_of(posting) {
            if !open.contains(&id) {
                missing.insert(
                    id,
                    SystemWallet {
                        id,
                        tenant: &posting.tenant,
                        account,
                    },
                );
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let wallets: Vec<SystemWallet<'_>> = missing.values().copied().collect();
    crash_point!("ledger.before_open_system");
    wallets::open_system(connection, &wallets, bursar_server::now()).await?;
    crash_point!("ledger.after_open_system");
    if open.len() > MAX_KNOWN_SYSTEM_WALLETS {
        open.clear();
    }
    open.extend(missing.into_keys());
    Ok(())
}

/// Counts postings by what became of them.
fn count(result: &Result<Vec<Outcome>, Error>) {
    let Ok(outcomes) = result else {
        metrics::counter!("bursar_ledger_failed_calls_total").increment(1);
        return;
    };
    let (mut applied, mut replayed, mut rejected) = (0, 0, 0);
    for outcome in outcomes {
        match outcome {
            Outcome::Applied(_) => applied += 1,
            Outcome::Replayed(_) => replayed += 1,
            Outcome::Rejected(_) => rejected += 1,
        }
    }
    for (name, count) in [
        ("applied", applied),
        ("replayed", replayed),
        ("rejected", rejected),
    ] {
        if count > 0 {
            metrics::counter!("bursar_ledger_postings_total", "outcome" => name).increment(count);
        }
    }
}

fn latest_deadline(calls: &[Call]) -> Instant {
    let deadlines = calls.iter().map(|call| call.deadline);
    deadlines.max().unwrap_or_else(Instant::now)
}

/// True when the same batch may succeed if it is tried again.
fn is_transient(error: &sqlx::Error) -> bool {
    database::is_unavailable(error)
        || database::is_retryable(error)
        || is_taken_id(error)
        || is_timed_out(error)
}

/// Another batch has just used the id of a posting, hold or grant. The next try sees it.
fn is_taken_id(error: &sqlx::Error) -> bool {
    matches!(
        database::constraint(error),
        Some("postings_pkey" | "holds_pkey" | "bonus_grants_pkey")
    )
}

/// 55P03: a lock was not to be had in time. 57014: a statement took too long.
fn is_timed_out(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(|database| database.code())
        .is_some_and(|code| code == "55P03" || code == "57014")
}

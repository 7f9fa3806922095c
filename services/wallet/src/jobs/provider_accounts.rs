//! Opens accounts at the provider, and settles what a lost answer left unknown.
//!
//! An account that is asked for is a committed row before anything is sent. A run
//! takes its lease, asks the provider outside of any transaction, and commits
//! what it learned by compare-and-set:
//!
//! | the provider | the account |
//! |---|---|
//! | opened it, or knows that it did | active |
//! | declined | failed |
//! | was not reached, or turned us away | is tried again, the delay doubling |
//! | may have been reached | is asked about, before anything is sent again |
//! | does not know it, after its window | is sent again, or given up when too old |
//!
//! The first run is no other than those after it: whoever records an account only
//! wakes the job. A run that is cut off anywhere leaves a lease that lapses; the
//! next one finds the note that a request was sent, and asks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bursar_events::append_locked;
use bursar_server::{crash_point, database};
use bursar_status::correlation::{self, CorrelationId};
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::contract::provider_account as contract;
use crate::domain::provider_account::{Failure, Next};
use crate::providers::{AccountProvider, OpenAccount, OpenedAccount, ProviderError, Vault};
use crate::store::provider_accounts::leases::{self, Claimed, NUMBER_TAKEN, Opened};
use crate::store::provider_accounts::pending;

/// How often it looks for what is due, beside when it is woken.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many accounts it works on at once.
const CONCURRENCY: usize = 8;
/// How long a run may ask the provider.
const RUN_TIME: Duration = Duration::from_secs(40);
/// How long its lease lasts: longer than the run, so that only a process that
/// stood still is overtaken.
const LEASE_TIME: Duration = Duration::from_secs(60);
/// How long after it was claimed a run may still begin to send. A process that
/// stood still meanwhile must not send what another may be asking about.
const SEND_WITHIN: Duration = Duration::from_secs(30);
/// How often what is pending is counted.
const COUNT_INTERVAL: Duration = Duration::from_secs(15);

/// What the job works with.
#[derive(Clone)]
pub struct Desk {
    /// The database.
    pub pool: PgPool,
    /// Who opens accounts.
    pub provider: Arc<dyn AccountProvider>,
    /// The key of what is personal.
    pub vault: Arc<Vault>,
    /// Wakes the job when something was recorded.
    pub wake: Arc<Notify>,
}

/// What a run learned.
enum Learned {
    Opened(OpenedAccount),
    Failed(Failure),
    /// Nothing that settles it: look again after this.
    Nothing(Duration),
    /// Another run has it.
    Overtaken,
}

/// Runs until the process ends. Then nothing new is claimed, and what is under
/// way is finished.
pub async fn run(desk: Desk, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut running = JoinSet::new();
    let mut counted_at: Option<Instant> = None;
    while !shutdown.is_cancelled() {
        match claim(&desk, CONCURRENCY.saturating_sub(running.len())).await {
            Ok(claimed) => {
                for account in claimed {
                    running.spawn(work(desk.clone(), account));
                }
            }
            Err(error) => tracing::warn!(%error, "accounts that are due cannot be claimed now"),
        }
        if counted_at.is_none_or(|at| at.elapsed() >= COUNT_INTERVAL) {
            counted_at = Some(Instant::now());
            if let Err(error) = count(&desk).await {
                tracing::warn!(%error, "pending accounts cannot be counted now");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = desk.wake.notified() => {}
            Some(_) = running.join_next() => {}
            () = shutdown.cancelled() => {}
        }
        while running.try_join_next().is_some() {}
    }
    while running.join_next().await.is_some() {}
    Ok(())
}

async fn claim(desk: &Desk, free: usize) -> Result<Vec<Claimed>, sqlx::Error> {
    let limit = i64::try_from(free).unwrap_or(i64::MAX);
    if limit == 0 {
        return Ok(Vec::new());
    }
    let mut conn = desk.pool.acquire().await?;
    let claimed = leases::take_due(&mut conn, desk.provider.name(), LEASE_TIME, limit).await?;
    if !claimed.is_empty() {
        crash_point!("provider_account.after_claim");
    }
    Ok(claimed)
}

async fn count(desk: &Desk) -> Result<(), sqlx::Error> {
    let provider = desk.provider.name();
    let mut conn = desk.pool.acquire().await?;
    let (pending, oldest_seconds) = pending(&mut conn, provider).await?;
    let gauge = |name, value: i64| {
        let value = f64::from(i32::try_from(value).unwrap_or(i32::MAX));
        metrics::gauge!(name, "provider" => provider.name()).set(value);
    };
    gauge("bursar_wallet_provider_accounts_pending", pending);
    gauge(
        "bursar_wallet_provider_accounts_oldest_pending_seconds",
        oldest_seconds,
    );
    Ok(())
}

/// Works on one account, under the correlation id of its request.
async fn work(desk: Desk, claimed: Claimed) {
    let correlation =
        CorrelationId::parse(&claimed.correlation_id).unwrap_or_else(CorrelationId::generate);
    correlation::scope(correlation, settle(&desk, &claimed)).await;
}

/// Asks the provider and commits what it said.
#[tracing::instrument(name = "provider_accounts.settle", skip_all)]
async fn settle(desk: &Desk, claimed: &Claimed) {
    let asked = tokio::time::timeout(RUN_TIME, ask(desk, claimed)).await;
    let learned = match asked {
        Ok(Ok(learned)) => learned,
        Ok(Err(error)) => {
            tracing::warn!(provider_account_id = %claimed.id, %error, "it is tried again");
            Learned::Nothing(delay(claimed))
        }
        Err(_) => Learned::Nothing(delay(claimed)),
    };
    let outcome = match &learned {
        Learned::Opened(_) => "opened",
        Learned::Failed(_) => "failed",
        Learned::Nothing(_) => "unsettled",
        Learned::Overtaken => "overtaken",
    };
    metrics::counter!(
        "bursar_wallet_provider_account_runs_total",
        "provider" => claimed.provider.name(),
        "outcome" => outcome,
    )
    .increment(1);
    match commit(desk, claimed, learned).await {
        Ok(true) => tracing::info!(provider_account_id = %claimed.id, outcome, "asked"),
        Ok(false) => tracing::info!(provider_account_id = %claimed.id, "overtaken"),
        // The lease lapses, and the next run asks the provider.
        Err(error) => tracing::warn!(
            provider_account_id = %claimed.id, %error, "what the provider said is not recorded"
        ),
    }
}

/// Asks the provider, as the account's progress says.
async fn ask(desk: &Desk, claimed: &Claimed) -> anyhow::Result<Learned> {
    let begun = Instant::now();
    let terms = desk.provider.terms();
    let order = OpenAccount {
        reference: claimed.id,
        wallet: claimed.wallet,
        currency: claimed.currency,
        holder: desk.vault.open_holder(claimed.id, &claimed.holder_sealed)?,
    };
    let next = match claimed.progress.begin(&terms) {
        Next::Ask => match look(desk, &order).await {
            Ok(Some(opened)) => return Ok(Learned::Opened(opened)),
            Ok(None) => claimed.progress.unknown_to_provider(&terms, jitter()),
            Err(error) => return Ok(learned_from(claimed, error)),
        },
        next => next,
    };
    match next {
        Next::GiveUp => Ok(Learned::Failed(Failure::Unavailable)),
        Next::Ask => Ok(Learned::Nothing(delay(claimed))),
        Next::Wait(delay) => Ok(Learned::Nothing(delay)),
        Next::Send => {
            let mut conn = desk.pool.acquire().await?;
            crash_point!("provider_account.before_note");
            let noted = leases::note_request(&mut conn, claimed).await?;
            drop(conn);
            crash_point!("provider_account.after_note");
            if !noted || begun.elapsed() > SEND_WITHIN {
                return Ok(Learned::Overtaken);
            }
            send(desk, claimed, &order).await
        }
    }
}

/// Asks the provider what became of a request.
async fn look(desk: &Desk, order: &OpenAccount) -> Result<Option<OpenedAccount>, ProviderError> {
    crash_point!("provider_account.before_look");
    let found = desk.provider.find_account(order).await;
    crash_point!("provider_account.after_look");
    found
}

/// Sends the request. What was not sent for certain is not noted any more.
async fn send(desk: &Desk, claimed: &Claimed, order: &OpenAccount) -> anyhow::Result<Learned> {
    let answer = desk.provider.open_account(order).await;
    crash_point!("provider_account.after_send");
    match answer {
        Ok(opened) => Ok(Learned::Opened(opened)),
        Err(error) => {
            if matches!(error, ProviderError::Unavailable { .. }) {
                let mut conn = desk.pool.acquire().await?;
                leases::forget_request(&mut conn, claimed).await?;
                crash_point!("provider_account.after_forget");
            }
            Ok(learned_from(claimed, error))
        }
    }
}

fn learned_from(claimed: &Claimed, error: ProviderError) -> Learned {
    match error {
        ProviderError::Declined { code } => Learned::Failed(Failure::Declined { code }),
        ProviderError::AlreadyRegistered => Learned::Failed(Failure::AlreadyRegistered),
        ProviderError::Unavailable { .. } | ProviderError::Unknown { .. } => {
            tracing::warn!(provider_account_id = %claimed.id, %error, "the provider has not answered");
            Learned::Nothing(delay(claimed))
        }
    }
}

/// Commits what was learned, if the lease is still ours; false when it is not.
async fn commit(desk: &Desk, claimed: &Claimed, learned: Learned) -> Result<bool, sqlx::Error> {
    match learned {
        Learned::Overtaken => Ok(false),
        Learned::Nothing(delay) => {
            let mut conn = desk.pool.acquire().await?;
            let released = leases::release(&mut conn, claimed, delay).await?;
            crash_point!("provider_account.after_release");
            Ok(released)
        }
        Learned::Failed(failure) => fail(desk, claimed, &failure).await,
        Learned::Opened(opened) => match activate(desk, claimed, &opened).await {
            Err(error) if database::constraint(&error) == Some(NUMBER_TAKEN) => {
                tracing::error!(
                    provider_account_id = %claimed.id,
                    "the provider tells the account of another wallet"
                );
                fail(desk, claimed, &Failure::AlreadyRegistered).await
            }
            result => result,
        },
    }
}

/// Locks the account's row and then the wallet's; nothing locks them the other
/// way round.
async fn activate(
    desk: &Desk,
    claimed: &Claimed,
    account: &OpenedAccount,
) -> Result<bool, sqlx::Error> {
    let opened = Opened {
        sealed: &desk.vault.seal_account(claimed.id, account),
        digest: &desk.vault.digest(claimed.provider, &account.number),
        bank_name: &account.bank_name,
        bank_code: &account.bank_code,
    };
    let mut transaction = database::begin(&desk.pool).await?;
    let Some(at) = leases::activate(&mut transaction, claimed, opened).await? else {
        return Ok(false);
    };
    let version = leases::next_event_version(&mut transaction, claimed.wallet).await?;
    append_locked(&mut transaction, &[contract::opened(claimed, version, at)]).await?;
    crash_point!("provider_account.before_open_commit");
    transaction.commit().await?;
    crash_point!("provider_account.after_open_commit");
    Ok(true)
}

/// As [`activate`].
async fn fail(desk: &Desk, claimed: &Claimed, failure: &Failure) -> Result<bool, sqlx::Error> {
    let mut transaction = database::begin(&desk.pool).await?;
    let Some(at) = leases::fail(&mut transaction, claimed, failure).await? else {
        return Ok(false);
    };
    let version = leases::next_event_version(&mut transaction, claimed.wallet).await?;
    let event = contract::failed(claimed, failure, version, at);
    append_locked(&mut transaction, &[event]).await?;
    crash_point!("provider_account.before_fail_commit");
    transaction.commit().await?;
    crash_point!("provider_account.after_fail_commit");
    Ok(true)
}

fn delay(claimed: &Claimed) -> Duration {
    claimed.progress.delay(jitter())
}

/// What spreads delays, in thousandths.
fn jitter() -> u32 {
    rand::random_range(750..=1250)
}

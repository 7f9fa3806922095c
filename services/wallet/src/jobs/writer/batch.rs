//! One batch: lock, look, decide, write, commit.
//!
//! ```text
//! BEGIN
//! SELECT … FROM wallets … ORDER BY id FOR UPDATE      every wallet of every posting
//! SELECT … FROM holds … ORDER BY id FOR UPDATE        only when a posting names a hold
//! SELECT … FROM bonus_grants … ORDER BY id FOR UPDATE only when a wallet has bonus money
//! SELECT … FROM wallet_limits …                       only when a wallet has limits
//! SELECT … FROM postings …                            which of them are recorded already
//!   decide every posting in the pure domain
//! WITH … INSERT … UPDATE …                            all that was decided, in one statement
//! INSERT, UPDATE holds, bonus_grants, wallet_limits   only when some changed
//! COMMIT
//! ```
//!
//! The isolation level is READ COMMITTED: whatever a decision rests on is under
//! a row lock by then, or recorded for good.

use bursar_aip::id::{CampaignId, UserId};
use bursar_events::Event;
use bursar_server::{canary, crash_point};
use bursar_status::correlation;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::contract::event;
use crate::domain::batch::{Decided, Mode, Outcome, decide_call, holds_of, wallets_of};
use crate::domain::bonus::{BonusGrant, BonusStep};
use crate::domain::book::{Book, SpendOrder};
use crate::domain::decide::Applied;
use crate::domain::hold::HoldStatus;
use crate::domain::posting::Posting;
use crate::domain::wallet::Wallet;
use crate::jobs::queue::{Call, Origin};
use crate::store::ledger;
use crate::store::write::{self, Batch};

/// Postings that are decided together: a call, or one posting of it.
pub(super) struct Part<'a> {
    pub(super) postings: &'a [Posting],
    mode: Mode,
    origin: &'a Origin,
}

impl<'a> Part<'a> {
    /// A whole call.
    pub(super) fn whole(call: &'a Call) -> Self {
        Self {
            postings: &call.postings,
            mode: call.mode,
            origin: &call.origin,
        }
    }

    /// One posting of a call.
    pub(super) fn one(call: &'a Call, index: usize) -> Self {
        Self {
            postings: &call.postings[index..=index],
            ..Self::whole(call)
        }
    }
}

/// A batch that was committed.
pub(super) struct Written {
    /// What became of each part's postings.
    pub(super) outcomes: Vec<Vec<Outcome>>,
    /// The wallets that it changed, as they are after it.
    pub(super) wallets: Vec<Wallet>,
}

/// Writes a batch in one transaction.
pub(super) async fn write(
    connection: &mut PgConnection,
    parts: &[Part<'_>],
    spend_order: SpendOrder,
) -> Result<Written, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    crash_point!("ledger.after_begin");
    let mut book = load(&mut transaction, parts)
        .await?
        .with_spend_order(spend_order);
    crash_point!("ledger.after_lock");
    // Taken under the locks, so that a wallet's entries are recorded in the
    // order of their versions, as far as the clocks of replicas agree.
    let now = bursar_server::now();
    let decided: Vec<Decided> = parts
        .iter()
        .map(|part| decide_call(&mut book, part.postings, part.mode, now))
        .collect();
    crash_point!("ledger.after_decide");
    let mut wallets = Vec::new();
    if decided.iter().all(|part| part.applied.is_empty()) {
        transaction.rollback().await?;
    } else {
        let rows = Batch::of(&applied(parts, &decided));
        let events = events(parts, &decided).await;
        write::write(&mut transaction, &rows, &events, now).await?;
        crash_point!("ledger.after_write");
        transaction.commit().await?;
        crash_point!("ledger.after_commit");
        wallets = rows.wallets_after().cloned().collect();
    }
    Ok(Written {
        outcomes: decided.into_iter().map(|part| part.outcomes).collect(),
        wallets,
    })
}

/// Everything that the parts can see and change, under locks.
async fn load(connection: &mut PgConnection, parts: &[Part<'_>]) -> Result<Book, sqlx::Error> {
    let postings = || parts.iter().flat_map(|part| part.postings);
    let wallet_ids: Vec<Uuid> = wallets_of(postings())
        .into_iter()
        .map(|id| id.uuid())
        .collect();
    let mut wallets = if canary!("ledger.locks_unordered") {
        lock_as_named(connection, postings()).await?
    } else {
        ledger::lock_wallets(connection, &wallet_ids).await?
    };
    if canary!("ledger.floor_lowered") {
        let lowered = wallets.iter_mut();
        lowered.for_each(|wallet| wallet.min_available = i64::MIN);
    }
    let hold_ids: Vec<Uuid> = holds_of(postings())
        .into_iter()
        .map(|id| id.uuid())
        .collect();
    let mut holds = if hold_ids.is_empty() {
        Vec::new()
    } else {
        ledger::lock_holds(connection, &hold_ids).await?
    };
    if canary!("hold.end_forgotten") {
        for hold in &mut holds {
            (hold.status, hold.captured, hold.ended) = (HoldStatus::Active, 0, None);
        }
    }
    let grants = grants(connection, parts, &wallets).await?;
    let limited: Vec<Uuid> = wallets
        .iter()
        .filter(|wallet| wallet.has_limits)
        .map(|wallet| wallet.id.uuid())
        .collect();
    let allowances = if limited.is_empty() {
        Vec::new()
    } else {
        ledger::allowances(connection, &limited).await?
    };
    let granted = granted(connection, parts, &wallet_ids).await?;
    let posting_ids: Vec<Uuid> = postings().map(|posting| posting.id.uuid()).collect();
    let recorded = ledger::recorded(connection, &posting_ids).await?;
    Ok(Book::new(wallets, holds, recorded)
        .with_grants(grants)
        .with_granted(granted)
        .with_allowances(allowances))
}

/// Locks wallets as a program does that has no order of locks: each when a posting
/// names it. For the canary only.
async fn lock_as_named<'a>(
    connection: &mut PgConnection,
    postings: impl Iterator<Item = &'a Posting>,
) -> Result<Vec<Wallet>, sqlx::Error> {
    let mut wallets: Vec<Wallet> = Vec::new();
    for leg in postings.flat_map(|posting| &posting.legs) {
        let id = leg.account.wallet_id();
        if wallets.iter().all(|wallet| wallet.id != id) {
            wallets.extend(ledger::lock_wallets(connection, &[id.uuid()]).await?);
        }
    }
    Ok(wallets)
}

/// The grants that postings name, and those that may be spent: of the locked
/// wallets that have bonus money, or get some in this very batch.
async fn grants(
    connection: &mut PgConnection,
    parts: &[Part<'_>],
    wallets: &[Wallet],
) -> Result<Vec<BonusGrant>, sqlx::Error> {
    let steps = || {
        parts
            .iter()
            .flat_map(|part| part.postings)
            .filter_map(|posting| posting.bonus.as_ref())
    };
    let named: Vec<Uuid> = steps().map(|step| step.grant().uuid()).collect();
    let with_bonus: Vec<Uuid> = wallets
        .iter()
        .filter(|wallet| wallet.balance.bonus != 0)
        .map(|wallet| wallet.id.uuid())
        .collect();
    if named.is_empty() && with_bonus.is_empty() {
        return Ok(Vec::new());
    }
    ledger::lock_grants(connection, &named, &with_bonus).await
}

/// What the users of the wallets were granted in the campaigns of which
/// postings grant more.
async fn granted(
    connection: &mut PgConnection,
    parts: &[Part<'_>],
    wallet_ids: &[Uuid],
) -> Result<Vec<((CampaignId, UserId), i64)>, sqlx::Error> {
    let postings = parts.iter().flat_map(|part| part.postings);
    let campaigns: Vec<Uuid> = postings
        .filter_map(|posting| match &posting.bonus {
            Some(BonusStep::Grant(new)) => Some(new.campaign.uuid()),
            Some(BonusStep::Convert(_) | BonusStep::Expire(_)) | None => None,
        })
        .collect();
    if campaigns.is_empty() {
        return Ok(Vec::new());
    }
    ledger::granted(connection, &campaigns, wallet_ids).await
}

/// The applied postings with their effects, in the order of the decisions.
fn applied<'a>(parts: &'a [Part<'a>], decided: &'a [Decided]) -> Vec<(&'a Posting, &'a Applied)> {
    let pairs = parts.iter().zip(decided);
    pairs
        .flat_map(|(part, decided)| {
            let effects = decided.applied.iter();
            effects.map(|(index, effect)| (&part.postings[*index], effect))
        })
        .collect()
}

/// The events of a batch. Each carries the correlation id and the trace of the
/// call that it came with, not of the writer.
async fn events(parts: &[Part<'_>], decided: &[Decided]) -> Vec<Event> {
    let mut events = Vec::new();
    for (part, decided) in parts.iter().zip(decided) {
        let origin = part.origin;
        let of_part = async {
            origin.span.in_scope(|| {
                for (index, effect) in &decided.applied {
                    let posting = &part.postings[*index];
                    let recorded_at = effect.recorded.recorded_at;
                    events.extend(effect.movements.iter().map(|movement| {
                        event::posted(posting, movement, recorded_at, origin.actor.clone())
                    }));
                }
            });
        };
        correlation::scope(origin.correlation.clone(), of_part).await;
    }
    events
}

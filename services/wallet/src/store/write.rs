//! Writing what a batch decided: postings, entries, wallets, holds and events
//! in one statement.
//!
//! The caller holds the row locks of every wallet and hold in it and commits
//! right after, so the statement waits for no other transaction, save in one
//! case: two postings of one id that name different wallets. The later one
//! waits at the primary key of `postings`, is refused there, and its batch
//! starts over. Postings are inserted in the order of their ids, so that such
//! waits form no circle.
//!
//! It is one statement because each costs a round trip under the locks, and
//! with a hot wallet the time under its lock is what bounds the ledger. All
//! parts of the statement see the rows as they were before it, which suits:
//! no part reads what another one writes. The trigger on `entries` checks the
//! balance of every posting at the end.

use std::collections::BTreeMap;

use bursar_aip::id::{HoldId, WalletId};
use bursar_events::{Columns, Event};
use sqlx::{PgConnection, query};
use time::OffsetDateTime;
use uuid::Uuid;

use super::names::Named;
use crate::domain::decide::Applied;
use crate::domain::hold::{Hold, HoldAction, HoldChange, HoldStatus};
use crate::domain::posting::{Posting, PostingId};
use crate::domain::wallet::Wallet;

/// Everything that one batch writes: columns of rows, as the statement takes them.
#[derive(Default)]
pub struct Batch<'a> {
    postings: Postings<'a>,
    entries: Entries<'a>,
    wallets: BTreeMap<WalletId, WalletAfter<'a>>,
    holds: BTreeMap<HoldId, HoldAfter<'a>>,
}

#[derive(Default)]
struct Postings<'a> {
    id: Vec<Uuid>,
    tenant_id: Vec<&'a str>,
    transaction_id: Vec<Uuid>,
    kind: Vec<&'static str>,
    fingerprint: Vec<&'a [u8]>,
    hold_id: Vec<Option<Uuid>>,
    hold_action: Vec<Option<&'static str>>,
    effective_at: Vec<OffsetDateTime>,
    recorded_at: Vec<OffsetDateTime>,
    /// Where the posting's legs begin and end among all entries, from 1.
    first_leg: Vec<i32>,
    last_leg: Vec<i32>,
}

#[derive(Default)]
struct Entries<'a> {
    wallet_id: Vec<Uuid>,
    version: Vec<i64>,
    posting_id: Vec<Uuid>,
    amount: Vec<i64>,
    balance_after: Vec<i64>,
    bucket: Vec<&'static str>,
    currency: Vec<&'static str>,
    tenant_id: Vec<&'a str>,
}

/// A wallet after the batch, and the version at which it was locked.
struct WalletAfter<'a> {
    wallet: &'a Wallet,
    locked_version: i64,
}

/// A hold after the batch: opened, ended, or both in one batch.
struct HoldAfter<'a> {
    hold: &'a Hold,
    tenant: &'a str,
    placed_by: Option<PostingId>,
    ended_by: Option<PostingId>,
}

impl<'a> Batch<'a> {
    /// The rows of these decisions, which come in the order in which they were
    /// made: a wallet's later state replaces its earlier one.
    pub fn of(decisions: &[(&'a Posting, &'a Applied)]) -> Self {
        let mut batch = Self::default();
        for (posting, applied) in decisions {
            for wallet in &applied.wallets {
                batch.change_wallet(wallet, applied);
            }
            if let Some(change) = &applied.hold {
                batch.change_hold(posting, change);
            }
        }
        // See the module: the order of insertion is the order of the ids.
        let mut by_id = decisions.to_vec();
        by_id.sort_by_key(|(posting, _)| posting.id);
        for (posting, applied) in by_id {
            batch.insert_posting(posting, applied);
        }
        batch
    }

    fn change_wallet(&mut self, wallet: &'a Wallet, applied: &Applied) {
        self.wallets
            .entry(wallet.id)
            .and_modify(|after| after.wallet = wallet)
            .or_insert_with(|| {
                let own = applied.entries.iter().filter(|entry| entry.wallet == wallet.id);
                let first = own.map(|entry| entry.version).min();
                WalletAfter {
                    wallet,
                    locked_version: first.map_or(wallet.version, |version| version - 1),
                }
            });
    }

    fn change_hold(&mut self, posting: &'a Posting, change: &'a HoldChange) {
        let after = self.holds.entry(change.after.id).or_insert(HoldAfter {
            hold: &change.after,
            tenant: posting.tenant.as_str(),
            placed_by: None,
            ended_by: None,
        });
        after.hold = &change.after;
        match change.action {
            HoldAction::Place => after.placed_by = Some(posting.id),
            HoldAction::Capture | HoldAction::Void => after.ended_by = Some(posting.id),
        }
    }

    fn insert_posting(&mut self, posting: &'a Posting, applied: &'a Applied) {
        let rows = &mut self.postings;
        // A batch has at most 1,000 postings of 32 legs.
        let before = i32::try_from(self.entries.wallet_id.len()).unwrap_or(i32::MAX);
        let count = i32::try_from(applied.entries.len()).unwrap_or(i32::MAX);
        rows.id.push(posting.id.uuid());
        rows.tenant_id.push(posting.tenant.as_str());
        rows.transaction_id.push(posting.transaction.uuid());
        rows.kind.push(posting.kind.word());
        rows.fingerprint.push(&posting.fingerprint);
        let hold = posting.hold.as_ref();
        rows.hold_id.push(hold.map(|step| step.hold.uuid()));
        rows.hold_action.push(hold.map(|step| step.action.word()));
        let recorded_at = applied.recorded.recorded_at;
        rows.effective_at.push(posting.effective_at.unwrap_or(recorded_at));
        rows.recorded_at.push(recorded_at);
        rows.first_leg.push(before + 1);
        rows.last_leg.push(before.saturating_add(count));
        for entry in &applied.entries {
            let rows = &mut self.entries;
            rows.wallet_id.push(entry.wallet.uuid());
            rows.version.push(entry.version);
            rows.posting_id.push(posting.id.uuid());
            rows.amount.push(entry.amount);
            rows.balance_after.push(entry.balance_after);
            rows.bucket.push(entry.bucket.word());
            rows.currency.push(entry.currency.code());
            rows.tenant_id.push(posting.tenant.as_str());
        }
    }
}

#[derive(Default)]
struct WalletColumns {
    id: Vec<Uuid>,
    locked_version: Vec<i64>,
    available: Vec<i64>,
    held: Vec<i64>,
    bonus: Vec<i64>,
    version: Vec<i64>,
    event_version: Vec<i64>,
}

impl WalletColumns {
    fn of(wallets: &BTreeMap<WalletId, WalletAfter<'_>>) -> Self {
        let mut columns = Self::default();
        for after in wallets.values() {
            let wallet = after.wallet;
            columns.id.push(wallet.id.uuid());
            columns.locked_version.push(after.locked_version);
            columns.available.push(wallet.balance.available);
            columns.held.push(wallet.balance.held);
            columns.bonus.push(wallet.balance.bonus);
            columns.version.push(wallet.version);
            columns.event_version.push(wallet.event_version);
        }
        columns
    }
}

#[derive(Default)]
struct HoldColumns<'a> {
    id: Vec<Uuid>,
    tenant_id: Vec<&'a str>,
    wallet_id: Vec<Uuid>,
    amount: Vec<i64>,
    captured: Vec<i64>,
    status: Vec<&'static str>,
    placed_by: Vec<Option<Uuid>>,
    ended_by: Vec<Option<Uuid>>,
}

impl<'a> HoldColumns<'a> {
    fn of(holds: &BTreeMap<HoldId, HoldAfter<'a>>) -> Self {
        let mut columns = Self::default();
        for after in holds.values() {
            let hold = after.hold;
            columns.id.push(hold.id.uuid());
            columns.tenant_id.push(after.tenant);
            columns.wallet_id.push(hold.wallet.uuid());
            columns.amount.push(hold.amount);
            columns.captured.push(match hold.status {
                HoldStatus::Captured => hold.amount,
                HoldStatus::Active | HoldStatus::Voided => 0,
            });
            columns.status.push(hold.status.word());
            columns.placed_by.push(after.placed_by.map(PostingId::uuid));
            columns.ended_by.push(after.ended_by.map(PostingId::uuid));
        }
        columns
    }

    /// How many holds are there already, to be ended.
    fn ended_only(&self) -> usize {
        self.placed_by.iter().filter(|posting| posting.is_none()).count()
    }
}

/// Writes a batch at `now`. Fails with `RowNotFound` when a wallet or hold is
/// not as it was when it was locked, which the locks rule out: the caller's
/// transaction must then not commit.
pub async fn write(
    conn: &mut PgConnection,
    batch: &Batch<'_>,
    events: &[Event],
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let Batch { postings, entries, .. } = batch;
    let wallets = WalletColumns::of(&batch.wallets);
    let holds = HoldColumns::of(&batch.holds);
    let events = Columns::of(events);
    let done = query!(
        r#"
        WITH hold AS MATERIALIZED (
            SELECT id, tenant_id, wallet_id, amount, captured, status::hold_status AS status,
                placed_by, ended_by
            FROM UNNEST($20::uuid[], $21::text[], $22::uuid[], $23::bigint[], $24::bigint[],
                    $25::text[], $26::uuid[], $27::uuid[])
                AS hold (id, tenant_id, wallet_id, amount, captured, status, placed_by, ended_by)
        ), inserted_postings AS (
            INSERT INTO postings (id, tenant_id, transaction_id, kind, fingerprint, hold_id,
                hold_action, leg_wallet_ids, leg_versions, effective_at, recorded_at)
            SELECT id, tenant_id, transaction_id, kind::posting_kind, fingerprint, hold_id,
                hold_action::hold_action, ($12::uuid[])[first_leg:last_leg],
                ($13::bigint[])[first_leg:last_leg], effective_at, recorded_at
            FROM UNNEST($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::bytea[], $6::uuid[],
                    $7::text[], $8::int[], $9::int[], $10::timestamptz[], $11::timestamptz[])
                AS posting (id, tenant_id, transaction_id, kind, fingerprint, hold_id,
                    hold_action, first_leg, last_leg, effective_at, recorded_at)
        ), inserted_entries AS (
            INSERT INTO entries (wallet_id, version, posting_id, amount, balance_after, bucket,
                currency, tenant_id)
            SELECT wallet_id, version, posting_id, amount, balance_after, bucket::wallet_bucket,
                currency, tenant_id
            FROM UNNEST($12::uuid[], $13::bigint[], $14::uuid[], $15::bigint[], $16::bigint[],
                    $17::text[], $18::text[], $19::text[])
                AS entry (wallet_id, version, posting_id, amount, balance_after, bucket,
                    currency, tenant_id)
        ), inserted_holds AS (
            INSERT INTO holds (id, tenant_id, wallet_id, amount, captured_minor, status,
                placed_by, placed_at, ended_by, ended_at)
            SELECT id, tenant_id, wallet_id, amount, captured, status,
                placed_by, $48::timestamptz, ended_by,
                CASE WHEN ended_by IS NOT NULL THEN $48::timestamptz END
            FROM hold WHERE placed_by IS NOT NULL
        ), ended_holds AS (
            UPDATE holds SET captured_minor = hold.captured, status = hold.status,
                ended_by = hold.ended_by, ended_at = $48::timestamptz
            FROM hold
            WHERE holds.id = hold.id AND hold.placed_by IS NULL AND holds.status = 'active'
            RETURNING holds.id
        ), updated_wallets AS (
            UPDATE wallets SET available = after.available, held = after.held,
                bonus = after.bonus, version = after.version, event_version = after.event_version
            FROM UNNEST($28::uuid[], $29::bigint[], $30::bigint[], $31::bigint[], $32::bigint[],
                    $33::bigint[], $34::bigint[])
                AS after (id, locked_version, available, held, bonus, version, event_version)
            WHERE wallets.id = after.id AND wallets.version = after.locked_version
            RETURNING wallets.id
        ), inserted_events AS (
            INSERT INTO events (event_id, tenant_id, aggregate_kind, aggregate_id, subject,
                version, kind, schema, data, actor, correlation_id, traceparent, occurred_at)
            SELECT event_id, tenant_id, aggregate_kind, aggregate_id, subject,
                version, kind, schema, data, actor, correlation_id, traceparent, occurred_at
            FROM UNNEST($35::uuid[], $36::text[], $37::text[], $38::uuid[], $39::text[],
                    $40::bigint[], $41::text[], $42::text[], $43::bytea[], $44::text[],
                    $45::text[], $46::text[], $47::timestamptz[])
                AS event (event_id, tenant_id, aggregate_kind, aggregate_id, subject,
                    version, kind, schema, data, actor, correlation_id, traceparent, occurred_at)
            ORDER BY aggregate_id, version
        )
        SELECT (SELECT count(*) FROM updated_wallets) AS "wallets!",
            (SELECT count(*) FROM ended_holds) AS "holds!"
        "#,
        &postings.id,
        &postings.tenant_id as &[&str],
        &postings.transaction_id,
        &postings.kind as &[&str],
        &postings.fingerprint as &[&[u8]],
        &postings.hold_id as &[Option<Uuid>],
        &postings.hold_action as &[Option<&str>],
        &postings.first_leg,
        &postings.last_leg,
        &postings.effective_at,
        &postings.recorded_at,
        &entries.wallet_id,
        &entries.version,
        &entries.posting_id,
        &entries.amount,
        &entries.balance_after,
        &entries.bucket as &[&str],
        &entries.currency as &[&str],
        &entries.tenant_id as &[&str],
        &holds.id,
        &holds.tenant_id as &[&str],
        &holds.wallet_id,
        &holds.amount,
        &holds.captured,
        &holds.status as &[&str],
        &holds.placed_by as &[Option<Uuid>],
        &holds.ended_by as &[Option<Uuid>],
        &wallets.id,
        &wallets.locked_version,
        &wallets.available,
        &wallets.held,
        &wallets.bonus,
        &wallets.version,
        &wallets.event_version,
        &events.event_id,
        &events.tenant_id,
        &events.aggregate_kind,
        &events.aggregate_id,
        &events.subject,
        &events.version,
        &events.kind,
        &events.schema,
        &events.data,
        &events.actor,
        &events.correlation_id,
        &events.traceparent as &[Option<String>],
        &events.occurred_at,
        now,
    )
    .fetch_one(conn)
    .await?;
    let is_whole = usize::try_from(done.wallets) == Ok(wallets.id.len())
        && usize::try_from(done.holds) == Ok(holds.ended_only());
    if is_whole {
        Ok(())
    } else {
        Err(sqlx::Error::RowNotFound)
    }
}

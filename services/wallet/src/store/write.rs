//! Writing what a batch decided: postings, entries, wallets, one row with all
//! events and one for the proof chain in one statement, then what few batches have besides:
//! holds, grants and allowances.
//!
//! The caller holds the row locks of every wallet in it and commits right
//! after, so the statements wait for no other transaction, save in one case: two
//! postings or holds of one id that name different wallets. The later one waits
//! at the primary key, is refused there, and its batch starts over. Rows are
//! inserted in the order of their ids, table after table, so that such waits
//! form no circle.
//!
//! It is one statement because each costs a round trip under the locks, and
//! with a hot wallet the time under its lock is what bounds the ledger. All
//! parts of the statement see the rows as they were before it, which suits:
//! no part reads what another one writes. The trigger on `entries` checks the
//! balance of every posting at the end.

mod columns;
mod grants;
mod holds;
mod proof;

use bursar_events::{BatchRow, Event};
use sqlx::{PgConnection, query_scalar};
use time::OffsetDateTime;
use uuid::Uuid;

pub use self::columns::Batch;
use self::columns::{GrantAfter, HoldAfter, WalletColumns};

/// Writes a batch at `now`. Fails with `RowNotFound` when a wallet, hold or grant
/// is not as it was when it was locked, which the locks rule out: the caller's
/// transaction must then not commit.
pub async fn write(
    conn: &mut PgConnection,
    batch: &Batch<'_>,
    events: &[Event],
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    write_ledger(&mut *conn, batch, events, now).await?;
    if !batch.holds.is_empty() {
        let changed: Vec<&HoldAfter<'_>> = batch.holds.values().collect();
        holds::write(&mut *conn, &changed).await?;
    }
    if !batch.grants.is_empty() {
        let changed: Vec<&GrantAfter<'_>> = batch.grants.values().collect();
        grants::write(&mut *conn, &changed).await?;
    }
    if !batch.allowances.is_empty() {
        grants::write_allowances(conn, batch.allowances.iter()).await?;
    }
    Ok(())
}

/// Fails unless as many rows were changed as there were to change.
fn expect_rows(changed: u64, expected: usize) -> Result<(), sqlx::Error> {
    if usize::try_from(changed) == Ok(expected) {
        Ok(())
    } else {
        Err(sqlx::Error::RowNotFound)
    }
}

async fn write_ledger(
    conn: &mut PgConnection,
    batch: &Batch<'_>,
    events: &[Event],
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let Batch {
        postings,
        entries,
        unsealed,
        ..
    } = batch;
    let wallets = WalletColumns::of(batch);
    let events = BatchRow::of(events)?;
    let updated = query_scalar!(
        r#"
        WITH inserted_postings AS (
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
        ), updated_wallets AS (
            UPDATE wallets SET available = after.available, held = after.held,
                bonus = after.bonus, version = after.version,
                event_version = after.event_version, posted_at = after.posted_at
            FROM UNNEST($20::uuid[], $21::bigint[], $22::bigint[], $23::bigint[], $24::bigint[],
                    $25::bigint[], $26::bigint[], $27::timestamptz[])
                AS after (id, locked_version, available, held, bonus, version, event_version,
                    posted_at)
            WHERE wallets.id = after.id AND wallets.version = after.locked_version
            RETURNING wallets.id
        ), inserted_unsealed AS (
            INSERT INTO ledger_unsealed (posting_ids, leaf_hashes, wallet_ids, recorded_at)
            VALUES ($28::uuid[], $29::bytea, $20::uuid[], $30::timestamptz)
        ), inserted_events AS (
            INSERT INTO event_batches (event_ids, aggregate_ids, versions, data, occurred_at,
                types, origins, aggregate_kinds, subject_prefixes, kinds, schemas, tenant_ids,
                actors, correlation_ids, traceparents)
            SELECT $31::uuid[], $32::uuid[], $33::bigint[], $34::bytea[], $35::timestamptz[],
                $36::int[], $37::int[], $38::text[], $39::text[], $40::text[], $41::text[],
                $42::text[], $43::text[], $44::text[], $45::text[]
            WHERE cardinality($31::uuid[]) > 0
        )
        SELECT count(*) AS "wallets!" FROM updated_wallets
        "#,
        &postings.id,
        &postings.tenant_id as &[&str],
        &postings.transaction_id as &[Option<Uuid>],
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
        &wallets.id,
        &wallets.locked_version,
        &wallets.available,
        &wallets.held,
        &wallets.bonus,
        &wallets.version,
        &wallets.event_version,
        &wallets.posted_at as &[Option<OffsetDateTime>],
        &unsealed.posting_ids,
        &unsealed.leaf_hashes,
        now,
        &events.event_ids,
        &events.aggregate_ids,
        &events.versions,
        &events.data as &[&[u8]],
        &events.occurred_at,
        &events.types,
        &events.origins,
        &events.aggregate_kinds as &[&str],
        &events.subject_prefixes as &[&str],
        &events.kinds as &[&str],
        &events.schemas as &[&str],
        &events.tenant_ids as &[&str],
        &events.actors as &[&str],
        &events.correlation_ids as &[&str],
        &events.traceparents as &[Option<&str>],
    )
    .fetch_one(conn)
    .await?;
    expect_rows(u64::try_from(updated).unwrap_or_default(), wallets.id.len())
}

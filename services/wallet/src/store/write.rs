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

mod columns;

use bursar_events::{Columns, Event};
use sqlx::{PgConnection, query};
use time::OffsetDateTime;
use uuid::Uuid;

pub use self::columns::Batch;
use self::columns::{HoldColumns, WalletColumns};

/// Writes a batch at `now`. Fails with `RowNotFound` when a wallet or hold is
/// not as it was when it was locked, which the locks rule out: the caller's
/// transaction must then not commit.
pub async fn write(
    conn: &mut PgConnection,
    batch: &Batch<'_>,
    events: &[Event],
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let Batch {
        postings, entries, ..
    } = batch;
    let wallets = WalletColumns::of(batch);
    let holds = HoldColumns::of(batch);
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

//! What was recorded cannot be changed, and nothing unbalanced can be recorded.

use bursar_aip::id::HoldId;
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use crate::support::{Fixture, applied, place, transfer};

/// The SQLSTATE with which a statement fails.
async fn refusal(pool: &PgPool, statement: &str) -> String {
    let mut transaction = pool.begin().await.expect("a transaction");
    let error = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(&mut *transaction)
        .await
        .err()
        .unwrap_or_else(|| panic!("it was let pass: {statement}"));
    let database = error.as_database_error().expect("the database refuses it");
    database.code().expect("with a code").into_owned()
}

const DENIED: &str = "42501";
const UNBALANCED: &str = "23514";

/// The tables that only grow, each with one of its columns.
const APPEND_ONLY: [(&str, &str); 6] = [
    ("entries", "tenant_id"),
    ("postings", "tenant_id"),
    ("events", "tenant_id"),
    ("event_batches", "recorded_at"),
    ("ledger_blocks", "height"),
    ("ledger_checkpoints", "height"),
];

/// Rows in the tables that may have none by now: a row trigger needs a row.
const ROWS: &str = "
    INSERT INTO events (event_id, tenant_id, aggregate_kind, aggregate_id, subject, version, kind,
        schema, data, actor, correlation_id, occurred_at)
    SELECT id, 'default', 'wallet', id, 'wal_1', 1, 'wallet.created', 'x', '', 'x', 'x', now()
    FROM (SELECT gen_random_uuid() AS id) AS made;
    INSERT INTO ledger_blocks (height, previous_hash, root, posting_count, postings_total,
        first_recorded_at, last_recorded_at, sealed_at, hash, posting_ids, leaf_hashes)
    SELECT 1000000, hash, hash, 1, 1, now(), now(), now(), hash, ARRAY[gen_random_uuid()], hash
    FROM (SELECT decode(repeat('00', 32), 'hex') AS hash) AS made;
    INSERT INTO ledger_checkpoints (height, block_hash, postings_total, signed_at, key_id,
        public_key, signature)
    SELECT height, hash, 1, now(), substring(hash FOR 8), hash, hash || hash
    FROM ledger_blocks WHERE height = 1000000;";

/// A service that has recorded something.
async fn with_history() -> Fixture {
    let fixture = Fixture::start().await;
    let alice = fixture.funded("EUR", 100).await;
    let bob = fixture.funded("EUR", 1).await;
    applied(&fixture.ledger().post_one(transfer(&alice, &bob, 10)).await);
    applied(
        &fixture
            .ledger()
            .post_one(place(HoldId::generate(), &alice, 5))
            .await,
    );
    fixture
}

/// The application's role may neither change nor remove what is recorded, nor
/// loosen what guards it.
#[tokio::test]
async fn the_application_cannot_change_the_ledger() {
    let fixture = with_history().await;
    let pool = &fixture.database.pool;
    for (table, column) in APPEND_ONLY {
        for statement in [
            format!("UPDATE {table} SET {column} = {column}"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table}"),
            format!("TRUNCATE {table} CASCADE"),
            format!(
                "MERGE INTO {table} USING {table} AS other ON {table}.{column} = other.{column}
                 WHEN MATCHED THEN DELETE"
            ),
            format!("SELECT * FROM {table} FOR UPDATE"),
            format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"),
            format!("COPY {table} TO PROGRAM 'true'"),
            format!("COPY {table} FROM PROGRAM 'true'"),
            format!("ALTER TABLE {table} DISABLE TRIGGER ALL"),
            format!("ALTER TABLE {table} DISABLE TRIGGER USER"),
            format!("ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"),
            format!("ALTER TABLE {table} ADD COLUMN note text"),
            format!("ALTER TABLE {table} DROP COLUMN {column}"),
            format!("ALTER TABLE {table} RENAME TO mine"),
            format!("ALTER TABLE {table} OWNER TO CURRENT_USER"),
            format!("DROP TABLE {table}"),
            format!("CREATE INDEX ON {table} ({column})"),
            format!("CREATE RULE mine AS ON INSERT TO {table} DO INSTEAD NOTHING"),
            format!(
                "CREATE TRIGGER mine BEFORE INSERT ON {table} EXECUTE FUNCTION refuse_ledger_change()"
            ),
        ] {
            assert_eq!(refusal(pool, &statement).await, DENIED, "{statement}");
        }
    }
    for (table, trigger) in [
        ("entries", "entries_balance"),
        ("entries", "entries_unchanged"),
        ("postings", "postings_unchanged"),
        ("events", "events_refuse_row_change"),
        ("event_batches", "event_batches_refuse_row_change"),
        ("ledger_blocks", "ledger_blocks_unchanged"),
        ("ledger_checkpoints", "ledger_checkpoints_unchanged"),
    ] {
        for statement in [
            format!("ALTER TABLE {table} DISABLE TRIGGER {trigger}"),
            format!("ALTER TABLE {table} ENABLE REPLICA TRIGGER {trigger}"),
            format!("ALTER TRIGGER {trigger} ON {table} RENAME TO mine"),
            format!("DROP TRIGGER {trigger} ON {table}"),
        ] {
            assert_eq!(refusal(pool, &statement).await, DENIED, "{statement}");
        }
    }
    for statement in [
        "SET session_replication_role = replica",
        "SET LOCAL session_replication_role = replica",
        "SELECT set_config('session_replication_role', 'replica', true)",
        "SET ROLE bursar_test_owner",
        "SET SESSION AUTHORIZATION bursar_test_owner",
        "ALTER ROLE CURRENT_USER SUPERUSER",
        "INSERT INTO postings SELECT * FROM postings ON CONFLICT (id) DO UPDATE SET kind = 'hold'",
        "INSERT INTO entries SELECT * FROM entries
             ON CONFLICT (wallet_id, version) DO UPDATE SET amount = 1",
        "DROP FUNCTION refuse_ledger_change() CASCADE",
        "ALTER TYPE wallet_bucket ADD VALUE 'mine'",
        "CREATE OR REPLACE FUNCTION refuse_unbalanced_entries() RETURNS trigger LANGUAGE sql AS ''",
        "DELETE FROM wallets",
        "TRUNCATE wallets",
        "UPDATE wallets SET owner_user_id = NULL",
        "UPDATE wallets SET currency = 'USD'",
        "UPDATE wallets SET tenant_id = 'x'",
        "DELETE FROM holds",
        "UPDATE holds SET amount = 1",
        "UPDATE holds SET wallet_id = id",
        "CREATE TABLE mine (id int)",
    ] {
        assert_eq!(refusal(pool, statement).await, DENIED, "{statement}");
    }
    fixture.verify().await;
}

/// Triggers refuse changes to the owner too, and to a superuser who switched
/// ordinary triggers off.
#[tokio::test]
async fn triggers_refuse_changes_to_everybody() {
    let fixture = with_history().await;
    let superuser = fixture.database.superuser().await;
    for (table, column) in APPEND_ONLY {
        for change in [
            format!("UPDATE {table} SET {column} = {column}"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table} CASCADE"),
        ] {
            let statement = format!("{ROWS} {change}");
            let replica = format!("SET LOCAL session_replication_role = replica; {statement}");
            assert_eq!(
                refusal(&fixture.database.owner, &statement).await,
                DENIED,
                "{statement}"
            );
            assert_eq!(refusal(&superuser, &replica).await, DENIED, "{replica}");
        }
    }
    superuser.close().await;
}

/// Entries that do not balance are refused, also under
/// `session_replication_role`, and balanced ones next to them do not help.
#[tokio::test]
async fn unbalanced_entries_are_refused() {
    let fixture = with_history().await;
    let insert = |rows: &str| {
        format!(
            "INSERT INTO entries (wallet_id, version, posting_id, amount, balance_after, bucket,
                 currency, tenant_id)
             SELECT gen_random_uuid(), 1, posting::uuid, amount, amount, 'available', currency,
                 'default'
             FROM (VALUES {rows}) AS entry (posting, amount, currency)"
        )
    };
    let (one, two) = (
        "11111111-1111-1111-1111-111111111111",
        "22222222-2222-2222-2222-222222222222",
    );
    let unbalanced = [
        format!("('{one}', 5, 'EUR')"),
        format!("('{one}', 5, 'EUR'), ('{one}', -4, 'EUR')"),
        format!("('{one}', 5, 'EUR'), ('{one}', -5, 'USD')"),
        format!("('{one}', 5, 'EUR'), ('{two}', -5, 'EUR')"),
        format!("('{two}', 5, 'EUR'), ('{two}', -5, 'EUR'), ('{one}', 5, 'EUR')"),
    ];
    let superuser = fixture.database.superuser().await;
    for rows in &unbalanced {
        let statement = insert(rows);
        let replica = format!("SET LOCAL session_replication_role = replica; {statement}");
        assert_eq!(
            refusal(&fixture.database.pool, &statement).await,
            UNBALANCED,
            "{rows}"
        );
        assert_eq!(refusal(&superuser, &replica).await, UNBALANCED, "{rows}");
    }
    let nothing = insert(&format!("('{one}', 0, 'EUR'), ('{one}', 0, 'EUR')"));
    assert_eq!(refusal(&fixture.database.pool, &nothing).await, UNBALANCED);
    superuser.close().await;
    fixture.verify().await;
}

/// Copies rows into a table by COPY and rolls back; the SQLSTATE when it is refused.
async fn copied(pool: &PgPool, before: &str, rows: &str) -> Result<u64, String> {
    let mut transaction = pool.begin().await.expect("a transaction");
    sqlx::raw_sql(AssertSqlSafe(before.to_owned()))
        .execute(&mut *transaction)
        .await
        .expect("it is let pass");
    let columns =
        "wallet_id, version, posting_id, amount, balance_after, bucket, currency, tenant_id";
    let mut copy = transaction
        .copy_in_raw(&format!("COPY entries ({columns}) FROM STDIN (FORMAT csv)"))
        .await
        .expect("the application may copy in");
    copy.send(rows.as_bytes()).await.expect("rows are sent");
    let refused = |error: sqlx::Error| {
        let database = error.as_database_error().expect("the database refuses it");
        database.code().expect("with a code").into_owned()
    };
    copy.finish().await.map_err(refused)
}

/// COPY is no way round the balance, neither for the application nor for a
/// superuser who switched ordinary triggers off; what balances passes.
#[tokio::test]
async fn copied_entries_must_balance() {
    let fixture = with_history().await;
    let superuser = fixture.database.superuser().await;
    let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
    let row = |posting: Uuid, amount: i64, currency: &str| {
        let wallet = Uuid::now_v7();
        format!("{wallet},1,{posting},{amount},{amount},available,{currency},default\n")
    };
    let balanced = row(one, 5, "EUR") + &row(one, -5, "EUR");
    let unbalanced = [
        row(one, 5, "EUR"),
        row(one, 5, "EUR") + &row(one, -4, "EUR"),
        row(one, 5, "EUR") + &row(one, -5, "USD"),
        row(one, 5, "EUR") + &row(two, -5, "EUR"),
        balanced.clone() + &row(two, 1, "EUR"),
    ];
    let pool = &fixture.database.pool;
    let replica = "SET LOCAL session_replication_role = replica";
    assert_eq!(copied(pool, "", &balanced).await, Ok(2));
    for rows in &unbalanced {
        let refused = Err(UNBALANCED.to_owned());
        assert_eq!(copied(pool, "", rows).await, refused, "{rows}");
        assert_eq!(copied(&superuser, replica, rows).await, refused, "{rows}");
    }
    superuser.close().await;
    fixture.verify().await;
}

/// The database itself keeps balances above their floors.
#[tokio::test]
async fn floors_are_constraints() {
    let fixture = with_history().await;
    for statement in [
        "UPDATE wallets SET available = -1 WHERE owner_user_id IS NOT NULL",
        "UPDATE wallets SET held = -1",
        "UPDATE wallets SET bonus = -1",
    ] {
        assert_eq!(
            refusal(&fixture.database.pool, statement).await,
            "23514",
            "{statement}"
        );
    }
}

//! What was recorded cannot be changed, and nothing unbalanced can be recorded.

use bursar_aip::id::HoldId;
use sqlx::{AssertSqlSafe, PgPool};

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
    for table in ["entries", "postings", "events"] {
        for statement in [
            format!("UPDATE {table} SET tenant_id = 'x'"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table}"),
            format!("TRUNCATE {table} CASCADE"),
            format!("ALTER TABLE {table} DISABLE TRIGGER ALL"),
            format!("ALTER TABLE {table} ADD COLUMN note text"),
            format!("DROP TABLE {table}"),
            format!("SELECT * FROM {table} FOR UPDATE"),
            format!(
                "CREATE TRIGGER mine BEFORE INSERT ON {table} EXECUTE FUNCTION refuse_ledger_change()"
            ),
        ] {
            assert_eq!(refusal(pool, &statement).await, DENIED, "{statement}");
        }
    }
    for statement in [
        "SET session_replication_role = replica",
        "SET ROLE bursar_test_owner",
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
    for table in ["entries", "postings"] {
        for statement in [
            format!("UPDATE {table} SET tenant_id = 'x'"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table}"),
        ] {
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
            "23514",
            "{rows}"
        );
        assert_eq!(refusal(&superuser, &replica).await, "23514", "{rows}");
    }
    let nothing = insert(&format!("('{one}', 0, 'EUR'), ('{one}', 0, 'EUR')"));
    assert_eq!(refusal(&fixture.database.pool, &nothing).await, "23514");
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

//! The audit trail in the database: append-only, linear, and telling of
//! whoever changed it.

use bursar_admin::domain::audit::Line;
use bursar_admin::invariants::{AUDIT_CHAIN, AUDIT_ORDER};
use bursar_admin::store::audit_events;
use bursar_aip::id::TenantId;
use bursar_server::{Invariant, now};
use bursar_testkit::TestDatabase;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, Row};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// A line about a subject of its own.
pub(crate) fn line(subject: &str, version: i64) -> Line {
    Line {
        tenant: TenantId::default(),
        event_id: Uuid::now_v7(),
        source: "bursar.transaction".to_owned(),
        kind: "transaction.completed".to_owned(),
        subject: subject.to_owned(),
        subject_version: version,
        actor: "usr_1".to_owned(),
        correlation_id: "request-1".to_owned(),
        occurred_at: now(),
        recorded_at: now(),
        data: r#"{"amount":{"minor_units":"1000"}}"#.to_owned(),
    }
}

/// Appends a line in a transaction of its own.
pub(crate) async fn append(pool: &PgPool, line: &Line) -> bool {
    let mut transaction = pool.begin().await.expect("a transaction opens");
    let appended = audit_events::append(&mut transaction, line)
        .await
        .expect("the application may append");
    transaction.commit().await.expect("the line is committed");
    appended
}

async fn database() -> TestDatabase {
    TestDatabase::create(&bursar_admin::definition().migrations).await
}

/// What an invariant finds: position and, when it names one, the fault.
async fn faults(connection: &mut PgConnection, invariant: &Invariant) -> Vec<(i64, String)> {
    sqlx::query(AssertSqlSafe(invariant.sql))
        .fetch_all(connection)
        .await
        .expect("an invariant can be asked")
        .iter()
        .map(|row| {
            (
                row.get("position"),
                row.try_get("fault").unwrap_or_default(),
            )
        })
        .collect()
}

async fn assert_sound(pool: &PgPool) {
    let mut connection = pool.acquire().await.expect("a connection");
    for invariant in [&AUDIT_CHAIN, &AUDIT_ORDER] {
        assert_eq!(faults(&mut connection, invariant).await, []);
    }
}

/// Text of every width, but for NUL, which the database refuses.
fn texts() -> impl Strategy<Value = String> {
    "[^\0]{0,40}"
}

/// What Rust hashes and what PostgreSQL hashes is the same, whatever the text
/// and the times.
#[tokio::test]
async fn both_sides_compute_the_same_hash() {
    let database = database().await;
    let microseconds = -60_000_000_000_000_000_i64..200_000_000_000_000_000_i64;
    let strategy = (
        texts(),
        texts(),
        texts(),
        texts(),
        microseconds.clone(),
        microseconds,
    );
    let mut runner = TestRunner::default();
    for version in 1..=100 {
        let (kind, actor, correlation_id, value, occurred, recorded) = strategy
            .new_tree(&mut runner)
            .expect("the strategy makes values")
            .current();
        let at = |microseconds| OffsetDateTime::UNIX_EPOCH + Duration::microseconds(microseconds);
        let line = Line {
            kind,
            actor,
            correlation_id,
            occurred_at: at(occurred),
            recorded_at: at(recorded),
            data: serde_json::json!({ "value": value }).to_string(),
            ..line("ünusual 主題", version)
        };
        assert!(append(&database.pool, &line).await);
    }
    assert_sound(&database.pool).await;
}

/// Fifty writers at once make one chain without a gap.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_appends_make_one_chain() {
    let database = database().await;
    let writers = (0..50).map(|number| {
        let (pool, line) = (database.pool.clone(), line(&format!("txn_{number}"), 1));
        tokio::spawn(async move { append(&pool, &line).await })
    });
    for appended in futures::future::join_all(writers).await {
        assert!(appended.expect("no writer panics"));
    }
    assert_sound(&database.pool).await;
    let last: i64 = sqlx::query_scalar("SELECT position FROM audit_chains")
        .fetch_one(&database.pool)
        .await
        .expect("the chain has an end");
    assert_eq!(last, 50);
}

/// Each tenant has a chain of its own.
#[tokio::test]
async fn tenants_have_their_own_chains() {
    let database = database().await;
    for (tenant, version) in [("one", 1), ("two", 1), ("one", 2)] {
        let tenant = TenantId::parse(tenant).expect("a tenant");
        append(
            &database.pool,
            &Line {
                tenant,
                ..line("txn_1", version)
            },
        )
        .await;
    }
    assert_sound(&database.pool).await;
    let ends: Vec<(String, i64)> =
        sqlx::query_as("SELECT tenant_id, position FROM audit_chains ORDER BY tenant_id")
            .fetch_all(&database.pool)
            .await
            .expect("the chains have ends");
    assert_eq!(ends, [("one".to_owned(), 2), ("two".to_owned(), 1)]);
}

/// An event that is told twice is one line, and the chain goes on after it.
#[tokio::test]
async fn an_event_has_one_line() {
    let database = database().await;
    let first = line("txn_1", 1);
    assert!(append(&database.pool, &first).await);
    assert!(!append(&database.pool, &first).await);
    assert!(append(&database.pool, &line("txn_1", 2)).await);
    assert_sound(&database.pool).await;
}

/// The application can neither change nor remove a line, nor switch off what
/// stops it; the owner is stopped by triggers that replication does not skip.
#[tokio::test]
async fn the_trail_is_append_only() {
    let database = database().await;
    append(&database.pool, &line("txn_1", 1)).await;
    let changes = [
        "UPDATE audit_events SET actor = 'nobody'",
        "DELETE FROM audit_events",
        "TRUNCATE audit_events",
    ];
    let tricks = [
        "ALTER TABLE audit_events DISABLE TRIGGER ALL",
        "DROP TABLE audit_events",
        "DELETE FROM audit_chains",
        "UPDATE audit_chains SET tenant_id = 'other'",
        "SET session_replication_role = replica",
    ];
    for statement in changes.iter().chain(&tricks) {
        assert_eq!(
            refused_with(&database.pool, statement).await,
            "42501",
            "{statement}"
        );
    }
    for statement in changes {
        assert_eq!(
            refused_with(&database.owner, statement).await,
            "42501",
            "{statement}"
        );
    }
    let superuser = database.superuser().await;
    let mut connection = superuser.acquire().await.expect("a connection");
    connection
        .execute("SET session_replication_role = replica")
        .await
        .expect("a superuser may");
    for statement in changes {
        let error = connection
            .execute(statement)
            .await
            .expect_err("the triggers always fire");
        assert!(
            error.to_string().contains("append-only"),
            "{statement}: {error}"
        );
    }
}

/// The SQLSTATE with which a statement is refused.
async fn refused_with(pool: &PgPool, statement: &'static str) -> String {
    let error = pool.execute(statement).await.expect_err(statement);
    let error = error.as_database_error().expect("the database refuses");
    error.code().expect("it has a code").into_owned()
}

/// Whoever goes around the triggers and edits a line is told of: the line is
/// named, or where its hash was made to fit, the line after it.
#[tokio::test]
async fn a_tampered_line_is_named() {
    let database = database().await;
    for version in 1..=5 {
        append(&database.pool, &line("txn_1", version)).await;
    }
    let altered = "the line is not what its hash says";
    let unchained = "the line before is not the one this one was chained to";
    let missing = "lines before this one are missing";
    let cut = "the chain does not end where it was last extended";
    let cases = [
        (
            "UPDATE audit_events SET type = 'x' WHERE position = 3",
            vec![(3, altered)],
        ),
        (
            "UPDATE audit_events SET source = 'x' WHERE position = 3",
            vec![(3, altered)],
        ),
        (
            "UPDATE audit_events SET subject = 'x' WHERE position = 3",
            vec![(3, altered)],
        ),
        (
            "UPDATE audit_events SET subject_version = 9 WHERE position = 3",
            vec![(3, altered)],
        ),
        (
            "UPDATE audit_events SET actor = 'x' WHERE position = 3",
            vec![(3, altered)],
        ),
        (
            "UPDATE audit_events SET correlation_id = 'x' WHERE position = 3",
            vec![(3, altered)],
        ),
        (
            "UPDATE audit_events SET data = '{}' WHERE position = 3",
            vec![(3, altered)],
        ),
        (
            "UPDATE audit_events SET event_id = gen_random_uuid() WHERE position = 3",
            vec![(3, altered)],
        ),
        (
            "UPDATE audit_events SET occurred_at = occurred_at + interval '1 microsecond' \
             WHERE position = 3",
            vec![(3, altered)],
        ),
        (
            "UPDATE audit_events SET recorded_at = recorded_at - interval '1 microsecond' \
             WHERE position = 3",
            vec![(3, altered)],
        ),
        (
            "UPDATE audit_events SET previous_hash = sha256('') WHERE position = 3",
            vec![(3, altered)],
        ),
        (
            "UPDATE audit_events SET hash = sha256('') WHERE position = 3",
            vec![(3, altered), (4, unchained)],
        ),
        (
            "DELETE FROM audit_events WHERE position = 3",
            vec![(4, missing)],
        ),
        (
            "DELETE FROM audit_events WHERE position = 1",
            vec![(2, missing)],
        ),
        (
            "DELETE FROM audit_events WHERE position = 5",
            vec![(5, cut)],
        ),
        ("DELETE FROM audit_events", vec![(5, cut)]),
        ("DELETE FROM audit_chains", vec![(5, cut)]),
        ("UPDATE audit_chains SET position = 4", vec![(4, cut)]),
        ("UPDATE audit_chains SET hash = sha256('')", vec![(5, cut)]),
    ];
    let superuser = database.superuser().await;
    let mut connection = superuser.acquire().await.expect("a connection");
    for (statement, expected) in cases {
        let mut transaction = connection.begin().await.expect("a transaction opens");
        transaction
            .execute("ALTER TABLE audit_events DISABLE TRIGGER ALL")
            .await
            .expect("a superuser may");
        transaction.execute(statement).await.expect(statement);
        let expected: Vec<(i64, String)> = expected
            .into_iter()
            .map(|(position, fault)| (position, fault.to_owned()))
            .collect();
        assert_eq!(
            faults(&mut transaction, &AUDIT_CHAIN).await,
            expected,
            "{statement}"
        );
        transaction
            .rollback()
            .await
            .expect("the tampering is undone");
    }
    assert_sound(&database.pool).await;
}

/// A line out of its subject's order is named.
#[tokio::test]
async fn a_line_out_of_order_is_named() {
    let database = database().await;
    for version in [1, 2, 4, 3] {
        append(&database.pool, &line("txn_1", version)).await;
    }
    for version in [1, 7, 9] {
        let source = "bursar.wallet".to_owned();
        append(
            &database.pool,
            &Line {
                source,
                ..line("wal_1", version)
            },
        )
        .await;
    }
    let mut connection = database.pool.acquire().await.expect("a connection");
    let found = faults(&mut connection, &AUDIT_ORDER).await;
    assert_eq!(found, [(3, String::new()), (4, String::new())]);
}

/// `verify` names the altered line, and asks every rule.
#[tokio::test]
async fn verify_shows_the_altered_line() {
    let database = database().await;
    for version in 1..=3 {
        append(&database.pool, &line("txn_1", version)).await;
    }
    let superuser = database.superuser().await;
    for statement in [
        "ALTER TABLE audit_events DISABLE TRIGGER ALL",
        "UPDATE audit_events SET actor = 'nobody' WHERE position = 2",
        "ALTER TABLE audit_events ENABLE ALWAYS TRIGGER audit_events_no_update_delete",
    ] {
        superuser.execute(statement).await.expect(statement);
    }
    let rules = bursar_admin::definition().invariants;
    let verdicts = bursar_server::verify(&database.pool, &rules)
        .await
        .expect("the rules can be asked");
    let numbers: Vec<u8> = verdicts
        .iter()
        .map(|verdict| verdict.invariant.number)
        .collect();
    assert_eq!(numbers, [8, 10, 11, 12, 14]);
    let broken: Vec<_> = verdicts
        .iter()
        .filter(|verdict| verdict.offending_rows > 0)
        .collect();
    let [chain] = broken.as_slice() else {
        panic!("one rule is broken: {verdicts:?}");
    };
    assert_eq!((chain.invariant.number, chain.offending_rows), (14, 1));
    let shown: serde_json::Value = serde_json::from_str(&chain.shown[0]).expect("a row is JSON");
    assert_eq!(shown["position"], 2);
    assert_eq!(shown["fault"], "the line is not what its hash says");
}

//! What a superuser altered is named, by an export and by the invariants.

use bursar_aip::id::UserId;
use bursar_proof::verify::{Subject, VerifyError};
use bursar_server::run_check;
use bursar_wallet::export::{Export, ExportFailed};
use bursar_wallet::invariants::{CHAIN, INVARIANTS};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::{Operator, QUICK, check, pair_of, signed, traffic};
use crate::support::Fixture;

/// The export as the connection sees the ledger.
async fn export(conn: &mut PgConnection) -> Result<Vec<u8>, ExportFailed> {
    let last: i64 = sqlx::query_scalar("SELECT max(height) FROM ledger_blocks")
        .fetch_one(&mut *conn)
        .await?;
    let mut export = Export::new(1, u64::try_from(last).expect("a height"));
    let mut written = Vec::new();
    while let Some(parts) = export.next(conn).await? {
        written.extend(parts.concat());
    }
    Ok(written)
}

/// Whatever of a posting or of its entries is edited, the export's verification
/// names the posting, and so does the rule of `verify`.
#[tokio::test]
async fn an_edited_row_is_named() {
    let fixture = Fixture::start_with(&QUICK).await;
    let wallets = pair_of(&fixture, UserId::generate()).await;
    traffic(&fixture, &wallets, 5).await;
    signed(&fixture.database.pool).await;
    let options = Operator::of(&fixture).options().await;
    let superuser = fixture.database.superuser().await;
    let chosen: Uuid = sqlx::query_scalar("SELECT posting_id FROM entries WHERE amount = -3")
        .fetch_one(&superuser)
        .await
        .expect("the third transfer");
    let edits = [
        format!("UPDATE entries SET amount = -2 WHERE posting_id = '{chosen}' AND amount = -3"),
        format!("UPDATE entries SET balance_after = 7 WHERE posting_id = '{chosen}'"),
        format!("UPDATE entries SET bucket = 'bonus' WHERE posting_id = '{chosen}'"),
        format!("UPDATE entries SET currency = 'USD' WHERE posting_id = '{chosen}'"),
        format!("DELETE FROM entries WHERE posting_id = '{chosen}' AND amount = -3"),
        format!("UPDATE postings SET kind = 'deposit' WHERE id = '{chosen}'"),
        format!("UPDATE postings SET tenant_id = 'other' WHERE id = '{chosen}'"),
        format!("UPDATE postings SET transaction_id = NULL WHERE id = '{chosen}'"),
        format!("UPDATE postings SET fingerprint = sha256('') WHERE id = '{chosen}'"),
        format!("UPDATE postings SET effective_at = 'infinity' WHERE id = '{chosen}'"),
        format!(
            "UPDATE postings SET recorded_at = recorded_at + interval '1 microsecond'
             WHERE id = '{chosen}'"
        ),
    ];
    for edit in edits {
        let mut transaction = superuser.begin().await.expect("a transaction");
        tamper(&mut transaction, &edit).await;
        let altered = export(&mut transaction).await.expect("an export");
        match check(&altered, &options) {
            Err(VerifyError::Altered(found)) => {
                assert_eq!(found.subject, Subject::Posting(chosen), "{edit}: {found}");
            }
            other => panic!("{edit}: {other:?}"),
        }
        let found = (CHAIN.run)(&mut transaction).await.expect("it is checked");
        assert!(found[0].contains(&chosen.to_string()), "{edit}: {found:?}");
        transaction.rollback().await.expect("rolled back");
    }
    let found = run_check(&superuser, &CHAIN).await.expect("it is checked");
    assert_eq!(found, Vec::<String>::new());
    superuser.close().await;
}

/// A posting, a block or a signature that was removed or edited is named.
#[tokio::test]
async fn removed_and_edited_blocks_are_named() {
    let fixture = Fixture::start_with(&QUICK).await;
    let wallets = pair_of(&fixture, UserId::generate()).await;
    traffic(&fixture, &wallets, 2).await;
    signed(&fixture.database.pool).await;
    traffic(&fixture, &wallets, 2).await;
    signed(&fixture.database.pool).await;
    let superuser = fixture.database.superuser().await;
    for (edit, named) in [
        ("DELETE FROM postings WHERE kind = 'deposit'", "is missing"),
        (
            "DELETE FROM ledger_blocks WHERE height = 1",
            "block 1 is missing",
        ),
        (
            "UPDATE ledger_blocks SET sealed_at = sealed_at + interval '1 second' WHERE height = 1",
            "block 1: its hash",
        ),
        (
            "UPDATE ledger_blocks SET leaf_hashes = sha256('') || substr(leaf_hashes, 33)
             WHERE height = 1",
            "block 1: its root",
        ),
        (
            "UPDATE ledger_checkpoints SET signed_at = signed_at - interval '1 second'
             WHERE height = 1",
            "the checkpoint of block 1: its signature",
        ),
    ] {
        let mut transaction = superuser.begin().await.expect("a transaction");
        tamper(&mut transaction, edit).await;
        let found = (CHAIN.run)(&mut transaction).await.expect("it is checked");
        let first = found.first().unwrap_or_else(|| panic!("unseen: {edit}"));
        assert!(first.contains(named), "{edit}: {first}");
        transaction.rollback().await.expect("rolled back");
    }
    superuser.close().await;
}

/// A posting that is older than a minute and was never sealed is named, and so
/// is one that is in two blocks.
#[tokio::test]
async fn unsealed_and_twice_sealed_postings_are_named() {
    let fixture = Fixture::start_with(&QUICK).await;
    let wallets = pair_of(&fixture, UserId::generate()).await;
    traffic(&fixture, &wallets, 1).await;
    signed(&fixture.database.pool).await;
    fixture.verify().await;
    let superuser = fixture.database.superuser().await;
    for edit in [
        "INSERT INTO postings (id, tenant_id, kind, fingerprint, leg_wallet_ids, leg_versions,
             effective_at, recorded_at)
         SELECT gen_random_uuid(), tenant_id, kind, fingerprint, leg_wallet_ids, leg_versions,
             effective_at, recorded_at - interval '2 minutes'
         FROM postings LIMIT 1",
        "INSERT INTO ledger_unsealed (posting_ids, leaf_hashes, wallet_ids, recorded_at)
         SELECT posting_ids, leaf_hashes, '{}', now() FROM ledger_blocks LIMIT 1",
    ] {
        let mut transaction = superuser.begin().await.expect("a transaction");
        tamper(&mut transaction, edit).await;
        let mut broken = 0;
        for rule in INVARIANTS.iter().filter(|rule| rule.number == 14) {
            let rows = sqlx::query(AssertSqlSafe(rule.sql))
                .fetch_all(&mut *transaction)
                .await;
            broken += usize::from(!rows.expect("a query").is_empty());
        }
        assert_eq!(broken, 1, "{edit}");
        transaction.rollback().await.expect("rolled back");
    }
    superuser.close().await;
}

/// The application's role may add blocks and signatures and change none, nor
/// anything of the lease but who has it.
#[tokio::test]
async fn the_application_cannot_change_the_proof() {
    let fixture = Fixture::start_with(&QUICK).await;
    fixture.funded("EUR", 5).await;
    signed(&fixture.database.pool).await;
    let mut statements = vec![
        "DELETE FROM ledger_sealer".to_owned(),
        "INSERT INTO ledger_sealer SELECT * FROM ledger_sealer".to_owned(),
        "UPDATE ledger_unsealed SET leaf_hashes = ''".to_owned(),
    ];
    for table in ["ledger_blocks", "ledger_checkpoints"] {
        statements.extend([
            format!("UPDATE {table} SET height = 7"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table} CASCADE"),
            format!("ALTER TABLE {table} DISABLE TRIGGER ALL"),
            format!("DROP TABLE {table}"),
        ]);
    }
    let superuser = fixture.database.superuser().await;
    for statement in &statements {
        refused(&fixture.database.pool, statement).await;
    }
    for table in ["ledger_blocks", "ledger_checkpoints"] {
        for statement in [
            format!("UPDATE {table} SET height = 7"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table} CASCADE"),
        ] {
            let replica = format!("SET LOCAL session_replication_role = replica; {statement}");
            refused(&fixture.database.owner, &statement).await;
            refused(&superuser, &replica).await;
        }
    }
    superuser.close().await;
}

async fn tamper(conn: &mut PgConnection, edit: &str) {
    let quiet = "SET session_replication_role = replica;
         ALTER TABLE entries DISABLE TRIGGER USER;
         ALTER TABLE postings DISABLE TRIGGER USER;
         ALTER TABLE ledger_blocks DISABLE TRIGGER USER;
         ALTER TABLE ledger_checkpoints DISABLE TRIGGER USER;";
    sqlx::raw_sql(AssertSqlSafe(format!("{quiet} {edit}")))
        .execute(conn)
        .await
        .unwrap_or_else(|error| panic!("{edit}: {error}"));
}

async fn refused(pool: &sqlx::PgPool, statement: &str) {
    let mut transaction = pool.begin().await.expect("a transaction");
    let error = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(&mut *transaction)
        .await
        .err()
        .unwrap_or_else(|| panic!("it was let pass: {statement}"));
    let database = error.as_database_error().expect("the database refuses it");
    assert_eq!(database.code().as_deref(), Some("42501"), "{statement}");
}

//! The rules that always hold, as queries that return no row.
//!
//! All are asked of one snapshot, so that what is written meanwhile breaks none.

use futures::TryStreamExt;
use futures::future::BoxFuture;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Transaction};

/// How many offending rows are counted at most.
const MAX_COUNTED: usize = 1000;
/// How many offending rows are shown.
const MAX_SHOWN: usize = 5;

/// A rule about the data of one database.
#[derive(Debug, Clone, Copy)]
pub struct Invariant {
    /// The rule's number in the list of the platform's invariants.
    pub number: u8,
    /// The rule in words.
    pub name: &'static str,
    /// A query that returns the rows that break it, with columns that say which.
    pub sql: &'static str,
}

/// Whether a rule holds.
#[derive(Debug)]
pub struct Verdict {
    /// The rule.
    pub invariant: Invariant,
    /// How many rows break it, counted up to a thousand.
    pub offending_rows: usize,
    /// The first of them as JSON objects.
    pub shown: Vec<String>,
}

/// A rule that takes more than a query, such as a chain of hashes.
#[derive(Clone, Copy)]
pub struct Check {
    /// The rule's number in the list of the platform's invariants.
    pub number: u8,
    /// The rule in words.
    pub name: &'static str,
    /// Says what breaks it, a line each; a few lines are enough. It runs in one
    /// snapshot, in which nothing can be written.
    pub run: for<'c> fn(&'c mut PgConnection) -> Findings<'c>,
}

/// What breaks a rule, a line each, once it was looked for.
pub type Findings<'c> = BoxFuture<'c, Result<Vec<String>, sqlx::Error>>;

/// Checks a rule that takes more than a query. Returns what breaks it.
pub async fn run_check(pool: &PgPool, check: &Check) -> Result<Vec<String>, sqlx::Error> {
    let mut transaction = snapshot(pool).await?;
    let found = (check.run)(&mut transaction).await?;
    transaction.rollback().await?;
    Ok(found)
}

/// One snapshot for as long as it takes.
async fn snapshot(pool: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let mut transaction = pool
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await?;
    // A rule about everything that ever happened may take its time.
    sqlx::raw_sql(
        "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0",
    )
    .execute(&mut *transaction)
    .await?;
    Ok(transaction)
}

/// Checks rules one by one.
pub async fn verify(pool: &PgPool, invariants: &[Invariant]) -> Result<Vec<Verdict>, sqlx::Error> {
    let mut transaction = snapshot(pool).await?;
    let mut verdicts = Vec::with_capacity(invariants.len());
    for invariant in invariants {
        verdicts.push(check(&mut transaction, *invariant).await?);
    }
    transaction.rollback().await?;
    Ok(verdicts)
}

async fn check(
    connection: &mut PgConnection,
    invariant: Invariant,
) -> Result<Verdict, sqlx::Error> {
    // The rules are constants of the services.
    let sql = format!(
        "SELECT to_json(offending)::text FROM ({}) AS offending",
        invariant.sql
    );
    let mut rows = sqlx::query_scalar::<_, String>(AssertSqlSafe(sql)).fetch(connection);
    let (mut offending_rows, mut shown) = (0, Vec::new());
    while offending_rows < MAX_COUNTED
        && let Some(row) = rows.try_next().await?
    {
        offending_rows += 1;
        if shown.len() < MAX_SHOWN {
            shown.push(row);
        }
    }
    drop(rows);
    Ok(Verdict {
        invariant,
        offending_rows,
        shown,
    })
}

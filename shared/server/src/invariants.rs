//! The rules that always hold, as queries that return no row.

use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, PgPool};

/// How many offending rows are counted at most.
const MAX_COUNTED: usize = 1000;

/// A rule about the data of one database.
#[derive(Debug, Clone, Copy)]
pub struct Invariant {
    /// The rule's number in the list of the platform's invariants.
    pub number: u8,
    /// The rule in words.
    pub name: &'static str,
    /// A query that returns the rows that break it.
    pub sql: &'static str,
}

/// Whether a rule holds.
#[derive(Debug)]
pub struct Verdict {
    /// The rule.
    pub invariant: Invariant,
    /// How many rows break it, counted up to a thousand.
    pub offending_rows: usize,
}

/// Checks rules one by one.
pub async fn verify(pool: &PgPool, invariants: &[Invariant]) -> Result<Vec<Verdict>, sqlx::Error> {
    let mut verdicts = Vec::with_capacity(invariants.len());
    for invariant in invariants {
        let mut rows = sqlx::query(AssertSqlSafe(invariant.sql)).fetch(pool);
        let mut offending_rows = 0;
        while offending_rows < MAX_COUNTED && rows.try_next().await?.is_some() {
            offending_rows += 1;
        }
        verdicts.push(Verdict {
            invariant: *invariant,
            offending_rows,
        });
    }
    Ok(verdicts)
}

//! Faults that were asked for and not used up.

use std::time::Duration;

use sqlx::PgConnection;

use super::unreadable;
use crate::domain::{Fault, FaultKind, FaultOperation};

/// A fault as it was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Arranged {
    /// Its number; 0 before it is recorded.
    pub id: i64,
    /// What it hits.
    pub operation: FaultOperation,
    /// How many requests it still hits.
    pub remaining: i32,
    /// The only reference it hits, when there is one.
    pub reference: Option<String>,
    /// The only amount it hits, when there is one.
    pub amount_minor: Option<i64>,
    /// What it does.
    pub fault: Fault,
}

struct Row {
    fault_id: i64,
    operation: String,
    kind: String,
    remaining: i32,
    reference: Option<String>,
    amount_minor: Option<i64>,
    decline_code: Option<String>,
    delay_ms: i32,
}

impl TryFrom<Row> for Arranged {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let kind = FaultKind::parse(&row.kind).ok_or_else(|| unreadable("kind"))?;
        let delay_ms = u64::try_from(row.delay_ms).map_err(|_| unreadable("delay_ms"))?;
        Ok(Self {
            id: row.fault_id,
            operation: FaultOperation::parse(&row.operation)
                .ok_or_else(|| unreadable("operation"))?,
            remaining: row.remaining,
            reference: row.reference,
            amount_minor: row.amount_minor,
            fault: Fault {
                kind,
                decline_code: row.decline_code,
                delay: Duration::from_millis(delay_ms),
            },
        })
    }
}

/// Records a fault and returns it with its number.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    new: &Arranged,
) -> Result<Arranged, sqlx::Error> {
    let delay_ms = i32::try_from(new.fault.delay.as_millis()).unwrap_or(i32::MAX);
    sqlx::query_as!(
        Row,
        "INSERT INTO faults
             (operation, kind, remaining, reference, amount_minor, decline_code, delay_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         RETURNING fault_id, operation, kind, remaining, reference, amount_minor, decline_code,
             delay_ms",
        new.operation.name(),
        new.fault.kind.name(),
        new.remaining,
        new.reference,
        new.amount_minor,
        new.fault.decline_code,
        delay_ms,
    )
    .fetch_one(conn)
    .await?
    .try_into()
}

/// Uses the oldest fault that hits a request up by one.
pub(crate) async fn take(
    conn: &mut PgConnection,
    operation: FaultOperation,
    reference: &str,
    amount_minor: Option<i64>,
) -> Result<Option<Fault>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        "UPDATE faults
         SET remaining = remaining - 1
         WHERE fault_id = (
             SELECT fault_id
             FROM faults
             WHERE operation = $1
               AND remaining > 0
               AND (reference IS NULL OR reference = $2)
               AND (amount_minor IS NULL OR amount_minor = $3)
             ORDER BY fault_id
             LIMIT 1
             FOR UPDATE
         )
         RETURNING fault_id, operation, kind, remaining, reference, amount_minor, decline_code,
             delay_ms",
        operation.name(),
        reference,
        amount_minor,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row
        .map(Arranged::try_from)
        .transpose()?
        .map(|arranged| arranged.fault))
}

/// The faults that are not used up, oldest first, at most a thousand.
pub(crate) async fn list(conn: &mut PgConnection) -> Result<Vec<Arranged>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT fault_id, operation, kind, remaining, reference, amount_minor, decline_code,
             delay_ms
         FROM faults
         WHERE remaining > 0
         ORDER BY fault_id
         LIMIT 1000",
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(Arranged::try_from)
    .collect()
}

/// Forgets all faults.
pub(crate) async fn clear(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM faults").execute(conn).await?;
    Ok(())
}

//! Faults that were asked for and not used up.

use std::time::Duration;

use sqlx::PgConnection;

use super::unreadable;
use crate::domain::{Fault, FaultKind, FaultOperation, Flapping, NoticeFault};

/// A fault as it was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Arranged {
    /// Its number; 0 before it is recorded.
    pub id: i64,
    /// What it hits.
    pub operation: FaultOperation,
    /// How many requests it still sees.
    pub remaining: i32,
    /// How it comes and goes; without it every request it sees is hit.
    pub flapping: Option<Flapping>,
    /// The only reference it sees, when there is one.
    pub reference: Option<String>,
    /// The only amount it sees, when there is one.
    pub amount_minor: Option<i64>,
    /// The only event of notices it sees, when there is one.
    pub event: Option<String>,
    /// What it does.
    pub effect: Effect,
}

/// What a fault does.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// It hits requests and questions.
    Request(Fault),
    /// It hits notices.
    Notice(NoticeFault),
}

/// A request, question or notice that a fault may hit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occasion<'a> {
    /// What it is.
    pub operation: FaultOperation,
    /// The customer's name for what it is about; empty for lists.
    pub reference: &'a str,
    /// Its amount, when it has one.
    pub amount_minor: Option<i64>,
    /// The event, of notices.
    pub event: Option<&'a str>,
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
    http_status: Option<i16>,
    copies: Option<i16>,
    event: Option<String>,
    flapping_fail: Option<i32>,
    flapping_of: Option<i32>,
    /// Whether the last request that it saw was hit.
    hits: bool,
}

impl Effect {
    /// The name in the API and in the database.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Request(fault) => fault.kind.name(),
            Self::Notice(fault) => fault.name(),
        }
    }

    /// How late something comes.
    pub(crate) fn delay(&self) -> Duration {
        match self {
            Self::Request(fault) => fault.delay,
            Self::Notice(fault) => fault.delay().unwrap_or_default(),
        }
    }

    /// What it does to requests.
    pub(crate) fn request(&self) -> Option<&Fault> {
        match self {
            Self::Request(fault) => Some(fault),
            Self::Notice(_) => None,
        }
    }

    /// How often more than once a notice is sent.
    pub(crate) fn copies(&self) -> Option<u16> {
        match self {
            Self::Request(_) => None,
            Self::Notice(fault) => fault.copies(),
        }
    }
}

impl<'a> Occasion<'a> {
    /// A question about a reference.
    pub(crate) fn status(reference: &'a str) -> Self {
        Self {
            operation: FaultOperation::Status,
            reference,
            amount_minor: None,
            event: None,
        }
    }
}

impl TryFrom<Row> for Arranged {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let operation =
            FaultOperation::parse(&row.operation).ok_or_else(|| unreadable("operation"))?;
        let delay_ms = u64::try_from(row.delay_ms).map_err(|_| unreadable("delay_ms"))?;
        let delay = Duration::from_millis(delay_ms);
        let small = |number: Option<i16>, column| {
            number
                .map(|number| u16::try_from(number).map_err(|_| unreadable(column)))
                .transpose()
        };
        let effect = if operation == FaultOperation::Callback {
            let copies = small(row.copies, "copies")?;
            NoticeFault::parse(&row.kind, copies, delay).map(Effect::Notice)
        } else {
            let http_status = small(row.http_status, "http_status")?;
            FaultKind::parse(&row.kind).map(|kind| {
                Effect::Request(Fault {
                    kind,
                    decline_code: row.decline_code,
                    delay,
                    http_status,
                })
            })
        };
        Ok(Self {
            id: row.fault_id,
            operation,
            remaining: row.remaining,
            flapping: row
                .flapping_fail
                .zip(row.flapping_of)
                .map(|(fail, of)| Flapping { fail, of }),
            reference: row.reference,
            amount_minor: row.amount_minor,
            event: row.event,
            effect: effect.ok_or_else(|| unreadable("kind"))?,
        })
    }
}

/// Records a fault and returns it with its number.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    new: &Arranged,
) -> Result<Arranged, sqlx::Error> {
    let delay_ms = i32::try_from(new.effect.delay().as_millis()).unwrap_or(i32::MAX);
    let request = new.effect.request();
    let small = |number: Option<u16>| number.and_then(|number| i16::try_from(number).ok());
    sqlx::query_as!(
        Row,
        r#"INSERT INTO faults
             (operation, kind, remaining, reference, amount_minor, decline_code, delay_ms,
              http_status, copies, event, flapping_fail, flapping_of)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         RETURNING fault_id, operation, kind, remaining, reference, amount_minor, decline_code,
             delay_ms, http_status, copies, event, flapping_fail, flapping_of, true AS "hits!""#,
        new.operation.name(),
        new.effect.name(),
        new.remaining,
        new.reference,
        new.amount_minor,
        request.and_then(|fault| fault.decline_code.as_deref()),
        delay_ms,
        small(request.and_then(|fault| fault.http_status)),
        small(new.effect.copies()),
        new.event,
        new.flapping.map(|flapping| flapping.fail),
        new.flapping.map(|flapping| flapping.of),
    )
    .fetch_one(conn)
    .await?
    .try_into()
}

/// What the oldest fault that sees an occasion does to it; the fault is used up
/// by one. `None` when there is none or it lets this one pass.
async fn take_effect(
    conn: &mut PgConnection,
    occasion: Occasion<'_>,
) -> Result<Option<Effect>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        r#"UPDATE faults
         SET remaining = remaining - 1, seen = seen + 1
         WHERE fault_id = (
             SELECT fault_id
             FROM faults
             WHERE operation = $1
               AND remaining > 0
               AND (reference IS NULL OR reference = $2)
               AND (amount_minor IS NULL OR amount_minor = $3)
               AND (event IS NULL OR event = $4)
             ORDER BY fault_id
             LIMIT 1
             FOR UPDATE
         )
         RETURNING fault_id, operation, kind, remaining, reference, amount_minor, decline_code,
             delay_ms, http_status, copies, event, flapping_fail, flapping_of,
             (flapping_of IS NULL OR (seen - 1) % flapping_of < flapping_fail) AS "hits!""#,
        occasion.operation.name(),
        occasion.reference,
        occasion.amount_minor,
        occasion.event,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row.filter(|row| row.hits) else {
        return Ok(None);
    };
    Arranged::try_from(row).map(|arranged| Some(arranged.effect))
}

/// What a fault does to a request or question.
pub(crate) async fn take(
    conn: &mut PgConnection,
    occasion: Occasion<'_>,
) -> Result<Option<Fault>, sqlx::Error> {
    match take_effect(conn, occasion).await? {
        Some(Effect::Request(fault)) => Ok(Some(fault)),
        Some(Effect::Notice(_)) | None => Ok(None),
    }
}

/// What a fault does to a notice.
pub(crate) async fn take_for_notice(
    conn: &mut PgConnection,
    reference: &str,
    amount_minor: i64,
    event: &str,
) -> Result<Option<NoticeFault>, sqlx::Error> {
    let occasion = Occasion {
        operation: FaultOperation::Callback,
        reference,
        amount_minor: Some(amount_minor),
        event: Some(event),
    };
    match take_effect(conn, occasion).await? {
        Some(Effect::Notice(fault)) => Ok(Some(fault)),
        Some(Effect::Request(_)) | None => Ok(None),
    }
}

/// Remembers that a reference had its surprise; false when it had it before.
pub(crate) async fn surprise_once(
    conn: &mut PgConnection,
    operation: FaultOperation,
    reference: &str,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "INSERT INTO surprises_had (operation, reference) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        operation.name(),
        reference,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The faults that are not used up, oldest first, at most a thousand.
pub(crate) async fn list(conn: &mut PgConnection) -> Result<Vec<Arranged>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT fault_id, operation, kind, remaining, reference, amount_minor, decline_code,
             delay_ms, http_status, copies, event, flapping_fail, flapping_of, true AS "hits!"
         FROM faults
         WHERE remaining > 0
         ORDER BY fault_id
         LIMIT 1000"#,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(Arranged::try_from)
    .collect()
}

/// Forgets one fault; false when there is none of that number.
pub(crate) async fn remove(conn: &mut PgConnection, id: i64) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!("DELETE FROM faults WHERE fault_id = $1", id)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Forgets all faults.
pub(crate) async fn clear(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM faults").execute(conn).await?;
    Ok(())
}

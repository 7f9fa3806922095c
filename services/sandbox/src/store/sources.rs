//! What refunds and captures draw on.
//!
//! A draw locks its source's row, decides, and counts itself there, all in one
//! transaction, and locks one source only. A draw that is declined in the end
//! gives its amount back; only one transaction at a time finishes draws
//! ([`super::clock::finish_alone`]), so nobody waits in a circle.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{authorizations, unreadable};
use crate::domain::{Fund, FundState, Source, SourceKind, Status};

/// A source as it is, which nobody else changes until the transaction ends;
/// `None` when there is none.
pub(crate) async fn lock(
    conn: &mut PgConnection,
    source: &Source,
    now: OffsetDateTime,
) -> Result<Option<Fund>, sqlx::Error> {
    if source.kind == SourceKind::Authorization {
        let found = authorizations::lock(conn, &source.reference).await?;
        return Ok(found.map(|authorization| authorization.fund(now)));
    }
    let row = sqlx::query!(
        "SELECT status, currency, amount_minor, refunded_minor
         FROM movements
         WHERE kind = $1 AND reference = $2
         FOR UPDATE",
        source.kind.name(),
        source.reference,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        let status = Status::parse(&row.status).ok_or_else(|| unreadable("status"))?;
        Ok(Fund {
            state: match status {
                Status::Pending => FundState::Pending,
                Status::Succeeded => FundState::Open,
                Status::Declined => FundState::Declined,
            },
            currency: row.currency,
            amount_minor: row.amount_minor,
            taken_minor: row.refunded_minor,
        })
    })
    .transpose()
}

/// Counts what is drawn on a source, or with a negative amount what is given
/// back to it. The table refuses more than there is.
pub(crate) async fn count(
    conn: &mut PgConnection,
    source: &Source,
    amount_minor: i64,
) -> Result<(), sqlx::Error> {
    if source.kind == SourceKind::Authorization {
        sqlx::query!(
            "UPDATE card_authorizations SET captured_minor = captured_minor + $2
             WHERE reference = $1",
            source.reference,
            amount_minor,
        )
        .execute(conn)
        .await?;
    } else {
        sqlx::query!(
            "UPDATE movements SET refunded_minor = refunded_minor + $3
             WHERE kind = $1 AND reference = $2",
            source.kind.name(),
            source.reference,
            amount_minor,
        )
        .execute(conn)
        .await?;
    }
    Ok(())
}

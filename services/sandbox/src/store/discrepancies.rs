//! What is to be wrong with settlement files.

use sqlx::PgConnection;
use time::Date;

use super::unreadable;
use crate::domain::settlement::{Discrepancy, DiscrepancyKind, Target};

/// The most discrepancies that a day's file can have, or that are listed.
pub(crate) const MAX: i64 = 10_000;

struct Row {
    discrepancy_id: i64,
    day: Date,
    kind: String,
    reference: Option<String>,
    movement_kind: Option<String>,
    line: Option<i64>,
    minor: Option<i64>,
    currency: Option<String>,
    days: Option<i32>,
}

impl TryFrom<Row> for Discrepancy {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let minor = row.minor.ok_or_else(|| unreadable("minor"));
        let currency = row.currency.ok_or_else(|| unreadable("currency"));
        let kind = match row.kind.as_str() {
            "drop_line" => DiscrepancyKind::DropLine,
            "duplicate_line" => DiscrepancyKind::DuplicateLine,
            "change_amount" => DiscrepancyKind::ChangeAmount(minor?),
            "change_currency" => DiscrepancyKind::ChangeCurrency(currency?),
            "unknown_reference" => DiscrepancyKind::UnknownReference,
            "wrong_date" => DiscrepancyKind::WrongDate(row.days.ok_or_else(|| unreadable("days"))?),
            "extra_line" => DiscrepancyKind::ExtraLine {
                amount_minor: minor?,
                currency: currency?,
            },
            "wrong_trailer" => DiscrepancyKind::WrongTrailer,
            _ => return Err(unreadable("kind")),
        };
        let target = match (row.reference, row.line) {
            (None, None) => Target::File,
            (Some(reference), None) => Target::Reference {
                reference,
                kind: row.movement_kind,
            },
            (None, Some(line)) => {
                Target::Number(u64::try_from(line).map_err(|_| unreadable("line"))?)
            }
            (Some(_), Some(_)) => return Err(unreadable("line")),
        };
        Ok(Self {
            id: row.discrepancy_id,
            day: row.day,
            target,
            kind,
        })
    }
}

/// Records a discrepancy and returns its number; `None` when the day has as many
/// as it may have.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    new: &Discrepancy,
) -> Result<Option<i64>, sqlx::Error> {
    let (reference, movement_kind, line) = match &new.target {
        Target::File => (None, None, None),
        Target::Number(number) => (None, None, i64::try_from(*number).ok()),
        Target::Reference { reference, kind } => (Some(reference), kind.as_ref(), None),
    };
    let (minor, currency, days) = match &new.kind {
        DiscrepancyKind::DropLine
        | DiscrepancyKind::DuplicateLine
        | DiscrepancyKind::UnknownReference
        | DiscrepancyKind::WrongTrailer => (None, None, None),
        DiscrepancyKind::ChangeAmount(by) => (Some(*by), None, None),
        DiscrepancyKind::ChangeCurrency(currency) => (None, Some(currency), None),
        DiscrepancyKind::WrongDate(days) => (None, None, Some(*days)),
        DiscrepancyKind::ExtraLine {
            amount_minor,
            currency,
        } => (Some(*amount_minor), Some(currency), None),
    };
    sqlx::query_scalar!(
        "INSERT INTO planted_discrepancies
             (day, kind, reference, movement_kind, line, minor, currency, days)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8
         WHERE (SELECT count(*) FROM planted_discrepancies WHERE day = $1) < $9
         RETURNING discrepancy_id",
        new.day,
        new.kind.name(),
        reference,
        movement_kind,
        line,
        minor,
        currency,
        days,
        MAX,
    )
    .fetch_optional(conn)
    .await
}

/// What is to be wrong with the file of a day, oldest first.
pub(crate) async fn of_day(
    conn: &mut PgConnection,
    day: Date,
) -> Result<Vec<Discrepancy>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT discrepancy_id, day, kind, reference, movement_kind, line, minor, currency, days
         FROM planted_discrepancies
         WHERE day = $1
         ORDER BY discrepancy_id
         LIMIT $2",
        day,
        MAX,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(Discrepancy::try_from)
    .collect()
}

/// What is to be wrong with any file, by day.
pub(crate) async fn list(conn: &mut PgConnection) -> Result<Vec<Discrepancy>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT discrepancy_id, day, kind, reference, movement_kind, line, minor, currency, days
         FROM planted_discrepancies
         ORDER BY day, discrepancy_id
         LIMIT $1",
        MAX,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(Discrepancy::try_from)
    .collect()
}

/// Takes one discrepancy back; false when there is none of that number.
pub(crate) async fn remove(conn: &mut PgConnection, id: i64) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM planted_discrepancies WHERE discrepancy_id = $1",
        id,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes all discrepancies back.
pub(crate) async fn clear(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM planted_discrepancies")
        .execute(conn)
        .await?;
    Ok(())
}

//! Breaks as operators see them.

use bursar_aip::id::{BreakId, SettlementFileId, TenantId, TransactionId};
use bursar_money::{Currency, Money};
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use crate::domain::{Answer, State};
use crate::reconciliation::breaks::Side;
use crate::reconciliation::{Line, LineType, Reason};
use crate::store::transactions::Stored;
use crate::store::unreadable;

/// A break as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredBreak {
    pub(crate) id: BreakId,
    pub(crate) provider: String,
    pub(crate) reason: Reason,
    pub(crate) settlement_date: Date,
    pub(crate) file: SettlementFileId,
    pub(crate) line: Option<BrokenLine>,
    pub(crate) transaction: Option<BrokenTransaction>,
    pub(crate) first_seen_at: OffsetDateTime,
    pub(crate) last_seen_at: OffsetDateTime,
    /// How it ended; `None` while it is open.
    pub(crate) end: Option<End>,
}

/// The provider's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrokenLine {
    pub(crate) number: i64,
    pub(crate) reference: String,
    pub(crate) provider_reference: String,
    pub(crate) type_word: String,
    /// What moved; the amount is as the line has it.
    pub(crate) side: Side,
    pub(crate) occurred_at: OffsetDateTime,
}

/// Our side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrokenTransaction {
    pub(crate) id: TransactionId,
    pub(crate) side: Side,
    pub(crate) state: State,
}

/// How a break ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) resolution: Resolution,
    pub(crate) note: String,
    pub(crate) by: String,
    pub(crate) at: OffsetDateTime,
}

/// The ways in which a break ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// A later line or state explained it.
    MatchedLater,
    /// The books were adjusted.
    Adjusted,
    /// The provider corrected its side.
    CorrectedByProvider,
    /// The difference is accepted.
    WrittenOff,
    /// It was no difference.
    FalseAlarm,
}

impl Resolution {
    const ALL: [Self; 5] = [
        Self::MatchedLater,
        Self::Adjusted,
        Self::CorrectedByProvider,
        Self::WrittenOff,
        Self::FalseAlarm,
    ];

    /// The name in the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MatchedLater => "MATCHED_LATER",
            Self::Adjusted => "ADJUSTED",
            Self::CorrectedByProvider => "CORRECTED_BY_PROVIDER",
            Self::WrittenOff => "WRITTEN_OFF",
            Self::FalseAlarm => "FALSE_ALARM",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|end| end.name() == name)
    }
}

struct Row {
    break_id: Uuid,
    provider: String,
    reason: String,
    settlement_date: Date,
    file_id: Uuid,
    line: Option<i64>,
    reference: Option<String>,
    provider_reference: Option<String>,
    type_word: Option<String>,
    line_type: Option<String>,
    line_currency: Option<String>,
    line_gross_minor: Option<i64>,
    line_occurred_at: Option<OffsetDateTime>,
    transaction_id: Option<Uuid>,
    transaction_type: Option<String>,
    transaction_currency: Option<String>,
    transaction_minor: Option<i64>,
    transaction_state: Option<String>,
    first_seen_at: OffsetDateTime,
    last_seen_at: OffsetDateTime,
    resolution: Option<String>,
    note: Option<String>,
    resolved_by: Option<String>,
    resolved_at: Option<OffsetDateTime>,
}

fn side(
    kind: Option<&str>,
    currency: Option<&str>,
    amount: Option<i64>,
) -> Result<Option<Side>, sqlx::Error> {
    let (Some(kind), Some(currency), Some(amount_minor)) = (kind, currency, amount) else {
        return Ok(None);
    };
    Ok(Some(Side {
        kind: LineType::parse(kind).ok_or_else(|| unreadable("line_type"))?,
        currency: Currency::parse(currency).map_err(|_| unreadable("currency"))?,
        amount_minor,
    }))
}

impl Row {
    fn broken_line(&self) -> Result<Option<BrokenLine>, sqlx::Error> {
        let side = side(
            self.line_type.as_deref(),
            self.line_currency.as_deref(),
            self.line_gross_minor,
        )?;
        let (Some(side), Some(number), Some(occurred_at)) =
            (side, self.line, self.line_occurred_at)
        else {
            return Ok(None);
        };
        Ok(Some(BrokenLine {
            number,
            reference: self.reference.clone().unwrap_or_default(),
            provider_reference: self.provider_reference.clone().unwrap_or_default(),
            type_word: self.type_word.clone().unwrap_or_default(),
            side,
            occurred_at,
        }))
    }

    fn broken_transaction(&self) -> Result<Option<BrokenTransaction>, sqlx::Error> {
        let side = side(
            self.transaction_type.as_deref(),
            self.transaction_currency.as_deref(),
            self.transaction_minor,
        )?;
        let (Some(side), Some(id), Some(state)) =
            (side, self.transaction_id, &self.transaction_state)
        else {
            return Ok(None);
        };
        Ok(Some(BrokenTransaction {
            id: TransactionId::from_uuid(id),
            side,
            state: State::parse(state).ok_or_else(|| unreadable("transaction_state"))?,
        }))
    }

    fn end(&self) -> Result<Option<End>, sqlx::Error> {
        let (Some(resolution), Some(by), Some(at)) =
            (&self.resolution, &self.resolved_by, self.resolved_at)
        else {
            return Ok(None);
        };
        Ok(Some(End {
            resolution: Resolution::parse(resolution).ok_or_else(|| unreadable("resolution"))?,
            note: self.note.clone().unwrap_or_default(),
            by: by.clone(),
            at,
        }))
    }
}

impl TryFrom<Row> for StoredBreak {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: BreakId::from_uuid(row.break_id),
            reason: Reason::parse(&row.reason).ok_or_else(|| unreadable("reason"))?,
            settlement_date: row.settlement_date,
            file: SettlementFileId::from_uuid(row.file_id),
            line: row.broken_line()?,
            transaction: row.broken_transaction()?,
            first_seen_at: row.first_seen_at,
            last_seen_at: row.last_seen_at,
            end: row.end()?,
            provider: row.provider,
        })
    }
}

/// Which breaks a list has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) provider: Option<&'a str>,
    pub(crate) is_open: Option<bool>,
    pub(crate) reason: Option<Reason>,
    pub(crate) file: Option<SettlementFileId>,
    pub(crate) transaction: Option<TransactionId>,
    pub(crate) before: Option<BreakId>,
    pub(crate) limit: i64,
}

/// A page of breaks, newest first.
#[tracing::instrument(name = "store.settlement_breaks.list", skip_all)]
pub(crate) async fn list(
    conn: &mut PgConnection,
    wanted: Wanted<'_>,
) -> Result<Vec<StoredBreak>, sqlx::Error> {
    let state = wanted
        .is_open
        .map(|is_open| if is_open { "OPEN" } else { "RESOLVED" });
    sqlx::query_as!(
        Row,
        "SELECT break_id, provider, reason, settlement_date, file_id, line, reference,
             provider_reference, type_word, line_type, line_currency, line_gross_minor,
             line_occurred_at, transaction_id, transaction_type, transaction_currency,
             transaction_minor, transaction_state, first_seen_at, last_seen_at, resolution, note,
             resolved_by, resolved_at
         FROM settlement_breaks
         WHERE tenant_id = $1
           AND ($2::text IS NULL OR provider = $2)
           AND ($3::text IS NULL OR state = $3)
           AND ($4::text IS NULL OR reason = $4)
           AND ($5::uuid IS NULL OR file_id = $5)
           AND ($6::uuid IS NULL OR transaction_id = $6)
           AND ($7::uuid IS NULL OR break_id < $7)
         ORDER BY break_id DESC
         LIMIT $8",
        wanted.tenant.as_str(),
        wanted.provider,
        state,
        wanted.reason.map(Reason::name),
        wanted.file.map(SettlementFileId::uuid),
        wanted.transaction.map(TransactionId::uuid),
        wanted.before.map(BreakId::uuid),
        wanted.limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(StoredBreak::try_from)
    .collect()
}

/// The break of an id.
#[tracing::instrument(name = "store.settlement_breaks.find", skip_all)]
pub(crate) async fn find(
    conn: &mut PgConnection,
    tenant: &TenantId,
    id: BreakId,
) -> Result<Option<StoredBreak>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT break_id, provider, reason, settlement_date, file_id, line, reference,
             provider_reference, type_word, line_type, line_currency, line_gross_minor,
             line_occurred_at, transaction_id, transaction_type, transaction_currency,
             transaction_minor, transaction_state, first_seen_at, last_seen_at, resolution, note,
             resolved_by, resolved_at
         FROM settlement_breaks
         WHERE break_id = $1 AND tenant_id = $2",
        id.uuid(),
        tenant.as_str(),
    )
    .fetch_optional(conn)
    .await?
    .map(StoredBreak::try_from)
    .transpose()
}

/// Resolves a break that is open; false when it is not.
#[tracing::instrument(name = "store.settlement_breaks.resolve", skip_all)]
pub(crate) async fn resolve(
    conn: &mut PgConnection,
    tenant: &TenantId,
    id: BreakId,
    resolution: Resolution,
    note: &str,
    by: &str,
) -> Result<bool, sqlx::Error> {
    let resolved = sqlx::query!(
        "UPDATE settlement_breaks
         SET state = 'RESOLVED', resolution = $3, note = $4, resolved_by = $5,
             resolved_at = clock_timestamp()
         WHERE break_id = $1 AND tenant_id = $2 AND state = 'OPEN'",
        id.uuid(),
        tenant.as_str(),
        resolution.name(),
        note,
        by,
    )
    .execute(conn)
    .await?;
    Ok(resolved.rows_affected() == 1)
}

/// What an open break's line says of a payout under way: that the provider made it, and
/// of how much. The line was joined with the transaction by a rule; that of which it is
/// not certain what it means is no evidence.
#[tracing::instrument(name = "store.settlement_breaks.settled_payout", skip_all)]
pub(crate) async fn settled_payout(
    conn: &mut PgConnection,
    stored: &Stored,
) -> Result<Option<Answer>, sqlx::Error> {
    let transaction = &stored.transaction;
    let Some(provider) = transaction.movement.provider() else {
        return Ok(None);
    };
    let row = sqlx::query!(
        r#"SELECT provider_reference AS "provider_reference!", reference AS "reference!",
             line_currency AS "line_currency!", line_gross_minor AS "line_gross_minor!"
         FROM settlement_breaks
         WHERE transaction_id = $1 AND tenant_id = $2 AND provider = $3 AND state = 'OPEN'
           AND reason = $4 AND line_type = $5
         ORDER BY break_id
         LIMIT 1"#,
        transaction.id.uuid(),
        stored.tenant.as_str(),
        provider.as_str(),
        Reason::StatusMismatch.name(),
        LineType::Payout.name(),
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let currency = Currency::parse(&row.line_currency).map_err(|_| unreadable("line_currency"))?;
    let moved = Line::moved(LineType::Payout, row.line_gross_minor);
    let told = [row.provider_reference, row.reference];
    Ok(Some(Answer::Succeeded {
        reference: told
            .into_iter()
            .find(|text| !text.is_empty())
            .unwrap_or_default(),
        amount: Money::new(currency, moved),
    }))
}

//! The transactions of a time range, for back-tests.

use bursar_aip::id::{TenantId, TransactionId, UserId, WalletId};
use bursar_money::{Currency, PositiveMoney};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::MovementKind;
use crate::fraud::Subject;
use crate::store::{id_time, unreadable};

/// A transaction that was screened, or would have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Past {
    pub(crate) subject: Subject,
    pub(crate) is_completed: bool,
}

/// Which transactions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) from: OffsetDateTime,
    pub(crate) until: OffsetDateTime,
    /// The last one of the page before.
    pub(crate) after: Option<TransactionId>,
    pub(crate) limit: i64,
}

struct Row {
    transaction_id: Uuid,
    kind: String,
    currency_code: String,
    amount_minor: i64,
    to_wallet_id: Option<Uuid>,
    provider: Option<String>,
    initiator_user_id: Uuid,
    created_at: OffsetDateTime,
    is_completed: bool,
}

impl Row {
    fn past(self, tenant: &TenantId) -> Result<Past, sqlx::Error> {
        let kind = MovementKind::parse(&self.kind).ok_or_else(|| unreadable("kind"))?;
        let currency =
            Currency::parse(&self.currency_code).map_err(|_| unreadable("currency_code"))?;
        let amount = PositiveMoney::new(currency, self.amount_minor)
            .map_err(|_| unreadable("amount_minor"))?;
        let provider = self.provider.map(|name| name.parse()).transpose();
        Ok(Past {
            subject: Subject {
                tenant: tenant.clone(),
                transaction: TransactionId::from_uuid(self.transaction_id),
                user: UserId::from_uuid(self.initiator_user_id),
                kind,
                amount,
                payee: match kind {
                    MovementKind::Transfer => self.to_wallet_id.map(WalletId::from_uuid),
                    MovementKind::Deposit
                    | MovementKind::Withdrawal
                    | MovementKind::Refund
                    | MovementKind::Adjustment
                    | MovementKind::BonusGrant => None,
                },
                provider: provider.map_err(|_| unreadable("provider"))?,
                at: self.created_at,
            },
            is_completed: self.is_completed,
        })
    }
}

/// The transactions of a range that are screened, in the order of their ids.
#[tracing::instrument(name = "store.fraud.past", skip_all)]
pub(crate) async fn read(
    conn: &mut PgConnection,
    range: Range<'_>,
) -> Result<Vec<Past>, sqlx::Error> {
    // The primary key finds about the range, and the rows' own time what is in it.
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT transaction_id, kind, currency_code, amount_minor, to_wallet_id, provider,
             initiator_user_id, created_at, state = 'COMPLETED' AS "is_completed!"
         FROM transactions
         WHERE tenant_id = $1
           AND transaction_id >= $2 AND transaction_id < $3
           AND created_at >= $4 AND created_at < $5
           AND ($6::uuid IS NULL OR transaction_id > $6)
           AND kind IN ('transfer', 'deposit', 'withdrawal')
         ORDER BY transaction_id
         LIMIT $7"#,
        range.tenant.as_str(),
        id_time::first(range.from),
        id_time::end(range.until),
        range.from,
        range.until,
        range.after.map(TransactionId::uuid),
        range.limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| row.past(range.tenant)).collect()
}

//! The transactions, as far as the other databases must agree with them.

use futures::{Stream, TryStreamExt};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::Keyed;

/// A transaction.
#[derive(Clone, Debug, FromRow)]
pub(super) struct Transaction {
    pub(super) transaction_id: Uuid,
    /// `transfer`, `deposit`, `withdrawal`, `refund`, `adjustment` or `bonus_grant`.
    pub(super) kind: String,
    pub(super) state: String,
    pub(super) currency_code: String,
    pub(super) amount_minor: i64,
    pub(super) from_wallet_id: Option<Uuid>,
    pub(super) to_wallet_id: Option<Uuid>,
    pub(super) provider: Option<String>,
    /// What the wallet that the money leaves pays, the fee that its owner bears
    /// included; of a refund the platform may pay a part.
    pub(super) wallet_pays_minor: i64,
    /// What the platform takes for it.
    pub(super) fee_minor: i64,
    /// What reaches a wallet, without the fee that its owner bears.
    pub(super) credited_minor: i64,
    /// The currency in which it does.
    pub(super) credited_currency: String,
}

impl Keyed for Transaction {
    fn id(&self) -> Uuid {
        self.transaction_id
    }
}

impl Transaction {
    pub(super) fn is_completed(&self) -> bool {
        self.state == "COMPLETED"
    }

    pub(super) fn is_failed(&self) -> bool {
        self.state == "FAILED"
    }

    /// Whether the simulated provider, whose books can be read, takes part.
    pub(super) fn is_at_sandbox(&self) -> bool {
        self.provider.as_deref() == Some("sandbox")
    }
}

/// Every transaction, by id.
pub(super) fn all(
    connection: &mut PgConnection,
) -> impl Stream<Item = sqlx::Result<Transaction>> + '_ {
    sqlx::query_as(
        "SELECT transaction_id, kind, state, currency_code, amount_minor,
                from_wallet_id, to_wallet_id, provider,
                coalesce(share_wallet_minor, amount_minor)
                    + CASE fee_payer WHEN 'SENDER' THEN fee_minor ELSE 0 END AS wallet_pays_minor,
                coalesce(fee_minor, 0) AS fee_minor,
                coalesce(
                    converted_minor,
                    amount_minor - CASE fee_payer WHEN 'RECIPIENT' THEN fee_minor ELSE 0 END
                ) AS credited_minor,
                coalesce(converted_currency_code, currency_code) AS credited_currency
         FROM transactions
         ORDER BY transaction_id",
    )
    .fetch(connection)
}

/// Every transaction in which the simulated provider takes part, by id.
pub(super) fn at_provider(
    connection: &mut PgConnection,
) -> impl Stream<Item = sqlx::Result<Transaction>> + '_ {
    all(connection).try_filter(|transaction| std::future::ready(transaction.is_at_sandbox()))
}

/// One transaction.
pub(super) async fn one(
    connection: &mut PgConnection,
    id: Uuid,
) -> sqlx::Result<Option<Transaction>> {
    sqlx::query_as(
        "SELECT transaction_id, kind, state, currency_code, amount_minor,
                from_wallet_id, to_wallet_id, provider,
                coalesce(share_wallet_minor, amount_minor)
                    + CASE fee_payer WHEN 'SENDER' THEN fee_minor ELSE 0 END AS wallet_pays_minor,
                coalesce(fee_minor, 0) AS fee_minor,
                coalesce(
                    converted_minor,
                    amount_minor - CASE fee_payer WHEN 'RECIPIENT' THEN fee_minor ELSE 0 END
                ) AS credited_minor,
                coalesce(converted_currency_code, currency_code) AS credited_currency
         FROM transactions
         WHERE transaction_id = $1",
    )
    .bind(id)
    .fetch_optional(connection)
    .await
}

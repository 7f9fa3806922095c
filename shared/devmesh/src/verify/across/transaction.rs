//! The transactions, as far as the other databases must agree with them.

use futures::{Stream, TryStreamExt};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::Keyed;

/// A transaction.
#[derive(Clone, Debug, FromRow)]
pub(super) struct Transaction {
    pub(super) transaction_id: Uuid,
    /// `transfer`, `deposit`, `withdrawal` or `refund`.
    pub(super) kind: String,
    pub(super) state: String,
    pub(super) currency_code: String,
    pub(super) amount_minor: i64,
    pub(super) from_wallet_id: Option<Uuid>,
    pub(super) to_wallet_id: Option<Uuid>,
    pub(super) provider: Option<String>,
    /// What the wallet that the money leaves pays of the amount; of a refund the
    /// platform may pay the rest.
    pub(super) wallet_pays_minor: i64,
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
                coalesce(share_wallet_minor, amount_minor) AS wallet_pays_minor
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
                coalesce(share_wallet_minor, amount_minor) AS wallet_pays_minor
         FROM transactions
         WHERE transaction_id = $1",
    )
    .bind(id)
    .fetch_optional(connection)
    .await
}

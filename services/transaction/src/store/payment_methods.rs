//! What a provider is to charge for a deposit, kept while it may still have to be asked.
//!
//! It is written in the intent's commit and erased by
//! [`transactions::update`](super::transactions::update) in the commit by which the
//! provider need not be asked any more; a constraint of the table holds that. It is no
//! part of the transaction's fold: no event, answer or log has it.

use bursar_aip::id::TransactionId;
use sqlx::PgConnection;

use crate::provider::PaymentMethod;

/// Keeps what is to be charged for a deposit that was recorded in the same database
/// transaction.
#[tracing::instrument(name = "store.payment_methods.keep", skip_all)]
pub(crate) async fn keep(
    conn: &mut PgConnection,
    id: TransactionId,
    method: &PaymentMethod,
) -> Result<(), sqlx::Error> {
    let kept = sqlx::query!(
        "UPDATE transactions SET payment_method = $2 WHERE transaction_id = $1",
        id.uuid(),
        method.expose(),
    )
    .execute(conn)
    .await?;
    match kept.rows_affected() {
        1 => Ok(()),
        _ => Err(sqlx::Error::RowNotFound),
    }
}

/// What is to be charged; `None` when the provider need not be asked any more.
#[tracing::instrument(name = "store.payment_methods.find", skip_all)]
pub(crate) async fn find(
    conn: &mut PgConnection,
    id: TransactionId,
) -> Result<Option<PaymentMethod>, sqlx::Error> {
    let found = sqlx::query_scalar!(
        "SELECT payment_method FROM transactions WHERE transaction_id = $1",
        id.uuid(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(found.flatten().map(PaymentMethod::kept))
}

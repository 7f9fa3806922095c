//! Whom transactions concern, for those who watch.

use std::collections::HashMap;

use bursar_aip::id::UserId;
use sqlx::PgConnection;
use uuid::Uuid;

/// The users who may see each of these transactions: who started it, whom the money
/// reached, and whose wallet a refund or an adjustment takes from.
#[tracing::instrument(name = "store.watch_owners.of", skip_all)]
pub(crate) async fn of(
    conn: &mut PgConnection,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, Vec<UserId>>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT transaction_id, initiator_user_id, beneficiary_user_id, payer_user_id
         FROM transactions
         WHERE transaction_id = ANY ($1)",
        ids,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let mut users: Vec<UserId> = [
                Some(row.initiator_user_id),
                row.beneficiary_user_id,
                row.payer_user_id,
            ]
            .into_iter()
            .flatten()
            .map(UserId::from_uuid)
            .collect();
            users.sort_unstable();
            users.dedup();
            (row.transaction_id, users)
        })
        .collect())
}

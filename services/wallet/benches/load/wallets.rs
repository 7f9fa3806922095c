//! The wallets that are there, and choosing among them.

use std::sync::Arc;

use anyhow::ensure;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::dice::Dice;
use crate::order::Wallets;

/// The wallets of the databases asked for so far; reading five million takes a
/// while.
#[derive(Default)]
pub(crate) struct Known(Vec<(Wallets, Arc<[Uuid]>)>);

impl Known {
    /// The wallets that an order is about.
    pub(crate) async fn of(&mut self, wallets: &Wallets) -> anyhow::Result<Arc<[Uuid]>> {
        if let Some((_, ids)) = self.0.iter().find(|(known, _)| known == wallets) {
            return Ok(Arc::clone(ids));
        }
        let mut connection = PgConnection::connect(&wallets.database_url).await?;
        // Not checked at compile time: the benchmark has no offline data.
        let ids: Vec<Uuid> = sqlx::query_scalar(
            "SELECT id FROM wallets WHERE owner_user_id IS NOT NULL ORDER BY id LIMIT $1",
        )
        .bind(wallets.limit)
        .fetch_all(&mut connection)
        .await?;
        connection.close().await?;
        ensure!(
            ids.len() >= 1_000,
            "only {} wallets were seeded; the load needs more",
            ids.len()
        );
        let ids: Arc<[Uuid]> = ids.into();
        self.0.push((wallets.clone(), Arc::clone(&ids)));
        Ok(ids)
    }
}

/// Two different wallets.
pub(crate) fn pair(dice: &mut Dice, wallets: &[Uuid]) -> (Uuid, Uuid) {
    let from = dice.below(wallets.len());
    let to = (from + 1 + dice.below(wallets.len() - 1)) % wallets.len();
    (wallets[from], wallets[to])
}

//! The wallets that are there, and choosing among them.

use std::sync::Arc;

use anyhow::ensure;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

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

/// A caller's own dice: xorshift, seeded by the caller's number, so that every
/// run of the benchmark asks for the same.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(caller: usize) -> Self {
        let caller = u64::try_from(caller).unwrap_or(u64::MAX);
        Self(0x9E37_79B9_7F4A_7C15 ^ (caller + 1).wrapping_mul(0xD1B5_4A32_D192_ED03))
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        usize::try_from(self.0 % bound).unwrap_or_default()
    }

    /// Two different wallets.
    pub(crate) fn pair(&mut self, wallets: &[Uuid]) -> (Uuid, Uuid) {
        let from = self.below(wallets.len());
        let to = (from + 1 + self.below(wallets.len() - 1)) % wallets.len();
        (wallets[from], wallets[to])
    }
}

//! Who pays, from which wallet, and to which.
//!
//! A user may pay from wallets of their own only, so a payer is a wallet with a
//! token of its owner's. Only some of the wallets are payers': signing a token
//! for each of a hundred thousand would take longer than a measurement. They are
//! spread over all wallets, and any wallet may be paid.

use std::sync::Arc;

use anyhow::ensure;
use bursar_aip::id::{UserId, WalletId};
use bursar_testkit::Tokens;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::dice::Dice;
use crate::order::Wallets;

/// How many wallets pay, at most: so few that each pays again within a measurement, as
/// whoever holds a token for some minutes does. With ten times as many nearly every
/// transfer was the first of its token, and its signature was verified at each hop.
const PAYERS: usize = 1_000;
/// Fewer wallets than this would be fought for.
const LEAST_WALLETS: usize = 1_000;

/// A wallet and its owner.
type Owned = (Uuid, Uuid);

/// The wallets of the last database asked for, each with its owner.
#[derive(Default)]
pub(crate) struct Known(Option<(Wallets, Arc<[Owned]>)>);

/// The wallets of a load, and the tokens of those who pay.
pub(crate) struct Payers {
    wallets: Arc<[Owned]>,
    payers: Vec<Payer>,
}

struct Payer {
    wallet: Uuid,
    token: String,
}

/// Who pays and who is paid.
pub(crate) struct Choice<'a> {
    /// The payer's token.
    pub(crate) token: &'a str,
    /// The payer's wallet.
    pub(crate) from: String,
    /// Other wallets, each to be paid once.
    pub(crate) to: Vec<String>,
}

impl Known {
    /// The payers of a load. Tokens are made anew for each: they end after some
    /// minutes, and a benchmark lasts longer.
    pub(crate) async fn payers(
        &mut self,
        wallets: &Wallets,
        tokens: &Tokens,
    ) -> anyhow::Result<Arc<Payers>> {
        let wallets = self.of(wallets).await?;
        let payers = wallets
            .iter()
            .step_by(wallets.len().div_ceil(PAYERS))
            .map(|&(wallet, owner)| Payer {
                wallet,
                token: tokens.user(UserId::from_uuid(owner)),
            })
            .collect();
        Ok(Arc::new(Payers { wallets, payers }))
    }

    async fn of(&mut self, wallets: &Wallets) -> anyhow::Result<Arc<[Owned]>> {
        if let Some((known, owned)) = &self.0
            && known == wallets
        {
            return Ok(Arc::clone(owned));
        }
        let mut connection = PgConnection::connect(&wallets.database_url).await?;
        // Not checked at compile time: the benchmark has no offline data.
        let owned: Vec<Owned> = sqlx::query_as(
            "SELECT id, owner_user_id FROM wallets
             WHERE owner_user_id IS NOT NULL ORDER BY id LIMIT $1",
        )
        .bind(wallets.limit)
        .fetch_all(&mut connection)
        .await?;
        connection.close().await?;
        ensure!(
            owned.len() >= LEAST_WALLETS,
            "only {} wallets were seeded; the load needs more",
            owned.len()
        );
        let owned: Arc<[Owned]> = owned.into();
        self.0 = Some((wallets.clone(), Arc::clone(&owned)));
        Ok(owned)
    }
}

impl Payers {
    /// Any payer, and so many wallets but the payer's; one may come twice.
    pub(crate) fn choose(&self, dice: &mut Dice, payees: usize) -> Choice<'_> {
        let payer = &self.payers[dice.below(self.payers.len())];
        Choice {
            token: &payer.token,
            from: WalletId::from_uuid(payer.wallet).to_string(),
            to: (0..payees)
                .map(|_| self.payee(payer.wallet, dice))
                .collect(),
        }
    }

    fn payee(&self, payer: Uuid, dice: &mut Dice) -> String {
        let at = dice.below(self.wallets.len());
        let wallet = match self.wallets[at].0 {
            // The one after it, around the end.
            same if same == payer => self.wallets[(at + 1) % self.wallets.len()].0,
            other => other,
        };
        WalletId::from_uuid(wallet).to_string()
    }
}

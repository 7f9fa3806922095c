//! Gives the budget of ended campaigns back to the pool: what EndCampaign left
//! and what expired of their grants since.

use std::num::NonZeroI64;

use sqlx::PgPool;
use uuid::Uuid;

use super::{PAGE, post};
use crate::domain::campaign;
use crate::error::Error;
use crate::jobs::queue::Ledger;
use crate::store::campaigns;

/// How far the round has come.
#[derive(Debug, Default)]
pub struct Refund {
    /// The campaign that was looked at last.
    after: Uuid,
}

impl Refund {
    /// One turn, which is one page: few campaigns have something to give back.
    /// How many did.
    pub async fn turn(&mut self, pool: &PgPool, ledger: &Ledger) -> Result<u64, Error> {
        let mut connection = pool.acquire().await?;
        let found = campaigns::to_refund(&mut connection, self.after, PAGE).await?;
        let is_last_page = i64::try_from(found.len()).is_ok_and(|rows| rows < PAGE);
        self.after = match found.last() {
            Some(last) if !is_last_page => last.id.uuid(),
            Some(_) | None => Uuid::nil(),
        };
        let mut postings = Vec::with_capacity(found.len());
        for ended in &found {
            let budget = campaigns::budget(&mut connection, ended.budget_wallet()).await?;
            if let Some(left) = NonZeroI64::new(budget.left) {
                postings.push(campaign::refund(ended, left, budget.version));
            }
        }
        // The ledger writes on a connection of its own.
        drop(connection);
        post(ledger, postings).await
    }
}

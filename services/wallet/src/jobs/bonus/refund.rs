//! Gives the budget of ended campaigns back to the pool: what EndCampaign left
//! and what expired of their grants since.

use std::num::NonZeroI64;

use sqlx::PgPool;
use uuid::Uuid;

use super::post;
use crate::domain::campaign;
use crate::error::Error;
use crate::jobs::queue::Ledger;
use crate::store::campaigns;

/// How many campaigns a turn looks at; no more than a call may have postings.
const CAMPAIGNS: i64 = 500;

/// How far the round has come.
#[derive(Debug, Default)]
pub struct Refund {
    /// The campaign that was looked at last.
    after: Uuid,
}

impl Refund {
    /// One turn, which is one page: most ended campaigns have nothing to give
    /// back. How many did.
    pub async fn turn(&mut self, pool: &PgPool, ledger: &Ledger) -> Result<u64, Error> {
        let mut connection = pool.acquire().await?;
        let page = campaigns::ended(&mut connection, self.after, CAMPAIGNS).await?;
        // The ledger writes on a connection of its own.
        drop(connection);
        let is_last_page = i64::try_from(page.len()).is_ok_and(|rows| rows < CAMPAIGNS);
        self.after = match page.last() {
            Some((last, _)) if !is_last_page => last.id.uuid(),
            Some(_) | None => Uuid::nil(),
        };
        let postings = page.iter().filter_map(|(ended, budget)| {
            let left = NonZeroI64::new(budget.left)?;
            Some(campaign::refund(ended, left, budget.version))
        });
        post(ledger, postings.collect()).await
    }
}

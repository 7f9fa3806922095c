//! Gives what is left of grants back to their campaigns when their time is over.

use std::collections::HashMap;

use bursar_aip::id::{CampaignId, GrantId};
use bursar_server::now;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{PAGE, PAGES, post};
use crate::domain::bonus::BonusGrant;
use crate::domain::campaign::{self, Campaign};
use crate::error::Error;
use crate::jobs::queue::Ledger;
use crate::store::{bonus_grants, campaigns};

/// How far the round has come.
#[derive(Debug, Default)]
pub struct Expiry {
    /// The grant that was looked at last.
    after: Option<(OffsetDateTime, GrantId)>,
}

impl Expiry {
    /// One turn; how many grants it took back.
    pub async fn turn(&mut self, pool: &PgPool, ledger: &Ledger) -> Result<u64, Error> {
        let mut taken_back = 0;
        for _ in 0..PAGES {
            let mut connection = pool.acquire().await?;
            let due = bonus_grants::due(&mut connection, now(), self.after, PAGE).await?;
            let last = due
                .last()
                .and_then(|grant| Some((grant.expires_at?, grant.id)));
            let is_last_page = i64::try_from(due.len()).is_ok_and(|rows| rows < PAGE);
            self.after = last.filter(|_| !is_last_page);
            let campaigns = campaigns_of(&mut connection, &due).await?;
            // The ledger writes on a connection of its own.
            drop(connection);
            let postings = due.iter().filter_map(|grant| {
                let campaign = campaigns.get(&grant.campaign)?;
                campaign::expire(campaign, grant)
            });
            taken_back += post(ledger, postings.collect()).await?;
            if is_last_page {
                break;
            }
        }
        Ok(taken_back)
    }
}

async fn campaigns_of(
    conn: &mut PgConnection,
    grants: &[BonusGrant],
) -> Result<HashMap<CampaignId, Campaign>, sqlx::Error> {
    let mut ids: Vec<Uuid> = grants.iter().map(|grant| grant.campaign.uuid()).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let found = campaigns::find_many(conn, &ids).await?;
    let by_id = found.into_iter().map(|campaign| (campaign.id, campaign));
    Ok(by_id.collect())
}

//! Converts grants that meet the rule of a campaign that converts by itself.
//!
//! It goes round: campaign after campaign, and in each grant after grant. How
//! long a round takes grows with the active grants of such campaigns; a grant is
//! converted at most a round after it met the rule.

use bursar_server::now;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{PAGE, PAGES, post, spending};
use crate::domain::bonus::BonusGrant;
use crate::domain::campaign::{self, Campaign, NotConvertible, check_conversion};
use crate::domain::posting::Posting;
use crate::error::Error;
use crate::jobs::queue::Ledger;
use crate::store::{bonus_grants, bonus_spending, campaigns};

/// How far the round has come.
#[derive(Debug, Default)]
pub struct Conversion {
    /// The last campaign that was gone through.
    done: Uuid,
    /// The grant of the next one that was looked at last.
    after: Uuid,
    /// The last grant that was looked at for what can be forgotten of it.
    forgotten: Uuid,
}

impl Conversion {
    /// One turn; how many grants it converted.
    pub async fn turn(&mut self, pool: &PgPool, ledger: &Ledger) -> Result<u64, Error> {
        let mut converted = 0;
        for _ in 0..PAGES {
            let mut connection = pool.acquire().await?;
            let next = campaigns::next_automatic(&mut connection, self.done).await?;
            let Some(campaign) = next else {
                self.done = Uuid::nil();
                break;
            };
            let grants =
                bonus_grants::active_of(&mut connection, campaign.id, self.after, PAGE).await?;
            let is_last_page = i64::try_from(grants.len()).is_ok_and(|rows| rows < PAGE);
            match grants.last() {
                Some(last) if !is_last_page => self.after = last.id.uuid(),
                Some(_) | None => {
                    self.after = Uuid::nil();
                    self.done = campaign.id.uuid();
                }
            }
            let postings = ready(&mut connection, &campaign, &grants).await?;
            // The ledger writes on a connection of its own.
            drop(connection);
            converted += post(ledger, postings).await?;
        }
        let mut connection = pool.acquire().await?;
        let forgotten = bonus_spending::forget_ended(&mut connection, self.forgotten, PAGE).await?;
        self.forgotten = forgotten.unwrap_or_default();
        Ok(converted)
    }
}

/// The conversions of those grants that meet the rule.
async fn ready(
    conn: &mut PgConnection,
    campaign: &Campaign,
    grants: &[BonusGrant],
) -> Result<Vec<Posting>, sqlx::Error> {
    let now = now();
    let rule = campaign.conversion;
    let check = |grant: &BonusGrant, spent| check_conversion(rule, grant, spent, now);
    // Counting is asked only of those for which nothing else is missing.
    let old_enough: Vec<&BonusGrant> = grants
        .iter()
        .filter(|grant| {
            matches!(
                check(grant, 0),
                Ok(()) | Err(NotConvertible::SpentTooLittle { .. })
            )
        })
        .collect();
    let ids: Vec<Uuid> = old_enough.iter().map(|grant| grant.id.uuid()).collect();
    let current = if rule.is_some_and(|rule| rule.min_spend > 0) {
        bonus_spending::current(conn, &ids).await?
    } else {
        ids.iter().map(|id| (*id, 0)).collect()
    };
    let mut postings = Vec::new();
    for grant in old_enough {
        let spent = match current.get(&grant.id.uuid()) {
            Some(spent) => *spent,
            None => spending::count(conn, campaign, grant).await?,
        };
        if check(grant, spent).is_ok() {
            postings.extend(campaign::convert(campaign, grant, None));
        }
    }
    Ok(postings)
}

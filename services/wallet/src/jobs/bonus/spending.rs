//! Counts what was spent from a wallet since a grant, as far as it matters.

use bursar_server::crash_point;
use sqlx::PgConnection;

use crate::domain::bonus::BonusGrant;
use crate::domain::campaign::Campaign;
use crate::store::bonus_spending::{self, Counted};

/// How many entries one query counts, and how many queries a call may make. A
/// wallet with more entries is counted over several calls.
const STEP: i64 = 5_000;
const MAX_STEPS: usize = 20;

/// What was spent, counted further than before, which is kept.
pub(crate) async fn count(
    conn: &mut PgConnection,
    campaign: &Campaign,
    grant: &BonusGrant,
) -> Result<i64, sqlx::Error> {
    let (before, after) = go_on(conn, campaign, grant).await?;
    if after.version > before.version {
        crash_point!("bonus_count.before_keep");
        bonus_spending::keep(conn, grant.id, after).await?;
        crash_point!("bonus_count.after_keep");
    }
    Ok(after.spent)
}

/// What was spent. Nothing is kept, so nobody has to wait for the end of a
/// transaction that looks.
pub(crate) async fn look(
    conn: &mut PgConnection,
    campaign: &Campaign,
    grant: &BonusGrant,
) -> Result<i64, sqlx::Error> {
    let (_, after) = go_on(conn, campaign, grant).await?;
    Ok(after.spent)
}

async fn go_on(
    conn: &mut PgConnection,
    campaign: &Campaign,
    grant: &BonusGrant,
) -> Result<(Counted, Counted), sqlx::Error> {
    let before = bonus_spending::counted(conn, grant).await?;
    let mut counted = before;
    let required = campaign.conversion.map_or(0, |rule| rule.min_spend);
    for _ in 0..MAX_STEPS {
        if counted.spent >= required {
            break;
        }
        let next = bonus_spending::count_on(conn, grant, campaign.currency, counted, STEP).await?;
        if next.version == counted.version {
            break;
        }
        counted = next;
    }
    Ok((before, counted))
}

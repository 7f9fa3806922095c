//! ConvertBonus: what is left of a grant becomes available money, if its
//! campaign's rule is met.
//!
//! The rule can only become more met: a grant gets older, and what was spent
//! stays spent. So it may be asked before the posting, without a lock. What is
//! left of the grant may change meanwhile; then the ledger refuses the posting,
//! and it is made anew.

use bursar_aip::id::{GrantId, TenantId, UserId, parse_field};
use bursar_contracts::wallet::v1::{ConvertBonusRequest, ConvertBonusResponse};
use bursar_server::{Context, detached, now};
use sqlx::{PgConnection, PgPool};
use tonic::{Request, Response, Status};

use super::{Bonus, Posted, Poster, identity, message, posted};
use crate::domain::bonus::{BonusGrant, GrantStatus};
use crate::domain::campaign::{self, Campaign, NotConvertible, check_conversion};
use crate::domain::posting::RejectionReason;
use crate::error::{BonusError, Error};
use crate::jobs::bonus::spending;
use crate::rpc::once::{Call, Operation, once};
use crate::rpc::required_owner;
use crate::store::bonus_grants;

/// How often the grant is read and posted, when it is spent from in between.
const MAX_ATTEMPTS: usize = 5;

/// What is asked for.
struct Converting {
    tenant: TenantId,
    grant: GrantId,
    owner: Option<UserId>,
}

pub(super) async fn handle(
    service: &Bonus,
    request: Request<ConvertBonusRequest>,
) -> Result<Response<ConvertBonusResponse>, Status> {
    let context = Context::of(&request)?;
    let owner = required_owner(context.reach()?);
    let request = request.into_inner();
    let call = Call::of(&context, &request);
    let converting = Converting {
        tenant: context.caller.tenant.clone(),
        grant: parse_field("grant_id", &request.grant_id)?,
        owner,
    };
    let poster = Poster::of(service, &context);
    let pool = service.pool.clone();
    detached(async move {
        count(&pool, &converting).await?;
        once(&pool, &call, async |conn, operation| {
            convert(conn, operation, &converting, &poster).await
        })
        .await
    })
    .await
}

/// Counts what was spent since the grant and keeps the count, which a refusal
/// inside the effect would roll back.
async fn count(pool: &PgPool, converting: &Converting) -> Result<(), Error> {
    let mut connection = pool.acquire().await?;
    let (grant, campaign) = match find(&mut connection, converting).await {
        Ok(found) => found,
        // The effect says so, and only once for each key.
        Err(Error::Bonus(_)) => return Ok(()),
        Err(failure) => return Err(failure),
    };
    if grant.status == GrantStatus::Active {
        spending::count(&mut connection, &campaign, &grant).await?;
    }
    Ok(())
}

async fn find(
    conn: &mut PgConnection,
    converting: &Converting,
) -> Result<(BonusGrant, Campaign), Error> {
    let Converting {
        tenant,
        grant,
        owner,
    } = converting;
    let grant = bonus_grants::find(conn, tenant, *grant, *owner)
        .await?
        .ok_or(BonusError::GrantNotFound)?;
    let campaign = super::campaign(conn, tenant, grant.campaign).await?;
    Ok((grant, campaign))
}

async fn convert(
    conn: &mut PgConnection,
    operation: Operation,
    converting: &Converting,
    poster: &Poster,
) -> Result<ConvertBonusResponse, Error> {
    for _ in 0..MAX_ATTEMPTS {
        let (grant, campaign) = find(conn, converting).await?;
        if posted(conn, &converting.tenant, &operation).await? {
            return Ok(response(&grant, &campaign));
        }
        let spent = spending::look(conn, &campaign, &grant).await?;
        check_conversion(campaign.conversion, &grant, spent, now())
            .map_err(BonusError::NotConvertible)?;
        let posting = campaign::convert(&campaign, &grant, Some(identity(&operation))).ok_or(
            BonusError::NotConvertible(NotConvertible::Ended(grant.status)),
        )?;
        match poster.post(&posting).await? {
            // Read again, to answer what is in the database now.
            Posted::Done => {
                let (grant, campaign) = find(conn, converting).await?;
                return Ok(response(&grant, &campaign));
            }
            // It changed meanwhile: the next look says how.
            Posted::Refused(rejected)
                if matches!(
                    rejected.reason,
                    RejectionReason::GrantMismatch | RejectionReason::GrantNotActive
                ) => {}
            Posted::Refused(rejected) => return Err(Error::rejected(&posting, rejected)),
        }
    }
    Err(BonusError::Contended.into())
}

fn response(grant: &BonusGrant, campaign: &Campaign) -> ConvertBonusResponse {
    ConvertBonusResponse {
        grant: Some(message::grant(
            grant,
            campaign.currency,
            campaign.conversion,
        )),
        converted_minor: grant.returned,
    }
}

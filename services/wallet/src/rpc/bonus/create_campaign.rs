//! CreateCampaign: a campaign, its budget wallet, and its first budget.

use std::num::NonZeroI64;

use bursar_aip::id::CampaignId;
use bursar_contracts::wallet::v1::{CreateCampaignRequest, CreateCampaignResponse};
use bursar_money::Currency;
use bursar_server::{Context, crash_point, database, detached, now};
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use tonic::{Request, Response, Status};

use super::{Bonus, Posted, Poster, identity, message};
use crate::contract::posting;
use crate::domain::campaign::{self, Campaign};
use crate::error::{BonusError, Error};
use crate::rpc::once::{Call, Operation, once};
use crate::store::campaigns;

pub(super) async fn handle(
    service: &Bonus,
    request: Request<CreateCampaignRequest>,
) -> Result<Response<CreateCampaignResponse>, Status> {
    let context = Context::of(&request)?;
    let request = request.into_inner();
    let call = Call::of(&context, &request);
    let currency = posting::currency(&request.currency_code, "currency_code".to_owned())?;
    let plan = plan(&context, &request, currency, now()).map_err(Error::from)?;
    let poster = Poster::of(service, &context);
    let pool = service.pool.clone();
    detached(async move {
        once(&pool, &call, async |conn, operation| {
            create(conn, &pool, operation, plan, request.budget_minor, &poster).await
        })
        .await
    })
    .await
}

/// The campaign, save for its id, which follows from the operation.
fn plan(
    context: &Context,
    request: &CreateCampaignRequest,
    currency: Currency,
    now: OffsetDateTime,
) -> Result<Campaign, BonusError> {
    let instant = |at: &Option<prost_types::Timestamp>, field| {
        at.as_ref()
            .map(|at| message::instant(at, field))
            .transpose()
    };
    let starts_at = instant(&request.starts_at, "starts_at")?.unwrap_or(now);
    let ends_at = instant(&request.ends_at, "ends_at")?;
    if ends_at.is_some_and(|ends_at| ends_at <= starts_at) {
        return Err(BonusError::WindowEmpty);
    }
    Ok(Campaign {
        id: CampaignId::generate(),
        tenant: context.caller.tenant.clone(),
        name: request.name.clone(),
        currency,
        user_cap: Some(request.per_user_cap_minor).filter(|cap| *cap > 0),
        starts_at,
        ends_at,
        grant_ttl: Some(time::Duration::seconds(i64::from(
            request.grant_ttl_seconds,
        )))
        .filter(|ttl| ttl.is_positive()),
        conversion: request.conversion.as_ref().map(message::rule_of),
        created_at: now,
        ended_at: None,
    })
}

/// The campaign and its wallet are committed before the money is posted: the
/// writer must find the wallet, with its floor. Cut off in between, it is a
/// campaign without budget, which grants nothing; done again with the same key,
/// it is the same campaign.
async fn create(
    conn: &mut PgConnection,
    pool: &PgPool,
    operation: Operation,
    plan: Campaign,
    budget_minor: i64,
    poster: &Poster,
) -> Result<CreateCampaignResponse, Error> {
    let id = CampaignId::from_uuid(operation.derive("campaign"));
    let planned = Campaign { id, ..plan };
    let mut transaction = database::begin(pool).await?;
    campaigns::insert(&mut transaction, &planned).await?;
    crash_point!("campaign.before_commit");
    transaction.commit().await?;
    crash_point!("campaign.after_commit");
    // What is there is what was created first.
    let created = super::campaign(conn, &planned.tenant, id).await?;
    let budget = NonZeroI64::new(budget_minor).ok_or(BonusError::AmountMissing)?;
    let funding = campaign::fund(&created, budget, identity(&operation));
    match poster.post(&funding).await? {
        Posted::Done => Ok(CreateCampaignResponse {
            campaign: Some(message::campaign(&created, now())),
        }),
        Posted::Refused(rejected) => Err(Error::rejected(&funding, rejected)),
    }
}

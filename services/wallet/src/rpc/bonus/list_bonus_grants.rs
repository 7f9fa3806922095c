//! ListBonusGrants: a wallet's grants, newest first.

use std::collections::HashMap;

use bursar_aip::id::{CampaignId, WalletId, parse_field};
use bursar_aip::page;
use bursar_contracts::wallet::v1::{ListBonusGrantsRequest, ListBonusGrantsResponse};
use bursar_server::Context;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Bonus, message};
use crate::domain::bonus::BonusGrant;
use crate::domain::campaign::ConversionRule;
use crate::error::Error;
use crate::rpc::required_owner;
use crate::store::bonus_grants::{self, Place};
use crate::store::{campaigns, wallets};

/// The list's name in its page tokens.
const LIST: &str = "bonus-grants";

pub(super) async fn handle(
    service: &Bonus,
    request: Request<ListBonusGrantsRequest>,
) -> Result<Response<ListBonusGrantsResponse>, Status> {
    let context = Context::of(&request)?;
    let owner = required_owner(context.reach()?);
    let request = request.into_inner();
    let id: WalletId = parse_field("wallet_id", &request.wallet_id)?;
    let filter = [request.wallet_id.as_str(), request.status().as_str_name()];
    let size = page::size(request.page_size);
    let after: Option<Place> =
        page::decode(LIST, &filter, &request.page_token).map_err(Error::from)?;
    let mut connection = service.pool.acquire().await.map_err(Error::from)?;
    // A wallet's owner never changes, so looking first and listing then is safe.
    let wallet = wallets::find(&mut connection, &context.caller.tenant, id, owner)
        .await
        .map_err(Error::from)?
        .ok_or(Error::WalletNotFound)?;
    let status = message::grant_status_of(request.status());
    // One more than the page, to know whether another page follows.
    let mut found = bonus_grants::list(&mut connection, id, status, after, size + 1)
        .await
        .map_err(Error::from)?;
    let next_page_token = page::cut(&mut found, size)
        .map(|last| page::encode(LIST, &filter, &Place::of(last)))
        .unwrap_or_default();
    let rules = rules(&mut connection, &found).await.map_err(Error::from)?;
    let listed = found.iter().map(|grant| {
        let rule = rules.get(&grant.campaign).copied();
        message::grant(grant, wallet.currency, rule)
    });
    Ok(Response::new(ListBonusGrantsResponse {
        grants: listed.collect(),
        next_page_token,
    }))
}

/// The rules of the campaigns that have one.
async fn rules(
    conn: &mut PgConnection,
    grants: &[BonusGrant],
) -> Result<HashMap<CampaignId, ConversionRule>, sqlx::Error> {
    let mut ids: Vec<Uuid> = grants.iter().map(|grant| grant.campaign.uuid()).collect();
    ids.sort_unstable();
    ids.dedup();
    let found = campaigns::find_many(conn, &ids).await?;
    let rules = found
        .into_iter()
        .filter_map(|campaign| Some((campaign.id, campaign.conversion?)));
    Ok(rules.collect())
}

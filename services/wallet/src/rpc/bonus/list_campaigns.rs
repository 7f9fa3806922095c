//! ListCampaigns: the campaigns, newest first.

use bursar_aip::page;
use bursar_contracts::wallet::v1::{ListCampaignsRequest, ListCampaignsResponse};
use bursar_server::{Context, now};
use tonic::{Request, Response, Status};

use super::{Bonus, message};
use crate::error::Error;
use crate::store::campaigns::{self, Place};

/// The list's name in its page tokens.
const LIST: &str = "bonus-campaigns";

pub(super) async fn handle(
    service: &Bonus,
    request: Request<ListCampaignsRequest>,
) -> Result<Response<ListCampaignsResponse>, Status> {
    let context = Context::of(&request)?;
    let request = request.into_inner();
    let size = page::size(request.page_size);
    let after: Option<Place> = page::decode(LIST, &[], &request.page_token).map_err(Error::from)?;
    let mut connection = service.pool.acquire().await.map_err(Error::from)?;
    // One more than the page, to know whether another page follows.
    let mut found = campaigns::list(&mut connection, &context.caller.tenant, after, size + 1)
        .await
        .map_err(Error::from)?;
    let next_page_token = page::cut(&mut found, size)
        .map(|last| page::encode(LIST, &[], &Place::of(last)))
        .unwrap_or_default();
    let now = now();
    let listed = found.iter().map(|found| message::campaign(found, now));
    Ok(Response::new(ListCampaignsResponse {
        campaigns: listed.collect(),
        next_page_token,
    }))
}

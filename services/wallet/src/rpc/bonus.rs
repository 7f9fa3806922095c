//! Bonus campaigns and what they grant, a file an RPC.
//!
//! What moves money takes effect once ([`super::once`]): the posting's id follows
//! from the caller's key, so an effect that was cut off meets its own posting when
//! it is done again. Before a rule is asked whether it still allows the effect,
//! [`posted`] asks the ledger whether it happened already.

mod convert_bonus;
mod create_campaign;
mod end_campaign;
mod fund_campaign;
mod get_bonus_grant;
mod get_campaign;
mod grant_bonus;
mod list_bonus_grants;
mod list_campaigns;
mod message;
pub(crate) mod post_bonus_grant;

use std::time::Instant;

use bursar_aip::id::{CampaignId, TenantId};
use bursar_contracts::wallet::v1 as proto;
use bursar_contracts::wallet::v1::bonus_service_server::BonusService;
use bursar_server::Context;
use sqlx::{PgConnection, PgPool};
use tonic::{Request, Response, Status};

use super::once::Operation;
use crate::domain::batch::{Mode, Outcome};
use crate::domain::campaign::{Campaign, Identity};
use crate::domain::posting::{Posting, Rejected};
use crate::error::{BonusError, Error};
use crate::jobs::queue::{Ledger, Order};
use crate::store::{campaigns, ledger};

/// Bonus campaigns and grants.
pub(crate) struct Bonus {
    /// The database.
    pub(crate) pool: PgPool,
    /// The way into the ledger.
    pub(crate) ledger: Ledger,
}

#[tonic::async_trait]
impl BonusService for Bonus {
    async fn create_campaign(
        &self,
        request: Request<proto::CreateCampaignRequest>,
    ) -> Result<Response<proto::CreateCampaignResponse>, Status> {
        create_campaign::handle(self, request).await
    }

    async fn get_campaign(
        &self,
        request: Request<proto::GetCampaignRequest>,
    ) -> Result<Response<proto::GetCampaignResponse>, Status> {
        get_campaign::handle(self, request).await
    }

    async fn list_campaigns(
        &self,
        request: Request<proto::ListCampaignsRequest>,
    ) -> Result<Response<proto::ListCampaignsResponse>, Status> {
        list_campaigns::handle(self, request).await
    }

    async fn fund_campaign(
        &self,
        request: Request<proto::FundCampaignRequest>,
    ) -> Result<Response<proto::FundCampaignResponse>, Status> {
        fund_campaign::handle(self, request).await
    }

    async fn end_campaign(
        &self,
        request: Request<proto::EndCampaignRequest>,
    ) -> Result<Response<proto::EndCampaignResponse>, Status> {
        end_campaign::handle(self, request).await
    }

    async fn grant_bonus(
        &self,
        request: Request<proto::GrantBonusRequest>,
    ) -> Result<Response<proto::GrantBonusResponse>, Status> {
        grant_bonus::handle(self, request).await
    }

    async fn get_bonus_grant(
        &self,
        request: Request<proto::GetBonusGrantRequest>,
    ) -> Result<Response<proto::GetBonusGrantResponse>, Status> {
        get_bonus_grant::handle(self, request).await
    }

    async fn list_bonus_grants(
        &self,
        request: Request<proto::ListBonusGrantsRequest>,
    ) -> Result<Response<proto::ListBonusGrantsResponse>, Status> {
        list_bonus_grants::handle(self, request).await
    }

    async fn convert_bonus(
        &self,
        request: Request<proto::ConvertBonusRequest>,
    ) -> Result<Response<proto::ConvertBonusResponse>, Status> {
        convert_bonus::handle(self, request).await
    }
}

/// Posts in the name of a call.
#[derive(Clone)]
struct Poster {
    ledger: Ledger,
    actor: String,
    deadline: Instant,
}

/// What became of a posting.
enum Posted {
    /// It is in the ledger, perhaps from before.
    Done,
    /// The ledger refused it.
    Refused(Rejected),
}

impl Poster {
    fn of(service: &Bonus, context: &Context) -> Self {
        Self {
            ledger: service.ledger.clone(),
            actor: context.caller.actor(),
            deadline: context.deadline,
        }
    }

    async fn post(&self, posting: &Posting) -> Result<Posted, Error> {
        let order = Order {
            postings: vec![posting.clone()],
            mode: Mode::Independent,
            actor: self.actor.clone(),
            deadline: self.deadline,
        };
        let outcome = self.ledger.post(order).await?.pop();
        match outcome {
            Some(Outcome::Applied(_) | Outcome::Replayed(_)) => Ok(Posted::Done),
            Some(Outcome::Rejected(rejected)) => Ok(Posted::Refused(rejected)),
            // The ledger answers every posting.
            None => Err(Error::LedgerUnavailable),
        }
    }
}

/// The identity of the one posting of an operation.
fn identity(operation: &Operation) -> Identity {
    Identity {
        id: operation.posting(),
        fingerprint: operation.fingerprint,
    }
}

/// Whether an operation's posting is in the ledger, because the operation was
/// cut off between its posting and its answer, or its answer is no longer kept.
/// Fails when another request was posted with the key.
async fn posted(
    conn: &mut PgConnection,
    tenant: &TenantId,
    operation: &Operation,
) -> Result<bool, Error> {
    let id = operation.posting().uuid();
    match ledger::recorded(conn, &[id]).await?.pop() {
        None => Ok(false),
        Some(found) if found.fingerprint == operation.fingerprint && found.tenant == *tenant => {
            Ok(true)
        }
        Some(_) => Err(Error::KeyReused),
    }
}

async fn campaign(
    conn: &mut PgConnection,
    tenant: &TenantId,
    id: CampaignId,
) -> Result<Campaign, Error> {
    let found = campaigns::find(conn, tenant, id).await?;
    Ok(found.ok_or(BonusError::CampaignNotFound)?)
}

//! PostBonusGrant: bonus money for a user's wallet as the one effect of a transaction.
//!
//! It is GrantBonus for the platform's own services, with the promises of PostBatch:
//! the posting's id is the caller's, posting it again gives the first result, and a
//! refusal is an answer. So whoever lost an answer asks again, and whoever wants to
//! be sure that the grant never happens takes the id with another posting.
//!
//! What the campaign forbids is decided before the ledger is asked. A grant that was
//! made before it was forbidden is found by its id, so that it keeps its result.

use bursar_aip::id::{CampaignId, GrantId, TransactionId, WalletId, parse_field};
use bursar_aip::idempotency;
use bursar_contracts::wallet::v1::posting_result::Outcome as Decided;
use bursar_contracts::wallet::v1::{
    PostBonusGrantRequest, PostBonusGrantResponse, PostingRejected, PostingResult, RejectionReason,
};
use bursar_server::{Context, now};
use bursar_status::correlation;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::message::{self, Money};
use crate::contract::posting::{self, Origin};
use crate::domain::batch::{Mode, Outcome};
use crate::domain::bonus::NewGrant;
use crate::domain::campaign::{self, Campaign, Identity};
use crate::domain::posting::{Posting, PostingId, RejectionReason as Refusal};
use crate::error::{BonusError, Error};
use crate::jobs::queue::Order;
use crate::rpc::Postings;
use crate::store::{campaigns, ledger};

/// What is asked for.
struct Granting {
    identity: Identity,
    transaction: TransactionId,
    grant: GrantId,
    campaign: CampaignId,
    wallet: WalletId,
    money: Money,
}

/// Whether the campaign allows a grant.
enum Allowed {
    /// It does, and this is to be made.
    Yes(Box<Campaign>, NewGrant),
    /// It does not.
    No(RejectionReason),
}

pub(crate) async fn handle(
    service: &Postings,
    request: Request<PostBonusGrantRequest>,
) -> Result<Response<PostBonusGrantResponse>, Status> {
    let context = Context::of(&request)?;
    let mut request = request.into_inner();
    let origin = match request.origin.take() {
        Some(origin) => posting::origin(&origin, "origin")?,
        None => Origin {
            actor: context.caller.actor(),
            correlation: correlation::current(),
        },
    };
    let granting = Granting::of(request)?;
    let result = decide(service, &context, origin, &granting).await?;
    Ok(Response::new(PostBonusGrantResponse {
        result: Some(result),
    }))
}

impl Granting {
    /// The request without its origin, which is no part of the posting.
    fn of(request: PostBonusGrantRequest) -> Result<Self, Status> {
        let fingerprint = idempotency::fingerprint(&request);
        let id = Uuid::try_parse(&request.posting_id)
            .map_err(|_| posting::invalid("posting_id", "must be a UUID"))?;
        Ok(Self {
            identity: Identity {
                id: PostingId::from_uuid(id),
                fingerprint,
            },
            transaction: parse_field("transaction_id", &request.transaction_id)?,
            grant: parse_field("grant_id", &request.grant_id)?,
            campaign: parse_field("campaign_id", &request.campaign_id)?,
            wallet: parse_field("wallet_id", &request.wallet_id)?,
            money: message::money(request.amount)?,
        })
    }

    fn posting(&self, campaign: &Campaign, new: NewGrant) -> Posting {
        let amount = self.money.amount;
        Posting {
            transaction: Some(self.transaction),
            ..campaign::grant(campaign, self.wallet, amount, new, self.identity)
        }
    }
}

/// Posts the grant, or says why not. No connection is held while it waits for a
/// writer.
async fn decide(
    service: &Postings,
    context: &Context,
    origin: Origin,
    granting: &Granting,
) -> Result<PostingResult, Error> {
    let id = granting.identity.id;
    let mut conn = service.pool.acquire().await?;
    let (campaign, new) = match allowed(&mut conn, context, granting).await? {
        Allowed::Yes(campaign, new) => (campaign, new),
        Allowed::No(reason) => {
            let before = before(&mut conn, context, granting).await?;
            return Ok(before.unwrap_or_else(|| refused(id, reason)));
        }
    };
    drop(conn);
    let order = Order {
        postings: vec![granting.posting(&campaign, new)],
        mode: Mode::Independent,
        actor: origin.actor,
        deadline: context.deadline,
    };
    let posted = correlation::scope(origin.correlation, service.ledger.post(order)).await?;
    match posted.last() {
        // It would have expired before the ledger came to it; the next try makes it anew.
        Some(Outcome::Rejected(rejected)) if rejected.reason == Refusal::GrantMismatch => {
            Err(BonusError::Contended.into())
        }
        Some(outcome) => Ok(posting::result(id, outcome)),
        // The ledger answers every posting.
        None => Err(Error::LedgerUnavailable),
    }
}

async fn allowed(
    conn: &mut PgConnection,
    context: &Context,
    granting: &Granting,
) -> Result<Allowed, Error> {
    let found = campaigns::find(conn, &context.caller.tenant, granting.campaign).await?;
    let Some(campaign) = found else {
        return Ok(Allowed::No(RejectionReason::CampaignNotFound));
    };
    if granting.money.currency_code != campaign.currency.code() {
        return Ok(Allowed::No(RejectionReason::CurrencyMismatch));
    }
    Ok(match campaign.new_grant(granting.grant, now()) {
        Ok(new) => Allowed::Yes(Box::new(campaign), new),
        Err(_) => Allowed::No(RejectionReason::CampaignNotActive),
    })
}

/// What the id came to before; `None` when it was never posted.
async fn before(
    conn: &mut PgConnection,
    context: &Context,
    granting: &Granting,
) -> Result<Option<PostingResult>, Error> {
    let Identity { id, fingerprint } = granting.identity;
    let found = ledger::recorded(conn, &[id.uuid()]).await?.pop();
    Ok(found.map(|recorded| {
        if recorded.fingerprint == fingerprint && recorded.tenant == context.caller.tenant {
            posting::result(id, &Outcome::Replayed(recorded))
        } else {
            refused(id, RejectionReason::PostingIdReused)
        }
    }))
}

fn refused(id: PostingId, reason: RejectionReason) -> PostingResult {
    PostingResult {
        posting_id: id.to_string(),
        replayed: false,
        outcome: Some(Decided::Rejected(PostingRejected {
            reason: reason.into(),
            leg_index: -1,
        })),
    }
}

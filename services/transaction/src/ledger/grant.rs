//! Grants of bonus money.
//!
//! What a campaign allows is wallet's to know, so a grant is a call of its own and not
//! one of the postings that travel together. Everything else is as with those: it has
//! the posting's id, repeating it is safe, no answer is no refusal, and its id can be
//! barred.

use std::time::Instant;

use bursar_contracts::r#type::v1::Money;
use bursar_contracts::wallet::v1::{PostBonusGrantRequest, PostingOrigin};
use bursar_status::correlation;

use super::{ATTEMPT_TIMEOUT, Attempted, Ledger, Reply, read, until_answered};
use crate::domain::{Account, LedgerFault, Leg, Posting};

impl Ledger {
    /// Grants in somebody's name until there is a definite answer or the deadline passes.
    #[tracing::instrument(name = "ledger.grant", skip_all)]
    pub(super) async fn grant(
        &self,
        posting: &Posting,
        actor: &str,
        deadline: Instant,
    ) -> Attempted {
        let Some(request) = request(posting, actor) else {
            return Attempted {
                reply: Some(Reply::Faulted(LedgerFault::Unexplained)),
                loose_end: false,
            };
        };
        let attempt = || {
            let (mut client, request) = (self.client.clone(), request.clone());
            async move { Ok(client.post_bonus_grant(request).await?.into_inner().result) }
        };
        let granted = until_answered(deadline, ATTEMPT_TIMEOUT, attempt).await;
        Attempted {
            reply: granted.answer.map(|result| read(posting, result)),
            loose_end: granted.loose_end,
        }
    }
}

/// The call; `None` for a posting that grants nothing.
fn request(posting: &Posting, actor: &str) -> Option<PostBonusGrantRequest> {
    let [
        Leg {
            account: Account::Budget(campaign),
            ..
        },
        Leg {
            account: Account::Wallet { id: wallet, .. },
            amount_minor,
            currency,
            ..
        },
    ] = posting.legs.as_slice()
    else {
        return None;
    };
    Some(PostBonusGrantRequest {
        posting_id: posting.id.to_string(),
        transaction_id: posting.transaction.to_string(),
        grant_id: posting.grant?.to_string(),
        campaign_id: campaign.to_string(),
        wallet_id: wallet.to_string(),
        amount: Some(Money {
            currency_code: currency.code().to_owned(),
            minor_units: *amount_minor,
        }),
        origin: Some(PostingOrigin {
            actor: actor.to_owned(),
            correlation_id: correlation::current().to_string(),
        }),
    })
}

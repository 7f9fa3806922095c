//! `CreateWithdrawal`: from a wallet of the caller's to a payment provider, which pays it
//! on to a bank account of the caller's where it pays to bank accounts.
//!
//! The money is set aside before the provider is asked. The account and the wallet are
//! looked at first all the same: a call that can go nowhere records nothing. A caller
//! who names no provider gets that of the account, or the best one, which is chosen only
//! for a call that is not a repetition.

use std::time::Instant;

use bursar_aip::id::{PayoutAccountId, TenantId, UserId};
use bursar_contracts::transaction::v1::{CreateWithdrawalRequest, CreateWithdrawalResponse};
use bursar_server::{Context, detached};
use tonic::{Request, Response, Status};

use super::creation::{Creation, Intent};
use super::wallet_look::{Part, half_way_to};
use super::{amount, provider, quote_id, wallet_id};
use crate::advance::Engine;
use crate::domain::{Movement, ProviderName, Side};
use crate::error::Error;
use crate::payout::{PayoutError, payable};
use crate::provider::{Direction, Wanted};

/// Who asks, and until when the look at what it is about may take.
struct Asker {
    tenant: TenantId,
    user: UserId,
    until: Instant,
}

pub(super) async fn handle(
    engine: &Engine,
    request: Request<CreateWithdrawalRequest>,
) -> Result<Response<CreateWithdrawalResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let creation = Creation::new(engine, &context, &message)?;
    let engine = engine.clone();
    let asker = Asker {
        tenant: context.caller.tenant.clone(),
        user: context.user_id()?,
        until: half_way_to(context.deadline),
    };
    detached(creation.run_found(async move { intent(&engine, &asker, message).await })).await
}

async fn intent(
    engine: &Engine,
    asker: &Asker,
    message: CreateWithdrawalRequest,
) -> Result<Intent, Error> {
    let from = wallet_id(&message.wallet_id, "wallet_id")?;
    let amount = amount(message.amount.as_ref())?;
    let payout_account = payout_account(&message.payout_account_id)?;
    let wanted = Wanted {
        direction: Direction::Payout,
        amount,
        has_payment_method: false,
        has_payout_account: payout_account.is_some(),
    };
    let provider = match payout_account {
        Some(id) => paying(engine, asker, id, &message.provider, &wanted).await?,
        None => provider(engine, &message.provider, &wanted)?,
    };
    let part = Part {
        wallet: from,
        side: Side::Payer,
        owner: Some(asker.user),
        currency: amount.currency(),
    };
    part.check(&engine.ledger, asker.until).await?;
    Ok(Intent {
        movement: Movement::Withdrawal {
            from,
            provider,
            payout_account,
        },
        amount,
        description: message.description,
        quote: quote_id(&message.quote_id)?,
    })
}

/// The account that a request names, if it names one.
fn payout_account(text: &str) -> Result<Option<PayoutAccountId>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let id = text.parse().map_err(|_| Error::FieldInvalid {
        field: "payout_account_id",
    })?;
    Ok(Some(id))
}

/// The provider that pays to an account of the caller's. When the request names one, it
/// must be that one.
async fn paying(
    engine: &Engine,
    asker: &Asker,
    id: PayoutAccountId,
    named: &str,
    wanted: &Wanted,
) -> Result<ProviderName, Error> {
    let mut conn = engine.pool.acquire().await?;
    let account = payable(&mut conn, &asker.tenant, asker.user, id).await?;
    drop(conn);
    let field = "payout_account_id";
    if !named.is_empty() && named != account.provider.as_str() {
        // The provider is looked at first: it may be none at all.
        provider(engine, named, wanted)?;
        let why = "the payout account is at another payment provider";
        return Err(PayoutError::Mismatch { field, why }.into());
    }
    if account.currency != wanted.amount.currency() {
        let why = "the payout account has another currency";
        return Err(PayoutError::Mismatch { field, why }.into());
    }
    provider(engine, account.provider.as_str(), wanted)
}

//! `CreatePayoutAccount`: registers where the caller is paid out.
//!
//! The bank is asked for the account's name before anything is recorded: asking
//! changes nothing, so a call that dies in between leaves nothing, and the key is as
//! new. It costs money, so nobody is asked for a user who has as many accounts as may be.
//! The key, the account, its event and the answer are one database transaction. What is
//! kept for the key has nothing personal in it: a repetition is answered from the account.

use std::time::{Duration, Instant};

use bursar_aip::id::{PayoutAccountId, TenantId, UserId};
use bursar_aip::idempotency::{self, Answer};
use bursar_contracts::transaction::v1::{CreatePayoutAccountRequest, CreatePayoutAccountResponse};
use bursar_money::Currency;
use bursar_server::{Context, detached, now};
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use super::super::once::{Begun, Once};
use super::reads;
use crate::advance::Engine;
use crate::domain::ProviderName;
use crate::error::Error;
use crate::payout::{MAX_ACCOUNTS, PayoutAccount, PayoutError, event};
use crate::provider::{BankAccount, Enquired, Payee, Unavailable};
use crate::store::payout_accounts::{self, SealedAccount};

/// Left of a call's time for recording what the provider has said.
const COMMIT_MARGIN: Duration = Duration::from_millis(500);

/// What is to be registered, and for whom.
struct Wanted {
    tenant: TenantId,
    user: UserId,
    actor: String,
    provider: ProviderName,
    account: BankAccount,
    deadline: Instant,
}

pub(super) async fn handle(
    engine: &Engine,
    request: Request<CreatePayoutAccountRequest>,
) -> Result<Response<CreatePayoutAccountResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let once = Once::of(&context, &message);
    let wanted = Wanted::of(&context, message)?;
    let engine = engine.clone();
    detached(async move { create(&engine, once, wanted).await }).await
}

impl Wanted {
    fn of(context: &Context, message: CreatePayoutAccountRequest) -> Result<Self, Status> {
        let invalid = |field| Error::FieldInvalid { field };
        let currency =
            Currency::parse(&message.currency_code).map_err(|_| Error::CurrencyUnknown {
                field: "currency_code",
            })?;
        Ok(Self {
            tenant: context.caller.tenant.clone(),
            user: context.user_id()?,
            actor: context.caller.actor(),
            provider: message.provider.parse().map_err(|_| invalid("provider"))?,
            account: BankAccount {
                currency,
                sort_code: message.sort_code,
                number: message.account_number,
            },
            deadline: context.deadline,
        })
    }
}

async fn create(
    engine: &Engine,
    once: Once,
    wanted: Wanted,
) -> Result<Response<CreatePayoutAccountResponse>, Status> {
    if let Some(answer) = once.answered(&engine.pool).await? {
        return repeat(engine, answer, &wanted).await;
    }
    let mut conn = engine.pool.acquire().await.map_err(Error::from)?;
    require_room(&mut conn, &wanted).await?;
    drop(conn);
    let name = name_of(engine, &wanted).await?;
    let account = PayoutAccount {
        id: PayoutAccountId::generate(),
        tenant: wanted.tenant.clone(),
        user: wanted.user,
        provider: wanted.provider.clone(),
        payee: Payee {
            account: wanted.account.clone(),
            name,
        },
        created_at: now(),
        archived_at: None,
    };
    let mut open = match once.begin(&engine.pool).await? {
        Begun::First(open) => open,
        Begun::Before(answer) => return repeat(engine, answer, &wanted).await,
    };
    // Others may have come since, and wait from here on.
    require_room(&mut open.database, &wanted).await?;
    let sealed = sealed(engine, &account)?;
    payout_accounts::insert(&mut open.database, &sealed)
        .await
        .map_err(Error::from)?;
    let registered = event::registered(&sealed, wanted.actor);
    bursar_events::append(&mut open.database, &[registered])
        .await
        .map_err(Error::from)?;
    let payout_account = Some(account.impersonal());
    let mut response = open
        .finish(CreatePayoutAccountResponse { payout_account })
        .await?;
    response.get_mut().payout_account = Some(account.message());
    Ok(response)
}

/// Refuses one account more than a user may have.
async fn require_room(conn: &mut PgConnection, wanted: &Wanted) -> Result<(), PayoutError> {
    let registered = payout_accounts::count(conn, &wanted.tenant, wanted.user).await?;
    if registered < MAX_ACCOUNTS {
        Ok(())
    } else {
        Err(PayoutError::Exceeded)
    }
}

/// The name that the bank has for the account.
async fn name_of(engine: &Engine, wanted: &Wanted) -> Result<String, Status> {
    let provider = engine.providers.get(&wanted.provider);
    let provider = provider.ok_or(Error::ProviderUnknown)?;
    let mismatch = |field, why| PayoutError::Mismatch { field, why };
    if !provider.offer().takes(wanted.account.currency) {
        let why = "the payment provider pays to no bank accounts in this currency";
        return Err(mismatch("currency_code", why).into());
    }
    let left = wanted.deadline.saturating_duration_since(Instant::now());
    let timeout = provider.deadline().min(left.saturating_sub(COMMIT_MARGIN));
    let enquired = provider.name_of(&wanted.account, timeout).await;
    match enquired {
        Some(Enquired::Named(name)) => Ok(name),
        Some(Enquired::NoSuchAccount) => Err(PayoutError::NoSuchBankAccount.into()),
        Some(Enquired::Unanswered) => Err(Error::from(Unavailable::Health).into()),
        None => {
            let why = "the payment provider pays to no bank accounts";
            Err(mismatch("provider", why).into())
        }
    }
}

fn sealed(engine: &Engine, account: &PayoutAccount) -> Result<SealedAccount, PayoutError> {
    Ok(SealedAccount {
        id: account.id,
        tenant: account.tenant.clone(),
        user: account.user,
        provider: account.provider.clone(),
        currency: account.payee.account.currency,
        sort_code: account.payee.account.sort_code.clone(),
        sealed: engine
            .payout_accounts
            .vault()?
            .seal(account.id, &account.payee),
        created_at: account.created_at,
        archived_at: account.archived_at,
    })
}

/// Answers a key that came before from the account that it registered. The fingerprint
/// knows nothing of the number, which is a secret, so the account has to.
async fn repeat(
    engine: &Engine,
    answer: Answer,
    wanted: &Wanted,
) -> Result<Response<CreatePayoutAccountResponse>, Status> {
    let mut response: Response<CreatePayoutAccountResponse> = answer.into_result()?;
    let kept = response.get_ref().payout_account.as_ref();
    let id = kept.map_or("", |kept| kept.payout_account_id.as_str());
    let id = reads::id(id)?;
    let mut conn = engine.pool.acquire().await.map_err(Error::from)?;
    let account = engine.payout_accounts.find(&mut conn, id).await?;
    let mut account = account.ok_or(PayoutError::NotFound)?;
    if account.payee.account != wanted.account {
        return Err(idempotency::reused());
    }
    // As it was answered first.
    account.archived_at = None;
    response.get_mut().payout_account = Some(account.message());
    Ok(response)
}

//! CreateProviderAccount: records that an account is to be opened, and answers.
//!
//! The provider is asked after the answer, by the job. So the answer does not
//! depend on how long the provider takes, a repeated call gets exactly the first
//! answer, and no account number is among the answers that are kept.

use std::sync::Arc;

use bursar_aip::id::{ProviderAccountId, TenantId, UserId, WalletId, parse_field};
use bursar_contracts::wallet::v1::{CreateProviderAccountRequest, CreateProviderAccountResponse};
use bursar_server::{Context, detached, now};
use bursar_status::correlation;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use super::once::{Call, once};
use super::provider_accounts::ProviderAccounts;
use super::required_owner;
use crate::contract::provider_account;
use crate::domain::provider_account::ProviderAccount;
use crate::domain::wallet::WalletStatus;
use crate::error::{Error, ProviderAccountError};
use crate::providers::{AccountHolder, AccountProvider, Vault};
use crate::store::provider_accounts::{self, NewAccount};
use crate::store::wallets;

/// What is to be opened.
struct Opening {
    tenant: TenantId,
    wallet: WalletId,
    /// The user to whom the wallet must belong, if any.
    owner: Option<UserId>,
    holder: AccountHolder,
    provider: Arc<dyn AccountProvider>,
    vault: Arc<Vault>,
}

pub(super) async fn handle(
    service: &ProviderAccounts,
    request: Request<CreateProviderAccountRequest>,
) -> Result<Response<CreateProviderAccountResponse>, Status> {
    let context = Context::of(&request)?;
    let mut request = request.into_inner();
    let holder = request.account_holder.clone().unwrap_or_default();
    // Secrets are kept nowhere, hashes of requests included.
    if let Some(holder) = &mut request.account_holder {
        holder.bvn.clear();
    }
    let call = Call::of(&context, &request);
    let configured = service.provider.clone().zip(service.vault.clone());
    let (provider, vault) = configured.ok_or(ProviderAccountError::Disabled)?;
    let opening = Opening {
        tenant: context.caller.tenant.clone(),
        wallet: parse_field("wallet_id", &request.wallet_id)?,
        owner: required_owner(context.reach()?),
        holder: checked(provider_account::holder(holder), provider.as_ref())?,
        provider,
        vault,
    };
    let (pool, wake) = (service.pool.clone(), Arc::clone(&service.wake));
    let answer = detached(async move {
        once(&pool, &call, async |conn, _| {
            let account = record(conn, &opening).await?;
            Ok(CreateProviderAccountResponse {
                provider_account: Some(provider_account::provider_account(&account, None)),
            })
        })
        .await
    })
    .await;
    wake.notify_one();
    answer
}

/// The holder, with all that the provider needs.
fn checked(
    holder: AccountHolder,
    provider: &dyn AccountProvider,
) -> Result<AccountHolder, ProviderAccountError> {
    let missing = holder.missing(provider.needs());
    if !missing.is_empty() {
        return Err(ProviderAccountError::HolderIncomplete {
            provider: provider.name(),
            fields: missing.into_iter().map(|field| field.path()).collect(),
        });
    }
    if !holder.is_born(now()) {
        return Err(ProviderAccountError::DateOfBirthInvalid);
    }
    Ok(holder)
}

/// Records the account. A wallet that is frozen or closed between the look and
/// the commit may still get one: that is as if it had been asked for earlier.
async fn record(conn: &mut PgConnection, opening: &Opening) -> Result<ProviderAccount, Error> {
    let wallet = wallets::find(conn, &opening.tenant, opening.wallet, opening.owner)
        .await?
        .ok_or(Error::WalletNotFound)?;
    let wallet_id = wallet.id;
    // A wallet of the platform's has no owner, and nobody pays into it.
    let owner = wallet.owner.ok_or(Error::WalletNotFound)?;
    match wallet.status {
        WalletStatus::Active => {}
        WalletStatus::Frozen => return Err(Error::WalletFrozen { wallet: wallet_id }),
        WalletStatus::Closed => return Err(Error::WalletClosed { wallet: wallet_id }),
    }
    let provider = opening.provider.name();
    if !opening.provider.supports(wallet.currency) {
        let currency = wallet.currency;
        return Err(ProviderAccountError::CurrencyUnsupported { provider, currency }.into());
    }
    let id = ProviderAccountId::generate();
    let correlation = correlation::current();
    let new = NewAccount {
        id,
        tenant: &opening.tenant,
        wallet: wallet_id,
        owner,
        provider,
        currency: wallet.currency,
        holder_sealed: &opening.vault.seal_holder(id, &opening.holder),
        correlation_id: correlation.as_str(),
    };
    if let Some(account) = provider_accounts::insert(conn, &new).await? {
        return Ok(account);
    }
    let existing = provider_accounts::find_live(conn, wallet_id, provider).await?;
    Err(ProviderAccountError::Exists { existing }.into())
}

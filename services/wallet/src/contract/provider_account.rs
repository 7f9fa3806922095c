//! Accounts at providers as the contract has them, and the events that tell of
//! them.

use bursar_contracts::wallet::v1 as proto;
use bursar_events::{Aggregate, Event, EventData};
use time::OffsetDateTime;

use super::timestamp;
use crate::domain::provider_account::{Failure, ProviderAccount, State};
use crate::providers::{AccountHolder, OpenedAccount};
use crate::store::provider_accounts::leases::Claimed;

/// Who causes what the job does.
const ACTOR: &str = "service:wallet";

/// An account for its owner. `opened` has what is personal of an active one.
pub(crate) fn provider_account(
    account: &ProviderAccount,
    opened: Option<OpenedAccount>,
) -> proto::ProviderAccount {
    let mut told = proto::ProviderAccount {
        provider_account_id: account.id.to_string(),
        wallet_id: account.wallet.to_string(),
        provider: account.provider.name().to_owned(),
        currency_code: account.currency.code().to_owned(),
        created_at: Some(timestamp(account.created_at)),
        ..proto::ProviderAccount::default()
    };
    match &account.state {
        State::Pending => told.set_status(proto::ProviderAccountStatus::Pending),
        State::Active {
            bank_name,
            bank_code,
            at,
        } => {
            told.set_status(proto::ProviderAccountStatus::Active);
            told.bank_name.clone_from(bank_name);
            told.bank_code.clone_from(bank_code);
            told.finished_at = Some(timestamp(*at));
            if let Some(opened) = opened {
                told.account_number = opened.number;
                told.account_name = opened.name;
            }
        }
        State::Failed { failure: cause, at } => {
            told.set_status(proto::ProviderAccountStatus::Failed);
            told.set_failure(failure(cause));
            told.finished_at = Some(timestamp(*at));
            if let Failure::Declined { code } = cause {
                told.decline_code.clone_from(code);
            }
        }
    }
    told
}

fn failure(failure: &Failure) -> proto::ProviderAccountFailure {
    match failure {
        Failure::Declined { .. } => proto::ProviderAccountFailure::Declined,
        Failure::AlreadyRegistered => proto::ProviderAccountFailure::AlreadyRegistered,
        Failure::Unavailable => proto::ProviderAccountFailure::ProviderUnavailable,
    }
}

/// The holder of a request.
pub(crate) fn holder(holder: proto::AccountHolder) -> AccountHolder {
    AccountHolder {
        first_name: holder.first_name,
        last_name: holder.last_name,
        phone_number: holder.phone_number,
        email: holder.email,
        date_of_birth: holder.date_of_birth,
        address: holder.address,
        bvn: holder.bvn,
    }
}

/// `wallet.provider_account.opened`.
pub(crate) fn opened(account: &Claimed, version: i64, at: OffsetDateTime) -> Event {
    let data = proto::ProviderAccountOpened {
        wallet_id: account.wallet.to_string(),
        owner_user_id: account.owner.to_string(),
        provider_account_id: account.id.to_string(),
        provider: account.provider.name().to_owned(),
        currency_code: account.currency.code().to_owned(),
        opened_at: Some(timestamp(at)),
    };
    event(
        "wallet.provider_account.opened",
        account,
        version,
        &data,
        at,
    )
}

/// `wallet.provider_account.failed`.
pub(crate) fn failed(
    account: &Claimed,
    cause: &Failure,
    version: i64,
    at: OffsetDateTime,
) -> Event {
    let data = proto::ProviderAccountFailed {
        wallet_id: account.wallet.to_string(),
        owner_user_id: account.owner.to_string(),
        provider_account_id: account.id.to_string(),
        provider: account.provider.name().to_owned(),
        failure: failure(cause).into(),
        failed_at: Some(timestamp(at)),
    };
    event(
        "wallet.provider_account.failed",
        account,
        version,
        &data,
        at,
    )
}

fn event(
    kind: &'static str,
    account: &Claimed,
    version: i64,
    data: &impl EventData,
    at: OffsetDateTime,
) -> Event {
    let aggregate = Aggregate {
        kind: "wallet",
        id: account.wallet.uuid(),
        subject: account.wallet.to_string(),
    };
    let actor = ACTOR.to_owned();
    Event::new(
        kind,
        aggregate,
        version,
        data,
        actor,
        account.tenant.clone(),
        at,
    )
}

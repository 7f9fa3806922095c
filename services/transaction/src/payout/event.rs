//! What the audit trail learns of payout accounts: who registered or archived which, and
//! nothing that is personal. An account has these two events and no others.

use bursar_aip::id::PayoutAccountId;
use bursar_contracts::transaction::v1::{PayoutAccountArchived, PayoutAccountRegistered};
use bursar_events::{Aggregate, Event};
use time::OffsetDateTime;

use crate::store::payout_accounts::SealedAccount;

/// `transaction.payout_account.registered`.
pub(crate) fn registered(account: &SealedAccount, actor: String) -> Event {
    let data = PayoutAccountRegistered {
        user_id: account.user.to_string(),
        provider: account.provider.to_string(),
        currency_code: account.currency.code().to_owned(),
        sort_code: account.sort_code.clone(),
    };
    Event::new(
        "transaction.payout_account.registered",
        aggregate(account.id),
        1,
        &data,
        actor,
        account.tenant.clone(),
        account.created_at,
    )
}

/// `transaction.payout_account.archived`.
pub(crate) fn archived(account: &SealedAccount, at: OffsetDateTime, actor: String) -> Event {
    let data = PayoutAccountArchived {
        user_id: account.user.to_string(),
    };
    Event::new(
        "transaction.payout_account.archived",
        aggregate(account.id),
        2,
        &data,
        actor,
        account.tenant.clone(),
        at,
    )
}

fn aggregate(id: PayoutAccountId) -> Aggregate {
    Aggregate {
        kind: "payout_account",
        id: id.uuid(),
        subject: id.to_string(),
    }
}

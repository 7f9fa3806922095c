//! Wallets and entries as the contract has them.

use bursar_contracts::wallet::v1 as proto;

use super::{enums, timestamp};
use crate::domain::wallet::Wallet;
use crate::store::entries::ListedEntry;

/// A wallet for its caller.
pub(crate) fn wallet(wallet: &Wallet) -> proto::Wallet {
    proto::Wallet {
        wallet_id: wallet.id.to_string(),
        owner_user_id: wallet
            .owner
            .map(|owner| owner.to_string())
            .unwrap_or_default(),
        currency_code: wallet.currency.code().to_owned(),
        status: enums::wallet_status(wallet.status).into(),
        balance: Some(proto::Balance {
            available_minor: wallet.balance.available,
            held_minor: wallet.balance.held,
            bonus_minor: wallet.balance.bonus,
        }),
        version: wallet.version,
        created_at: Some(timestamp(wallet.created_at)),
        credit_limit_minor: wallet.credit_limit(),
    }
}

/// An entry for its wallet's owner.
pub(crate) fn entry(entry: &ListedEntry) -> proto::Entry {
    proto::Entry {
        transaction_id: entry
            .transaction
            .map(|transaction| transaction.to_string())
            .unwrap_or_default(),
        bucket: enums::bucket(entry.bucket).into(),
        amount_minor: entry.amount,
        balance_after_minor: entry.balance_after,
        recorded_at: Some(timestamp(entry.recorded_at)),
        posting_id: entry.posting.to_string(),
        kind: enums::posting_kind(entry.kind).into(),
        version: entry.version,
        effective_at: Some(timestamp(entry.effective_at)),
    }
}

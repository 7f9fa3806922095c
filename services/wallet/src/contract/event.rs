//! The events that tell of wallets.

pub(crate) mod life;

use bursar_aip::id::WalletId;
use bursar_contracts::wallet::v1 as proto;
use bursar_events::{Aggregate, Event};
use time::OffsetDateTime;

use super::{enums, timestamp};
use crate::domain::decide::{Direction, Movement};
use crate::domain::posting::Posting;
use crate::domain::wallet::Wallet;

fn aggregate(id: WalletId) -> Aggregate {
    Aggregate {
        kind: "wallet",
        id: id.uuid(),
        subject: id.to_string(),
    }
}

/// `wallet.created`: the first event of a user's wallet.
pub(crate) fn created(wallet: &Wallet, actor: String) -> Event {
    let data = proto::WalletCreated {
        wallet_id: wallet.id.to_string(),
        owner_user_id: wallet
            .owner
            .map(|owner| owner.to_string())
            .unwrap_or_default(),
        currency_code: wallet.currency.code().to_owned(),
        created_at: Some(timestamp(wallet.created_at)),
    };
    Event::new(
        "wallet.created",
        aggregate(wallet.id),
        wallet.event_version,
        &data,
        actor,
        wallet.tenant.clone(),
        wallet.created_at,
    )
}

/// `wallet.credited`, `wallet.debited` or `wallet.moved`: what a posting did to
/// a user's wallet.
pub(crate) fn posted(
    posting: &Posting,
    movement: &Movement,
    recorded_at: OffsetDateTime,
    actor: String,
) -> Event {
    let kind = match movement.direction {
        Direction::Credited => "wallet.credited",
        Direction::Debited => "wallet.debited",
        Direction::Moved => "wallet.moved",
    };
    let data = proto::WalletPosted {
        wallet_id: movement.wallet.to_string(),
        owner_user_id: movement.owner.to_string(),
        currency_code: movement.currency.code().to_owned(),
        posting_id: posting.id.to_string(),
        transaction_id: posting
            .transaction
            .map(|transaction| transaction.to_string())
            .unwrap_or_default(),
        kind: enums::posting_kind(posting.kind).into(),
        entries: movement
            .entries
            .iter()
            .map(|entry| proto::EntryRecorded {
                bucket: enums::bucket(entry.bucket).into(),
                amount_minor: entry.amount,
                balance_after_minor: entry.balance_after,
                version: entry.version,
            })
            .collect(),
        recorded_at: Some(timestamp(recorded_at)),
    };
    Event::new(
        kind,
        aggregate(movement.wallet),
        movement.event_version,
        &data,
        actor,
        posting.tenant.clone(),
        recorded_at,
    )
}

//! What a batch of a stream's entries tells whom.

use std::collections::HashMap;

use bursar_aip::id::{TransactionId, UserId};
use bursar_contracts::transaction::v1::{WatchedBalance, WatchedWallet};
use bursar_contracts::wallet::v1::{WalletCreated, WalletPosted};
use bursar_events::Received;
use bursar_events::tail::{Entry, Position};
use sqlx::PgPool;

use crate::store::watch_owners;

/// The streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// This service's own.
    Transactions,
    /// Wallet's.
    Wallets,
}

impl Source {
    /// What publishes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Transactions => "bursar.transaction",
            Self::Wallets => "bursar.wallet",
        }
    }
}

/// Something that concerns a user.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// A transaction has a new event.
    Transaction {
        id: TransactionId,
        event: String,
        version: i64,
    },
    /// A wallet's balances changed.
    Wallet(WatchedWallet),
}

/// What a batch of entries tells.
#[derive(Clone, Debug)]
pub(crate) struct News {
    pub(crate) source: Source,
    /// Each user's changes, in the order of the stream, with where they are.
    pub(crate) of_user: HashMap<UserId, Vec<(Position, Change)>>,
    /// Where the batch ends.
    pub(crate) last: Position,
    /// True when something before it was removed from the stream unread.
    pub(crate) is_after_gap: bool,
}

/// Reads a batch of entries, at least one.
pub(crate) async fn read(
    pool: &PgPool,
    source: Source,
    entries: &[Entry],
    last: Position,
) -> Result<News, sqlx::Error> {
    let of_user = match source {
        Source::Transactions => transactions(pool, entries).await?,
        Source::Wallets => wallets(entries),
    };
    Ok(News {
        source,
        of_user,
        last,
        is_after_gap: false,
    })
}

/// The changes of transactions. Who they concern is in the rows, not in the events:
/// only the first event names the initiator, and only the last the beneficiary.
async fn transactions(
    pool: &PgPool,
    entries: &[Entry],
) -> Result<HashMap<UserId, Vec<(Position, Change)>>, sqlx::Error> {
    let events: Vec<(Position, &Received)> = entries
        .iter()
        .filter_map(|entry| Some((entry.position, entry.event.as_ref()?)))
        .filter(|(_, event)| event.aggregate_kind == "transaction")
        .collect();
    let ids: Vec<_> = events.iter().map(|(_, event)| event.aggregate_id).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let mut conn = pool.acquire().await?;
    let owners = watch_owners::of(&mut conn, &ids).await?;
    let mut of_user: HashMap<UserId, Vec<(Position, Change)>> = HashMap::new();
    for (position, event) in events {
        for user in owners.get(&event.aggregate_id).into_iter().flatten() {
            let change = Change::Transaction {
                id: TransactionId::from_uuid(event.aggregate_id),
                event: event.kind.clone(),
                version: event.version,
            };
            of_user.entry(*user).or_default().push((position, change));
        }
    }
    Ok(of_user)
}

/// The changes of wallets' balances. Each event names the owner.
fn wallets(entries: &[Entry]) -> HashMap<UserId, Vec<(Position, Change)>> {
    let mut of_user: HashMap<UserId, Vec<(Position, Change)>> = HashMap::new();
    for entry in entries {
        let told = entry.event.as_ref().and_then(wallet);
        if let Some((owner, wallet)) = told {
            let change = (entry.position, Change::Wallet(wallet));
            of_user.entry(owner).or_default().push(change);
        }
    }
    of_user
}

/// What an event says of a user's wallet; `None` when it says nothing of balances,
/// or the wallet is the platform's own.
fn wallet(event: &Received) -> Option<(UserId, WatchedWallet)> {
    match event.kind.as_str() {
        "wallet.created" => {
            let created: WalletCreated = event.decode().ok()?;
            Some((
                created.owner_user_id.parse().ok()?,
                WatchedWallet {
                    wallet_id: created.wallet_id,
                    currency_code: created.currency_code,
                    event: event.kind.clone(),
                    ..WatchedWallet::default()
                },
            ))
        }
        "wallet.credited" | "wallet.debited" | "wallet.moved" => {
            let posted: WalletPosted = event.decode().ok()?;
            let owner = posted.owner_user_id.parse().ok()?;
            Some((owner, balances(event, posted)))
        }
        _ => None,
    }
}

/// The balances after a posting: of each bucket the last.
fn balances(event: &Received, posted: WalletPosted) -> WatchedWallet {
    let version = posted.entries.iter().map(|entry| entry.version).max();
    let mut balances: Vec<WatchedBalance> = Vec::new();
    for entry in &posted.entries {
        balances.retain(|before| before.bucket != entry.bucket);
        balances.push(WatchedBalance {
            bucket: entry.bucket,
            balance_minor: entry.balance_after_minor,
        });
    }
    WatchedWallet {
        wallet_id: posted.wallet_id,
        currency_code: posted.currency_code,
        version: version.unwrap_or_default(),
        balances,
        transaction_id: posted.transaction_id,
        event: event.kind.clone(),
    }
}

#[cfg(test)]
mod tests {
    use bursar_contracts::wallet::v1::{Bucket, EntryRecorded};
    use bursar_events::EventData;
    use bursar_server::now;
    use prost::Message;
    use uuid::Uuid;

    use super::*;

    fn received(kind: &str, schema: &str, data: Vec<u8>) -> Received {
        Received {
            id: Uuid::now_v7(),
            source: Source::Wallets.name().to_owned(),
            kind: kind.to_owned(),
            tenant: "default".to_owned(),
            aggregate_kind: "wallet".to_owned(),
            aggregate_id: Uuid::now_v7(),
            subject: String::new(),
            version: 1,
            schema: schema.to_owned(),
            data,
            actor: String::new(),
            correlation_id: String::new(),
            traceparent: None,
            occurred_at: now(),
        }
    }

    fn recorded(bucket: Bucket, balance: i64, version: i64) -> EntryRecorded {
        EntryRecorded {
            bucket: bucket.into(),
            amount_minor: 1,
            balance_after_minor: balance,
            version,
        }
    }

    /// A posting is told to the wallet's owner with the last balance of each bucket
    /// that it changed; the platform's own wallets and rubbish are told to nobody.
    #[test]
    fn balances_are_told_to_their_owner() {
        let owner = UserId::generate();
        let mut posted = WalletPosted {
            owner_user_id: owner.to_string(),
            entries: vec![
                recorded(Bucket::Available, 10, 4),
                recorded(Bucket::Held, 5, 5),
                recorded(Bucket::Available, 7, 6),
            ],
            ..WalletPosted::default()
        };
        let event = |posted: &WalletPosted| {
            received("wallet.moved", WalletPosted::SCHEMA, posted.encode_to_vec())
        };
        let (told, watched) = wallet(&event(&posted)).expect("it concerns the owner");
        assert_eq!((told, watched.version), (owner, 6));
        let balances: Vec<_> = watched
            .balances
            .iter()
            .map(|balance| (balance.bucket(), balance.balance_minor))
            .collect();
        assert_eq!(balances, [(Bucket::Held, 5), (Bucket::Available, 7)]);

        posted.owner_user_id.clear();
        assert!(wallet(&event(&posted)).is_none());
        let rubbish = received("wallet.credited", WalletPosted::SCHEMA, vec![0xff; 4]);
        assert!(wallet(&rubbish).is_none());
        let other = received("wallet.frozen", WalletPosted::SCHEMA, Vec::new());
        assert!(wallet(&other).is_none());
    }
}

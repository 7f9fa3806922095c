//! Reading what a batch decides on: wallets and holds under locks, and the
//! postings that are in the ledger already.
//!
//! Lock order: first the wallets, by id, then the holds, by id. Nothing else
//! takes row locks on either table, so writers cannot wait in a circle, not
//! even for opposed transfers or one hot wallet.
//!
//! [`recorded`] must run after [`lock_wallets`]. A posting that is asked for
//! twice names the same wallets both times, so once we hold their locks its
//! first transaction has ended, and under READ COMMITTED the next statement
//! sees what it committed. Looking before locking could miss it, and the
//! posting could then be refused for the very money that it moved itself.

use bursar_aip::id::{HoldId, UserId, WalletId};
use sqlx::{PgConnection, query, query_as};
use uuid::Uuid;

use super::names::{Named, unreadable};
use super::wallets::{self, WalletRow};
use crate::domain::hold::{Hold, HoldStatus};
use crate::domain::posting::{Fingerprint, PostingId, Recorded, RecordedLeg};
use crate::domain::wallet::Wallet;

/// Locks wallets in the order of their ids, which `ids` must be in; ids of no
/// wallet are left out.
pub async fn lock_wallets(
    conn: &mut PgConnection,
    ids: &[Uuid],
) -> Result<Vec<Wallet>, sqlx::Error> {
    let rows = query_as!(
        WalletRow,
        r#"SELECT id, tenant_id, owner_user_id, currency, status::text AS "status!",
                available, held, bonus, min_available, version, event_version, created_at
         FROM wallets
         WHERE id = ANY($1)
         ORDER BY id
         FOR UPDATE"#,
        ids,
    )
    .fetch_all(conn)
    .await?;
    wallets::all(rows)
}

/// Locks holds in the order of their ids; ids of no hold are left out.
pub async fn lock_holds(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Hold>, sqlx::Error> {
    let rows = query!(
        r#"SELECT id, wallet_id, amount, status::text AS "status!"
         FROM holds
         WHERE id = ANY($1)
         ORDER BY id
         FOR UPDATE"#,
        ids,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Hold {
                id: HoldId::from_uuid(row.id),
                wallet: WalletId::from_uuid(row.wallet_id),
                amount: row.amount,
                status: HoldStatus::from_word(&row.status)?,
            })
        })
        .collect()
}

/// Those of the postings that are in the ledger, with their first results,
/// rebuilt from what was written: nothing is stored twice.
pub async fn recorded(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Recorded>, sqlx::Error> {
    // One row a leg. The key arrays of a posting find its entries.
    let rows = query!(
        r#"SELECT postings.id, postings.tenant_id, postings.fingerprint, postings.recorded_at,
                cardinality(postings.leg_wallet_ids) AS "leg_count!",
                entries.wallet_id, entries.version, entries.balance_after, wallets.owner_user_id
         FROM postings
         CROSS JOIN UNNEST(postings.leg_wallet_ids, postings.leg_versions)
             WITH ORDINALITY AS leg (wallet_id, version, place)
         JOIN entries ON entries.wallet_id = leg.wallet_id AND entries.version = leg.version
         JOIN wallets ON wallets.id = leg.wallet_id
         WHERE postings.id = ANY($1)
         ORDER BY postings.id, leg.place"#,
        ids,
    )
    .fetch_all(conn)
    .await?;
    let mut found = Vec::new();
    for legs in rows.chunk_by(|left, right| left.id == right.id) {
        let posting = &legs[0];
        if usize::try_from(posting.leg_count) != Ok(legs.len()) {
            return Err(unreadable(format!(
                "posting {} of missing entries",
                posting.id
            )));
        }
        let tenant = &posting.tenant_id;
        found.push(Recorded {
            id: PostingId::from_uuid(posting.id),
            tenant: tenant.parse().map_err(|_| unreadable(tenant))?,
            fingerprint: Fingerprint::try_from(posting.fingerprint.as_slice())
                .map_err(|_| unreadable("a fingerprint of another length"))?,
            recorded_at: posting.recorded_at,
            legs: legs
                .iter()
                .map(|leg| RecordedLeg {
                    wallet: WalletId::from_uuid(leg.wallet_id),
                    owner: leg.owner_user_id.map(UserId::from_uuid),
                    version: leg.version,
                    balance_after: leg.balance_after,
                })
                .collect(),
        });
    }
    Ok(found)
}

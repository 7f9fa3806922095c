//! Postings from before there were blocks, which no row of `ledger_unsealed`
//! tells of. They are sealed once, before anything else, from the ledger's rows,
//! in the order of their recorded times.
//!
//! Postings of one batch have one recorded time. Among them the order is that of
//! each wallet's versions: a posting comes when the entries before its own, in
//! each of its wallets, have come. Processes that write without telling the
//! sealer must be gone before.

use std::collections::HashMap;

use bursar_proof::{Block, Hash, MAX_BLOCK_POSTINGS, PostingRecord};
use sqlx::PgConnection;
use uuid::Uuid;

use super::SealFailed;
use crate::store::proof::postings;

/// The next block's postings and their leaves; `None` if none are left.
pub(super) async fn next(
    conn: &mut PgConnection,
    previous: Option<&Block>,
) -> Result<Option<(Vec<Uuid>, Vec<Hash>)>, SealFailed> {
    let sealed_until = previous.map(|block| block.last_recorded_us);
    // One more than fit shows whether the last recorded time is whole.
    let limit = MAX_BLOCK_POSTINGS + 1;
    let ids = postings::unsealed_from_before(conn, sealed_until, limit).await?;
    if ids.is_empty() {
        return Ok(None);
    }
    let is_cut = ids.len() == limit;
    let records = postings::records(conn, &ids).await?;
    let mut records: Vec<_> = records.into_iter().flatten().collect();
    if is_cut && let Some(last) = records.last().map(|last| last.recorded_at_us) {
        records.retain(|record| record.recorded_at_us != last);
    }
    let ordered = order(records).ok_or(SealFailed::OlderOutOfOrder)?;
    let leaves = ordered.iter().map(PostingRecord::leaf).collect();
    let ids = ordered.iter().map(|record| record.posting_id).collect();
    Ok(Some((ids, leaves)))
}

/// The postings, which are in the order of their recorded times, in the order of
/// each wallet's versions too. `None` if there is no such order, or nothing.
fn order(records: Vec<PostingRecord<'static>>) -> Option<Vec<PostingRecord<'static>>> {
    let mut ordered = Vec::with_capacity(records.len());
    for group in records.chunk_by(|left, right| left.recorded_at_us == right.recorded_at_us) {
        // The versions of one recorded time follow each other without a gap.
        let mut next: HashMap<Uuid, i64> = HashMap::new();
        for entry in group.iter().flat_map(|record| &record.entries) {
            let first = next.entry(entry.wallet_id).or_insert(entry.version);
            *first = entry.version.min(*first);
        }
        let mut waiting: Vec<_> = group.to_vec();
        while !waiting.is_empty() {
            let before = waiting.len();
            waiting.retain(|record| {
                let is_next = follows(record, &mut next);
                if is_next {
                    ordered.push(record.clone());
                }
                !is_next
            });
            if waiting.len() == before {
                return None;
            }
        }
    }
    (!ordered.is_empty()).then_some(ordered)
}

/// Whether the posting's entries are the next of their wallets, which they then
/// were.
fn follows(record: &PostingRecord<'_>, next: &mut HashMap<Uuid, i64>) -> bool {
    let mut after = next.clone();
    for entry in &record.entries {
        match after.get_mut(&entry.wallet_id) {
            Some(version) if *version == entry.version => *version += 1,
            Some(_) | None => return false,
        }
    }
    *next = after;
    true
}

#[cfg(test)]
mod tests {
    use bursar_proof::EntryRecord;

    use super::*;

    fn posting(id: u128, recorded_at_us: i64, entries: &[(u128, i64)]) -> PostingRecord<'static> {
        let entry = |&(wallet, version): &(u128, i64)| EntryRecord {
            wallet_id: Uuid::from_u128(wallet),
            version,
            bucket: "available".into(),
            currency: "EUR".into(),
            amount: 1,
            balance_after: 1,
        };
        PostingRecord {
            posting_id: Uuid::from_u128(id),
            tenant: "default".into(),
            transaction_id: None,
            kind: "transfer".into(),
            hold_id: None,
            hold_action: None,
            fingerprint: Hash::ZERO,
            effective_at_us: 0,
            recorded_at_us,
            entries: entries.iter().map(entry).collect(),
        }
    }

    fn ids(records: Option<Vec<PostingRecord<'static>>>) -> Option<Vec<u128>> {
        let id = |record: &PostingRecord<'_>| record.posting_id.as_u128();
        records.map(|records| records.iter().map(id).collect())
    }

    /// Postings of one recorded time come in the order of each wallet's
    /// versions, whatever order they are read in, and a gap is no order.
    #[test]
    fn versions_give_the_order() {
        let batch = [
            posting(3, 5, &[(2, 8), (3, 1)]),
            posting(1, 5, &[(1, 100), (9, 1)]),
            posting(2, 5, &[(1, 101), (2, 7)]),
            posting(4, 6, &[(3, 2), (3, 3)]),
        ];
        assert_eq!(ids(order(batch.to_vec())), Some(vec![1, 2, 3, 4]));
        let gap = vec![posting(1, 5, &[(1, 1)]), posting(2, 5, &[(1, 3)])];
        assert_eq!(ids(order(gap)), None);
    }
}

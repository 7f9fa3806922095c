//! The proof's values as the contract has them.

use bursar_contracts::wallet::v1 as proto;
use bursar_proof::{Block, Checkpoint, EntryRecord, InclusionProof, PostingRecord};

/// A count or a height. The database has them as bigint, so they fit.
fn number(natural: u64) -> i64 {
    i64::try_from(natural).unwrap_or(i64::MAX)
}

pub(crate) fn block(block: &Block) -> proto::LedgerBlock {
    proto::LedgerBlock {
        height: number(block.height),
        previous_hash: block.previous_hash.to_string(),
        root: block.root.to_string(),
        posting_count: block.posting_count,
        postings_total: number(block.postings_total),
        first_recorded_us: block.first_recorded_us,
        last_recorded_us: block.last_recorded_us,
        sealed_at_us: block.sealed_at_us,
        hash: block.hash.to_string(),
    }
}

pub(crate) fn checkpoint(checkpoint: &Checkpoint) -> proto::LedgerCheckpoint {
    proto::LedgerCheckpoint {
        height: number(checkpoint.height),
        block_hash: checkpoint.block_hash.to_string(),
        postings_total: number(checkpoint.postings_total),
        signed_at_us: checkpoint.signed_at_us,
        key_id: checkpoint.key_id.to_string(),
        signature: checkpoint.signature.to_string(),
    }
}

pub(crate) fn inclusion(proof: InclusionProof) -> proto::InclusionProof {
    proto::InclusionProof {
        leaf_index: proof.leaf_index,
        path: proof.path.iter().map(ToString::to_string).collect(),
        block: Some(block(&proof.block)),
        following: proof.following.iter().map(block).collect(),
        checkpoint: Some(checkpoint(&proof.checkpoint)),
        posting: Some(posting(proof.posting)),
    }
}

fn posting(posting: PostingRecord<'_>) -> proto::LedgerPosting {
    proto::LedgerPosting {
        posting_id: posting.posting_id.to_string(),
        tenant: posting.tenant.into_owned(),
        transaction_id: posting.transaction_id.map(|id| id.to_string()),
        kind: posting.kind.into_owned(),
        hold_id: posting.hold_id.map(|id| id.to_string()),
        hold_action: posting.hold_action.map(Into::into),
        fingerprint: posting.fingerprint.to_string(),
        effective_at_us: posting.effective_at_us,
        recorded_at_us: posting.recorded_at_us,
        entries: posting.entries.into_iter().map(entry).collect(),
    }
}

fn entry(entry: EntryRecord<'_>) -> proto::LedgerEntry {
    proto::LedgerEntry {
        wallet_id: entry.wallet_id.to_string(),
        version: entry.version,
        bucket: entry.bucket.into_owned(),
        currency: entry.currency.into_owned(),
        amount: entry.amount,
        balance_after: entry.balance_after,
    }
}

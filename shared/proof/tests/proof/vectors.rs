//! Values that must never change: what was sealed and signed once must verify
//! for ever.

use bursar_proof::{Block, BlockDraft, EntryRecord, Hash, PostingRecord};
use uuid::uuid;

use crate::history::signer;

fn hold() -> PostingRecord<'static> {
    let entry = |version, bucket: &'static str, amount, balance_after| EntryRecord {
        wallet_id: uuid!("01980000-0000-7000-8000-0000000000aa"),
        version,
        bucket: bucket.into(),
        currency: "EUR".into(),
        amount,
        balance_after,
    };
    PostingRecord {
        posting_id: uuid!("01980000-0000-7000-8000-000000000001"),
        tenant: "default".into(),
        transaction_id: Some(uuid!("01980000-0000-7000-8000-000000000002")),
        kind: "hold".into(),
        hold_id: Some(uuid!("01980000-0000-7000-8000-000000000003")),
        hold_action: Some("place".into()),
        fingerprint: Hash::from([0x5a; 32]),
        effective_at_us: 1_700_000_000_000_000,
        recorded_at_us: 1_700_000_000_123_456,
        entries: vec![entry(3, "available", -250, 750), entry(4, "held", 250, 250)],
    }
}

fn plain() -> PostingRecord<'static> {
    PostingRecord {
        transaction_id: None,
        kind: "transfer".into(),
        hold_id: None,
        hold_action: None,
        ..hold()
    }
}

/// The encodings, hashes and the signature of the values in the documentation.
#[test]
fn values_stay_what_they_are() {
    let leaves = [hold().leaf(), plain().leaf()];
    let draft = BlockDraft {
        previous: None,
        leaves: &leaves,
        first_recorded_us: 1_700_000_000_123_456,
        last_recorded_us: 1_700_000_000_123_456,
        sealed_at_us: 1_700_000_001_000_000,
    };
    let block = Block::seal(&draft).expect("a block");
    let checkpoint = signer().sign(&block, 1_700_000_060_000_000);
    let found = [
        ("hold bytes", hex::encode(hold().encode())),
        ("hold leaf", hold().leaf().to_string()),
        ("plain leaf", plain().leaf().to_string()),
        ("root", block.root.to_string()),
        ("block bytes", hex::encode(block.encode())),
        ("block hash", block.hash.to_string()),
        ("public key", signer().verifying_key().to_string()),
        ("checkpoint bytes", hex::encode(checkpoint.encode())),
        ("signature", checkpoint.signature.to_string()),
    ];
    let pinned = include_str!("vectors.txt");
    let written: String = found
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"))
        .collect();
    assert_eq!(written, pinned);
}

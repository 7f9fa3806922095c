//! The leaf of a posting in the proof chain, from what is about to be written.

use std::borrow::Cow;

use bursar_aip::id::TransactionId;
use bursar_proof::{EntryRecord, Hash, PostingRecord};
use time::OffsetDateTime;

use crate::domain::decide::Applied;
use crate::domain::posting::Posting;
use crate::store::names::Named;

/// The hash of exactly the rows that the batch writes for a posting. Whoever
/// reads the rows again makes the same record of them and compares.
pub(super) fn leaf(posting: &Posting, applied: &Applied) -> Hash {
    let recorded_at = applied.recorded.recorded_at;
    let hold = posting.hold.as_ref();
    let entries = applied.entries.iter().map(|entry| EntryRecord {
        wallet_id: entry.wallet.uuid(),
        version: entry.version,
        bucket: Cow::Borrowed(entry.bucket.word()),
        currency: Cow::Borrowed(entry.currency.code()),
        amount: entry.amount,
        balance_after: entry.balance_after,
    });
    PostingRecord {
        posting_id: posting.id.uuid(),
        tenant: Cow::Borrowed(posting.tenant.as_str()),
        transaction_id: posting.transaction.map(TransactionId::uuid),
        kind: Cow::Borrowed(posting.kind.word()),
        hold_id: hold.map(|step| step.hold.uuid()),
        hold_action: hold.map(|step| Cow::Borrowed(step.action.word())),
        fingerprint: Hash::from(posting.fingerprint),
        effective_at_us: micros(posting.effective_at.unwrap_or(recorded_at)),
        recorded_at_us: micros(recorded_at),
        entries: entries.collect(),
    }
    .leaf()
}

/// Microseconds of the Unix epoch; every instant that the contract allows fits.
fn micros(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000)).unwrap_or(i64::MAX)
}

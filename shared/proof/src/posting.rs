//! A posting as it is hashed: all of the recorded row and its entries.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::encoding::Encoder;
use crate::hash::Hash;
use crate::{merkle, text};

/// Names the encoding of postings. A change of fields is a new version.
const DOMAIN: &str = "bursar.ledger.posting.v1";

/// A posting of the ledger with its entries, as it was recorded. The text
/// fields are words as the ledger's tables have them and may be borrowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostingRecord<'a> {
    /// The caller's operation id.
    pub posting_id: Uuid,
    /// The tenant.
    pub tenant: Cow<'a, str>,
    /// The transaction it is part of; none for the ledger's own operations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<Uuid>,
    /// The kind, such as `transfer`.
    pub kind: Cow<'a, str>,
    /// The hold it opened, captured or ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_id: Option<Uuid>,
    /// What it did with the hold, such as `place`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_action: Option<Cow<'a, str>>,
    /// SHA-256 of the posting as its caller sent it.
    pub fingerprint: Hash,
    /// When it takes effect, in microseconds since 1970-01-01T00:00:00Z.
    #[serde(default, with = "text")]
    pub effective_at_us: i64,
    /// When it was recorded, in microseconds since 1970-01-01T00:00:00Z.
    #[serde(default, with = "text")]
    pub recorded_at_us: i64,
    /// The entries, in the order of the posting's legs.
    #[serde(default)]
    pub entries: Vec<EntryRecord<'a>>,
}

/// One change of one wallet's bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryRecord<'a> {
    /// The wallet.
    pub wallet_id: Uuid,
    /// The wallet's version after the entry.
    #[serde(default, with = "text")]
    pub version: i64,
    /// The bucket, such as `available`.
    pub bucket: Cow<'a, str>,
    /// The currency's ISO 4217 code.
    pub currency: Cow<'a, str>,
    /// The change in minor units.
    #[serde(default, with = "text")]
    pub amount: i64,
    /// The bucket's balance after it, in minor units.
    #[serde(default, with = "text")]
    pub balance_after: i64,
}

impl PostingRecord<'_> {
    /// The canonical bytes, as `docs/ledger-proof.md` describes them.
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(DOMAIN, 192 + 96 * self.entries.len());
        encoder.uuid(self.posting_id);
        encoder.text(&self.tenant);
        encoder.optional(self.transaction_id, Encoder::uuid);
        encoder.text(&self.kind);
        encoder.optional(self.hold_id, Encoder::uuid);
        encoder.optional(self.hold_action.as_deref(), Encoder::text);
        encoder.fixed(self.fingerprint.as_bytes());
        encoder.i64(self.effective_at_us);
        encoder.i64(self.recorded_at_us);
        encoder.count(self.entries.len());
        for entry in &self.entries {
            encoder.uuid(entry.wallet_id);
            encoder.i64(entry.version);
            encoder.text(&entry.bucket);
            encoder.text(&entry.currency);
            encoder.i64(entry.amount);
            encoder.i64(entry.balance_after);
        }
        encoder.finish()
    }

    /// The leaf of the posting in its block's tree.
    pub fn leaf(&self) -> Hash {
        merkle::leaf(&self.encode())
    }
}

//! The encoding has exactly one value for each string of bytes.

use bursar_proof::{EntryRecord, Hash, PostingRecord};
use proptest::prelude::*;
use uuid::Uuid;

/// Reads an encoding back, by the description and not by the encoder.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_first_chunk().expect("more bytes");
        self.0 = rest;
        *taken
    }

    fn text(&mut self) -> String {
        let length = u32::from_be_bytes(self.take()) as usize;
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8(taken.to_vec()).expect("text")
    }

    fn number(&mut self) -> i64 {
        i64::from_be_bytes(self.take())
    }

    fn uuid(&mut self) -> Uuid {
        Uuid::from_bytes(self.take())
    }

    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let [flag] = self.take();
        assert!(flag <= 1);
        (flag == 1).then(|| read(self))
    }
}

fn decode(bytes: &[u8]) -> PostingRecord<'static> {
    let mut reader = Reader(bytes);
    assert_eq!(reader.text(), "bursar.ledger.posting.v1");
    let posting = PostingRecord {
        posting_id: reader.uuid(),
        tenant: reader.text().into(),
        transaction_id: reader.optional(Reader::uuid),
        kind: reader.text().into(),
        hold_id: reader.optional(Reader::uuid),
        hold_action: reader.optional(|reader| reader.text().into()),
        fingerprint: Hash::from(reader.take::<32>()),
        effective_at_us: reader.number(),
        recorded_at_us: reader.number(),
        entries: (0..u32::from_be_bytes(reader.take()))
            .map(|_| EntryRecord {
                wallet_id: reader.uuid(),
                version: reader.number(),
                bucket: reader.text().into(),
                currency: reader.text().into(),
                amount: reader.number(),
                balance_after: reader.number(),
            })
            .collect(),
    };
    assert!(reader.0.is_empty(), "nothing follows");
    posting
}

prop_compose! {
    fn entry()(
        wallet in any::<u128>(),
        version in any::<i64>(),
        bucket in ".{0,9}",
        currency in ".{0,4}",
        amount in any::<i64>(),
        balance_after in any::<i64>(),
    ) -> EntryRecord<'static> {
        EntryRecord {
            wallet_id: Uuid::from_u128(wallet),
            version,
            bucket: bucket.into(),
            currency: currency.into(),
            amount,
            balance_after,
        }
    }
}

prop_compose! {
    fn posting()(
        (id, transaction, hold) in any::<(u128, Option<u128>, Option<u128>)>(),
        tenant in ".{0,9}",
        kind in ".{0,9}",
        action in proptest::option::of(".{0,9}"),
        fingerprint in any::<[u8; 32]>(),
        (effective_at_us, recorded_at_us) in any::<(i64, i64)>(),
        entries in proptest::collection::vec(entry(), 0..4),
    ) -> PostingRecord<'static> {
        PostingRecord {
            posting_id: Uuid::from_u128(id),
            tenant: tenant.into(),
            transaction_id: transaction.map(Uuid::from_u128),
            kind: kind.into(),
            hold_id: hold.map(Uuid::from_u128),
            hold_action: action.map(Into::into),
            fingerprint: Hash::from(fingerprint),
            effective_at_us,
            recorded_at_us,
            entries,
        }
    }
}

/// The record with one field changed, once for each field.
fn changes(original: &PostingRecord<'static>) -> Vec<PostingRecord<'static>> {
    let other = |id: Uuid| Uuid::from_u128(id.as_u128() ^ 1);
    let toggled = |id: Option<Uuid>| match id {
        None => Some(Uuid::nil()),
        Some(_) => None,
    };
    let longer = |text: &str| format!("{text}\0").into();
    let mut all = Vec::new();
    let mut change = |apply: &dyn Fn(&mut PostingRecord<'static>)| {
        let mut changed = original.clone();
        apply(&mut changed);
        all.push(changed);
    };
    change(&|one| one.posting_id = other(one.posting_id));
    change(&|one| one.tenant = longer(&one.tenant));
    change(&|one| one.transaction_id = toggled(one.transaction_id));
    change(&|one| one.transaction_id = one.transaction_id.map(other).or(Some(Uuid::max())));
    change(&|one| one.kind = longer(&one.kind));
    change(&|one| one.hold_id = toggled(one.hold_id));
    change(&|one| {
        one.hold_action = match &one.hold_action {
            None => Some("".into()),
            Some(_) => None,
        };
    });
    change(&|one| one.hold_action = Some(longer(one.hold_action.as_deref().unwrap_or(""))));
    change(&|one| {
        let mut bytes = *one.fingerprint.as_bytes();
        bytes[31] ^= 1;
        one.fingerprint = bytes.into();
    });
    change(&|one| one.effective_at_us ^= 1);
    change(&|one| one.recorded_at_us ^= 1);
    change(&|one| one.entries.push(blank()));
    for place in 0..original.entries.len() {
        change(&|one| drop(one.entries.remove(place)));
        change(&|one| one.entries.insert(place, blank()));
        change(&|one| one.entries[place].wallet_id = other(one.entries[place].wallet_id));
        change(&|one| one.entries[place].version ^= 1);
        change(&|one| one.entries[place].bucket = longer(&one.entries[place].bucket));
        change(&|one| one.entries[place].currency = longer(&one.entries[place].currency));
        change(&|one| one.entries[place].amount = one.entries[place].amount.wrapping_neg() ^ 1);
        change(&|one| one.entries[place].amount ^= i64::MIN);
        change(&|one| one.entries[place].balance_after ^= 1 << 40);
    }
    all.retain(|changed| changed != original);
    all
}

fn blank() -> EntryRecord<'static> {
    EntryRecord {
        wallet_id: Uuid::nil(),
        version: 0,
        bucket: "".into(),
        currency: "".into(),
        amount: 0,
        balance_after: 0,
    }
}

proptest! {
    /// The bytes can be read back by the description alone, so no two records
    /// have the same.
    #[test]
    fn the_encoding_can_be_read_back(posting in posting()) {
        prop_assert_eq!(decode(&posting.encode()), posting);
    }

    /// A change of any one field changes the leaf.
    #[test]
    fn every_field_changes_the_leaf(posting in posting()) {
        let leaf = posting.leaf();
        for changed in changes(&posting) {
            prop_assert_ne!(changed.leaf(), leaf, "{:?}", changed);
        }
    }

    /// Letters that move from one text field to the next change the leaf.
    #[test]
    fn the_bounds_of_texts_count(posting in posting(), letter in "[a-z]") {
        let mut one = posting.clone();
        one.tenant = format!("{}{letter}", posting.tenant).into();
        let mut other = posting;
        other.kind = format!("{letter}{}", other.kind).into();
        prop_assert_ne!(one.leaf(), other.leaf());
    }
}

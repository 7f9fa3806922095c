//! Random histories, and exports of them.

use std::collections::HashMap;

use bursar_proof::export::Writer;
use bursar_proof::verify::Options;
use bursar_proof::{Block, BlockDraft, Checkpoint, EntryRecord, Hash, PostingRecord, Signer};
use proptest::prelude::*;
use uuid::Uuid;

/// A movement that a history is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Move {
    from: u8,
    to: u8,
    amount: i64,
    shape: u8,
}

pub(crate) fn moves(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Move>> {
    let one =
        (0_u8..5, 1_u8..5, 1_i64..1_000, 0_u8..5).prop_map(|(from, step, amount, shape)| Move {
            from,
            to: (from + step) % 5,
            amount,
            shape,
        });
    proptest::collection::vec(one, count)
}

/// A fixed history of `count` postings of every shape.
pub(crate) fn fixed(count: u8) -> Vec<PostingRecord<'static>> {
    let moves: Vec<_> = (0..count)
        .map(|number| Move {
            from: number % 5,
            to: (number % 5 + 1 + number % 3) % 5,
            amount: i64::from(number) * 7 + 1,
            shape: number % 5,
        })
        .collect();
    postings(&moves)
}

/// The postings of a history, with versions and balances as a ledger gives
/// them. Balances may be negative: limits are no concern of the proof.
pub(crate) fn postings(moves: &[Move]) -> Vec<PostingRecord<'static>> {
    let mut wallets: HashMap<Uuid, (i64, HashMap<&str, i64>)> = HashMap::new();
    let mut entry = |wallet: u8, currency: &'static str, bucket: &'static str, amount: i64| {
        let code = if currency == "EUR" { 0x100 } else { 0x200 };
        let wallet_id = Uuid::from_u128(code + u128::from(wallet));
        let (version, balances) = wallets.entry(wallet_id).or_default();
        *version += 1;
        let balance = balances.entry(bucket).or_default();
        *balance += amount;
        EntryRecord {
            wallet_id,
            version: *version,
            bucket: bucket.into(),
            currency: currency.into(),
            amount,
            balance_after: *balance,
        }
    };
    let recorded = moves.iter().zip(0_u8..).map(|(made, number)| {
        let Move {
            from,
            to,
            amount,
            shape,
        } = *made;
        let id = u128::from(number) + 0x0198_0000_0000_7000_8000_0000_0000_0000;
        let is_hold = shape == 1;
        let entries = match shape {
            0 => vec![
                entry(from, "EUR", "available", -amount),
                entry(to, "EUR", "available", amount),
            ],
            1 => vec![
                entry(from, "EUR", "available", -amount),
                entry(from, "EUR", "held", amount),
            ],
            2 => vec![
                entry(from, "EUR", "available", -amount),
                entry(to, "EUR", "available", amount - 1),
                entry(to, "EUR", "bonus", 1),
            ],
            3 => vec![
                entry(from, "EUR", "available", -amount),
                entry(from, "USD", "available", amount * 2),
                entry(to, "EUR", "available", amount),
                entry(to, "USD", "available", -amount * 2),
            ],
            _ => vec![
                entry(to, "USD", "available", amount),
                entry(from, "USD", "available", -amount),
            ],
        };
        PostingRecord {
            posting_id: Uuid::from_u128(id),
            tenant: "default".into(),
            transaction_id: (shape != 4).then(|| Uuid::from_u128(id + 0xffff)),
            kind: if is_hold { "hold" } else { "transfer" }.into(),
            hold_id: is_hold.then(|| Uuid::from_u128(id + 0x1_0000)),
            hold_action: is_hold.then(|| "place".into()),
            fingerprint: Hash::from([number; 32]),
            effective_at_us: 1_700_000_000_000_000,
            recorded_at_us: 1_700_000_000_000_000 + i64::from(number) * 1_000,
            entries,
        }
    });
    recorded.collect()
}

/// A ledger that was sealed.
#[derive(Clone)]
pub(crate) struct Chain {
    pub(crate) blocks: Vec<(Block, Vec<Hash>)>,
    pub(crate) postings: Vec<Vec<PostingRecord<'static>>>,
    /// By the place of the block.
    pub(crate) checkpoints: HashMap<usize, Checkpoint>,
}

pub(crate) fn signer() -> Signer {
    Signer::from_seed(&[7; 32])
}

pub(crate) fn options() -> Options {
    Options {
        keys: [signer().verifying_key()].into_iter().collect(),
        ..Options::default()
    }
}

impl Chain {
    /// Seals postings in blocks of `size` and signs every block whose place is
    /// in `signed`.
    pub(crate) fn seal(
        postings: Vec<PostingRecord<'static>>,
        size: usize,
        is_signed: impl Fn(usize) -> bool,
    ) -> Self {
        let mut chain = Self {
            blocks: Vec::new(),
            postings: postings.chunks(size).map(<[_]>::to_vec).collect(),
            checkpoints: HashMap::new(),
        };
        chain.reseal();
        for (place, (block, _)) in chain.blocks.iter().enumerate() {
            if is_signed(place) {
                let checkpoint = signer().sign(block, block.sealed_at_us + 5);
                chain.checkpoints.insert(place, checkpoint);
            }
        }
        chain
    }

    /// Computes all blocks again, as somebody would who changed postings and
    /// has no key.
    pub(crate) fn reseal(&mut self) {
        let mut blocks: Vec<(Block, Vec<Hash>)> = Vec::new();
        for postings in &self.postings {
            let leaves: Vec<Hash> = postings.iter().map(PostingRecord::leaf).collect();
            let times: Vec<i64> = postings.iter().map(|one| one.recorded_at_us).collect();
            let block = Block::seal(&BlockDraft {
                previous: blocks.last().map(|(block, _)| block),
                leaves: &leaves,
                first_recorded_us: *times.iter().min().expect("postings"),
                last_recorded_us: *times.iter().max().expect("postings"),
                sealed_at_us: times[0] + 1_000_000,
            });
            blocks.push((block.expect("a block"), leaves));
        }
        self.blocks = blocks;
    }

    /// The export from the block at a place on.
    pub(crate) fn export_from(&self, first: usize) -> Vec<u8> {
        let mut writer = Writer::begin(Vec::new()).expect("a header");
        for (place, (block, leaves)) in self.blocks.iter().enumerate().skip(first) {
            writer
                .block(block.clone(), leaves.clone())
                .expect("a block");
            for posting in &self.postings[place] {
                writer.posting(posting.clone()).expect("a posting");
            }
            if let Some(checkpoint) = self.checkpoints.get(&place) {
                writer.checkpoint(checkpoint.clone()).expect("a signature");
            }
        }
        writer.end().expect("the end")
    }

    pub(crate) fn export(&self) -> Vec<u8> {
        self.export_from(0)
    }
}

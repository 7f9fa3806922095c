//! Proofs of single postings.

use bursar_proof::{InclusionProof, Signer, TrustedKeys, merkle};
use proptest::prelude::*;

use crate::history::{Chain, moves, options, postings, signer};

/// The proof of a posting by the first checkpoint at or after its block.
fn prove(chain: &Chain, place: usize, index: usize) -> Option<InclusionProof> {
    let (block, leaves) = &chain.blocks[place];
    let signed = (place..chain.blocks.len()).find(|at| chain.checkpoints.contains_key(at))?;
    let following = &chain.blocks[place + 1..=signed];
    Some(InclusionProof {
        posting: chain.postings[place][index].clone(),
        leaf_index: u32::try_from(index).expect("small"),
        path: merkle::path(leaves, index).expect("it is there"),
        block: block.clone(),
        following: following.iter().map(|(block, _)| block.clone()).collect(),
        checkpoint: chain.checkpoints[&signed].clone(),
    })
}

/// The proof with one thing changed, once for each.
fn changes(proof: &InclusionProof) -> Vec<InclusionProof> {
    let mut all = Vec::new();
    let mut change = |apply: &dyn Fn(&mut InclusionProof)| {
        let mut changed = proof.clone();
        apply(&mut changed);
        all.push(changed);
    };
    change(&|one| one.posting.entries[0].amount += 1);
    change(&|one| one.leaf_index ^= 1);
    change(&|one| one.leaf_index = u32::MAX);
    change(&|one| one.path.push(one.block.root));
    change(&|one| one.path.reverse());
    change(&|one| one.path.truncate(one.path.len().saturating_sub(1)));
    change(&|one| one.block.root = one.posting.leaf());
    change(&|one| one.block.height += 1);
    change(&|one| one.block.posting_count += 1);
    change(&|one| one.block.posting_count = 0);
    change(&|one| one.block.postings_total += 1);
    change(&|one| one.block.sealed_at_us += 1);
    change(&|one| {
        one.block.sealed_at_us += 1;
        one.block.hash = one.block.content_hash();
    });
    change(&|one| {
        one.following
            .truncate(one.following.len().saturating_sub(1))
    });
    change(&|one| one.following.push(one.block.clone()));
    change(&|one| {
        if let Some(next) = one.following.first_mut() {
            next.previous_hash = next.hash;
            next.hash = next.content_hash();
        }
    });
    change(&|one| one.checkpoint.height += 1);
    change(&|one| one.checkpoint.postings_total += 1);
    change(&|one| one.checkpoint.signed_at_us += 1);
    change(&|one| {
        let mut bytes = *one.checkpoint.signature.as_bytes();
        bytes[3] ^= 1;
        one.checkpoint.signature = bytes.into();
    });
    change(&|one| one.checkpoint.key_id = [0; 8].into());
    all.retain(|changed| changed != proof);
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Every posting behind which a signature stands has a proof, which survives
    /// being written as JSON, and fails with anything in it changed, and for
    /// any other posting.
    #[test]
    fn proofs_hold_for_their_posting_only(
        moves in moves(1..24),
        size in 1_usize..7,
        every in 1_usize..4,
    ) {
        let chain = Chain::seal(postings(&moves), size, |place| place % every == every - 1);
        let keys = options().keys;
        for place in 0..chain.blocks.len() {
            for index in 0..chain.postings[place].len() {
                let Some(proof) = prove(&chain, place, index) else { continue };
                prop_assert_eq!(proof.check(&keys), Ok(()));
                let json = serde_json::to_string(&proof).expect("JSON");
                let read: InclusionProof = serde_json::from_str(&json).expect("read back");
                prop_assert_eq!(&read, &proof);
                for changed in changes(&proof) {
                    prop_assert!(changed.check(&keys).is_err(), "{:?}", changed);
                }
                for other in chain.postings.iter().flatten() {
                    if *other != proof.posting {
                        let mut changed = proof.clone();
                        changed.posting = other.clone();
                        prop_assert!(changed.check(&keys).is_err());
                    }
                }
            }
        }
    }
}

/// A signature of another key proves nothing, and neither does one without any
/// key to trust.
#[test]
fn only_trusted_keys_count() {
    let chain = Chain::seal(crate::history::fixed(3), 2, |_| true);
    let proof = prove(&chain, 0, 1).expect("a proof");
    let other = Signer::from_seed(&[8; 32]).verifying_key();
    let both: TrustedKeys = [other, signer().verifying_key()].into_iter().collect();
    assert_eq!(proof.check(&both), Ok(()));
    assert!(proof.check(&[other].into_iter().collect()).is_err());
    assert!(proof.check(&TrustedKeys::default()).is_err());
}

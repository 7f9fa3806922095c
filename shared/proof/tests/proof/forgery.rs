//! Forgeries by somebody who may write everything but has no key.

use std::io::Cursor;

use bursar_proof::Signer;
use bursar_proof::verify::{Alteration, Check, Expected, Options, Subject, VerifyError, verify};

use crate::history::{Chain, fixed, options};

fn found(chain: &Chain, options: &Options) -> Alteration {
    match verify(Cursor::new(chain.export()), options) {
        Err(VerifyError::Altered(alteration)) => *alteration,
        other => panic!("{other:?}"),
    }
}

/// Four blocks of two postings, the second and the third signed.
fn chain() -> Chain {
    Chain::seal(fixed(8), 2, |place| place == 1 || place == 2)
}

/// A posting that was changed where it is stored is named with what is wrong.
#[test]
fn a_changed_posting_is_named() {
    let mut chain = chain();
    chain.postings[1][1].entries[0].amount -= 1;
    let altered = chain.postings[1][1].posting_id;
    let alteration = found(&chain, &options());
    assert_eq!(alteration.subject, Subject::Posting(altered));
    assert!(matches!(alteration.check, Check::Leaf { index: 1, .. }));
    assert_eq!(alteration.line, 7);
}

/// Whoever makes all hashes anew fails at the next signature, or, having
/// removed the signatures, at the end, which nobody vouches for, or at a block
/// that is known from elsewhere.
#[test]
fn a_chain_made_anew_fails_at_the_signature() {
    let honest = chain();
    let mut chain = chain();
    chain.postings[0][0].effective_at_us += 1;
    chain.reseal();
    let alteration = found(&chain, &options());
    assert_eq!(alteration.subject, Subject::Checkpoint(2));
    chain.checkpoints.clear();
    assert_eq!(found(&chain, &options()).subject, Subject::End);
    let mut known = options();
    known.expected = Some(Expected {
        height: 2,
        hash: honest.blocks[1].0.hash,
    });
    assert_eq!(found(&chain, &known).subject, Subject::Block(2));
}

/// A signature by another key, or one moved from another block, is named.
#[test]
fn signatures_cannot_be_made_or_moved() {
    let mut chain = chain();
    let forged = Signer::from_seed(&[9; 32]).sign(&chain.blocks[1].0, 5);
    let honest = chain.checkpoints.insert(1, forged.clone());
    let alteration = found(&chain, &options());
    assert_eq!(alteration.subject, Subject::Checkpoint(2));
    let mut claimed = forged;
    claimed.key_id = honest.expect("signed").key_id;
    chain.checkpoints.insert(1, claimed);
    assert_eq!(found(&chain, &options()).subject, Subject::Checkpoint(2));
    let moved = chain.checkpoints[&2].clone();
    chain.checkpoints.insert(1, moved);
    assert_eq!(found(&chain, &options()).subject, Subject::Checkpoint(3));
}

/// Postings that were sealed as they are but break the ledger's rules are
/// named with the rule.
#[test]
fn sealed_postings_must_follow_the_rules() {
    let check = |alter: &dyn Fn(&mut Chain)| {
        let mut chain = chain();
        alter(&mut chain);
        chain.reseal();
        chain.checkpoints.clear();
        found(&chain, &options()).check
    };
    let amount = check(&|chain| {
        let entry = &mut chain.postings[2][0].entries[0];
        entry.amount += 1;
        entry.balance_after += 1;
    });
    assert!(matches!(amount, Check::Sum { sum: 1, .. }), "{amount}");
    let balance = check(&|chain| chain.postings[2][0].entries[0].balance_after += 1);
    assert!(matches!(balance, Check::Balance { .. }), "{balance}");
    let version = check(&|chain| chain.postings[2][0].entries[0].version += 1);
    assert!(matches!(version, Check::Version { .. }), "{version}");
    let doubled = check(&|chain| {
        let first = chain.postings[0][0].clone();
        chain.postings[2][0] = first;
    });
    assert!(matches!(doubled, Check::Duplicate), "{doubled}");
    let lone = check(&|chain| {
        chain.postings[2][0].entries.truncate(1);
        chain.postings[2][0].entries[0].amount = 0;
    });
    assert!(matches!(lone, Check::Entries { entries: 1 }), "{lone}");
    let tenant = check(&|chain| chain.postings[2][0].tenant = "other".into());
    assert!(matches!(tenant, Check::Wallet { .. }), "{tenant}");
    let removed = check(&|chain| drop(chain.postings[0].remove(0)));
    assert!(
        matches!(removed, Check::Version { .. } | Check::Balance { .. }),
        "{removed}"
    );
}

/// The recorded times of a block must be those of its postings.
#[test]
fn the_times_of_a_block_are_checked() {
    let mut chain = chain();
    chain.checkpoints.clear();
    let (block, _) = chain.blocks.last_mut().expect("blocks");
    block.last_recorded_us += 1;
    block.hash = block.content_hash();
    let alteration = found(&chain, &options());
    assert_eq!(alteration.subject, Subject::Block(4));
    assert!(matches!(alteration.check, Check::BlockTimes));
}

//! Exports that were altered, byte by byte and line by line.

use std::io::Cursor;

use bursar_proof::export::{Row, Sequence};
use bursar_proof::verify::{Alteration, Expected, Summary, VerifyError, verify};
use proptest::prelude::*;

use crate::history::{Chain, fixed, moves, options, postings};

fn check(export: &[u8]) -> Result<Summary, Box<Alteration>> {
    verify(Cursor::new(export), &options()).map_err(|error| match error {
        VerifyError::Altered(alteration) => alteration,
        VerifyError::Io(error) => panic!("{error}"),
    })
}

fn lines(export: &[u8]) -> Vec<&[u8]> {
    export.split_inclusive(|byte| *byte == b'\n').collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// An export of any history verifies, whole or from a later block on, and
    /// the summary counts what is in it and what is not signed.
    #[test]
    fn exports_verify(moves in moves(1..40), size in 1_usize..9, signed in 0_usize..8) {
        let all = postings(&moves);
        let count = all.len();
        let chain = Chain::seal(all, size, |place| place == signed || place == 0);
        let summary = check(&chain.export()).expect("unaltered");
        let blocks = chain.blocks.len();
        let last_signed = if signed < blocks { signed } else { 0 };
        prop_assert_eq!(summary.counts.postings, count as u64);
        prop_assert_eq!(summary.counts.blocks, blocks as u64);
        prop_assert_eq!(summary.heights, Some((1, blocks as u64)));
        prop_assert_eq!(summary.unsigned.blocks, (blocks - 1 - last_signed) as u64);
        prop_assert_eq!(
            summary.unsigned.postings,
            chain.postings[last_signed + 1..].iter().flatten().count() as u64
        );
        if signed < blocks {
            let summary = check(&chain.export_from(signed)).expect("unaltered");
            prop_assert_eq!(summary.heights, Some((signed as u64 + 1, blocks as u64)));
        }
    }

    /// A block with anything changed in it breaks the chain where it stands: at
    /// itself by its hash, or, with the hash made anew, right behind it.
    #[test]
    fn the_chain_breaks_at_the_altered_block(
        moves in moves(8..40), size in 1_usize..4, chosen: prop::sample::Index, field in 0..7,
    ) {
        let chain = Chain::seal(postings(&moves), size, |_| false);
        let blocks: Vec<_> = chain.blocks.into_iter().map(|(block, _)| block).collect();
        let place = chosen.index(blocks.len());
        let broken = |blocks: &[bursar_proof::Block]| {
            (0..blocks.len()).find(|at| {
                let follows = at.checked_sub(1).map(|at| &blocks[at]);
                let is_sound = blocks[*at].check().is_ok()
                    && follows.is_none_or(|previous| blocks[*at].check_follows(previous).is_ok());
                !is_sound
            })
        };
        prop_assert_eq!(broken(&blocks), None);
        let mut altered = blocks;
        let block = &mut altered[place];
        match field {
            0 => block.height += 1,
            1 => block.previous_hash = block.root,
            2 => block.root = block.hash,
            3 => block.posting_count += 1,
            4 => block.postings_total += 1,
            5 => block.first_recorded_us -= 1,
            _ => block.sealed_at_us += 1,
        }
        prop_assert_eq!(broken(&altered), Some(place));
        altered[place].hash = altered[place].content_hash();
        let found = broken(&altered);
        let is_last = place + 1 == altered.len();
        prop_assert!(
            found == Some(place) || found == Some(place + 1) || (is_last && found.is_none()),
            "{:?} for {}", found, place
        );
    }
}

/// With any one byte changed, whatever it becomes, the very line is named.
#[test]
fn every_byte_counts() {
    let chain = Chain::seal(fixed(6), 2, |place| place != 1);
    let export = chain.export();
    check(&export).expect("unaltered");
    let mut line = 1;
    for place in 0..export.len() {
        for change in [1 << (place % 8), 1, b' ' ^ export[place]] {
            if change == 0 {
                continue;
            }
            let mut altered = export.clone();
            altered[place] ^= change;
            match check(&altered) {
                Ok(_) => panic!("byte {place} of line {line} was changed unseen"),
                Err(alteration) => assert_eq!(alteration.line, line, "{place}: {alteration}"),
            }
        }
        if export[place] == b'\n' {
            line += 1;
        }
    }
}

/// A byte that is added or removed is found at its line.
#[test]
fn bytes_cannot_be_added_or_removed() {
    let export = Chain::seal(fixed(3), 2, |_| true).export();
    let mut line = 1;
    for place in 0..export.len() {
        let is_end = export[place] == b'\n';
        let mut shorter = export.clone();
        shorter.remove(place);
        assert_eq!(check(&shorter).expect_err("shorter").line, line, "{place}");
        for added in *b" \t\r\n0," {
            let mut longer = export.clone();
            longer.insert(place, added);
            let found = check(&longer).expect_err("longer").line;
            // One more end behind a whole line is an empty line behind it.
            let expected = line + u64::from(is_end && added == b'\n');
            assert_eq!(found, expected, "{place} {added}");
        }
        if is_end {
            line += 1;
        }
    }
}

/// An export without one of its lines, with one twice, with two exchanged, or
/// cut off anywhere is refused, at that line or behind it.
#[test]
fn lines_cannot_be_removed_doubled_or_moved() {
    let export = Chain::seal(fixed(9), 4, |place| place != 1).export();
    let lines = lines(&export);
    for place in 0..lines.len() {
        let mut altered = lines.clone();
        altered.remove(place);
        let found = check(&altered.concat()).expect_err("one line less").line;
        assert!(found > place as u64, "{place}: {found}");

        let mut altered = lines.clone();
        altered.insert(place, lines[place]);
        let found = check(&altered.concat()).expect_err("one line more").line;
        assert_eq!(found, place as u64 + 2, "{place}");

        if place + 1 < lines.len() {
            let mut altered = lines.clone();
            altered.swap(place, place + 1);
            let found = check(&altered.concat()).expect_err("exchanged").line;
            assert!(found > place as u64, "{place}: {found}");
        }
        check(&lines[..place].concat()).expect_err("cut off");
    }
}

/// A row that says the same in another spelling is refused.
#[test]
fn rows_have_one_spelling() {
    let export = Chain::seal(fixed(2), 2, |_| true).export();
    let text = String::from_utf8(export).expect("text");
    let replacements = [
        ("{\"type\":\"posting\",", "{ \"type\":\"posting\","),
        ("\"amount\":\"-1\"", "\"amount\":\"-01\""),
        ("\"amount\":\"1\"", "\"amount\":\"+1\""),
        ("\"amount\":\"1\"", "\"amount\":1"),
        ("\"tenant\":\"default\"", "\"tenant\":\"d\\u0065fault\""),
        (
            "\"tenant\":\"default\",",
            "\"tenant\":\"default\",\"more\":1,",
        ),
        (
            "\"kind\":\"transfer\",",
            "\"kind\":\"transfer\",\"hold_id\":null,",
        ),
        (
            "\"kind\":\"transfer\",",
            "\"kind\":\"transfer\",\"kind\":\"transfer\",",
        ),
        (
            "\"tenant\":\"default\",\"transaction_id\"",
            "\"transaction_id\"",
        ),
        ("\n", "\r\n"),
    ];
    for (one, other) in replacements {
        let altered = text.replacen(one, other, 1);
        assert_ne!(altered, text, "{one}");
        check(altered.as_bytes()).expect_err(other);
    }
}

/// A line without an end is not read into memory for ever.
#[test]
fn lines_have_a_bound() {
    let mut export = Chain::seal(fixed(2), 2, |_| true).export();
    let header = lines(&export)[0].len();
    export.truncate(header);
    let endless = std::io::Read::chain(Cursor::new(export), std::io::repeat(b' '));
    let endless = std::io::BufReader::new(endless);
    match verify(endless, &options()) {
        Err(VerifyError::Altered(alteration)) => assert_eq!(alteration.line, 2),
        other => panic!("{other:?}"),
    }
}

/// A block that is known from elsewhere must be the one in the export, and be
/// in it.
#[test]
fn a_known_block_is_looked_for() {
    let chain = Chain::seal(fixed(9), 2, |place| place == 1);
    let with = |height, hash, first| {
        let mut options = options();
        options.expected = Some(Expected { height, hash });
        verify(Cursor::new(chain.export_from(first)), &options)
    };
    let hash = |height: usize| chain.blocks[height - 1].0.hash;
    assert_eq!(with(2, hash(2), 0).expect("it").unsigned.blocks, 3);
    assert_eq!(with(4, hash(4), 0).expect("it").unsigned.blocks, 1);
    assert_eq!(with(1, hash(1), 1).expect("it").unsigned.blocks, 3);
    with(4, hash(3), 0).expect_err("another block");
    with(1, hash(2), 1).expect_err("another beginning");
    with(6, hash(5), 0).expect_err("not reached");
    with(1, hash(1), 2).expect_err("it begins later");
    let mut options = options();
    options.is_unsigned_refused = true;
    verify(Cursor::new(chain.export()), &options).expect_err("the end is not signed");
}

/// The writer refuses rows out of order.
#[test]
fn the_writer_keeps_the_order() {
    let chain = Chain::seal(fixed(2), 2, |_| true);
    let (block, leaves) = chain.blocks[0].clone();
    let [one, other] = &chain.postings[0][..] else {
        panic!("two postings");
    };
    let mut sequence = Sequence::default();
    assert!(sequence.posting(one.clone()).is_err());
    sequence
        .block(block.clone(), leaves.clone())
        .expect("first");
    assert!(sequence.block(block, leaves).is_err());
    let checkpoint = chain.checkpoints[&0].clone();
    assert!(sequence.checkpoint(checkpoint.clone()).is_err());
    sequence.posting(one.clone()).expect("next");
    sequence.posting(other.clone()).expect("next");
    assert!(sequence.posting(one.clone()).is_err());
    sequence.checkpoint(checkpoint).expect("next");
    assert!(matches!(sequence.end(), Ok(Row::End(counts)) if counts.postings == 2));
}

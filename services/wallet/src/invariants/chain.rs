//! The ledger's chain, computed again from the ledger's own rows.
//!
//! It believes the public keys that stand with the checkpoints, so it finds what
//! was changed by somebody without a key; who may have replaced the keys too is
//! answered by an export and `bursar-verify` with the key that one keeps.

use bursar_proof::{Block, PostingRecord};
use bursar_server::{Check, Findings};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::store::proof::blocks::{self, Sealed};
use crate::store::proof::{checkpoints, postings};

/// How many faults are told.
const MAX_FOUND: usize = 5;

/// The rule.
pub const CHAIN: Check = Check {
    number: 14,
    name: "every sealed posting, block and checkpoint is as it was sealed",
    run: check,
};

fn check(conn: &mut PgConnection) -> Findings<'_> {
    Box::pin(faults(conn))
}

/// What was altered, the lowest blocks first.
async fn faults(conn: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    let mut found = Vec::new();
    let mut previous: Option<Block> = None;
    let latest = blocks::latest(conn).await?.map_or(0, |block| block.height);
    for height in 1..=latest {
        let Some(sealed) = blocks::at(conn, height).await? else {
            found.push(format!("block {height} is missing"));
            break;
        };
        let records = postings::records(conn, &sealed.postings).await?;
        of_block(&sealed, previous.as_ref(), &mut found);
        of_postings(&sealed, &records, &mut found);
        of_checkpoint(conn, &sealed.block, &mut found).await?;
        if found.len() >= MAX_FOUND {
            break;
        }
        previous = Some(sealed.block);
    }
    found.truncate(MAX_FOUND);
    Ok(found)
}

fn of_block(sealed: &Sealed, previous: Option<&Block>, found: &mut Vec<String>) {
    let block = &sealed.block;
    let outcome = block
        .check()
        .and_then(|()| block.check_leaves(&sealed.leaves))
        .and_then(|()| previous.map_or(Ok(()), |previous| block.check_follows(previous)));
    if let Err(fault) = outcome {
        found.push(format!("block {}: {fault}", block.height));
    }
}

fn of_postings(
    sealed: &Sealed,
    records: &[Option<PostingRecord<'static>>],
    found: &mut Vec<String>,
) {
    let height = sealed.block.height;
    let rows = sealed.postings.iter().zip(records).zip(&sealed.leaves);
    for ((id, record), leaf) in rows {
        let posting: &Uuid = id;
        match record {
            None => found.push(format!("posting {posting} of block {height} is missing")),
            Some(record) if record.leaf() != *leaf => found.push(format!(
                "posting {posting} of block {height}, or one of its entries, is not what was sealed"
            )),
            Some(_) => {}
        }
        if found.len() >= MAX_FOUND {
            return;
        }
    }
    let times = || records.iter().flatten().map(|record| record.recorded_at_us);
    let stated = (
        Some(sealed.block.first_recorded_us),
        Some(sealed.block.last_recorded_us),
    );
    if found.is_empty() && (times().min(), times().max()) != stated {
        found.push(format!(
            "block {height}: its recorded times are not those of its postings"
        ));
    }
}

async fn of_checkpoint(
    conn: &mut PgConnection,
    block: &Block,
    found: &mut Vec<String>,
) -> Result<(), sqlx::Error> {
    if let Some(signed) = checkpoints::at(conn, block.height).await? {
        let keys = [signed.public_key].into_iter().collect();
        if let Err(fault) = signed.checkpoint.check(block, &keys) {
            found.push(format!("the checkpoint of block {}: {fault}", block.height));
        }
    }
    Ok(())
}

//! Checkpoints, blocks and exports by RPC, and who may have them.

use bursar_aip::id::UserId;
use bursar_contracts::wallet::v1::{ListBlocksRequest, ListCheckpointsRequest};
use bursar_proof::verify::Expected;
use bursar_testkit::with_token;
use tonic::Code;

use super::{Operator, QUICK, check, pair_of, signed, traffic};
use crate::support::{Fixture, reason};

/// Blocks and checkpoints are listed newest first, page by page, and each
/// checkpoint can be got by its height.
#[tokio::test]
async fn blocks_and_checkpoints_are_listed() {
    let fixture = Fixture::start_with(&QUICK).await;
    let wallets = pair_of(&fixture, UserId::generate()).await;
    for _ in 0..3 {
        traffic(&fixture, &wallets, 1).await;
        signed(&fixture.database.pool).await;
    }
    let operator = Operator::of(&fixture);
    let mut blocks = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListBlocksRequest {
            page_size: 2,
            page_token,
        };
        let request = with_token(request, &operator.token);
        let page = operator
            .client()
            .list_blocks(request)
            .await
            .expect("a page");
        let page = page.into_inner();
        assert!(page.blocks.len() <= 2);
        blocks.extend(page.blocks);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let heights: Vec<i64> = blocks.iter().map(|block| block.height).collect();
    let expected: Vec<i64> = (1..=heights[0]).rev().collect();
    assert_eq!(heights, expected);
    for pair in blocks.windows(2) {
        assert_eq!(pair[0].previous_hash, pair[1].hash);
    }
    let request = with_token(ListCheckpointsRequest::default(), &operator.token);
    let listed = operator.client().list_checkpoints(request).await;
    let listed = listed.expect("a page").into_inner().checkpoints;
    assert!(listed.len() >= 3);
    for checkpoint in listed {
        let height = checkpoint.height;
        let got = operator.checkpoint(height).await.expect("by its height");
        assert_eq!(got.checkpoint, Some(checkpoint));
    }
    let stale = with_token(
        ListBlocksRequest {
            page_size: 0,
            page_token: "nonsense".to_owned(),
        },
        &operator.token,
    );
    let refused = operator
        .client()
        .list_blocks(stale)
        .await
        .expect_err("refused");
    assert_eq!(reason(&refused), "PAGE_TOKEN_INVALID");
}

/// A part of the chain verifies from a block that is known, and heights that are
/// not there or too many are refused with their reasons.
#[tokio::test]
async fn parts_of_the_chain_are_exported() {
    let fixture = Fixture::start_with(&QUICK).await;
    let operator = Operator::of(&fixture);
    let refused = operator.checkpoint(0).await.expect_err("nothing is signed");
    assert_eq!(reason(&refused), "CHECKPOINT_NOT_FOUND");
    let empty = operator.export(0, 0).await.expect("an empty export");
    check(&empty, &Default::default()).expect("an empty export verifies");

    let wallets = pair_of(&fixture, UserId::generate()).await;
    for _ in 0..3 {
        traffic(&fixture, &wallets, 1).await;
        signed(&fixture.database.pool).await;
    }
    let mut options = operator.options().await;
    let first = operator.export(1, 1).await.expect("the first block");
    assert_eq!(
        check(&first, &options).expect("it verifies").counts.blocks,
        1
    );
    let known = operator.checkpoint(1).await.expect("the first is signed");
    options.expected = Some(Expected {
        height: 1,
        hash: known
            .checkpoint
            .expect("a checkpoint")
            .block_hash
            .parse()
            .expect("a hash"),
    });
    let rest = operator.export(2, 0).await.expect("the other blocks");
    let summary = check(&rest, &options).expect("it continues the first");
    assert_eq!(summary.unsigned.blocks, 0);
    for (from, to) in [(1, 1_000), (1_000, 0), (3, 2)] {
        let refused = operator.export(from, to).await.expect_err("refused");
        assert_eq!(refused.code(), Code::NotFound, "{from} to {to}");
        assert_eq!(reason(&refused), "BLOCK_NOT_FOUND");
    }
    let refused = operator.checkpoint(1_000).await.expect_err("refused");
    assert_eq!(reason(&refused), "CHECKPOINT_NOT_FOUND");

    // The sealer would find the forged block and build on it.
    let lock = super::blocked(&fixture.database.owner).await;
    sqlx::query(
        "INSERT INTO ledger_blocks
         SELECT max(height) + 1, sha256(''), sha256(''), 1, 200000, now(), now(), now(),
             sha256(''), ARRAY[gen_random_uuid()], sha256('')
         FROM ledger_blocks",
    )
    .execute(&fixture.database.owner)
    .await
    .expect("a block that says it is behind very many postings");
    let refused = operator.export(0, 0).await.expect_err("refused");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(reason(&refused), "EXPORT_TOO_LONG");
    lock.rollback().await.expect("the lock is released");
}

/// A user may see neither checkpoints nor exports.
#[tokio::test]
async fn only_operators_may_export() {
    let fixture = Fixture::start_with(&QUICK).await;
    let mut user = Operator::of(&fixture);
    user.token = fixture.tokens.user(UserId::generate());
    let refused = user.export(0, 0).await.expect_err("refused");
    assert_eq!(refused.code(), Code::PermissionDenied);
    let refused = user.checkpoint(0).await.expect_err("refused");
    assert_eq!(refused.code(), Code::PermissionDenied);
}

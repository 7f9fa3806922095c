//! Holds through PostBatch: placed, captured, voided, each end once.

use bursar_aip::id::{HoldId, UserId};
use bursar_contracts::wallet::v1::{BatchMode, Bucket, HoldAction, PostingKind, RejectionReason};

use crate::support::{
    Fixture, applied, capture, leg, leg_in, place, posting, rejected, settlement, void, with_hold,
};

const MISMATCH: (RejectionReason, i32) = (RejectionReason::HoldMismatch, -1);
const NOT_ACTIVE: (RejectionReason, i32) = (RejectionReason::HoldNotActive, -1);
const NOT_FOUND: (RejectionReason, i32) = (RejectionReason::HoldNotFound, -1);

/// A hold sets money aside; a capture pays it out, a void gives it back, and
/// after either the hold is over.
#[tokio::test]
async fn a_hold_ends_once() {
    let fixture = Fixture::start().await;
    let wallet = fixture.funded("EUR", 100).await;
    let mut ledger = fixture.ledger();
    let (first, second) = (HoldId::generate(), HoldId::generate());
    applied(&ledger.post_one(place(first, &wallet, 60)).await);
    applied(&ledger.post_one(place(second, &wallet, 30)).await);
    let balance = fixture.balance(&wallet).await;
    assert_eq!((balance.available_minor, balance.held_minor), (10, 90));
    fixture.verify().await;
    applied(&ledger.post_one(capture(first, &wallet, 60)).await);
    applied(&ledger.post_one(void(second, &wallet, 30)).await);
    let balance = fixture.balance(&wallet).await;
    assert_eq!((balance.available_minor, balance.held_minor), (40, 0));
    for hold in [first, second] {
        let amount = if hold == first { 60 } else { 30 };
        for again in [capture(hold, &wallet, amount), void(hold, &wallet, amount)] {
            assert_eq!(rejected(&ledger.post_one(again).await), NOT_ACTIVE);
        }
    }
    fixture.verify().await;
}

/// A hold may be placed and ended in one batch.
#[tokio::test]
async fn a_hold_may_live_within_a_batch() {
    let fixture = Fixture::start().await;
    let wallet = fixture.funded("EUR", 100).await;
    let hold = HoldId::generate();
    let postings = vec![
        place(hold, &wallet, 60),
        capture(hold, &wallet, 60),
        void(hold, &wallet, 60),
    ];
    let results = fixture
        .ledger()
        .post(postings, BatchMode::Independent)
        .await;
    applied(&results[0]);
    applied(&results[1]);
    assert_eq!(rejected(&results[2]), NOT_ACTIVE);
    let (status, captured): (String, i64) =
        sqlx::query_as("SELECT status::text, captured_minor FROM holds")
            .fetch_one(&fixture.database.pool)
            .await
            .expect("one hold");
    assert_eq!((status.as_str(), captured), ("captured", 60));
    fixture.verify().await;
}

/// The legs must be what the action says, of the hold's wallet and amount.
#[tokio::test]
async fn legs_must_fit_the_hold() {
    let fixture = Fixture::start().await;
    let wallet = fixture.funded("EUR", 100).await;
    let other = fixture.funded("EUR", 100).await;
    let mut ledger = fixture.ledger();
    let hold = HoldId::generate();
    applied(&ledger.post_one(place(hold, &wallet, 60)).await);
    let to_itself = with_hold(
        hold,
        HoldAction::Capture,
        posting(
            PostingKind::HoldCapture,
            vec![leg_in(Bucket::Held, &wallet, -60), leg(&wallet, 60)],
        ),
    );
    let to_other = with_hold(
        hold,
        HoldAction::Void,
        posting(
            PostingKind::HoldVoid,
            vec![leg_in(Bucket::Held, &wallet, -60), leg(&other, 60)],
        ),
    );
    let across = with_hold(
        HoldId::generate(),
        HoldAction::Place,
        posting(
            PostingKind::Hold,
            vec![leg(&wallet, -5), leg_in(Bucket::Held, &other, 5)],
        ),
    );
    for bad in [
        capture(hold, &wallet, 61),
        void(hold, &wallet, 59),
        to_itself,
        to_other,
        across,
        place(hold, &wallet, 1),
    ] {
        assert_eq!(rejected(&ledger.post_one(bad).await), MISMATCH);
    }
    for foreign in [
        capture(HoldId::generate(), &wallet, 60),
        void(HoldId::generate(), &wallet, 60),
        capture(hold, &other, 60),
    ] {
        assert_eq!(rejected(&ledger.post_one(foreign).await), NOT_FOUND);
    }
    let bare = vec![leg_in(Bucket::Held, &wallet, -60), settlement("EUR", 60)];
    let bare = posting(PostingKind::Adjustment, bare);
    assert_eq!(
        rejected(&ledger.post_one(bare).await),
        (RejectionReason::HoldMismatch, 0)
    );
    assert_eq!(fixture.balance(&wallet).await.held_minor, 60);
    fixture.verify().await;
}

/// Of many that end one hold at once, one succeeds; of many that place one
/// hold on different wallets at once, one succeeds.
#[tokio::test]
async fn ends_and_places_race_safely() {
    let fixture = Fixture::start().await;
    let wallet = fixture.funded("EUR", 100).await;
    let hold = HoldId::generate();
    applied(&fixture.ledger().post_one(place(hold, &wallet, 60)).await);
    let ends = (0..20).map(|index| {
        if index % 2 == 0 {
            capture(hold, &wallet, 60)
        } else {
            void(hold, &wallet, 60)
        }
    });
    assert_eq!(winners(&fixture, ends.collect(), NOT_ACTIVE).await, 1);
    let contested = HoldId::generate();
    let mut places = Vec::new();
    for _ in 0..8 {
        let wallet = fixture.open(UserId::generate(), "EUR").await;
        applied(
            &fixture
                .ledger()
                .post_one(crate::support::deposit(&wallet, 10))
                .await,
        );
        places.push(place(contested, &wallet, 10));
    }
    assert_eq!(winners(&fixture, places, MISMATCH).await, 1);
    fixture.verify().await;
}

/// Posts all at once; how many were applied, when the others were refused so.
async fn winners(
    fixture: &Fixture,
    postings: Vec<bursar_contracts::wallet::v1::Posting>,
    refusal: (RejectionReason, i32),
) -> usize {
    let calls = postings.into_iter().map(|posting| {
        let mut ledger = fixture.ledger();
        tokio::spawn(async move { ledger.post_one(posting).await })
    });
    let mut won = 0;
    for call in calls.collect::<Vec<_>>() {
        let result = call.await.expect("no panic");
        match result.outcome {
            Some(bursar_contracts::wallet::v1::posting_result::Outcome::Applied(_)) => won += 1,
            _ => assert_eq!(rejected(&result), refusal),
        }
    }
    won
}

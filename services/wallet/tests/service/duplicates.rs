//! A posting happens once, however often it is asked for.

use bursar_aip::id::UserId;
use bursar_contracts::wallet::v1::posting_result::Outcome;
use bursar_contracts::wallet::v1::{BatchMode, PostingResult, RejectionReason};
use bursar_testkit::TestService;

use crate::support::{Fixture, Poster, applied, deposit, rejected, times_posted, transfer};

const REUSED: (RejectionReason, i32) = (RejectionReason::PostingIdReused, -1);

/// Asked for again, later, in the same call, or after the money is gone, a
/// posting is answered with its first result.
#[tokio::test]
async fn a_replay_is_the_first_result() {
    let fixture = Fixture::start().await;
    let alice = fixture.funded("EUR", 100).await;
    let bob = fixture.open(UserId::generate(), "EUR").await;
    let mut ledger = fixture.ledger();
    let paid = transfer(&alice, &bob, 100);
    let twice = vec![paid.clone(), paid.clone()];
    let first = ledger.post(twice.clone(), BatchMode::Independent).await;
    assert_eq!((first[0].replayed, first[1].replayed), (false, true));
    for mode in [BatchMode::Independent, BatchMode::Atomic] {
        let again = ledger.post(twice.clone(), mode).await;
        for result in again.iter().chain(&first[1..]) {
            assert!(result.replayed);
            assert_eq!(result.outcome, first[0].outcome);
        }
    }
    assert_eq!(fixture.current(&bob).await.version, 1);
    fixture.verify().await;
}

/// An id that belongs to another posting is refused, whatever differs.
#[tokio::test]
async fn an_id_belongs_to_one_posting() {
    let fixture = Fixture::start().await;
    let alice = fixture.funded("EUR", 100).await;
    let bob = fixture.open(UserId::generate(), "EUR").await;
    let mut ledger = fixture.ledger();
    let paid = transfer(&alice, &bob, 10);
    applied(&ledger.post_one(paid.clone()).await);
    let mut amount = paid.clone();
    amount.legs[0].amount_minor = -11;
    amount.legs[1].amount_minor = 11;
    let mut order = paid.clone();
    order.legs.reverse();
    let mut transaction = paid.clone();
    transaction.transaction_id = transfer(&alice, &bob, 1).transaction_id;
    let mut owner = paid.clone();
    owner.legs[0].required_owner_user_id = alice.owner_user_id.clone();
    for forged in [amount.clone(), order, transaction, owner] {
        assert_eq!(rejected(&ledger.post_one(forged).await), REUSED);
    }
    let atomic = ledger
        .post(vec![deposit(&bob, 1), amount], BatchMode::Atomic)
        .await;
    assert_eq!(rejected(&atomic[0]), (RejectionReason::BatchRejected, -1));
    assert_eq!(rejected(&atomic[1]), REUSED);
    assert_eq!(fixture.balance(&bob).await.available_minor, 10);
}

/// A refused posting's id is free: the posting may be tried again.
#[tokio::test]
async fn a_refusal_uses_up_no_id() {
    let fixture = Fixture::start().await;
    let alice = fixture.open(UserId::generate(), "EUR").await;
    let bob = fixture.open(UserId::generate(), "EUR").await;
    let mut ledger = fixture.ledger();
    let paid = transfer(&alice, &bob, 10);
    let refused = ledger.post_one(paid.clone()).await;
    assert_eq!(rejected(&refused), (RejectionReason::InsufficientFunds, 0));
    applied(&ledger.post_one(deposit(&alice, 10)).await);
    let result = ledger.post_one(paid).await;
    applied(&result);
    assert!(!result.replayed);
    fixture.verify().await;
}

/// Posts one posting from many callers at once, at two services.
async fn post_everywhere(
    first: &Poster,
    second: &Poster,
    posting: &bursar_contracts::wallet::v1::Posting,
) -> Vec<PostingResult> {
    let calls = (0..50).map(|index| {
        let mut ledger = if index % 2 == 0 {
            first.clone()
        } else {
            second.clone()
        };
        let posting = posting.clone();
        tokio::spawn(async move { ledger.post_one(posting).await })
    });
    let mut results = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        results.push(call.await.expect("no panic"));
    }
    results
}

/// Fifty callers at two replicas of the service post the last money once, and
/// all are told the same: none hears of insufficient funds.
#[tokio::test]
async fn concurrent_duplicates_are_posted_once() {
    let fixture = Fixture::start().await;
    let replica = TestService::start(
        bursar_wallet::definition(),
        &fixture.database,
        &fixture.tokens,
        &[],
    )
    .await;
    let first = fixture.ledger();
    let second = Poster {
        client: bursar_contracts::wallet::v1::ledger_service_client::LedgerServiceClient::new(
            replica.channel(),
        ),
        ..fixture.ledger()
    };
    let alice = fixture.funded("EUR", 500).await;
    let bob = fixture.open(UserId::generate(), "EUR").await;
    for _ in 0..5 {
        let balance = fixture.balance(&alice).await.available_minor;
        let paid = transfer(&alice, &bob, balance.min(100));
        let results = post_everywhere(&first, &second, &paid).await;
        let new = results.iter().filter(|result| !result.replayed).count();
        assert_eq!(new, 1);
        for result in &results {
            assert_eq!(result.outcome, results[0].outcome);
            applied(result);
        }
        assert_eq!(times_posted(&fixture.database.pool, &paid).await, 1);
    }
    assert_eq!(fixture.balance(&alice).await.available_minor, 0);
    fixture.verify().await;
}

/// Of postings that share an id and nothing else, asked for at once, one is
/// applied and the others are refused.
#[tokio::test]
async fn concurrent_postings_of_one_id_do_not_mix() {
    let fixture = Fixture::start().await;
    let mut wallets = Vec::new();
    for _ in 0..16 {
        wallets.push(fixture.funded("EUR", 100).await);
    }
    for _ in 0..5 {
        let id = deposit(&wallets[0], 1).posting_id;
        let calls = wallets.chunks(2).map(|pair| {
            let mut posting = transfer(&pair[0], &pair[1], 10);
            posting.posting_id = id.clone();
            let mut ledger = fixture.ledger();
            tokio::spawn(async move { ledger.post_one(posting).await })
        });
        let mut won = 0;
        for call in calls.collect::<Vec<_>>() {
            let result = call.await.expect("no panic");
            match result.outcome {
                Some(Outcome::Applied(_)) => won += 1,
                _ => assert_eq!(rejected(&result), REUSED),
            }
        }
        assert_eq!(won, 1);
    }
    fixture.verify().await;
}

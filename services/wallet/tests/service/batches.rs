//! PostBatch: what is applied, and what independent and atomic calls answer.

use bursar_aip::id::UserId;
use bursar_contracts::wallet::v1::{
    BatchMode, Leg, PostingKind, RejectionReason, SystemAccount, SystemPurpose,
};
use prost_types::Timestamp;
use tonic::Code;
use uuid::Uuid;

use crate::support::{
    Fixture, Poster, applied, deposit, leg, posting, reason, rejected, settlement, times_posted,
    transfer, uuid_of,
};

/// A deposit and a transfer move money and say where it is now.
#[tokio::test]
async fn postings_move_money() {
    let fixture = Fixture::start().await;
    let alice = fixture.open(UserId::generate(), "EUR").await;
    let bob = fixture.open(UserId::generate(), "EUR").await;
    let mut ledger = fixture.ledger();
    let paid_in = ledger.post_one(deposit(&alice, 1000)).await;
    let legs = &applied(&paid_in).legs;
    assert_eq!(
        (legs[0].owner_user_id.as_str(), legs[0].balance_after_minor),
        ("", -1000)
    );
    assert_eq!(
        (&legs[1].owner_user_id, legs[1].balance_after_minor),
        (&alice.owner_user_id, 1000)
    );
    assert!(!paid_in.replayed);
    let moved = ledger.post_one(transfer(&alice, &bob, 300)).await;
    let legs = &applied(&moved).legs;
    assert_eq!((legs[0].version, legs[0].balance_after_minor), (2, 700));
    assert_eq!((legs[1].version, legs[1].balance_after_minor), (1, 300));
    assert_eq!(legs[1].wallet_id, bob.wallet_id);
    let now = fixture.current(&alice).await;
    assert_eq!(
        (now.version, now.balance.expect("a balance").available_minor),
        (2, 700)
    );
    fixture.verify().await;
}

/// The postings of an independent call stand on their own, in order: a later
/// one may spend what an earlier one brought.
#[tokio::test]
async fn independent_postings_stand_on_their_own() {
    let fixture = Fixture::start().await;
    let alice = fixture.open(UserId::generate(), "EUR").await;
    let bob = fixture.open(UserId::generate(), "EUR").await;
    let postings = vec![
        transfer(&alice, &bob, 10),
        deposit(&alice, 25),
        transfer(&alice, &bob, 10),
        transfer(&alice, &bob, 20),
        transfer(&alice, &bob, 15),
    ];
    let results = fixture
        .ledger()
        .post(postings.clone(), BatchMode::Unspecified)
        .await;
    let insufficient = (RejectionReason::InsufficientFunds, 0);
    assert_eq!(rejected(&results[0]), insufficient);
    applied(&results[1]);
    applied(&results[2]);
    assert_eq!(rejected(&results[3]), insufficient);
    assert_eq!(applied(&results[4]).legs[0].balance_after_minor, 0);
    for (posting, result) in postings.iter().zip(&results) {
        assert_eq!(posting.posting_id, result.posting_id);
    }
    assert_eq!(fixture.balance(&bob).await.available_minor, 25);
    fixture.verify().await;
}

/// The postings of an atomic call are applied together or not at all.
#[tokio::test]
async fn atomic_postings_stand_together() {
    let fixture = Fixture::start().await;
    let alice = fixture.funded("EUR", 100).await;
    let bob = fixture.open(UserId::generate(), "EUR").await;
    let mut ledger = fixture.ledger();
    let mut postings = vec![
        transfer(&alice, &bob, 60),
        transfer(&alice, &bob, 60),
        transfer(&bob, &alice, 1),
    ];
    let refused = ledger.post(postings.clone(), BatchMode::Atomic).await;
    assert_eq!(rejected(&refused[0]), (RejectionReason::BatchRejected, -1));
    assert_eq!(
        rejected(&refused[1]),
        (RejectionReason::InsufficientFunds, 0)
    );
    assert_eq!(rejected(&refused[2]), (RejectionReason::BatchRejected, -1));
    assert_eq!(fixture.balance(&alice).await.available_minor, 100);
    assert_eq!(fixture.current(&alice).await.version, 1);
    // Refusals leave no trace: the same ids may be tried again.
    applied(&ledger.post_one(deposit(&alice, 50)).await);
    let done = ledger.post(postings.clone(), BatchMode::Atomic).await;
    done.iter().for_each(|result| drop(applied(result).clone()));
    assert_eq!(fixture.balance(&alice).await.available_minor, 31);
    // What is in the ledger cannot be refused any more, the rest can.
    postings.push(transfer(&alice, &bob, 1000));
    let mixed = ledger.post(postings, BatchMode::Atomic).await;
    assert!(mixed[..3].iter().all(|result| result.replayed));
    assert_eq!(rejected(&mixed[3]), (RejectionReason::InsufficientFunds, 0));
    fixture.verify().await;
}

/// A call may bring 1,000 postings of several legs and currencies.
#[tokio::test]
async fn a_call_takes_a_thousand_postings() {
    let fixture = Fixture::start().await;
    let euros = fixture.funded("EUR", 5_000).await;
    let dollars = fixture.open(UserId::generate(), "USD").await;
    let exchange = || {
        let legs = vec![
            leg(&euros, -5),
            settlement("EUR", 5),
            settlement("USD", -6),
            leg(&dollars, 6),
        ];
        posting(PostingKind::Adjustment, legs)
    };
    let postings: Vec<_> = (0..1_000).map(|_| exchange()).collect();
    let results = fixture.ledger().post(postings, BatchMode::Atomic).await;
    assert_eq!(results.len(), 1_000);
    results
        .iter()
        .for_each(|result| drop(applied(result).clone()));
    assert_eq!(fixture.balance(&euros).await.available_minor, 0);
    assert_eq!(fixture.balance(&dollars).await.available_minor, 6_000);
    let too_many = (0..1_001).map(|_| exchange()).collect();
    let refused = fixture.ledger().try_post(too_many, BatchMode::Atomic).await;
    let refused = refused.expect_err("too many");
    assert_eq!(
        (refused.code(), reason(&refused)),
        (Code::InvalidArgument, "INVALID_FIELD".to_owned())
    );
    fixture.verify().await;
}

/// There is one wallet of the platform for each purpose, name and currency,
/// opened by whoever needs it first, also when many do at once.
#[tokio::test]
async fn platform_wallets_open_themselves_once() {
    let fixture = Fixture::start().await;
    let fee = |wallet: &_| {
        let account = SystemAccount {
            purpose: SystemPurpose::Fees.into(),
            name: String::new(),
            currency_code: "EUR".to_owned(),
        };
        let to_fees = Leg {
            system: Some(account),
            ..settlement("EUR", 1)
        };
        posting(PostingKind::Adjustment, vec![leg(wallet, -1), to_fees])
    };
    let mut payers = Vec::new();
    for _ in 0..4 {
        payers.push(fixture.funded("EUR", 5).await);
    }
    let calls = payers.iter().cycle().take(20).map(|payer| {
        let (mut ledger, posting) = (fixture.ledger(), fee(payer));
        tokio::spawn(async move { ledger.post_one(posting).await })
    });
    let mut seen = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        let result = call.await.expect("no panic");
        seen.push(applied(&result).legs[1].wallet_id.clone());
    }
    seen.dedup();
    assert_eq!(seen.len(), 1);
    let rows: Vec<(Uuid, i64)> = sqlx::query_as(
        "SELECT id, available FROM wallets WHERE system_purpose = 'fees' AND currency = 'EUR'",
    )
    .fetch_all(&fixture.database.pool)
    .await
    .expect("wallets");
    assert_eq!(rows, [(uuid_of(&seen[0]), 20)]);
    fixture.verify().await;
}

/// When a posting counts from is recorded; without it, when it was recorded.
/// Instants that the contract does not have are refused.
#[tokio::test]
async fn the_effective_time_is_kept() {
    let fixture = Fixture::start().await;
    let wallet = fixture.open(UserId::generate(), "EUR").await;
    let at = |seconds, nanos| {
        let mut posting = deposit(&wallet, 1);
        posting.effective_at = Some(Timestamp { seconds, nanos });
        posting
    };
    let mut ledger = fixture.ledger();
    let backdated = at(1_700_000_000, 123_456_789);
    for good in [
        backdated.clone(),
        deposit(&wallet, 1),
        at(-62_135_596_800, 0),
    ] {
        applied(&ledger.post_one(good).await);
    }
    let rows: Vec<(bool, f64)> = sqlx::query_as(
        "SELECT effective_at = recorded_at, extract(epoch FROM effective_at)::float8
         FROM postings ORDER BY effective_at DESC",
    )
    .fetch_all(&fixture.database.pool)
    .await
    .expect("postings");
    assert!(rows[0].0 && !rows[1].0 && !rows[2].0);
    assert!((rows[1].1 - 1_700_000_000.123_456).abs() < 0.000_002);
    for bad in [
        at(-62_135_596_801, 0),
        at(253_402_300_800, 0),
        at(0, -1),
        at(i64::MAX, 0),
    ] {
        let refused = ledger
            .try_post(vec![bad.clone()], BatchMode::Independent)
            .await;
        let refused = refused.expect_err("no such instant");
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        assert_eq!(times_posted(&fixture.database.pool, &bad).await, 0);
    }
}

/// Only service tokens may post, and malformed postings are refused whole.
#[tokio::test]
async fn only_services_may_post() {
    let fixture = Fixture::start().await;
    let user = UserId::generate();
    let wallet = fixture.open(user, "EUR").await;
    for token in [fixture.tokens.user(user), fixture.tokens.admin(user)] {
        let mut ledger = Poster {
            token,
            ..fixture.ledger()
        };
        let refused = ledger
            .try_post(vec![deposit(&wallet, 1)], BatchMode::Independent)
            .await;
        let refused = refused.expect_err("a user's token");
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert_eq!(reason(&refused), "PERMISSION_DENIED");
    }
    let mut ledger = fixture.ledger();
    let mut unknown = deposit(&wallet, 1);
    for leg in &mut unknown.legs {
        leg.currency_code = "ZZZ".to_owned();
    }
    let refused = ledger.try_post(vec![unknown], BatchMode::Independent).await;
    assert_eq!(
        reason(&refused.expect_err("no currency")),
        "CURRENCY_UNSUPPORTED"
    );
    let mut both = deposit(&wallet, 1);
    both.legs[0].wallet_id = wallet.wallet_id.clone();
    let mut one_leg = deposit(&wallet, 1);
    one_leg.legs.pop();
    let mut nameless = deposit(&wallet, 1);
    nameless.posting_id = "7".to_owned();
    let mut nothing = deposit(&wallet, 1);
    nothing.legs[1].amount_minor = 0;
    for bad in [both, one_leg, nameless, nothing] {
        let refused = ledger.try_post(vec![bad], BatchMode::Independent).await;
        assert_eq!(reason(&refused.expect_err("malformed")), "INVALID_FIELD");
    }
    assert_eq!(fixture.current(&wallet).await.version, 0);
}

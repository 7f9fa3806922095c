//! The edges of the ledger: amounts at the end of the range, wallets that are
//! frozen or closed among others, and a hold that ends in two ways at once.

use std::num::NonZeroI64;
use std::time::{Duration, Instant};

use bursar_aip::id::{CampaignId, GrantId, HoldId, TenantId, TransactionId, UserId};
use bursar_contracts::wallet::v1::{BatchMode, HoldStatus, Leg, RejectionReason, Wallet};
use bursar_money::Currency;
use bursar_wallet::domain::batch::{Mode, Outcome};
use bursar_wallet::domain::bonus::{BonusStep, NewGrant};
use bursar_wallet::domain::book::SpendOrder;
use bursar_wallet::domain::campaign::{budget_of, pool};
use bursar_wallet::domain::posting as domain;
use bursar_wallet::domain::posting::{Account, PostingId, PostingKind};
use bursar_wallet::domain::wallet::{Bucket, SystemAccount, SystemPurpose};
use bursar_wallet::jobs::queue::{Order, queue};
use bursar_wallet::jobs::{projector, writer};
use uuid::Uuid;

use crate::bookkeeper::{all_wallets, assert_projected, sealed, wallet_id};
use crate::desk::{Desk, capture, close, place};
use crate::support::{
    self, Fixture, applied, deposit, eventually, leg, posting, reason, rejected, settlement,
    transfer, uuid_of,
};

const EURO: &str = "EUR";

fn euro() -> Currency {
    Currency::parse(EURO).expect("a currency")
}

/// An account of the platform that may owe anything.
fn provider(name: &str) -> Account {
    let account = SystemAccount {
        purpose: SystemPurpose::Settlement,
        name: name.to_owned(),
        currency: euro(),
    };
    Account::system(account, &TenantId::default())
}

/// A movement of any amount: the contract's bound is for callers.
fn movement(
    kind: PostingKind,
    from: Account,
    (to, bucket): (Account, Bucket),
    amount: i64,
    bonus: Option<BonusStep>,
) -> domain::Posting {
    let leg = |account, bucket: Bucket, amount| domain::Leg {
        account,
        bucket: bucket.into(),
        amount: NonZeroI64::new(amount).expect("not zero"),
        currency: euro(),
        required_owner: None,
    };
    let id = Uuid::now_v7();
    let mut fingerprint = [0; 32];
    fingerprint[..16].copy_from_slice(id.as_bytes());
    domain::Posting {
        id: PostingId::from_uuid(id),
        tenant: TenantId::default(),
        transaction: Some(TransactionId::generate()),
        kind,
        legs: vec![
            leg(from, Bucket::Available, -amount),
            leg(to, bucket, amount),
        ],
        effective_at: None,
        hold: None,
        bonus,
        fingerprint,
    }
}

/// Posts through a writer of its own, as another replica would.
async fn post(fixture: &Fixture, postings: Vec<domain::Posting>) -> Vec<Outcome> {
    let (ledger, inbox) = queue(1_000);
    let pool = fixture.database.pool.clone();
    let writing = tokio::spawn(writer::run(inbox, pool, SpendOrder::BonusFirst));
    let order = Order {
        postings,
        mode: Mode::Independent,
        actor: "service:test".to_owned(),
        deadline: Instant::now() + Duration::from_secs(30),
    };
    let outcomes = ledger.post(order).await.expect("the ledger answers");
    drop(ledger);
    writing.await.expect("no panic").expect("the writer ends");
    outcomes
}

fn account(wallet: &Wallet) -> Account {
    Account::User(wallet_id(wallet))
}

/// A wallet that has nearly all that a number can say.
async fn richest(fixture: &Fixture, room: i64) -> Wallet {
    let wallet = fixture.open(UserId::generate(), EURO).await;
    let gift = movement(
        PostingKind::Deposit,
        provider("mint"),
        (account(&wallet), Bucket::Available),
        i64::MAX - room,
        None,
    );
    let outcomes = post(fixture, vec![gift]).await;
    assert!(matches!(outcomes[0], Outcome::Applied(_)), "{outcomes:?}");
    wallet
}

/// A balance that would leave its range is refused by its reason, at its leg; the
/// other postings of the batch happen, and so does everything after it.
#[tokio::test]
async fn balances_stay_in_their_range() {
    let fixture = Fixture::start().await;
    let rich = richest(&fixture, 5).await;
    let (alice, bob) = (
        fixture.funded(EURO, 100).await,
        fixture.funded(EURO, 0).await,
    );
    let owed_too_much = |amount: i64| {
        let mint = Leg {
            system: Some(bursar_contracts::wallet::v1::SystemAccount {
                name: "mint".to_owned(),
                ..settlement(EURO, 1).system.expect("a system account")
            }),
            ..settlement(EURO, -amount)
        };
        let legs = vec![mint, leg(&bob, amount)];
        posting(bursar_contracts::wallet::v1::PostingKind::Deposit, legs)
    };
    let batch = vec![
        transfer(&alice, &bob, 10),
        deposit(&rich, 6),
        transfer(&alice, &rich, 5),
        transfer(&alice, &rich, 1),
        owed_too_much(7),
        transfer(&rich, &alice, 1),
        transfer(&alice, &bob, 10),
    ];
    let results = fixture.ledger().post(batch, BatchMode::Independent).await;
    let overflow = |leg| (RejectionReason::BalanceOverflow, leg);
    assert_eq!(rejected(&results[1]), overflow(1));
    assert_eq!(rejected(&results[3]), overflow(1));
    assert_eq!(rejected(&results[4]), overflow(0));
    for index in [0, 2, 5, 6] {
        applied(&results[index]);
    }
    let atomic = vec![
        transfer(&rich, &bob, 1),
        deposit(&rich, 3),
        transfer(&alice, &bob, 1),
    ];
    let results = fixture.ledger().post(atomic, BatchMode::Atomic).await;
    assert_eq!(rejected(&results[1]), overflow(1));
    assert_eq!(rejected(&results[2]).0, RejectionReason::BatchRejected);
    assert_eq!(fixture.balance(&rich).await.available_minor, i64::MAX - 1);
    assert_eq!(fixture.balance(&bob).await.available_minor, 20);
    // More came to it on one day than a number can say.
    let desk = Desk::of(&fixture);
    for _ in 0..3 {
        let all = i64::MAX / 9_300;
        let hold = desk.place(place(&rich, all)).await.expect("placed");
        desk.void(&hold).await.expect("voided");
    }
    sealed(&fixture.database.pool).await;
    let pool = &fixture.database.pool;
    eventually("all is projected", async || {
        let slice = projector::slice(pool).await.expect("a slice");
        let mut done = slice.queue_rows == 0;
        for wallet in all_wallets(pool).await {
            let wallet = bursar_aip::id::WalletId::from_uuid(wallet);
            done &= projector::fold_wallet(pool, wallet).await.expect("a fold");
        }
        done
    })
    .await;
    assert_projected(pool).await;
    fixture.verify().await;
}

/// What cannot be counted of a campaign or of a limit is refused, by its reason,
/// and harms no neighbour, though neither has a bound of its own.
#[tokio::test]
async fn sums_stay_in_their_range() {
    let fixture = Fixture::start().await;
    let (rich, alice) = (richest(&fixture, 5).await, fixture.funded(EURO, 100).await);
    let campaign = CampaignId::generate();
    let tenant = TenantId::default();
    let budget = Account::system(budget_of(campaign, euro()), &tenant);
    let source = Account::system(pool(euro()), &tenant);
    let fund = |from: &Account, amount: i64| {
        let to = (budget.clone(), Bucket::Available);
        movement(PostingKind::BonusFunding, from.clone(), to, amount, None)
    };
    let grant = |wallet: &Wallet, amount: i64| {
        let new = NewGrant {
            id: GrantId::generate(),
            campaign,
            expires_at: None,
            user_cap: None,
        };
        let to = (account(wallet), Bucket::Bonus);
        let step = Some(BonusStep::Grant(new));
        movement(PostingKind::BonusGrant, budget.clone(), to, amount, step)
    };
    let user: UserId = rich.owner_user_id.parse().expect("a user");
    let other = fixture.open(user, EURO).await;
    let batch = vec![
        fund(&source, i64::MAX - 2),
        grant(&rich, i64::MAX - 10),
        fund(&provider("gift"), 1_000),
        grant(&other, 11),
        grant(&other, 10),
        grant(&alice, 3),
        grant(&rich, 1),
    ];
    let outcomes = post(&fixture, batch).await;
    let refusal = |outcome: &Outcome| match outcome {
        Outcome::Rejected(rejected) => Some(rejected.reason),
        Outcome::Applied(_) | Outcome::Replayed(_) => None,
    };
    let reasons: Vec<_> = outcomes.iter().map(refusal).collect();
    let refused = Some(domain::RejectionReason::GrantCapExceeded);
    // One user's grants may sum up to the end of the range and no further.
    let expected = [None, None, None, refused, None, None, refused];
    assert_eq!(reasons, expected);

    let desk = Desk::of(&fixture);
    let set = desk.set_limits(&alice, [Some(1_000), None, None]).await;
    set.expect("set");
    sqlx::query("UPDATE wallet_limits SET day_spent = $1, month_spent = $1")
        .bind(i64::MAX - 20)
        .execute(&fixture.database.owner)
        .await
        .expect("the owner may");
    let batch = vec![
        transfer(&alice, &other, 20),
        transfer(&alice, &other, 1),
        deposit(&other, 1),
    ];
    let results = fixture.ledger().post(batch, BatchMode::Independent).await;
    applied(&results[0]);
    assert_eq!(rejected(&results[1]).0, RejectionReason::DailyLimitExceeded);
    applied(&results[2]);
    let over = desk.place(place(&alice, 1)).await.expect_err("not counted");
    assert_eq!(reason(&over), "DAILY_LIMIT_EXCEEDED");
}

/// A frozen and a closed wallet among others fail their own postings only, unless
/// all stand and fall together; money may still come to the frozen one.
#[tokio::test]
async fn frozen_and_closed_wallets_are_alone() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    let (alice, bob) = (
        fixture.funded(EURO, 100).await,
        fixture.funded(EURO, 0).await,
    );
    let (frozen, closed) = (
        fixture.funded(EURO, 100).await,
        fixture.funded(EURO, 0).await,
    );
    desk.freeze(&frozen).await.expect("frozen");
    close(&fixture, &closed).await.expect("closed");
    let batch = || {
        vec![
            transfer(&alice, &bob, 10),
            transfer(&frozen, &bob, 10),
            transfer(&alice, &closed, 10),
            transfer(&alice, &frozen, 10),
            deposit(&closed, 1),
            support::place(HoldId::generate(), &frozen, 5),
            transfer(&alice, &bob, 10),
        ]
    };
    let results = fixture.ledger().post(batch(), BatchMode::Independent).await;
    let expected = [
        None,
        Some((RejectionReason::WalletFrozen, 0)),
        Some((RejectionReason::WalletClosed, 1)),
        None,
        Some((RejectionReason::WalletClosed, 1)),
        Some((RejectionReason::WalletFrozen, 0)),
        None,
    ];
    for (result, expected) in results.iter().zip(expected) {
        match expected {
            None => {
                applied(result);
            }
            Some(expected) => assert_eq!(rejected(result), expected),
        }
    }
    let results = fixture.ledger().post(batch(), BatchMode::Atomic).await;
    for (index, result) in results.iter().enumerate() {
        let culprit = (RejectionReason::WalletFrozen, 0);
        let others = (RejectionReason::BatchRejected, -1);
        let expected = if index == 1 { culprit } else { others };
        assert_eq!(rejected(result), expected, "{index}");
    }
    assert_eq!(fixture.balance(&alice).await.available_minor, 70);
    assert_eq!(fixture.balance(&bob).await.available_minor, 20);
    assert_eq!(fixture.balance(&frozen).await.available_minor, 110);
    assert_eq!(fixture.balance(&closed).await.available_minor, 0);
    fixture.verify().await;
}

/// A hold that expires in the very instant in which it is captured ends once: its
/// money is the payee's or the owner's, and the answer says which.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_ends_in_one_way() {
    const HOLDS: i64 = 40;
    let eager = [("BURSAR_HOLD_EXPIRY_INTERVAL_MS", "10")];
    let fixture = Fixture::start_with(&eager).await;
    let desk = Desk::of(&fixture);
    let guest = fixture.funded(EURO, HOLDS * 7).await;
    let hotel = fixture.funded(EURO, 0).await;
    let mut holds = Vec::new();
    for _ in 0..HOLDS {
        holds.push(desk.place(place(&guest, 7)).await.expect("placed"));
    }
    // Their times are over one after the other, about as fast as they are captured.
    let ids: Vec<Uuid> = holds.iter().map(|hold| uuid_of(&hold.hold_id)).collect();
    sqlx::query(
        "UPDATE holds SET expires_at = now() + place * interval '4 milliseconds'
         FROM unnest($1::uuid[]) WITH ORDINALITY AS hold (hold_id, place) WHERE id = hold_id",
    )
    .bind(&ids)
    .execute(&fixture.database.owner)
    .await
    .expect("the owner may");
    let captures = holds.iter().map(|hold| {
        let (desk, request) = (desk.clone(), capture(hold, None, &hotel));
        tokio::spawn(async move { desk.capture(request).await })
    });
    let mut captured = Vec::new();
    for capture in captures.collect::<Vec<_>>() {
        match capture.await.expect("no panic") {
            Ok(hold) => captured.push(hold.hold_id),
            Err(late) => assert_eq!(reason(&late), "HOLD_EXPIRED"),
        }
    }
    eventually("all have ended", async || {
        fixture.balance(&guest).await.held_minor == 0
    })
    .await;
    for hold in &holds {
        let ended = desk.hold(hold).await;
        let expected = if captured.contains(&hold.hold_id) {
            (HoldStatus::Captured, 7)
        } else {
            (HoldStatus::Expired, 0)
        };
        assert_eq!((ended.status(), ended.captured_minor), expected);
    }
    let paid = 7 * i64::try_from(captured.len()).expect("a few");
    assert_eq!(fixture.balance(&hotel).await.available_minor, paid);
    assert_eq!(
        fixture.balance(&guest).await.available_minor,
        HOLDS * 7 - paid
    );
    fixture.verify().await;
}

//! Bonus money spent through PostBatch: from which money a transfer is paid, and
//! what becomes of the grants.

use bursar_aip::id::{HoldId, UserId};
use bursar_contracts::wallet::v1::{
    BatchMode, BonusGrantStatus, Bucket, CreateCampaignRequest, Posting, PostingKind,
    RejectionReason, Wallet,
};

use super::office::{Office, plain};
use crate::support::{Fixture, applied, leg, leg_in, place, posting, rejected, transfer};

/// A transfer of whatever may be spent.
pub(crate) fn spend(from: &Wallet, to: &Wallet, amount: i64) -> Posting {
    let legs = vec![leg_in(Bucket::Spendable, from, -amount), leg(to, amount)];
    posting(PostingKind::Transfer, legs)
}

/// Available and bonus money of a wallet.
async fn money(fixture: &Fixture, wallet: &Wallet) -> (i64, i64) {
    let balance = fixture.balance(wallet).await;
    (balance.available_minor, balance.bonus_minor)
}

/// Bonus money is spent by the earliest expiry, before available money; the
/// payee gets available money, and each grant follows.
#[tokio::test]
async fn bonus_is_spent_by_its_expiry() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let lasting = async |seconds| {
        let request = CreateCampaignRequest {
            grant_ttl_seconds: seconds,
            ..plain()
        };
        office.create(request).await
    };
    let (never, late, early) = (lasting(0).await, lasting(7_200).await, lasting(3_600).await);
    let alice = fixture.funded("EUR", 100).await;
    let shop = fixture.open(UserId::generate(), "EUR").await;
    let mut grants = Vec::new();
    for campaign in [&never, &late, &early] {
        grants.push(office.grant(&alice, campaign, 30).await.expect("granted"));
    }
    let mut ledger = fixture.ledger();
    let first = spend(&alice, &shop, 40);
    let result = ledger.post_one(first.clone()).await;
    let legs = &applied(&result).legs;
    let entries: Vec<_> = legs
        .iter()
        .map(|leg| (leg.bucket(), leg.amount_minor, leg.balance_after_minor))
        .collect();
    assert_eq!(
        entries,
        [(Bucket::Bonus, -40, 50), (Bucket::Available, 40, 40)]
    );
    let remaining = async || {
        let mut all = Vec::new();
        for grant in &grants {
            let grant = office.current(grant).await;
            all.push((grant.remaining_minor, grant.status()));
        }
        all
    };
    use BonusGrantStatus::{Active, Spent};
    assert_eq!(remaining().await, [(30, Active), (20, Active), (0, Spent)]);
    // Asked for again, it is the same; nothing more is spent.
    let again = ledger.post_one(first).await;
    assert!(again.replayed);
    assert_eq!(again.outcome, result.outcome);
    let rest = ledger.post_one(spend(&alice, &shop, 60)).await;
    let buckets: Vec<_> = applied(&rest)
        .legs
        .iter()
        .map(|leg| (leg.bucket(), leg.amount_minor))
        .collect();
    assert_eq!(buckets.len(), 3);
    assert!(buckets.contains(&(Bucket::Bonus, -50)));
    assert!(buckets.contains(&(Bucket::Available, -10)));
    assert_eq!(remaining().await, [(0, Spent), (0, Spent), (0, Spent)]);
    assert_eq!(money(&fixture, &alice).await, (90, 0));
    assert_eq!(money(&fixture, &shop).await, (100, 0));
    let over = ledger.post_one(spend(&alice, &shop, 91)).await;
    assert_eq!(rejected(&over).0, RejectionReason::InsufficientFunds);
    let totals = office.totals(&late).await;
    assert_eq!((totals.spent_minor, totals.outstanding_minor), (30, 0));
    fixture.verify().await;
}

/// Which money pays first is a setting; with `never`, bonus money pays for
/// nothing.
#[tokio::test]
async fn the_order_is_a_setting() {
    for (order, spent, after) in [
        ("bonus_first", 70, Some((80, 0))),
        ("available_first", 70, Some((30, 50))),
        ("available_first", 120, Some((0, 30))),
        ("available_first", 151, None),
        ("never", 70, Some((30, 50))),
        ("never", 101, None),
    ] {
        let fixture = Fixture::start_with(&[("BURSAR_BONUS_SPEND_ORDER", order)]).await;
        let office = Office::of(&fixture);
        let campaign = office.create(plain()).await;
        let alice = fixture.funded("EUR", 100).await;
        let shop = fixture.open(UserId::generate(), "EUR").await;
        office.grant(&alice, &campaign, 50).await.expect("granted");
        let result = fixture.ledger().post_one(spend(&alice, &shop, spent)).await;
        match after {
            Some(after) => {
                applied(&result);
                assert_eq!(money(&fixture, &alice).await, after, "{order} {spent}");
                assert_eq!(money(&fixture, &shop).await, (spent, 0));
            }
            None => {
                assert_eq!(rejected(&result), (RejectionReason::InsufficientFunds, 0));
                assert_eq!(money(&fixture, &alice).await, (100, 50));
            }
        }
        fixture.verify().await;
    }
}

/// Holds and legs on available money never take bonus money, and no posting
/// touches it by its bucket.
#[tokio::test]
async fn only_spendable_legs_take_bonus() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let campaign = office.create(plain()).await;
    let alice = fixture.funded("EUR", 20).await;
    let shop = fixture.open(UserId::generate(), "EUR").await;
    office.grant(&alice, &campaign, 50).await.expect("granted");
    let mut ledger = fixture.ledger();
    for refused in [
        place(HoldId::generate(), &alice, 21),
        transfer(&alice, &shop, 21),
    ] {
        let result = ledger.post_one(refused).await;
        assert_eq!(rejected(&result).0, RejectionReason::InsufficientFunds);
    }
    let legs = vec![leg_in(Bucket::Bonus, &alice, -1), leg(&shop, 1)];
    let by_bucket = posting(PostingKind::Adjustment, legs);
    let refused = ledger
        .try_post(vec![by_bucket], BatchMode::Independent)
        .await;
    let refused = refused.expect_err("the contract has no such leg");
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    applied(&ledger.post_one(place(HoldId::generate(), &alice, 20)).await);
    assert_eq!(money(&fixture, &alice).await, (0, 50));
    fixture.verify().await;
}

/// What an atomic batch spent before another posting of it was refused is not
/// spent, and postings of one batch spend one after another.
#[tokio::test]
async fn a_batch_spends_in_order_or_not_at_all() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let campaign = office.create(plain()).await;
    let alice = fixture.funded("EUR", 0).await;
    let shop = fixture.open(UserId::generate(), "EUR").await;
    let grant = office.grant(&alice, &campaign, 50).await.expect("granted");
    let spend_all = || vec![spend(&alice, &shop, 30), spend(&alice, &shop, 30)];
    let mut ledger = fixture.ledger();
    let results = ledger.post(spend_all(), BatchMode::Atomic).await;
    assert_eq!(rejected(&results[0]).0, RejectionReason::BatchRejected);
    assert_eq!(rejected(&results[1]).0, RejectionReason::InsufficientFunds);
    assert_eq!(office.current(&grant).await, grant);
    let results = ledger.post(spend_all(), BatchMode::Independent).await;
    applied(&results[0]);
    assert_eq!(rejected(&results[1]).0, RejectionReason::InsufficientFunds);
    assert_eq!(office.current(&grant).await.remaining_minor, 20);
    fixture.verify().await;
}

/// A frozen wallet spends no bonus money.
#[tokio::test]
async fn a_frozen_wallet_spends_nothing() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let campaign = office.create(plain()).await;
    let alice = fixture.funded("EUR", 0).await;
    let shop = fixture.open(UserId::generate(), "EUR").await;
    office.grant(&alice, &campaign, 50).await.expect("granted");
    fixture.set_status(&alice, "frozen").await;
    let result = fixture.ledger().post_one(spend(&alice, &shop, 1)).await;
    assert_eq!(rejected(&result), (RejectionReason::WalletFrozen, 0));
    fixture.verify().await;
}

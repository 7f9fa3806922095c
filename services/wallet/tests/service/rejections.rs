//! Every reason for which the ledger refuses a posting, through the RPC. What
//! holds refuse is in `holds`, and reused ids are in `duplicates`.

use bursar_aip::id::{UserId, WalletId};
use bursar_contracts::wallet::v1::{
    BatchMode, Bucket, Posting, PostingKind, RejectionReason, Wallet,
};

use crate::support::{
    Fixture, applied, deposit, leg, leg_in, posting, rejected, settlement, times_posted, transfer,
    uuid_of,
};

async fn refusal(fixture: &Fixture, posting: Posting) -> (RejectionReason, i32) {
    let result = fixture.ledger().post_one(posting.clone()).await;
    assert_eq!(times_posted(&fixture.database.pool, &posting).await, 0);
    assert!(!result.replayed);
    rejected(&result)
}

/// Wallets that do not exist, that belong to another than the required owner,
/// and wallets of the platform that are named by id, are not found.
#[tokio::test]
async fn wallets_are_not_found() {
    let fixture = Fixture::start().await;
    let alice = fixture.funded("EUR", 100).await;
    let bob = fixture.open(UserId::generate(), "EUR").await;
    let absent = Wallet {
        wallet_id: WalletId::generate().to_string(),
        ..bob.clone()
    };
    let not_found = |leg| (RejectionReason::WalletNotFound, leg);
    assert_eq!(
        refusal(&fixture, transfer(&alice, &absent, 1)).await,
        not_found(1)
    );
    assert_eq!(
        refusal(&fixture, transfer(&absent, &alice, 1)).await,
        not_found(0)
    );
    let mut owned = transfer(&alice, &bob, 1);
    owned.legs[0].required_owner_user_id = bob.owner_user_id.clone();
    assert_eq!(refusal(&fixture, owned.clone()).await, not_found(0));
    owned.legs[0].required_owner_user_id = alice.owner_user_id.clone();
    applied(&fixture.ledger().post_one(owned).await);
    let paid_in = fixture.ledger().post_one(deposit(&bob, 1)).await;
    let platform = Wallet {
        wallet_id: applied(&paid_in).legs[0].wallet_id.clone(),
        ..bob
    };
    assert_eq!(
        refusal(&fixture, transfer(&alice, &platform, 1)).await,
        not_found(1)
    );
    assert_eq!(
        refusal(&fixture, transfer(&platform, &alice, 1)).await,
        not_found(0)
    );
    fixture.verify().await;
}

/// Money that is not there cannot be spent, down to the wallet's floor.
#[tokio::test]
async fn funds_are_insufficient() {
    let fixture = Fixture::start().await;
    let alice = fixture.funded("EUR", 100).await;
    let bob = fixture.open(UserId::generate(), "EUR").await;
    let insufficient = |leg| (RejectionReason::InsufficientFunds, leg);
    assert_eq!(
        refusal(&fixture, transfer(&alice, &bob, 101)).await,
        insufficient(0)
    );
    let legs = vec![leg(&bob, 101), leg_in(Bucket::Spendable, &alice, -101)];
    let spend = posting(PostingKind::Adjustment, legs);
    assert_eq!(refusal(&fixture, spend).await, insufficient(1));
    sqlx::query("UPDATE wallets SET min_available = -50 WHERE id = $1")
        .bind(uuid_of(&alice.wallet_id))
        .execute(&fixture.database.owner)
        .await
        .expect("the owner may give credit");
    applied(&fixture.ledger().post_one(transfer(&alice, &bob, 150)).await);
    assert_eq!(
        refusal(&fixture, transfer(&alice, &bob, 1)).await,
        insufficient(0)
    );
    assert_eq!(fixture.balance(&alice).await.available_minor, -50);
    fixture.verify().await;
}

/// A leg in another currency than its wallet's is refused.
#[tokio::test]
async fn currencies_do_not_mix() {
    let fixture = Fixture::start().await;
    let euros = fixture.funded("EUR", 100).await;
    let dollars = fixture.open(UserId::generate(), "USD").await;
    let mismatch = |leg| (RejectionReason::CurrencyMismatch, leg);
    let mut as_euros = transfer(&euros, &dollars, 1);
    as_euros.legs[1].currency_code = "EUR".to_owned();
    assert_eq!(refusal(&fixture, as_euros).await, mismatch(1));
    let mut platform = deposit(&euros, 1);
    platform.legs[0]
        .system
        .as_mut()
        .expect("a system leg")
        .currency_code = "USD".to_owned();
    assert_eq!(refusal(&fixture, platform).await, mismatch(0));
    fixture.verify().await;
}

/// A frozen wallet takes money and gives none; a closed one does neither.
#[tokio::test]
async fn status_is_obeyed() {
    let fixture = Fixture::start().await;
    let alice = fixture.funded("EUR", 100).await;
    let bob = fixture.funded("EUR", 100).await;
    fixture.set_status(&alice, "frozen").await;
    let out = || transfer(&alice, &bob, 1);
    let into = || transfer(&bob, &alice, 1);
    assert_eq!(
        refusal(&fixture, out()).await,
        (RejectionReason::WalletFrozen, 0)
    );
    applied(&fixture.ledger().post_one(into()).await);
    fixture.set_status(&alice, "closed").await;
    assert_eq!(
        refusal(&fixture, out()).await,
        (RejectionReason::WalletClosed, 0)
    );
    assert_eq!(
        refusal(&fixture, into()).await,
        (RejectionReason::WalletClosed, 1)
    );
    fixture.set_status(&alice, "active").await;
    applied(&fixture.ledger().post_one(out()).await);
    fixture.verify().await;
}

/// Legs that do not sum to zero in each currency are refused.
#[tokio::test]
async fn unbalanced_legs_are_refused() {
    let fixture = Fixture::start().await;
    let alice = fixture.funded("EUR", 100).await;
    let bob = fixture.open(UserId::generate(), "USD").await;
    let unbalanced = (RejectionReason::Unbalanced, -1);
    let mut short = deposit(&alice, 5);
    short.legs[1].amount_minor = 6;
    assert_eq!(refusal(&fixture, short).await, unbalanced);
    assert_eq!(
        refusal(&fixture, transfer(&alice, &bob, 5)).await,
        unbalanced
    );
    fixture.verify().await;
}

/// Balances stay within 64 bits.
#[tokio::test]
async fn balances_do_not_overflow() {
    let fixture = Fixture::start().await;
    let rich = fixture.open(UserId::generate(), "EUR").await;
    let most = 1_000_000_000_000_000;
    // 9,216 times the greatest amount is the most that fits: 288 postings of 32.
    let legs = |count: usize| {
        let mut legs = vec![settlement("EUR", -most); count];
        legs.extend(vec![leg(&rich, most); count]);
        posting(PostingKind::Deposit, legs)
    };
    let postings = (0..576).map(|_| legs(16)).collect();
    let results = fixture
        .ledger()
        .post(postings, BatchMode::Independent)
        .await;
    let full = results.iter().position(|result| {
        matches!(
            &result.outcome,
            Some(bursar_contracts::wallet::v1::posting_result::Outcome::Rejected(_))
        )
    });
    assert_eq!(full, None);
    let over = refusal(&fixture, legs(16)).await;
    assert_eq!(over, (RejectionReason::BalanceOverflow, 7));
    let balance = fixture.balance(&rich).await.available_minor;
    assert_eq!(balance, 9_216 * most);
    fixture.verify().await;
}

//! Wallets as GetWallet shows them, through the cache.

use std::time::{Duration, Instant};

use bursar_aip::id::UserId;
use bursar_contracts::wallet::v1::wallet_service_client::WalletServiceClient;
use bursar_contracts::wallet::v1::{FreezeWalletRequest, GetWalletRequest, Wallet, WalletStatus};
use bursar_testkit::{ClaimedPort, TestService, redis_url, with_token};
use tonic::transport::Channel;

use crate::support::{Fixture, applied, deposit};

/// How long memory shows what it has, and some patience.
const SOON: Duration = Duration::from_secs(10);

async fn shown(
    mut client: WalletServiceClient<Channel>,
    token: &str,
    wallet: &Wallet,
    min_version: i64,
) -> Wallet {
    let request = GetWalletRequest {
        wallet_id: wallet.wallet_id.clone(),
        min_version,
    };
    let response = client.get_wallet(with_token(request, token)).await;
    let wallet = response.expect("it is shown").into_inner().wallet;
    wallet.expect("a wallet is answered")
}

fn available(wallet: &Wallet) -> i64 {
    wallet.balance.expect("it has a balance").available_minor
}

/// A fixture with a second instance of the service on the same database.
async fn two_instances(redis: &str) -> (Fixture, TestService) {
    let overrides = [("BURSAR_REDIS_CACHE_URL", redis)];
    let fixture = Fixture::start_with(&overrides).await;
    let second = TestService::start(
        bursar_wallet::definition(),
        &fixture.database,
        &fixture.tokens,
        &overrides,
    )
    .await;
    (fixture, second)
}

/// Whoever was answered by an instance reads the effect there at once, however
/// often the wallet was read before; another instance follows by itself, and at
/// once for who names the version.
#[tokio::test]
async fn writes_are_read() {
    let (fixture, second) = two_instances(&redis_url()).await;
    let token = fixture.tokens.admin(UserId::generate());
    let wallet = fixture.open(UserId::generate(), "EUR").await;
    let other = || WalletServiceClient::new(second.channel());
    let mut ledger = fixture.ledger();
    for count in 1..=30 {
        // Both have it in memory before it changes.
        shown(fixture.wallets(), &token, &wallet, 0).await;
        shown(other(), &token, &wallet, 0).await;
        applied(&ledger.post_one(deposit(&wallet, 5)).await);
        let own = shown(fixture.wallets(), &token, &wallet, 0).await;
        assert_eq!((own.version, available(&own)), (count, 5 * count));
        let demanded = shown(other(), &token, &wallet, count).await;
        assert_eq!((demanded.version, available(&demanded)), (count, 5 * count));
    }
    applied(&ledger.post_one(deposit(&wallet, 5)).await);
    let patience = Instant::now() + SOON;
    while shown(other(), &token, &wallet, 0).await.version < 31 {
        assert!(
            Instant::now() < patience,
            "the other instance never follows"
        );
    }
}

/// A change that is no posting is shown at once, too.
#[tokio::test]
async fn a_frozen_wallet_is_shown_frozen() {
    let (fixture, second) = two_instances(&redis_url()).await;
    let token = fixture.tokens.admin(UserId::generate());
    let wallet = fixture.open(UserId::generate(), "EUR").await;
    shown(fixture.wallets(), &token, &wallet, 0).await;
    let freeze = FreezeWalletRequest {
        wallet_id: wallet.wallet_id.clone(),
        reason: "a test".to_owned(),
    };
    fixture
        .wallets()
        .freeze_wallet(with_token(freeze, &token))
        .await
        .expect("it is frozen");
    let own = shown(fixture.wallets(), &token, &wallet, 0).await;
    assert_eq!(own.status(), WalletStatus::Frozen);
    let patience = Instant::now() + SOON;
    let other = || WalletServiceClient::new(second.channel());
    while shown(other(), &token, &wallet, 0).await.status() != WalletStatus::Frozen {
        assert!(
            Instant::now() < patience,
            "the other instance never follows"
        );
    }
}

/// Without its Redis the service shows the same, and no call waits for it long.
#[tokio::test]
async fn wallets_are_shown_without_redis() {
    let nobody = ClaimedPort::claim();
    let address = nobody.address();
    let (fixture, _second) = two_instances(&format!("redis://{address}")).await;
    let token = fixture.tokens.admin(UserId::generate());
    let wallet = fixture.open(UserId::generate(), "EUR").await;
    let mut ledger = fixture.ledger();
    for count in 1..=10 {
        shown(fixture.wallets(), &token, &wallet, 0).await;
        applied(&ledger.post_one(deposit(&wallet, 1)).await);
        let own = shown(fixture.wallets(), &token, &wallet, 0).await;
        assert_eq!(available(&own), count);
    }
}

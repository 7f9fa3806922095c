//! Lost answers, crashes and two replicas, with the sandbox provider.

use bursar_aip::id::UserId;
use bursar_contracts::wallet::v1::{ProviderAccountFailure, ProviderAccountStatus};
use bursar_testkit::TestService;
use bursar_wallet::domain::provider_account::ProviderName;
use bursar_wallet::jobs::provider_accounts as job;
use tokio_util::sync::CancellationToken;

use super::stage::{
    KEY, SandboxHouse, asked, create, desk, events, get, let_time_pass, recorded, requests, settled,
};
use crate::support::{Fixture, eventually, uuid_of};

/// An answer that is lost is asked for: the account that was opened is found,
/// and nothing is sent twice.
#[tokio::test]
async fn a_lost_answer_is_found() {
    let house = SandboxHouse::start().await;
    let fixture = Fixture::start_with(&house.settings()).await;
    let user = UserId::generate();
    let wallet = fixture.open(user, "EUR").await;
    house.fault("account", "lost_response", 0).await;
    house.fault("status", "error_500", 0).await;
    let account = create(&fixture, user, asked(&wallet)).await.expect("taken");
    let account = settled(&fixture, user, &account.provider_account_id).await;
    assert_eq!(account.status(), ProviderAccountStatus::Active);
    assert_eq!(house.accounts().await, 1);
    assert_eq!(requests(&fixture, &account.provider_account_id).await, 1);
    fixture.verify().await;
}

/// A request that never arrived is sent again, but not before the provider's
/// window is over.
#[tokio::test]
async fn a_lost_request_is_sent_again_after_the_window() {
    let house = SandboxHouse::start().await;
    let fixture = Fixture::start_with(&house.settings()).await;
    let user = UserId::generate();
    let wallet = fixture.open(user, "EUR").await;
    house.fault("account", "connection_reset", 0).await;
    let account = create(&fixture, user, asked(&wallet)).await.expect("taken");
    let id = account.provider_account_id;
    eventually("the provider was asked about it", async || {
        super::stage::row(&fixture, &id).await["attempts"].as_i64() >= Some(2)
    })
    .await;
    assert_eq!(requests(&fixture, &id).await, 1, "the window is open");
    let pending = get(&fixture, user, &id).await.expect("there");
    assert_eq!(pending.status(), ProviderAccountStatus::Pending);
    eventually("it is settled after the window", async || {
        let_time_pass(&fixture, &id).await;
        let account = get(&fixture, user, &id).await.expect("there");
        account.status() == ProviderAccountStatus::Active
    })
    .await;
    assert_eq!(house.accounts().await, 1);
    assert_eq!(requests(&fixture, &id).await, 2);
}

/// A job that ends between the provider's act and its own commit leaves a
/// pending row, from which the next job finds the one account.
#[tokio::test]
async fn a_crash_before_the_commit_is_recovered() {
    let house = SandboxHouse::start().await;
    let fixture = Fixture::start().await;
    let user = UserId::generate();
    let wallet = fixture.open(user, "EUR").await;
    let id = recorded(&fixture, &wallet, ProviderName::Sandbox, "0803").await;
    let id = id.to_string();
    house.fault("account", "slow", 60_000).await;
    let crashing = tokio::spawn(job::run(
        desk(&fixture, house.client()),
        CancellationToken::new(),
    ));
    eventually("the provider has opened it", async || {
        house.accounts().await == 1
    })
    .await;
    crashing.abort();
    assert!(crashing.await.expect_err("aborted").is_cancelled());
    assert_eq!(requests(&fixture, &id).await, 1);
    let_time_pass(&fixture, &id).await;
    let definition = bursar_wallet::definition();
    let settings = house.settings();
    let mut fixture = fixture;
    fixture.service =
        TestService::start(definition, &fixture.database, &fixture.tokens, &settings).await;
    let account = settled(&fixture, user, &id).await;
    assert_eq!(account.status(), ProviderAccountStatus::Active);
    assert_eq!(house.accounts().await, 1);
    assert_eq!(requests(&fixture, &id).await, 1);
    fixture.verify().await;
}

/// A run that was overtaken while the provider answered records nothing: the
/// epoch that it is bound to has passed.
#[tokio::test]
async fn an_overtaken_run_records_nothing() {
    let house = SandboxHouse::start().await;
    let fixture = Fixture::start_with(&[("BURSAR_KEY_ENCRYPTION_KEY", KEY)]).await;
    let user = UserId::generate();
    let wallet = fixture.open(user, "EUR").await;
    let id = recorded(&fixture, &wallet, ProviderName::Sandbox, "0803").await;
    let id = id.to_string();
    house.fault("account", "slow", 1_500).await;
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(job::run(desk(&fixture, house.client()), shutdown.clone()));
    eventually("the provider has opened it", async || {
        house.accounts().await == 1
    })
    .await;
    // Another run takes it over, and will hold it for a while.
    let taken = sqlx::query(
        "UPDATE provider_accounts
         SET lease_epoch = lease_epoch + 1, next_check_at = clock_timestamp() + interval '1 hour',
             lease_until = clock_timestamp() + interval '1 hour'
         WHERE id = $1 AND status = 'pending'",
    )
    .bind(uuid_of(&id))
    .execute(&fixture.database.owner)
    .await
    .expect("the owner may change it");
    assert_eq!(taken.rows_affected(), 1);
    shutdown.cancel();
    running.await.expect("no panic").expect("it ends");
    let account = get(&fixture, user, &id).await.expect("there");
    assert_eq!(account.status(), ProviderAccountStatus::Pending);
    assert_eq!(events(&fixture, &wallet).await, ["wallet.created"]);
}

/// A provider that cannot be reached is tried again, nothing counts as sent, and
/// in the end it is given up.
#[tokio::test]
async fn an_unreachable_provider_is_given_up() {
    let house = SandboxHouse::start().await;
    let mut settings = house.settings();
    // Nothing listens on the port 1.
    settings[2].1 = "http://127.0.0.1:1";
    let fixture = Fixture::start_with(&settings).await;
    let user = UserId::generate();
    let wallet = fixture.open(user, "EUR").await;
    let account = create(&fixture, user, asked(&wallet)).await.expect("taken");
    let id = account.provider_account_id;
    eventually("it was tried twice", async || {
        super::stage::row(&fixture, &id).await["attempts"].as_i64() >= Some(2)
    })
    .await;
    eventually("nothing counts as sent", async || {
        requests(&fixture, &id).await == 0
    })
    .await;
    sqlx::query("UPDATE provider_accounts SET created_at = created_at - interval '8 days'")
        .execute(&fixture.database.owner)
        .await
        .expect("the owner may change it");
    let account = settled(&fixture, user, &id).await;
    assert_eq!(account.status(), ProviderAccountStatus::Failed);
    assert_eq!(
        account.failure(),
        ProviderAccountFailure::ProviderUnavailable
    );
    fixture.verify().await;
}

//! Which settings the service starts with.

use bursar_aip::id::UserId;
use bursar_testkit::{TestDatabase, TestService, Tokens};
use tonic::Code;

use super::stage::{API_KEY, KEY, SandboxHouse, asked, create, get, settled};
use crate::support::{Fixture, reason};

/// Without a provider accounts are refused with a reason.
#[tokio::test]
async fn without_a_provider_accounts_are_refused() {
    let fixture = Fixture::start().await;
    let user = UserId::generate();
    let wallet = fixture.open(user, "EUR").await;
    let refused = create(&fixture, user, asked(&wallet)).await;
    let refused = refused.expect_err("nobody opens one");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(reason(&refused), "PROVIDER_ACCOUNTS_DISABLED");
}

/// Accounts that were opened can be read without the provider, and not without
/// the key.
#[tokio::test]
async fn opened_accounts_need_the_key_only() {
    let house = SandboxHouse::start().await;
    let mut fixture = Fixture::start_with(&house.settings()).await;
    let user = UserId::generate();
    let wallet = fixture.open(user, "EUR").await;
    let account = create(&fixture, user, asked(&wallet)).await.expect("taken");
    let account = settled(&fixture, user, &account.provider_account_id).await;
    for (settings, expected) in [
        (
            vec![("BURSAR_KEY_ENCRYPTION_KEY", KEY)],
            Ok(account.clone()),
        ),
        (vec![], Err("PROVIDER_ACCOUNTS_DISABLED".to_owned())),
    ] {
        let definition = bursar_wallet::definition();
        fixture.service =
            TestService::start(definition, &fixture.database, &fixture.tokens, &settings).await;
        let read = get(&fixture, user, &account.provider_account_id).await;
        assert_eq!(read.map_err(|status| reason(&status)), expected);
    }
}

/// Settings that are incomplete or unsafe are refused at the start, by name.
#[tokio::test]
async fn wrong_settings_are_refused() {
    let database = TestDatabase::create(&bursar_wallet::migrations()).await;
    let tokens = Tokens::start().await;
    let sandbox = ("BURSAR_PROVIDER_ACCOUNTS", "sandbox");
    let providus = ("BURSAR_PROVIDER_ACCOUNTS", "providus");
    let key = ("BURSAR_KEY_ENCRYPTION_KEY", KEY);
    let url = ("BURSAR_PROVIDUS_URL", "http://127.0.0.1:1");
    let email = ("BURSAR_PROVIDUS_EMAIL", "merchant@example.com");
    let password = ("BURSAR_PROVIDUS_PASSWORD", "open sesame");
    let production = ("BURSAR_ENVIRONMENT", "production");
    let signing = ("BURSAR_LEDGER_SIGNING_KEY", KEY);
    let client = ("BURSAR_SERVICE_CLIENT_SECRET", "a client secret of its own");
    for (settings, named) in [
        (vec![("BURSAR_PROVIDER_ACCOUNTS", "bank"), key], "bank"),
        (vec![sandbox], "BURSAR_KEY_ENCRYPTION_KEY"),
        (
            vec![("BURSAR_KEY_ENCRYPTION_KEY", "short")],
            "BURSAR_KEY_ENCRYPTION_KEY",
        ),
        (vec![sandbox, key], "BURSAR_SANDBOX_API_KEY"),
        (
            vec![sandbox, key, ("BURSAR_SANDBOX_API_KEY", API_KEY)],
            "BURSAR_SANDBOX_URL",
        ),
        (vec![providus, key], "BURSAR_PROVIDUS_URL"),
        (vec![providus, key, url, password], "BURSAR_PROVIDUS_EMAIL"),
        (vec![providus, key, url, email], "BURSAR_PROVIDUS_PASSWORD"),
        (
            vec![
                providus, key, url, email, password, production, client, signing,
            ],
            "https",
        ),
        (
            vec![
                sandbox,
                key,
                ("BURSAR_SANDBOX_API_KEY", API_KEY),
                ("BURSAR_SANDBOX_URL", "ftp://nowhere"),
            ],
            "BURSAR_SANDBOX_URL",
        ),
    ] {
        let definition = bursar_wallet::definition();
        let started = TestService::try_start(definition, &database, &tokens, &settings).await;
        let error = match started {
            Ok(_) => panic!("started with {settings:?}"),
            Err(error) => format!("{error:#}"),
        };
        assert!(error.contains(named), "{settings:?}: {error}");
        assert!(!error.contains("open sesame") && !error.contains(API_KEY));
    }
}

//! CreateWallet, GetWallet, ListWallets, BatchGetWallets.

use bursar_aip::id::{UserId, WalletId};
use bursar_contracts::wallet::v1::{
    BatchGetWalletsRequest, CreateWalletRequest, GetWalletRequest, ListWalletsRequest, Wallet,
    WalletStatus,
};
use bursar_testkit::with_token;
use tonic::{Code, Request};

use crate::support::{Fixture, reason};

fn create(currency: &str) -> CreateWalletRequest {
    CreateWalletRequest {
        currency_code: currency.to_owned(),
    }
}

fn get(wallet: &Wallet) -> GetWalletRequest {
    GetWalletRequest {
        wallet_id: wallet.wallet_id.clone(),
        ..GetWalletRequest::default()
    }
}

fn keyed(request: CreateWalletRequest, token: &str, key: &str) -> Request<CreateWalletRequest> {
    let mut request = with_token(request, token);
    let value = key.parse().expect("a key is visible ASCII");
    request.metadata_mut().insert("idempotency-key", value);
    request
}

/// A new wallet is empty, active and its creator's; its event says so.
#[tokio::test]
async fn a_new_wallet_is_empty() {
    let fixture = Fixture::start().await;
    let user = UserId::generate();
    let wallet = fixture.open(user, "JPY").await;
    assert_eq!(wallet.owner_user_id, user.to_string());
    assert_eq!(wallet.currency_code, "JPY");
    assert_eq!(wallet.status(), WalletStatus::Active);
    assert_eq!(wallet.balance, Some(Default::default()));
    assert_eq!(wallet.version, 0);
    let found = fixture
        .wallets()
        .get_wallet(with_token(get(&wallet), &fixture.tokens.user(user)))
        .await
        .expect("the owner sees it")
        .into_inner()
        .wallet;
    assert_eq!(found, Some(wallet.clone()));
    let (kind, subject, version, actor): (String, String, i64, String) =
        sqlx::query_as("SELECT kind, subject, version, actor FROM event_log")
            .fetch_one(&fixture.database.pool)
            .await
            .expect("one event");
    assert_eq!(kind, "wallet.created");
    assert_eq!((subject, version), (wallet.wallet_id, 1));
    assert_eq!(actor, user.to_string());
    fixture.verify().await;
}

/// Codes that name no currency are refused with the field named.
#[tokio::test]
async fn an_unknown_currency_is_refused() {
    let fixture = Fixture::start().await;
    let token = fixture.tokens.user(UserId::generate());
    let mut client = fixture.wallets();
    let unknown = client
        .create_wallet(with_token(create("ZZZ"), &token))
        .await;
    let unknown = unknown.expect_err("not a currency");
    assert_eq!(unknown.code(), Code::InvalidArgument);
    assert_eq!(reason(&unknown), "CURRENCY_UNSUPPORTED");
    let malformed = client
        .create_wallet(with_token(create("eur"), &token))
        .await;
    let malformed = malformed.expect_err("not a code");
    assert_eq!(malformed.code(), Code::InvalidArgument);
    assert_eq!(reason(&malformed), "INVALID_FIELD");
}

/// A key opens one wallet, however often and however concurrently it is used.
#[tokio::test]
async fn a_key_opens_one_wallet() {
    let fixture = Fixture::start().await;
    let token = fixture.tokens.user(UserId::generate());
    let calls = (0..20).map(|_| {
        let (mut client, token) = (fixture.wallets(), token.clone());
        tokio::spawn(async move {
            client
                .create_wallet(keyed(create("EUR"), &token, "k1"))
                .await
        })
    });
    let mut ids = Vec::new();
    let mut replays = 0;
    for call in calls.collect::<Vec<_>>() {
        let response = call.await.expect("no panic").expect("answered");
        replays += usize::from(response.metadata().contains_key("idempotency-replayed"));
        ids.push(response.into_inner().wallet.expect("a wallet").wallet_id);
    }
    ids.dedup();
    assert_eq!((ids.len(), replays), (1, 19));
    let other = fixture
        .wallets()
        .create_wallet(keyed(create("USD"), &token, "k1"))
        .await
        .expect_err("another body");
    assert_eq!(other.code(), Code::AlreadyExists);
    assert_eq!(reason(&other), "IDEMPOTENCY_KEY_REUSED");
    let stranger = fixture.tokens.user(UserId::generate());
    let own = fixture
        .wallets()
        .create_wallet(keyed(create("USD"), &stranger, "k1"))
        .await
        .expect("another principal's key is another key");
    assert!(!ids.contains(&own.into_inner().wallet.expect("a wallet").wallet_id));
}

/// A user owns several wallets of one currency, but never more than the limit,
/// not even when asking for many at once; the refusal is replayed with its key.
#[tokio::test]
async fn wallets_are_limited_per_user() {
    let fixture = Fixture::start_with(&[("BURSAR_MAX_WALLETS_PER_USER", "3")]).await;
    let user = UserId::generate();
    let token = fixture.tokens.user(user);
    let calls = (0..12).map(|_| {
        let (mut client, token) = (fixture.wallets(), token.clone());
        tokio::spawn(async move {
            client
                .create_wallet(with_token(create("EUR"), &token))
                .await
        })
    });
    let mut opened = 0;
    for call in calls.collect::<Vec<_>>() {
        match call.await.expect("no panic") {
            Ok(_) => opened += 1,
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted);
                assert_eq!(reason(&status), "WALLET_LIMIT_REACHED");
            }
        }
    }
    assert_eq!(opened, 3);
    for is_replay in [false, true] {
        let refused = fixture
            .wallets()
            .create_wallet(keyed(create("EUR"), &token, "full"))
            .await;
        let refused = refused.expect_err("too many");
        assert_eq!(reason(&refused), "WALLET_LIMIT_REACHED");
        assert_eq!(
            refused.metadata().contains_key("idempotency-replayed"),
            is_replay
        );
    }
    fixture.open(UserId::generate(), "EUR").await;
}

/// Nobody sees another user's wallet; an operator sees everybody's.
#[tokio::test]
async fn wallets_are_their_owners() {
    let fixture = Fixture::start().await;
    let wallet = fixture.open(UserId::generate(), "EUR").await;
    let stranger = fixture.tokens.user(UserId::generate());
    let admin = fixture.tokens.admin(UserId::generate());
    let mut client = fixture.wallets();
    let hidden = client.get_wallet(with_token(get(&wallet), &stranger)).await;
    let hidden = hidden.expect_err("not theirs");
    let absent = Wallet {
        wallet_id: WalletId::generate().to_string(),
        ..wallet.clone()
    };
    let missing = client.get_wallet(with_token(get(&absent), &stranger)).await;
    let missing = missing.expect_err("no such wallet");
    assert_eq!(hidden.code(), Code::NotFound);
    assert_eq!(reason(&hidden), "WALLET_NOT_FOUND");
    assert_eq!(hidden.message(), missing.message());
    assert_eq!(hidden.details(), missing.details());
    let seen = client
        .get_wallet(with_token(get(&wallet), &admin))
        .await
        .expect("any");
    assert_eq!(seen.into_inner().wallet, Some(wallet.clone()));
    let mut claims = bursar_testkit::Tokens::user_claims(UserId::generate());
    claims.sub = wallet.owner_user_id.clone();
    claims.tenant = "acme".to_owned();
    let foreign = fixture.tokens.mint(claims);
    let hidden = client.get_wallet(with_token(get(&wallet), &foreign)).await;
    assert_eq!(hidden.expect_err("another tenant").code(), Code::NotFound);
}

/// Pages show all of a user's wallets once, oldest first, and nobody else's;
/// a token fits its own list only.
#[tokio::test]
async fn wallets_are_listed_in_pages() {
    let fixture = Fixture::start().await;
    let user = UserId::generate();
    let token = fixture.tokens.user(user);
    let mut opened = Vec::new();
    for currency in ["EUR", "USD", "EUR", "JPY", "EUR"] {
        opened.push(fixture.open(user, currency).await);
        fixture.open(UserId::generate(), currency).await;
    }
    let mut client = fixture.wallets();
    let mut listed = Vec::new();
    let mut page_token = String::new();
    let mut pages = 0;
    loop {
        let request = ListWalletsRequest {
            page_size: 2,
            page_token,
        };
        let page = client
            .list_wallets(with_token(request, &token))
            .await
            .expect("a page");
        let page = page.into_inner();
        listed.extend(page.wallets);
        pages += 1;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!((pages, listed), (3, opened));
    let first = ListWalletsRequest {
        page_size: 2,
        page_token: String::new(),
    };
    let page = client
        .list_wallets(with_token(first, &token))
        .await
        .expect("a page");
    let theirs = page.into_inner().next_page_token;
    let stranger = fixture.tokens.user(UserId::generate());
    for bad in [theirs, "garbage".to_owned()] {
        let request = ListWalletsRequest {
            page_size: 2,
            page_token: bad,
        };
        let refused = client.list_wallets(with_token(request, &stranger)).await;
        let refused = refused.expect_err("not a token of this list");
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(reason(&refused), "PAGE_TOKEN_INVALID");
    }
    let negative = ListWalletsRequest {
        page_size: -1,
        page_token: String::new(),
    };
    let refused = client.list_wallets(with_token(negative, &token)).await;
    assert_eq!(refused.expect_err("negative").code(), Code::InvalidArgument);
}

/// Services read any wallets by id, in the order asked for; users may not.
#[tokio::test]
async fn services_read_wallets_in_order() {
    let fixture = Fixture::start().await;
    let user = UserId::generate();
    let first = fixture.open(user, "EUR").await;
    let second = fixture.open(UserId::generate(), "USD").await;
    let request = BatchGetWalletsRequest {
        wallet_ids: vec![
            second.wallet_id.clone(),
            WalletId::generate().to_string(),
            first.wallet_id.clone(),
        ],
    };
    let mut ledger = fixture.ledger();
    let found = ledger
        .client
        .batch_get_wallets(with_token(request.clone(), &ledger.token))
        .await
        .expect("read");
    assert_eq!(found.into_inner().wallets, vec![second, first]);
    for token in [fixture.tokens.user(user), fixture.tokens.admin(user)] {
        let refused = ledger
            .client
            .batch_get_wallets(with_token(request.clone(), &token))
            .await;
        let refused = refused.expect_err("internal");
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert_eq!(reason(&refused), "PERMISSION_DENIED");
    }
}

/// Without a token nothing is answered.
#[tokio::test]
async fn calls_need_a_token() {
    let fixture = Fixture::start().await;
    let refused = fixture.wallets().create_wallet(create("EUR")).await;
    assert_eq!(refused.expect_err("no token").code(), Code::Unauthenticated);
    let service = fixture.tokens.service("transaction");
    let refused = fixture
        .wallets()
        .create_wallet(with_token(create("EUR"), &service))
        .await;
    assert_eq!(
        refused.expect_err("not a user").code(),
        Code::PermissionDenied
    );
}

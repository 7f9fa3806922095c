//! Wallets that are opened many at once.

use std::collections::{HashMap, HashSet};

use bursar_aip::id::UserId;
use bursar_contracts::wallet::v1::wallet_service_client::WalletServiceClient;
use bursar_contracts::wallet::v1::{CreateWalletRequest, CreateWalletResponse};
use bursar_testkit::{TestService, with_token};
use futures::future::join_all;
use sqlx::Executor;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use crate::support::Fixture;

fn request(currency: &str, token: &str, key: Option<&str>) -> Request<CreateWalletRequest> {
    let message = CreateWalletRequest {
        currency_code: currency.to_owned(),
    };
    let mut request = with_token(message, token);
    if let Some(key) = key {
        let value = key.parse().expect("a key is visible ASCII");
        request.metadata_mut().insert("idempotency-key", value);
    }
    request
}

async fn open(
    mut client: WalletServiceClient<Channel>,
    request: Request<CreateWalletRequest>,
) -> Result<Response<CreateWalletResponse>, Status> {
    client.create_wallet(request).await
}

fn wallet_id(response: &Response<CreateWalletResponse>) -> String {
    let wallet = response.get_ref().wallet.as_ref();
    wallet.expect("a wallet is answered").wallet_id.clone()
}

async fn count(fixture: &Fixture, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql)
        .fetch_one(&fixture.database.pool)
        .await
        .expect("rows are counted")
}

/// Many users ask two replicas at once, each key several times: every key opens
/// one wallet and gives one answer, and no user gets more than the limit.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_is_served_as_one_by_one() {
    const USERS: usize = 6;
    const KEYS: usize = 8;
    const TIMES: usize = 2;
    const LIMIT: usize = 5;
    let limit = LIMIT.to_string();
    let overrides = [("BURSAR_MAX_WALLETS_PER_USER", limit.as_str())];
    let fixture = Fixture::start_with(&overrides).await;
    let second = TestService::start(
        bursar_wallet::definition(),
        &fixture.database,
        &fixture.tokens,
        &overrides,
    )
    .await;
    let clients = [
        fixture.wallets(),
        WalletServiceClient::new(second.channel()),
    ];
    let tokens: Vec<String> = (0..USERS)
        .map(|_| fixture.tokens.user(UserId::generate()))
        .collect();
    let calls = (0..USERS * KEYS * TIMES).map(|number| {
        let (user, key) = (number % USERS, number / USERS % KEYS);
        let client = clients[number % clients.len()].clone();
        let request = request("EUR", &tokens[user], Some(&format!("key-{key}")));
        async move { ((user, key), open(client, request).await) }
    });
    let mut answers: HashMap<(usize, usize), HashSet<Option<String>>> = HashMap::new();
    for (place, answer) in join_all(calls).await {
        let opened = match answer {
            Ok(response) => Some(wallet_id(&response)),
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
                None
            }
        };
        answers.entry(place).or_default().insert(opened);
    }
    assert_eq!(answers.len(), USERS * KEYS);
    for user in 0..USERS {
        let of_user = (0..KEYS).map(|key| &answers[&(user, key)]);
        assert!(
            of_user.clone().all(|answer| answer.len() == 1),
            "{answers:?}"
        );
        let opened: HashSet<&String> = of_user.flatten().flatten().collect();
        assert_eq!(opened.len(), LIMIT, "of user {user}");
    }
    let wallets = count(&fixture, "SELECT count(*) FROM wallets").await;
    assert_eq!(wallets, i64::try_from(USERS * LIMIT).expect("small"));
    second.stop().await;
    fixture.verify().await;
}

/// A wallet that the database refuses fails alone: those that were asked for
/// together with it are opened.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_wallet_fails_alone() {
    let fixture = Fixture::start().await;
    fixture
        .database
        .owner
        .execute(
            "CREATE FUNCTION refuse_francs() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 IF NEW.currency = 'CHF' THEN RAISE EXCEPTION 'no francs'; END IF;
                 RETURN NEW;
             END $$;
             CREATE TRIGGER refuse_francs BEFORE INSERT ON wallets
                 FOR EACH ROW EXECUTE FUNCTION refuse_francs();",
        )
        .await
        .expect("the owner may");
    let calls = (0..20).map(|number| {
        let currency = if number % 5 == 0 { "CHF" } else { "EUR" };
        let token = fixture.tokens.user(UserId::generate());
        let key = (number % 2 == 0).then_some("the-key");
        let request = request(currency, &token, key);
        let client = fixture.wallets();
        async move { (currency, open(client, request).await) }
    });
    for (currency, answer) in join_all(calls).await {
        match answer {
            Ok(_) => assert_eq!(currency, "EUR"),
            Err(status) => {
                assert_eq!(
                    (currency, status.code()),
                    ("CHF", Code::Internal),
                    "{status:?}"
                );
            }
        }
    }
    assert_eq!(count(&fixture, "SELECT count(*) FROM wallets").await, 16);
    // What failed was not recorded as an answer.
    let keys = count(&fixture, "SELECT count(*) FROM idempotency_keys").await;
    assert_eq!(keys, 8);
    fixture.verify().await;
}

//! Watching an account, with events that are published and read by real relays.

use std::time::Duration;

use bursar_contracts::transaction::v1::watch_service_client::WatchServiceClient;
use bursar_contracts::transaction::v1::{WatchAccountRequest, WatchAccountResponse};
use bursar_contracts::wallet::v1::Bucket;
use bursar_testkit::{TestService, Tokens, redis_url, with_token};
use tonic::{Code, Status, Streaming};

use crate::support::Mesh;
use crate::support::calls::{refusal, transfer};
use crate::support::person::Person;

/// How long a message may take that is on its way.
const PATIENCE: Duration = Duration::from_secs(30);

/// A mesh whose events are published.
struct Live {
    /// Publishes wallet's events.
    _wallet: TestService,
    mesh: Mesh,
}

impl Live {
    async fn start() -> Self {
        let redis = redis_url();
        let publishing = [("BURSAR_REDIS_EVENTS_URL", redis.as_str())];
        let mesh = Mesh::start_with(&publishing).await;
        let wallet = TestService::start(
            bursar_wallet::definition(),
            &mesh.wallet_database,
            &mesh.tokens,
            &publishing,
        )
        .await;
        Self {
            _wallet: wallet,
            mesh,
        }
    }
}

async fn open(
    service: &TestService,
    token: &str,
    cursor: &str,
) -> Result<Streaming<WatchAccountResponse>, Status> {
    let request = WatchAccountRequest {
        cursor: cursor.to_owned(),
    };
    let response = WatchServiceClient::new(service.channel())
        .watch_account(with_token(request, token))
        .await?;
    Ok(response.into_inner())
}

async fn next(watch: &mut Streaming<WatchAccountResponse>) -> WatchAccountResponse {
    tokio::time::timeout(PATIENCE, watch.message())
        .await
        .expect("something is told in time")
        .expect("the watch goes on")
        .expect("the watch has not ended")
}

/// How a watch ends.
async fn end(watch: &mut Streaming<WatchAccountResponse>) -> Status {
    tokio::time::timeout(PATIENCE, async {
        loop {
            match watch.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a watch ends with a status"),
                Err(status) => return status,
            }
        }
    })
    .await
    .expect("it ends in time")
}

/// The messages until a transaction's event of this kind, that one included.
async fn until_event(
    watch: &mut Streaming<WatchAccountResponse>,
    id: &str,
    kind: &str,
) -> Vec<WatchAccountResponse> {
    let mut told = Vec::new();
    loop {
        let message = next(watch).await;
        let is_last = events(std::slice::from_ref(&message)) == [(id.to_owned(), kind.to_owned())];
        told.push(message);
        if is_last {
            return told;
        }
    }
}

/// The events of transactions in messages, as id and kind.
fn events(told: &[WatchAccountResponse]) -> Vec<(String, String)> {
    let changed = told
        .iter()
        .filter_map(|message| message.transaction.as_ref());
    changed
        .filter(|watched| !watched.event.is_empty())
        .map(|watched| {
            let transaction = watched.transaction.as_ref().expect("it is told");
            (transaction.transaction_id.clone(), watched.event.clone())
        })
        .collect()
}

/// The messages about what was there: everything up to the first sign of life.
async fn current(watch: &mut Streaming<WatchAccountResponse>) -> Vec<WatchAccountResponse> {
    let mut told = Vec::new();
    loop {
        let message = next(watch).await;
        if message.heartbeat.is_some() {
            return told;
        }
        told.push(message);
    }
}

async fn pay(alice: &Person<'_>, from: &str, to: &str, minor: i64) -> String {
    let done = alice.transfer(transfer(from, to, minor)).await;
    done.expect("there is money").transaction_id
}

/// A watch tells what is current, then each change of the user's own, in order, and
/// nothing of others'.
#[tokio::test]
async fn an_account_is_told_as_it_is_and_as_it_changes() {
    let live = Live::start().await;
    let mesh = &live.mesh;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let mut hers = open(&mesh.service, &alice.token, "").await.expect("open");
    let mut his = open(&mesh.service, &bob.token, "").await.expect("open");
    let was = current(&mut hers).await;
    let wallet = was.iter().find_map(|message| message.wallet.as_ref());
    assert_eq!(wallet.expect("she has one").wallet_id, from);
    assert_eq!(
        was.iter()
            .filter(|message| message.transaction.is_some())
            .count(),
        1
    );
    current(&mut his).await;

    let foreign = mesh.person();
    let (other_from, other_to) = (foreign.funded(100).await, foreign.wallet_in("EUR").await);
    pay(&foreign, &other_from, &other_to, 1).await;
    let id = pay(&alice, &from, &to, 400).await;
    let mut told = until_event(&mut hers, &id, "transaction.completed").await;
    assert_eq!(
        events(&told),
        [
            (id.clone(), "transaction.initiated".to_owned()),
            (id.clone(), "transaction.completed".to_owned()),
        ]
    );
    // The balances come by another stream: before or after.
    let debited = loop {
        let mut wallets = told.iter().filter_map(|message| message.wallet.clone());
        match wallets.find(|wallet| wallet.event == "wallet.debited") {
            Some(wallet) => break wallet,
            None => told = vec![next(&mut hers).await],
        }
    };
    assert_eq!((&debited.wallet_id, &debited.transaction_id), (&from, &id));
    let told = until_event(&mut his, &id, "transaction.completed").await;
    assert!(events(&told).iter().all(|(told, _)| *told == id));
    let left: Vec<_> = debited
        .balances
        .iter()
        .map(|balance| (balance.bucket(), balance.balance_minor))
        .collect();
    assert_eq!(left, [(Bucket::Available, 600)]);
}

/// A watch goes on from a cursor, also at another instance: everything behind it is
/// told, and nothing before it.
#[tokio::test]
async fn a_cursor_goes_on_at_any_instance() {
    let live = Live::start().await;
    let mesh = &live.mesh;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let mut watch = open(&mesh.service, &alice.token, "").await.expect("open");
    let first = pay(&alice, &from, &to, 10).await;
    let told = until_event(&mut watch, &first, "transaction.completed").await;
    let cursor = told.last().expect("just told").cursor.clone();
    drop(watch);

    let second = pay(&alice, &from, &to, 20).await;
    let third = pay(&alice, &from, &to, 30).await;
    let redis = redis_url();
    let other = TestService::start(
        bursar_transaction::definition(),
        &mesh.database,
        &mesh.tokens,
        &[
            ("BURSAR_REDIS_EVENTS_URL", redis.as_str()),
            ("BURSAR_WALLET_ADDRESS", mesh.to_wallet.url.as_str()),
        ],
    )
    .await;
    let mut watch = open(&other, &alice.token, &cursor).await.expect("open");
    let told = until_event(&mut watch, &third, "transaction.completed").await;
    let told = events(&told);
    assert!(told.iter().all(|(id, _)| *id != first), "{told:?}");
    let kinds: Vec<_> = told
        .iter()
        .filter(|(id, _)| *id == second)
        .map(|(_, kind)| kind.as_str())
        .collect();
    assert_eq!(kinds, ["transaction.initiated", "transaction.completed"]);
    // What comes from now on comes too.
    let fourth = pay(&alice, &from, &to, 40).await;
    until_event(&mut watch, &fourth, "transaction.completed").await;
    drop(watch);
    other.stop().await;
}

/// A cursor of which the streams have lost what follows is told so, and one that is
/// another user's or no cursor at all is refused.
#[tokio::test]
async fn bad_cursors_are_refused() {
    let live = Live::start().await;
    let mesh = &live.mesh;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let mut watch = open(&mesh.service, &alice.token, "").await.expect("open");
    let first = pay(&alice, &from, &to, 10).await;
    let told = until_event(&mut watch, &first, "transaction.completed").await;
    let cursor = told[0].cursor.clone();
    let last = pay(&alice, &from, &to, 20).await;
    until_event(&mut watch, &last, "transaction.completed").await;

    for (token, cursor) in [(&bob.token, cursor.as_str()), (&alice.token, "nonsense")] {
        let refused = open(&mesh.service, token, cursor).await.expect_err("no");
        assert_eq!(
            refusal(&refused),
            (Code::InvalidArgument, "CURSOR_INVALID".to_owned())
        );
    }
    let client = redis::Client::open(redis_url()).expect("an address");
    let mut redis = client
        .get_multiplexed_async_connection()
        .await
        .expect("the test Redis answers");
    let _: i64 = redis::cmd("XTRIM")
        .arg(format!("test:{}:bursar.transaction", mesh.tokens.name))
        .arg("MAXLEN")
        .arg(1)
        .query_async(&mut redis)
        .await
        .expect("the stream is there");
    let expired = open(&mesh.service, &alice.token, &cursor)
        .await
        .expect_err("what follows is gone");
    assert_eq!(
        refusal(&expired),
        (Code::OutOfRange, "CURSOR_EXPIRED".to_owned())
    );
}

/// A user may have eight watches open; one that ends makes room.
#[tokio::test]
async fn watches_of_one_user_are_bounded() {
    let live = Live::start().await;
    let mesh = &live.mesh;
    let alice = mesh.person();
    let mut open_ones = Vec::new();
    for _ in 0..8 {
        let mut watch = open(&mesh.service, &alice.token, "").await.expect("open");
        next(&mut watch).await;
        open_ones.push(watch);
    }
    let refused = open(&mesh.service, &alice.token, "").await.expect_err("9");
    assert_eq!(
        refusal(&refused),
        (Code::ResourceExhausted, "WATCHERS_EXCEEDED".to_owned())
    );
    let bob = mesh.person();
    open(&mesh.service, &bob.token, "").await.expect("his own");
}

/// A watch ends with the caller's token, and with the service.
#[tokio::test]
async fn a_watch_ends_with_the_token_and_the_service() {
    let mut live = Live::start().await;
    let (alice, short) = {
        let alice = live.mesh.person();
        let mut claims = Tokens::user_claims(alice.id);
        claims.exp = claims.iat + 3;
        (alice.token.clone(), live.mesh.tokens.mint(claims))
    };
    let mut ending = open(&live.mesh.service, &short, "").await.expect("open");
    assert_eq!(end(&mut ending).await.code(), Code::Unauthenticated);
    let mut going = open(&live.mesh.service, &alice, "").await.expect("open");
    next(&mut going).await;
    let (status, ()) = tokio::join!(end(&mut going), live.mesh.restart_service());
    assert_eq!(status.code(), Code::Unavailable);
}

/// Where no Redis is configured there is nothing to watch, and the caller is told to
/// try again later.
#[tokio::test]
async fn a_service_without_events_cannot_be_watched() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let refused = open(&mesh.service, &alice.token, "").await.expect_err("no");
    assert_eq!(refused.code(), Code::Unavailable);
}

//! Services that crash, restart, or are not there yet.

use std::time::{Duration, Instant};

use bursar_contracts::wallet::v1::GetWalletRequest;
use bursar_contracts::wallet::v1::wallet_service_client::WalletServiceClient;
use bursar_status::StatusExt;
use tonic::Code;

use crate::support::{Edge, KNOWN_WALLET, Mint, Upstream, bearer, call_grpc_web, reason, until};

const GET_WALLET: &str = "/bursar.wallet.v1.WalletService/GetWallet";

fn known_wallet() -> GetWalletRequest {
    GetWalletRequest {
        wallet_id: KNOWN_WALLET.to_owned(),
        ..GetWalletRequest::default()
    }
}

/// While a service restarts its callers hear UNAVAILABLE quickly and when to
/// try again; once it is back the next call reaches it.
#[tokio::test]
async fn a_restart_is_survived() {
    let mut edge = Edge::start().await;
    assert_eq!(edge.get_wallet().await.status, 200);
    let upstream = edge.upstream.take().unwrap();
    let jwks = edge.mint.jwks();
    let port = upstream.crash().await;

    let started = Instant::now();
    let answer = edge.get_wallet().await;
    assert_eq!(answer.error(503, 14), "UNAVAILABLE");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.detail("RetryInfo").unwrap()["retry_delay"], "1s");
    let token = edge.token("usr_1");
    let mut client = WalletServiceClient::new(edge.channel().await);
    let status = client
        .get_wallet(bearer(known_wallet(), &token))
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::Unavailable, "UNAVAILABLE".to_owned())
    );
    let delay = status.get_error_details().retry_info().unwrap().retry_delay;
    assert_eq!(delay, Some(Duration::from_secs(1)));
    let web = call_grpc_web(&edge, GET_WALLET, &known_wallet(), Some(&token)).await;
    assert_eq!((web.status, web.code), (200, Code::Unavailable));
    assert_eq!(reason(&web.error), "UNAVAILABLE");
    let quickly = Duration::from_secs(5);
    assert!(started.elapsed() < quickly, "{:?}", started.elapsed());

    edge.upstream = Some(Upstream::start_at(port, jwks));
    assert_eq!(edge.get_wallet().await.status, 200);
}

/// A call that a crash cuts off is not sent again when it writes: its outcome
/// is not known.
#[tokio::test]
async fn writes_in_flight_are_not_repeated() {
    let mut edge = Edge::start().await;
    let token = edge.token("usr_1");
    let body = format!(
        r#"{{"from_wallet_id":"{KNOWN_WALLET}","to_wallet_id":"{KNOWN_WALLET}","amount":{{"currency_code":"EUR","minor_units":1}}}}"#
    );
    let call = edge.rest.post("/api/v1/transactions/transfers", body);
    let call = call.header("x-fault", "never").token(&token).send();
    let upstream = edge.upstream.take().unwrap();
    let arrived = upstream.arrivals();
    let crash = async {
        let seen = until(Duration::from_secs(10), || async {
            (arrived.count() == 1).then_some(())
        });
        seen.await.expect("the call arrives");
        upstream.crash().await;
    };
    let (answer, ()) = tokio::join!(call, crash);
    assert_eq!(answer.error(503, 14), "UNAVAILABLE");
    assert_eq!(arrived.count(), 1);
}

/// Before the first key set has arrived no token can be judged, which is no
/// fault of the caller's.
#[tokio::test]
async fn without_keys_the_gateway_is_unavailable() {
    let mint = Mint::new();
    let upstream = Upstream::start(serde_json::json!("no key set"));
    let edge = Edge::start_before(mint, upstream, |settings| {
        settings.rate_limits.enabled = false;
    })
    .await;
    let answer = edge.get_wallet().await;
    assert_eq!(answer.error(503, 14), "UNAVAILABLE", "{answer:?}");
    assert!(answer.detail("RetryInfo").is_some());
    let mut client = WalletServiceClient::new(edge.channel().await);
    let request = bearer(known_wallet(), &edge.token("usr_1"));
    let status = client.get_wallet(request).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::Unavailable, "UNAVAILABLE".to_owned())
    );
    // A caller without a token is told so all the same.
    let answer = edge.rest.get("/api/v1/identity/me").send().await;
    assert_eq!(answer.error(401, 16), "UNAUTHENTICATED");
}

/// A gateway that fetches keys every second, and is about to do so again.
async fn with_fresh_keys() -> Edge {
    let mint = Mint::new();
    let upstream = Upstream::start(mint.jwks());
    Edge::start_before(mint, upstream, |settings| {
        settings.rate_limits.enabled = false;
        settings.jwt.jwks_cache_seconds = 1.try_into().unwrap();
    })
    .await
}

/// Waits until the keys were fetched so many times more.
async fn fetched_again(edge: &Edge, times: u32) {
    let fetches = edge.upstream.as_ref().unwrap().key_fetches();
    let wanted = fetches.count() + times;
    let done = until(Duration::from_secs(20), || async {
        (fetches.count() >= wanted).then_some(())
    });
    done.await.expect("the keys are fetched again");
}

/// Keys that were fetched once last while identity is away, beyond the time
/// after which they are fetched anew.
#[tokio::test]
async fn keys_outlive_identity() {
    let edge = with_fresh_keys().await;
    fetched_again(&edge, 1).await;
    edge.upstream.as_ref().unwrap().publish_keys(None);
    fetched_again(&edge, 3).await;
    assert_eq!(edge.get_wallet().await.status, 200);
}

/// A key that is published no longer is refused soon, for tokens that were
/// good a moment ago too, and a new one is taken.
#[tokio::test]
async fn keys_are_replaced() {
    let edge = with_fresh_keys().await;
    assert_eq!(edge.get_wallet().await.status, 200);
    let successor = Mint::forger();
    edge.upstream
        .as_ref()
        .unwrap()
        .publish_keys(Some(successor.jwks()));
    // The second fetch begins when the first has been taken in.
    fetched_again(&edge, 2).await;
    assert_eq!(edge.get_wallet().await.error(401, 16), "UNAUTHENTICATED");
    let call = edge
        .rest
        .get("/api/v1/wallet/wallets")
        .token(&successor.token("usr_1"));
    assert_eq!(call.send().await.status, 200);
}

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
    }
}

/// While a service restarts its callers hear UNAVAILABLE quickly and when to
/// try again; once it is back the next call reaches it.
#[tokio::test]
async fn a_restart_is_survived() {
    let mut edge = Edge::start().await;
    assert_eq!(edge.get_wallet().await.status, 200);
    let upstream = edge.upstream.take().unwrap();
    let address = upstream.grpc;
    let jwks = edge.mint.jwks();
    upstream.crash().await;

    let started = Instant::now();
    let answer = edge.get_wallet().await;
    assert_eq!(answer.error(503, 14), "UNAVAILABLE");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.detail("RetryInfo").unwrap()["retry_delay"], "1s");
    let token = edge.token("usr_1");
    let mut client = WalletServiceClient::new(edge.channel().await);
    let status = client.get_wallet(bearer(known_wallet(), &token)).await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::Unavailable, "UNAVAILABLE".to_owned()));
    let delay = status.get_error_details().retry_info().unwrap().retry_delay;
    assert_eq!(delay, Some(Duration::from_secs(1)));
    let web = call_grpc_web(&edge, GET_WALLET, &known_wallet(), Some(&token)).await;
    assert_eq!((web.status, web.code), (200, Code::Unavailable));
    assert_eq!(reason(&web.error), "UNAVAILABLE");
    let quickly = Duration::from_secs(3);
    assert!(started.elapsed() < quickly, "{:?}", started.elapsed());

    edge.upstream = Some(Upstream::start_at(address, jwks));
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
        let seen = until(Duration::from_secs(10), || async { (arrived.count() == 1).then_some(()) });
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
    assert_eq!((status.code(), reason(&status)), (Code::Unavailable, "UNAVAILABLE".to_owned()));
    // A caller without a token is told so all the same.
    let answer = edge.rest.get("/api/v1/identity/me").send().await;
    assert_eq!(answer.error(401, 16), "UNAUTHENTICATED");
}

/// Keys that were fetched once last while identity is away, beyond the time
/// after which they are fetched anew.
#[tokio::test]
async fn keys_outlive_identity() {
    let mint = Mint::new();
    let upstream = Upstream::start(mint.jwks());
    let edge = Edge::start_before(mint, upstream, |settings| {
        settings.rate_limits.enabled = false;
        settings.jwt.jwks_cache_seconds = 1.try_into().unwrap();
    })
    .await;
    let upstream = edge.upstream.as_ref().unwrap();
    let fetches = upstream.key_fetches();
    let again = until(Duration::from_secs(20), || async { (fetches.count() >= 2).then_some(()) });
    again.await.expect("keys are fetched anew");
    upstream.refuse_keys();
    let failed = fetches.count() + 3;
    let tried = until(Duration::from_secs(20), || async { (fetches.count() >= failed).then_some(()) });
    tried.await.expect("keys are tried anew");
    assert_eq!(edge.get_wallet().await.status, 200);
}

//! How often a caller may call.

use std::time::{Duration, Instant};

use bursar_contracts::wallet::v1::ListWalletsRequest;
use bursar_contracts::wallet::v1::wallet_service_client::WalletServiceClient;
use bursar_status::StatusExt;
use tonic::Code;

use crate::support::{Answer, Edge, bearer, call_grpc_web, reason};

const LOGIN: &str = "/api/v1/identity/login";
const WALLETS: &str = "/api/v1/wallet/wallets";
const STATUS: &str = "/api/v1/admin/status";
const WITHDRAWALS: &str = "/api/v1/transactions/withdrawals";

async fn limited() -> Edge {
    Edge::start_with(|_| {}).await
}

/// Calls until the limit is spent, of which `already` is, and returns the first
/// refusal. Buckets refill while the test runs: as many calls more pass as the
/// time it took is worth.
async fn spend(number: u32, already: u32, mut call: impl AsyncFnMut() -> Answer) -> Answer {
    let started = Instant::now();
    let mut passed = already;
    loop {
        let answer = call().await;
        if answer.status == 429 {
            check_passed(number, passed, started.elapsed());
            return answer;
        }
        passed += 1;
        assert!(
            passed < number * 2,
            "{number} a minute, and twice as many pass"
        );
    }
}

fn check_passed(number: u32, passed: u32, took: Duration) {
    let refilled = u64::from(number) * (took.as_millis() as u64) / 60_000 + 1;
    let allowed = u64::from(number)..=u64::from(number) + refilled;
    assert!(
        allowed.contains(&u64::from(passed)),
        "{passed} of {number} in {took:?}"
    );
}

/// The answer when a limit is spent: what to do, in headers and in the body.
fn check_refusal(answer: &Answer, number: u32, most_seconds: u64) {
    assert_eq!(answer.error(429, 8), "RATE_LIMITED");
    assert_eq!(
        answer.header("x-ratelimit-limit"),
        Some(number.to_string().as_str())
    );
    assert_eq!(answer.header("x-ratelimit-remaining"), Some("0"));
    assert!(answer.header("x-ratelimit-reset").is_some());
    let retry_after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=most_seconds).contains(&retry_after), "{answer:?}");
    let delay = answer.detail("RetryInfo").unwrap()["retry_delay"].clone();
    assert_eq!(delay, format!("{retry_after}s"));
}

/// Every class has its number, and a bucket of its own.
#[tokio::test]
async fn classes_have_their_numbers() {
    let edge = limited().await;
    let first = edge.rest.post(LOGIN, "{}").send().await;
    assert_eq!(first.header("x-ratelimit-limit"), Some("20"), "{first:?}");
    assert_eq!(first.header("x-ratelimit-remaining"), Some("19"));
    let refusal = spend(20, 1, async || edge.rest.post(LOGIN, "{}").send().await).await;
    check_refusal(&refusal, 20, 3);

    let token = edge.token("usr_1");
    let get = async |path: &str| edge.rest.get(path).token(&token).send().await;
    let refusal = spend(100, 0, async || get(WALLETS).await).await;
    check_refusal(&refusal, 100, 1);
    let refusal = spend(200, 0, async || get(STATUS).await).await;
    check_refusal(&refusal, 200, 1);
    let withdraw = async || edge.rest.post(WITHDRAWALS, "{}").token(&token).send().await;
    let refusal = spend(10, 0, withdraw).await;
    check_refusal(&refusal, 10, 6);

    // Another user has the whole of it.
    let other = edge
        .rest
        .get(WALLETS)
        .token(&edge.token("usr_2"))
        .send()
        .await;
    assert_eq!(
        (other.status, other.header("x-ratelimit-remaining")),
        (200, Some("99"))
    );
    // The key set is for everybody's library to fetch.
    assert_eq!(
        edge.rest.get("/.well-known/jwks.json").send().await.status,
        200
    );
    assert_eq!(edge.rest.get("/healthz").send().await.status, 200);
}

/// All routes of a class draw from one bucket, by REST, gRPC and gRPC-Web, and
/// gRPC callers get the refusal in their own form.
#[tokio::test]
async fn a_class_has_one_bucket_for_all_protocols() {
    let edge = limited().await;
    let token = edge.token("usr_1");
    let mut client = WalletServiceClient::new(edge.channel().await);
    let request = ListWalletsRequest::default();
    let started = Instant::now();
    let mut passed = 0;
    let status = loop {
        let me = edge
            .rest
            .get("/api/v1/identity/me")
            .token(&token)
            .send()
            .await;
        passed += u32::from(me.status == 200);
        match client.list_wallets(bearer(request.clone(), &token)).await {
            Ok(_) => passed += 1,
            Err(status) => break status,
        }
    };
    check_passed(100, passed, started.elapsed());
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(reason(&status), "RATE_LIMITED");
    let retry = status.get_error_details().retry_info().unwrap().retry_delay;
    assert_eq!(retry, Some(Duration::from_secs(1)));
    let path = "/bursar.wallet.v1.WalletService/ListWallets";
    let web = call_grpc_web(&edge, path, &request, Some(&token)).await;
    if web.code != Code::Ok {
        assert_eq!((web.status, web.code), (200, Code::ResourceExhausted));
        assert_eq!(reason(&web.error), "RATE_LIMITED");
    }
}

/// An address that a caller makes up gives no fresh bucket, unless a trusted
/// proxy says so.
#[tokio::test]
async fn addresses_cannot_be_made_up() {
    let edge = limited().await;
    let mut number = 0;
    let login = async || {
        number += 1;
        let call = edge.rest.post(LOGIN, "{}");
        call.header("x-forwarded-for", &format!("203.0.113.{number}"))
            .send()
            .await
    };
    spend(20, 0, login).await;

    let behind_proxy = Edge::start_with(|settings| settings.trusted_proxy_hops = 1).await;
    for number in 0..40 {
        let call = behind_proxy.rest.post(LOGIN, "{}");
        let call = call.header("x-forwarded-for", &format!("203.0.113.{number}"));
        assert_eq!(call.send().await.status, 200, "{number}");
    }
}

/// Settings scale the numbers or switch the limits off.
#[tokio::test]
async fn limits_can_be_scaled_and_switched_off() {
    let scaled =
        Edge::start_with(|settings| settings.rate_limits.scale = 3.try_into().unwrap()).await;
    let refusal = spend(60, 0, async || scaled.rest.post(LOGIN, "{}").send().await).await;
    check_refusal(&refusal, 60, 1);

    let unlimited = Edge::start().await;
    for _ in 0..50 {
        let answer = unlimited.rest.post(LOGIN, "{}").send().await;
        assert_eq!(
            (answer.status, answer.header("x-ratelimit-limit")),
            (200, None)
        );
    }
}

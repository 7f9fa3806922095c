//! What the gateway itself answers.

use bursar_contracts::wallet::v1::ListWalletsRequest;
use bursar_contracts::wallet::v1::wallet_service_client::WalletServiceClient;
use tonic::Code;

use crate::grpc::with;
use crate::support::{Edge, send};

/// No token, or one that identity did not sign, is refused in the one error form,
/// over REST and gRPC.
#[tokio::test]
async fn calls_without_a_true_token_are_refused() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let mut forged = ada.token.clone();
    forged.truncate(forged.len() - 6);
    forged.push_str("AAAAAA");
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.eyJzdWIiOiJ1c3JfMSJ9.";
    for token in ["", "abc", &forged, none] {
        let mut request = edge.request("GET", "/api/v1/wallet/wallets");
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        let refused = send(request).await;
        assert_eq!(
            (refused.status, refused.reason()),
            (401, "UNAUTHENTICATED"),
            "{token}"
        );
        assert_eq!(refused.json["code"], 16);
        let mut wallets = WalletServiceClient::new(edge.channel());
        let refused = wallets
            .list_wallets(with(ListWalletsRequest::default(), token))
            .await
            .expect_err("refused");
        assert_eq!(refused.code(), Code::Unauthenticated, "{token}");
    }
}

/// Headers by which the gateway tells services who calls cannot be sent from outside.
#[tokio::test]
async fn identity_headers_from_outside_mean_nothing() {
    let edge = Edge::shared();
    let (ada, bob) = (edge.person().await, edge.person().await);
    let request = edge
        .request("GET", "/api/v1/identity/me")
        .bearer_auth(&ada.token);
    let answer = send(
        request
            .header("x-bursar-subject", &bob.user_id)
            .header("x-bursar-user-token", &bob.token),
    )
    .await;
    assert_eq!(answer.ok()["user"]["user_id"], ada.user_id.as_str());
}

/// Paths that lead nowhere, internal services included, are not found.
#[tokio::test]
async fn unknown_paths_are_not_found() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let paths = [
        "/",
        "/api/v1/nothing",
        "/api/v1/wallet/nothing",
        "/bursar.wallet.v1.LedgerService/PostBatch",
        "/bursar.operations.v1.OperationsService/GetServiceStatus",
        "/metrics",
    ];
    for path in paths {
        let refused = edge.get(path, &ada.token).await;
        assert_eq!(
            (refused.status, refused.reason()),
            (404, "METHOD_NOT_FOUND"),
            "{path}: {:#}",
            refused.json
        );
    }
}

/// A browser's preflight is answered for the origins that may call.
#[tokio::test]
async fn preflights_are_answered() {
    let edge = Edge::shared();
    let preflight = async |origin: &str| {
        let request = edge.request("OPTIONS", "/api/v1/transactions/transfers");
        send(
            request
                .header("origin", origin)
                .header("access-control-request-method", "POST")
                .header(
                    "access-control-request-headers",
                    "authorization,idempotency-key",
                ),
        )
        .await
    };
    let allowed = preflight("http://localhost:3000").await;
    assert_eq!(allowed.status, 200);
    assert_eq!(
        allowed.headers["access-control-allow-origin"],
        "http://localhost:3000"
    );
    let headers = allowed.headers["access-control-allow-headers"]
        .to_str()
        .expect("text");
    assert!(headers.contains("idempotency-key"), "{headers}");
    let refused = preflight("http://evil.example").await;
    assert!(!refused.headers.contains_key("access-control-allow-origin"));
}

/// The gateway's own health needs no token.
#[tokio::test]
async fn the_gateway_says_that_it_lives() {
    let edge = Edge::shared();
    assert_eq!(send(edge.request("GET", "/healthz")).await.status, 200);
}

//! Errors have one form, whoever makes them.

use bursar_contracts::transaction::v1::CreateTransferRequest;
use bursar_contracts::transaction::v1::transaction_service_client::TransactionServiceClient;
use bursar_contracts::wallet::v1::ledger_service_client::LedgerServiceClient;
use bursar_contracts::wallet::v1::wallet_service_client::WalletServiceClient;
use bursar_contracts::wallet::v1::{GetWalletRequest, PostBatchRequest};
use serde_json::json;
use tonic::{Code, Request};

use crate::support::{Edge, KNOWN_WALLET, bearer, call_grpc_web, chunked, reason};

const WALLETS: &str = "/api/v1/wallet/wallets";
const TRANSFERS: &str = "/api/v1/transactions/transfers";
const GET_WALLET: &str = "/bursar.wallet.v1.WalletService/GetWallet";

fn known_wallet() -> GetWalletRequest {
    GetWalletRequest {
        wallet_id: KNOWN_WALLET.to_owned(),
        ..GetWalletRequest::default()
    }
}

/// What is not there is answered without asking for a token, and a service's
/// inner calls are not there.
#[tokio::test]
async fn unknown_and_internal_methods_are_not_found() {
    let edge = Edge::start().await;
    for path in [
        "/",
        "/api",
        "/api/v1/wallet/wallets/a/b/c",
        "/bursar.wallet.v1.WalletService/Nothing",
        GET_WALLET,
    ] {
        let answer = edge.rest.get(path).send().await;
        assert_eq!(answer.error(404, 5), "METHOD_NOT_FOUND", "{path}");
    }
    let inner = "/bursar.wallet.v1.LedgerService/PostBatch";
    let answer = edge
        .rest
        .post(inner, "{}")
        .token(&edge.token("usr_1"))
        .send()
        .await;
    assert_eq!(answer.error(404, 5), "METHOD_NOT_FOUND");

    let mut client = LedgerServiceClient::new(edge.channel().await);
    let request = bearer(PostBatchRequest::default(), &edge.token("usr_1"));
    let status = client.post_batch(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(reason(&status), "METHOD_NOT_FOUND");

    let answer = call_grpc_web(&edge, inner, &PostBatchRequest::default(), None).await;
    assert_eq!((answer.status, answer.code), (200, Code::Unimplemented));
    assert_eq!(reason(&answer.error), "METHOD_NOT_FOUND");
}

/// A path that exists says which methods it takes.
#[tokio::test]
async fn wrong_methods_are_told_the_right_ones() {
    let edge = Edge::start().await;
    for (method, path, allowed) in [
        ("PUT", WALLETS, "GET, POST"),
        ("POST", "/api/v1/wallet/wallets/x", "GET"),
        ("DELETE", TRANSFERS, "POST"),
        ("POST", "/.well-known/jwks.json", "GET"),
        ("GET", "/api/v1/transactions/callbacks/sandbox", "POST"),
    ] {
        let answer = edge.rest.call(method, path).send().await;
        assert_eq!(answer.error(405, 12), "METHOD_NOT_FOUND", "{method} {path}");
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
    }
}

/// gRPC does not go to REST paths, nor JSON to those of RPCs.
#[tokio::test]
async fn content_types_fit_their_paths() {
    let edge = Edge::start().await;
    let token = edge.token("usr_1");
    let call = edge
        .rest
        .call("POST", TRANSFERS)
        .header("content-type", "application/grpc");
    let answer = call.token(&token).send().await;
    assert_eq!(answer.header("grpc-status"), Some("12"), "{answer:?}");
    assert_eq!(answer.seen("x-bursar-subject"), None);
    let call = edge.rest.post(GET_WALLET, "{}").token(&token);
    assert_eq!(call.send().await.error(404, 5), "METHOD_NOT_FOUND");
}

/// A settlement file may be as long as it is, with a token: nothing else of its
/// size comes through.
#[tokio::test]
async fn settlement_files_have_no_limit() {
    let edge = Edge::start().await;
    let token = edge.token("usr_1");
    let path = "/api/v1/transactions/settlement-files?provider=sandbox";
    let length = 5 * 1024 * 1024;
    let send = || edge.rest.post(path, chunked("a".repeat(length)));
    let answer = send().token(&token).send().await;
    assert_eq!((answer.status, answer.body), (200, length.to_string()));
    assert_eq!(send().send().await.error(401, 16), "UNAUTHENTICATED");
}

/// A body above the limit is refused before a service sees it.
#[tokio::test]
async fn large_bodies_are_refused() {
    let edge = Edge::start().await;
    let token = edge.token("usr_1");
    let sized = |length: usize| format!(r#"{{"description":"{}"}}"#, "a".repeat(length - 18));
    let fits = edge
        .rest
        .post(TRANSFERS, sized(1024 * 1024))
        .token(&token)
        .send()
        .await;
    assert_eq!(fits.error(400, 3), "INVALID_FIELD");
    for length in [1024 * 1024 + 1, 5 * 1024 * 1024] {
        let answer = edge
            .rest
            .post(TRANSFERS, sized(length))
            .token(&token)
            .send()
            .await;
        assert_eq!(answer.error(413, 3), "REQUEST_TOO_LARGE");
        let answer = edge
            .rest
            .post(TRANSFERS, chunked(sized(length)))
            .token(&token)
            .send()
            .await;
        assert_eq!(answer.error(413, 3), "REQUEST_TOO_LARGE");
    }
    let large = CreateTransferRequest {
        description: "a".repeat(2 * 1024 * 1024),
        ..CreateTransferRequest::default()
    };
    let mut client = TransactionServiceClient::new(edge.channel().await);
    let status = client
        .create_transfer(bearer(large.clone(), &token))
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::InvalidArgument, "REQUEST_TOO_LARGE".to_owned())
    );
    let path = "/bursar.transaction.v1.TransactionService/CreateTransfer";
    let answer = call_grpc_web(&edge, path, &large, Some(&token)).await;
    assert_eq!((answer.status, answer.code), (200, Code::InvalidArgument));
    assert_eq!(reason(&answer.error), "REQUEST_TOO_LARGE");

    let callback = "/api/v1/transactions/callbacks/sandbox";
    let fits = edge.rest.post(callback, vec![b'a'; 64 * 1024]).send().await;
    assert_eq!((fits.status, fits.body.as_str()), (200, "sandbox 65536"));
    let answer = edge
        .rest
        .post(callback, vec![b'a'; 64 * 1024 + 1])
        .send()
        .await;
    assert_eq!(answer.error(413, 3), "REQUEST_TOO_LARGE");
}

/// What is wrong with the HTTP of a request is told in the same form.
#[tokio::test]
async fn malformed_requests_are_refused() {
    let edge = Edge::start().await;
    let answer = edge.rest.get("/api/v1/wallet/wallets/a%2Fb").send().await;
    assert_eq!(answer.error(400, 3), "REQUEST_MALFORMED", "{answer:?}");
    let answer = edge
        .rest
        .get(WALLETS)
        .header("x_subject", "usr_1")
        .send()
        .await;
    assert_eq!(answer.error(400, 3), "REQUEST_MALFORMED", "{answer:?}");
    let answer = edge
        .rest
        .get(WALLETS)
        .header("x-large", &"a".repeat(20_000))
        .send()
        .await;
    assert_eq!(answer.error(431, 3), "REQUEST_TOO_LARGE", "{answer:?}");
    let many = (0..100).fold(edge.rest.get(WALLETS), |call, index| {
        call.header(&format!("x-{index}"), "a")
    });
    let answer = many.send().await;
    assert_eq!(answer.error(431, 3), "REQUEST_TOO_LARGE", "{answer:?}");
}

/// A service's error keeps all its details, in all three forms.
#[tokio::test]
async fn errors_of_services_pass_whole() {
    let edge = Edge::start().await;
    let token = edge.token("usr_1");
    let path = format!("{WALLETS}/{KNOWN_WALLET}");
    let call = edge.rest.get(&path).header("x-fault", "refused");
    let answer = call.token(&token).send().await;
    assert_eq!(answer.error(400, 9), "OVERLOADED");
    assert_eq!(answer.json()["message"], "no \"money\"");
    let info = answer.detail("ErrorInfo").unwrap();
    assert_eq!(info["metadata"], json!({ "transaction_id": "txn_1" }));
    assert_eq!(
        answer.violations(),
        [("amount.minor_units".to_owned(), "is too much".to_owned())]
    );

    let unknown = edge.rest.get(&format!(
        "{WALLETS}/wal_0198c0de-0000-7000-8000-000000000002"
    ));
    assert_eq!(
        unknown.token(&token).send().await.error(404, 5),
        "WALLET_NOT_FOUND"
    );

    let mut request = bearer(known_wallet(), &token);
    request
        .metadata_mut()
        .insert("x-fault", "refused".parse().unwrap());
    let mut client = WalletServiceClient::new(edge.channel().await);
    let status = client.get_wallet(request).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::FailedPrecondition, "no \"money\"")
    );
    assert_eq!(reason(&status), "OVERLOADED");
}

/// A service that does not answer in time: the caller learns that the outcome
/// is not known. The gateway waits half a second longer than the deadline.
#[tokio::test]
async fn late_answers_are_not_waited_for() {
    let edge = Edge::start().await;
    let token = edge.token("usr_1");
    let path = format!("{WALLETS}/{KNOWN_WALLET}");
    let rest = edge
        .rest
        .get(&path)
        .header("x-fault", "never")
        .token(&token)
        .send();
    let mut request = Request::new(known_wallet());
    request = bearer(request.into_inner(), &token);
    request
        .metadata_mut()
        .insert("x-fault", "never".parse().unwrap());
    let mut client = WalletServiceClient::new(edge.channel().await);
    let started = std::time::Instant::now();
    let (answer, status) = tokio::join!(rest, client.get_wallet(request));
    assert_eq!(answer.error(504, 4), "DEADLINE_EXCEEDED");
    let status = status.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned())
    );
    let waited = started.elapsed().as_millis();
    assert!((5_400..15_000).contains(&waited), "{waited} ms");
}

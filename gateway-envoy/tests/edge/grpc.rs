//! gRPC and gRPC-Web on the same port as REST.

use bursar_contracts::wallet::v1::wallet_service_client::WalletServiceClient;
use bursar_contracts::wallet::v1::{GetWalletRequest, GetWalletResponse};
use prost::Message;
use tonic::{Code, Request};

use crate::support::{Edge, KNOWN_WALLET, bearer, call_grpc_web, reason};

const GET_WALLET: &str = "/bursar.wallet.v1.WalletService/GetWallet";

fn known_wallet() -> GetWalletRequest {
    GetWalletRequest {
        wallet_id: KNOWN_WALLET.to_owned(),
        ..GetWalletRequest::default()
    }
}

/// A gRPC call reaches its service with the verified caller, and no call does
/// without a token.
#[tokio::test]
async fn grpc_calls_pass() {
    let edge = Edge::start().await;
    let mut client = WalletServiceClient::new(edge.channel().await);
    let request = bearer(known_wallet(), &edge.token("usr_1"));
    let answer = client.get_wallet(request).await.unwrap();
    assert_eq!(
        answer.metadata().get("seen-x-bursar-subject").unwrap(),
        "usr_1"
    );
    assert_eq!(
        answer.get_ref().wallet.as_ref().unwrap().wallet_id,
        KNOWN_WALLET
    );

    let status = client
        .get_wallet(Request::new(known_wallet()))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(reason(&status), "UNAUTHENTICATED");
}

/// A caller's own shorter deadline is kept to.
#[tokio::test]
async fn shorter_deadlines_win() {
    let edge = Edge::start().await;
    let mut client = WalletServiceClient::new(edge.channel().await);
    let mut request = bearer(known_wallet(), &edge.token("usr_1"));
    request.set_timeout(std::time::Duration::from_millis(700));
    let answer = client.get_wallet(request).await.unwrap();
    assert_eq!(
        answer.metadata().get("seen-grpc-timeout").unwrap(),
        "700000u"
    );
}

/// A browser's gRPC-Web call gets the message, or the error with its details.
#[tokio::test]
async fn grpc_web_calls_pass() {
    let edge = Edge::start().await;
    let token = edge.token("usr_1");
    let answer = call_grpc_web(&edge, GET_WALLET, &known_wallet(), Some(&token)).await;
    assert_eq!((answer.status, answer.code), (200, Code::Ok));
    let message = GetWalletResponse::decode(answer.messages[0].as_slice()).unwrap();
    assert_eq!(message.wallet.unwrap().wallet_id, KNOWN_WALLET);

    let other = GetWalletRequest {
        wallet_id: KNOWN_WALLET.replace('1', "2"),
        ..GetWalletRequest::default()
    };
    let answer = call_grpc_web(&edge, GET_WALLET, &other, Some(&token)).await;
    assert_eq!((answer.status, answer.code), (200, Code::NotFound));
    assert_eq!(reason(&answer.error), "WALLET_NOT_FOUND");

    let answer = call_grpc_web(&edge, GET_WALLET, &known_wallet(), None).await;
    assert_eq!((answer.status, answer.code), (200, Code::Unauthenticated));
    assert_eq!(reason(&answer.error), "UNAUTHENTICATED");
}

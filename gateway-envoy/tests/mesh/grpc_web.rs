//! Browsers' gRPC-Web calls, framed by hand: messages and trailers in frames of
//! one answer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bursar_contracts::identity::v1::{GetMeRequest, GetMeResponse};
use bursar_contracts::r#type::v1::Money;
use bursar_contracts::wallet::v1::{
    CaptureHoldRequest, CaptureHoldResponse, ExportStatementRequest, ExportStatementResponse,
    HoldStatus, PlaceHoldRequest, PlaceHoldResponse,
};
use prost::Message;
use prost_types::Timestamp;

use crate::support::{Answer, Edge, new_key, send};

/// The bit of a frame's first byte that says that it holds the trailers.
const TRAILERS: u8 = 0x80;

/// What a call answered.
struct WebAnswer {
    answer: Answer,
    messages: Vec<Vec<u8>>,
    trailers: String,
}

impl WebAnswer {
    /// The one message of a success.
    fn message<T: Message + Default>(&self) -> T {
        assert!(self.trailers.contains("grpc-status:0"), "{}", self.trailers);
        assert_eq!(self.messages.len(), 1);
        T::decode(self.messages[0].as_slice()).expect("a message")
    }
}

/// Calls an RPC as a page of an allowed origin does.
async fn call(edge: &Edge, path: &str, token: &str, request: &impl Message) -> WebAnswer {
    let message = request.encode_to_vec();
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).expect("short").to_be_bytes());
    frame.extend(message);
    let request = edge
        .request("POST", path)
        .header("content-type", "application/grpc-web-text")
        .header("accept", "application/grpc-web-text")
        .header("x-grpc-web", "1")
        .header("origin", "http://localhost:3000")
        .header("idempotency-key", new_key())
        .bearer_auth(token)
        .body(STANDARD.encode(frame));
    let answer = send(request).await;
    assert_eq!(answer.status, 200, "{:#}", answer.json);
    let (mut messages, mut trailers) = (Vec::new(), String::new());
    for (kind, content) in frames(answer.json.as_str().expect("base64 text")) {
        if kind & TRAILERS == 0 {
            messages.push(content);
        } else {
            trailers = String::from_utf8(content).expect("text");
        }
    }
    WebAnswer {
        answer,
        messages,
        trailers,
    }
}

/// The frames of an answer, each with its first byte. Each flush of the stream
/// is padded base64 of its own.
fn frames(text: &str) -> Vec<(u8, Vec<u8>)> {
    let bytes: Vec<u8> = text
        .as_bytes()
        .chunks(4)
        .flat_map(|chunk| STANDARD.decode(chunk).expect("base64"))
        .collect();
    let mut rest = bytes.as_slice();
    let mut frames = Vec::new();
    while let [kind, a, b, c, d, after @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]);
        let (content, after) = after.split_at(usize::try_from(length).expect("short"));
        frames.push((*kind, content.to_vec()));
        rest = after;
    }
    frames
}

/// One message in, one message and the trailers out, readable by the page.
#[tokio::test]
async fn grpc_web_answers() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let path = "/bursar.identity.v1.IdentityService/GetMe";
    let called = call(&edge, path, &ada.token, &GetMeRequest {}).await;
    let headers = &called.answer.headers;
    assert!(
        headers.contains_key("access-control-allow-origin"),
        "{headers:?}"
    );
    let me: GetMeResponse = called.message();
    assert_eq!(me.user.map(|user| user.user_id), Some(ada.user_id));
}

/// A hold is placed and captured over gRPC-Web.
#[tokio::test]
async fn a_hold_is_captured_over_grpc_web() {
    let edge = Edge::shared();
    let (ada, operator) = (edge.person().await, edge.admin().await);
    let wallet_id = edge.funded(&ada, 500).await;
    let place = PlaceHoldRequest {
        wallet_id: wallet_id.clone(),
        amount: Some(Money {
            currency_code: "EUR".to_owned(),
            minor_units: 300,
        }),
        ..PlaceHoldRequest::default()
    };
    let path = "/bursar.wallet.v1.HoldService/PlaceHold";
    let placed: PlaceHoldResponse = call(&edge, path, &operator, &place).await.message();
    let capture = CaptureHoldRequest {
        hold_id: placed.hold.expect("a hold").hold_id,
        to_wallet_id: edge.wallet(&ada, "EUR").await,
        ..CaptureHoldRequest::default()
    };
    let path = "/bursar.wallet.v1.HoldService/CaptureHold";
    let captured: CaptureHoldResponse = call(&edge, path, &operator, &capture).await.message();
    assert_eq!(
        captured.hold.expect("a hold").status(),
        HoldStatus::Captured
    );
    assert_eq!(edge.balance(&ada.token, &wallet_id).await, [200, 0, 0]);
    // Users place no holds, by whatever protocol.
    let path = "/bursar.wallet.v1.HoldService/PlaceHold";
    let refused = call(&edge, path, &ada.token, &place).await;
    let status = refused.answer.headers.get("grpc-status");
    let status = status.and_then(|status| status.to_str().ok());
    let is_refused = status == Some("7") || refused.trailers.contains("grpc-status:7");
    assert!(is_refused, "{:?} {}", refused.answer, refused.trailers);
}

/// A stream comes as several messages and ends with its trailers.
#[tokio::test]
async fn a_statement_streams_over_grpc_web() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let day = |day| Timestamp::date(2026, 1, day).expect("a date");
    let export = ExportStatementRequest {
        wallet_id: edge.funded(&ada, 500).await,
        from: Some(day(1)),
        to: Some(day(2)),
        ..ExportStatementRequest::default()
    };
    let path = "/bursar.wallet.v1.HistoryService/ExportStatement";
    let called = call(&edge, path, &ada.token, &export).await;
    assert!(called.trailers.contains("grpc-status:0"));
    let text: Vec<u8> = called
        .messages
        .iter()
        .flat_map(|message| {
            let part = ExportStatementResponse::decode(message.as_slice()).expect("a part");
            part.file.expect("a part").data
        })
        .collect();
    let text = String::from_utf8(text).expect("UTF-8");
    assert!(text.starts_with("record,wallet_id,"), "{text}");
    assert!(text.contains("\r\nclosing,"), "{text}");
}

//! A gRPC-Web caller over HTTP/1.1, as a browser is one.

use prost::Message;
use tonic::{Code, Status};

use super::edge::Edge;

/// What came back.
#[derive(Debug)]
pub(crate) struct GrpcWebAnswer {
    pub(crate) status: u16,
    pub(crate) code: Code,
    pub(crate) error: Status,
    pub(crate) messages: Vec<Vec<u8>>,
}

/// Calls an RPC, with a token or without.
pub(crate) async fn call_grpc_web(
    edge: &Edge,
    path: &str,
    request: &impl Message,
    token: Option<&str>,
) -> GrpcWebAnswer {
    let encoded = request.encode_to_vec();
    let mut body = vec![0];
    body.extend(u32::try_from(encoded.len()).unwrap().to_be_bytes());
    body.extend(encoded);
    let mut call = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .post(format!("http://{}{path}", edge.address))
        .header("content-type", "application/grpc-web+proto")
        .header("x-grpc-web", "1")
        .body(body);
    if let Some(token) = token {
        call = call.header("authorization", format!("Bearer {token}"));
    }
    let response = call.send().await.unwrap();
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let body = response.bytes().await.unwrap();
    read(status, headers, &body)
}

/// Messages, then trailers in a frame of their own; an answer that is only an
/// error has them as headers instead.
fn read(status: u16, headers: http::HeaderMap, mut body: &[u8]) -> GrpcWebAnswer {
    let mut trailers = headers;
    let mut messages = Vec::new();
    while let [kind, a, b, c, d, rest @ ..] = body {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let (frame, after) = rest.split_at(length);
        body = after;
        if kind & 0x80 == 0 {
            messages.push(frame.to_vec());
            continue;
        }
        for line in std::str::from_utf8(frame).unwrap().lines() {
            let (name, value) = line.split_once(':').unwrap();
            let name = http::HeaderName::try_from(name).unwrap();
            trailers.insert(name, value.trim().try_into().unwrap());
        }
    }
    let error = Status::from_header_map(&trailers).expect("a gRPC answer has a status");
    GrpcWebAnswer {
        status,
        code: error.code(),
        error,
        messages,
    }
}

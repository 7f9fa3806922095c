//! The answers that Envoy gives by itself, in the one error form.
//!
//! A REST caller gets google.rpc.Status as JSON, written as the transcoder
//! writes those of the services. A gRPC or gRPC-Web caller gets the same as
//! `grpc-status`, `grpc-message` and `grpc-status-details-bin`; without this,
//! Envoy would only guess a code from the HTTP status.
//!
//! Envoy tries the mappers in order and applies the first whose condition
//! holds: gRPC before REST, the particular before the general.

mod condition;
mod grpc;
mod rest;

use std::time::Duration;

use bursar_contracts::r#type::v1::ErrorReason;
use serde_json::{Value, json};
use tonic::Code;

use crate::contract::Rpc;
use crate::settings::RateLimits;

/// How soon to try again when a service does not answer.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(1);

/// The connection manager's `local_reply_config`.
pub(crate) fn config(rpcs: &[Rpc], limits: &RateLimits) -> Value {
    let keys = condition::keys_are_missing;
    let grpc = REPLIES
        .iter()
        .flat_map(|reply| grpc::mappers(reply, rpcs, limits));
    let rest = REPLIES.iter().map(|reply| rest::mapper(reply, &[]));
    let mappers: Vec<Value> = [
        grpc::mapper(&NO_KEYS, &[keys()], NO_KEYS.retry.known()),
        rest::mapper(&NO_KEYS, &[keys()]),
    ]
    .into_iter()
    .chain(grpc)
    .chain([rest::refused_field(), rest::refused_by_transcoder()])
    .chain(rest)
    .chain([rest::anything_else()])
    .collect();
    json!({ "mappers": mappers })
}

/// One answer.
#[derive(Clone, Copy, Debug)]
struct Reply {
    /// The HTTP status that Envoy chose.
    status: u16,
    /// The HTTP status that a REST caller sees.
    rest_status: u16,
    code: Code,
    /// The code for gRPC callers.
    grpc_code: Code,
    reason: ErrorReason,
    message: Message,
    retry: Retry,
}

/// What an answer says to people.
#[derive(Clone, Copy, Debug)]
enum Message {
    /// Always the same.
    Fixed(&'static str),
    /// What the filter said that refused the request; the text is for gRPC's
    /// details, which cannot vary.
    Told(&'static str),
}

/// When a caller may try again.
#[derive(Clone, Copy, Debug)]
enum Retry {
    No,
    After(Duration),
    /// As long as the rate limiter says.
    RateLimit,
}

impl Retry {
    /// How long, where that is always the same.
    fn known(self) -> Option<Duration> {
        match self {
            Self::No | Self::RateLimit => None,
            Self::After(delay) => Some(delay),
        }
    }
}

impl Reply {
    const fn new(status: u16, code: Code, reason: ErrorReason, message: Message) -> Self {
        Self {
            status,
            rest_status: status,
            code,
            grpc_code: code,
            reason,
            message,
            retry: Retry::No,
        }
    }

    const fn retry(self, retry: Retry) -> Self {
        Self { retry, ..self }
    }

    const fn as_status(self, rest_status: u16) -> Self {
        Self {
            rest_status,
            ..self
        }
    }

    const fn grpc(self, grpc_code: Code) -> Self {
        Self { grpc_code, ..self }
    }
}

const MALFORMED: Message = Message::Fixed("the request cannot be read");
const NO_TOKEN: Message = Message::Told("the call needs a valid access token");
const NO_METHOD: Message = Message::Fixed("there is no such method or route");
const OTHER_METHODS: Message = Message::Fixed("the path takes other HTTP methods");
const SLOW_REQUEST: Message = Message::Fixed("the request took too long to arrive");
const LARGE_BODY: Message = Message::Fixed("the body is too large");
const LARGE_HEADERS: Message = Message::Fixed("the headers are too large");
const LIMITED: Message = Message::Fixed("the rate limit is spent");
const FAULT: Message =
    Message::Fixed("internal error; quote the correlation id when you report it");
const NO_ANSWER: Message = Message::Fixed("a service does not answer; try again");
const TOO_LATE: Message =
    Message::Fixed("the deadline passed; what the call asked for may yet happen");
const KEYS_AWAY: Message = Message::Fixed("the signing keys cannot be fetched; try again");
const AGAIN: Retry = Retry::After(UNAVAILABLE_RETRY);

/// Every status that Envoy may choose.
const REPLIES: [Reply; 13] = {
    use Code::{DeadlineExceeded, InvalidArgument, Unavailable, Unimplemented};
    use ErrorReason as R;
    [
        Reply::new(400, InvalidArgument, R::RequestMalformed, MALFORMED),
        Reply::new(401, Code::Unauthenticated, R::Unauthenticated, NO_TOKEN),
        // A token for another audience, says the JWT filter.
        Reply::new(403, Code::Unauthenticated, R::Unauthenticated, NO_TOKEN).as_status(401),
        Reply::new(404, Code::NotFound, R::MethodNotFound, NO_METHOD).grpc(Unimplemented),
        Reply::new(405, Unimplemented, R::MethodNotFound, OTHER_METHODS),
        Reply::new(408, DeadlineExceeded, R::DeadlineExceeded, SLOW_REQUEST),
        Reply::new(413, InvalidArgument, R::RequestTooLarge, LARGE_BODY),
        Reply::new(429, Code::ResourceExhausted, R::RateLimited, LIMITED).retry(Retry::RateLimit),
        Reply::new(431, InvalidArgument, R::RequestTooLarge, LARGE_HEADERS),
        Reply::new(500, Code::Internal, R::Internal, FAULT),
        Reply::new(502, Unavailable, R::Unavailable, NO_ANSWER)
            .retry(AGAIN)
            .as_status(503),
        Reply::new(503, Unavailable, R::Unavailable, NO_ANSWER).retry(AGAIN),
        Reply::new(504, DeadlineExceeded, R::DeadlineExceeded, TOO_LATE),
    ]
};

/// Without a key set no token can be judged: that is no fault of the caller's,
/// though the JWT filter says 401.
const NO_KEYS: Reply = Reply::new(401, Code::Unavailable, ErrorReason::Unavailable, KEYS_AWAY)
    .retry(AGAIN)
    .as_status(503);

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    use bursar_status::StatusExt;
    use tonic::Status;

    use super::*;

    /// The header that gRPC callers get decodes into what REST callers read.
    #[test]
    fn both_forms_say_the_same() {
        for reply in &REPLIES {
            let grpc = grpc::mapper(reply, &[], reply.retry.known());
            let headers = grpc["headers_to_add"].as_array().unwrap();
            let details = &headers.last().unwrap()["header"]["value"];
            let bytes = STANDARD_NO_PAD.decode(details.as_str().unwrap()).unwrap();
            let status = Status::with_details(reply.grpc_code, "", bytes.into());
            let details = status.get_error_details();
            let info = details.error_info().unwrap();
            let rest = rest::mapper(reply, &[]);
            let json = &rest["body_format_override"]["json_format"];
            assert_eq!(json["details"][0]["reason"], info.reason);
            assert_eq!(json["details"][0]["domain"], info.domain);
            assert_eq!(json["code"], i32::from(reply.code));
            if let Retry::After(delay) = reply.retry {
                let told = details.retry_info().unwrap().retry_delay;
                assert_eq!(told, Some(delay));
                assert_eq!(json["details"][1]["retry_delay"], "1s");
            }
        }
    }
}

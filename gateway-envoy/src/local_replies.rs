//! The answers that Envoy gives by itself, in the one error form.
//!
//! A REST caller gets google.rpc.Status as JSON, written as the transcoder
//! writes those of the services. A gRPC or gRPC-Web caller gets the same as
//! `grpc-status`, `grpc-message` and `grpc-status-details-bin`; without this,
//! Envoy would only guess a code from the HTTP status.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bursar_contracts::r#type::v1::ErrorReason;
use bursar_status::{Reason, StatusBuilder};
use serde_json::{Value, json};
use std::time::Duration;
use tonic::{Code, Status};

use crate::contract::Rpc;
use crate::envoy::{extension, set_header};
use crate::settings::RateLimits;
use crate::{rate_limits, strict_json};

/// Set by the transcoder, so a request that has it came by REST, whatever its
/// content type has become. Copies from outside are stripped.
const ORIGINAL_PATH: &str = "x-envoy-original-path";

/// How soon to try again when a service does not answer.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(1);

const BODY: &str = "%LOCAL_REPLY_BODY%";

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
        Self { rest_status, ..self }
    }

    const fn grpc(self, grpc_code: Code) -> Self {
        Self { grpc_code, ..self }
    }
}

/// Every status that Envoy may choose, except those of [`strict_json`].
fn replies() -> Vec<Reply> {
    use ErrorReason as R;
    use Message::{Fixed, Told};
    let unavailable = Fixed("a service does not answer; try again");
    let no_token = Told("the call needs a valid access token");
    let no_method = Fixed("there is no such method or route");
    let too_late = Fixed("the deadline passed; what the call asked for may yet happen");
    let again = Retry::After(UNAVAILABLE_RETRY);
    vec![
        Reply::new(400, Code::InvalidArgument, R::RequestMalformed, Fixed("the request cannot be read")),
        Reply::new(401, Code::Unauthenticated, R::Unauthenticated, no_token),
        // A token for another audience, says the JWT filter.
        Reply::new(403, Code::Unauthenticated, R::Unauthenticated, no_token).as_status(401),
        Reply::new(404, Code::NotFound, R::MethodNotFound, no_method).grpc(Code::Unimplemented),
        Reply::new(405, Code::Unimplemented, R::MethodNotFound, Fixed("the path takes other HTTP methods")),
        Reply::new(408, Code::DeadlineExceeded, R::DeadlineExceeded, Fixed("the request took too long to arrive")),
        Reply::new(413, Code::InvalidArgument, R::RequestTooLarge, Fixed("the body is too large")),
        Reply::new(429, Code::ResourceExhausted, R::RateLimited, Fixed("the rate limit is spent")).retry(Retry::RateLimit),
        Reply::new(431, Code::InvalidArgument, R::RequestTooLarge, Fixed("the headers are too large")),
        Reply::new(500, Code::Internal, R::Internal, Fixed("internal error; quote the correlation id when you report it")),
        Reply::new(502, Code::Unavailable, R::Unavailable, unavailable).retry(again).as_status(503),
        Reply::new(503, Code::Unavailable, R::Unavailable, unavailable).retry(again),
        Reply::new(504, Code::DeadlineExceeded, R::DeadlineExceeded, too_late),
    ]
}

/// The connection manager's `local_reply_config`.
pub(crate) fn config(rpcs: &[Rpc], limits: &RateLimits) -> Value {
    let replies = replies();
    let grpc = replies.iter().flat_map(|reply| grpc_mappers(reply, rpcs, limits));
    let rest = replies.iter().map(rest_mapper);
    let mappers: Vec<Value> = [keys_unavailable_grpc(), keys_unavailable_rest()]
        .into_iter()
        .chain(grpc)
        .chain([refused_field(), refused_by_transcoder()])
        .chain(rest)
        .chain([anything_else()])
        .collect();
    json!({ "mappers": mappers })
}

/// The mapper of a REST answer.
fn rest_mapper(reply: &Reply) -> Value {
    mapper(&[status_is(reply.status)], reply)
}

fn mapper(filters: &[Value], reply: &Reply) -> Value {
    let message = match reply.message {
        Message::Fixed(text) => text,
        Message::Told(_) => BODY,
    };
    let mut details = vec![error_info(reply)];
    details.extend(retry_info(reply.retry));
    json!({
        "filter": all(filters),
        "status_code": reply.rest_status,
        "headers_to_add": retry_header(reply.retry),
        "body_format_override": status_json(reply.code, message, &details),
    })
}

/// A field that [`strict_json`] refused, named as the services name theirs.
fn refused_field() -> Value {
    let violation = json!({
        "field": format!("%REQ({})%", strict_json::REFUSED_FIELD),
        "description": format!("%REQ({})%", strict_json::REFUSED_BECAUSE),
    });
    let details = [
        invalid_field(),
        json!({ "@type": type_url("BadRequest"), "field_violations": [violation] }),
    ];
    json!({
        "filter": all(&[status_is(400), has_header(strict_json::REFUSED_BECAUSE)]),
        "body_format_override": status_json(Code::InvalidArgument, BODY, &details),
    })
}

/// What only the transcoder can refuse; its text names the field.
fn refused_by_transcoder() -> Value {
    json!({
        "filter": all(&[status_is(400), has_header(ORIGINAL_PATH)]),
        "body_format_override": status_json(Code::InvalidArgument, BODY, &[invalid_field()]),
    })
}

fn invalid_field() -> Value {
    error_info_of(ErrorReason::InvalidField, &json!({}))
}

/// Without a key set no token can be judged: that is no fault of the caller's.
fn keys_unavailable() -> (Value, Reply) {
    let filter = json!({
        "extension_filter": extension(
            "envoy.access_loggers.extension_filters.cel",
            "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
            json!({ "expression": "response.code_details.startsWith('jwt_authn_access_denied{Jwks')
                && !response.code_details.contains('doesn')" }),
        ),
    });
    let message = Message::Fixed("the signing keys cannot be fetched; try again");
    let reply = Reply::new(503, Code::Unavailable, ErrorReason::Unavailable, message)
        .retry(Retry::After(UNAVAILABLE_RETRY));
    (filter, reply)
}

fn keys_unavailable_rest() -> Value {
    let (filter, reply) = keys_unavailable();
    mapper(&[status_is(401), filter], &reply)
}

fn keys_unavailable_grpc() -> Value {
    let (filter, reply) = keys_unavailable();
    grpc_mapper(&[status_is(401), filter], &reply, retry_delay(reply.retry))
}

/// The mappers of a gRPC answer: one, or for rate limits one a class.
fn grpc_mappers(reply: &Reply, rpcs: &[Rpc], limits: &RateLimits) -> Vec<Value> {
    let filters = [status_is(reply.status)];
    match reply.retry {
        Retry::No | Retry::After(_) => vec![grpc_mapper(&filters, reply, retry_delay(reply.retry))],
        Retry::RateLimit => rate_limits::refill_by_path(rpcs, limits)
            .into_iter()
            .map(|(paths, refill)| {
                let [status] = filters.clone();
                grpc_mapper(&[status, path_is_one_of(&paths)], reply, Some(refill))
            })
            .collect(),
    }
}

fn grpc_mapper(filters: &[Value], reply: &Reply, retry: Option<Duration>) -> Value {
    let text = match reply.message {
        Message::Fixed(text) | Message::Told(text) => text,
    };
    let builder = StatusBuilder::new(reply.grpc_code, reply.reason, text);
    let status: Status = match retry {
        Some(delay) => builder.retry_after(delay),
        None => builder,
    }
    .into();
    let filters: Vec<Value> = filters.iter().cloned().chain([is_grpc()]).collect();
    let mut headers = retry_header(reply.retry);
    headers.extend([
        set_header("grpc-status", &i32::from(reply.grpc_code).to_string()),
        set_header("grpc-message", text),
        set_header("grpc-status-details-bin", &STANDARD_NO_PAD.encode(status.details())),
    ]);
    json!({
        "filter": all(&filters),
        // The HTTP status of every gRPC answer; gRPC-Web clients insist on it.
        "status_code": 200,
        "headers_to_add": headers,
        // Nothing but headers: with a body, the gRPC-Web filter would take the
        // answer for one of plain HTTP and choose a code itself.
        "body_format_override": { "text_format_source": { "inline_string": "" } },
    })
}

/// For a status that no mapper above knows.
fn anything_else() -> Value {
    let comparison = json!({
        "op": "GE",
        "value": { "default_value": 400, "runtime_key": "gateway.local_reply" },
    });
    let reply = Reply::new(
        400,
        Code::InvalidArgument,
        ErrorReason::RequestMalformed,
        Message::Fixed("the request cannot be served"),
    );
    json!({
        "filter": { "status_code_filter": { "comparison": comparison } },
        "body_format_override": status_json(reply.code, "the request cannot be served", &[error_info(&reply)]),
    })
}

fn status_json(code: Code, message: &str, details: &[Value]) -> Value {
    json!({
        "json_format": { "code": i32::from(code), "message": message, "details": details },
    })
}

fn error_info(reply: &Reply) -> Value {
    let metadata = match reply.reason {
        ErrorReason::Internal => json!({ "correlation_id": "%REQ(X-REQUEST-ID)%" }),
        ErrorReason::RequestMalformed => json!({ "detail": "%RESPONSE_CODE_DETAILS%" }),
        _ => json!({}),
    };
    error_info_of(reply.reason, &metadata)
}

fn error_info_of(reason: ErrorReason, metadata: &Value) -> Value {
    json!({
        "@type": type_url("ErrorInfo"),
        "reason": reason.name(),
        "domain": ErrorReason::DOMAIN,
        "metadata": metadata,
    })
}

fn retry_info(retry: Retry) -> Option<Value> {
    let delay = match retry {
        Retry::No => return None,
        Retry::After(delay) => format!("{}s", delay.as_secs()),
        Retry::RateLimit => "%RESP(RETRY-AFTER)%s".to_owned(),
    };
    Some(json!({ "@type": type_url("RetryInfo"), "retry_delay": delay }))
}

/// The rate limiter sets its own `retry-after`.
fn retry_header(retry: Retry) -> Vec<Value> {
    match retry {
        Retry::No | Retry::RateLimit => Vec::new(),
        Retry::After(delay) => vec![set_header("retry-after", &delay.as_secs().to_string())],
    }
}

fn retry_delay(retry: Retry) -> Option<Duration> {
    match retry {
        Retry::No | Retry::RateLimit => None,
        Retry::After(delay) => Some(delay),
    }
}

fn type_url(message: &str) -> String {
    format!("type.googleapis.com/google.rpc.{message}")
}

fn all(filters: &[Value]) -> Value {
    match filters {
        [one] => one.clone(),
        several => json!({ "and_filter": { "filters": several } }),
    }
}

fn status_is(status: u16) -> Value {
    json!({
        "status_code_filter": {
            "comparison": {
                "op": "EQ",
                "value": { "default_value": status, "runtime_key": "gateway.local_reply" },
            },
        },
    })
}

fn has_header(name: &str) -> Value {
    json!({ "header_filter": { "header": { "name": name, "present_match": true } } })
}

fn path_is_one_of(paths: &[String]) -> Value {
    let is = |path: &String| {
        json!({
            "header_filter": {
                "header": { "name": ":path", "string_match": { "exact": path } },
            },
        })
    };
    match paths {
        [one] => is(one),
        several => json!({ "or_filter": { "filters": several.iter().map(is).collect::<Vec<_>>() } }),
    }
}

fn is_grpc() -> Value {
    let content_type = json!({
        "header_filter": {
            "header": { "name": "content-type", "string_match": { "prefix": "application/grpc" } },
        },
    });
    let by_rest = json!({
        "header_filter": {
            "header": { "name": ORIGINAL_PATH, "present_match": true, "invert_match": true },
        },
    });
    all(&[content_type, by_rest])
}

#[cfg(test)]
mod tests {
    use bursar_status::StatusExt;

    use super::*;

    /// The header that gRPC callers get decodes into what REST callers read.
    #[test]
    fn both_forms_say_the_same() {
        let reply = replies().into_iter().find(|reply| reply.status == 503).unwrap();
        let grpc = grpc_mapper(&[], &reply, retry_delay(reply.retry));
        let details = grpc["headers_to_add"].as_array().unwrap().last().unwrap();
        let bytes = STANDARD_NO_PAD
            .decode(details["header"]["value"].as_str().unwrap())
            .unwrap();
        let status = Status::with_details(Code::Unavailable, "", bytes.into());
        let info = status.get_error_details().error_info().cloned().unwrap();
        let rest = rest_mapper(&reply);
        let json = &rest["body_format_override"]["json_format"];
        assert_eq!(json["details"][0]["reason"], info.reason);
        assert_eq!(json["details"][0]["domain"], info.domain);
        assert_eq!(json["code"], i32::from(Code::Unavailable));
        assert_eq!(json["details"][1]["retry_delay"], "1s");
    }
}

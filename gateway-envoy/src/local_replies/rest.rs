//! The form for REST callers: google.rpc.Status in JSON.

use bursar_contracts::r#type::v1::ErrorReason;
use bursar_status::Reason;
use serde_json::{Value, json};
use tonic::Code;

use super::condition::{all, has_header, status_is, status_is_at_least, was_transcoded};
use super::{Message, Reply, Retry};
use crate::envoy::set_header;
use crate::strict_json;

/// What the filter said that refused the request, escaped for JSON by Envoy.
const TOLD: &str = "%LOCAL_REPLY_BODY%";

/// The mapper of an answer under further conditions.
pub(super) fn mapper(reply: &Reply, further: &[Value]) -> Value {
    let message = match reply.message {
        Message::Fixed(text) => text,
        Message::Told(_) => TOLD,
    };
    let mut details = vec![error_info(reply.reason)];
    details.extend(retry_info(reply.retry));
    let conditions: Vec<Value> = std::iter::once(status_is(reply.status))
        .chain(further.iter().cloned())
        .collect();
    json!({
        "filter": all(&conditions),
        "status_code": reply.rest_status,
        "headers_to_add": retry_headers(reply.retry),
        "body_format_override": status_json(reply.code, message, &details),
    })
}

/// A field that [`strict_json`] refused, named as the services name theirs.
pub(super) fn refused_field() -> Value {
    let violation = json!({
        "field": format!("%REQ({})%", strict_json::REFUSED_FIELD),
        "description": format!("%REQ({})%", strict_json::REFUSED_BECAUSE),
        "reason": "",
    });
    let bad_request = json!({ "@type": type_url("BadRequest"), "field_violations": [violation] });
    let details = [error_info(ErrorReason::InvalidField), bad_request];
    json!({
        "filter": all(&[status_is(400), has_header(strict_json::REFUSED_BECAUSE)]),
        "body_format_override": status_json(Code::InvalidArgument, TOLD, &details),
    })
}

/// What only the transcoder can refuse; its text names the field.
pub(super) fn refused_by_transcoder() -> Value {
    let details = [error_info(ErrorReason::InvalidField)];
    json!({
        "filter": all(&[status_is(400), was_transcoded()]),
        "body_format_override": status_json(Code::InvalidArgument, TOLD, &details),
    })
}

/// A status that is in no table, so that the form holds for it too.
pub(super) fn anything_else() -> Value {
    let details = [error_info(ErrorReason::RequestMalformed)];
    let message = "the request cannot be served";
    json!({
        "filter": status_is_at_least(400),
        "body_format_override": status_json(Code::InvalidArgument, message, &details),
    })
}

fn status_json(code: Code, message: &str, details: &[Value]) -> Value {
    json!({
        "json_format": { "code": i32::from(code), "message": message, "details": details },
    })
}

fn error_info(reason: ErrorReason) -> Value {
    let metadata = if reason == ErrorReason::Internal {
        json!({ "correlation_id": "%REQ(X-REQUEST-ID)%" })
    } else if reason == ErrorReason::RequestMalformed {
        json!({ "detail": "%RESPONSE_CODE_DETAILS%" })
    } else {
        json!({})
    };
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
        // The rate limiter sets this header itself, before mappers are tried.
        Retry::RateLimit => "%RESP(RETRY-AFTER)%s".to_owned(),
    };
    Some(json!({ "@type": type_url("RetryInfo"), "retry_delay": delay }))
}

fn retry_headers(retry: Retry) -> Vec<Value> {
    let delay = retry.known().map(|delay| delay.as_secs().to_string());
    delay
        .iter()
        .map(|seconds| set_header("retry-after", seconds))
        .collect()
}

fn type_url(message: &str) -> String {
    format!("type.googleapis.com/google.rpc.{message}")
}

//! The deadline: the shorter of the policy's and the caller's.

use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::response::Response;
use bursar_contracts::policy;
use bursar_contracts::r#type::v1::ErrorReason;
use bursar_status::StatusBuilder;
use tonic::Code;

/// When the answer must be there, as a request extension for the layers within.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(pub(crate) Instant);

pub(super) async fn around<F: Future<Output = Response>>(
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let Some(policy) = policy::of(request.uri().path()) else {
        return next(request).await;
    };
    let allowed = Duration::from_millis(u64::from(policy.deadline_ms));
    let asked = request
        .headers()
        .get("grpc-timeout")
        .and_then(|value| value.to_str().ok())
        .and_then(parse_timeout);
    let deadline = Instant::now() + asked.map_or(allowed, |asked| asked.min(allowed));
    request.extensions_mut().insert(Deadline(deadline));
    match tokio::time::timeout_at(deadline.into(), next(request)).await {
        Ok(response) => response,
        Err(_) => super::refuse(
            StatusBuilder::new(
                Code::DeadlineExceeded,
                ErrorReason::DeadlineExceeded,
                "the deadline passed; what was asked for may yet happen",
            )
            .retry_after(Duration::from_secs(1))
            .into(),
        ),
    }
}

/// A `grpc-timeout` header: up to eight digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let unit = text.chars().last().filter(char::is_ascii)?;
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(value * 3600)),
        'M' => Some(Duration::from_secs(value * 60)),
        'S' => Some(Duration::from_secs(value)),
        'm' => Some(Duration::from_millis(value)),
        'u' => Some(Duration::from_micros(value)),
        'n' => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every unit is read, and nonsense is no deadline.
    #[test]
    fn timeouts_are_read_by_their_unit() {
        assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse_timeout("2S"), Some(Duration::from_secs(2)));
        assert_eq!(parse_timeout("1H"), Some(Duration::from_secs(3600)));
        for nonsense in ["", "m", "12", "-1S", "123456789m", "1.5S", "1µ"] {
            assert_eq!(parse_timeout(nonsense), None, "{nonsense}");
        }
    }
}

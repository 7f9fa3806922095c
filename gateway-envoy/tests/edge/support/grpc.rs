//! What gRPC callers need.

use bursar_status::StatusExt;
use tonic::{Request, Status};

/// A request with a token.
pub(crate) fn bearer<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

/// The reason that an error names.
pub(crate) fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info();
    info.unwrap_or_else(|| panic!("no reason in {status:?}"))
        .reason
        .clone()
}

//! Builds `tonic::Status` values with google.rpc details.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::correlation;

/// A reason of the contract: a value of some `ErrorReason` enum.
pub trait Reason: Copy {
    /// The `ErrorInfo.domain`: the enum's proto package.
    const DOMAIN: &'static str;

    /// The `ErrorInfo.reason`: the value's name without the enum's prefix.
    fn name(self) -> &'static str;
}

/// An error under construction. Turn it into a `Status` with `into()`.
#[derive(Debug)]
pub struct StatusBuilder {
    code: Code,
    message: String,
    domain: &'static str,
    reason: String,
    metadata: HashMap<String, String>,
    details: ErrorDetails,
}

impl StatusBuilder {
    /// Starts an error with its code, its reason and a sentence for people.
    pub fn new<R: Reason>(code: Code, reason: R, message: impl Into<String>) -> Self {
        Self::from_parts(code, R::DOMAIN, reason.name(), message)
    }

    /// Starts an error from a reason that was stored as text. `reason` must be
    /// a name of the domain's enum; use [`StatusBuilder::new`] where the enum is at hand.
    pub fn from_parts(
        code: Code,
        domain: &'static str,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code,
            message: message.into(),
            domain,
            reason: reason.into(),
            metadata: HashMap::new(),
            details: ErrorDetails::new(),
        }
    }

    /// Adds a pair to `ErrorInfo.metadata`.
    #[must_use]
    pub fn metadata(mut self, key: &str, value: impl Into<String>) -> Self {
        self.metadata.insert(key.to_owned(), value.into());
        self
    }

    /// Names a field at fault, by its path in the request such as
    /// `amount.minor_units`, and what is wrong with it.
    #[must_use]
    pub fn field(mut self, path: impl Into<String>, description: impl Into<String>) -> Self {
        self.details.add_bad_request_violation(path, description);
        self
    }

    /// Names a condition that does not hold: its kind, what it is about, and a sentence.
    #[must_use]
    pub fn precondition(
        mut self,
        kind: impl Into<String>,
        subject: impl Into<String>,
        description: impl Into<String>,
    ) -> Self {
        self.details
            .add_precondition_failure_violation(kind, subject, description);
        self
    }

    /// Names a quota that is spent: what it is about, and a sentence.
    #[must_use]
    pub fn quota(mut self, subject: impl Into<String>, description: impl Into<String>) -> Self {
        self.details
            .add_quota_failure_violation(subject, description);
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.details.set_retry_info(Some(delay));
        self
    }
}

impl From<StatusBuilder> for Status {
    fn from(builder: StatusBuilder) -> Self {
        let mut details = builder.details;
        details.set_error_info(builder.reason, builder.domain, builder.metadata);
        Status::with_error_details(builder.code, builder.message, details)
    }
}

/// Answers an error that is our fault: logs it once with its chain of sources
/// and tells the caller only the correlation id that finds the log line.
/// `reason` is the contract's reason for internal errors.
pub fn internal<R: Reason>(reason: R, error: &(dyn Error + 'static)) -> Status {
    let correlation_id = correlation::current();
    tracing::error!(
        correlation_id = correlation_id.as_str(),
        error = chain(error),
        "internal error"
    );
    StatusBuilder::new(
        Code::Internal,
        reason,
        "internal error; quote the correlation id when you report it",
    )
    .metadata("correlation_id", correlation_id.as_str())
    .into()
}

/// An error and its sources in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    struct Broken;

    impl Reason for Broken {
        const DOMAIN: &'static str = "bursar.test.v1";
        fn name(self) -> &'static str {
            "BROKEN"
        }
    }

    /// Every part put in comes out in the details.
    #[test]
    fn details_survive_the_wire_form() {
        let status: Status = StatusBuilder::new(Code::InvalidArgument, Broken, "no")
            .metadata("transaction_id", "txn_1")
            .field("amount.minor_units", "must be positive")
            .retry_after(Duration::from_secs(2))
            .into();
        let details = status.get_error_details();
        let info = details.error_info().expect("ErrorInfo is always set");
        assert_eq!(info.reason, "BROKEN");
        assert_eq!(info.domain, "bursar.test.v1");
        assert_eq!(info.metadata["transaction_id"], "txn_1");
        let bad = details.bad_request().expect("a field was named");
        assert_eq!(bad.field_violations[0].field, "amount.minor_units");
        let retry = details.retry_info().expect("a delay was given");
        assert_eq!(retry.retry_delay, Some(Duration::from_secs(2)));
    }

    /// What went wrong inside stays inside.
    #[test]
    fn internal_errors_tell_nothing_of_the_inside() {
        let status = internal(Broken, &std::io::Error::other("password=hunter2"));
        assert_eq!(status.code(), Code::Internal);
        assert!(!format!("{status:?}").contains("hunter2"));
        let details = status.get_error_details();
        assert!(
            details
                .error_info()
                .expect("set")
                .metadata
                .contains_key("correlation_id")
        );
    }
}

//! The answer to a first request, kept for its duplicates.

use bursar_contracts::r#type::v1::ErrorReason;
use prost::Message;
use prost::bytes::Bytes;
use tonic::metadata::MetadataValue;
use tonic::{Code, Response, Status};

/// The metadata key that marks an answer as a repetition, with the value `true`.
pub const REPLAYED: &str = "idempotency-replayed";

/// The answer to a request: the response message, or a definite error.
///
/// It keeps what a caller acts on: the message byte for byte, or the error's
/// code, text and google.rpc details. Other metadata is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer(pub(super) Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The encoded response message.
    Response(Vec<u8>),
    Error {
        code: Code,
        message: String,
        /// The encoded `google.rpc.Status`, as in `grpc-status-details-bin`.
        details: Vec<u8>,
    },
}

impl Answer {
    /// The answer of a request that succeeded.
    pub fn response(message: &impl Message) -> Self {
        Self(Kind::Response(message.encode_to_vec()))
    }

    /// The answer of a request that was refused for good, such as for want of
    /// money. A transient failure is no answer: release the claim instead.
    pub fn error(status: &Status) -> Self {
        Self(Kind::Error {
            code: status.code(),
            message: status.message().to_owned(),
            details: status.details().to_vec(),
        })
    }

    /// How it is kept: the code, the message of an error, the body.
    pub(super) fn columns(&self) -> (i16, Option<&[u8]>, &[u8]) {
        match &self.0 {
            Kind::Response(bytes) => (Code::Ok as i16, None, bytes),
            Kind::Error {
                code,
                message,
                details,
            } => (*code as i16, Some(message.as_bytes()), details),
        }
    }

    /// What the duplicate is answered: the same, marked as replayed. `T` is
    /// the response message of the method in whose scope the answer was kept.
    pub fn into_result<T: Message + Default>(self) -> Result<Response<T>, Status> {
        let replayed = MetadataValue::from_static("true");
        match self.0 {
            Kind::Response(bytes) => {
                let message = T::decode(bytes.as_slice())
                    .map_err(|error| bursar_status::internal(ErrorReason::Internal, &error))?;
                let mut response = Response::new(message);
                response.metadata_mut().insert(REPLAYED, replayed);
                Ok(response)
            }
            Kind::Error {
                code,
                message,
                details,
            } => {
                let mut status = Status::with_details(code, message, Bytes::from(details));
                status.metadata_mut().insert(REPLAYED, replayed);
                Err(status)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bursar_contracts::r#type::v1::Money;
    use bursar_status::{StatusBuilder, StatusExt};

    use super::*;

    fn money() -> Money {
        Money {
            currency_code: "EUR".to_owned(),
            minor_units: 1000,
        }
    }

    /// A repeated response is the same message, marked.
    #[test]
    fn a_response_comes_back_marked() {
        let response = Answer::response(&money())
            .into_result::<Money>()
            .expect("a response was kept");
        assert_eq!(response.metadata().get(REPLAYED).expect("marked"), "true");
        assert_eq!(response.into_inner(), money());
    }

    /// A repeated error has the code, the text and the very bytes of the details.
    #[test]
    fn an_error_comes_back_byte_for_byte() {
        let first: Status = StatusBuilder::new(
            Code::FailedPrecondition,
            ErrorReason::InvalidField,
            "not enough money \u{0} für Ödön",
        )
        .metadata("transaction_id", "txn_1")
        .field("amount", "too much")
        .into();
        let again = Answer::error(&first)
            .into_result::<Money>()
            .expect_err("an error was kept");
        assert_eq!(again.code(), first.code());
        assert_eq!(again.message(), first.message());
        assert_eq!(again.details(), first.details());
        assert_eq!(again.metadata().get(REPLAYED).expect("marked"), "true");
    }

    /// An answer that cannot be read is our fault, and says nothing of itself.
    #[test]
    fn a_broken_answer_is_internal() {
        let broken = Answer(Kind::Response(vec![0xff; 4]));
        let status = broken.into_result::<Money>().expect_err("not a message");
        assert_eq!(status.code(), Code::Internal);
        let details = status.get_error_details();
        assert_eq!(details.error_info().expect("set").reason, "INTERNAL");
    }
}

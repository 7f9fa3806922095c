//! The codec of every RPC: protobuf, with requests checked against the bounds
//! of the contract before a handler sees them.
//!
//! Doing this where bytes become a message means that no handler can forget
//! it, and that a message is decoded once.

use std::marker::PhantomData;

use bursar_status::StatusBuilder;
use prost::Message;
use prost_protovalidate::{ValidationError, Violation};
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic::{Code, Status};
use tonic_prost::{ProstCodec, ProstEncoder};

use crate::r#type::v1::ErrorReason;

/// How many violations an answer names at most.
const MAX_VIOLATIONS: usize = 20;

/// How large a message's buffer is at first, and how much of a stream of messages
/// is gathered before it is sent.
const BUFFER_BYTES: usize = 1_000;
const YIELD_BYTES: usize = 32 * 1024;

/// A message that can say whether it keeps the bounds of the contract. What
/// the build writes checks requests, and lets responses pass.
pub trait Checked {
    /// The violations of the contract's bounds, if any.
    fn check(&self) -> Result<(), ValidationError>;
}

/// Protobuf with checked requests.
#[derive(Debug)]
pub struct ContractCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for ContractCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for ContractCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Checked + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = CheckedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(buffers())
    }

    fn decoder(&mut self) -> Self::Decoder {
        CheckedDecoder(PhantomData)
    }
}

/// The decoding half of [`ContractCodec`].
#[derive(Debug)]
pub struct CheckedDecoder<U>(PhantomData<U>);

impl<U: Message + Default + Checked> Decoder for CheckedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let message = U::decode(buffer).map_err(|error| {
            Status::from(
                StatusBuilder::new(
                    Code::InvalidArgument,
                    ErrorReason::InvalidField,
                    "the request is not a valid protobuf message",
                )
                .metadata("detail", error.to_string()),
            )
        })?;
        message.check().map_err(|error| invalid(&error))?;
        Ok(Some(message))
    }
}

/// Each call has two buffers from its start. The library's 8 KiB are more than
/// the allocator keeps at hand, and nearly all messages fit a tenth of them;
/// longer ones grow their buffer.
fn buffers() -> BufferSettings {
    BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
}

/// What is wrong with a field. Some rules come without words of their own.
fn description(violation: &Violation) -> String {
    match (violation.message(), violation.rule_id()) {
        ("", "string.email") => "is not an e-mail address".to_owned(),
        ("", rule) => format!("breaks the rule {rule}"),
        (message, _) => message.to_owned(),
    }
}

/// The answer to a request that breaks bounds: every field by its path.
fn invalid(error: &ValidationError) -> Status {
    let violations = error.violations();
    let summary = violations
        .first()
        .map(|violation| format!("{}: {}", violation.field_path(), description(violation)))
        .unwrap_or_else(|| "the request breaks its bounds".to_owned());
    let start = StatusBuilder::new(Code::InvalidArgument, ErrorReason::InvalidField, summary);
    violations
        .iter()
        .take(MAX_VIOLATIONS)
        .fold(start, |builder, violation| {
            builder.field(violation.field_path(), description(violation))
        })
        .into()
}

mod impls {
    #![allow(
        clippy::all,
        clippy::allow_attributes,
        reason = "generated from the protos"
    )]
    use crate::generated::{bursar, google};
    include!(concat!(env!("OUT_DIR"), "/validate_impl.rs"));
    include!(concat!(env!("OUT_DIR"), "/checked_impl.rs"));
    include!(concat!(env!("OUT_DIR"), "/reasons.rs"));
    include!(concat!(env!("OUT_DIR"), "/debug_impl.rs"));
}

#[cfg(test)]
mod tests {
    use crate::identity::v1::LoginRequest;

    /// A message with a secret shows none of its fields.
    #[test]
    fn secrets_are_not_shown() {
        let login = LoginRequest {
            email: "ada@example.com".to_owned(),
            password: "hunter2".to_owned(),
        };
        assert_eq!(format!("{login:?}"), "LoginRequest { .. }");
    }
}

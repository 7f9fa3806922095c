//! Idempotency: a request that is sent again gets its first answer again.
//!
//! A call claims its key with [`claim`] in the database transaction of its
//! effect, and records its answer with [`complete`] in that transaction or in a
//! later one. What a duplicate meets:
//!
//! | the first request | the duplicate |
//! |---|---|
//! | runs in an open transaction | waits on the primary key until that transaction ends |
//! | rolled back | claims the key itself |
//! | committed its claim, no answer yet | [`Claim::InUse`] |
//! | committed its answer | [`Claim::Replay`], business errors included |
//! | had another body | [`Claim::Reused`] |
//! | is older than [`TTL`] | claims the key itself |
//!
//! Validation failures come before the claim and transient failures roll it
//! back or [`release`] it, so neither is frozen. The database's primary key is
//! the only authority; there is no lock with a timeout anywhere. A scope
//! includes the principal, so nobody meets another's keys.
//!
//! Isolation: READ COMMITTED is assumed. Under a stricter level a duplicate
//! gets 40001 where it would have waited, and the usual retry of the whole
//! transaction finds the answer.

mod answer;
mod batch;
mod key;
mod store;

use std::time::Duration;

use bursar_contracts::r#type::v1::ErrorReason;
use bursar_status::StatusBuilder;
use prost::Message;
use sha2::{Digest, Sha256};
use tonic::{Code, Status};

use crate::id::TenantId;
pub use answer::{Answer, REPLAYED};
pub use batch::{Answered, Claiming, answer_all, claim_all, complete_all};
pub use key::{HEADER, Key, KeyInvalid};
pub use store::{Claim, claim, complete, delete_expired, release};

/// How long a key and its answer are kept.
pub const TTL: time::Duration = time::Duration::hours(24);

/// How long a caller whose first request still runs should wait.
const IN_USE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Where a key counts: the same key of another principal, or for another
/// method, is another key.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The tenant of the caller.
    pub tenant: &'a TenantId,
    /// Who asks, such as `usr_…` or `service:transaction`.
    pub principal: &'a str,
    /// The RPC's path, such as `/bursar.wallet.v1.WalletService/CreateWallet`.
    pub method: &'a str,
    /// The key that the caller chose.
    pub key: &'a Key,
}

/// What identifies the body of a request: the SHA-256 of its protobuf encoding.
///
/// The encoding is canonical because it comes from the decoded message: fields
/// in order, defaults left out, whatever the wire or the JSON looked like. The
/// contract has no map fields, which would have no order.
pub fn fingerprint(request: &impl Message) -> [u8; 32] {
    Sha256::digest(request.encode_to_vec()).into()
}

/// The answer to a call that needs a key and has none.
pub fn required() -> Status {
    StatusBuilder::new(
        Code::InvalidArgument,
        ErrorReason::IdempotencyKeyRequired,
        format!("this call needs the metadata or header `{HEADER}`"),
    )
    .into()
}

/// The answer to a key that came before with another request.
pub fn reused() -> Status {
    StatusBuilder::new(
        Code::AlreadyExists,
        ErrorReason::IdempotencyKeyReused,
        "this idempotency key was used before with another request",
    )
    .into()
}

/// The answer to a key whose first request still runs.
pub fn in_use() -> Status {
    StatusBuilder::new(
        Code::Aborted,
        ErrorReason::IdempotencyKeyInUse,
        "the first request with this idempotency key is still running; try again",
    )
    .retry_after(IN_USE_RETRY_AFTER)
    .into()
}

#[cfg(test)]
mod tests {
    use bursar_contracts::policy;
    use bursar_contracts::r#type::v1::Money;
    use bursar_status::StatusExt;

    use super::*;

    /// The fingerprint is of the request's meaning: order on the wire, spelled
    /// out defaults and unknown fields do not count, any value does.
    #[test]
    fn the_fingerprint_is_of_the_decoded_request() {
        let money = |currency: &str, minor_units| Money {
            currency_code: currency.to_owned(),
            minor_units,
        };
        let first = fingerprint(&money("EUR", 1000));
        let shuffled = [0x10, 0xe8, 0x07, 0x0a, 0x03, b'E', b'U', b'R', 0x18, 0x01];
        let decoded = Money::decode(shuffled.as_slice()).expect("protobuf");
        assert_eq!(fingerprint(&decoded), first);
        assert_ne!(fingerprint(&money("EUR", 1001)), first);
        assert_ne!(fingerprint(&money("USD", 1000)), first);
    }

    /// The encoding of a request is canonical as long as no message has a map.
    #[test]
    fn the_contract_has_no_map_field() {
        for message in policy::pool().all_messages() {
            if message.full_name().starts_with("bursar.") {
                assert!(
                    message.fields().all(|field| !field.is_map()),
                    "{}",
                    message.full_name()
                );
            }
        }
    }

    /// Each refusal has its code and its reason, and says when to come back.
    #[test]
    fn refusals_have_their_reasons() {
        for (status, code, reason) in [
            (
                required(),
                Code::InvalidArgument,
                "IDEMPOTENCY_KEY_REQUIRED",
            ),
            (reused(), Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED"),
            (in_use(), Code::Aborted, "IDEMPOTENCY_KEY_IN_USE"),
        ] {
            assert_eq!(status.code(), code);
            let details = status.get_error_details();
            assert_eq!(details.error_info().expect("set").reason, reason);
            assert_eq!(details.retry_info().is_some(), code == Code::Aborted);
        }
    }
}

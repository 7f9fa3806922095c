//! The signature of a callback.
//!
//! The header `sandbox-signature` is `t=<unix seconds>,v1=<hex>`, where the hex
//! is HMAC-SHA256, under the shared secret, of the seconds as written, a full
//! stop, and the body byte for byte.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use time::OffsetDateTime;

/// The header of the signature.
pub(crate) const HEADER: &str = "sandbox-signature";

/// The header's value for a body sent at `now`.
pub(crate) fn sign(secret: &str, body: &str, now: OffsetDateTime) -> String {
    let seconds = now.unix_timestamp();
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body.as_bytes());
    let code = hex::encode(mac.finalize().into_bytes());
    format!("t={seconds},v1={code}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value is what any other implementation of the description gives.
    #[test]
    fn the_signature_is_as_described() {
        let now = OffsetDateTime::from_unix_timestamp(1_700_000_000).expect("a valid time");
        let value = sign("s3cret", "{}", now);
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac s3cret
        assert_eq!(value, EXPECTED);
    }

    const EXPECTED: &str =
        "t=1700000000,v1=97926816e98fbb41ccb1673225ff29a2f35369099990e1b1561651e7bd097ebf";
}

//! The signature of a callback: the header is `t=<unix seconds>,v1=<hex>`,
//! where the hex is HMAC-SHA256 of the seconds, a full stop and the body.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use time::OffsetDateTime;

/// The header of the signature.
pub(super) const HEADER: &str = "sandbox-signature";
/// How far the time of a signature may be from ours, in seconds. An older
/// callback may be somebody's copy.
const TOLERANCE_SECONDS: u64 = 300;

/// Whether the header's value is a signature of the body, made around `now`.
/// The comparison takes the same time whatever is wrong.
pub(super) fn is_right(secret: &str, value: &str, body: &[u8], now: OffsetDateTime) -> bool {
    let Some((seconds, code)) = parts(value) else {
        return false;
    };
    let Ok(signed_at) = seconds.parse::<i64>() else {
        return false;
    };
    if now.unix_timestamp().abs_diff(signed_at) > TOLERANCE_SECONDS {
        return false;
    }
    let Ok(code) = hex::decode(code) else {
        return false;
    };
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(seconds.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.verify_slice(&code).is_ok()
}

/// The seconds and the hex of `t=…,v1=…`.
fn parts(value: &str) -> Option<(&str, &str)> {
    let (time, code) = value.split_once(',')?;
    Some((time.strip_prefix("t=")?, code.strip_prefix("v1=")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str =
        "t=1700000000,v1=97926816e98fbb41ccb1673225ff29a2f35369099990e1b1561651e7bd097ebf";

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(seconds).expect("a valid time")
    }

    /// The value is what the provider's documentation says.
    #[test]
    fn a_right_signature_is_taken() {
        assert!(is_right("s3cret", VALUE, b"{}", at(1_700_000_000)));
        assert!(is_right("s3cret", VALUE, b"{}", at(1_700_000_300)));
        assert!(is_right("s3cret", VALUE, b"{}", at(1_699_999_700)));
    }

    /// Another secret, body or time, or no signature at all, is refused.
    #[test]
    fn everything_else_is_refused() {
        let now = at(1_700_000_000);
        assert!(!is_right("secret", VALUE, b"{}", now));
        assert!(!is_right("s3cret", VALUE, b"{ }", now));
        assert!(!is_right("s3cret", VALUE, b"{}", at(1_700_000_301)));
        assert!(!is_right(
            "s3cret",
            &VALUE.replace("1700000000", "1700000001"),
            b"{}",
            now
        ));
        for value in [
            "",
            "t=1700000000",
            "v1=00",
            "t=x,v1=00",
            "t=1700000000,v1=zz",
            "t=1,v1=",
        ] {
            assert!(!is_right("s3cret", value, b"{}", now), "{value}");
        }
    }
}

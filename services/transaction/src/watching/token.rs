//! How long a caller's token is good for.
//!
//! A call is permitted when it begins; a stream that goes on must end when the
//! token does. The token was verified before, so its claims are read as they are.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bursar_auth::Caller;
use bursar_server::now;
use secrecy::ExposeSecret;
use serde::Deserialize;

#[derive(Deserialize)]
struct Claims {
    /// When it ends, in seconds of the Unix epoch.
    exp: i64,
}

/// How long the caller's token is still good for; `None` when that cannot be read.
pub(crate) fn left(caller: &Caller) -> Option<Duration> {
    let ends_at = expiry(caller.token.as_ref()?.expose_secret())?;
    let seconds = ends_at.saturating_sub(now().unix_timestamp());
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

fn expiry(token: &str) -> Option<i64> {
    let payload = token.split('.').nth(1)?;
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: Claims = serde_json::from_slice(&bytes).ok()?;
    Some(claims.exp)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(payload: &str) -> String {
        format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(payload))
    }

    /// The end of a token is read from its claims.
    #[test]
    fn the_end_is_read() {
        assert_eq!(
            expiry(&token(r#"{"sub":"usr_1","exp":1700000000}"#)),
            Some(1_700_000_000)
        );
        assert_eq!(expiry(&token(r#"{"sub":"usr_1"}"#)), None);
    }

    proptest! {
        /// No text breaks the reader.
        #[test]
        fn any_text_is_read_or_not(text in ".{0,200}", payload in ".{0,100}") {
            let _ = expiry(&text);
            let _ = expiry(&token(&payload));
        }
    }
}

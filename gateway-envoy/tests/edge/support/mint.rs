//! Tokens, good and forged.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

const KEY_ID: &str = "edge-test";

/// Signs tokens as identity would.
pub(crate) struct Mint {
    key: SigningKey,
}

/// The present, in seconds of the Unix epoch.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("the clock is past 1970").as_secs()
}

impl Mint {
    pub(crate) fn new() -> Self {
        Self {
            key: SigningKey::from_bytes(&[7; 32]),
        }
    }

    /// One whose key nobody published.
    pub(crate) fn forger() -> Self {
        Self {
            key: SigningKey::from_bytes(&[9; 32]),
        }
    }

    /// The key set that identity publishes.
    pub(crate) fn jwks(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.public_key());
        json!({ "keys": [{
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": KEY_ID, "x": x,
        }] })
    }

    pub(crate) fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// The claims of a good token.
    pub(crate) fn claims(subject: &str) -> Value {
        json!({
            "iss": "https://identity.bursar.local",
            "aud": "bursar",
            "sub": subject,
            "sid": "ses_1",
            "roles": ["user"],
            "iat": now(),
            "exp": now() + 900,
        })
    }

    /// The header of a good token.
    pub(crate) fn header() -> Value {
        json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": KEY_ID })
    }

    /// A good token.
    pub(crate) fn token(&self, subject: &str) -> String {
        self.sign(&Self::header(), &Self::claims(subject))
    }

    /// Any token, with this key's signature.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let text = unsigned(header, claims);
        let signature = self.key.sign(text.as_bytes()).to_bytes();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A token "signed" with the public key as if it were a shared secret.
    pub(crate) fn sign_with_public_key(&self, claims: &Value) -> String {
        let text = unsigned(
            &json!({ "alg": "HS256", "typ": "at+jwt", "kid": KEY_ID }),
            claims,
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.public_key()).unwrap();
        mac.update(text.as_bytes());
        format!(
            "{text}.{}",
            URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
        )
    }
}

/// A token without its signature.
fn unsigned(header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

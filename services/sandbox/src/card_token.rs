//! The token of a card: HMAC-SHA256 of its number under a key of the provider, cut
//! to 128 bits. The same number always has the same token, and without the key a
//! token cannot be tried out against numbers, of which there are too few to be
//! hidden by a hash alone.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::domain::{Card, CardNumber};

/// How many bytes of the code make a token.
const TOKEN_BYTES: usize = 16;

/// What is kept of a card.
pub(crate) fn card(number: &CardNumber, key: &SecretString) -> Card {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(b"card token\0");
    mac.update(number.digits().as_bytes());
    let code = mac.finalize().into_bytes();
    number.card(format!("tok_{}", hex::encode(&code[..TOKEN_BYTES])))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token follows from the number and the key, however the number is
    /// written.
    #[test]
    fn tokens_depend_on_number_and_key() {
        let token = |text: &str, key: &str| {
            let number = CardNumber::parse(text).expect("a number");
            card(&number, &SecretString::from(key)).token
        };
        let one = token("4242424242424242", "a key");
        assert_eq!(one.len(), 36);
        assert_eq!(one, token("4242 4242 4242 4242", "a key"));
        assert_ne!(one, token("4242424242424242", "another key"));
        assert_ne!(one, token("5555555555554444", "a key"));
    }
}

//! Makes access tokens and refresh tokens.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bursar_aip::id::{SessionId, TenantId, UserId};
use bursar_auth::{Claims, TOKEN_TYPE, TokenKind};
use jsonwebtoken::{Algorithm, Header};
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::domain::role::Granted;
use crate::domain::session::{ACCESS_TOKEN_LIFETIME, SERVICE_TOKEN_LIFETIME};
use crate::keyring::{Keyring, KeyringError};
use crate::secret;

/// What the role of service accounts is called in their tokens.
const SERVICE_ROLE: &str = "service";

/// What refresh tokens start with, so that scanners for leaked secrets and
/// people who read a configuration recognise one.
const REFRESH_TOKEN_PREFIX: &str = "brt_";

/// Why no access token can be made.
#[derive(Debug, Error)]
pub enum TokenError {
    /// There is no key.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The signature could not be made.
    #[error("the access token cannot be signed")]
    Signing(#[from] jsonwebtoken::errors::Error),
}

/// An access token and how long it is good for.
#[derive(Debug)]
pub struct AccessToken {
    /// The token.
    pub text: SecretString,
    /// How long it is good for, in seconds.
    pub expires_in_seconds: u32,
}

/// Whom a user's token is for.
pub struct UserSubject<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The user.
    pub user: UserId,
    /// The user's session.
    pub session: SessionId,
    /// What the user may do.
    pub granted: Granted,
}

/// Whom a service's token is for.
pub struct ServiceSubject<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The account's name.
    pub client_id: &'a str,
    /// What the account may do.
    pub permissions: Vec<String>,
}

/// Issues access tokens. Cheap to clone.
#[derive(Clone)]
pub struct Issuer {
    /// Who issues, as the tokens say.
    pub issuer: Arc<str>,
    /// Whom the tokens are for, as they say.
    pub audience: Arc<str>,
    /// What signs them.
    pub keyring: Arc<Keyring>,
}

impl Issuer {
    /// A token of a user's session.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn user(
        &self,
        subject: UserSubject<'_>,
        now: OffsetDateTime,
    ) -> Result<AccessToken, TokenError> {
        let claims = self.claims(subject.tenant, TokenKind::User, ACCESS_TOKEN_LIFETIME, now);
        self.sign(
            &Claims {
                sub: subject.user.to_string(),
                sid: Some(subject.session.to_string()),
                roles: subject.granted.roles,
                permissions: subject.granted.permissions,
                ..claims
            },
            now,
        )
    }

    /// A token of a service account.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn service(
        &self,
        subject: ServiceSubject<'_>,
        now: OffsetDateTime,
    ) -> Result<AccessToken, TokenError> {
        let claims = self.claims(
            subject.tenant,
            TokenKind::Service,
            SERVICE_TOKEN_LIFETIME,
            now,
        );
        self.sign(
            &Claims {
                sub: format!("svc_{}", subject.client_id),
                roles: vec![SERVICE_ROLE.to_owned()],
                permissions: subject.permissions,
                ..claims
            },
            now,
        )
    }

    /// The claims that all tokens have; the subject is for the caller to fill in.
    fn claims(
        &self,
        tenant: &TenantId,
        kind: TokenKind,
        lifetime: Duration,
        now: OffsetDateTime,
    ) -> Claims {
        Claims {
            iss: self.issuer.to_string(),
            aud: self.audience.to_string(),
            sub: String::new(),
            kind,
            sid: None,
            roles: Vec::new(),
            permissions: Vec::new(),
            tenant: tenant.to_string(),
            tier: 0,
            iat: now.unix_timestamp(),
            exp: (now + lifetime).unix_timestamp(),
            jti: Uuid::now_v7().to_string(),
        }
    }

    fn sign(&self, claims: &Claims, now: OffsetDateTime) -> Result<AccessToken, TokenError> {
        let key = self.keyring.signer(now)?;
        let header = Header {
            typ: Some(TOKEN_TYPE.to_owned()),
            kid: Some(key.kid().to_owned()),
            ..Header::new(Algorithm::EdDSA)
        };
        let text = jsonwebtoken::encode(&header, claims, key.signing())?;
        let seconds = claims.exp - claims.iat;
        Ok(AccessToken {
            text: SecretString::from(text),
            expires_in_seconds: u32::try_from(seconds).expect("lifetimes are minutes"),
        })
    }
}

/// A refresh token: 256 random bits, good for nothing but being recognised.
#[derive(Debug)]
pub struct RefreshToken(SecretString);

impl RefreshToken {
    /// A new token.
    pub fn generate() -> Self {
        let bits: [u8; 32] = rand::random();
        let text = format!(
            "{REFRESH_TOKEN_PREFIX}{}",
            BASE64_URL_SAFE_NO_PAD.encode(bits)
        );
        Self(SecretString::from(text))
    }

    /// Takes over what a caller presents.
    pub fn presented(text: String) -> Self {
        Self(SecretString::from(text))
    }

    /// What the database keeps of it.
    pub fn hash(&self) -> [u8; 32] {
        secret::hash(&self.0)
    }

    /// The token, to be handed out.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens differ, hash by their text, and do not show in a log.
    #[test]
    fn refresh_tokens_are_opaque() {
        let token = RefreshToken::generate();
        assert_ne!(token.hash(), RefreshToken::generate().hash());
        assert_eq!(
            token.hash(),
            RefreshToken::presented(token.expose().to_owned()).hash()
        );
        assert_eq!(token.expose().len(), REFRESH_TOKEN_PREFIX.len() + 43);
        assert!(!format!("{token:?}").contains(token.expose()));
    }
}

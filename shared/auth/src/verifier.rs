//! Verifies access tokens against the key set of identity.
//!
//! Only EdDSA is accepted, only keys of the fetched set by their `kid`, and
//! only tokens typed `at+jwt`; what a token's header says of keys or algorithms
//! is never followed. Verified tokens are cached by their hash until they end,
//! and a cached token whose key has left the set is verified anew, so a retired
//! key is refused as soon as the new set is known.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use bursar_aip::id::{SessionId, TenantId, UserId};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use crate::caller::{Caller, Subject};
use crate::claims::{Claims, TOKEN_TYPE, TokenKind};
use crate::permission::Grants;

/// The issuer of tokens unless the configuration names another.
pub const DEFAULT_ISSUER: &str = "https://identity.bursar.local";
/// The audience of tokens unless the configuration names another.
pub const DEFAULT_AUDIENCE: &str = "bursar";

/// How far the clocks of issuer and verifier may differ.
const LEEWAY_SECONDS: i64 = 30;
/// How old the key set may become before it is fetched again.
const MAX_KEY_AGE: Duration = Duration::from_secs(300);
/// How long an unknown `kid` must wait before it causes another fetch.
const MIN_FETCH_INTERVAL: Duration = Duration::from_secs(1);
/// How long a fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(2);
/// How many verified tokens are remembered, and how long.
const CACHE_TOKENS: u64 = 20_000;
const CACHE_TTL: Duration = Duration::from_secs(60);

/// Why a token was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The token is not one of ours, has ended, or is malformed.
    #[error("the access token is not valid")]
    Invalid,
    /// The key set could not be fetched, so nothing can be said of the token.
    #[error("the key set cannot be fetched: {0}")]
    KeysUnavailable(String),
}

/// Where the keys come from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// The address of a JSON Web Key Set, fetched when needed.
    Url(String),
    /// A set that never changes, for tests.
    Fixed(JwkSet),
}

struct Keys {
    by_kid: HashMap<String, DecodingKey>,
    fetched_at: Instant,
}

#[derive(Clone)]
struct Verified {
    caller: Arc<Caller>,
    kid: String,
    exp: i64,
}

/// Turns access tokens into callers. Cheap to clone.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    source: KeySource,
    validation: Validation,
    keys: RwLock<Option<Arc<Keys>>>,
    fetching: Mutex<()>,
    http: reqwest::Client,
    verified: moka::sync::Cache<[u8; 32], Verified>,
}

impl Verifier {
    /// A verifier of tokens by `issuer` for `audience`.
    pub fn new(source: KeySource, issuer: &str, audience: &str) -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.leeway = LEEWAY_SECONDS.unsigned_abs();
        let keys = match &source {
            KeySource::Url(_) => None,
            KeySource::Fixed(set) => Some(Arc::new(Keys::from_set(set))),
        };
        Self(Arc::new(Inner {
            source,
            validation,
            keys: RwLock::new(keys),
            fetching: Mutex::new(()),
            http: reqwest::Client::builder()
                .timeout(FETCH_TIMEOUT)
                .build()
                .expect("a client without TLS has nothing that can fail to load"),
            verified: moka::sync::Cache::builder()
                .max_capacity(CACHE_TOKENS)
                .time_to_live(CACHE_TTL)
                .build(),
        }))
    }

    /// Verifies a token. `now` is in seconds of the Unix epoch.
    pub async fn verify(&self, token: &str, now: i64) -> Result<Arc<Caller>, VerifyError> {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(known) = self.0.verified.get(&hash) {
            let key_is_current = self
                .current_keys()
                .is_some_and(|keys| keys.by_kid.contains_key(&known.kid) && !self.is_stale(&keys));
            if key_is_current && now < known.exp {
                return Ok(known.caller);
            }
            self.0.verified.invalidate(&hash);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| VerifyError::Invalid)?;
        if header.alg != Algorithm::EdDSA || header.typ.as_deref() != Some(TOKEN_TYPE) {
            return Err(VerifyError::Invalid);
        }
        let kid = header.kid.ok_or(VerifyError::Invalid)?;
        let keys = self.keys_with(&kid).await?;
        let key = keys.by_kid.get(&kid).ok_or(VerifyError::Invalid)?;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &self.0.validation)
            .map_err(|_| VerifyError::Invalid)?
            .claims;
        let exp = claims.exp;
        if now >= exp + LEEWAY_SECONDS {
            return Err(VerifyError::Invalid);
        }
        let caller = Arc::new(caller_of(claims, token)?);
        self.0.verified.insert(
            hash,
            Verified {
                caller: Arc::clone(&caller),
                kid,
                exp,
            },
        );
        Ok(caller)
    }

    /// Fetches the key set now, to see whether it can be had.
    pub async fn check_keys(&self) -> Result<(), VerifyError> {
        match self.current_keys() {
            Some(keys) if !self.is_stale(&keys) => Ok(()),
            _ => self.fetch(None).await.map(|_| ()),
        }
    }

    fn current_keys(&self) -> Option<Arc<Keys>> {
        self.0
            .keys
            .read()
            .expect("no code panics while it holds this lock")
            .clone()
    }

    fn is_stale(&self, keys: &Keys) -> bool {
        matches!(self.0.source, KeySource::Url(_)) && keys.fetched_at.elapsed() > MAX_KEY_AGE
    }

    /// The key set, fetched when there is none, when it is old, or when it has no such key.
    async fn keys_with(&self, kid: &str) -> Result<Arc<Keys>, VerifyError> {
        if let Some(keys) = self.current_keys()
            && !self.is_stale(&keys)
            && (keys.by_kid.contains_key(kid) || matches!(self.0.source, KeySource::Fixed(_)))
        {
            return Ok(keys);
        }
        self.fetch(Some(kid)).await
    }

    /// Fetches the set unless another call did so just now. An old set serves on
    /// while identity cannot be reached.
    async fn fetch(&self, wanted: Option<&str>) -> Result<Arc<Keys>, VerifyError> {
        let _one_at_a_time = self.0.fetching.lock().await;
        if let Some(keys) = self.current_keys() {
            let has_wanted = wanted.is_none_or(|kid| keys.by_kid.contains_key(kid));
            let is_new = keys.fetched_at.elapsed() < MIN_FETCH_INTERVAL;
            if is_new || (has_wanted && !self.is_stale(&keys)) {
                return Ok(keys);
            }
        }
        let KeySource::Url(url) = &self.0.source else {
            return self
                .current_keys()
                .ok_or_else(|| VerifyError::KeysUnavailable("no keys".to_owned()));
        };
        let fetched = async {
            let response = self.0.http.get(url).send().await?.error_for_status()?;
            response.json::<JwkSet>().await
        };
        match fetched.await {
            Ok(set) => {
                let keys = Arc::new(Keys::from_set(&set));
                *self
                    .0
                    .keys
                    .write()
                    .expect("no code panics while it holds this lock") = Some(Arc::clone(&keys));
                Ok(keys)
            }
            Err(error) => match self.current_keys() {
                Some(keys) if wanted.is_none_or(|kid| keys.by_kid.contains_key(kid)) => {
                    tracing::warn!(%error, "the key set cannot be fetched; the last one serves on");
                    Ok(keys)
                }
                _ => Err(VerifyError::KeysUnavailable(error.to_string())),
            },
        }
    }
}

impl Keys {
    fn from_set(set: &JwkSet) -> Self {
        let by_kid = set
            .keys
            .iter()
            .filter_map(|key| {
                let kid = key.common.key_id.clone()?;
                Some((kid, DecodingKey::from_jwk(key).ok()?))
            })
            .collect();
        Self {
            by_kid,
            fetched_at: Instant::now(),
        }
    }
}

/// The caller that verified claims speak for.
fn caller_of(claims: Claims, token: &str) -> Result<Caller, VerifyError> {
    let subject = match claims.kind {
        TokenKind::User => Subject::User(
            claims
                .sub
                .parse::<UserId>()
                .map_err(|_| VerifyError::Invalid)?,
        ),
        TokenKind::Service => Subject::Service(
            claims
                .sub
                .strip_prefix("svc_")
                .ok_or(VerifyError::Invalid)?
                .to_owned(),
        ),
    };
    let session = claims
        .sid
        .map(|sid| sid.parse::<SessionId>())
        .transpose()
        .map_err(|_| VerifyError::Invalid)?;
    let tier = match subject {
        Subject::User(_) => claims.tier,
        Subject::Anonymous | Subject::Service(_) => 0,
    };
    Ok(Caller {
        subject,
        session,
        tier,
        tenant: claims
            .tenant
            .parse::<TenantId>()
            .map_err(|_| VerifyError::Invalid)?,
        grants: Grants::from_texts(claims.permissions.iter().map(String::as_str)),
        roles: claims.roles,
        on_behalf_of: None,
        token: Some(SecretString::from(token)),
    })
}

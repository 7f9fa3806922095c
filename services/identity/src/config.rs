//! What identity reads from its environment, checked before anything starts.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use bursar_seal::KeyEncryptionKey;
use bursar_server::{Environment, Start};
use secrecy::{ExposeSecret, SecretString};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use time::Duration;

use crate::domain::password::{self, PasswordError};
use crate::domain::service_account::ClientId;
use crate::domain::user::EmailAddress;

/// The administrator's address in development, when none is configured.
const DEVELOPMENT_ADMIN: &str = "admin@bursar.local";

/// The variables, as they are written. Each field is `BURSAR_` and its name in upper case.
#[derive(Deserialize)]
struct Settings {
    bootstrap_admin_email: Option<String>,
    bootstrap_admin_password: Option<Secret>,
    service_accounts: Option<Secret>,
    key_encryption_key: Option<Secret>,
    #[serde(default = "default_signing_key_days")]
    signing_key_days: u16,
}

/// A secret in the environment. Unlike a plain string it says nothing of its
/// value when it cannot be read, as when it looks like a number.
struct Secret(SecretString);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)
            .map(|text| Self(SecretString::from(text)))
            .map_err(|_| D::Error::custom("a secret must be text, not a number or a list"))
    }
}

fn default_signing_key_days() -> u16 {
    90
}

/// The configuration of identity. No `Debug`: it holds secrets.
pub struct Config {
    /// The administrator to make sure of; `None` for no such user.
    pub admin: Option<Admin>,
    /// The service accounts to make sure of, with their secrets.
    pub service_accounts: BTreeMap<ClientId, SecretString>,
    /// The key that signing keys are sealed with.
    pub key_encryption_key: Arc<KeyEncryptionKey>,
    /// How long a signing key signs.
    pub signing_key_lifetime: Duration,
}

/// The first administrator.
pub struct Admin {
    /// The address to log in with.
    pub email: EmailAddress,
    /// The password; `None` in development only, where one is drawn.
    pub password: Option<SecretString>,
}

impl Config {
    /// Reads the configuration and refuses what is not safe to start with.
    ///
    /// # Errors
    /// With a sentence that names the variable and what is wrong with it,
    /// never its value.
    pub fn read(start: &Start) -> anyhow::Result<Self> {
        let settings: Settings = start.settings()?;
        ensure!(
            settings.signing_key_days > 0,
            "BURSAR_SIGNING_KEY_DAYS must be at least 1"
        );
        Ok(Self {
            admin: admin(start, &settings)?,
            service_accounts: service_accounts(start, &settings)?,
            key_encryption_key: Arc::new(key_encryption_key(start, &settings)?),
            signing_key_lifetime: Duration::days(i64::from(settings.signing_key_days)),
        })
    }
}

fn key_encryption_key(start: &Start, settings: &Settings) -> anyhow::Result<KeyEncryptionKey> {
    const NAME: &str = "BURSAR_KEY_ENCRYPTION_KEY";
    let Secret(text) = settings.key_encryption_key.as_ref().with_context(|| {
        format!("{NAME} is not set; make one with `head -c 32 /dev/urandom | base64`")
    })?;
    let key = match start.config.environment {
        Environment::Development => KeyEncryptionKey::parse(text),
        Environment::Production => KeyEncryptionKey::parse_drawn(text),
    };
    key.context(NAME)
}

fn admin(start: &Start, settings: &Settings) -> anyhow::Result<Option<Admin>> {
    let password = settings
        .bootstrap_admin_password
        .as_ref()
        .map(|Secret(password)| password.clone())
        .filter(|password| !password.expose_secret().is_empty());
    let email = settings
        .bootstrap_admin_email
        .as_deref()
        .filter(|email| !email.is_empty());
    let development = start.config.environment == Environment::Development;
    let (email, password) = match (email, password) {
        (Some(email), Some(password)) => (email, Some(password)),
        (Some(email), None) if development => (email, None),
        (None, password) if development => (DEVELOPMENT_ADMIN, password),
        (None, None) => return Ok(None),
        (Some(_), None) => bail!(
            "BURSAR_BOOTSTRAP_ADMIN_EMAIL is set without BURSAR_BOOTSTRAP_ADMIN_PASSWORD; outside \
             development no password is made up"
        ),
        (None, Some(_)) => {
            bail!("BURSAR_BOOTSTRAP_ADMIN_PASSWORD is set without BURSAR_BOOTSTRAP_ADMIN_EMAIL")
        }
    };
    let email = EmailAddress::parse(email).context("BURSAR_BOOTSTRAP_ADMIN_EMAIL")?;
    if let Some(password) = &password {
        check_password(start, password, &email).context("BURSAR_BOOTSTRAP_ADMIN_PASSWORD")?;
    }
    Ok(Some(Admin { email, password }))
}

/// In development any password does that a login takes; elsewhere it keeps
/// the rules of every user's and is none that anybody could guess.
fn check_password(
    start: &Start,
    password: &SecretString,
    email: &EmailAddress,
) -> anyhow::Result<()> {
    if start.config.environment == Environment::Development {
        let chars = password.expose_secret().chars().count();
        ensure!(chars <= password::MAX_CHARS, PasswordError::Length);
        return Ok(());
    }
    start.config.require_strong("the password", password)?;
    password::check(password.expose_secret(), email)?;
    Ok(())
}

fn service_accounts(
    start: &Start,
    settings: &Settings,
) -> anyhow::Result<BTreeMap<ClientId, SecretString>> {
    let Some(Secret(text)) = &settings.service_accounts else {
        return Ok(BTreeMap::new());
    };
    let accounts = parse_accounts(text.expose_secret())?;
    for (client_id, secret) in &accounts {
        let name = format!("the secret of {client_id} in {ACCOUNTS}");
        start.config.require_strong(&name, secret)?;
    }
    Ok(accounts)
}

const ACCOUNTS: &str = "BURSAR_SERVICE_ACCOUNTS";

/// Reads `name=secret,name=secret`. Blanks around a pair are left out; a secret
/// may contain `=` but no comma.
fn parse_accounts(text: &str) -> anyhow::Result<BTreeMap<ClientId, SecretString>> {
    let mut accounts = BTreeMap::new();
    for pair in text
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
    {
        let place = accounts.len() + 1;
        let (name, secret) = pair
            .split_once('=')
            .with_context(|| format!("{ACCOUNTS}: pair {place} is not `name=secret`"))?;
        let client_id =
            ClientId::parse(name).with_context(|| format!("{ACCOUNTS}: pair {place}"))?;
        ensure!(
            !secret.is_empty(),
            "{ACCOUNTS}: {client_id} has an empty secret"
        );
        let known = accounts.insert(client_id.clone(), SecretString::from(secret));
        ensure!(known.is_none(), "{ACCOUNTS}: {client_id} comes twice");
    }
    Ok(accounts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs are read, and every mistake is refused without showing a secret.
    #[test]
    fn accounts_are_pairs() {
        let accounts = parse_accounts("wallet=s3cret=, admin=hush,").expect("well formed");
        let names: Vec<&str> = accounts.keys().map(ClientId::as_str).collect();
        assert_eq!(names, ["admin", "wallet"]);
        let wallet = ClientId::parse("wallet").expect("well formed");
        assert_eq!(accounts[&wallet].expose_secret(), "s3cret=");
        for bad in ["hush", "Wallet=hush", "wallet=", "wallet=hush,wallet=hush"] {
            let error = parse_accounts(bad).expect_err(bad);
            assert!(!format!("{error:#}").contains("hush"), "{error:#}");
        }
    }
}

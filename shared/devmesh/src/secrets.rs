//! Every password and key of a mesh: random, made once, kept in one private file.

use std::collections::BTreeMap;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::home::{Home, json};

/// The generated secrets of one mesh. No `Debug`: it would print them.
#[derive(Clone, Default, Deserialize, Serialize)]
pub struct Secrets {
    values: BTreeMap<String, String>,
}

impl Secrets {
    /// The secrets of this home; those that are missing are made as they are
    /// first asked for and kept by [`Secrets::save`].
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load(home: &Home) -> io::Result<Self> {
        Ok(json::read(&home.secrets())?.unwrap_or_default())
    }

    /// Keeps what was made.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, home: &Home) -> io::Result<()> {
        json::write(&home.secrets(), self)
    }

    /// A password of 192 random bits, safe in URLs, shells and SQL literals.
    pub fn password(&mut self, name: &str) -> String {
        self.value(name, || hex::encode(rand::random::<[u8; 24]>()))
    }

    /// A key of 32 random bytes in base64.
    pub fn key(&mut self, name: &str) -> String {
        self.value(name, || STANDARD.encode(rand::random::<[u8; 32]>()))
    }

    fn value(&mut self, name: &str, make: impl FnOnce() -> String) -> String {
        self.values
            .entry(name.to_owned())
            .or_insert_with(make)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once() {
        // Asking again gives the same value; another name gives another one.
        let mut secrets = Secrets::default();
        let first = secrets.password("wallet");
        assert_eq!(first, secrets.password("wallet"));
        assert_ne!(first, secrets.password("identity"));
        assert_eq!(STANDARD.decode(secrets.key("kek")).unwrap().len(), 32);
    }
}

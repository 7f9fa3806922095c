//! What a mesh is meant to be, as the last command said.
//!
//! `up` and `down` write it; the supervisor reads it and makes it true. Because
//! it is a file and not a message, it is still there when the supervisor that
//! should have obeyed was killed.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::home::{Home, json};
use crate::process::identity::ProcessId;

/// Which processes belong to the mesh.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// PostgreSQL and Valkey alone: what store tests need.
    Servers,
    /// Everything.
    Mesh,
}

/// The settings of a mesh.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Intent {
    /// Rises with every command, so that the supervisor can say which one it
    /// has carried out.
    pub generation: u64,
    /// False after `down`.
    pub running: bool,
    /// What is started.
    pub scope: Scope,
    /// Where the pinned tools are.
    pub tools: PathBuf,
    /// Where the services' binaries are.
    pub binaries: PathBuf,
    /// The gateway's port; `None` for any free one.
    pub gateway_port: Option<u16>,
    /// Whether the gateway limits rates.
    pub rate_limits: bool,
    /// Whether PostgreSQL waits for the disk. Only throwaway databases do not.
    pub durable: bool,
    /// Settings of PostgreSQL besides the usual ones.
    #[serde(default)]
    pub postgres: Vec<(String, String)>,
    /// The bootstrap administrator.
    pub admin: BootstrapAdmin,
    /// Variables handed on from the environment of `up`.
    pub environment: BTreeMap<String, String>,
    /// The mesh ends, and its state goes, when this process does.
    pub owner: Option<ProcessId>,
}

/// The first administrator's credentials. `Debug` leaves the password out.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
pub struct BootstrapAdmin {
    /// The address to log in with.
    pub email: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for BootstrapAdmin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("BootstrapAdmin")
            .field("email", &self.email)
            .finish_non_exhaustive()
    }
}

impl Intent {
    /// The intent of this home, if any command ever ran there.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load(home: &Home) -> io::Result<Option<Self>> {
        json::read(&home.intent())
    }

    /// Makes this the intent.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, home: &Home) -> io::Result<()> {
        json::write(&home.intent(), self)
    }
}

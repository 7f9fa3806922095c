//! The mesh that a command works on: the running one, or one started for it.

use std::path::Path;

use crate::commands::up::{DEFAULT_GATEWAY_PORT, Progress, UpOptions, up};
use crate::home::Home;
use crate::intent::{Intent, Scope};
use crate::mesh::Mesh;
use crate::process::launch::Record;
use crate::supervisor;

/// Attaches to the mesh in this home, and brings it up first when it is down,
/// with the settings it had.
///
/// # Errors
/// As [`up`].
pub async fn running(path: &Path, mut progress: impl FnMut(&Progress)) -> anyhow::Result<Mesh> {
    let intent = match Home::open(path)? {
        Some(home) => Intent::load(&home)?.map(|intent| (home, intent)),
        None => None,
    };
    let is_up = intent.as_ref().is_some_and(|(home, intent)| {
        intent.running && Record::read_alive(home, supervisor::NAME).is_some()
    });
    if !is_up {
        progress(&Progress::Starting);
        let gateway_port = intent.map_or(Some(DEFAULT_GATEWAY_PORT), |(_, intent)| {
            intent.gateway_port
        });
        let options = UpOptions {
            home: path.to_owned(),
            scope: Scope::Mesh,
            gateway_port,
            rate_limits: None,
            durable: true,
            postgres: Vec::new(),
            owner: None,
        };
        up(&options, progress).await?;
    }
    Mesh::attach(path)
}

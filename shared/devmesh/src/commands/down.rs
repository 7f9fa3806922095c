//! `down` and `reset`: end the mesh, and forget it.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use crate::home::Home;
use crate::intent::Intent;
use crate::process::identity::ProcessId;
use crate::process::launch::Record;
use crate::process::stop::{wait_until_gone, wait_until_reaped};
use crate::supervisor::shutdown;
use crate::{guardian, supervisor};

/// The supervisor stops everything in order; this is longer than that takes.
const SUPERVISOR_DEADLINE: Duration = Duration::from_secs(90);

/// The guardian looks a few times a second.
const GUARDIAN_DEADLINE: Duration = Duration::from_secs(2);
/// How long the machine's first process gets to reap the daemons.
const REAP_DEADLINE: Duration = Duration::from_secs(3);

/// Stops every process of the mesh; false when there was no mesh. Blocks.
///
/// # Errors
/// When a process survives.
pub fn down(path: &Path) -> anyhow::Result<bool> {
    let Some(home) = Home::open(path)? else {
        return Ok(false);
    };
    let _lock = home.lock_commands()?;
    stop_everything(&home)
}

/// Stops the mesh and removes its state; false when there was none. Blocks.
///
/// # Errors
/// When a process survives or a file cannot be removed.
pub fn reset(path: &Path) -> anyhow::Result<bool> {
    let Some(home) = Home::open(path)? else {
        return Ok(false);
    };
    let _lock = home.lock_commands()?;
    stop_everything(&home)?;
    home.remove()
        .with_context(|| format!("{} cannot be removed", path.display()))?;
    Ok(true)
}

fn stop_everything(home: &Home) -> anyhow::Result<bool> {
    let Some(mut intent) = Intent::load(home)? else {
        return Ok(false);
    };
    intent.running = false;
    intent.generation += 1;
    intent.save(home)?;
    let daemons: Vec<ProcessId> = [guardian::NAME, supervisor::NAME]
        .iter()
        .filter_map(|name| Record::read_alive(home, name))
        .map(|record| record.process)
        .collect();
    // A living supervisor stops its own children, because it can also reap them.
    if let Some(record) = Record::read_alive(home, supervisor::NAME)
        && !wait_until_gone(&record.process, SUPERVISOR_DEADLINE)
    {
        tracing::warn!("the supervisor does not end; stopping the mesh without it");
    }
    // The guardian goes by itself, after it has reaped the supervisor.
    if let Some(record) = Record::read_alive(home, guardian::NAME) {
        let _ = wait_until_gone(&record.process, GUARDIAN_DEADLINE);
    }
    // What follows finds nothing to do, unless the supervisor was killed.
    shutdown::stop_guardian(home)?;
    shutdown::stop_supervisor(home)?;
    shutdown::stop_processes(home)?;
    daemons
        .iter()
        .for_each(|process| wait_until_reaped(process, REAP_DEADLINE));
    Ok(true)
}

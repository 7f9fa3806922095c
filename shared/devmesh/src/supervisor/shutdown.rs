//! Stopping a mesh: what was started last goes first, and nothing stays.
//!
//! Works from the records alone, so `down` can do it when no supervisor is left.

use std::time::Duration;
use std::{fs, io, thread};

use nix::sys::signal::Signal;

use crate::guardian;
use crate::home::Home;
use crate::process::launch::{NameLock, Record};
use crate::process::stop::{pause, stop};
use crate::servers::postgres;

/// Stops go in stages; what is not named here is a service and goes in between.
const FIRST: [&str; 1] = ["gateway"];
const LAST: [&str; 2] = ["valkey", "postgres"];

const DEADLINE: Duration = Duration::from_secs(20);
/// How long a name may stay locked by a process that has no record.
const LOCK_DEADLINE: Duration = Duration::from_secs(5);
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Stops every recorded process but the supervisor and the guardian.
///
/// # Errors
/// When a process survives, or one without a record holds a name.
pub fn stop_processes(home: &Home) -> io::Result<()> {
    let names: Vec<String> = recorded(home)?
        .into_iter()
        .filter(|name| name != super::NAME && name != guardian::NAME)
        .collect();
    let stage_of = |name: &str| {
        if FIRST.contains(&name) {
            0
        } else if LAST.contains(&name) {
            2
        } else {
            1
        }
    };
    for stage in 0..=2 {
        let in_stage = names.iter().filter(|name| stage_of(name) == stage);
        stop_all(home, &in_stage.map(String::as_str).collect::<Vec<_>>())?;
    }
    postgres::clear_leftovers(&postgres::data_directory(home))?;
    names.iter().try_for_each(|name| await_lock(home, name))?;
    names.iter().try_for_each(|name| forget(home, name))
}

/// Stops the guardian.
///
/// # Errors
/// When it survives.
pub fn stop_guardian(home: &Home) -> io::Result<()> {
    stop_one(home, guardian::NAME)?;
    forget(home, guardian::NAME)
}

/// Stops the supervisor without its children.
///
/// # Errors
/// When it survives.
pub fn stop_supervisor(home: &Home) -> io::Result<()> {
    stop_one(home, super::NAME)?;
    forget(home, super::NAME)
}

fn stop_all(home: &Home, names: &[&str]) -> io::Result<()> {
    thread::scope(|scope| {
        let stops: Vec<_> = names
            .iter()
            .map(|name| scope.spawn(|| stop_one(home, name)))
            .collect();
        stops.into_iter().try_for_each(|stop| {
            stop.join()
                .unwrap_or_else(|_| Err(io::Error::other("a stop panicked")))
        })
    })
}

fn stop_one(home: &Home, name: &str) -> io::Result<()> {
    let Some(record) = Record::read_alive(home, name) else {
        return Ok(());
    };
    let signal = if name == "postgres" {
        Signal::SIGINT
    } else {
        Signal::SIGTERM
    };
    stop(&record.process, signal, DEADLINE)
}

/// Waits for whatever still holds the name's lock, say a child that the process
/// forked, and says so when it does not go.
fn await_lock(home: &Home, name: &str) -> io::Result<()> {
    let polls = LOCK_DEADLINE.as_millis() / LOCK_POLL_INTERVAL.as_millis();
    for _ in 0..polls {
        if NameLock::try_take(home, name)?.is_some() {
            return Ok(());
        }
        pause(LOCK_POLL_INTERVAL);
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        format!(
            "a process of {name} still runs: it holds {}",
            home.lock(name).display()
        ),
    ))
}

fn forget(home: &Home, name: &str) -> io::Result<()> {
    match fs::remove_file(home.record(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn recorded(home: &Home) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(home.path().join("run"))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

//! Starting a process so that its record and its life are one thing.
//!
//! The supervisor does not start a program itself; it starts this binary's
//! hidden `launch` command, which takes the lock of that name, writes the record
//! and then becomes the program by `exec`, keeping pid and start time. The lock
//! stays open across `exec`, so it is held exactly as long as the program (or a
//! child it forked) lives: whoever finds it taken knows that the old process
//! still runs, even when the record is missing.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::User;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::identity::ProcessId;
use crate::home::{Home, json};

/// The exit code of a launcher that found its name already running
/// (`EX_TEMPFAIL` of sysexits.h): worth another try later.
pub const EXIT_ALREADY_RUNNING: u8 = 75;

/// What is kept of a started process, in `run/<name>.json`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Record {
    /// The process.
    pub process: ProcessId,
    /// What it was started from: see [`crate::plan::ProcessSpec::digest`].
    pub digest: String,
    /// When it was started, in seconds of the Unix epoch.
    pub started_at_s: i64,
}

impl Record {
    /// The record of that name, if one can be read. A torn or foreign file is
    /// treated like none: the lock still protects against a second start.
    #[must_use]
    pub fn read(home: &Home, name: &str) -> Option<Self> {
        json::read(&home.record(name)).ok().flatten()
    }

    /// The record of that name if its process still runs.
    #[must_use]
    pub fn read_alive(home: &Home, name: &str) -> Option<Self> {
        Self::read(home, name).filter(|record| record.process.is_alive())
    }

    /// Records the calling process.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_own(home: &Home, name: &str, digest: &str) -> io::Result<Self> {
        let record = Self {
            process: ProcessId::own()?,
            digest: digest.to_owned(),
            started_at_s: OffsetDateTime::now_utc().unix_timestamp(),
        };
        json::write(&home.record(name), &record)?;
        Ok(record)
    }
}

/// The lock of a name; held as long as the value, or the process, lives.
#[derive(Debug)]
pub struct NameLock(File);

impl NameLock {
    /// Takes the lock, or returns `None` when another process has it.
    ///
    /// # Errors
    /// When the lock file cannot be opened.
    pub fn try_take(home: &Home, name: &str) -> io::Result<Option<Self>> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(home.lock(name))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Lets the lock survive `exec`.
    fn keep_across_exec(&self) -> io::Result<()> {
        fcntl(&self.0, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(())
    }
}

/// What the `launch` command is told.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The name in the mesh.
    pub name: &'a str,
    /// The digest of what is started, for the record.
    pub digest: &'a str,
    /// The user to become, when the mesh runs as root and the program must not.
    pub user: Option<&'a str>,
    /// Where the program runs.
    pub directory: &'a Path,
    /// The program and its arguments.
    pub command: &'a [OsString],
}

/// Becomes the program. Returns only when that fails.
///
/// # Errors
/// When the name is already running ([`io::ErrorKind::WouldBlock`]), the user is
/// unknown, or the program cannot be executed.
pub fn launch(home: &Home, launch: &Launch<'_>) -> io::Result<std::convert::Infallible> {
    let Some(lock) = NameLock::try_take(home, launch.name)? else {
        return Err(io::Error::new(
            io::ErrorKind::WouldBlock,
            format!("{} is already running", launch.name),
        ));
    };
    lock.keep_across_exec()?;
    let (program, arguments) = launch
        .command
        .split_first()
        .ok_or_else(|| io::Error::other("no program given"))?;

    let mut command = Command::new(program);
    command.args(arguments).current_dir(launch.directory);
    if let Some(name) = launch.user {
        let user = User::from_name(name)?
            .ok_or_else(|| io::Error::other(format!("there is no user {name}")))?;
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    Record::write_own(home, launch.name, launch.digest)?;
    let error = command.exec();
    Err(io::Error::new(
        error.kind(),
        format!("{}: {error}", program.to_string_lossy()),
    ))
}

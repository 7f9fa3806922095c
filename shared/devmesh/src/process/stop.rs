//! Stopping a process: ask, wait, and only then insist.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::identity::ProcessId;

const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long the kernel gets to take down a process after SIGKILL.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// Sends `first`, waits up to `deadline`, then sends SIGKILL and waits again.
/// Blocks the calling thread.
///
/// # Errors
/// When the process may not be signalled, or survives SIGKILL for ten seconds.
pub fn stop(process: &ProcessId, first: Signal, deadline: Duration) -> io::Result<()> {
    process.signal(first)?;
    if wait_until_gone(process, deadline) {
        return Ok(());
    }
    process.signal(Signal::SIGKILL)?;
    if wait_until_gone(process, KILL_DEADLINE) {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("process {} survived SIGKILL", process.pid),
        ))
    }
}

/// Waits for the process to be gone; true when it is.
#[must_use]
pub fn wait_until_gone(process: &ProcessId, deadline: Duration) -> bool {
    let end = Instant::now() + deadline;
    while process.is_alive() {
        if Instant::now() >= end {
            return false;
        }
        pause(POLL_INTERVAL);
    }
    true
}

/// Waits for a process that has ended to be reaped, by us if it is our child, so
/// that no trace of it is left in the process table. Gives up at the deadline:
/// a zombie does no harm.
pub fn wait_until_reaped(process: &ProcessId, deadline: Duration) {
    let end = Instant::now() + deadline;
    let entry = PathBuf::from(format!("/proc/{}", process.pid));
    while !process.is_alive() && entry.exists() && Instant::now() < end {
        // ECHILD, when it is somebody else's child, is the usual answer.
        let _ = waitpid(Pid::from_raw(process.pid), Some(WaitPidFlag::WNOHANG));
        pause(POLL_INTERVAL);
    }
}

/// A pause in code that owns its thread: the guardian, the launcher, `Drop`.
#[expect(
    clippy::disallowed_methods,
    reason = "no executor runs on the callers' threads"
)]
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

//! Who a process is: its pid, the kernel's start time of that pid, and the boot.
//!
//! A pid alone is reused; the pair with the start time is not until the machine
//! restarts, and the boot id covers that.

use std::sync::OnceLock;
use std::{fs, io};

use nix::errno::Errno;
use nix::sys::signal;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// A process that is told from every other one, dead ones included.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ProcessId {
    /// The kernel's number of the process.
    pub pid: i32,
    /// Field 22 of `/proc/<pid>/stat`: clock ticks from boot to its start.
    pub start_ticks: u64,
    /// `/proc/sys/kernel/random/boot_id` when it was recorded.
    pub boot: String,
}

impl ProcessId {
    /// The running process with this pid, or `None` when there is none.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        let stat = Stat::read(pid)?;
        (!stat.is_dead()).then(|| Self {
            pid,
            start_ticks: stat.start_ticks,
            boot: boot_id().to_owned(),
        })
    }

    /// The calling process.
    ///
    /// # Errors
    /// Only when `/proc` cannot be read.
    pub fn own() -> io::Result<Self> {
        let pid = i32::try_from(std::process::id()).map_err(io::Error::other)?;
        Self::of(pid).ok_or_else(|| io::Error::other("/proc does not show this process"))
    }

    /// Whether it still runs. A zombie does not: nothing of it can run again.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.boot == boot_id()
            && Stat::read(self.pid)
                .is_some_and(|stat| stat.start_ticks == self.start_ticks && !stat.is_dead())
    }

    /// Sends the signal if it still runs; a process that is gone is no error.
    ///
    /// # Errors
    /// When the process belongs to somebody else.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        match signal::kill(Pid::from_raw(self.pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// The two fields of `/proc/<pid>/stat` that matter here.
struct Stat {
    state: char,
    start_ticks: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The program's name, in parentheses, may itself hold spaces and
    /// parentheses, so fields are counted from the last one.
    fn parse(line: &str) -> Option<Self> {
        let (_, after_name) = line.rsplit_once(')')?;
        let mut fields = after_name.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let start_ticks = fields.nth(18)?.parse().ok()?;
        Some(Self { state, start_ticks })
    }

    fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

fn boot_id() -> &'static str {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    BOOT_ID.get_or_init(|| {
        fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map(|id| id.trim().to_owned())
            .unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_process_is_alive_and_recognised() {
        // A process finds itself, and a recorded copy still means the same one.
        let own = ProcessId::own().unwrap();
        let copy: ProcessId = serde_json::from_str(&serde_json::to_string(&own).unwrap()).unwrap();
        assert!(copy.is_alive());
    }

    #[test]
    fn a_reused_pid_is_a_stranger() {
        // The same pid with another start time or boot is not the process.
        let own = ProcessId::own().unwrap();
        let later = ProcessId {
            start_ticks: own.start_ticks + 1,
            ..own.clone()
        };
        let earlier_boot = ProcessId {
            boot: "another".to_owned(),
            ..own
        };
        assert!(!later.is_alive());
        assert!(!earlier_boot.is_alive());
    }

    #[test]
    fn a_zombie_is_dead() {
        // A child that exited and was not waited for does not count as running.
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let dead = (0..500).any(|_| {
            crate::process::stop::pause(std::time::Duration::from_millis(10));
            ProcessId::of(pid).is_none()
        });
        child.wait().unwrap();
        assert!(dead);
    }

    #[test]
    fn names_with_parentheses_are_read() {
        // The field count starts after the last parenthesis.
        let line = "42 (a) (b c) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 1 1";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.state, stat.start_ticks), ('S', 777));
    }
}

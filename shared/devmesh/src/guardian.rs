//! The guardian: starts the supervisor again when it dies.
//!
//! The supervisor does the same for the guardian, so the mesh heals unless both
//! are killed at once. The guardian does nothing else, which is why it can be
//! trusted with this: no network, no database, no runtime.
//!
//! It also takes in the processes whose supervisor was killed, so that they are
//! reaped when they end, whatever the machine's first process does.

use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use crate::home::Home;
use crate::intent::Intent;
use crate::process::launch::{NameLock, Record};
use crate::process::stop::pause;
use crate::supervisor;

/// The guardian's own name in the mesh.
pub const NAME: &str = "guardian";

const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How long a process just started gets to record itself.
const START_INTERVAL: Duration = Duration::from_secs(2);

/// Guards until the mesh is meant to be down and its supervisor has gone.
///
/// # Errors
/// When the home cannot be read or the supervisor not be started.
pub fn run(home: &Home) -> anyhow::Result<()> {
    let Some(_lock) = NameLock::try_take(home, NAME)? else {
        return Ok(());
    };
    Record::write_own(home, NAME, &crate::program::fingerprint()?)?;
    prctl::set_child_subreaper(true)?;
    let mut starter = Starter::default();
    while let Some(intent) = Intent::load(home)? {
        reap();
        if Record::read_alive(home, supervisor::NAME).is_none() {
            if !intent.running {
                break;
            }
            starter.start(home, "supervise", supervisor::NAME)?;
        }
        pause(POLL_INTERVAL);
    }
    reap();
    Ok(())
}

/// Keeps a guardian alive; the supervisor's side.
#[derive(Debug, Default)]
pub struct Keeper {
    starter: Starter,
}

impl Keeper {
    /// Starts a guardian if none runs.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn ensure(&mut self, home: &Home) -> io::Result<()> {
        if Record::read_alive(home, NAME).is_none() {
            self.starter.start(home, "guard", NAME)?;
        }
        Ok(())
    }
}

/// Starts a daemon of this program, but not again before it had its chance.
#[derive(Debug, Default)]
struct Starter {
    last: Option<Instant>,
}

impl Starter {
    fn start(&mut self, home: &Home, command: &str, name: &str) -> io::Result<()> {
        if self
            .last
            .is_some_and(|last| last.elapsed() < START_INTERVAL)
        {
            return Ok(());
        }
        self.last = Some(Instant::now());
        start_daemon(home, command, name)
    }
}

/// Starts a command of this program in the background, its output in its log.
/// It leaves the terminal by itself (see [`detach`]).
///
/// # Errors
/// When it cannot be started.
pub fn start_daemon(home: &Home, command: &str, name: &str) -> io::Result<()> {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(home.log(name))?;
    let child = Command::new(crate::program::path()?)
        .arg(command)
        .arg("--home")
        .arg(home.path())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    tracing::info!(name, pid = child.id(), "started");
    Ok(())
}

/// Leaves the session of the terminal that started this process, so that closing
/// it, or pressing ^C there, does not reach the mesh.
///
/// # Errors
/// Never in practice: a process that already leads a session is left as it is.
pub fn detach() -> io::Result<()> {
    match nix::unistd::setsid() {
        Ok(_) | Err(Errno::EPERM) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn reap() {
    while let Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) =
        waitpid(None, Some(WaitPidFlag::WNOHANG))
    {}
}

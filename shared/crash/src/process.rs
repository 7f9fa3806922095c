//! What the process knows of its plan, and carrying it out.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::sys::signal::{Signal, raise};

use crate::plan::{Action, InvalidPlan, Plan};

/// The variable that says what happens at which point.
pub const PLAN_VARIABLE: &str = "BURSAR_CRASH_POINT";
/// The variable that names the file for the points that were reached.
pub const LOG_VARIABLE: &str = "BURSAR_CRASH_POINTS_LOG";

static PROCESS: OnceLock<Result<Process, InvalidPlan>> = OnceLock::new();

struct Process {
    plan: Option<Plan>,
    /// How often the plan's point was reached.
    hits: AtomicU64,
    log: Option<Log>,
}

struct Log {
    path: PathBuf,
    reached: Mutex<HashSet<&'static str>>,
}

/// Reads the plan of this process; `None` when nothing shall happen. A program
/// calls it at its start, so that a plan that cannot be read is refused before
/// anything rests on it.
pub fn arm() -> Result<Option<&'static Plan>, InvalidPlan> {
    match PROCESS.get_or_init(Process::from_environment) {
        Ok(process) => Ok(process.plan.as_ref()),
        Err(invalid) => Err(invalid.clone()),
    }
}

/// Notes that a point was reached, and does what the plan says. Called by
/// `crash_point!` only.
pub fn reach(name: &'static str) {
    match PROCESS.get_or_init(Process::from_environment) {
        Ok(process) => process.reach(name),
        Err(invalid) => panic!("{PLAN_VARIABLE}: {invalid}"),
    }
}

impl Process {
    fn from_environment() -> Result<Self, InvalidPlan> {
        let plan = match std::env::var(PLAN_VARIABLE) {
            Ok(text) => Some(text.parse()?),
            Err(_) => None,
        };
        let log = std::env::var_os(LOG_VARIABLE).map(|path| Log {
            path: PathBuf::from(path),
            reached: Mutex::default(),
        });
        Ok(Self {
            plan,
            hits: AtomicU64::new(0),
            log,
        })
    }

    fn reach(&self, name: &'static str) {
        if let Some(log) = &self.log {
            log.note(name);
        }
        let Some(plan) = self.plan.as_ref().filter(|plan| plan.point == name) else {
            return;
        };
        let hit = self.hits.fetch_add(1, Ordering::Relaxed) + 1;
        if hit == plan.nth.get() {
            carry_out(plan.action, name);
        }
    }
}

impl Log {
    /// Appends a name when it is new. One write a line, so that processes that
    /// share the file do not mix theirs.
    fn note(&self, name: &'static str) {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        if !reached.insert(name) {
            return;
        }
        let file = File::options().create(true).append(true).open(&self.path);
        let written = file.and_then(|mut file| file.write_all(format!("{name}\n").as_bytes()));
        if let Err(error) = written {
            panic!("{LOG_VARIABLE}: {}: {error}", self.path.display());
        }
    }
}

/// The signals go to this very thread, which takes them before `raise` returns:
/// nothing that follows the point is run first.
fn carry_out(action: Action, name: &str) {
    match action {
        Action::Kill => {
            let _ = raise(Signal::SIGKILL);
            // Nobody survives that, but if so, then not as if nothing had been.
            std::process::abort();
        }
        Action::Stop => raise(Signal::SIGSTOP).expect("a process may stop itself"),
        Action::Panic => panic!("the crash point {name} says so"),
    }
}

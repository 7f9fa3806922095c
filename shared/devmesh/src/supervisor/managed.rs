//! One process under supervision.

use std::fs;
use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::Signal;
use tokio::process::{Child, Command};

use super::decide::{Action, Phase, RECOVERED_AFTER, Sight, backoff, decide};
use super::observed::{ObservedProcess, State};
use super::probe;
use crate::home::Home;
use crate::plan::{Plan, ProcessSpec};
use crate::ports;
use crate::ports::Ports;
use crate::process::identity::ProcessId;
use crate::process::launch::{EXIT_ALREADY_RUNNING, Record};
use crate::servers::postgres;

const PROBE_WHILE_STARTING: Duration = Duration::from_millis(150);
const PROBE_WHILE_UP: Duration = Duration::from_secs(2);
/// A log is set aside when it has grown past this before a start.
const LOG_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// A port that stays taken over this many starts is given up for another.
const STARTS_BEFORE_NEW_PORT: u32 = 3;

/// One process: what it should be, and what it is.
pub struct Managed {
    spec: ProcessSpec,
    digest: String,
    record: Option<Record>,
    /// Present when this supervisor started it; an adopted one has none.
    child: Option<Child>,
    phase: Phase,
    answering: bool,
    probe_at: Instant,
    starts: u32,
    failures: u32,
    last_error: Option<String>,
}

impl Managed {
    /// A process to be started, or one found running by its record.
    #[must_use]
    pub fn new(spec: ProcessSpec, record: Option<Record>) -> Self {
        let now = Instant::now();
        let phase = if record.is_some() {
            Phase::Starting
        } else {
            Phase::Waiting { not_before: now }
        };
        Self {
            digest: spec.digest(),
            spec,
            starts: u32::from(record.is_some()),
            record,
            child: None,
            phase,
            answering: false,
            probe_at: now,
            failures: 0,
            last_error: None,
        }
    }

    /// Its name in the mesh.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.spec.name
    }

    /// The process, while there is one.
    #[must_use]
    pub fn process(&self) -> Option<ProcessId> {
        self.record.as_ref().map(|record| record.process.clone())
    }

    /// Whether what runs now has been seen healthy.
    #[must_use]
    pub fn has_been_healthy(&self) -> bool {
        matches!(self.phase, Phase::Up { .. })
    }

    /// Takes over a newer plan.
    pub fn update(&mut self, spec: ProcessSpec) {
        let digest = spec.digest();
        self.spec = spec;
        if std::mem::replace(&mut self.digest, digest) == self.digest {
            return;
        }
        self.failures = 0;
        if let Phase::Waiting { not_before } = &mut self.phase {
            *not_before = Instant::now();
        }
    }

    /// Whether a child of this supervisor has not ended yet.
    #[must_use]
    pub fn has_child(&self) -> bool {
        self.child.is_some()
    }

    /// Lets a child that has ended go.
    pub fn reap(&mut self) {
        if let Some(child) = &mut self.child
            && let Ok(Some(status)) = child.try_wait()
        {
            self.child = None;
            tracing::info!(name = self.spec.name, %status, "ended");
            if status.code() != Some(i32::from(EXIT_ALREADY_RUNNING)) {
                self.last_error = Some(status.to_string());
            }
        }
    }

    /// Looks at it and does what is to be done; true when the plan must be
    /// computed anew because a port was given up.
    pub async fn step(&mut self, home: &Home, plan: &Plan, needs_met: bool) -> bool {
        self.reap();
        let now = Instant::now();
        let record = Record::read_alive(home, self.spec.name);
        // The record appears a moment after the start: until then the child is.
        let alive = record.is_some() || self.child.is_some();
        if record.is_some() {
            self.record = record;
        }
        // A process that somebody else started under this name is taken over.
        if alive && matches!(self.phase, Phase::Waiting { .. }) {
            self.phase = Phase::Starting;
        }
        // A child without a record yet was started a moment ago, from this plan.
        let current = self
            .record
            .as_ref()
            .is_none_or(|record| record.digest == self.digest);
        let sight = Sight {
            phase: self.phase,
            alive,
            current,
            needs_met,
        };
        match decide(&sight, now) {
            Action::Nothing => self.note_recovery(now),
            Action::Start => return self.start(home, plan).await,
            Action::NoteDeath => self.note_failure(None),
            Action::AskToEnd => self.ask_to_end(),
            Action::Kill => self.signal(Signal::SIGKILL),
            Action::NoteEnd => self.phase = Phase::Waiting { not_before: now },
        }
        false
    }

    fn note_recovery(&mut self, now: Instant) {
        if let Phase::Up { since } = self.phase
            && self.answering
            && now.duration_since(since) >= RECOVERED_AFTER
        {
            self.failures = 0;
        }
    }

    fn note_failure(&mut self, error: Option<String>) {
        self.record = None;
        self.answering = false;
        self.failures += 1;
        let pause = backoff(self.failures);
        if let Some(error) = error {
            self.last_error = Some(error);
        }
        tracing::warn!(
            name = self.spec.name,
            failures = self.failures,
            pause_ms = pause.as_millis(),
            error = self.last_error,
            "not running"
        );
        self.phase = Phase::Waiting {
            not_before: Instant::now() + pause,
        };
    }

    fn ask_to_end(&mut self) {
        tracing::info!(name = self.spec.name, "out of date; replacing it");
        self.answering = false;
        self.signal(self.spec.stop_signal);
        self.phase = Phase::Stopping {
            deadline: Instant::now() + self.spec.stop_deadline,
        };
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(record) = &self.record
            && let Err(error) = record.process.signal(signal)
        {
            self.last_error = Some(format!("{signal}: {error}"));
        }
    }

    /// Starts it, unless somebody else has its port: perhaps its own last child
    /// that is just going, perhaps a stranger that came to stay. True when the
    /// ports were given up.
    async fn start(&mut self, home: &Home, plan: &Plan) -> bool {
        if let Some(taken) = self
            .spec
            .ports
            .iter()
            .find(|port| !ports::is_free(port.port))
        {
            let error = format!("port {} is taken by another program", taken.port);
            self.note_failure(Some(error));
            let patience = if self.starts == 0 {
                1
            } else {
                STARTS_BEFORE_NEW_PORT
            };
            return self.failures >= patience && self.give_up_ports(home);
        }
        match self.spawn(home, plan).await {
            Ok(child) => {
                tracing::info!(name = self.spec.name, pid = child.id(), "started");
                self.child = Some(child);
                self.record = None;
                self.starts += 1;
                self.phase = Phase::Starting;
                self.probe_at = Instant::now();
            }
            Err(error) => self.note_failure(Some(format!("{error:#}"))),
        }
        false
    }

    /// Forgets the ports, so that the next plan chooses others (or, for a
    /// gateway whose port was asked for, the same again).
    fn give_up_ports(&mut self, home: &Home) -> bool {
        let forgotten = Ports::load(home).and_then(|mut ports| {
            self.spec
                .ports
                .iter()
                .for_each(|port| ports.forget(&port.name));
            ports.save(home)
        });
        if let Err(error) = &forgotten {
            self.last_error = Some(error.to_string());
        }
        forgotten.is_ok()
    }

    async fn spawn(&mut self, home: &Home, plan: &Plan) -> anyhow::Result<Child> {
        if self.spec.name == "postgres" {
            let (cluster, databases) = (plan.cluster.clone(), plan.databases.clone());
            let durable = plan.durable;
            tokio::task::spawn_blocking(move || {
                cluster.initialise(databases.superuser_password(), durable)?;
                postgres::clear_leftovers(&cluster.data).context("leftovers of the last server")
            })
            .await??;
        }
        let log = open_log(home, self.spec.name)?;
        let mut command = Command::new(crate::program::path()?);
        command
            .arg("launch")
            .args(["--name", self.spec.name, "--digest", &self.digest])
            .arg("--home")
            .arg(home.path())
            .arg("--directory")
            .arg(&self.spec.directory);
        if let Some(user) = &self.spec.user {
            command.args(["--user", user]);
        }
        command
            .arg("--")
            .args(&self.spec.command)
            .env_clear()
            .envs(&self.spec.environment)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        command.spawn().context("the launcher could not be started")
    }

    /// Asks whether it works, if it is time to.
    pub async fn probe_if_due(&mut self, plan: &Plan) {
        let now = Instant::now();
        let first = match self.phase {
            Phase::Starting => true,
            Phase::Up { .. } => false,
            Phase::Waiting { .. } | Phase::Stopping { .. } => return,
        };
        if now < self.probe_at || self.record.is_none() {
            return;
        }
        let answer = probe::ask(&self.spec.probe, &plan.databases, first, plan.provisioned).await;
        self.answering = answer.is_ok();
        let pause = if self.answering {
            PROBE_WHILE_UP
        } else {
            PROBE_WHILE_STARTING
        };
        self.probe_at = Instant::now() + pause;
        match answer {
            Ok(()) => {
                self.last_error = None;
                if first {
                    tracing::info!(name = self.spec.name, "healthy");
                    self.phase = Phase::Up {
                        since: Instant::now(),
                    };
                }
            }
            Err(error) => self.last_error = Some(format!("{error:#}")),
        }
    }

    /// What to show of it.
    #[must_use]
    pub fn observe(&self) -> ObservedProcess {
        let state = match self.phase {
            Phase::Waiting { .. } => State::Waiting,
            Phase::Starting => State::Starting,
            Phase::Up { .. } if self.answering => State::Healthy,
            Phase::Up { .. } => State::Unhealthy,
            Phase::Stopping { .. } => State::Stopping,
        };
        ObservedProcess {
            name: self.spec.name.to_owned(),
            process: self.process(),
            address: self.spec.address.clone(),
            http_address: self.spec.http_address.clone(),
            state,
            restarts: self.starts.saturating_sub(1),
            failures: self.failures,
            last_error: self.last_error.clone(),
        }
    }
}

fn open_log(home: &Home, name: &str) -> anyhow::Result<File> {
    let path = home.log(name);
    if fs::metadata(&path).is_ok_and(|file| file.len() > LOG_BYTES_MAX) {
        fs::rename(&path, path.with_extension("log.old"))?;
    }
    Ok(File::options().create(true).append(true).open(path)?)
}

//! The supervisor: makes the mesh what the intent says and keeps it so.
//!
//! One loop looks at every process a few times a second, decides with a pure
//! function what to do about it ([`decide`]) and does it. Nothing that matters
//! lives in the supervisor's memory: the intent, the records and the ports are
//! files, so another supervisor, started after this one was killed, finds the
//! same processes and goes on.
//!
//! It never stops the mesh by ending: children survive it. Only the intent
//! (`down`), or the end of the process that owns a throwaway mesh, stops them.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::signal::unix::{SignalKind, signal};

use crate::guardian;
use crate::home::Home;
use crate::intent::Intent;
use crate::plan::Plan;
use crate::process::launch::{NameLock, Record};
use crate::process::stop::stop;

pub mod decide;
pub mod managed;
pub mod observed;
pub mod probe;
pub mod shutdown;

use managed::Managed;
use observed::Observed;

/// The supervisor's own name in the mesh.
pub const NAME: &str = "supervisor";

const TICK: Duration = Duration::from_millis(150);
const REAP_INTERVAL: Duration = Duration::from_millis(20);
/// How often a plan that could not be computed is tried again.
const REPLAN_INTERVAL: Duration = Duration::from_secs(2);

/// Runs until the intent is to be down. Returns at once when another supervisor
/// of this home runs.
///
/// # Errors
/// When the home cannot be read or written.
pub async fn run(home: &Home) -> anyhow::Result<()> {
    let Some(_lock) = NameLock::try_take(home, NAME)? else {
        tracing::info!("another supervisor runs; leaving it to it");
        return Ok(());
    };
    Record::write_own(home, NAME, &crate::program::fingerprint()?)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut supervisor = Supervisor::new(home.clone());
    loop {
        match supervisor.tick().await? {
            Outcome::GoOn => {}
            Outcome::Stop => break,
        }
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            // Asked to make room for a newer supervisor: the children stay.
            _ = terminate.recv() => return Ok(()),
        }
    }
    tracing::info!("the mesh is down");
    Ok(())
}

enum Outcome {
    GoOn,
    Stop,
}

struct Supervisor {
    home: Home,
    intent: Option<Intent>,
    plan: Option<Plan>,
    replan_at: Option<Instant>,
    processes: BTreeMap<&'static str, Managed>,
    published: Option<Observed>,
    error: Option<String>,
    guardian: guardian::Keeper,
}

impl Supervisor {
    fn new(home: Home) -> Self {
        Self {
            home,
            intent: None,
            plan: None,
            replan_at: None,
            processes: BTreeMap::new(),
            published: None,
            error: None,
            guardian: guardian::Keeper::default(),
        }
    }

    async fn tick(&mut self) -> anyhow::Result<Outcome> {
        let Some(intent) = Intent::load(&self.home)? else {
            return self.end_without_home().await;
        };
        let orphaned = intent.owner.as_ref().is_some_and(|owner| !owner.is_alive());
        if !intent.running || orphaned {
            return self.end(orphaned).await;
        }
        if self.intent.as_ref() != Some(&intent) {
            self.intent = Some(intent);
            self.replan_at = Some(Instant::now());
        }
        self.replan().await;
        self.guardian.ensure(&self.home)?;
        self.step_all().await;
        self.publish()?;
        Ok(Outcome::GoOn)
    }

    /// Stops everything. A throwaway mesh whose owner is gone also goes itself.
    async fn end(&mut self, orphaned: bool) -> anyhow::Result<Outcome> {
        loop {
            let home = self.home.clone();
            let stop = tokio::task::spawn_blocking(move || shutdown::stop_processes(&home));
            // Children are reaped meanwhile, so that none stays as a zombie.
            while !stop.is_finished() {
                self.processes.values_mut().for_each(Managed::reap);
                tokio::time::sleep(REAP_INTERVAL).await;
            }
            stop.await??;
            self.processes.values_mut().for_each(Managed::reap);
            // A child that had not recorded itself yet is found the next time.
            if !self.processes.values().any(Managed::has_child) {
                break;
            }
        }
        if orphaned {
            shutdown::stop_guardian(&self.home)?;
            self.home.remove()?;
        }
        Ok(Outcome::Stop)
    }

    /// Somebody removed the home while the mesh ran: nothing says any more what
    /// should run, and the records are gone, so this supervisor's memory of its
    /// processes is the last chance to end them.
    async fn end_without_home(&mut self) -> anyhow::Result<Outcome> {
        tracing::warn!("the mesh's directory is gone; ending its processes");
        let plan = self.plan.take();
        for spec in plan.iter().flat_map(|plan| plan.processes.iter().rev()) {
            let Some(process) = self.processes.get(spec.name).and_then(Managed::process) else {
                continue;
            };
            let (signal, deadline) = (spec.stop_signal, spec.stop_deadline);
            tokio::task::spawn_blocking(move || stop(&process, signal, deadline)).await??;
        }
        Ok(Outcome::Stop)
    }

    /// Computes the plan anew when something asked for it.
    async fn replan(&mut self) {
        if self.replan_at.is_none_or(|at| Instant::now() < at) {
            return;
        }
        let Some(intent) = self.intent.clone() else {
            return;
        };
        let home = self.home.clone();
        let plan = tokio::task::spawn_blocking(move || Plan::build(&home, &intent)).await;
        match plan.unwrap_or_else(|error| Err(error.into())) {
            Ok(plan) => {
                self.replan_at = None;
                self.error = None;
                self.adopt(plan);
            }
            Err(error) => {
                tracing::error!("the mesh cannot be planned: {error:#}");
                self.error = Some(format!("{error:#}"));
                self.replan_at = Some(Instant::now() + REPLAN_INTERVAL);
            }
        }
    }

    /// Takes over a new plan: living processes are found by their records, and
    /// those whose digest changed are replaced as the loop comes to them.
    fn adopt(&mut self, plan: Plan) {
        self.processes
            .retain(|name, _| plan.process(name).is_some());
        for spec in &plan.processes {
            match self.processes.get_mut(spec.name) {
                Some(managed) => managed.update(spec.clone()),
                None => {
                    let record = Record::read_alive(&self.home, spec.name);
                    if let Some(record) = &record {
                        tracing::info!(name = spec.name, pid = record.process.pid, "adopted");
                    }
                    self.processes
                        .insert(spec.name, Managed::new(spec.clone(), record));
                }
            }
        }
        self.plan = Some(plan);
    }

    async fn step_all(&mut self) {
        let Some(plan) = &self.plan else { return };
        let ready: Vec<&'static str> = self
            .processes
            .values()
            .filter(|managed| managed.has_been_healthy())
            .map(Managed::name)
            .collect();
        let mut replan = false;
        for spec in &plan.processes {
            let Some(managed) = self.processes.get_mut(spec.name) else {
                continue;
            };
            let needs_met = spec.needs.iter().all(|need| ready.contains(need));
            replan |= managed.step(&self.home, plan, needs_met).await;
        }
        let probes = self
            .processes
            .values_mut()
            .map(|managed| managed.probe_if_due(plan));
        join_all(probes).await;
        if replan {
            self.replan_at = Some(Instant::now());
        }
    }

    /// Writes what is seen, when it changed.
    fn publish(&mut self) -> io::Result<()> {
        let (Some(intent), Some(plan)) = (&self.intent, &self.plan) else {
            return self.publish_error();
        };
        let observed = Observed {
            // A plan that is due but not computed means the intent is not met.
            generation: if self.replan_at.is_none() {
                intent.generation
            } else {
                0
            },
            error: self.error.clone(),
            processes: plan
                .processes
                .iter()
                .filter_map(|spec| self.processes.get(spec.name))
                .map(Managed::observe)
                .collect(),
            databases: plan.databases.urls(),
            superuser_url: plan.databases.superuser_url(),
        };
        self.write(observed)
    }

    fn publish_error(&mut self) -> io::Result<()> {
        let observed = Observed {
            error: self.error.clone(),
            ..Observed::default()
        };
        self.write(observed)
    }

    fn write(&mut self, observed: Observed) -> io::Result<()> {
        if self.published.as_ref() != Some(&observed) {
            observed.save(&self.home)?;
            self.published = Some(observed);
        }
        Ok(())
    }
}

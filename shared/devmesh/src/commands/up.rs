//! `up`: say what the mesh should be, see that somebody makes it so, and wait.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::checkout::Checkout;
use crate::home::Home;
use crate::intent::{BootstrapAdmin, Intent, Scope};
use crate::ports::Ports;
use crate::process::identity::ProcessId;
use crate::process::launch::Record;
use crate::secrets::Secrets;
use crate::servers::databases;
use crate::supervisor::observed::{Observed, ObservedProcess, State};
use crate::supervisor::shutdown;
use crate::{checkout, guardian, ports, supervisor};

/// The gateway's port unless another is asked for.
pub const DEFAULT_GATEWAY_PORT: u16 = 8080;

const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// All of the mesh: PostgreSQL's first start and every migration included.
const DEADLINE: Duration = Duration::from_secs(180);
/// A process that failed this often without being healthy will not recover.
const FAILURES_MAX: u32 = 6;
const LOG_TAIL_LINES: usize = 15;

/// Settings handed on from the caller's environment to every process.
const HANDED_ON: [&str; 3] = ["BURSAR_DEFAULT_CURRENCY", "BURSAR_LOG", "RUST_BACKTRACE"];
const HANDED_ON_PREFIX: &str = "OTEL_";

/// What to bring up.
#[derive(Clone, Debug)]
pub struct UpOptions {
    /// Where the mesh lives.
    pub home: PathBuf,
    /// Which processes belong to it.
    pub scope: Scope,
    /// The gateway's port; `None` for any free one.
    pub gateway_port: Option<u16>,
    /// Whether the gateway limits rates; `None` leaves it as it was.
    pub rate_limits: Option<bool>,
    /// Whether PostgreSQL waits for the disk.
    pub durable: bool,
    /// Settings of PostgreSQL besides the usual ones.
    pub postgres: Vec<(String, String)>,
    /// The mesh ends with this process.
    pub owner: Option<ProcessId>,
}

/// Something `up` has to tell while it waits.
#[derive(Clone, Debug)]
pub enum Progress {
    /// The mesh was down and is being started.
    Starting,
    /// A process has become healthy.
    Healthy {
        /// The process.
        process: ObservedProcess,
        /// Since `up` began to wait.
        after: Duration,
    },
}

/// Brings the mesh up and waits until every process answers. May be called on a
/// running mesh: it then changes what differs.
///
/// # Errors
/// When something is missing, a port is taken, or a process does not come up;
/// the error holds the end of its log.
pub async fn up(
    options: &UpOptions,
    mut progress: impl FnMut(&Progress),
) -> anyhow::Result<(Home, Observed)> {
    let home = Home::open_or_create(&options.home)
        .with_context(|| format!("{} cannot be used", options.home.display()))?;
    let intent = {
        let _lock = home.lock_commands()?;
        let intent = new_intent(&home, options)?;
        check_binaries(&intent)?;
        check_gateway_port(&home, &intent)?;
        intent.save(&home)?;
        ensure_daemons(&home)?;
        intent
    };
    let observed = wait(&home, intent.generation, &mut progress).await?;
    Ok((home, observed))
}

fn new_intent(home: &Home, options: &UpOptions) -> anyhow::Result<Intent> {
    let previous = Intent::load(home)?;
    let environment: BTreeMap<String, String> = std::env::vars()
        .filter(|(name, _)| {
            HANDED_ON.contains(&name.as_str()) || name.starts_with(HANDED_ON_PREFIX)
        })
        .collect();
    Ok(Intent {
        generation: previous.as_ref().map_or(0, |intent| intent.generation) + 1,
        running: true,
        scope: options.scope,
        tools: Checkout::find()?.tools()?,
        binaries: checkout::binaries()?,
        gateway_port: options.gateway_port,
        rate_limits: options
            .rate_limits
            .unwrap_or_else(|| previous.as_ref().is_none_or(|intent| intent.rate_limits)),
        durable: options.durable,
        postgres: options.postgres.clone(),
        admin: bootstrap_admin(home, previous)?,
        environment,
        owner: options.owner.clone(),
    })
}

/// The administrator that the environment names, else the one of last time, else
/// one with a generated password.
fn bootstrap_admin(home: &Home, previous: Option<Intent>) -> anyhow::Result<BootstrapAdmin> {
    let previous = previous.map(|intent| intent.admin);
    let told = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let email = told("BURSAR_BOOTSTRAP_ADMIN_EMAIL")
        .or_else(|| previous.as_ref().map(|admin| admin.email.clone()))
        .unwrap_or_else(|| "admin@bursar.local".to_owned());
    let password = match told("BURSAR_BOOTSTRAP_ADMIN_PASSWORD") {
        Some(password) => password,
        None => match previous {
            Some(admin) => admin.password,
            None => {
                let mut secrets = Secrets::load(home)?;
                let password = secrets.password("bootstrap_admin");
                secrets.save(home)?;
                password
            }
        },
    };
    Ok(BootstrapAdmin { email, password })
}

fn check_binaries(intent: &Intent) -> anyhow::Result<()> {
    if intent.scope == Scope::Servers {
        return Ok(());
    }
    let missing: Vec<String> = databases::SERVICES
        .iter()
        .copied()
        .chain(["gateway"])
        .map(|name| format!("bursar-{name}"))
        .filter(|name| !intent.binaries.join(name).is_file())
        .collect();
    if !missing.is_empty() {
        bail!(
            "{} not built in {}; run `make build`",
            missing.join(", "),
            intent.binaries.display()
        );
    }
    Ok(())
}

/// Says clearly that the port belongs to somebody else, instead of waiting for
/// Envoy to say it in its log.
fn check_gateway_port(home: &Home, intent: &Intent) -> anyhow::Result<()> {
    let Some(port) = intent.gateway_port.filter(|_| intent.scope == Scope::Mesh) else {
        return Ok(());
    };
    let is_ours = Record::read_alive(home, crate::plan::gateway::NAME).is_some()
        && Ports::load(home)?.get("gateway") == Some(port);
    if !is_ours && !ports::is_free(port) {
        bail!(
            "port {port} is taken by another program. Stop it, or choose another port for the \
             gateway: make up GATEWAY_PORT=9080"
        );
    }
    Ok(())
}

/// Sees that a supervisor and a guardian of this very build run.
fn ensure_daemons(home: &Home) -> anyhow::Result<()> {
    let own = crate::program::fingerprint()?;
    let is_current =
        |name| Record::read_alive(home, name).is_some_and(|record| record.digest == own);
    if !is_current(supervisor::NAME) || !is_current(guardian::NAME) {
        // In this order: the guardian would start the old supervisor again.
        shutdown::stop_guardian(home)?;
        shutdown::stop_supervisor(home)?;
        guardian::start_daemon(home, "guard", guardian::NAME)?;
    }
    Ok(())
}

async fn wait(
    home: &Home,
    generation: u64,
    progress: &mut impl FnMut(&Progress),
) -> anyhow::Result<Observed> {
    let start = Instant::now();
    let mut told: Vec<String> = Vec::new();
    let mut last = None;
    while start.elapsed() < DEADLINE {
        tokio::time::sleep(POLL_INTERVAL).await;
        let Some(observed) = Observed::load(home)? else {
            continue;
        };
        if observed.generation != generation {
            if start.elapsed() > Duration::from_secs(5)
                && let Some(error) = &observed.error
            {
                bail!("{error}");
            }
            continue;
        }
        for process in &observed.processes {
            if process.state == State::Healthy && !told.contains(&process.name) {
                told.push(process.name.clone());
                progress(&Progress::Healthy {
                    process: process.clone(),
                    after: start.elapsed(),
                });
            }
        }
        if observed.is_healthy() {
            return Ok(observed);
        }
        if let Some(lost) = observed
            .processes
            .iter()
            .find(|p| p.failures >= FAILURES_MAX)
        {
            bail!(explain(home, lost));
        }
        last = Some(observed);
    }
    let late = last
        .iter()
        .flat_map(|observed| &observed.processes)
        .find(|process| process.state != State::Healthy);
    match late {
        Some(process) => bail!(explain(home, process)),
        None => bail!(
            "the supervisor did not report within {} s; see {}",
            DEADLINE.as_secs(),
            home.log(supervisor::NAME).display()
        ),
    }
}

fn explain(home: &Home, process: &ObservedProcess) -> String {
    let log = home.log(&process.name);
    let content = fs::read_to_string(&log).unwrap_or_default();
    let lines: Vec<&str> = content.lines().collect();
    let tail = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
    format!(
        "{} did not become healthy ({}{}). The end of {}:\n\n{}",
        process.name,
        process.state.as_str(),
        process
            .last_error
            .as_ref()
            .map(|error| format!(": {error}"))
            .unwrap_or_default(),
        log.display(),
        tail.join("\n")
    )
}

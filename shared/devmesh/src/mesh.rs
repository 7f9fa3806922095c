//! A mesh as a test or a command holds it: private, or one that already runs.
//!
//! A private mesh lives in a temporary home, on free ports, and ends with the
//! value, or, should this process be killed, with the process.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;

use crate::commands::down::reset;
use crate::commands::up::{Progress, UpOptions, up};
use crate::home::Home;
use crate::intent::{BootstrapAdmin, Intent, Scope};
use crate::process::identity::ProcessId;
use crate::process::launch::Record;
use crate::process::stop::{pause, wait_until_gone};
use crate::secrets::Secrets;
use crate::servers::databases::DatabaseUrls;
use crate::supervisor::observed::Observed;
use crate::{guardian, supervisor};

const POLL_INTERVAL: Duration = Duration::from_millis(50);
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// What kind of private mesh to start.
#[derive(Clone, Debug)]
pub struct MeshOptions {
    /// Which processes belong to it.
    pub scope: Scope,
    /// Whether the gateway limits rates.
    pub rate_limits: bool,
    /// Whether PostgreSQL waits for the disk; the services insist on it.
    pub durable: bool,
    /// Settings of PostgreSQL besides the usual ones.
    pub postgres: Vec<(String, String)>,
}

impl MeshOptions {
    /// Everything, as in production, without rate limits.
    #[must_use]
    pub fn whole() -> Self {
        Self {
            scope: Scope::Mesh,
            rate_limits: false,
            durable: true,
            postgres: Vec::new(),
        }
    }

    /// PostgreSQL and Valkey only.
    #[must_use]
    pub fn servers() -> Self {
        Self {
            scope: Scope::Servers,
            rate_limits: false,
            durable: true,
            postgres: Vec::new(),
        }
    }
}

/// A running mesh.
#[derive(Debug)]
pub struct Mesh {
    home: Home,
    is_private: bool,
}

impl Mesh {
    /// Starts a private mesh and waits until it is healthy.
    ///
    /// # Errors
    /// As [`up`].
    pub async fn start(
        options: MeshOptions,
        progress: impl FnMut(&Progress),
    ) -> anyhow::Result<Self> {
        let path = private_home();
        // From here on, leaving early removes what has been started.
        let mesh = Self {
            home: Home::open_or_create(&path)?,
            is_private: true,
        };
        up(&mesh.up_options(options)?, progress).await?;
        Ok(mesh)
    }

    /// The mesh in this home, which goes on when the value is dropped.
    ///
    /// # Errors
    /// When there is none.
    pub fn attach(path: &Path) -> anyhow::Result<Self> {
        let home = Home::open(path)?.with_context(|| format!("no mesh in {}", path.display()))?;
        Ok(Self {
            home,
            is_private: false,
        })
    }

    /// The mesh that `bursar-devmesh with-mesh` started for this test run.
    ///
    /// # Errors
    /// When the test runs without one.
    pub fn from_environment() -> anyhow::Result<Self> {
        let path = std::env::var_os("BURSAR_TEST_MESH").context(
            "this test needs a mesh: run it by `make test`, or under `bursar-devmesh with-mesh --`",
        )?;
        Self::attach(Path::new(&path))
    }

    /// Its directory.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The gateway's URL, without a slash at the end.
    ///
    /// # Errors
    /// When the mesh has no gateway.
    pub fn gateway_url(&self) -> anyhow::Result<String> {
        self.address(crate::plan::gateway::NAME)
            .map(|address| format!("http://{address}"))
    }

    /// The `host:port` of a process.
    ///
    /// # Errors
    /// When the mesh has no such process.
    pub fn address(&self, name: &str) -> anyhow::Result<String> {
        let observed = self.observed()?;
        let process = observed
            .process(name)
            .with_context(|| format!("no {name} in this mesh"))?;
        Ok(process.address.clone())
    }

    /// What the supervisor last saw.
    ///
    /// # Errors
    /// When it has not reported yet.
    pub fn observed(&self) -> anyhow::Result<Observed> {
        Observed::load(&self.home)?.context("the supervisor has not reported")
    }

    /// Every database.
    ///
    /// # Errors
    /// When the supervisor has not reported yet.
    pub fn databases(&self) -> anyhow::Result<Vec<DatabaseUrls>> {
        Ok(self.observed()?.databases)
    }

    /// The bootstrap administrator.
    ///
    /// # Errors
    /// When there is no mesh.
    pub fn admin(&self) -> anyhow::Result<BootstrapAdmin> {
        Ok(Intent::load(&self.home)?.context("no mesh here")?.admin)
    }

    /// The key with which the simulated payment provider is called, its faults
    /// included.
    ///
    /// # Errors
    /// When there is no mesh.
    pub fn sandbox_api_key(&self) -> anyhow::Result<String> {
        Ok(Secrets::load(&self.home)?.password("sandbox.api_key"))
    }

    /// The running process of that name (`wallet`, `postgres`, `supervisor`, …).
    ///
    /// # Errors
    /// When it does not run.
    pub fn process(&self, name: &str) -> anyhow::Result<ProcessId> {
        let record = Record::read_alive(&self.home, name);
        Ok(record
            .with_context(|| format!("{name} does not run"))?
            .process)
    }

    /// Kills a process with SIGKILL and returns which one it was, once it is
    /// gone. The mesh starts it again by itself. Blocks for that moment.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self, name: &str) -> anyhow::Result<ProcessId> {
        let process = self.process(name)?;
        process.signal(Signal::SIGKILL)?;
        if !wait_until_gone(&process, KILL_DEADLINE) {
            bail!("{name} survived SIGKILL");
        }
        Ok(process)
    }

    /// Waits until a process of that name other than `than` runs.
    ///
    /// # Errors
    /// When none came in time.
    pub async fn wait_replaced(
        &self,
        name: &str,
        than: &ProcessId,
        deadline: Duration,
    ) -> anyhow::Result<ProcessId> {
        let start = Instant::now();
        while start.elapsed() < deadline {
            if let Ok(process) = self.process(name)
                && process != *than
            {
                return Ok(process);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        bail!(
            "{name} was not started again within {} s",
            deadline.as_secs()
        )
    }

    /// Waits until every process runs and answers, supervisor and guardian
    /// included.
    ///
    /// # Errors
    /// When that takes longer than the deadline; names what is missing.
    pub async fn wait_healthy(&self, deadline: Duration) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            let missing = self.not_healthy()?;
            if missing.is_empty() {
                return Ok(());
            }
            if start.elapsed() >= deadline {
                bail!(
                    "not healthy within {} s: {}",
                    deadline.as_secs(),
                    missing.join(", ")
                );
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Stops the mesh; a private one is removed. Blocks.
    ///
    /// # Errors
    /// When a process survives.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.remove_if_private()
    }

    /// The names of the processes that are not healthy now. What the supervisor
    /// last wrote may be older than a death, so every pid is looked at.
    fn not_healthy(&self) -> anyhow::Result<Vec<String>> {
        let observed = self.observed()?;
        let mut missing: Vec<String> = [supervisor::NAME, guardian::NAME]
            .into_iter()
            .filter(|name| self.process(name).is_err())
            .map(str::to_owned)
            .collect();
        for process in &observed.processes {
            let runs = process.process.as_ref().is_some_and(ProcessId::is_alive);
            if !runs || process.state != supervisor::observed::State::Healthy {
                missing.push(process.name.clone());
            }
        }
        Ok(missing)
    }

    fn up_options(&self, options: MeshOptions) -> io::Result<UpOptions> {
        Ok(UpOptions {
            home: self.home.path().to_owned(),
            scope: options.scope,
            gateway_port: None,
            rate_limits: Some(options.rate_limits),
            durable: options.durable,
            postgres: options.postgres,
            owner: Some(ProcessId::own()?),
        })
    }

    fn remove_if_private(&mut self) -> anyhow::Result<()> {
        if std::mem::take(&mut self.is_private) {
            reset(self.home.path())?;
        }
        Ok(())
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        if let Err(error) = self.remove_if_private() {
            tracing::error!("the private mesh could not be removed: {error:#}");
        }
    }
}

/// A home that no other mesh has. Short, and under the system's temporary
/// directory, whatever the checkout is called.
fn private_home() -> PathBuf {
    let name = format!("bursar-mesh-{}", hex::encode(rand::random::<[u8; 6]>()));
    std::env::temp_dir().join(name)
}

/// Waits for the end of a mesh whose owner is gone; for tests of just that.
#[must_use]
pub fn wait_until_removed(path: &Path, deadline: Duration) -> bool {
    let start = Instant::now();
    while path.exists() {
        if start.elapsed() >= deadline {
            return false;
        }
        pause(POLL_INTERVAL);
    }
    true
}

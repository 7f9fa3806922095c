//! A service, or the gateway, as a process of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

const START_DEADLINE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// What the service is started from.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// What errors call it.
    pub(super) name: &'static str,
    pub(super) program: PathBuf,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) log: PathBuf,
    /// Where it answers, `host:port`.
    pub(super) address: String,
    /// What answers 200 once it is ready.
    pub(super) ready_url: String,
}

/// A running service; it is killed with this value.
pub(super) struct Service {
    /// Where it answers, `host:port`.
    pub(super) address: String,
    /// Its process.
    pub(super) pid: i32,
    process: Child,
}

impl Site {
    /// Applies the migrations.
    pub(super) async fn migrate(&self) -> anyhow::Result<()> {
        let status = self.command(&["migrate"])?.status().await?;
        ensure!(
            status.success(),
            "the migrations of {} failed; see {}",
            self.name,
            self.log.display()
        );
        Ok(())
    }

    /// Starts the service and waits until it is ready.
    pub(super) async fn serve(&self) -> anyhow::Result<Service> {
        self.start(&["serve"]).await
    }

    /// Starts the program with these arguments and waits until it is ready.
    pub(super) async fn start(&self, arguments: &[&str]) -> anyhow::Result<Service> {
        let mut process = self.command(arguments)?.spawn()?;
        let pid = process.id().and_then(|pid| i32::try_from(pid).ok());
        let (name, log) = (self.name, self.log.display());
        let start = Instant::now();
        while !answers(&self.ready_url).await {
            if let Some(status) = process.try_wait()? {
                bail!("{name} ended with {status}; see {log}");
            }
            ensure!(
                start.elapsed() < START_DEADLINE,
                "{name} is not ready; see {log}"
            );
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(Service {
            address: self.address.clone(),
            pid: pid.context("it runs")?,
            process,
        })
    }

    fn command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        Ok(command)
    }
}

impl Service {
    /// Ends it as an operator would, and waits for that.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        kill(Pid::from_raw(self.pid), Signal::SIGTERM)?;
        self.process.wait().await?;
        Ok(())
    }
}

async fn answers(url: &str) -> bool {
    match reqwest::get(url).await {
        Ok(response) => response.status().is_success(),
        Err(_) => false,
    }
}

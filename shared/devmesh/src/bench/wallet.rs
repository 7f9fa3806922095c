//! The wallet service as a process of its own, on a database of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::ports;

const START_DEADLINE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// What the service is started from.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) program: PathBuf,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) log: PathBuf,
    pub(super) grpc_port: u16,
    pub(super) http_port: u16,
}

/// A running service; it is killed with this value.
pub(super) struct Service {
    /// Where it answers gRPC, `host:port`.
    pub(super) address: String,
    /// Its process.
    pub(super) pid: i32,
    process: Child,
}

impl Site {
    /// Applies the migrations.
    pub(super) async fn migrate(&self) -> anyhow::Result<()> {
        let status = self.command("migrate")?.status().await?;
        ensure!(
            status.success(),
            "the migrations failed; see {}",
            self.log.display()
        );
        Ok(())
    }

    /// Starts the service and waits until it is ready.
    pub(super) async fn serve(&self) -> anyhow::Result<Service> {
        let mut process = self.command("serve")?.spawn()?;
        let pid = process.id().and_then(|pid| i32::try_from(pid).ok());
        let ready = format!("http://{}/readyz", ports::loopback(self.http_port));
        let start = Instant::now();
        while !answers(&ready).await {
            if let Some(status) = process.try_wait()? {
                bail!("the wallet ended with {status}; see {}", self.log.display());
            }
            ensure!(
                start.elapsed() < START_DEADLINE,
                "the wallet is not ready; see {}",
                self.log.display()
            );
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(Service {
            address: ports::loopback(self.grpc_port).to_string(),
            pid: pid.context("it runs")?,
            process,
        })
    }

    fn command(&self, verb: &str) -> anyhow::Result<Command> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.program);
        command
            .arg(verb)
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

//! A service in a process of its own, for tests that kill it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};

use crate::database::TestDatabase;
use crate::leash::Leash;
use crate::proc::is_stopped;
use crate::service::variables;
use crate::tokens::Tokens;
use crate::wait::{PATIENCE, eventually};

/// How many of its last lines are kept for the message of a failed test.
const MAX_LINES: usize = 200;

/// An address at which nobody answers.
const NOBODYS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// The rule that is broken on purpose, if one is, is broken in the process as well.
const CANARY: &str = "BURSAR_CANARY";

/// A running program of ours. Killed when it is dropped, and when the test's
/// process is gone.
pub struct TestProcess {
    /// Where it answers gRPC, once it does.
    grpc_address: watch::Receiver<Option<SocketAddr>>,
    child: Option<Child>,
    leash: Option<Leash>,
    log: Log,
}

/// The last lines that the process logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<VecDeque<String>>>);

impl TestProcess {
    /// Starts a program with a test's database and tokens, on free ports, and
    /// waits until it serves. `service` is its name, such as `wallet`;
    /// `overrides` are further variables of its environment, which otherwise has
    /// nothing of the test's own.
    pub async fn start(
        program: impl AsRef<Path>,
        service: &str,
        database: &TestDatabase,
        tokens: &Tokens,
        overrides: &[(&str, &str)],
    ) -> Self {
        let process = Self::launch(program, service, database, tokens, overrides);
        let serves = process.serves().await;
        assert!(serves, "{service} did not get ready:\n{}", process.log);
        process
    }

    /// Starts a program as [`TestProcess::start`] does, and does not wait: it may be
    /// meant to end, or to stop, before it serves.
    pub fn launch(
        program: impl AsRef<Path>,
        service: &str,
        database: &TestDatabase,
        tokens: &Tokens,
        overrides: &[(&str, &str)],
    ) -> Self {
        let mut child = Command::new(program.as_ref())
            .env_clear()
            .envs(variables(service, database, tokens, overrides))
            .envs(std::env::var_os(CANARY).map(|name| (CANARY, name)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.as_ref().display()));
        let pid = child.id().to_string();
        let leash = Leash::new("kill -KILL \"$1\"", &[pid.as_ref()]);
        let log = Log::default();
        let stderr = child.stderr.take().expect("its output is piped");
        Self {
            grpc_address: log.follow(stderr),
            child: Some(child),
            leash: Some(leash),
            log,
        }
    }

    /// Waits until it serves; false when it ended before that.
    pub async fn serves(&self) -> bool {
        let mut grpc_address = self.grpc_address.clone();
        let serving = grpc_address.wait_for(Option::is_some);
        match tokio::time::timeout(PATIENCE, serving).await {
            Ok(served) => served.is_ok(),
            Err(_) => panic!("it neither serves nor ends:\n{}", self.log),
        }
    }

    /// Whether it serves or has served.
    pub fn has_served(&self) -> bool {
        self.grpc_address.borrow().is_some()
    }

    /// A channel to it, for the generated clients. Nobody answers there while it does
    /// not serve.
    pub fn channel(&self) -> Channel {
        let grpc_address = *self.grpc_address.borrow();
        let grpc_address = grpc_address.unwrap_or(NOBODYS);
        Endpoint::from_shared(format!("http://{grpc_address}"))
            .expect("an address makes an endpoint")
            .connect_lazy()
    }

    /// The last lines of its log.
    pub fn log(&self) -> String {
        self.log.to_string()
    }

    /// True while it has not ended.
    pub fn is_running(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it is our child and not yet waited for");
    }

    /// Waits until it has stopped, as by a crash point.
    pub async fn stopped(&self) {
        let pid = self.pid();
        eventually("the process stops", async || is_stopped(pid)).await;
    }

    /// Lets a stopped process go on.
    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Waits until it ended by SIGKILL, as by a crash point. Fails the test when it
    /// ends in another way, or does not, as when the point is never reached.
    pub async fn killed(mut self) {
        let status = self.ended().await;
        assert_eq!(
            status.signal(),
            Some(Signal::SIGKILL as i32),
            "it was not killed but {status:?}:\n{}",
            self.log
        );
    }

    /// Kills it and waits until nothing of it is left.
    pub async fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.ended().await;
    }

    /// Tells it to end, and waits until it has finished what was in flight.
    pub async fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.ended().await;
        assert!(status.success(), "it ended with {status:?}:\n{}", self.log);
    }

    /// Waits for its end.
    async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        let child = self.child.as_mut().expect("it is waited for once");
        let ending = eventually("the process ends", async || {
            status = child.try_wait().expect("it is our child");
            status.is_some()
        });
        ending.await;
        self.child = None;
        // Its number may be another process's from now on.
        if let Some(leash) = self.leash.take() {
            leash.take_off();
        }
        status.expect("it has ended")
    }

    fn pid(&self) -> Pid {
        let child = self.child.as_ref().expect("it has not ended");
        Pid::from_raw(i32::try_from(child.id()).expect("a process id is positive"))
    }
}

impl Drop for TestProcess {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        match (child.try_wait(), self.leash.take()) {
            (Ok(Some(_)), Some(leash)) => leash.take_off(),
            (_, leash) => {
                drop(leash);
                let _ = child.wait();
            }
        }
    }
}

impl Log {
    /// Keeps the last lines on a thread of its own, until the process ends. Tells
    /// the gRPC address as soon as the process logs that it is ready.
    fn follow(&self, stderr: ChildStderr) -> watch::Receiver<Option<SocketAddr>> {
        let (sender, ready) = watch::channel(None);
        let log = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(address) = ready_address(&line) {
                    sender.send_replace(Some(address));
                }
                let mut lines = log.0.lock().unwrap_or_else(PoisonError::into_inner);
                if lines.len() == MAX_LINES {
                    lines.pop_front();
                }
                lines.push_back(line);
            }
        });
        ready
    }
}

impl std::fmt::Display for Log {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for line in lines.iter() {
            writeln!(formatter, "{line}")?;
        }
        Ok(())
    }
}

/// The gRPC address in the line with which a service says that it serves.
fn ready_address(line: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    if line.get("message")? != "ready" {
        return None;
    }
    line.get("grpc")?.as_str()?.parse().ok()
}

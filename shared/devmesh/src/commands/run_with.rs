//! `test-servers -- CMD` and `with-mesh -- CMD`: run a command beside something
//! private that is gone afterwards, however the command ends.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::checkout::Checkout;
use crate::mesh::{Mesh, MeshOptions};
use crate::ports;
use crate::secrets::Secrets;
use crate::servers::valkey;

/// The command to run.
#[derive(Clone, Debug)]
pub struct Guest {
    /// The program and its arguments.
    pub command: Vec<OsString>,
}

/// Runs the command with a PostgreSQL and a Valkey of its own, in
/// `BURSAR_TEST_POSTGRES_URL` (superuser) and `BURSAR_TEST_REDIS_URL`. Returns
/// the exit code the caller should end with.
///
/// # Errors
/// When the servers do not start, or the command cannot be started.
pub async fn test_servers(guest: &Guest) -> anyhow::Result<u8> {
    let mesh = Mesh::start(MeshOptions::servers(), |_| {}).await?;
    let password = Secrets::load(mesh.home())?.password("valkey");
    let port = ports::Ports::load(mesh.home())?
        .get("valkey")
        .context("Valkey has no port")?;
    let environment = [
        ("BURSAR_TEST_POSTGRES_URL", mesh.observed()?.superuser_url),
        ("BURSAR_TEST_REDIS_URL", valkey::url(port, &password)),
    ];
    let code = run(guest, &environment).await;
    tokio::task::spawn_blocking(|| mesh.stop()).await??;
    code
}

/// Runs the command with a whole mesh of its own: its directory in
/// `BURSAR_TEST_MESH`, its front door in `BURSAR_TEST_GATEWAY`. Returns the exit
/// code the caller should end with.
///
/// # Errors
/// When the mesh does not come up, or the command cannot be started.
pub async fn with_mesh(guest: &Guest, rate_limits: bool) -> anyhow::Result<u8> {
    let options = MeshOptions {
        rate_limits,
        ..MeshOptions::whole()
    };
    let mesh = Mesh::start(options, |_| {}).await?;
    let environment = [
        ("BURSAR_TEST_MESH", mesh.home().path().display().to_string()),
        ("BURSAR_TEST_GATEWAY", mesh.gateway_url()?),
    ];
    let code = run(guest, &environment).await;
    tokio::task::spawn_blocking(|| mesh.stop()).await??;
    code
}

/// Runs the command to its end. A signal that should end this process is handed
/// to the command instead, so that the caller still cleans up.
async fn run(guest: &Guest, environment: &[(&str, String)]) -> anyhow::Result<u8> {
    let (program, arguments) = guest.command.split_first().context("no command given")?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("BURSAR_TOOLS_DIR", Checkout::find()?.tools_directory());
    for (name, value) in environment {
        command.env(name, value);
    }
    let mut child = command
        .spawn()
        .with_context(|| format!("{} cannot be started", program.to_string_lossy()))?;
    loop {
        let received = tokio::select! {
            status = child.wait() => return Ok(exit_code(status?)),
            _ = interrupt.recv() => Signal::SIGINT,
            _ = terminate.recv() => Signal::SIGTERM,
        };
        if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // It may just have ended; then there is nobody to tell.
            let _ = kill(Pid::from_raw(pid), received);
        }
    }
}

/// The code a shell would report.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

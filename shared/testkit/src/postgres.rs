//! A PostgreSQL of the test's own, for tests that kill it.
//!
//! It runs from the same programs as the test server, and as the same user, since
//! PostgreSQL refuses to run as root. So the test server must be on this machine.
//! It listens on a socket in its own directory: no port that somebody else could
//! take while it is down.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::database::admin_options;
use crate::leash::Leash;
use crate::proc::{children_of, is_gone};
use crate::wait::eventually;

const SUPERUSER: &str = "postgres";
/// Names the socket; nothing listens on the port.
const PORT: u16 = 5432;
/// Ends the server, if one runs in the directory, and removes the directory.
const CLEAN_UP: &str = r#"
pid=$(head -n 1 "$1/data/postmaster.pid")
if [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$1/data" ]; then kill -QUIT "$pid"; fi
while [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$1/data" ]; do sleep 0.05; done
rm -rf "$1""#;

/// A server with a data directory of its own; both are gone when it is dropped.
pub struct TestPostgres {
    programs: PathBuf,
    directory: PathBuf,
    /// The user and group to become, for root.
    account: Option<(u32, u32)>,
    settings: Vec<String>,
    postmaster: Option<Child>,
    leash: Option<Leash>,
}

impl TestPostgres {
    /// Makes a data directory and starts a server in it. `settings` are added to
    /// durable defaults.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let (programs, (uid, gid)) = test_server().await;
        let name = format!("bursar-pg-{}", &Uuid::new_v4().simple().to_string()[..12]);
        let directory = std::env::temp_dir().join(name);
        let is_root = nix::unistd::geteuid().is_root();
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .expect("a directory for the server");
        let leash = Leash::new(CLEAN_UP, &[directory.as_os_str()]);
        if is_root {
            chown(&directory, Some(uid), Some(gid)).expect("root may give a directory away");
        }
        let settings = settings
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let mut server = Self {
            programs,
            directory,
            account: is_root.then_some((uid, gid)),
            settings: settings.collect(),
            postmaster: None,
            leash: Some(leash),
        };
        server.initialise();
        server.restart().await;
        server
    }

    /// The server, as its superuser.
    pub fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new()
            .socket(&self.directory)
            .port(PORT)
            .username(SUPERUSER)
            .database("postgres")
    }

    /// Kills every process of the server at once, as when the machine goes down,
    /// and waits until they are gone. What the server had written is in the
    /// kernel's hands and stays; what it had in memory is lost.
    pub async fn kill(&mut self) {
        let mut postmaster = self.postmaster.take().expect("it runs");
        let parent = pid_of(&postmaster);
        // It must not start further processes while its children are listed.
        kill(parent, Signal::SIGSTOP).expect("it is our child");
        let children = children_of(parent);
        for pid in children.iter().copied().chain([parent]) {
            match kill(pid, Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => panic!("{pid} cannot be killed: {errno}"),
            }
        }
        postmaster.wait().expect("it is our child");
        eventually("its processes are gone", async || {
            children.iter().all(|pid| is_gone(*pid))
        })
        .await;
    }

    /// Kills one session, by its process id. The server ends all others then and
    /// starts afresh by itself.
    pub fn kill_session(&self, pid: i32) {
        let parent = pid_of(self.postmaster.as_ref().expect("it runs"));
        let session = Pid::from_raw(pid);
        assert!(
            children_of(parent).contains(&session),
            "{pid} is no session of this server"
        );
        match kill(session, Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => panic!("{pid} cannot be killed: {errno}"),
        }
    }

    /// Starts the server again after [`TestPostgres::kill`], and waits until it has
    /// recovered and answers.
    pub async fn restart(&mut self) {
        assert!(self.postmaster.is_none(), "it runs already");
        let mut command = self.command("postgres");
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.join("log"))
            .expect("a log file");
        command
            .arg("-D")
            .arg(self.data())
            .args(["-c", "listen_addresses=", "-c", "jit=off"])
            .arg("-c")
            .arg(format!(
                "unix_socket_directories={}",
                self.directory.display()
            ))
            .arg("-c")
            .arg(format!("port={PORT}"))
            .stderr(log);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        self.postmaster = Some(command.spawn().expect("postgres can be started"));
        self.answers().await;
    }

    /// Waits until the server takes connections.
    pub async fn answers(&self) {
        let options = self.options();
        let asking = eventually(
            "the server answers",
            async || match PgConnection::connect_with(&options).await {
                Ok(connection) => connection.close().await.is_ok(),
                Err(_) => false,
            },
        );
        asking.await;
    }

    fn initialise(&self) {
        let output = self
            .command("initdb")
            .args([
                "--no-locale",
                "--encoding=UTF8",
                "--auth=trust",
                "--no-sync",
            ])
            .args(["--username", SUPERUSER, "--pgdata"])
            .arg(self.data())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .expect("initdb can be started");
        assert!(
            output.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // ^C in the terminal is for the test; the leash does the rest.
            .process_group(0);
        if let Some((uid, gid)) = self.account {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for TestPostgres {
    fn drop(&mut self) {
        // The leash asks by the number of our child, which is ours until it is
        // waited for; so first the one, then the other.
        drop(self.leash.take());
        if let Some(mut postmaster) = self.postmaster.take() {
            let _ = postmaster.wait();
        }
    }
}

/// Where the test server's programs are, and who owns its data.
async fn test_server() -> (PathBuf, (u32, u32)) {
    let mut connection = PgConnection::connect_with(&admin_options())
        .await
        .expect("the test server answers");
    let programs: String =
        sqlx::query_scalar("SELECT setting FROM pg_config WHERE name = 'BINDIR'")
            .fetch_one(&mut connection)
            .await
            .expect("a superuser may ask");
    let data: String = sqlx::query_scalar("SELECT current_setting('data_directory')")
        .fetch_one(&mut connection)
        .await
        .expect("a superuser may ask");
    connection
        .close()
        .await
        .expect("closing a healthy connection");
    let owner = fs::metadata(&data)
        .unwrap_or_else(|error| panic!("the test server is not on this machine: {data}: {error}"));
    (PathBuf::from(programs), (owner.uid(), owner.gid()))
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a process id is positive"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(server: &TestPostgres, statement: &'static str) -> Result<(), sqlx::Error> {
        let mut connection = PgConnection::connect_with(&server.options()).await?;
        sqlx::raw_sql(statement).execute(&mut connection).await?;
        connection.close().await
    }

    #[tokio::test]
    async fn a_killed_server_comes_back_with_what_was_committed() {
        // Both after a kill of everything and after that of one session; and
        // nothing is left when the value is gone.
        let mut server = TestPostgres::start(&[]).await;
        let directory = server.directory.clone();
        run(&server, "CREATE TABLE kept (id int)").await.unwrap();
        server.kill().await;
        assert!(run(&server, "SELECT 1").await.is_err());
        server.restart().await;
        run(&server, "INSERT INTO kept VALUES (1)").await.unwrap();
        let mut session = PgConnection::connect_with(&server.options()).await.unwrap();
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut session)
            .await
            .unwrap();
        server.kill_session(pid);
        assert!(
            sqlx::raw_sql("SELECT 1")
                .execute(&mut session)
                .await
                .is_err()
        );
        server.answers().await;
        run(&server, "SELECT 1 / (SELECT count(*) FROM kept)")
            .await
            .unwrap();
        drop(server);
        assert!(!directory.exists());
    }
}

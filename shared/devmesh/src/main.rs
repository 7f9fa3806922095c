//! `bursar-devmesh`: the command line of the local mesh.

use std::ffi::OsString;
use std::io;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use bursar_devmesh::checkout::Checkout;
use bursar_devmesh::commands::down::{down, reset};
use bursar_devmesh::commands::logs::{LogOptions, logs};
use bursar_devmesh::commands::run_with::{Guest, test_servers, with_mesh};
use bursar_devmesh::commands::running::running;
use bursar_devmesh::commands::sqlx_prepare::{Outcome, act_as_wrapper, sqlx_prepare};
use bursar_devmesh::commands::status::status;
use bursar_devmesh::commands::up::{DEFAULT_GATEWAY_PORT, Progress, UpOptions, up};
use bursar_devmesh::home::Home;
use bursar_devmesh::intent::{Intent, Scope};
use bursar_devmesh::process::launch::{EXIT_ALREADY_RUNNING, Launch, launch};
use bursar_devmesh::{bench, canaries, demo, directions, guardian, supervisor, verify};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// The local mesh of Bursar: four services, their databases and the gateway.
#[derive(Debug, Parser)]
#[command(name = "bursar-devmesh", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Debug)]
struct HomeArgument {
    /// The directory of the mesh [default: .bursar in the checkout].
    #[arg(long, value_name = "DIRECTORY")]
    home: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the mesh, or bring a running one up to date.
    Up {
        #[command(flatten)]
        home: HomeArgument,
        /// The gateway's port; 0 for any free one.
        #[arg(long, env = "GATEWAY_PORT", default_value_t = DEFAULT_GATEWAY_PORT)]
        port: u16,
        /// Whether the gateway limits rates.
        #[arg(long, env = "RATE_LIMITS", default_value = "on")]
        rate_limits: Switch,
    },
    /// Stop the mesh; its state stays.
    Down {
        #[command(flatten)]
        home: HomeArgument,
    },
    /// Stop the mesh and remove its state.
    Reset {
        #[command(flatten)]
        home: HomeArgument,
    },
    /// Show every process and database.
    Status {
        #[command(flatten)]
        home: HomeArgument,
        /// For people or for programs.
        #[arg(long, default_value = "text")]
        format: Format,
    },
    /// Show the ends of the logs.
    Logs {
        #[command(flatten)]
        home: HomeArgument,
        /// One process only.
        name: Option<String>,
        /// Lines of each log.
        #[arg(short = 'n', long, default_value_t = 20)]
        lines: usize,
        /// Go on as lines are written.
        #[arg(short, long)]
        follow: bool,
    },
    /// See money move through the mesh; starts it when it is down.
    Demo {
        #[command(flatten)]
        home: HomeArgument,
    },
    /// Check every invariant on the mesh's data; starts it when it is down.
    Verify {
        #[command(flatten)]
        home: HomeArgument,
    },
    /// Run a command with a PostgreSQL and a Valkey of its own.
    TestServers {
        /// The command and its arguments, after `--`.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Run a command with a whole mesh of its own.
    WithMesh {
        /// Whether the gateway limits rates.
        #[arg(long, default_value = "off")]
        rate_limits: Switch,
        /// The command and its arguments, after `--`.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Measure the ledger and transfers against a reference; see `BENCH_*` in the README.
    Bench,
    /// Break rules on purpose, one after another, and see that a test notices.
    Canaries {
        /// Only those whose names start so.
        #[arg(long, env = "CANARIES", default_value = "")]
        only: String,
        /// What Cargo builds the tests with, after `--`.
        #[arg(last = true, required = true)]
        build: Vec<String>,
    },
    /// Check who uses whom: services, shared crates, layers.
    Directions,
    /// Write the offline data of the checked queries.
    SqlxPrepare {
        /// Only these crates, such as `bursar-wallet`.
        crates: Vec<String>,
        /// Change nothing; fail when something would change.
        #[arg(long)]
        check: bool,
    },
    /// Run the supervisor (started by `up`).
    #[command(hide = true)]
    Supervise {
        #[arg(long)]
        home: PathBuf,
    },
    /// Run the guardian (started by `up`).
    #[command(hide = true)]
    Guard {
        #[arg(long)]
        home: PathBuf,
    },
    /// Become a process of the mesh (started by the supervisor).
    #[command(hide = true)]
    Launch {
        #[arg(long)]
        home: PathBuf,
        #[arg(long)]
        name: String,
        #[arg(long)]
        digest: String,
        #[arg(long)]
        directory: PathBuf,
        #[arg(long)]
        user: Option<String>,
        #[arg(last = true)]
        command: Vec<OsString>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

fn main() -> ExitCode {
    if let Some(error) = act_as_wrapper() {
        let _ = writeln!(io::stderr(), "error: {error}");
        return ExitCode::FAILURE;
    }
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up {
            home,
            port,
            rate_limits,
        } => run_up(home.path()?, port, rate_limits)?,
        Command::Down { home } => {
            let there = down(&home.path()?)?;
            say(if there {
                "the mesh is down"
            } else {
                "no mesh here"
            })?;
        }
        Command::Reset { home } => {
            let there = reset(&home.path()?)?;
            say(if there {
                "the mesh and its state are gone"
            } else {
                "no mesh here"
            })?;
        }
        Command::Status { home, format } => {
            let status = status(&home.path()?)?;
            let mut out = io::stdout().lock();
            match format {
                Format::Text => out.write_all(status.to_text().as_bytes())?,
                Format::Json => writeln!(out, "{}", serde_json::to_string(&status)?)?,
            }
        }
        Command::Logs {
            home,
            name,
            lines,
            follow,
        } => {
            logs(
                &home.path()?,
                &LogOptions {
                    name,
                    lines,
                    follow,
                },
                io::stdout().lock(),
            )?;
        }
        Command::Demo { home } => {
            let home = home.path()?;
            runtime()?.block_on(async {
                let mesh = running(&home, show).await?;
                demo::play(&mesh, &mut io::stdout()).await
            })?;
        }
        Command::Verify { home } => {
            let home = home.path()?;
            let report = runtime()?.block_on(async {
                let mesh = running(&home, show).await?;
                verify::verify(mesh.home()).await
            })?;
            say(&report.to_string())?;
            if !report.holds() {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::TestServers { command } => {
            return Ok(ExitCode::from(
                runtime()?.block_on(test_servers(&Guest { command }))?,
            ));
        }
        Command::WithMesh {
            rate_limits,
            command,
        } => {
            let limited = matches!(rate_limits, Switch::On);
            let guest = Guest { command };
            return Ok(ExitCode::from(
                runtime()?.block_on(with_mesh(&guest, limited))?,
            ));
        }
        Command::Bench => {
            let settings = bench::Settings::from_environment()?;
            runtime()?.block_on(bench::run(&settings, &mut io::stdout()))?;
        }
        Command::Canaries { only, build } => return run_canaries(&only, &build),
        Command::Directions => return run_directions(),
        Command::SqlxPrepare { crates, check } => return run_sqlx_prepare(&crates, check),
        Command::Supervise { home } => {
            daemonise()?;
            runtime()?.block_on(supervisor::run(&Home::open_or_create(&home)?))?;
        }
        Command::Guard { home } => {
            daemonise()?;
            guardian::run(&Home::open_or_create(&home)?)?;
        }
        Command::Launch {
            home,
            name,
            digest,
            directory,
            user,
            command,
        } => {
            let home = Home::open_or_create(&home)?;
            let request = Launch {
                name: &name,
                digest: &digest,
                user: user.as_deref(),
                directory: &directory,
                command: &command,
            };
            let Err(error) = launch(&home, &request);
            if error.kind() == io::ErrorKind::WouldBlock {
                return Ok(ExitCode::from(EXIT_ALREADY_RUNNING));
            }
            return Err(error.into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn run_up(home: PathBuf, port: u16, rate_limits: Switch) -> anyhow::Result<()> {
    let options = UpOptions {
        home,
        scope: Scope::Mesh,
        gateway_port: (port != 0).then_some(port),
        rate_limits: Some(matches!(rate_limits, Switch::On)),
        durable: true,
        postgres: Vec::new(),
        owner: None,
    };
    let (home, observed) = runtime()?.block_on(up(&options, show))?;
    let gateway = observed
        .process("gateway")
        .map(|gateway| gateway.address.clone());
    say(&format!(
        "\nThe mesh is up: http://{}",
        gateway.unwrap_or_default()
    ))?;
    if let Some(intent) = Intent::load(&home)? {
        say(&format!(
            "Administrator:  {}  password {}\nLogs:           {}",
            intent.admin.email,
            intent.admin.password,
            home.logs().display()
        ))?;
    }
    Ok(())
}

/// One line a process, as it comes up.
fn show(progress: &Progress) {
    let line = match progress {
        Progress::Starting => "The mesh is down; starting it.".to_owned(),
        Progress::Healthy { process, after } => format!(
            "  {:<12} healthy on {:<21} after {}.{} s",
            process.name,
            process.address,
            after.as_secs(),
            after.subsec_millis() / 100
        ),
    };
    // Nobody may be listening any more; the mesh comes up all the same.
    let _ = say(&line);
}

fn run_canaries(only: &str, build: &[String]) -> anyhow::Result<ExitCode> {
    let tally = runtime()?.block_on(canaries::run(only, build, say))?;
    say(&format!(
        "canaries: {} passed, {} failed",
        tally.passed, tally.failed
    ))?;
    // A name that fits none is a mistake, not a success.
    Ok(if tally.failed == 0 && tally.passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn run_directions() -> anyhow::Result<ExitCode> {
    let violations = directions::check(Checkout::find()?.root())?;
    for violation in &violations {
        say(&violation.to_string())?;
    }
    if violations.is_empty() {
        say("directions: every use goes the right way")?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

fn run_sqlx_prepare(crates: &[String], check: bool) -> anyhow::Result<ExitCode> {
    let prepared = runtime()?.block_on(sqlx_prepare(&Checkout::find()?, crates, check))?;
    let mut code = ExitCode::SUCCESS;
    for crate_data in prepared {
        let verdict = match crate_data.outcome {
            Outcome::UpToDate => "up to date",
            Outcome::Written => "written",
            Outcome::OutOfDate => "OUT OF DATE: run `make sqlx-prepare`",
            Outcome::Broken => "DOES NOT COMPILE against its database",
        };
        if matches!(crate_data.outcome, Outcome::OutOfDate | Outcome::Broken) {
            code = ExitCode::FAILURE;
        }
        say(&format!(
            "{:<20} {:>4} queries  {verdict}",
            crate_data.package, crate_data.queries
        ))?;
    }
    Ok(code)
}

impl HomeArgument {
    fn path(self) -> anyhow::Result<PathBuf> {
        match self.home {
            Some(home) => Ok(home),
            None => Ok(Checkout::find()?.default_home()),
        }
    }
}

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}

fn daemonise() -> anyhow::Result<()> {
    guardian::detach()?;
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(false)
        .init();
    Ok(())
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
}

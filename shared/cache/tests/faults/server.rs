//! A Valkey of the test's own: a free port, a directory, gone with the test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bursar_cache::{Cache, Connection, Keyspace, Purpose, Settings};
use bursar_testkit::ClaimedPort;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use redis::FromRedisValue;

/// The longest that anything may take to become so.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) type Bytes = Vec<u8>;

pub(crate) struct Server {
    pub(crate) port: u16,
    _claim: ClaimedPort,
    directory: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// Starts a server with these settings beside the common ones.
    pub(crate) async fn start(settings: &[&str]) -> Self {
        let claim = ClaimedPort::claim();
        let port = claim.address().port();
        let directory = scratch();
        let mut arguments: Vec<String> = format!(
            "--port {port} --bind 127.0.0.1 --appendonly no --daemonize no --enable-debug-command yes"
        )
        .split(' ')
        .map(str::to_owned)
        .collect();
        arguments.extend(["--save".to_owned(), String::new()]);
        arguments.extend(["--dir".to_owned(), directory.display().to_string()]);
        arguments.extend(settings.iter().map(|&setting| setting.to_owned()));
        Self::run(claim, directory, arguments).await
    }

    /// Starts a sentinel that watches the master.
    pub(crate) async fn sentinel(master: u16) -> Self {
        let claim = ClaimedPort::claim();
        let port = claim.address().port();
        let directory = scratch();
        let file = directory.join("sentinel.conf");
        let configuration = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\n\
             sentinel monitor main 127.0.0.1 {master} 1\n\
             sentinel down-after-milliseconds main 500\n\
             sentinel failover-timeout main 3000\n",
            directory.display()
        );
        std::fs::write(&file, configuration).expect("the sentinel's file");
        let arguments = vec![file.display().to_string(), "--sentinel".to_owned()];
        Self::run(claim, directory, arguments).await
    }

    async fn run(claim: ClaimedPort, directory: PathBuf, arguments: Vec<String>) -> Self {
        let mut server = Self {
            port: claim.address().port(),
            _claim: claim,
            directory,
            arguments,
            child: None,
        };
        server.restart().await;
        server
    }

    /// Starts the server again after a kill.
    pub(crate) async fn restart(&mut self) {
        let child = Command::new(program())
            .args(&self.arguments)
            .current_dir(&self.directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        self.child = Some(child);
        let port = self.port;
        eventually("the server answers", async || {
            try_command::<String>(port, "PING").await.is_ok()
        })
        .await;
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the server is ours");
            child.wait().expect("the server ends");
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("the server runs");
        let pid = i32::try_from(child.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("the server is ours");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Runs a command over a connection of its own.
    pub(crate) async fn command<T: FromRedisValue>(&self, text: &str) -> T {
        try_command(self.port, text).await.expect("an answer")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        // Only its own scratch files are lost if this fails.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

pub(crate) async fn try_command<T: FromRedisValue>(port: u16, text: &str) -> redis::RedisResult<T> {
    let client = redis::Client::open(("127.0.0.1", port))?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let mut words = text.split(' ');
    let mut command = redis::cmd(words.next().expect("a command"));
    for word in words {
        command.arg(word);
    }
    command.query_async(&mut connection).await
}

/// Polls until the condition holds, with a bound.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn connection(url: &str) -> Connection {
    Connection::open(Purpose::Cache, url)
        .await
        .expect("an address")
}

/// Settings under which memory shows nothing, so that every read asks Redis.
pub(crate) fn without_memory() -> Settings {
    Settings {
        memory_time_to_live: Duration::ZERO,
        breaker_pause: Duration::from_millis(200),
        ..Settings::new("things", Keyspace::new(Purpose::Cache, "tests"))
    }
}

pub(crate) fn key(name: &str) -> String {
    format!("bursar:cache:tests:things:{name}")
}

pub(crate) async fn cache(url: &str, settings: Settings) -> Cache<Bytes> {
    Cache::new(Some(connection(url).await), settings)
}

fn scratch() -> PathBuf {
    let name = format!("bursar-cache-{}", uuid::Uuid::new_v4().simple());
    let directory = std::env::temp_dir().join(name);
    std::fs::create_dir(&directory).expect("a directory");
    directory
}

/// Where `make tools` puts Valkey, or where `BURSAR_TOOLS_DIR` says.
fn program() -> PathBuf {
    let tools = std::env::var_os("BURSAR_TOOLS_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools"),
        PathBuf::from,
    );
    let program = tools.join("bin/valkey-server");
    assert!(
        program.exists(),
        "no {}; run `make tools`",
        program.display()
    );
    program
}

/// Puts a value of this version where another is, as a failover that lost writes does.
pub(crate) async fn restore(server: &Server, name: &str, version: u64, content: &[u8]) {
    let client = redis::Client::open(server.url()).expect("an address");
    let mut connection = client
        .get_multiplexed_async_connection()
        .await
        .expect("a connection");
    let bytes = [version.to_be_bytes().as_slice(), content].concat();
    let mut command = redis::cmd("SET");
    command.arg(key(name)).arg(bytes);
    command.exec_async(&mut connection).await.expect("set");
}

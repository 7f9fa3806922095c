//! The edge under test: Envoy with a configuration generated for this test.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bursar_gateway::{
    AccessLog, AccessLogFormat, Address, Cors, Jwt, Limits, RateLimits, Settings, Upstream as At,
};
use bursar_testkit::ClaimedPort;
use tonic::transport::Channel;

use super::mint::Mint;
use super::rest::{Answer, Rest};
use super::upstream::Upstream;

/// How long Envoy may take to start.
const START_DEADLINE: Duration = Duration::from_secs(30);

static STARTED: AtomicU32 = AtomicU32::new(0);

/// A running gateway. Envoy ends with the thread that started it, so this
/// value stays in the test's own thread.
pub(crate) struct Edge {
    pub(crate) mint: Mint,
    pub(crate) address: SocketAddr,
    pub(crate) rest: Rest,
    envoy: Child,
    directory: PathBuf,
    _port: ClaimedPort,
    /// Kept alive; absent once a test took it away.
    pub(crate) upstream: Option<Upstream>,
}

impl Edge {
    /// A gateway without rate limits before services that answer.
    pub(crate) async fn start() -> Self {
        Self::start_with(|settings| settings.rate_limits.enabled = false).await
    }

    /// A gateway with settings of the test's.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let mint = Mint::new();
        let upstream = Upstream::start(mint.jwks());
        Self::start_before(mint, upstream, change).await
    }

    /// A gateway before services of the test's.
    pub(crate) async fn start_before(
        mint: Mint,
        upstream: Upstream,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("edge-{}-{number}", std::process::id());
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&directory).unwrap();
        let port = ClaimedPort::claim();
        let address = port.address();
        let mut settings = settings(address, &upstream, &directory);
        change(&mut settings);
        let config = bursar_gateway::generate(&settings, &directory).unwrap();
        let edge = Self {
            mint,
            address,
            rest: Rest::new(address),
            envoy: run_envoy(&config, &directory),
            directory,
            _port: port,
            upstream: Some(upstream),
        };
        edge.wait_until_ready().await;
        edge
    }

    /// A good token of this user.
    pub(crate) fn token(&self, subject: &str) -> String {
        self.mint.token(subject)
    }

    /// A gRPC connection.
    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.address)).unwrap();
        endpoint.connect().await.unwrap()
    }

    /// Asks for a known wallet with a good token.
    pub(crate) async fn get_wallet(&self) -> Answer {
        let path = format!("/api/v1/wallet/wallets/{}", super::KNOWN_WALLET);
        self.rest
            .get(&path)
            .token(&self.token("usr_1"))
            .send()
            .await
    }

    /// The access log once it has a line that holds `text`.
    pub(crate) async fn access_log_with(&self, text: &str) -> String {
        let path = self.directory.join("access.log");
        let read = || fs::read_to_string(&path).unwrap_or_default();
        let found = until(START_DEADLINE, || {
            let log = read();
            async move { log.contains(text).then_some(log) }
        });
        found
            .await
            .unwrap_or_else(|| panic!("no line with {text} in:\n{}", read()))
    }

    async fn wait_until_ready(&self) {
        let ready = until(START_DEADLINE, || async {
            let answer = self.rest.get("/healthz").try_send().await;
            answer.filter(|answer| answer.status == 200)
        });
        if ready.await.is_none() {
            let log = fs::read_to_string(self.directory.join("envoy.log"));
            panic!("Envoy does not start:\n{}", log.unwrap_or_default());
        }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // What cannot be cleaned up does not change what the test showed.
        drop(self.envoy.kill());
        drop(self.envoy.wait());
        if !std::thread::panicking() {
            drop(fs::remove_dir_all(&self.directory));
        }
    }
}

/// Asks again until there is an answer or the time is over.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    time: Duration,
    mut ask: impl FnMut() -> F,
) -> Option<T> {
    let end = Instant::now() + time;
    loop {
        if let Some(answer) = ask().await {
            return Some(answer);
        }
        if Instant::now() > end {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn settings(listen: SocketAddr, upstream: &Upstream, directory: &Path) -> Settings {
    let address = |address: SocketAddr| Address::try_from(address.to_string()).unwrap();
    let services = ["admin", "identity", "transaction", "wallet"].map(|name| {
        let at = At {
            grpc: address(upstream.grpc),
            http: Some(address(upstream.http)),
        };
        (name.to_owned(), at)
    });
    Settings {
        listen: address(listen),
        admin: None,
        reflection: false,
        trusted_proxy_hops: 0,
        services: BTreeMap::from(services),
        jwt: Jwt::default(),
        cors: Cors {
            origins: vec!["https://app.example.com".to_owned()],
        },
        rate_limits: RateLimits::default(),
        limits: Limits::default(),
        access_log: AccessLog {
            path: Some(directory.join("access.log")),
            format: AccessLogFormat::Json,
        },
    }
}

fn run_envoy(config: &Path, directory: &Path) -> Child {
    let log = File::create(directory.join("envoy.log")).unwrap();
    Command::new(envoy_binary())
        .arg("--config-path")
        .arg(config)
        .args(["--concurrency", "1", "--log-level", "warning"])
        .args(["--disable-hot-restart", "--file-flush-interval-msec", "50"])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("the Envoy binary can be started")
}

/// Where `make tools` puts Envoy, or where `BURSAR_TOOLS_DIR` says.
pub(crate) fn envoy_binary() -> PathBuf {
    let tools = std::env::var_os("BURSAR_TOOLS_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools"),
        PathBuf::from,
    );
    let binary = tools.join("bin/envoy");
    assert!(
        binary.exists(),
        "{} is missing; `make tools` fetches it",
        binary.display()
    );
    binary
}

//! A connection to one Redis, sentinel master or cluster, shared by all callers.
//!
//! Every call is bounded, also while the server is being connected to: the
//! connecting goes on in the background and the caller gets an error. A link
//! that broke, that turned into a replica, or that stayed silent several times
//! is replaced; a sentinel is then asked again who the master is. For purposes
//! that must not lose keys each new link is checked before it is used.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bursar_crash::canary;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult,
    ServerErrorKind, Value,
};
use tokio::time::{Instant, timeout_at};

use crate::address::{AddressError, Topology};
use crate::eviction::{self, Policy};
use crate::purpose::Purpose;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// One attempt to connect.
    pub connect: Duration,
    /// One call, with the wait for a connection.
    pub response: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            response: Duration::from_millis(250),
        }
    }
}

/// How long after a failed attempt to connect the next one may begin.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// How many unanswered calls in a row make a link a broken one.
const SILENCES: u32 = 3;

/// Why a Redis cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is unusable.
    #[error("{} is unusable", purpose.variable())]
    Address {
        /// What the Redis is for.
        purpose: Purpose,
        /// What is wrong with it.
        #[source]
        source: AddressError,
    },
    /// The server drops keys when its memory is full.
    #[error(
        "the Redis of {} evicts (maxmemory-policy {policy}), which loses {purpose}; \
         it needs maxmemory-policy noeviction", purpose.variable()
    )]
    Evicts {
        /// What the Redis is for.
        purpose: Purpose,
        /// The policy it has.
        policy: String,
    },
}

/// A connection for one purpose; clones share it. Commands of the redis crate
/// run on it, since it is a [`ConnectionLike`].
#[derive(Clone)]
pub struct Connection {
    inner: Arc<Inner>,
}

struct Inner {
    purpose: Purpose,
    topology: Arc<Topology>,
    limits: Limits,
    slot: Mutex<Slot>,
    silences: AtomicU32,
}

#[derive(Default)]
struct Slot {
    attempt: Option<Attempt>,
    /// Counts the attempts, so that only the link that broke is replaced.
    generation: u64,
    begun: Option<Instant>,
}

type Attempt = Shared<BoxFuture<'static, Result<Link, LinkError>>>;

/// What the calls run on.
#[derive(Clone)]
pub(crate) enum Link {
    Node(MultiplexedConnection),
    Cluster(ClusterConnection),
}

#[derive(Debug, Clone)]
enum LinkError {
    Redis(RedisError),
    Evicts(String),
    TimedOut,
}

impl Connection {
    /// A connection to the address for the purpose. A server that is away is no
    /// error, since it may come back; it is checked then.
    ///
    /// # Errors
    /// When the address is unusable, or when keys of the purpose must not be lost
    /// and the server evicts.
    pub async fn open(purpose: Purpose, address: &str) -> Result<Self, OpenError> {
        Self::open_with(purpose, address, Limits::default()).await
    }

    /// The same with limits of its own.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub async fn open_with(
        purpose: Purpose,
        address: &str,
        limits: Limits,
    ) -> Result<Self, OpenError> {
        let topology = Topology::parse(address, limits)
            .map_err(|source| OpenError::Address { purpose, source })?;
        let connection = Self {
            inner: Arc::new(Inner {
                purpose,
                topology: Arc::new(topology),
                limits,
                slot: Mutex::default(),
                silences: AtomicU32::new(0),
            }),
        };
        let (_, attempt) = connection.inner.attempt();
        match attempt.await {
            Ok(_) => {}
            Err(LinkError::Evicts(policy)) => return Err(OpenError::Evicts { purpose, policy }),
            Err(LinkError::Redis(error)) => {
                tracing::warn!(%purpose, error = %error, "redis is not there yet");
            }
            Err(LinkError::TimedOut) => tracing::warn!(%purpose, "redis does not answer yet"),
        }
        Ok(connection)
    }

    /// What the connection is for.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        self.inner.purpose
    }

    /// Whether keys are spread over the nodes of a cluster.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        matches!(*self.inner.topology, Topology::Cluster(_))
    }

    /// The primaries of a cluster as `host:port`; one nameless node otherwise.
    pub(crate) async fn primaries(&self) -> RedisResult<Vec<Option<(String, u16)>>> {
        if !self.is_cluster() {
            return Ok(vec![None]);
        }
        let everywhere = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        let answers = self.routed(redis::cmd("PING"), everywhere).await?;
        let Value::Map(answers) = answers else {
            return Err(unexpected("the nodes of the cluster have no names"));
        };
        answers
            .into_iter()
            .map(|(name, _)| {
                let name: String = redis::from_redis_value(name)?;
                let (host, port) = name
                    .rsplit_once(':')
                    .ok_or_else(|| unexpected("a node of the cluster has no port"))?;
                let port = port
                    .parse()
                    .map_err(|_| unexpected("a node of the cluster has no port"))?;
                Ok(Some((host.to_owned(), port)))
            })
            .collect()
    }

    /// Runs a command on one node.
    pub(crate) async fn on_node(
        &self,
        node: Option<&(String, u16)>,
        command: Cmd,
    ) -> RedisResult<Value> {
        match node {
            None => self.clone().req_packed_command(&command).await,
            Some((host, port)) => {
                let node = SingleNodeRoutingInfo::ByAddress {
                    host: host.clone(),
                    port: *port,
                };
                self.routed(command, RoutingInfo::SingleNode(node)).await
            }
        }
    }

    async fn routed(&self, command: Cmd, routing: RoutingInfo) -> RedisResult<Value> {
        self.inner
            .run(async |link| match link {
                Link::Node(node) => node.req_packed_command(&command).await,
                Link::Cluster(cluster) => cluster.route_command(command, routing).await,
            })
            .await
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let inner = &self.inner;
        async move {
            let deadline = inner.deadline();
            let (generation, mut link) = inner.link(deadline).await?;
            let answer = match &mut link {
                Link::Node(node) => timeout_at(deadline, node.req_packed_command(cmd)).await,
                Link::Cluster(cluster) => {
                    timeout_at(deadline, cluster.req_packed_command(cmd)).await
                }
            };
            inner.settle(generation, answer)
        }
        .boxed()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let inner = &self.inner;
        async move {
            let deadline = inner.deadline();
            let (generation, mut link) = inner.link(deadline).await?;
            let answer = match &mut link {
                Link::Node(node) => {
                    timeout_at(deadline, node.req_packed_commands(pipeline, offset, count)).await
                }
                Link::Cluster(cluster) => {
                    timeout_at(
                        deadline,
                        cluster.req_packed_commands(pipeline, offset, count),
                    )
                    .await
                }
            };
            inner.settle(generation, answer)
        }
        .boxed()
    }

    fn get_db(&self) -> i64 {
        match &*self.inner.topology {
            Topology::Single(client) => client.get_connection_info().redis_settings().db(),
            Topology::Sentinel(sentinels) => sentinels.database(),
            Topology::Cluster(_) => 0,
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("purpose", &self.inner.purpose)
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn deadline(&self) -> Instant {
        Instant::now() + self.limits.response
    }

    async fn run<T>(&self, call: impl AsyncFnOnce(&mut Link) -> RedisResult<T>) -> RedisResult<T> {
        let deadline = self.deadline();
        let (generation, mut link) = self.link(deadline).await?;
        let answer = timeout_at(deadline, call(&mut link)).await;
        self.settle(generation, answer)
    }

    async fn link(&self, deadline: Instant) -> RedisResult<(u64, Link)> {
        let (generation, attempt) = self.attempt();
        match timeout_at(deadline, attempt).await {
            Ok(Ok(link)) => Ok((generation, link)),
            Ok(Err(LinkError::Redis(error))) => Err(error),
            Ok(Err(LinkError::Evicts(_))) => Err(RedisError::from((
                ErrorKind::InvalidClientConfig,
                "the server evicts, which this purpose must not",
            ))),
            Ok(Err(LinkError::TimedOut)) | Err(_) => Err(timed_out()),
        }
    }

    /// The attempt under way or done; a new one when there is none or it failed
    /// and the pause is over.
    fn attempt(&self) -> (u64, Attempt) {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = slot
            .begun
            .is_none_or(|begun| begun.elapsed() >= RECONNECT_PAUSE);
        let current = slot
            .attempt
            .clone()
            .filter(|attempt| !(is_over && matches!(attempt.peek(), Some(Err(_)))));
        let attempt = current.unwrap_or_else(|| {
            let attempt = begin(self.purpose, Arc::clone(&self.topology), self.limits);
            slot.generation += 1;
            slot.begun = Some(Instant::now());
            slot.attempt = Some(attempt.clone());
            attempt
        });
        (slot.generation, attempt)
    }

    /// Notes how a call ended, and gives up a link that is of no use.
    fn settle<T>(
        &self,
        generation: u64,
        answer: Result<RedisResult<T>, tokio::time::error::Elapsed>,
    ) -> RedisResult<T> {
        let answer = answer.unwrap_or_else(|_| Err(timed_out()));
        let is_broken = match &answer {
            Ok(_) => false,
            Err(error) if error.is_timeout() => {
                self.silences.fetch_add(1, Ordering::Relaxed) + 1 >= SILENCES
            }
            Err(error) => breaks_link(error),
        };
        if is_broken {
            let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
            if slot.generation == generation {
                slot.attempt = None;
            }
        }
        if is_broken || !matches!(&answer, Err(error) if error.is_timeout()) {
            self.silences.store(0, Ordering::Relaxed);
        }
        answer
    }
}

/// Connects in a task of its own, so that no caller's end cancels it.
fn begin(purpose: Purpose, topology: Arc<Topology>, limits: Limits) -> Attempt {
    let task = tokio::spawn(async move {
        let connected = connect(purpose, &topology, limits);
        tokio::time::timeout(limits.connect, connected)
            .await
            .unwrap_or(Err(LinkError::TimedOut))
    });
    async move { task.await.unwrap_or(Err(LinkError::TimedOut)) }
        .boxed()
        .shared()
}

async fn connect(purpose: Purpose, topology: &Topology, limits: Limits) -> Result<Link, LinkError> {
    let mut link = establish(topology, limits)
        .await
        .map_err(LinkError::Redis)?;
    if !purpose.may_evict() && !canary!("cache.evicting_store_taken") {
        match eviction::policy(&mut link)
            .await
            .map_err(LinkError::Redis)?
        {
            Policy::Keeps => {}
            Policy::Evicts(policy) => return Err(LinkError::Evicts(policy)),
            Policy::Unknown => {
                tracing::warn!(%purpose, "redis does not tell its maxmemory-policy; it must be noeviction");
            }
        }
    }
    Ok(link)
}

async fn establish(topology: &Topology, limits: Limits) -> RedisResult<Link> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(limits.connect))
        .set_response_timeout(Some(limits.response));
    Ok(match topology {
        Topology::Single(client) => Link::Node(
            client
                .get_multiplexed_async_connection_with_config(&config)
                .await?,
        ),
        Topology::Sentinel(sentinels) => Link::Node(
            sentinels
                .client()?
                .get_async_connection_with_config(&config)
                .await?,
        ),
        Topology::Cluster(client) => Link::Cluster(client.get_async_connection().await?),
    })
}

fn breaks_link(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
        || error.is_connection_dropped()
        || error.is_io_error()
        || matches!(
            error.kind(),
            ErrorKind::ClusterConnectionNotFound
                | ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
        )
}

fn timed_out() -> RedisError {
    RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))
}

fn unexpected(message: &'static str) -> RedisError {
    RedisError::from((ErrorKind::UnexpectedReturnType, message))
}

//! Connections to the Redis of the streams.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisResult};

/// How long Redis may take to accept a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);
/// How long Redis may take to answer: longer than any read blocks, which the
/// library's half second would cut short, losing what it delivers. A pipeline of
/// the largest allowed events and a busy disk need more than that, too.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection of one's own. A stream that is read needs one, because a blocking
/// read stops everything that comes after it.
pub(crate) async fn open(client: &redis::Client) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECTION_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT));
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

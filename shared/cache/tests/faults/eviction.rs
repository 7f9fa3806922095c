//! Purposes that must not lose keys.

use bursar_cache::{Connection, OpenError, Purpose};
use redis::AsyncCommands;

use crate::server::{Server, eventually};

/// State, sessions and events are refused on a server that evicts, and taken on
/// one that does not; a cache may be on either.
#[tokio::test]
async fn what_must_not_be_lost_is_not_put_where_it_may_be() {
    for policy in ["allkeys-lru", "volatile-ttl"] {
        let server = Server::start(&["--maxmemory-policy", policy]).await;
        for purpose in [Purpose::State, Purpose::Sessions, Purpose::Events] {
            let refused = Connection::open(purpose, &server.url()).await;
            assert!(
                matches!(refused, Err(OpenError::Evicts { policy: told, .. }) if told == policy)
            );
        }
        assert!(
            Connection::open(Purpose::Cache, &server.url())
                .await
                .is_ok()
        );
    }
    let server = Server::start(&[]).await;
    let mut state = Connection::open(Purpose::State, &server.url())
        .await
        .expect("it keeps");
    assert_eq!(state.incr::<_, _, i64>("n", 1).await.expect("counts"), 1);
}

/// A server that came back with another policy is not used for state any more.
#[tokio::test]
async fn the_policy_is_checked_at_each_connection() {
    let mut server = Server::start(&[]).await;
    let mut state = Connection::open(Purpose::State, &server.url())
        .await
        .expect("it keeps");
    server.kill();
    server.restart().await;
    server
        .command::<String>("CONFIG SET maxmemory-policy allkeys-lru")
        .await;
    let mut refused = 0;
    eventually("calls are refused", async || {
        let answer = state.incr::<_, _, i64>("n", 1).await;
        refused += u32::from(answer.is_err_and(|error| error.to_string().contains("evicts")));
        refused > 0
    })
    .await;
    assert_eq!(server.command::<i64>("EXISTS n").await, 0);
}

/// A user who may ask for nothing about the server still connects.
#[tokio::test]
async fn a_server_that_does_not_tell_is_warned_about_only() {
    let server = Server::start(&[]).await;
    server
        .command::<String>("ACL SETUSER app on >word ~* +@all -info -config")
        .await;
    let url = format!("redis://app:word@127.0.0.1:{}", server.port);
    let mut state = Connection::open(Purpose::State, &url).await.expect("taken");
    assert_eq!(state.incr::<_, _, i64>("n", 1).await.expect("counts"), 1);
}

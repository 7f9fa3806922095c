//! `Refresh`: rotation, lost responses, theft.

use futures::future::join_all;
use tonic::Code;

use crate::harness::{Harness, get_me, refresh, refused};

/// How many live refresh tokens there are.
const LIVE: &str =
    "SELECT count(*) FROM refresh_tokens WHERE used_at IS NULL AND superseded_at IS NULL";

/// Each refresh answers new tokens of the same session, and moves its end on.
#[tokio::test]
async fn tokens_rotate() {
    let harness = Harness::start().await;
    let (_, login) = harness.user("ada").await;
    let mut token = login.refresh_token;
    for _ in 0..3 {
        let next = refresh(&harness.client, &token)
            .await
            .expect("the token is live");
        assert_eq!(next.session_id, login.session_id);
        assert_eq!(next.expires_in_seconds, 900);
        assert_ne!(next.refresh_token, token);
        get_me(&harness.client, &next.access_token)
            .await
            .expect("the access token is good");
        token = next.refresh_token;
    }
    assert_eq!(harness.house.count(LIVE).await, 1);
    assert_eq!(
        harness
            .house
            .events("identity.session.ended", &login.session_id)
            .await,
        0
    );
    let moved = harness
        .house
        .count("SELECT count(*) FROM sessions WHERE last_used_at > created_at AND expires_at > created_at + interval '7 days'")
        .await;
    assert_eq!(moved, 1);
}

/// A token that comes back after its successor was used ends the session: the
/// thief's and the victim's tokens stop working, and an event says why.
#[tokio::test]
async fn reuse_revokes_the_family() {
    let harness = Harness::start().await;
    let (_, login) = harness.user("ada").await;
    let second = refresh(&harness.client, &login.refresh_token)
        .await
        .expect("live");
    let third = refresh(&harness.client, &second.refresh_token)
        .await
        .expect("live");

    let reused = refresh(&harness.client, &login.refresh_token).await;
    refused(reused, Code::Unauthenticated, "REFRESH_TOKEN_REUSED");
    for token in [
        &login.refresh_token,
        &second.refresh_token,
        &third.refresh_token,
    ] {
        let dead = refresh(&harness.client, token).await;
        refused(dead, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
    }
    let me = get_me(&harness.client, &third.access_token).await;
    refused(me, Code::Unauthenticated, "SESSION_REVOKED");
    assert_eq!(
        harness
            .house
            .events("identity.session.ended", &login.session_id)
            .await,
        1
    );
    let reasoned = harness
        .house
        .count("SELECT count(*) FROM sessions WHERE end_reason = 'refresh_token_reused'")
        .await;
    assert_eq!(reasoned, 1);
}

/// While the successor is unused its response may have been lost: a repeat gets
/// another successor, which goes on as if nothing had happened.
#[tokio::test]
async fn a_lost_response_is_forgiven() {
    let harness = Harness::start().await;
    let (_, login) = harness.user("ada").await;
    let _lost = refresh(&harness.client, &login.refresh_token)
        .await
        .expect("live");
    let again = refresh(&harness.client, &login.refresh_token)
        .await
        .expect("forgiven");
    assert_eq!(harness.house.count(LIVE).await, 1);
    let next = refresh(&harness.client, &again.refresh_token)
        .await
        .expect("live");
    refresh(&harness.client, &next.refresh_token)
        .await
        .expect("live");
}

/// When the "lost" successor turns up after it was replaced, two parties hold
/// tokens of the session, and it ends.
#[tokio::test]
async fn a_replaced_successor_gives_the_theft_away() {
    let harness = Harness::start().await;
    let (_, login) = harness.user("ada").await;
    let victim = refresh(&harness.client, &login.refresh_token)
        .await
        .expect("live");
    let thief = refresh(&harness.client, &login.refresh_token)
        .await
        .expect("forgiven");
    let found_out = refresh(&harness.client, &victim.refresh_token).await;
    refused(found_out, Code::Unauthenticated, "REFRESH_TOKEN_REUSED");
    let dead = refresh(&harness.client, &thief.refresh_token).await;
    refused(dead, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
}

/// Twenty refreshes of one token at once leave one live branch, and the token
/// of that branch works.
#[tokio::test]
async fn parallel_refreshes_leave_one_branch() {
    let harness = Harness::start().await;
    let (_, login) = harness.user("ada").await;
    let tries = (0..20).map(|_| refresh(&harness.client, &login.refresh_token));
    let mut handed_out = Vec::new();
    for outcome in join_all(tries).await {
        handed_out.push(outcome.expect("every one is answered").refresh_token);
    }
    assert_eq!(harness.house.count(LIVE).await, 1);
    let live: Vec<u8> = sqlx::query_scalar(
        "SELECT token_hash FROM refresh_tokens WHERE used_at IS NULL AND superseded_at IS NULL",
    )
    .fetch_one(&harness.house.database.pool)
    .await
    .expect("there is one");
    let live: Vec<&String> = handed_out
        .iter()
        .filter(|token| {
            bursar_identity::token::RefreshToken::presented((*token).clone()).hash() == *live
        })
        .collect();
    let [live] = live[..] else {
        panic!("one of the answers has the live token")
    };
    refresh(&harness.client, live)
        .await
        .expect("the live token works");
    let superseded = handed_out
        .iter()
        .find(|token| *token != live)
        .expect("nineteen others");
    let dead = refresh(&harness.client, superseded).await;
    refused(dead, Code::Unauthenticated, "REFRESH_TOKEN_REUSED");
}

/// What is no token, and what has expired, is refused without a word more.
#[tokio::test]
async fn unknown_and_expired_tokens_are_invalid() {
    let harness = Harness::start().await;
    for text in ["brt_nothing", "x", "brt_\u{0}", &"x".repeat(256)] {
        let outcome = refresh(&harness.client, text).await;
        refused(outcome, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
    }
    let (_, login) = harness.user("ada").await;
    sqlx::query("UPDATE refresh_tokens SET expires_at = now() - interval '1 second'")
        .execute(&harness.house.database.owner)
        .await
        .expect("the owner may");
    let expired = refresh(&harness.client, &login.refresh_token).await;
    refused(expired, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
    assert_eq!(
        harness
            .house
            .events("identity.session.ended", &login.session_id)
            .await,
        0
    );
}

/// Only hashes of refresh tokens are stored.
#[tokio::test]
async fn the_database_has_no_token() {
    let harness = Harness::start().await;
    let (_, login) = harness.user("ada").await;
    let stored: Vec<u8> = sqlx::query_scalar("SELECT token_hash FROM refresh_tokens")
        .fetch_one(&harness.house.database.pool)
        .await
        .expect("there is one");
    assert_eq!(stored.len(), 32);
    assert_ne!(stored, login.refresh_token.as_bytes());
}

//! `GetMe`, `ListSessions`, `RevokeSession` and `Logout`.

use bursar_aip::id::{SessionId, UserId};
use bursar_contracts::identity::v1::{
    GetMeRequest, ListSessionsRequest, ListSessionsResponse, LogoutRequest, RevokeSessionRequest,
    RevokeSessionResponse,
};
use bursar_testkit::{Tokens, with_token};
use tonic::{Code, Response, Status};

use crate::harness::{
    Client, Harness, PASSWORD, get_me, is_replay, keyed, login, refresh, refused,
};

async fn list(
    client: &Client,
    token: &str,
    page_size: i32,
    page_token: &str,
) -> Result<ListSessionsResponse, Status> {
    let message = ListSessionsRequest {
        page_size,
        page_token: page_token.to_owned(),
    };
    let request = with_token(message, token);
    client
        .clone()
        .list_sessions(request)
        .await
        .map(Response::into_inner)
}

async fn revoke(
    client: &Client,
    token: &str,
    session_id: &str,
) -> Result<Response<RevokeSessionResponse>, Status> {
    let message = RevokeSessionRequest {
        session_id: session_id.to_owned(),
    };
    client
        .clone()
        .revoke_session(with_token(message, token))
        .await
}

async fn logout(client: &Client, token: &str) -> Result<(), Status> {
    let request = with_token(LogoutRequest {}, token);
    client.clone().logout(request).await.map(|_| ())
}

/// A user sees their own living sessions, newest first, page by page.
#[tokio::test]
async fn sessions_are_listed_newest_first() {
    let harness = Harness::start().await;
    let (_, first) = harness.user("ada").await;
    harness.user("eve").await;
    let mut expected = vec![first.session_id];
    let mut token = first.access_token;
    for _ in 0..4 {
        let login = login(&harness.client, "ada@example.com", PASSWORD)
            .await
            .expect("right");
        expected.insert(0, login.session_id);
        token = login.access_token;
    }
    let whole = list(&harness.client, &token, 0, "").await.expect("listed");
    let ids: Vec<&String> = whole
        .sessions
        .iter()
        .map(|session| &session.session_id)
        .collect();
    assert_eq!(ids, expected.iter().collect::<Vec<_>>());
    assert_eq!(whole.next_page_token, "");
    assert!(whole.sessions[0].current);
    assert!(whole.sessions[1..].iter().all(|session| !session.current));
    let newest = &whole.sessions[0];
    assert!(
        newest.user_agent.starts_with("tonic/"),
        "{}",
        newest.user_agent
    );
    assert_eq!(newest.created_at, newest.last_used_at);

    let mut pages = Vec::new();
    let mut page_token = String::new();
    loop {
        let page = list(&harness.client, &token, 2, &page_token)
            .await
            .expect("listed");
        assert!(page.sessions.len() <= 2);
        pages.extend(page.sessions);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(pages, whole.sessions);
}

/// Page sizes and tokens that nobody handed out are refused.
#[tokio::test]
async fn odd_pages_are_refused() {
    let harness = Harness::start().await;
    let (_, login) = harness.user("ada").await;
    let token = &login.access_token;
    let odd = list(&harness.client, token, 0, "nonsense").await;
    refused(odd, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    for size in [-1, i32::MAX] {
        let odd = list(&harness.client, token, size, "").await;
        refused(odd, Code::InvalidArgument, "INVALID_FIELD");
    }
}

/// A user ends another of their sessions: its tokens stop working at identity,
/// the calling one goes on.
#[tokio::test]
async fn a_session_can_be_revoked_from_another() {
    let harness = Harness::start().await;
    let (_, lost) = harness.user("ada").await;
    let here = login(&harness.client, "ada@example.com", PASSWORD)
        .await
        .expect("right");
    revoke(&harness.client, &here.access_token, &lost.session_id)
        .await
        .expect("revoked");

    let me = get_me(&harness.client, &lost.access_token).await;
    refused(me, Code::Unauthenticated, "SESSION_REVOKED");
    let dead = refresh(&harness.client, &lost.refresh_token).await;
    refused(dead, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
    get_me(&harness.client, &here.access_token)
        .await
        .expect("alive");
    let left = list(&harness.client, &here.access_token, 0, "")
        .await
        .expect("listed");
    assert_eq!(left.sessions.len(), 1);
    assert_eq!(
        harness
            .house
            .events("identity.session.ended", &lost.session_id)
            .await,
        1
    );

    let again = revoke(&harness.client, &here.access_token, &lost.session_id).await;
    refused(again, Code::NotFound, "SESSION_NOT_FOUND");
    assert_eq!(
        harness
            .house
            .events("identity.session.ended", &lost.session_id)
            .await,
        1
    );
}

/// Another user's session is not there, nor is one that never was.
#[tokio::test]
async fn sessions_of_others_are_not_there() {
    let harness = Harness::start().await;
    let (_, ada) = harness.user("ada").await;
    let (_, eve) = harness.user("eve").await;
    for session in [ada.session_id, SessionId::generate().to_string()] {
        let outcome = revoke(&harness.client, &eve.access_token, &session).await;
        refused(outcome, Code::NotFound, "SESSION_NOT_FOUND");
    }
    get_me(&harness.client, &ada.access_token)
        .await
        .expect("alive");
    let malformed = revoke(&harness.client, &eve.access_token, "ses_1").await;
    refused(malformed, Code::InvalidArgument, "INVALID_FIELD");
}

/// Under an idempotency key a revocation that is sent again gets the first
/// answer; so does a refusal.
#[tokio::test]
async fn revocations_replay() {
    let harness = Harness::start().await;
    let (_, lost) = harness.user("ada").await;
    let here = login(&harness.client, "ada@example.com", PASSWORD)
        .await
        .expect("right");
    let send = |session_id: &str, key: &str| {
        let message = RevokeSessionRequest {
            session_id: session_id.to_owned(),
        };
        let request = keyed(with_token(message, &here.access_token), key);
        let mut client = harness.client.clone();
        async move { client.revoke_session(request).await }
    };
    assert!(!is_replay(
        &send(&lost.session_id, "one").await.expect("revoked")
    ));
    assert!(is_replay(
        &send(&lost.session_id, "one").await.expect("a replay")
    ));
    let other = SessionId::generate().to_string();
    let outcome = send(&other, "one").await;
    refused(outcome, Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    for _ in 0..2 {
        refused(
            send(&other, "two").await,
            Code::NotFound,
            "SESSION_NOT_FOUND",
        );
    }
}

/// A logout ends the session at once for identity; sent again it succeeds and
/// changes nothing.
#[tokio::test]
async fn a_logout_ends_the_session() {
    let harness = Harness::start().await;
    let (_, login) = harness.user("ada").await;
    let token = &login.access_token;
    logout(&harness.client, token).await.expect("logged out");
    logout(&harness.client, token).await.expect("nothing to do");
    assert_eq!(
        harness
            .house
            .events("identity.session.ended", &login.session_id)
            .await,
        1
    );

    let me = get_me(&harness.client, token).await;
    refused(me, Code::Unauthenticated, "SESSION_REVOKED");
    let listed = list(&harness.client, token, 0, "").await;
    refused(listed, Code::Unauthenticated, "SESSION_REVOKED");
    let revoked = revoke(&harness.client, token, &login.session_id).await;
    refused(revoked, Code::Unauthenticated, "SESSION_REVOKED");
    let dead = refresh(&harness.client, &login.refresh_token).await;
    refused(dead, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
}

/// A well-signed token whose session is not the user's, or that names none,
/// is as good as one whose session has ended.
#[tokio::test]
async fn tokens_without_a_living_session_are_refused() {
    let harness = Harness::start().await;
    let (ada, _) = harness.user("ada").await;
    let (_, eve) = harness.user("eve").await;
    let ada: UserId = ada.user_id.parse().expect("an id");
    let mut claims = Tokens::user_claims(ada);
    for sid in [claims.sid.clone(), None, Some(eve.session_id)] {
        claims.sid = sid;
        let token = harness.house.tokens.mint(claims.clone());
        let me = get_me(&harness.client, &token).await;
        refused(me, Code::Unauthenticated, "SESSION_REVOKED");
    }
}

/// A session that was not refreshed in time is over.
#[tokio::test]
async fn sessions_expire() {
    let harness = Harness::start().await;
    let (_, login) = harness.user("ada").await;
    sqlx::query("UPDATE sessions SET expires_at = now() - interval '1 second'")
        .execute(&harness.house.database.owner)
        .await
        .expect("the owner may");
    let me = get_me(&harness.client, &login.access_token).await;
    refused(me, Code::Unauthenticated, "SESSION_REVOKED");
    let dead = refresh(&harness.client, &login.refresh_token).await;
    refused(dead, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
}

/// A user who is gone while a session is left is not found.
#[tokio::test]
async fn a_user_who_is_gone_is_not_found() {
    let harness = Harness::start().await;
    let (_, login) = harness.user("ada").await;
    let superuser = harness.house.database.superuser().await;
    let mut connection = superuser.acquire().await.expect("connected");
    for statement in [
        "SET session_replication_role = replica",
        "DELETE FROM users",
    ] {
        sqlx::query(statement)
            .execute(&mut *connection)
            .await
            .expect("a superuser may");
    }
    let me = get_me(&harness.client, &login.access_token).await;
    refused(me, Code::NotFound, "USER_NOT_FOUND");
}

/// Without a token, or with a service's, nobody has sessions.
#[tokio::test]
async fn callers_without_sessions_are_refused() {
    let harness = Harness::start().await;
    let nobody = harness.client.clone().get_me(GetMeRequest {}).await;
    refused(nobody, Code::Unauthenticated, "UNAUTHENTICATED");
    let service = harness.house.tokens.service("wallet");
    let me = get_me(&harness.client, &service).await;
    refused(me, Code::PermissionDenied, "PERMISSION_DENIED");
}

//! What the database itself holds to, and what `verify` finds.

use bursar_server::verify;
use sqlx::PgPool;

use crate::harness::{Harness, refresh};

/// The SQLSTATE with which a statement fails; `None` when it succeeds.
async fn sqlstate(pool: &PgPool, statement: &'static str) -> Option<String> {
    let error = sqlx::query(statement).execute(pool).await.err()?;
    let database = error.into_database_error().expect("the database answers");
    database.code().map(|code| code.into_owned())
}

/// The application role can do what the service does and no more.
#[tokio::test]
async fn the_application_role_is_bounded() {
    let harness = Harness::start().await;
    harness.user("ada").await;
    let pool = &harness.house.database.pool;
    for statement in [
        "DELETE FROM users",
        "UPDATE users SET email = 'eve@example.com'",
        "TRUNCATE users",
        "DELETE FROM credentials",
        "INSERT INTO role_permissions VALUES ('default', 'user', '*:*:any')",
        "UPDATE role_permissions SET permission = '*:*:any'",
        "INSERT INTO roles VALUES ('default', 'root')",
        "UPDATE sessions SET user_id = user_id",
        "UPDATE refresh_tokens SET expires_at = now()",
        "UPDATE service_accounts SET permissions = '{*:*:any}'",
        "UPDATE signing_keys SET public_key = public_key",
        "DELETE FROM signing_keys",
        "UPDATE events SET actor = 'nobody'",
        "DELETE FROM events",
        "ALTER TABLE users ADD COLUMN note text",
        "SET session_replication_role = replica",
    ] {
        assert_eq!(
            sqlstate(pool, statement).await.as_deref(),
            Some("42501"),
            "{statement}"
        );
    }
}

/// A second live refresh token in a session is refused by the database.
#[tokio::test]
async fn a_second_live_branch_is_refused() {
    let harness = Harness::start().await;
    harness.user("ada").await;
    let second =
        "INSERT INTO refresh_tokens (id, tenant_id, session_id, token_hash, created_at, expires_at)
         SELECT gen_random_uuid(), tenant_id, session_id, sha256(token_hash), created_at, expires_at
         FROM refresh_tokens";
    let pool = &harness.house.database.pool;
    assert_eq!(sqlstate(pool, second).await.as_deref(), Some("23505"));
}

/// The invariants hold after ordinary work, and each names what breaks it.
#[tokio::test]
async fn the_invariants_find_what_is_wrong() {
    let harness = Harness::start().await;
    let (_, login) = harness.user("ada").await;
    refresh(&harness.client, &login.refresh_token)
        .await
        .expect("live");
    let pool = &harness.house.database.pool;
    let invariants = bursar_identity::definition().invariants;
    let broken = async || {
        let verdicts = verify(pool, &invariants)
            .await
            .expect("the rules are queries");
        let broken = verdicts.iter().filter(|verdict| verdict.offending_rows > 0);
        broken
            .map(|verdict| verdict.invariant.number)
            .collect::<Vec<u8>>()
    };
    assert_eq!(broken().await, [0_u8; 0]);

    let superuser = harness.house.database.superuser().await;
    let mut connection = superuser.acquire().await.expect("connected");
    for statement in [
        "SET session_replication_role = replica",
        "DROP INDEX refresh_tokens_live_key",
        "UPDATE refresh_tokens SET used_at = NULL, successor_id = NULL",
        "ALTER TABLE events DISABLE TRIGGER USER",
        "UPDATE events SET version = version + 1",
        "UPDATE outbox SET recorded_at = recorded_at - interval '1 minute'",
    ] {
        sqlx::query(statement)
            .execute(&mut *connection)
            .await
            .expect(statement);
    }
    assert_eq!(broken().await, [8, 10, 19]);
}

//! Idempotency keys on a real PostgreSQL, as the application role.

mod contention;
mod database;
mod together;

use bursar_aip::id::TenantId;
use bursar_aip::idempotency::{
    Answer, Claim, Key, Scope, TTL, claim, complete, delete_expired, fingerprint, release,
};
use bursar_contracts::r#type::v1::{ErrorReason, Money};
use bursar_status::StatusBuilder;
use database::Database;
use sqlx::PgPool;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use tonic::{Code, Status};
use uuid::Uuid;

const NOW: OffsetDateTime = datetime!(2026-01-31 12:00:00.123456 UTC);

/// Who asks, with the parts of a scope that borrow from it.
#[derive(Clone)]
struct Asker {
    tenant: TenantId,
    principal: &'static str,
    method: &'static str,
    key: Key,
}

impl Asker {
    fn new(key: &str) -> Self {
        Self {
            tenant: TenantId::default(),
            principal: "usr_1",
            method: "/bursar.wallet.v1.WalletService/CreateWallet",
            key: Key::parse(key).expect("the test's key fits"),
        }
    }

    fn scope(&self) -> Scope<'_> {
        Scope {
            tenant: &self.tenant,
            principal: self.principal,
            method: self.method,
            key: &self.key,
        }
    }

    /// Claims in a transaction of its own and commits it.
    async fn claim_at(&self, pool: &PgPool, body: i64, now: OffsetDateTime) -> Claim {
        let mut transaction = pool.begin().await.expect("the database answers");
        let claim = claim(
            &mut transaction,
            &self.scope(),
            fingerprint(&money(body)),
            None,
            now,
        )
        .await
        .expect("the claim is decided");
        transaction.commit().await.expect("the claim commits");
        claim
    }

    async fn claim(&self, pool: &PgPool, body: i64) -> Claim {
        self.claim_at(pool, body, NOW).await
    }

    async fn complete(&self, pool: &PgPool, answer: &Answer) -> Result<(), sqlx::Error> {
        let mut conn = pool.acquire().await.expect("the database answers");
        complete(&mut conn, &self.scope(), answer).await
    }

    async fn release(&self, pool: &PgPool) {
        let mut conn = pool.acquire().await.expect("the database answers");
        release(&mut conn, &self.scope())
            .await
            .expect("the statement runs");
    }
}

fn money(minor_units: i64) -> Money {
    Money {
        currency_code: "EUR".to_owned(),
        minor_units,
    }
}

async fn delete_at(pool: &PgPool, now: OffsetDateTime, limit: i64) -> u64 {
    let mut conn = pool.acquire().await.expect("the database answers");
    delete_expired(&mut conn, now, limit)
        .await
        .expect("the statement runs")
}

/// The same request again gets the first response again.
#[tokio::test]
async fn a_response_is_replayed() {
    let database = Database::create().await;
    let asker = Asker::new("k");
    let first = Answer::response(&money(5));
    assert_eq!(asker.claim(&database.pool, 1).await, Claim::Claimed);
    asker
        .complete(&database.pool, &first)
        .await
        .expect("claimed");
    for _ in 0..2 {
        let Claim::Replay(answer) = asker.claim(&database.pool, 1).await else {
            panic!("answered before");
        };
        let response = answer.into_result::<Money>().expect("a response was kept");
        assert_eq!(response.into_inner(), money(5));
    }
    database.remove().await;
}

/// A refusal is replayed with its code, its text and its details, to the byte.
#[tokio::test]
async fn an_error_is_replayed_byte_for_byte() {
    let database = Database::create().await;
    let asker = Asker::new("k");
    let first: Status = StatusBuilder::new(
        Code::FailedPrecondition,
        ErrorReason::InvalidField,
        "no money\u{0} für Ödön",
    )
    .metadata("transaction_id", "txn_1")
    .precondition("BALANCE", "wal_1", "too low")
    .into();
    assert_eq!(asker.claim(&database.pool, 1).await, Claim::Claimed);
    asker
        .complete(&database.pool, &Answer::error(&first))
        .await
        .expect("claimed");
    let Claim::Replay(answer) = asker.claim(&database.pool, 1).await else {
        panic!("answered before");
    };
    let again = answer
        .into_result::<Money>()
        .expect_err("an error was kept");
    assert_eq!(again.code(), first.code());
    assert_eq!(again.message(), first.message());
    assert_eq!(again.details(), first.details());
    database.remove().await;
}

/// An error without details, and a response without any byte, are answers too.
#[tokio::test]
async fn empty_answers_are_answers() {
    let database = Database::create().await;
    let bare = Answer::error(&Status::new(Code::NotFound, ""));
    for (key, answer) in [
        ("bare", bare),
        ("empty", Answer::response(&Money::default())),
    ] {
        let asker = Asker::new(key);
        assert_eq!(asker.claim(&database.pool, 1).await, Claim::Claimed);
        asker
            .complete(&database.pool, &answer)
            .await
            .expect("claimed");
        assert_eq!(asker.claim(&database.pool, 1).await, Claim::Replay(answer));
    }
    database.remove().await;
}

/// The same key with another body is refused, answered or not.
#[tokio::test]
async fn another_body_is_refused() {
    let database = Database::create().await;
    let asker = Asker::new("k");
    assert_eq!(asker.claim(&database.pool, 1).await, Claim::Claimed);
    assert_eq!(asker.claim(&database.pool, 2).await, Claim::Reused);
    asker
        .complete(&database.pool, &Answer::response(&money(5)))
        .await
        .expect("claimed");
    assert_eq!(asker.claim(&database.pool, 2).await, Claim::Reused);
    database.remove().await;
}

/// A committed claim without an answer says what was to be made; once
/// released, the key is free again. A release never takes an answer away.
#[tokio::test]
async fn an_open_claim_is_in_use_until_released() {
    let database = Database::create().await;
    let asker = Asker::new("k");
    let resource = Some(Uuid::from_u128(7));
    let mut conn = database.pool.acquire().await.expect("the database answers");
    let first = claim(
        &mut conn,
        &asker.scope(),
        fingerprint(&money(1)),
        resource,
        NOW,
    )
    .await;
    assert_eq!(first.expect("decided"), Claim::Claimed);
    assert_eq!(
        asker.claim(&database.pool, 1).await,
        Claim::InUse { resource }
    );
    drop(conn);

    asker.release(&database.pool).await;
    assert_eq!(asker.claim(&database.pool, 2).await, Claim::Claimed);
    asker
        .complete(&database.pool, &Answer::response(&money(5)))
        .await
        .expect("claimed");
    asker.release(&database.pool).await;
    assert!(matches!(
        asker.claim(&database.pool, 2).await,
        Claim::Replay(_)
    ));
    database.remove().await;
}

/// An answer is recorded once, and only for a claim.
#[tokio::test]
async fn an_answer_needs_an_open_claim() {
    let database = Database::create().await;
    let asker = Asker::new("k");
    let (first, second) = (Answer::response(&money(1)), Answer::response(&money(2)));
    let refused = asker.complete(&database.pool, &first).await;
    assert!(matches!(refused, Err(sqlx::Error::RowNotFound)));
    assert_eq!(asker.claim(&database.pool, 1).await, Claim::Claimed);
    asker
        .complete(&database.pool, &first)
        .await
        .expect("claimed");
    let refused = asker.complete(&database.pool, &second).await;
    assert!(matches!(refused, Err(sqlx::Error::RowNotFound)));
    assert_eq!(asker.claim(&database.pool, 1).await, Claim::Replay(first));
    database.remove().await;
}

/// Another principal, tenant, method or key is another scope, with the same body or not.
#[tokio::test]
async fn scopes_do_not_see_each_other() {
    let database = Database::create().await;
    let askers = [
        Asker::new("k"),
        Asker {
            principal: "usr_2",
            ..Asker::new("k")
        },
        Asker {
            tenant: TenantId::parse("acme").expect("fits"),
            ..Asker::new("k")
        },
        Asker {
            method: "/bursar.wallet.v1.WalletService/Other",
            ..Asker::new("k")
        },
        Asker::new("K"),
    ];
    for (answer, asker) in (1..).zip(&askers) {
        assert_eq!(asker.claim(&database.pool, 1).await, Claim::Claimed);
        let answer = Answer::response(&money(answer));
        asker
            .complete(&database.pool, &answer)
            .await
            .expect("claimed");
    }
    for (answer, asker) in (1..).zip(&askers) {
        let replay = Claim::Replay(Answer::response(&money(answer)));
        assert_eq!(asker.claim(&database.pool, 1).await, replay);
    }
    database.remove().await;
}

/// A key counts until the last microsecond of its time; then it is free, for
/// another body too, and nothing of the old answer is left.
#[tokio::test]
async fn an_expired_key_is_taken_over() {
    let database = Database::create().await;
    let asker = Asker::new("k");
    assert_eq!(asker.claim(&database.pool, 1).await, Claim::Claimed);
    asker
        .complete(&database.pool, &Answer::response(&money(1)))
        .await
        .expect("claimed");

    let end = NOW + TTL;
    let before = asker
        .claim_at(&database.pool, 1, end - Duration::MICROSECOND)
        .await;
    assert!(matches!(before, Claim::Replay(_)));
    assert_eq!(asker.claim_at(&database.pool, 2, end).await, Claim::Claimed);
    let again = asker.claim_at(&database.pool, 2, end).await;
    assert_eq!(again, Claim::InUse { resource: None });
    let second = Answer::response(&money(2));
    asker
        .complete(&database.pool, &second)
        .await
        .expect("claimed");
    let after = asker
        .claim_at(&database.pool, 2, end + TTL - Duration::MICROSECOND)
        .await;
    assert_eq!(after, Claim::Replay(second));
    database.remove().await;
}

/// The clean-up deletes what is expired, oldest first, and no more than asked.
#[tokio::test]
async fn the_clean_up_is_bounded() {
    let database = Database::create().await;
    for hour in 0..5 {
        let asker = Asker::new(&format!("k{hour}"));
        let now = NOW + Duration::hours(hour);
        assert_eq!(asker.claim_at(&database.pool, 1, now).await, Claim::Claimed);
    }
    let now = NOW + TTL + Duration::hours(2);
    assert_eq!(delete_at(&database.pool, now - Duration::DAY, 10).await, 0);
    assert_eq!(delete_at(&database.pool, now, 2).await, 2);
    // The third of three expired keys is left, and two young ones.
    let kept = sqlx::query_scalar::<_, String>("SELECT key FROM idempotency_keys ORDER BY key")
        .fetch_all(&database.pool)
        .await;
    assert_eq!(kept.expect("the statement runs"), ["k2", "k3", "k4"]);
    assert_eq!(delete_at(&database.pool, now, 2).await, 1);
    assert_eq!(delete_at(&database.pool, now, 2).await, 0);
    database.remove().await;
}

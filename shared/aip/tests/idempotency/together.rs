//! Keys of many requests at once.

use bursar_aip::idempotency::{Answer, Claim, Claiming, TTL, claim_all, complete_all, fingerprint};
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::database::Database;
use crate::{Asker, NOW, money};

async fn claims(pool: &PgPool, askers: &[Asker], body: i64) -> Vec<Option<Claim>> {
    claims_at(pool, askers, body, NOW).await
}

async fn claims_at(
    pool: &PgPool,
    askers: &[Asker],
    body: i64,
    now: OffsetDateTime,
) -> Vec<Option<Claim>> {
    let claiming: Vec<Claiming<'_>> = askers
        .iter()
        .map(|asker| Claiming {
            scope: asker.scope(),
            fingerprint: fingerprint(&money(body)),
            resource: Some(Uuid::from_u128(7)),
        })
        .collect();
    let mut transaction = pool.begin().await.expect("the database answers");
    let claims = claim_all(&mut transaction, &claiming, now)
        .await
        .expect("the claims are decided");
    transaction.commit().await.expect("the claims commit");
    claims
}

/// A key is claimed once, in whatever order it comes; one that was used before is left
/// as it is, and says what a claim of it alone says.
#[tokio::test]
async fn each_key_is_claimed_once() {
    let database = Database::create().await;
    let before = Asker::new("b");
    assert_eq!(before.claim(&database.pool, 1).await, Claim::Claimed);
    let askers = ["c", "b", "a"].map(Asker::new);
    let settled = claims(&database.pool, &askers, 2).await;
    let ours = Some(Claim::Claimed);
    assert_eq!(settled, [ours.clone(), Some(Claim::Reused), ours]);
    assert_eq!(before.claim(&database.pool, 2).await, Claim::Reused);
    let in_use = Claim::InUse {
        resource: Some(Uuid::from_u128(7)),
    };
    assert_eq!(askers[0].claim(&database.pool, 2).await, in_use);
    assert_eq!(askers[0].claim(&database.pool, 3).await, Claim::Reused);
    database.remove().await;
}

/// Keys that came before are told apart, and each is told its own: its answer, that the
/// body is another one, that there is no answer yet, or to come alone when it has expired.
#[tokio::test]
async fn keys_that_came_before_hear_what_became_of_them() {
    let database = Database::create().await;
    let askers = ["answered", "waiting", "expired", "new"].map(Asker::new);
    let answers = [4, 5].map(|number| Answer::response(&money(number)));
    claims(&database.pool, &askers[..2], 1).await;
    claims_at(&database.pool, &askers[2..3], 1, NOW - TTL).await;
    let all = [
        (askers[0].scope(), &answers[0]),
        (askers[2].scope(), &answers[1]),
    ];
    let mut transaction = database.pool.begin().await.expect("the database answers");
    let done = complete_all(&mut transaction, &all).await;
    assert_eq!(done.expect("they are written"), [true, true]);
    transaction.commit().await.expect("the answers commit");
    let [answer, _] = answers;
    let in_use = Claim::InUse {
        resource: Some(Uuid::from_u128(7)),
    };
    let [answered, waiting, expired, new] = &askers;
    let mixed = [waiting, new, expired, answered].map(Clone::clone);
    let settled = claims(&database.pool, &mixed, 1).await;
    let expected = [
        Some(in_use.clone()),
        Some(Claim::Claimed),
        None,
        Some(Claim::Replay(answer)),
    ];
    assert_eq!(settled, expected);
    let others = claims(&database.pool, &mixed, 2).await;
    let reused = Some(Claim::Reused);
    assert_eq!(others, [reused.clone(), reused.clone(), None, reused]);
    // What a batch does not settle, a claim alone does.
    assert_eq!(expired.claim(&database.pool, 2).await, Claim::Claimed);
    database.remove().await;
}

/// Answers reach the claims that wait for one, and no others.
#[tokio::test]
async fn answers_reach_the_claims_that_wait() {
    let database = Database::create().await;
    let askers = ["a", "b", "c"].map(Asker::new);
    claims(&database.pool, &askers[..2], 1).await;
    let answers = [1, 2, 3].map(|number| Answer::response(&money(number)));
    let all: Vec<_> = askers.iter().map(Asker::scope).zip(&answers).collect();
    let mut transaction = database.pool.begin().await.expect("the database answers");
    let first = complete_all(&mut transaction, &all[1..]).await;
    assert_eq!(
        first.expect("they are written"),
        [true, false],
        "c has no claim"
    );
    let second = complete_all(&mut transaction, &all[..2]).await;
    assert_eq!(
        second.expect("they are written"),
        [true, false],
        "b is answered"
    );
    transaction.commit().await.expect("the answers commit");
    for (asker, answer) in askers[..2].iter().zip(answers) {
        let replay = Claim::Replay(answer);
        assert_eq!(asker.claim(&database.pool, 1).await, replay);
    }
    assert_eq!(askers[2].claim(&database.pool, 1).await, Claim::Claimed);
    database.remove().await;
}

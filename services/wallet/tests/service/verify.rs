//! The invariants name what a superuser tampered with.

use bursar_aip::id::{HoldId, UserId};
use bursar_wallet::invariants::INVARIANTS;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::support::{Fixture, applied, place, transfer};

/// The numbers of the rules that are broken.
async fn broken(conn: &mut PgConnection) -> Vec<u8> {
    let mut numbers = Vec::new();
    for invariant in INVARIANTS {
        let rows = sqlx::query(AssertSqlSafe(invariant.sql))
            .fetch_all(&mut *conn)
            .await;
        if !rows.expect("the invariants are queries").is_empty() {
            numbers.push(invariant.number);
        }
    }
    numbers.dedup();
    numbers
}

/// Every kind of tampering breaks the rules that it should, and no others.
#[tokio::test]
async fn tampering_is_found() {
    let fixture = Fixture::start().await;
    let alice = fixture.funded("EUR", 100).await;
    let bob = fixture.open(UserId::generate(), "EUR").await;
    for _ in 0..3 {
        applied(&fixture.ledger().post_one(transfer(&alice, &bob, 10)).await);
    }
    applied(
        &fixture
            .ledger()
            .post_one(place(HoldId::generate(), &alice, 5))
            .await,
    );
    fixture.verify().await;
    let superuser = fixture.database.superuser().await;
    let chosen = "WHERE amount = -10 AND version = 3";
    let cases: [(&str, &[u8]); 11] = [
        (
            &format!("UPDATE entries SET amount = -11 {chosen}"),
            &[1, 2, 3, 9],
        ),
        (
            &format!("UPDATE entries SET balance_after = 1 {chosen}"),
            &[9],
        ),
        (
            &format!("UPDATE entries SET version = 77 {chosen}"),
            &[2, 8, 9],
        ),
        (
            &format!("UPDATE entries SET currency = 'USD' {chosen}"),
            &[1, 2, 3],
        ),
        (&format!("DELETE FROM entries {chosen}"), &[1, 2, 3, 8, 9]),
        (
            "UPDATE wallets SET available = available + 1 WHERE version = 3",
            &[3],
        ),
        (
            "UPDATE wallets SET version = version + 1 WHERE version = 3",
            &[8],
        ),
        (
            "UPDATE wallets SET event_version = event_version + 1 WHERE version = 3",
            &[8],
        ),
        ("UPDATE holds SET amount = amount + 1", &[5]),
        ("DELETE FROM postings WHERE kind = 'hold'", &[6]),
        ("DELETE FROM event_batches WHERE 3 = ANY (versions)", &[8]),
    ];
    for (tampering, rules) in cases {
        let mut transaction = superuser.begin().await.expect("a transaction");
        let quiet = "ALTER TABLE entries DISABLE TRIGGER USER;
             ALTER TABLE postings DISABLE TRIGGER USER;
             ALTER TABLE events DISABLE TRIGGER USER;
             ALTER TABLE event_batches DISABLE TRIGGER USER;";
        sqlx::raw_sql(AssertSqlSafe(format!("{quiet} {tampering}")))
            .execute(&mut *transaction)
            .await
            .unwrap_or_else(|error| panic!("{tampering}: {error}"));
        assert_eq!(broken(&mut transaction).await, rules, "{tampering}");
        transaction.rollback().await.expect("rolled back");
    }
    superuser.close().await;
}

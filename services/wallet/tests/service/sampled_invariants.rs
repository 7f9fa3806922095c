//! The sampler of invariants: quiet on sound books, and sure to find what a
//! superuser planted in a wallet that it samples.

use std::collections::BTreeSet;

use bursar_aip::id::HoldId;
use bursar_contracts::wallet::v1::BatchMode;
use bursar_wallet::jobs::invariant_sampler::{SAMPLED, sample};

use crate::bookkeeper::{project, without_projector};
use crate::support::{Fixture, applied, deposit, place, transfer};

/// Samples beside postings find nothing and look at everything.
#[tokio::test]
async fn sound_books_are_quiet() {
    let fixture = Fixture::start().await;
    let pool = &fixture.database.pool;
    let alice = fixture.funded("EUR", 10_000).await;
    let bob = fixture.funded("EUR", 10_000).await;
    let posting = async {
        let mut ledger = fixture.ledger();
        for _ in 0..30 {
            let batch = (0..10).flat_map(|_| {
                [
                    transfer(&alice, &bob, 3),
                    transfer(&bob, &alice, 2),
                    place(HoldId::generate(), &alice, 1),
                ]
            });
            ledger.post(batch.collect(), BatchMode::Independent).await;
        }
    };
    let sampling = async {
        let mut looked_at = BTreeSet::new();
        for _ in 0..30 {
            let sample = sample(pool).await.expect("a sample");
            assert_eq!(sample.findings, []);
            let some = sample.checked.iter().filter(|(_, checked)| *checked > 0);
            looked_at.extend(some.map(|(invariant, _)| *invariant));
        }
        assert_eq!(looked_at, BTreeSet::from(SAMPLED));
    };
    tokio::join!(posting, sampling);
}

/// Each kind of tampering is found under the invariants that it breaks.
#[tokio::test]
async fn planted_violations_are_found() {
    let fixture = without_projector().await;
    let pool = &fixture.database.pool;
    let alice = fixture.funded("EUR", 100).await;
    let bob = fixture.funded("EUR", 1).await;
    let mut ledger = fixture.ledger();
    for _ in 0..3 {
        applied(&ledger.post_one(transfer(&alice, &bob, 10)).await);
    }
    applied(&ledger.post_one(place(HoldId::generate(), &alice, 5)).await);
    project(pool, &alice).await;
    let quiet = sample(pool).await.expect("a sample");
    assert_eq!(quiet.findings, []);
    let superuser = fixture.database.superuser().await;
    let chosen = "WHERE amount = -10 AND version = 3";
    let cases: [(&str, &str, &[u8]); 8] = [
        (
            &format!("UPDATE entries SET amount = -11 {chosen}"),
            "UPDATE entries SET amount = -10 WHERE amount = -11",
            &[1, 3, 9],
        ),
        (
            &format!("UPDATE entries SET balance_after = balance_after + 1 {chosen}"),
            &format!("UPDATE entries SET balance_after = balance_after - 1 {chosen}"),
            &[9],
        ),
        (
            &format!("UPDATE entries SET version = 77 {chosen}"),
            "UPDATE entries SET version = 3 WHERE version = 77",
            &[1, 2, 8, 9],
        ),
        (
            &format!("UPDATE entries SET posting_id = gen_random_uuid() {chosen}"),
            &format!(
                "UPDATE entries SET posting_id = (
                 SELECT id FROM postings WHERE entries.version = ANY(leg_versions)
                     AND entries.wallet_id = ANY(leg_wallet_ids) AND kind = 'transfer'
                     AND leg_versions[1] = 3 LIMIT 1
             ) {chosen}"
            ),
            &[2, 6],
        ),
        (
            "UPDATE wallets SET available = available + 1 WHERE version = 6",
            "UPDATE wallets SET available = available - 1 WHERE version = 6",
            &[3],
        ),
        (
            "UPDATE wallets SET version = version + 1 WHERE version = 6",
            "UPDATE wallets SET version = version - 1 WHERE version = 7",
            &[8],
        ),
        (
            "UPDATE holds SET amount = amount + 1",
            "UPDATE holds SET amount = amount - 1",
            &[5],
        ),
        (
            "ALTER TABLE wallets DROP CONSTRAINT wallets_available;
             UPDATE wallets SET min_available = 1000000 WHERE version = 6",
            "UPDATE wallets SET min_available = 0 WHERE version = 6",
            &[4],
        ),
    ];
    sqlx::raw_sql(
        "ALTER TABLE entries DISABLE TRIGGER USER;
         ALTER TABLE postings DISABLE TRIGGER USER;",
    )
    .execute(&superuser)
    .await
    .expect("a superuser may");
    for (tampering, mending, rules) in cases {
        run(&superuser, tampering).await;
        let found = sample(pool).await.expect("a sample");
        let broken: BTreeSet<u8> = found.findings.iter().map(|found| found.invariant).collect();
        assert_eq!(
            broken,
            rules.iter().copied().collect(),
            "{tampering}: {found:?}"
        );
        run(&superuser, mending).await;
        let quiet = sample(pool).await.expect("a sample");
        assert_eq!(quiet.findings, [], "{mending}");
    }
    superuser.close().await;
    applied(&ledger.post_one(deposit(&alice, 1)).await);
}

async fn run(superuser: &sqlx::PgPool, statement: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))
        .execute(superuser)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

//! Blocks come to be once and whole, whoever seals and whatever is cut off.

use std::process::Command;
use std::time::Duration;

use bursar_aip::id::{HoldId, UserId};
use bursar_proof::Signer;
use bursar_server::run_check;
use bursar_testkit::TestService;
use bursar_wallet::invariants::CHAIN;
use bursar_wallet::jobs::sealer::Round;
use sqlx::PgPool;

use super::{Operator, QUICK, blocked, check, count, lapse, pair_of, sealer, signed, traffic};
use crate::support::{Fixture, applied, place, void};

/// While several callers post and two processes would seal, everything comes
/// into blocks once; the export by RPC and that of the program are the same,
/// verify, and have all postings.
#[tokio::test]
async fn everything_is_sealed_once() {
    let fixture = Fixture::start_with(&QUICK).await;
    let definition = bursar_wallet::definition();
    let other = TestService::start(definition, &fixture.database, &fixture.tokens, &QUICK).await;
    let mut pairs = Vec::new();
    for _ in 0..4 {
        pairs.push(pair_of(&fixture, UserId::generate()).await);
    }
    let [one, two, three, four] = &pairs[..] else {
        panic!("four pairs");
    };
    tokio::join!(
        traffic(&fixture, one, 15),
        traffic(&fixture, two, 15),
        traffic(&fixture, three, 15),
        traffic(&fixture, four, 15),
    );
    let hold = HoldId::generate();
    applied(&fixture.ledger().post_one(place(hold, &one[0], 5)).await);
    applied(&fixture.ledger().post_one(void(hold, &one[0], 5)).await);
    let pool = &fixture.database.pool;
    signed(pool).await;
    // The process that seals goes; the other goes on.
    other.stop().await;
    traffic(&fixture, one, 5).await;
    signed(pool).await;

    let operator = Operator::of(&fixture);
    let export = operator.export(0, 0).await.expect("an export");
    // Each process signs by a key of its own here, so both are trusted.
    let options = trusting_all(pool).await;
    let summary = check(&export, &options).expect("nothing is altered");
    let postings = count(pool, "SELECT count(*) FROM postings").await;
    let entries = count(pool, "SELECT count(*) FROM entries").await;
    assert_eq!(
        summary.counts.postings,
        u64::try_from(postings).expect("a count")
    );
    assert_eq!(
        summary.counts.entries,
        u64::try_from(entries).expect("a count")
    );
    assert_eq!(summary.unsigned.blocks, 0);
    let url = fixture.database.application_url.clone();
    assert_eq!(exported(url).await, export);
    let found = run_check(pool, &CHAIN).await.expect("the rule is checked");
    assert_eq!(found, Vec::<String>::new());
    fixture.verify().await;
}

/// The public keys that stand with the checkpoints.
async fn trusting_all(pool: &PgPool) -> bursar_proof::verify::Options {
    let keys: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT DISTINCT public_key FROM ledger_checkpoints")
            .fetch_all(pool)
            .await
            .expect("keys");
    let key = |bytes: &Vec<u8>| {
        let bytes: &[u8; 32] = bytes.as_slice().try_into().expect("32 bytes");
        bursar_proof::VerifyingKey::try_from(bytes).expect("a key")
    };
    bursar_proof::verify::Options {
        keys: keys.iter().map(key).collect(),
        ..Default::default()
    }
}

/// What the program writes by its `export` command.
async fn exported(url: String) -> Vec<u8> {
    let run = move || {
        Command::new(env!("CARGO_BIN_EXE_bursar-wallet"))
            .arg("export")
            .env("BURSAR_DATABASE_URL", url)
            .env("BURSAR_HTTP_ADDRESS", "127.0.0.1:0")
            .output()
            .expect("the program runs")
    };
    let output = tokio::task::spawn_blocking(run).await.expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    output.stdout
}

/// A round that is cut off anywhere leaves nothing of itself behind, and what it
/// would have sealed is sealed by the next.
#[tokio::test]
async fn rounds_that_are_cut_off_leave_nothing() {
    let fixture = Fixture::start().await;
    let pool = fixture.database.pool.clone();
    let wallets = pair_of(&fixture, UserId::generate()).await;
    let lock = blocked(&fixture.database.owner).await;
    traffic(&fixture, &wallets, 20).await;
    let waiting = count(&pool, "SELECT count(*) FROM ledger_unsealed").await;
    assert!(waiting >= 40, "{waiting}");
    fixture.service.stop().await;
    lock.rollback().await.expect("sealing may go on");
    let whole = "SELECT (SELECT count(*) FROM postings)
         - coalesce((SELECT max(postings_total) FROM ledger_blocks), 0)
         - coalesce((SELECT sum(cardinality(posting_ids)) FROM ledger_unsealed), 0)::bigint";
    for microseconds in (0..6_000).step_by(150) {
        lapse(&fixture.database.owner).await;
        let sealer = sealer(&pool);
        let round = tokio::spawn(async move { sealer.round().await });
        tokio::time::sleep(Duration::from_micros(microseconds)).await;
        round.abort();
        let _ = round.await;
        // What was cut off may still commit, all of it or nothing.
        assert_eq!(count(&pool, whole).await, 0, "after {microseconds} µs");
    }
    loop {
        lapse(&fixture.database.owner).await;
        match sealer(&pool).round().await.expect("a round") {
            Round::Sealed(0) => break,
            Round::Sealed(_) | Round::NotOurTurn => {}
        }
    }
    assert_eq!(
        count(&pool, "SELECT count(*) FROM ledger_unsealed").await,
        0
    );
    assert_eq!(count(&pool, whole).await, 0);
    let found = run_check(&pool, &CHAIN).await.expect("the rule is checked");
    assert_eq!(found, Vec::<String>::new());
}

/// One process seals at a time: another one gets no turn before the lease is
/// over or given back, and the epoch tells of each change.
#[tokio::test]
async fn one_process_seals_at_a_time() {
    let fixture = Fixture::start().await;
    let pool = fixture.database.pool.clone();
    fixture.service.stop().await;
    let (one, other) = (sealer(&pool), sealer(&pool));
    let epoch = "SELECT epoch FROM ledger_sealer";
    assert_eq!(one.round().await.expect("a round"), Round::Sealed(0));
    let before = count(&pool, epoch).await;
    assert_eq!(other.round().await.expect("a round"), Round::NotOurTurn);
    assert_eq!(one.round().await.expect("a round"), Round::Sealed(0));
    assert_eq!(count(&pool, epoch).await, before);
    lapse(&fixture.database.owner).await;
    assert_eq!(other.round().await.expect("a round"), Round::Sealed(0));
    assert_eq!(one.round().await.expect("a round"), Round::NotOurTurn);
    assert_eq!(count(&pool, epoch).await, before + 1);
}

/// Postings from before there were blocks are sealed first, from the ledger's
/// rows, and the export of all verifies.
#[tokio::test]
async fn older_postings_are_sealed_first() {
    let fixture = Fixture::start().await;
    let pool = fixture.database.pool.clone();
    let mut lock = blocked(&fixture.database.owner).await;
    let wallets = pair_of(&fixture, UserId::generate()).await;
    traffic(&fixture, &wallets, 10).await;
    let older = [
        "DELETE FROM ledger_unsealed",
        "UPDATE ledger_sealer SET has_older = true",
    ];
    for statement in older {
        sqlx::query(statement)
            .execute(&mut *lock)
            .await
            .expect("as a migration leaves it");
    }
    traffic(&fixture, &wallets, 3).await;
    let url = fixture.database.application_url.clone();
    fixture.service.stop().await;
    lock.commit().await.expect("sealing may go on");
    lapse(&fixture.database.owner).await;
    let sealer = sealer(&pool);
    for expected in [21, 6, 0] {
        let round = sealer.round().await.expect("a round");
        assert_eq!(round, Round::Sealed(expected));
    }
    let export = exported(url).await;
    let options = trusting_all(&pool).await;
    let summary = check(&export, &options).expect("nothing is altered");
    assert_eq!(summary.counts.postings, 27);
    let has_older = "SELECT has_older::int::bigint FROM ledger_sealer";
    assert_eq!(count(&pool, has_older).await, 0);
}

/// The key of the configuration signs; outside development there must be one.
#[tokio::test]
async fn the_configured_key_signs() {
    let key = "BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU=";
    let fixture = Fixture::start_with(&[QUICK[0], ("BURSAR_LEDGER_SIGNING_KEY", key)]).await;
    fixture.funded("EUR", 5).await;
    signed(&fixture.database.pool).await;
    let latest = Operator::of(&fixture).checkpoint(0).await.expect("one");
    let expected = Signer::from_base64(key).expect("a key").verifying_key();
    assert_eq!(latest.public_key, expected.to_string());
    for overrides in [
        &[("BURSAR_ENVIRONMENT", "production")][..],
        &[
            ("BURSAR_ENVIRONMENT", "production"),
            (
                "BURSAR_LEDGER_SIGNING_KEY",
                "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            ),
        ],
        &[("BURSAR_LEDGER_SIGNING_KEY", "no key of thirty-two bytes")],
        &[("BURSAR_LEDGER_CHECKPOINT_SECONDS", "0")],
    ] {
        let overrides: Vec<_> = overrides
            .iter()
            .copied()
            .chain([(
                "BURSAR_SERVICE_CLIENT_SECRET",
                "nobody-would-guess-this-one",
            )])
            .collect();
        let (database, tokens) = (&fixture.database, &fixture.tokens);
        let definition = bursar_wallet::definition();
        let started = TestService::try_start(definition, database, tokens, &overrides).await;
        let error = format!("{:#}", started.err().expect("refused"));
        assert!(error.contains("BURSAR_LEDGER_"), "{error}");
    }
}

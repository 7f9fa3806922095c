//! Opposed transfers and hot wallets, at two replicas of the service.

use bursar_contracts::wallet::v1::ledger_service_client::LedgerServiceClient;
use bursar_contracts::wallet::v1::{BatchMode, Posting};
use bursar_testkit::TestService;

use crate::support::{Fixture, Poster, applied, deposit, eventually, transfer, waiting_writers};

async fn replica(fixture: &Fixture) -> (TestService, Poster) {
    let (database, tokens) = (&fixture.database, &fixture.tokens);
    let service = TestService::start(bursar_wallet::definition(), database, tokens, &[]).await;
    let poster = Poster {
        client: LedgerServiceClient::new(service.channel()),
        ..fixture.ledger()
    };
    (service, poster)
}

/// Posts all at once, in turns at both services; all must be applied.
async fn post_all(posters: [Poster; 2], postings: Vec<Posting>) {
    let calls = postings.into_iter().enumerate().map(|(index, posting)| {
        let mut poster = posters[index % 2].clone();
        tokio::spawn(async move { poster.post_one(posting).await })
    });
    for call in calls.collect::<Vec<_>>() {
        applied(&call.await.expect("no panic"));
    }
}

async fn deadlocks(fixture: &Fixture) -> i64 {
    sqlx::query_scalar("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        .fetch_one(&fixture.database.owner)
        .await
        .expect("statistics")
}

/// Two hundred transfers A→B and two hundred B→A at once, through two services
/// with two writers each: none is lost, none deadlocks, the sum stays.
#[tokio::test]
async fn opposed_transfers_do_not_deadlock() {
    let fixture = Fixture::start().await;
    let (_service, second) = replica(&fixture).await;
    let alice = fixture.funded("EUR", 1_000).await;
    let bob = fixture.funded("EUR", 1_000).await;
    let pairs = (0..200).flat_map(|_| [transfer(&alice, &bob, 3), transfer(&bob, &alice, 3)]);
    post_all([fixture.ledger(), second], pairs.collect()).await;
    let (alice, bob) = (fixture.current(&alice).await, fixture.current(&bob).await);
    assert_eq!(alice.balance.expect("a balance").available_minor, 1_000);
    assert_eq!(bob.balance.expect("a balance").available_minor, 1_000);
    assert_eq!((alice.version, bob.version), (401, 401));
    assert_eq!(deadlocks(&fixture).await, 0);
    fixture.verify().await;
}

/// Two transfers in opposite directions that both wait for wallets of which neither has
/// one yet: once they are free, one goes after the other.
#[tokio::test]
async fn opposed_transfers_wait_for_each_other() {
    let fixture = Fixture::start().await;
    let (_service, second) = replica(&fixture).await;
    let alice = fixture.funded("EUR", 1_000).await;
    let bob = fixture.funded("EUR", 1_000).await;
    for _ in 0..3 {
        let mut held = fixture.database.owner.begin().await.expect("a transaction");
        sqlx::query("SELECT id FROM wallets WHERE owner_user_id IS NOT NULL FOR UPDATE")
            .fetch_all(&mut *held)
            .await
            .expect("the owner may lock them");
        let opposed = [
            (fixture.ledger(), transfer(&alice, &bob, 3)),
            (second.clone(), transfer(&bob, &alice, 3)),
        ];
        let posting = opposed.map(|(mut poster, posting)| {
            tokio::spawn(async move { poster.post_one(posting).await })
        });
        eventually("both wait", async || {
            waiting_writers(&fixture.database.pool).await == 2
        })
        .await;
        held.rollback().await.expect("released");
        for call in posting {
            applied(&call.await.expect("no panic"));
        }
    }
    assert_eq!(deadlocks(&fixture).await, 0);
    fixture.verify().await;
}

/// A ring of transfers and a wallet that everybody pays into.
#[tokio::test]
async fn rings_and_hot_wallets_do_not_deadlock() {
    let fixture = Fixture::start().await;
    let (_service, second) = replica(&fixture).await;
    let mut wallets = Vec::new();
    for _ in 0..6 {
        wallets.push(fixture.funded("EUR", 1_000).await);
    }
    let ring = (0..180).map(|index| {
        let (from, to) = (&wallets[index % 6], &wallets[(index * 5 + 1) % 6]);
        transfer(from, to, 1)
    });
    let hot = (0..120).map(|index| deposit(&wallets[index % 6], 1));
    post_all([fixture.ledger(), second], ring.chain(hot).collect()).await;
    let mut sum = 0;
    for wallet in &wallets {
        sum += fixture.balance(wallet).await.available_minor;
    }
    assert_eq!(sum, 6_120);
    assert_eq!(deadlocks(&fixture).await, 0);
    fixture.verify().await;
}

/// Money is never spent twice: of forty who spend the last hundred by tens, ten succeed.
#[tokio::test]
async fn the_last_money_is_spent_once() {
    let fixture = Fixture::start().await;
    let (_service, second) = replica(&fixture).await;
    let alice = fixture.funded("EUR", 100).await;
    let bob = fixture.funded("EUR", 1).await;
    let posters = [fixture.ledger(), second];
    let calls = (0..40).map(|index| {
        let (mut poster, posting) = (posters[index % 2].clone(), transfer(&alice, &bob, 10));
        tokio::spawn(async move { poster.post(vec![posting], BatchMode::Atomic).await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.expect("no panic");
    }
    assert_eq!(fixture.balance(&alice).await.available_minor, 0);
    assert_eq!(fixture.balance(&bob).await.available_minor, 101);
    fixture.verify().await;
}

//! The jobs that take back what is left of grants, and the budget of campaigns
//! that were ended.

use bursar_aip::id::UserId;
use bursar_contracts::wallet::v1::{
    BonusGrantStatus, Campaign, CreateCampaignRequest, RejectionReason,
};
use bursar_testkit::TestService;

use super::office::{Office, plain};
use super::spending::spend;
use crate::support::{Fixture, applied, eventually, rejected, uuid_of};

/// A campaign whose grants last an hour.
async fn hourly(office: &Office<'_>) -> Campaign {
    let request = CreateCampaignRequest {
        grant_ttl_seconds: 3_600,
        ..plain()
    };
    office.create(request).await
}

/// Granted, spent in part, and expired: exactly the rest is in the budget again,
/// also that of a frozen wallet, and with two replicas at work.
#[tokio::test]
async fn the_rest_goes_back() {
    let fixture = Fixture::start().await;
    let _replica = TestService::start(
        bursar_wallet::definition(),
        &fixture.database,
        &fixture.tokens,
        &[],
    )
    .await;
    let office = Office::of(&fixture);
    let campaign = hourly(&office).await;
    let shop = fixture.open(UserId::generate(), "EUR").await;
    let mut grants = Vec::new();
    for spent in [0, 30, 79] {
        let wallet = fixture.funded("EUR", 0).await;
        let grant = office.grant(&wallet, &campaign, 80).await.expect("granted");
        if spent > 0 {
            let payment = spend(&wallet, &shop, spent);
            applied(&fixture.ledger().post_one(payment).await);
        }
        grants.push((wallet, grant));
    }
    fixture.set_status(&grants[0].0, "frozen").await;
    let left_before = office.totals(&campaign).await.left_minor;
    assert_eq!(left_before, 1_000 - 240);
    for (_, grant) in &grants {
        office.age(grant, 3_600).await;
    }
    for (wallet, grant) in &grants {
        eventually("it has expired", async || {
            office.current(grant).await.status() == BonusGrantStatus::Expired
        })
        .await;
        assert_eq!(fixture.balance(wallet).await.bonus_minor, 0);
    }
    let totals = office.totals(&campaign).await;
    assert_eq!(totals.left_minor, 1_000 - 109);
    assert_eq!((totals.spent_minor, totals.expired_minor), (109, 131));
    assert_eq!((totals.funded_minor, totals.outstanding_minor), (1_000, 0));
    let expiries: i64 =
        sqlx::query_scalar("SELECT count(*) FROM postings WHERE kind = 'bonus_expiry'")
            .fetch_one(&fixture.database.pool)
            .await
            .expect("counted");
    assert_eq!(expiries, 3);
    fixture.verify().await;
}

/// A grant expires by itself, when its seconds have passed.
#[tokio::test]
async fn a_second_is_enough() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let request = CreateCampaignRequest {
        grant_ttl_seconds: 2,
        ..plain()
    };
    let campaign = office.create(request).await;
    let wallet = fixture.funded("EUR", 0).await;
    let grant = office.grant(&wallet, &campaign, 80).await.expect("granted");
    assert_eq!(grant.remaining_minor, 80);
    eventually("it has expired", async || {
        office.current(&grant).await.status() == BonusGrantStatus::Expired
    })
    .await;
    assert_eq!(office.totals(&campaign).await.left_minor, 1_000);
    fixture.verify().await;
}

/// A grant whose time is over is not spent, though its money is still in the
/// bucket.
#[tokio::test]
async fn what_is_over_is_not_spent() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let campaign = hourly(&office).await;
    let shop = fixture.open(UserId::generate(), "EUR").await;
    let mut seen_before_the_job = 0;
    for _ in 0..10 {
        let wallet = fixture.funded("EUR", 5).await;
        let grant = office.grant(&wallet, &campaign, 50).await.expect("granted");
        office.age(&grant, 3_600).await;
        let refused = fixture.ledger().post_one(spend(&wallet, &shop, 6)).await;
        let still_there = fixture.balance(&wallet).await.bonus_minor == 50;
        seen_before_the_job += usize::from(still_there);
        assert_eq!(rejected(&refused).0, RejectionReason::InsufficientFunds);
        applied(&fixture.ledger().post_one(spend(&wallet, &shop, 5)).await);
    }
    assert!(seen_before_the_job > 0, "the job was always quicker");
    fixture.verify().await;
}

/// What expires of an ended campaign goes on to the pool; a grant that the
/// ledger refuses to take back holds nobody up.
#[tokio::test]
async fn an_ended_campaign_is_emptied() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let campaign = hourly(&office).await;
    let stuck = fixture.funded("EUR", 0).await;
    let wallet = fixture.funded("EUR", 0).await;
    let stuck_grant = office.grant(&stuck, &campaign, 100).await.expect("granted");
    let grant = office
        .grant(&wallet, &campaign, 200)
        .await
        .expect("granted");
    let (_, returned) = office.end(&campaign).await;
    assert_eq!(returned, 700);
    // Only an operator with the database can close a wallet that has money.
    fixture.set_status(&stuck, "closed").await;
    office.age(&stuck_grant, 7_200).await;
    office.age(&grant, 3_600).await;
    eventually("it is in the pool", async || {
        office.pool_minor().await == -100
    })
    .await;
    assert_eq!(office.totals(&campaign).await.left_minor, 0);
    assert_eq!(
        office.current(&stuck_grant).await.status(),
        BonusGrantStatus::Active
    );
    fixture.set_status(&stuck, "active").await;
    eventually("all is in the pool", async || {
        office.pool_minor().await == 0
    })
    .await;
    let totals = office.totals(&campaign).await;
    assert_eq!((totals.funded_minor, totals.expired_minor), (0, 300));
    fixture.verify().await;
}

/// More grants than a page are taken back, and more than a page that cannot be
/// taken back keep none from it that come after them.
#[tokio::test]
async fn many_expire_at_once() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let campaign = hourly(&office).await;
    let stuck = fixture.funded("EUR", 0).await;
    let wallet = fixture.funded("EUR", 0).await;
    for _ in 0..130 {
        office.grant(&stuck, &campaign, 1).await.expect("granted");
        office.grant(&wallet, &campaign, 2).await.expect("granted");
    }
    // Only an operator with the database can close a wallet that has money.
    fixture.set_status(&stuck, "closed").await;
    sqlx::query(
        "UPDATE bonus_grants SET expires_at = now() - CASE wallet_id
             WHEN $1 THEN interval '1 hour' ELSE interval '1 minute' END",
    )
    .bind(uuid_of(&stuck.wallet_id))
    .execute(&fixture.database.owner)
    .await
    .expect("the owner may age grants");
    eventually("the others are taken back", async || {
        fixture.balance(&wallet).await.bonus_minor == 0
    })
    .await;
    assert_eq!(fixture.balance(&stuck).await.bonus_minor, 130);
    fixture.set_status(&stuck, "active").await;
    eventually("all are taken back", async || {
        fixture.balance(&stuck).await.bonus_minor == 0
    })
    .await;
    assert_eq!(office.totals(&campaign).await.expired_minor, 390);
    fixture.verify().await;
}

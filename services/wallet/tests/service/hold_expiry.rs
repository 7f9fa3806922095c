//! Holds whose time is over: never captured, and given back by the job.

use std::time::Duration;

use bursar_contracts::wallet::v1::{Hold, HoldStatus, PlaceHoldRequest, Wallet};
use bursar_testkit::TestService;
use tonic::Code;

use crate::desk::{Desk, capture, place};
use crate::support::{self, Fixture, applied, eventually, reason, uuid_of};

/// The job comes round as soon as it can.
const EAGER: [(&str, &str); 1] = [("BURSAR_HOLD_EXPIRY_INTERVAL_MS", "10")];
/// The job comes round once, when the service starts.
const RARE: [(&str, &str); 1] = [("BURSAR_HOLD_EXPIRY_INTERVAL_MS", "600000")];

/// A hold that expires after so long.
async fn expiring(desk: &Desk, wallet: &Wallet, amount: i64, after: Duration) -> Hold {
    let at = bursar_server::now() + after;
    let request = PlaceHoldRequest {
        expires_at: Some(prost_types::Timestamp {
            seconds: at.unix_timestamp(),
            nanos: i32::try_from(at.nanosecond()).expect("below a billion"),
        }),
        ..place(wallet, amount)
    };
    desk.place(request).await.expect("placed")
}

/// Makes holds' time be over, as waiting would.
async fn overdue(fixture: &Fixture, holds: &[Hold]) {
    let ids: Vec<_> = holds.iter().map(|hold| uuid_of(&hold.hold_id)).collect();
    sqlx::query("UPDATE holds SET expires_at = now() - interval '1 second' WHERE id = ANY($1)")
        .bind(ids)
        .execute(&fixture.database.owner)
        .await
        .expect("the owner may");
}

/// The job gives back what remains of holds once their time is over, once, and
/// leaves the others alone.
#[tokio::test]
async fn holds_expire() {
    let fixture = Fixture::start_with(&EAGER).await;
    let desk = Desk::of(&fixture);
    let guest = fixture.funded("EUR", 100).await;
    let hotel = fixture.funded("EUR", 0).await;
    let kept = desk.place(place(&guest, 10)).await.expect("placed");
    let later = expiring(&desk, &guest, 10, Duration::from_secs(3_600)).await;
    let hold = expiring(&desk, &guest, 50, Duration::from_secs(3_600)).await;
    desk.capture(capture(&hold, Some(20), &hotel))
        .await
        .expect("in time");
    let soon = PlaceHoldRequest {
        ttl_seconds: 1,
        ..place(&guest, 5)
    };
    let soon = desk.place(soon).await.expect("placed");
    overdue(&fixture, std::slice::from_ref(&hold)).await;
    eventually("they expire", async || {
        let (hold, soon) = (desk.hold(&hold).await, desk.hold(&soon).await);
        [hold, soon]
            .iter()
            .all(|hold| hold.status() == HoldStatus::Expired)
    })
    .await;
    let expired = desk.hold(&hold).await;
    assert_eq!((expired.captured_minor, expired.remaining_minor), (20, 0));
    let (expires_at, ended_at) = (expired.expires_at, expired.ended_at);
    let (expires_at, ended_at) = (expires_at.expect("set"), ended_at.expect("set"));
    assert!((ended_at.seconds, ended_at.nanos) >= (expires_at.seconds, expires_at.nanos));
    for other in [kept, later] {
        assert_eq!(desk.hold(&other).await.status(), HoldStatus::Active);
    }
    let balance = fixture.balance(&guest).await;
    assert_eq!((balance.available_minor, balance.held_minor), (60, 20));
    let again = desk.capture(capture(&hold, Some(1), &hotel)).await;
    assert_eq!(reason(&again.expect_err("over")), "HOLD_EXPIRED");
    let (kind, actor): (String, String) = sqlx::query_as(
        "SELECT kind, actor FROM event_log WHERE aggregate_id = $1 ORDER BY version DESC LIMIT 1",
    )
    .bind(uuid_of(&guest.wallet_id))
    .fetch_one(&fixture.database.pool)
    .await
    .expect("an event");
    assert_eq!((&*kind, &*actor), ("wallet.moved", "service:wallet"));
    fixture.verify().await;
}

/// Before the job has come to it, a hold whose time is over can be voided and
/// not captured.
#[tokio::test]
async fn an_overdue_hold_is_not_captured() {
    let fixture = Fixture::start_with(&RARE).await;
    let desk = Desk::of(&fixture);
    let guest = fixture.funded("EUR", 100).await;
    let hotel = fixture.funded("EUR", 0).await;
    let hold = expiring(&desk, &guest, 50, Duration::from_secs(3_600)).await;
    overdue(&fixture, std::slice::from_ref(&hold)).await;
    let late = desk.capture(capture(&hold, None, &hotel)).await;
    let late = late.expect_err("its time is over");
    assert_eq!(late.code(), Code::FailedPrecondition);
    assert_eq!(reason(&late), "HOLD_EXPIRED");
    assert_eq!(desk.hold(&hold).await.status(), HoldStatus::Active);
    let voided = desk.void(&hold).await.expect("voided");
    assert_eq!(voided.status(), HoldStatus::Voided);
    fixture.verify().await;
}

/// More holds than a page holds expire in one round, on frozen wallets too, and
/// those of transactions with them; two replicas at once do it once.
#[tokio::test]
async fn many_holds_expire_once() {
    let fixture = Fixture::start_with(&RARE).await;
    let desk = Desk::of(&fixture);
    let guest = fixture.funded("EUR", 1_000).await;
    let frozen = fixture.funded("EUR", 10).await;
    let mut holds = Vec::new();
    for _ in 0..230 {
        holds.push(expiring(&desk, &guest, 3, Duration::from_secs(3_600)).await);
    }
    holds.push(expiring(&desk, &frozen, 10, Duration::from_secs(3_600)).await);
    desk.freeze(&frozen).await.expect("frozen");
    let id = bursar_aip::id::HoldId::generate();
    applied(
        &fixture
            .ledger()
            .post_one(support::place(id, &guest, 100))
            .await,
    );
    let managed = Hold {
        hold_id: id.to_string(),
        ..Hold::default()
    };
    holds.push(managed);
    overdue(&fixture, &holds).await;

    let (database, tokens) = (&fixture.database, &fixture.tokens);
    let mut replicas = Vec::new();
    for _ in 0..2 {
        let definition = bursar_wallet::definition();
        replicas.push(TestService::start(definition, database, tokens, &RARE).await);
    }
    eventually("all expire", async || {
        let active: i64 = sqlx::query_scalar("SELECT count(*) FROM holds WHERE status = 'active'")
            .fetch_one(&fixture.database.pool)
            .await
            .expect("holds");
        active == 0
    })
    .await;
    let expiries: i64 =
        sqlx::query_scalar("SELECT count(*) FROM postings WHERE kind = 'hold_expiry'")
            .fetch_one(&fixture.database.pool)
            .await
            .expect("postings");
    assert_eq!(expiries, 232);
    assert_eq!(fixture.balance(&guest).await.available_minor, 1_000);
    assert_eq!(fixture.balance(&frozen).await.available_minor, 10);
    fixture.verify().await;
}

/// A hold that cannot be given back holds up none of those behind it, and goes
/// when it can.
#[tokio::test]
async fn a_stuck_hold_holds_nothing_up() {
    let fixture = Fixture::start_with(&EAGER).await;
    let desk = Desk::of(&fixture);
    let stuck = fixture.funded("EUR", 10).await;
    let guest = fixture.funded("EUR", 500).await;
    let first = expiring(&desk, &stuck, 10, Duration::from_secs(3_600)).await;
    let mut holds = Vec::new();
    for _ in 0..120 {
        holds.push(expiring(&desk, &guest, 3, Duration::from_secs(3_600)).await);
    }
    // No rule of ours closes a wallet with a hold.
    fixture.set_status(&stuck, "closed").await;
    overdue(&fixture, std::slice::from_ref(&first)).await;
    overdue(&fixture, &holds).await;
    eventually("the others expire", async || {
        fixture.balance(&guest).await.held_minor == 0
    })
    .await;
    assert_eq!(desk.hold(&first).await.status(), HoldStatus::Active);
    fixture.set_status(&stuck, "active").await;
    eventually("the stuck one expires", async || {
        desk.hold(&first).await.status() == HoldStatus::Expired
    })
    .await;
    fixture.verify().await;
}

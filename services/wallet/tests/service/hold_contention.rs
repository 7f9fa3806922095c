//! Many at one hold, at two replicas: what is taken never exceeds what is held,
//! and a hold has one end.

use bursar_contracts::wallet::v1::{HoldStatus, Wallet};
use bursar_testkit::TestService;
use tonic::Code;

use crate::desk::{Desk, capture, final_capture, place};
use crate::support::{Fixture, eventually, reason, uuid_of};

/// Expiries come as soon as they can.
const EAGER: [(&str, &str); 1] = [("BURSAR_HOLD_EXPIRY_INTERVAL_MS", "10")];

async fn replicas() -> (Fixture, TestService, [Desk; 2]) {
    let fixture = Fixture::start_with(&EAGER).await;
    let (database, tokens) = (&fixture.database, &fixture.tokens);
    let second = TestService::start(bursar_wallet::definition(), database, tokens, &EAGER).await;
    let first = Desk::of(&fixture);
    // The same operator at both, or their keys would be different keys.
    let token = first.token.clone();
    let other = Desk::at(&fixture, second.channel());
    let desks = [first, Desk { token, ..other }];
    (fixture, second, desks)
}

async fn available(fixture: &Fixture, wallet: &Wallet) -> i64 {
    fixture.balance(wallet).await.available_minor
}

/// Of twenty captures of 10 at once, a hold of 75 serves seven; the rest that
/// does not fit stays held.
#[tokio::test]
async fn captures_never_exceed_their_hold() {
    let (fixture, _second, desks) = replicas().await;
    let guest = fixture.funded("EUR", 100).await;
    let hotel = fixture.funded("EUR", 0).await;
    let hold = desks[0].place(place(&guest, 75)).await.expect("placed");
    let calls = (0..20).map(|index| {
        let (desk, request) = (desks[index % 2].clone(), capture(&hold, Some(10), &hotel));
        tokio::spawn(async move { desk.capture(request).await })
    });
    let mut captured = 0;
    for call in calls.collect::<Vec<_>>() {
        match call.await.expect("no panic") {
            Ok(_) => captured += 1,
            Err(status) => assert_eq!(reason(&status), "CAPTURE_EXCEEDS_HOLD"),
        }
    }
    let after = desks[0].hold(&hold).await;
    assert_eq!((captured, after.captured_minor), (7, 70));
    assert_eq!(after.remaining_minor, 5);
    assert_eq!(available(&fixture, &hotel).await, 70);
    fixture.verify().await;
}

/// Of twenty captures of all that remains at once, between captures of parts,
/// one gets the rest, and what they all got is what was held.
#[tokio::test]
async fn the_rest_is_captured_once() {
    let (fixture, _second, desks) = replicas().await;
    let guest = fixture.funded("EUR", 100).await;
    let hotel = fixture.funded("EUR", 0).await;
    let hold = desks[0].place(place(&guest, 60)).await.expect("placed");
    let calls = (0..30).map(|index| {
        let desk = desks[index % 2].clone();
        let request = match index % 3 {
            0 => capture(&hold, Some(3), &hotel),
            1 => capture(&hold, None, &hotel),
            _ => final_capture(&hold, Some(2), &hotel),
        };
        tokio::spawn(async move { desk.capture(request).await })
    });
    let mut ends = 0;
    for call in calls.collect::<Vec<_>>() {
        match call.await.expect("no panic") {
            Ok(after) => ends += usize::from(after.status() == HoldStatus::Captured),
            Err(status) => {
                assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
            }
        }
    }
    // An answer shows the hold as it is read after its capture, so a part that
    // was taken before the end may show the end too.
    assert!(ends >= 1);
    let after = desks[0].hold(&hold).await;
    assert_eq!(after.status(), HoldStatus::Captured);
    assert_eq!(available(&fixture, &hotel).await, after.captured_minor);
    assert_eq!(
        available(&fixture, &guest).await,
        100 - after.captured_minor
    );
    fixture.verify().await;
}

/// Captures, voids and the expiry race for holds about to expire: each hold has
/// one end, the money is where that end says, and there is one posting of it.
#[tokio::test]
async fn a_hold_has_one_end() {
    let (fixture, _second, desks) = replicas().await;
    let guest = fixture.funded("EUR", 400).await;
    let hotel = fixture.funded("EUR", 0).await;
    let mut holds = Vec::new();
    for _ in 0..40 {
        holds.push(desks[0].place(place(&guest, 10)).await.expect("placed"));
    }
    // Their times are over one after another, so that the calls meet some that
    // are given back, some that are about to be, and some with time left.
    let ids: Vec<_> = holds.iter().map(|hold| uuid_of(&hold.hold_id)).collect();
    sqlx::query(
        "UPDATE holds SET expires_at = now() + interval '20 milliseconds' * due.place
         FROM UNNEST($1::uuid[]) WITH ORDINALITY AS due (id, place)
         WHERE holds.id = due.id",
    )
    .bind(ids)
    .execute(&fixture.database.owner)
    .await
    .expect("the owner may");
    let calls = holds.iter().enumerate().map(|(index, hold)| {
        let [one, other] = desks.clone();
        let (hold, request) = (hold.clone(), final_capture(hold, Some(4), &hotel));
        tokio::spawn(async move {
            let (capture, void) = (one.capture(request), other.void(&hold));
            let (captured, voided) = if index % 2 == 0 {
                tokio::join!(capture, void)
            } else {
                let (voided, captured) = tokio::join!(void, capture);
                (captured, voided)
            };
            [captured.is_ok(), voided.is_ok()]
        })
    });
    let calls: Vec<_> = calls.collect();
    let mut done = [0, 0];
    for call in calls {
        let [captured, voided] = call.await.expect("no panic");
        done[0] += i64::from(captured);
        done[1] += i64::from(voided);
    }
    eventually("all have ended", async || {
        for hold in &holds {
            if desks[1].hold(hold).await.status() == HoldStatus::Active {
                return false;
            }
        }
        true
    })
    .await;
    let mut ended = [0, 0, 0];
    for hold in &holds {
        match desks[0].hold(hold).await.status() {
            HoldStatus::Captured => ended[0] += 1,
            HoldStatus::Voided => ended[1] += 1,
            HoldStatus::Expired => ended[2] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ended[..2], done);
    assert_eq!(ended.iter().sum::<i64>(), 40);
    assert_eq!(available(&fixture, &hotel).await, 4 * ended[0]);
    assert_eq!(available(&fixture, &guest).await, 400 - 4 * ended[0]);
    let postings: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM postings WHERE hold_action IN ('capture_final', 'void', 'expire')",
    )
    .fetch_one(&fixture.database.pool)
    .await
    .expect("postings");
    assert_eq!(postings, 40);
    fixture.verify().await;
}

/// Twenty calls with one key place one hold.
#[tokio::test]
async fn a_key_places_one_hold() {
    let (fixture, _second, desks) = replicas().await;
    let guest = fixture.funded("EUR", 100).await;
    let calls = (0..20).map(|index| {
        let desk = desks[index % 2].clone();
        let request = desk.keyed(place(&guest, 10), "k");
        tokio::spawn(async move { desk.holds.clone().place_hold(request).await })
    });
    let mut ids = Vec::new();
    let mut replays = 0;
    for call in calls.collect::<Vec<_>>() {
        let response = call.await.expect("no panic");
        replays += usize::from(crate::desk::is_replay(&response));
        let hold = response.expect("answered").into_inner().hold;
        ids.push(hold.expect("a hold").hold_id);
    }
    ids.dedup();
    assert_eq!((ids.len(), replays), (1, 19));
    assert_eq!(available(&fixture, &guest).await, 90);
    fixture.verify().await;
}

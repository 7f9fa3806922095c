//! Spending limits, as they are set, shown and enforced.

use bursar_aip::id::UserId;
use bursar_contracts::wallet::v1::{
    GetSpendingLimitsRequest, PostingResult, RejectionReason, SetSpendingLimitsRequest,
    SpendingLimits, Wallet, WalletLimitsChanged,
};
use bursar_testkit::with_token;
use prost::Message;
use prost_types::Timestamp;
use time::{OffsetDateTime, UtcOffset};
use tonic::Code;

use crate::desk::{Desk, capture, final_capture, place};
use crate::support::{Fixture, applied, deposit, reason, rejected, transfer, uuid_of};

fn spent(limits: &SpendingLimits) -> (i64, i64) {
    (limits.daily_spent_minor, limits.monthly_spent_minor)
}

async fn spend(fixture: &Fixture, from: &Wallet, to: &Wallet, amount: i64) -> PostingResult {
    let posting = transfer(from, to, amount);
    fixture.ledger().post_one(posting).await
}

/// Moves what was spent into the past, as time would.
async fn age(fixture: &Fixture, wallet: &Wallet, column: &str, interval: &str) {
    let statement = format!(
        "UPDATE wallet_limits SET {column} = ({column} - interval '{interval}')::date
         WHERE wallet_id = $1"
    );
    sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(uuid_of(&wallet.wallet_id))
        .execute(&fixture.database.owner)
        .await
        .expect("the owner may");
}

/// A wallet without limits has none, and says when days and months end.
#[tokio::test]
async fn a_wallet_begins_without_limits() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    let wallet = fixture.funded("EUR", 1).await;
    let limits = desk.limits(&wallet).await;
    assert_eq!(limits.wallet_id, wallet.wallet_id);
    assert_eq!(limits.currency_code, "EUR");
    assert_eq!(
        (
            limits.single_minor,
            limits.daily_minor,
            limits.monthly_minor
        ),
        (None, None, None)
    );
    assert_eq!(spent(&limits), (0, 0));
    let now = OffsetDateTime::now_utc();
    let resets = |at: Option<Timestamp>| {
        let at = OffsetDateTime::from_unix_timestamp(at.expect("set").seconds).expect("a time");
        assert!(at > now && at.to_offset(UtcOffset::UTC).time() == time::Time::MIDNIGHT);
        at
    };
    let (day, month) = (
        resets(limits.daily_resets_at),
        resets(limits.monthly_resets_at),
    );
    assert!(day - now <= time::Duration::DAY && month - now <= time::Duration::days(31));
    assert_eq!(month.day(), 1);
}

/// Each limit lets exactly its amount pass; what is spent is counted, in
/// transfers and in holds, and nothing else is.
#[tokio::test]
async fn limits_are_exact() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    let alice = fixture.funded("EUR", 1_000).await;
    let bob = fixture.funded("EUR", 0).await;
    let set = desk.set_limits(&alice, [Some(50), Some(80), Some(100)]);
    let set = set.await.expect("set");
    assert_eq!(
        (set.single_minor, set.daily_minor, set.monthly_minor),
        (Some(50), Some(80), Some(100))
    );
    let over = spend(&fixture, &alice, &bob, 51).await;
    assert_eq!(rejected(&over).0, RejectionReason::SingleLimitExceeded);
    let over = desk.place(place(&alice, 51)).await.expect_err("too much");
    assert_eq!(over.code(), Code::FailedPrecondition);
    assert_eq!(reason(&over), "SINGLE_LIMIT_EXCEEDED");
    applied(&spend(&fixture, &alice, &bob, 50).await);
    let over = spend(&fixture, &alice, &bob, 31).await;
    assert_eq!(rejected(&over).0, RejectionReason::DailyLimitExceeded);
    let over = desk.place(place(&alice, 31)).await.expect_err("too much");
    assert_eq!(reason(&over), "DAILY_LIMIT_EXCEEDED");
    desk.place(place(&alice, 30)).await.expect("the rest of it");
    assert_eq!(spent(&desk.limits(&alice).await), (80, 80));
    // Money that comes is not spending, nor gives anything back.
    applied(&fixture.ledger().post_one(deposit(&alice, 500)).await);
    applied(&spend(&fixture, &bob, &alice, 5).await);
    assert_eq!(spent(&desk.limits(&alice).await), (80, 80));
    age(&fixture, &alice, "day", "1 day").await;
    assert_eq!(spent(&desk.limits(&alice).await), (0, 80));
    let over = spend(&fixture, &alice, &bob, 21).await;
    assert_eq!(rejected(&over).0, RejectionReason::MonthlyLimitExceeded);
    let over = desk.place(place(&alice, 21)).await.expect_err("too much");
    assert_eq!(reason(&over), "MONTHLY_LIMIT_EXCEEDED");
    applied(&spend(&fixture, &alice, &bob, 20).await);
    assert_eq!(spent(&desk.limits(&alice).await), (20, 100));
    age(&fixture, &alice, "month", "1 month").await;
    assert_eq!(spent(&desk.limits(&alice).await), (20, 0));
    applied(&spend(&fixture, &alice, &bob, 50).await);
    fixture.verify().await;
}

/// What a hold gives back may be spent again; what it captures may not.
#[tokio::test]
async fn what_comes_back_may_be_spent_again() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    let alice = fixture.funded("EUR", 1_000).await;
    let bob = fixture.funded("EUR", 0).await;
    desk.set_limits(&alice, [None, Some(100), None])
        .await
        .expect("set");
    let first = desk.place(place(&alice, 100)).await.expect("placed");
    desk.capture(capture(&first, Some(30), &bob))
        .await
        .expect("captured");
    assert_eq!(spent(&desk.limits(&alice).await), (100, 100));
    desk.void(&first).await.expect("voided");
    assert_eq!(spent(&desk.limits(&alice).await), (30, 30));
    let second = desk.place(place(&alice, 70)).await.expect("placed");
    desk.capture(final_capture(&second, Some(10), &bob))
        .await
        .expect("captured");
    assert_eq!(spent(&desk.limits(&alice).await), (40, 40));
    let over = spend(&fixture, &alice, &bob, 61).await;
    assert_eq!(rejected(&over).0, RejectionReason::DailyLimitExceeded);
    applied(&spend(&fixture, &alice, &bob, 60).await);
    fixture.verify().await;
}

/// Setting limits replaces them all, keeps what was spent, and tells an event;
/// setting what is set tells none.
#[tokio::test]
async fn limits_are_replaced() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    let alice = fixture.funded("EUR", 1_000).await;
    let bob = fixture.funded("EUR", 0).await;
    desk.set_limits(&alice, [None, Some(10), None])
        .await
        .expect("set");
    applied(&spend(&fixture, &alice, &bob, 10).await);
    let none = desk.set_limits(&alice, [None; 3]).await.expect("set");
    assert_eq!((none.daily_minor, spent(&none)), (None, (10, 10)));
    applied(&spend(&fixture, &alice, &bob, 10).await);
    for _ in 0..2 {
        let lower = desk.set_limits(&alice, [Some(0), Some(5), Some(25)]);
        let lower = lower.await.expect("lower than what was spent");
        assert_eq!((lower.single_minor, spent(&lower)), (Some(0), (20, 20)));
    }
    let over = spend(&fixture, &alice, &bob, 1).await;
    assert_eq!(rejected(&over).0, RejectionReason::SingleLimitExceeded);
    desk.set_credit(&alice, 3).await.expect("set");
    let told: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT data FROM event_log WHERE kind = 'wallet.limits_changed' ORDER BY version",
    )
    .fetch_all(&fixture.database.pool)
    .await
    .expect("events");
    let told: Vec<_> = told
        .iter()
        .map(|data| WalletLimitsChanged::decode(data.as_slice()).expect("its data"))
        .map(|told| (told.credit_limit_minor, told.single_minor, told.daily_minor))
        .collect();
    assert_eq!(
        told,
        [
            (0, None, Some(10)),
            (0, None, None),
            (0, Some(0), Some(5)),
            (3, Some(0), Some(5))
        ]
    );
    fixture.verify().await;
}

/// Forty spend the last of a limit at once, at holds and transfers alike; what
/// is spent is the limit, not a unit more.
#[tokio::test]
async fn a_limit_is_not_spent_twice() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    let alice = fixture.funded("EUR", 1_000).await;
    let bob = fixture.funded("EUR", 0).await;
    desk.set_limits(&alice, [None, Some(95), None])
        .await
        .expect("set");
    let calls = (0..40).map(|index| {
        let (desk, mut ledger) = (desk.clone(), fixture.ledger());
        let (hold, posting) = (place(&alice, 10), transfer(&alice, &bob, 10));
        tokio::spawn(async move {
            if index % 2 == 0 {
                desk.place(hold).await.is_ok()
            } else {
                ledger
                    .post_one(posting)
                    .await
                    .outcome
                    .is_some_and(|outcome| {
                        matches!(
                            outcome,
                            bursar_contracts::wallet::v1::posting_result::Outcome::Applied(_)
                        )
                    })
            }
        })
    });
    let mut done = 0;
    for call in calls.collect::<Vec<_>>() {
        done += i64::from(call.await.expect("no panic"));
    }
    assert_eq!(done, 9);
    assert_eq!(spent(&desk.limits(&alice).await), (90, 90));
    fixture.verify().await;
}

/// Owners read their limits and nobody else's; a negative limit is none.
#[tokio::test]
async fn limits_are_their_owners() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    let wallet = fixture.funded("EUR", 1).await;
    let owner: UserId = wallet.owner_user_id.parse().expect("a user");
    let request = || GetSpendingLimitsRequest {
        wallet_id: wallet.wallet_id.clone(),
    };
    let mut client = fixture.wallets();
    let own = with_token(request(), &fixture.tokens.user(owner));
    client.get_spending_limits(own).await.expect("their own");
    let stranger = with_token(request(), &fixture.tokens.user(UserId::generate()));
    let hidden = client.get_spending_limits(stranger).await;
    let hidden = hidden.expect_err("not theirs");
    assert_eq!(
        (hidden.code(), &*reason(&hidden)),
        (Code::NotFound, "WALLET_NOT_FOUND")
    );
    let negative = SetSpendingLimitsRequest {
        wallet_id: wallet.wallet_id.clone(),
        daily_minor: Some(-1),
        ..SetSpendingLimitsRequest::default()
    };
    let refused = desk
        .wallets
        .clone()
        .set_spending_limits(desk.call(negative))
        .await;
    assert_eq!(reason(&refused.expect_err("negative")), "INVALID_FIELD");
}

//! Projections: the queue, slices, several projectors, and the days and months
//! that come of it.

use bursar_aip::id::UserId;
use bursar_contracts::wallet::v1::{
    BatchMode, ListWalletDaysRequest, ListWalletMonthsRequest, Posting, WalletDay,
};
use bursar_wallet::jobs::projector;
use sqlx::AssertSqlSafe;
use time::Duration;
use time::macros::datetime;

use crate::bookkeeper::{
    Bookkeeper, assert_projected, booked, by_day, project, projections_of, queued, sealed,
    timestamp, without_projector,
};
use crate::random_books::{Deed, Teller, When};
use crate::support::{Fixture, applied, deposit, eventually, transfer, uuid_of};

/// A service at work projects what it records, by itself.
#[tokio::test]
async fn a_service_projects_what_it_records() {
    let fixture = Fixture::start().await;
    let pool = &fixture.database.pool;
    let mut teller = Teller::start(&fixture).await;
    for shift in [0, -90_000, 50_000, -3] {
        let deeds = [
            (Deed::Deposit(50), When::Shifted(shift)),
            (Deed::Place(20), When::Now),
            (Deed::Void, When::Now),
            (Deed::Spend(7), When::Now),
        ];
        teller.tell(&deeds).await;
    }
    sealed(pool).await;
    eventually("the queue is empty", async || queued(pool).await == 0).await;
    assert_projected(pool).await;
    fixture.verify().await;
}

/// Two projectors beside two services' worth of postings fold everything once.
#[tokio::test]
async fn two_projectors_fold_everything_once() {
    let fixture = without_projector().await;
    let pool = fixture.database.pool.clone();
    let mut wallets = Vec::new();
    for _ in 0..4 {
        wallets.push(fixture.funded("EUR", 10_000).await);
    }
    let posting = async {
        let mut ledger = fixture.ledger();
        for round in 0..25_i64 {
            let batch = (0..20).map(|index| {
                let (from, to) = (index % 4, (index + 1) % 4);
                let effective_at = bursar_server::now() - Duration::hours(round * 3);
                Posting {
                    effective_at: (index % 3 == 0).then(|| timestamp(effective_at)),
                    ..transfer(&wallets[from], &wallets[to], 1 + round)
                }
            });
            ledger.post(batch.collect(), BatchMode::Independent).await;
        }
        sealed(&pool).await;
    };
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let projecting = || async {
        loop {
            let ended = is_over.load(std::sync::atomic::Ordering::SeqCst);
            let slice = projector::slice(&pool).await.expect("a slice");
            if ended && slice.queue_rows == 0 && queued(&pool).await == 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(projecting(), projecting(), async {
        posting.await;
        is_over.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    assert_projected(&pool).await;
}

/// A slice that is cut off anywhere has not happened: the queue still names its
/// wallets, and the next slice does it all.
#[tokio::test]
async fn a_slice_that_is_cut_off_has_not_happened() {
    let fixture = without_projector().await;
    let (pool, owner) = (&fixture.database.pool, &fixture.database.owner);
    let wallet = fixture.funded("EUR", 100).await;
    sealed(pool).await;
    while queued(pool).await > 0 {
        projector::slice(pool).await.expect("a slice");
    }
    let superuser = fixture.database.superuser().await;
    for table in ["wallet_days", "displaced_entries", "projection_cursors"] {
        let backdated = Posting {
            effective_at: Some(timestamp(datetime!(2026-02-03 04:05:06.000007 UTC))),
            ..deposit(&wallet, 3)
        };
        applied(&fixture.ledger().post_one(backdated).await);
        sealed(pool).await;
        let waiting = queued(pool).await;
        assert!(waiting > 0);
        let before = projections_of(pool, uuid_of(&wallet.wallet_id)).await;
        // Writes of this table wait; what comes before it is written.
        let mut lock = owner.begin().await.expect("a transaction");
        sqlx::query(AssertSqlSafe(format!("LOCK TABLE {table} IN SHARE MODE")))
            .execute(&mut *lock)
            .await
            .expect("the owner may");
        let slice = tokio::spawn({
            let pool = pool.clone();
            async move { projector::slice(&pool).await }
        });
        eventually("the slice waits", async || {
            let killed: i64 = sqlx::query_scalar(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'
                     AND usename = 'bursar_test_application'",
            )
            .fetch_one(&superuser)
            .await
            .expect("a superuser may");
            killed > 0
        })
        .await;
        slice.await.expect("it ends").expect_err("it was cut off");
        lock.rollback().await.expect("released");
        assert_eq!(queued(pool).await, waiting, "{table}");
        let after = projections_of(pool, uuid_of(&wallet.wallet_id)).await;
        assert_eq!(after, before, "{table}");
        while queued(pool).await > 0 {
            projector::slice(pool).await.expect("a slice");
        }
        assert_projected(pool).await;
    }
    superuser.close().await;
}

/// A slice takes a bounded number of entries, however many a wallet has, and
/// comes back for the rest.
#[tokio::test]
async fn slices_are_bounded() {
    let fixture = without_projector().await;
    let pool = &fixture.database.pool;
    let wallet = fixture.open(UserId::generate(), "EUR").await;
    let mut ledger = fixture.ledger();
    for _ in 0..6 {
        let postings = (0..1_000).map(|_| deposit(&wallet, 1)).collect();
        ledger.post(postings, BatchMode::Atomic).await;
    }
    sealed(pool).await;
    let mut slices = Vec::new();
    while queued(pool).await > 0 {
        slices.push(projector::slice(pool).await.expect("a slice").entries);
    }
    // Each posting has an entry in the settlement wallet, too.
    assert_eq!(slices.iter().sum::<usize>(), 12_000);
    assert!(slices.iter().all(|entries| *entries <= 5_000), "{slices:?}");
    assert_projected(pool).await;
}

/// A wallet whose entries were tampered with stays where it is and stops nobody
/// else, and the projector does not come back to it for ever.
#[tokio::test]
async fn a_broken_wallet_stops_nobody() {
    let fixture = without_projector().await;
    let pool = &fixture.database.pool;
    let broken = fixture.funded("EUR", 5).await;
    let sound = fixture.funded("EUR", 7).await;
    sealed(pool).await;
    let superuser = fixture.database.superuser().await;
    let statement = "ALTER TABLE entries DISABLE TRIGGER USER;
         DELETE FROM entries WHERE amount = 5;
         ALTER TABLE entries ENABLE ALWAYS TRIGGER entries_unchanged";
    sqlx::raw_sql(statement)
        .execute(&superuser)
        .await
        .expect("a superuser may");
    superuser.close().await;
    for _ in 0..10 {
        projector::slice(pool).await.expect("a slice");
    }
    assert_eq!(queued(pool).await, 0);
    let kept = projections_of(pool, uuid_of(&sound.wallet_id)).await;
    assert_eq!(kept.len(), 2, "a cursor and a day: {kept:?}");
    let kept = projections_of(pool, uuid_of(&broken.wallet_id)).await;
    assert_eq!(kept.len(), 1, "a cursor: {kept:?}");
}

/// Days and months are listed newest first, page by page, with the sums of their
/// entries.
#[tokio::test]
async fn days_and_months_are_listed() {
    let fixture = without_projector().await;
    let (pool, books) = (&fixture.database.pool, Bookkeeper::of(&fixture));
    let wallet = fixture.open(UserId::generate(), "EUR").await;
    let other = fixture.open(UserId::generate(), "EUR").await;
    let mut ledger = fixture.ledger();
    let times = [
        datetime!(2025-12-31 23:59:59.999999 UTC),
        datetime!(2026-01-01 00:00 UTC),
        datetime!(2026-01-01 12:00 UTC),
        datetime!(2026-01-31 01:00 +02:00),
        datetime!(2026-02-28 23:00 UTC),
    ];
    for (amount, at) in (10..).zip(times) {
        for posting in [deposit(&wallet, amount), transfer(&wallet, &other, 1)] {
            let backdated = Posting {
                effective_at: Some(timestamp(at)),
                ..posting
            };
            applied(&ledger.post_one(backdated).await);
        }
    }
    let request = |token: String| ListWalletDaysRequest {
        wallet_id: wallet.wallet_id.clone(),
        from_day: "2025-12-31".to_owned(),
        to_day: "2026-12-31".to_owned(),
        page_size: 2,
        page_token: token,
    };
    let mut client = books.history.clone();
    let empty = client
        .list_wallet_days(books.call(request(String::new())))
        .await;
    let empty = empty.expect("a page").into_inner();
    assert_eq!((empty.days.len(), empty.through_version), (0, 0));
    project(pool, &wallet).await;
    let (mut days, mut token): (Vec<WalletDay>, _) = (Vec::new(), String::new());
    loop {
        let page = client.list_wallet_days(books.call(request(token))).await;
        let page = page.expect("a page").into_inner();
        assert_eq!(page.through_version, 10);
        days.extend(page.days);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let entries = booked(pool, &wallet).await;
    let expected: Vec<_> = by_day(&entries)
        .into_iter()
        .rev()
        .map(|(day, entries)| {
            let positive = entries.iter().map(|entry| entry.amount.max(0)).sum::<i64>();
            let count = i64::try_from(entries.len()).expect("few");
            (day.to_string(), positive, count / 2, count)
        })
        .collect();
    let listed: Vec<_> = days
        .iter()
        .map(|day| {
            let available = day.available.expect("a turnover");
            (
                day.day.clone(),
                available.in_minor,
                available.out_minor,
                day.entries,
            )
        })
        .collect();
    assert_eq!(listed, expected);
    assert_eq!(listed.len(), 4);
    let months = |page_size, page_token| ListWalletMonthsRequest {
        wallet_id: wallet.wallet_id.clone(),
        from_month: "2025-12".to_owned(),
        to_month: "2026-02".to_owned(),
        page_size,
        page_token,
    };
    let whole = client
        .list_wallet_months(books.call(months(0, String::new())))
        .await;
    let whole = whole.expect("a page").into_inner();
    let sums: Vec<_> = whole
        .months
        .iter()
        .map(|month| {
            let available = month.available.expect("a turnover");
            (
                month.month.as_str(),
                available.in_minor,
                available.out_minor,
                month.entries,
            )
        })
        .collect();
    let expected = [
        ("2026-02", 14, 1, 2),
        ("2026-01", 36, 3, 6),
        ("2025-12", 10, 1, 2),
    ];
    assert_eq!(sums, expected);
    let first = client
        .list_wallet_months(books.call(months(2, String::new())))
        .await;
    let first = first.expect("a page").into_inner();
    let second = client
        .list_wallet_months(books.call(months(2, first.next_page_token)))
        .await;
    let second = second.expect("a page").into_inner();
    assert_eq!([first.months, second.months].concat(), whole.months);
    assert!(second.next_page_token.is_empty());
}

//! Leases on files, on a real PostgreSQL.

use std::time::Duration;

use bursar_aip::id::{BreakId, SettlementFileId, TenantId, TransactionId};
use bursar_money::Currency;
use bursar_testkit::TestDatabase;
use time::macros::date;

use super::breaks::{self, Resolution};
use super::candidates::Books;
use super::files::{self, Completed, Content, NewFile};
use super::outcome::{self, Standing as Told, Told as Telling};
use super::{Lease, Source, StoredProblem, report, work};
use crate::reconciliation::{LineType, Reason, Recorded, Standing};

const LONG: Duration = Duration::from_secs(60);
const LAPSED: Duration = Duration::ZERO;

async fn database() -> TestDatabase {
    TestDatabase::create(&crate::definition().migrations).await
}

fn new(source: Source) -> NewFile {
    NewFile {
        id: SettlementFileId::generate(),
        tenant: TenantId::default(),
        provider: "sandbox".parse().expect("a valid name"),
        source,
        name: String::new(),
        settlement_date: date!(2026 - 03 - 02),
        imported_by: "test".to_owned(),
    }
}

fn content(byte: u8) -> Content {
    Content {
        sha256: [byte; 32],
        bytes: 1,
        lines: 0,
    }
}

/// A file that was read, of this content.
async fn imported(database: &TestDatabase, byte: u8) -> Lease {
    let mut conn = database.pool.acquire().await.expect("a connection");
    let lease = files::begin(&mut conn, &new(Source::File), LONG)
        .await
        .expect("a file begins")
        .expect("files have no day of their own");
    let completed = files::complete(&mut conn, lease, &content(byte)).await;
    assert_eq!(completed.expect("it is written"), Completed::Yes);
    lease
}

/// One worker has a file at a time, files of a provider are taken in their order,
/// and one that was overtaken cannot write any more.
#[tokio::test]
async fn one_worker_matches_a_file() {
    let database = database().await;
    let first = imported(&database, 1).await;
    let second = imported(&database, 2).await;
    let mut conn = database.pool.acquire().await.expect("a connection");
    // Reading it is over.
    assert!(!files::keep(&mut conn, first, LONG).await.expect("asked"));

    let slow = work::claim(&mut conn, LAPSED).await.expect("asked");
    let slow = slow.expect("a file waits");
    assert_eq!(slow.file, first.file);
    let quick = work::claim(&mut conn, LONG).await.expect("asked");
    let quick = quick.expect("the lease has lapsed");
    assert_eq!(quick.file, first.file);
    // The second one waits for the first.
    assert_eq!(work::claim(&mut conn, LONG).await.expect("asked"), None);

    assert!(
        !work::advance(&mut conn, slow, "r:a", LONG)
            .await
            .expect("asked")
    );
    assert!(!work::finish(&mut conn, slow).await.expect("asked"));
    assert!(
        work::advance(&mut conn, quick, "r:a", LONG)
            .await
            .expect("asked")
    );
    assert!(work::finish(&mut conn, quick).await.expect("asked"));
    let next = work::claim(&mut conn, LONG).await.expect("asked");
    assert_eq!(next.map(|lease| lease.file), Some(second.file));
}

/// The same content counts once, also when two read it at the same time.
#[tokio::test]
async fn the_same_content_counts_once() {
    let database = database().await;
    imported(&database, 1).await;
    let mut transaction = database.pool.begin().await.expect("a transaction");
    let again = files::begin(&mut transaction, &new(Source::File), LONG).await;
    let again = again.expect("a file begins").expect("it has no day");
    let completed = files::complete(&mut transaction, again, &content(1)).await;
    assert_eq!(completed.expect("asked"), Completed::AlreadyImported);
}

/// A day is listed by one process; a list that died or failed may be read again.
#[tokio::test]
async fn a_day_is_listed_once() {
    let database = database().await;
    let mut conn = database.pool.acquire().await.expect("a connection");
    let file = new(Source::List);
    let (tenant, provider) = (&file.tenant, &file.provider);
    let days = [file.settlement_date];
    let first = files::begin(&mut conn, &file, LAPSED).await.expect("asked");
    let first = first.expect("the day is free");
    let other = files::begin(&mut conn, &new(Source::List), LONG).await;
    assert_eq!(other.expect("asked"), None);
    let due = files::unlisted(&mut conn, tenant, provider, &days, LONG).await;
    assert_eq!(due.expect("asked"), None);

    assert_eq!(work::fail_lapsed(&mut conn, 10).await.expect("asked"), 1);
    let problem = StoredProblem::interrupted();
    let stale = files::fail(&mut conn, first, &problem, 0).await;
    assert!(!stale.expect("asked"));
    let soon = files::unlisted(&mut conn, tenant, provider, &days, LONG).await;
    assert_eq!(soon.expect("asked"), None);
    let later = files::unlisted(&mut conn, tenant, provider, &days, LAPSED).await;
    assert_eq!(later.expect("asked"), Some(file.settlement_date));
    let again = files::begin(&mut conn, &new(Source::List), LONG).await;
    assert!(again.expect("asked").is_some());
}

/// A transaction that no line speaks of.
fn absent() -> Recorded {
    Recorded {
        id: TransactionId::generate(),
        provider_reference: None,
        kind: LineType::Charge,
        currency: Currency::parse("EUR").expect("a currency"),
        amount_minor: 100,
        standing: Standing::Completed,
        state: "COMPLETED".to_owned(),
        day: date!(2026 - 03 - 02),
        is_taken: false,
    }
}

/// A break is opened when it is new or was explained, and not when it is seen again or
/// a person has resolved it; the backlog has what is open, and when it was first seen.
#[tokio::test]
async fn a_break_is_opened_once() {
    let database = database().await;
    let file = imported(&database, 1).await.file.uuid();
    let mut conn = database.pool.acquire().await.expect("a connection");
    let (new, recorded) = (new(Source::File), absent());
    let books = Books {
        tenant: &new.tenant,
        provider: &new.provider,
        source: Source::File,
    };
    let telling = Telling {
        reason: Reason::MissingAtProvider,
        subject: recorded.id.to_string(),
        settlement_date: recorded.day,
        file,
        line: None,
        recorded: Some(&recorded),
    };
    let tell = async |conn: &mut sqlx::PgConnection| -> Told {
        outcome::tell(conn, books, &telling)
            .await
            .expect("it is told")
    };
    let first = tell(&mut conn).await;
    let again = tell(&mut conn).await;
    assert_eq!((first.is_opened, again.is_opened), (true, false));
    assert_eq!(again.id, first.id);
    let backlog = report::backlog(&mut conn).await.expect("it is counted");
    let open: Vec<_> = backlog
        .open
        .iter()
        .map(|it| (it.reason, it.breaks))
        .collect();
    assert_eq!(open, [(Reason::MissingAtProvider, 1)]);
    let seen = breaks::find(&mut conn, &new.tenant, first.id).await;
    let seen = seen.expect("asked").expect("it is there");
    assert_eq!(backlog.open[0].oldest, seen.first_seen_at);
    let [runs] = backlog.runs[..] else {
        panic!("one source: {backlog:?}");
    };
    assert_eq!((runs.source, runs.files_under_way), (Source::File, 1));
    assert_eq!(runs.last_reconciled_at, None);

    let resolve = async |conn: &mut sqlx::PgConnection, id: BreakId, how| {
        let resolved = breaks::resolve(conn, &new.tenant, id, how, "note", "test").await;
        assert!(resolved.expect("asked"));
    };
    resolve(&mut conn, first.id, Resolution::MatchedLater).await;
    let reopened = tell(&mut conn).await;
    assert!(reopened.is_opened);
    resolve(&mut conn, first.id, Resolution::WrittenOff).await;
    let settled = tell(&mut conn).await;
    assert!(!settled.is_opened);
    let backlog = report::backlog(&mut conn).await.expect("it is counted");
    assert_eq!(backlog.open, []);
}

//! Statements, as pages and as files.

use bursar_aip::id::UserId;
use bursar_contracts::wallet::v1::{BatchMode, Posting, StatementEntry, TimeBasis};
use bursar_testkit::with_token;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use time::Duration;
use time::macros::datetime;
use tonic::Code;

use crate::bookkeeper::{Bookkeeper, booked, project, wallet_id, without_projector};
use crate::history::assert_field;
use crate::random_books::{Deed, Teller, When, story};
use crate::statement_reader::{Asked, assert_closes, file, page, replayed};
use crate::support::{Fixture, applied, deposit, reason};

/// How many random histories are tried.
const CASES: u32 = 5;
const BASES: [TimeBasis; 2] = [TimeBasis::Effective, TimeBasis::Recorded];

/// Whatever the history, the time and the page size, a statement has the right
/// entries in the right order and closes, and its file says the same; with the
/// projector stopped, half way, and done.
#[test]
fn statements_close_at_every_page_split() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let fixture = runtime.block_on(without_projector());
    let books = runtime.block_on(async { Bookkeeper::of(&fixture) });
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&story(), |story| {
        runtime.block_on(async {
            let pool = &fixture.database.pool;
            let mut teller = Teller::start(&fixture).await;
            let half = story.len() / 2;
            for (index, batch) in story.iter().enumerate() {
                teller.tell(batch).await;
                if index == half {
                    project(pool, &teller.wallet).await;
                }
            }
            let entries = booked(pool, &teller.wallet).await;
            let now = bursar_server::now();
            for stage in 0..2 {
                for basis in BASES {
                    let mut asked = Asked {
                        wallet: &teller.wallet,
                        from: now - Duration::days(300),
                        to: now + Duration::days(60),
                        basis,
                    };
                    assert_closes(&books, &entries, &asked, &[1, 100]).await;
                    if let (Some(first), Some(last)) = (entries.get(1), entries.last()) {
                        // Bounds that lie exactly on entries.
                        let (a, b) = (first.time(basis), last.time(basis));
                        asked.from = a.min(b);
                        asked.to = a.max(b) + Duration::microseconds(stage);
                        if asked.from < asked.to {
                            assert_closes(&books, &entries, &asked, &[3, 100]).await;
                        }
                    }
                }
                project(pool, &teller.wallet).await;
            }
            Ok::<_, TestCaseError>(())
        })
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

/// What is posted while somebody turns the pages, backdated or not, is on none of
/// them, and the pages still fit together.
#[tokio::test]
async fn pages_are_of_one_statement() {
    let fixture = Fixture::start().await;
    let books = Bookkeeper::of(&fixture);
    let pool = &fixture.database.pool;
    let mut teller = Teller::start(&fixture).await;
    let deeds = [
        (Deed::Deposit(50), When::Now),
        (Deed::Deposit(40), When::Shifted(-3_000)),
        (Deed::Place(30), When::Now),
        (Deed::Spend(20), When::Shifted(-100)),
    ];
    teller.tell(&deeds).await;
    let wallet = teller.wallet.clone();
    let entries = booked(pool, &wallet).await;
    let now = bursar_server::now();
    for basis in BASES {
        let asked = Asked {
            wallet: &wallet,
            from: now - Duration::days(30),
            to: now + Duration::days(30),
            basis,
        };
        let (opening, within, closing) = replayed(&entries, &asked);
        let known = page(&books, &asked, 100, String::new()).await;
        let (mut token, mut seen) = (String::new(), Vec::new());
        let as_of = known.statement.as_ref().map(|known| known.as_of_version);
        if basis == TimeBasis::Effective {
            assert_eq!(as_of, Some(5));
        }
        loop {
            let answer = page(&books, &asked, 1, token).await;
            let statement = answer.statement.expect("a statement");
            assert_eq!(Some(statement.as_of_version), as_of);
            seen.extend(answer.entries);
            token = answer.next_page_token;
            if token.is_empty() {
                break;
            }
            let first = seen
                .first()
                .and_then(|line: &StatementEntry| line.effective_at);
            let backdated = Posting {
                effective_at: first,
                ..deposit(&wallet, 7)
            };
            applied(&fixture.ledger().post_one(backdated).await);
            applied(&fixture.ledger().post_one(deposit(&wallet, 9)).await);
        }
        assert_eq!(seen, known.entries);
        if basis == TimeBasis::Effective {
            let known = known.statement.expect("a statement");
            assert_eq!(
                (known.opening, known.closing),
                (Some(opening), Some(closing))
            );
            assert_eq!(seen.len(), within.len());
        }
    }
}

/// A file of many parts has every entry once and closes.
#[tokio::test]
async fn long_files_come_in_parts() {
    let fixture = Fixture::start().await;
    let books = Bookkeeper::of(&fixture);
    let wallet = fixture.open(UserId::generate(), "EUR").await;
    let mut ledger = fixture.ledger();
    for _ in 0..2 {
        let postings = (0..650).map(|_| deposit(&wallet, 1)).collect();
        ledger.post(postings, BatchMode::Atomic).await;
    }
    let now = bursar_server::now();
    let asked = Asked {
        wallet: &wallet,
        from: now - Duration::days(1),
        to: now + Duration::days(1),
        basis: TimeBasis::Effective,
    };
    let text = file(&books, &asked).await.expect("a file");
    let versions: Vec<i64> = text
        .lines()
        .filter(|record| record.starts_with("entry,"))
        .map(|record| {
            let version = record.split(',').nth(5).expect("a version");
            version.parse().expect("a number")
        })
        .collect();
    assert_eq!(versions, (1..=1_300).collect::<Vec<i64>>());
    assert!(
        text.ends_with(",1300,0,0\r\n"),
        "{}",
        &text[text.len() - 40..]
    );
}

/// What is wrong with a request is named; others' statements are not found; page
/// tokens belong to one statement.
#[tokio::test]
async fn wrong_requests_are_refused() {
    let fixture = Fixture::start().await;
    let books = Bookkeeper::of(&fixture);
    let wallet = fixture.funded("EUR", 5).await;
    applied(&fixture.ledger().post_one(deposit(&wallet, 5)).await);
    let asked = Asked {
        wallet: &wallet,
        from: datetime!(2026-01-01 00:00 UTC),
        to: datetime!(2027-01-01 00:00 UTC),
        basis: TimeBasis::Recorded,
    };
    let mut client = books.history.clone();
    for (from, to, field) in [
        (asked.from, asked.from, "to"),
        (asked.to, asked.from, "to"),
        (asked.from, asked.from + Duration::days(367), "to"),
    ] {
        let asked = Asked { from, to, ..asked };
        let request = books.call(asked.page(0, String::new()));
        let refused = client.get_statement(request).await;
        assert_field(&refused.expect_err("no period"), field);
        let refused = client.export_statement(books.call(asked.file())).await;
        assert_field(&refused.map(drop).expect_err("no period"), field);
    }
    let stranger = fixture.tokens.user(UserId::generate());
    let hidden = client
        .get_statement(with_token(asked.page(0, String::new()), &stranger))
        .await;
    let hidden = hidden.expect_err("not theirs");
    assert_eq!(
        (hidden.code(), reason(&hidden)),
        (Code::NotFound, "WALLET_NOT_FOUND".to_owned())
    );
    let hidden = client
        .export_statement(with_token(asked.file(), &stranger))
        .await;
    let hidden = hidden.map(drop).expect_err("not theirs");
    assert_eq!(reason(&hidden), "WALLET_NOT_FOUND");
    let now = bursar_server::now();
    let asked = Asked {
        from: now - Duration::days(1),
        to: now + Duration::days(1),
        ..asked
    };
    let token = page(&books, &asked, 1, String::new()).await.next_page_token;
    assert!(!token.is_empty());
    for other in [
        Asked {
            basis: TimeBasis::Effective,
            ..asked
        },
        Asked {
            from: asked.from - Duration::days(1),
            ..asked
        },
    ] {
        let request = books.call(other.page(1, token.clone()));
        let refused = client.get_statement(request).await.expect_err("another");
        assert_eq!(reason(&refused), "PAGE_TOKEN_INVALID");
    }
}

/// When what is kept has been tampered with, no statement is shown that does not
/// close.
#[tokio::test]
async fn a_statement_that_does_not_close_is_not_shown() {
    let fixture = without_projector().await;
    let books = Bookkeeper::of(&fixture);
    let pool = &fixture.database.pool;
    let mut teller = Teller::start(&fixture).await;
    teller
        .tell(&[
            (Deed::Deposit(50), When::Now),
            (Deed::Deposit(40), When::Shifted(-3_000)),
        ])
        .await;
    project(pool, &teller.wallet).await;
    let now = bursar_server::now();
    let asked = Asked {
        wallet: &teller.wallet,
        from: now - Duration::seconds(1_000),
        to: now + Duration::days(1),
        basis: TimeBasis::Effective,
    };
    let opening = page(&books, &asked, 1, String::new()).await;
    let opening = opening.statement.expect("a statement").opening;
    assert_eq!(opening.expect("a balance").available_minor, 40);
    sqlx::query("UPDATE displaced_entries SET amount = 41 WHERE wallet_id = $1")
        .bind(wallet_id(&teller.wallet).uuid())
        .execute(pool)
        .await
        .expect("an edit");
    let request = books.call(asked.page(1, String::new()));
    let refused = books.history.clone().get_statement(request).await;
    assert_eq!(
        refused.expect_err("it does not close").code(),
        Code::Internal
    );
    let refused = file(&books, &asked).await;
    assert_eq!(
        refused.expect_err("it does not close").code(),
        Code::Internal
    );
}

/// A statement of more entries than a file may have is refused at once, by either
/// time, and its parts are to be had.
#[tokio::test]
async fn files_are_bounded() {
    let fixture = without_projector().await;
    let books = Bookkeeper::of(&fixture);
    let wallet = fixture.open(UserId::generate(), "EUR").await;
    // As many postings in one second each, written as only a superuser could.
    let superuser = fixture.database.superuser().await;
    let statement = "
        INSERT INTO postings (id, tenant_id, kind, fingerprint, leg_wallet_ids, leg_versions,
            effective_at, recorded_at)
        SELECT id, 'default', 'adjustment', decode(repeat('00', 32), 'hex'), ARRAY[$1, $1],
            ARRAY[2 * number - 1, 2 * number], at, at
        FROM numbered;
        INSERT INTO entries (wallet_id, version, posting_id, amount, balance_after, bucket,
            currency, tenant_id)
        SELECT $1, 2 * number - 1 + side, id, 1 - 2 * side, 1 - side, 'available', 'EUR', 'default'
        FROM numbered CROSS JOIN (VALUES (0), (1)) AS sides (side);
        UPDATE wallets SET version = 100002 WHERE id = $1";
    let numbered = "CREATE TEMPORARY TABLE numbered AS
        SELECT number, gen_random_uuid() AS id,
            timestamptz '2026-03-01' + number * interval '1 second' AS at
        FROM generate_series(1::bigint, 50001) AS number;";
    let id = format!("'{}'::uuid", wallet_id(&wallet).uuid());
    let script = format!("{numbered} {}", statement.replace("$1", &id));
    sqlx::raw_sql(sqlx::AssertSqlSafe(script))
        .execute(&superuser)
        .await
        .expect("a superuser may");
    superuser.close().await;
    for basis in BASES {
        let asked = Asked {
            wallet: &wallet,
            from: datetime!(2026-03-01 00:00 UTC),
            to: datetime!(2026-04-01 00:00 UTC),
            basis,
        };
        let refused = file(&books, &asked).await.expect_err("too long");
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(reason(&refused), "STATEMENT_TOO_LONG");
        let half = Asked {
            to: asked.from + Duration::seconds(1_001),
            ..asked
        };
        let text = file(&books, &half).await.expect("a file");
        assert_eq!(text.lines().count(), 2_000 + 3);
    }
}

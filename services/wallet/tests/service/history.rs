//! Balances at a point in time.

use bursar_aip::id::UserId;
use bursar_contracts::wallet::v1::{
    BatchMode, GetBalanceAtRequest, ListWalletDaysRequest, Posting, TimeBasis, Wallet,
};
use bursar_testkit::with_token;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use time::{Duration, OffsetDateTime};
use tonic::Code;

use crate::bookkeeper::{
    Booked, Bookkeeper, booked, project, sum, timestamp, wallet_id, without_projector,
};
use crate::random_books::{Teller, story};
use crate::support::{Fixture, applied, deposit, reason};

/// How many random histories are tried.
const CASES: u32 = 16;
const BASES: [TimeBasis; 2] = [TimeBasis::Effective, TimeBasis::Recorded];

/// The instants at which a balance may be wrong: those of entries, and right
/// before and after them.
fn instants(entries: &[Booked]) -> Vec<OffsetDateTime> {
    let micro = Duration::MICROSECOND;
    let mut instants: Vec<OffsetDateTime> = entries
        .iter()
        .flat_map(|entry| [entry.effective_at, entry.recorded_at])
        .flat_map(|at| [at - micro, at, at + micro])
        .collect();
    instants.extend([
        time::macros::datetime!(2000-01-01 00:00 UTC),
        time::macros::datetime!(2100-01-01 00:00 UTC),
    ]);
    instants.sort_unstable();
    instants.dedup();
    instants
}

/// Compares the balance at every `stride`th of those instants, by both times,
/// with the sum of the entries up to it.
async fn assert_replayed(books: &Bookkeeper, wallet: &Wallet, entries: &[Booked], stride: usize) {
    for at in instants(entries).into_iter().step_by(stride) {
        for basis in BASES {
            let until = entries.iter().filter(|entry| entry.time(basis) <= at);
            let answered = books.balance_at(wallet, at, basis).await;
            assert_eq!(answered, sum(until), "{basis:?} at {at}");
        }
    }
}

/// At every instant the balance is the sum of the entries up to it, by either
/// time, with the projector stopped, half way, and done.
#[test]
fn balances_are_the_replayed_sums() {
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
            for batch in &story[..half] {
                teller.tell(batch).await;
            }
            project(pool, &teller.wallet).await;
            for batch in &story[half..] {
                teller.tell(batch).await;
            }
            let entries = booked(pool, &teller.wallet).await;
            assert_replayed(&books, &teller.wallet, &entries, 3).await;
            project(pool, &teller.wallet).await;
            assert_replayed(&books, &teller.wallet, &entries, 3).await;
            sqlx::query("DELETE FROM projection_cursors WHERE wallet_id = $1")
                .bind(wallet_id(&teller.wallet).uuid())
                .execute(pool)
                .await
                .expect("a cursor is forgotten");
            assert_replayed(&books, &teller.wallet, &entries, 5).await;
            Ok::<_, TestCaseError>(())
        })
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    runtime.block_on(fixture.verify());
}

/// A history of thousands of entries is right on both sides of its snapshots, and
/// while the projector has come to its middle.
#[tokio::test]
async fn long_histories_are_exact() {
    let fixture = without_projector().await;
    let books = Bookkeeper::of(&fixture);
    let (owner, pool) = (UserId::generate(), &fixture.database.pool);
    let wallet = fixture.open(owner, "EUR").await;
    let mut ledger = fixture.ledger();
    for round in 0..3_i64 {
        let postings = (0..850_i64).map(|index| {
            let is_backdated = index % 97 == 0;
            let shift = Duration::hours(index % 50 - 30);
            let effective_at = bursar_server::now() + shift;
            Posting {
                effective_at: is_backdated.then(|| timestamp(effective_at)),
                ..deposit(&wallet, 1 + (index + round) % 9)
            }
        });
        for result in &ledger.post(postings.collect(), BatchMode::Atomic).await {
            applied(result);
        }
        if round == 1 {
            project(pool, &wallet).await;
        }
    }
    let entries = booked(pool, &wallet).await;
    assert_eq!(entries.len(), 2_550);
    let snapshots: Vec<i64> = sqlx::query_scalar(
        "SELECT version FROM wallet_snapshots WHERE wallet_id = $1 ORDER BY version",
    )
    .bind(wallet_id(&wallet).uuid())
    .fetch_all(pool)
    .await
    .expect("snapshots");
    assert_eq!(snapshots, [1_000]);
    assert_replayed(&books, &wallet, &entries, 7).await;
    project(pool, &wallet).await;
    assert_replayed(&books, &wallet, &entries, 7).await;
    fixture.verify().await;
}

/// The answer says at which version the wallet was by the time of recording.
#[tokio::test]
async fn the_version_is_told() {
    let fixture = Fixture::start().await;
    let books = Bookkeeper::of(&fixture);
    let wallet = fixture.funded("EUR", 5).await;
    applied(&fixture.ledger().post_one(deposit(&wallet, 2)).await);
    let entries = booked(&fixture.database.pool, &wallet).await;
    let request = |basis: TimeBasis| GetBalanceAtRequest {
        wallet_id: wallet.wallet_id.clone(),
        at: Some(timestamp(entries[0].recorded_at)),
        basis: basis.into(),
    };
    let mut client = books.history.clone();
    for (basis, version) in [(TimeBasis::Recorded, 1), (TimeBasis::Effective, 2)] {
        let answer = client.get_balance_at(books.call(request(basis))).await;
        let answer = answer.expect("a balance").into_inner();
        assert_eq!((answer.version, answer.basis()), (version, basis));
        assert_eq!(answer.currency_code, "EUR");
        assert_eq!(answer.at, Some(timestamp(entries[0].recorded_at)));
        assert_eq!(answer.balance.expect("a balance").available_minor, 5);
    }
}

/// Others' wallets are not found; what is wrong with a request is named.
#[tokio::test]
async fn histories_are_their_owners() {
    let fixture = Fixture::start().await;
    let mut client = Bookkeeper::of(&fixture).history;
    let user = UserId::generate();
    let wallet = fixture.open(user, "EUR").await;
    let (own, stranger) = (
        fixture.tokens.user(user),
        fixture.tokens.user(UserId::generate()),
    );
    let request = GetBalanceAtRequest {
        wallet_id: wallet.wallet_id.clone(),
        at: Some(timestamp(bursar_server::now())),
        basis: TimeBasis::Unspecified.into(),
    };
    let answer = client
        .get_balance_at(with_token(request.clone(), &own))
        .await;
    let answer = answer.expect("their own").into_inner();
    assert_eq!(answer.basis(), TimeBasis::Effective);
    let hidden = client
        .get_balance_at(with_token(request.clone(), &stranger))
        .await;
    let hidden = hidden.expect_err("not theirs");
    assert_eq!(hidden.code(), Code::NotFound);
    assert_eq!(reason(&hidden), "WALLET_NOT_FOUND");
    let without = GetBalanceAtRequest {
        at: None,
        ..request.clone()
    };
    let refused = client.get_balance_at(with_token(without, &own)).await;
    assert_field(&refused.expect_err("no instant"), "at");
    let mut late = request;
    late.at = Some(prost_types::Timestamp {
        seconds: i64::MAX,
        nanos: 0,
    });
    let refused = client.get_balance_at(with_token(late, &own)).await;
    assert_field(&refused.expect_err("no such instant"), "at");
    let days = ListWalletDaysRequest {
        wallet_id: wallet.wallet_id.clone(),
        from_day: "2026-02-30".to_owned(),
        to_day: "2026-03-01".to_owned(),
        ..ListWalletDaysRequest::default()
    };
    let refused = client
        .list_wallet_days(with_token(days.clone(), &own))
        .await;
    assert_field(&refused.expect_err("no such day"), "from_day");
    let days = ListWalletDaysRequest {
        from_day: "2026-02-01".to_owned(),
        ..days
    };
    let hidden = client.list_wallet_days(with_token(days, &stranger)).await;
    assert_eq!(reason(&hidden.expect_err("not theirs")), "WALLET_NOT_FOUND");
}

/// Checks that a refusal names a field.
pub(crate) fn assert_field(status: &tonic::Status, field: &str) {
    use bursar_status::StatusExt;
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_error_details();
    let violations = &details.bad_request().expect("a field").field_violations;
    assert_eq!(violations[0].field, field);
}

//! Asking for drift and for rebuilds, and a wallet to try them on.

use bursar_contracts::wallet::v1::{
    BatchMode, DetectDriftRequest, DetectDriftResponse, Drift, GetRebuildRequest,
    ProjectionRebuild, RebuildStatus, Wallet,
};
use sqlx::{AssertSqlSafe, PgPool};

use crate::bookkeeper::{Bookkeeper, project};
use crate::random_books::{Deed, Teller, When};
use crate::support::{Fixture, deposit, eventually};

pub(crate) async fn drift(books: &Bookkeeper, wallet: &Wallet) -> DetectDriftResponse {
    let request = DetectDriftRequest {
        wallet_id: wallet.wallet_id.clone(),
        ..DetectDriftRequest::default()
    };
    let answer = books
        .projections
        .clone()
        .detect_drift(books.call(request))
        .await;
    answer.expect("an answer").into_inner()
}

/// The differences of all wallets, page by page.
pub(crate) async fn all_drift(books: &Bookkeeper, page_size: i32) -> (i64, Vec<Drift>) {
    let (mut checked, mut drifts, mut token) = (0, Vec::new(), String::new());
    loop {
        let request = DetectDriftRequest {
            wallet_id: String::new(),
            page_size,
            page_token: token,
        };
        let answer = books
            .projections
            .clone()
            .detect_drift(books.call(request))
            .await;
        let answer = answer.expect("a page").into_inner();
        assert!(answer.skipped_wallet_ids.is_empty());
        checked += answer.wallets_checked;
        drifts.extend(answer.drifts);
        token = answer.next_page_token;
        if token.is_empty() {
            return (checked, drifts);
        }
    }
}

pub(crate) async fn get(books: &Bookkeeper, rebuild: &ProjectionRebuild) -> ProjectionRebuild {
    let request = GetRebuildRequest {
        rebuild_id: rebuild.rebuild_id.clone(),
    };
    let answer = books
        .projections
        .clone()
        .get_rebuild(books.call(request))
        .await;
    let answer = answer.expect("a rebuild").into_inner();
    answer.rebuild.expect("a rebuild is answered")
}

pub(crate) async fn completed(
    books: &Bookkeeper,
    rebuild: &ProjectionRebuild,
) -> ProjectionRebuild {
    eventually("the rebuild is completed", async || {
        get(books, rebuild).await.status() == RebuildStatus::Completed
    })
    .await;
    get(books, rebuild).await
}

pub(crate) async fn edit(superuser: &PgPool, statement: &str) {
    let done = sqlx::query(AssertSqlSafe(statement.to_owned()))
        .execute(superuser)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
    assert!(done.rows_affected() > 0, "{statement}");
}

/// A wallet of more than a thousand entries, some of them displaced, projected.
pub(crate) async fn projected_wallet(fixture: &Fixture) -> Wallet {
    let mut teller = Teller::start(fixture).await;
    teller
        .tell(&[
            (Deed::Deposit(50), When::Shifted(-200_000)),
            (Deed::Place(10), When::Now),
            (Deed::Deposit(5), When::Shifted(100_000)),
        ])
        .await;
    let many = (0..1_000).map(|_| deposit(&teller.wallet, 2)).collect();
    fixture.ledger().post(many, BatchMode::Atomic).await;
    project(&fixture.database.pool, &teller.wallet).await;
    teller.wallet
}

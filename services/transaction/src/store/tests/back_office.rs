//! What operators move, on the real database.

use bursar_aip::id::CampaignId;

use super::*;
use crate::domain::{Adjustment, AdjustmentDirection, AdjustmentReason};
use crate::store::lists::{self, Page};

fn adjustment(direction: AdjustmentDirection, reason: AdjustmentReason) -> Adjustment {
    Adjustment {
        wallet: WalletId::generate(),
        direction,
        reason,
        corrects: None,
    }
}

/// Every form of an adjustment, and a grant.
fn all() -> Vec<Movement> {
    let owner = UserId::generate();
    let directions = [
        AdjustmentDirection::Credit,
        AdjustmentDirection::Debit { owner },
    ];
    let mut all = vec![Movement::BonusGrant {
        campaign: CampaignId::generate(),
        to: WalletId::generate(),
    }];
    for (reason, direction) in AdjustmentReason::ALL.into_iter().zip(directions.repeat(3)) {
        all.push(Movement::Adjustment(adjustment(direction, reason)));
        all.push(Movement::Adjustment(Adjustment {
            corrects: Some(TransactionId::generate()),
            ..adjustment(direction, reason)
        }));
    }
    all
}

/// Whatever an operator moves is stored such that the log folds to the row, be it done or
/// refused.
#[tokio::test]
async fn the_log_of_the_back_office_folds_to_the_row() {
    let database = database().await;
    for movement in all() {
        for end in [posted(), refused()] {
            let (mut stored, _) = begin(&database, movement.clone(), LEASE).await;
            let step = step(&stored.transaction, end, &TERMS, now()).expect("it fits");
            write(&database, &mut stored, step).await;
        }
    }
}

/// A debit is in its payer's list from its beginning; a credit and a grant are in nobody's
/// but the operator's before they are done.
#[tokio::test]
async fn owners_see_what_is_taken_from_them() {
    let database = database().await;
    let page = Page {
        before: None,
        limit: 100,
    };
    for movement in all() {
        let payer = movement.payer();
        let wallet = movement.from_wallet().or(movement.to_wallet());
        let (mut stored, _) = begin(&database, movement, LEASE).await;
        let step = step(&stored.transaction, posted(), &TERMS, now()).expect("it fits");
        let mut conn = database.pool.acquire().await.expect("a connection");
        if let Some(payer) = payer {
            let listed = lists::of_user(&mut conn, &stored.tenant, payer, wallet, page).await;
            assert_eq!(listed.expect("readable"), [stored.clone()]);
        }
        drop(conn);
        write(&database, &mut stored, step).await;
        let mut conn = database.pool.acquire().await.expect("a connection");
        let owner = stored.transaction.beneficiary.expect("it reached somebody");
        let listed = lists::of_user(&mut conn, &stored.tenant, owner, wallet, page).await;
        let listed = listed.expect("readable");
        let to = stored.transaction.movement.to_wallet();
        assert_eq!(listed.contains(&stored), to.is_some());
    }
}

/// Only an adjustment may take more than 200 characters to explain.
#[tokio::test]
async fn an_adjustment_may_be_explained_at_length() {
    let database = database().await;
    for (movement, is_taken) in all().into_iter().map(|one| {
        let is_adjustment = one.adjustment().is_some();
        (one, is_adjustment)
    }) {
        let (stored, _) = begin(&database, movement, LEASE).await;
        let done =
            sqlx::query("UPDATE transactions SET description = $2 WHERE transaction_id = $1")
                .bind(stored.transaction.id.uuid())
                .bind("ä".repeat(500))
                .execute(&database.owner)
                .await;
        assert_eq!(done.is_ok(), is_taken);
    }
}

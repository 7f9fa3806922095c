//! PostBonusGrant: a grant as the one posting of a transaction.

use bursar_aip::id::{CampaignId, GrantId, TransactionId, WalletId};
use bursar_contracts::wallet::v1::{
    Campaign, CreateCampaignRequest, GetBonusGrantRequest, PostBonusGrantRequest, PostingKind,
    PostingOrigin, PostingResult, RejectionReason, Wallet,
};
use bursar_testkit::with_token;
use tonic::{Code, Status};
use uuid::Uuid;

use super::campaigns::close_window;
use super::office::{Office, euros, plain};
use crate::support::{Fixture, applied, leg, posting, rejected, settlement};

/// A grant with new ids.
fn new_grant(campaign: &Campaign, wallet: &Wallet, minor_units: i64) -> PostBonusGrantRequest {
    PostBonusGrantRequest {
        posting_id: Uuid::now_v7().to_string(),
        transaction_id: TransactionId::generate().to_string(),
        grant_id: GrantId::generate().to_string(),
        campaign_id: campaign.campaign_id.clone(),
        wallet_id: wallet.wallet_id.clone(),
        amount: euros(minor_units),
        origin: Some(PostingOrigin {
            actor: "service:transaction".to_owned(),
            correlation_id: "abc".to_owned(),
        }),
    }
}

async fn post(fixture: &Fixture, request: PostBonusGrantRequest) -> Result<PostingResult, Status> {
    let mut poster = fixture.ledger();
    let request = with_token(request, &poster.token);
    let response = poster.client.post_bonus_grant(request).await?;
    Ok(response.into_inner().result.expect("a result"))
}

/// An id grants once: its duplicates, and a repetition by somebody else after the campaign
/// is over, give the first result; another grant with the id is refused.
#[tokio::test]
async fn an_id_grants_once() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let campaign = office.create(plain()).await;
    let wallet = fixture.funded("EUR", 0).await;
    let request = new_grant(&campaign, &wallet, 100);
    let calls = (0..8).map(|_| post(&fixture, request.clone()));
    let results = futures::future::join_all(calls).await;
    let results: Vec<_> = results
        .into_iter()
        .map(|one| one.expect("posted"))
        .collect();
    assert_eq!(results.iter().filter(|one| !one.replayed).count(), 1);
    let first = applied(&results[0]).clone();
    assert!(results.iter().all(|one| *applied(one) == first));
    assert_eq!(first.legs[1].owner_user_id, wallet.owner_user_id);

    close_window(&fixture, &campaign).await;
    let again = PostBonusGrantRequest {
        origin: None,
        ..request.clone()
    };
    let again = post(&fixture, again).await.expect("it is there");
    assert!(again.replayed);
    assert_eq!(*applied(&again), first);
    let other = PostBonusGrantRequest {
        amount: euros(101),
        ..request.clone()
    };
    let other = post(&fixture, other).await.expect("an answer");
    assert_eq!(rejected(&other).0, RejectionReason::PostingIdReused);

    assert_eq!(fixture.balance(&wallet).await.bonus_minor, 100);
    let found = GetBonusGrantRequest {
        grant_id: request.grant_id,
    };
    let found = office
        .client()
        .get_bonus_grant(with_token(found, &office.token))
        .await;
    let found = found.expect("it is there").into_inner().grant;
    assert_eq!(found.expect("a grant").amount_minor, 100);
    let transaction: Uuid =
        sqlx::query_scalar("SELECT transaction_id FROM postings WHERE id = $1::uuid")
            .bind(&request.posting_id)
            .fetch_one(&fixture.database.pool)
            .await
            .expect("it belongs to a transaction");
    assert_eq!(format!("txn_{transaction}"), request.transaction_id);
    fixture.verify().await;
}

/// An id that another posting has taken never grants, also where the campaign would not
/// have granted anyway.
#[tokio::test]
async fn a_taken_id_never_grants() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let campaign = office.create(plain()).await;
    let wallet = fixture.funded("EUR", 0).await;
    let legs = vec![settlement("EUR", 1), settlement("EUR", -1)];
    let bar = posting(PostingKind::Adjustment, legs);
    applied(&fixture.ledger().post_one(bar.clone()).await);
    let request = PostBonusGrantRequest {
        posting_id: bar.posting_id,
        ..new_grant(&campaign, &wallet, 100)
    };
    let barred = post(&fixture, request.clone()).await.expect("an answer");
    assert_eq!(rejected(&barred).0, RejectionReason::PostingIdReused);
    close_window(&fixture, &campaign).await;
    let barred = post(&fixture, request).await.expect("an answer");
    assert_eq!(rejected(&barred).0, RejectionReason::PostingIdReused);
    assert_eq!(office.totals(&campaign).await.grants, 0);

    let granted = new_grant(&office.create(plain()).await, &wallet, 100);
    applied(&post(&fixture, granted.clone()).await.expect("an answer"));
    let legs = vec![settlement("EUR", -1), leg(&wallet, 1)];
    let mut late = posting(PostingKind::Deposit, legs);
    late.posting_id = granted.posting_id;
    let late = fixture.ledger().post_one(late).await;
    assert_eq!(rejected(&late).0, RejectionReason::PostingIdReused);
    fixture.verify().await;
}

/// What forbids a grant is told as a result, and nothing of it is in the ledger; nobody but
/// a service may ask.
#[tokio::test]
async fn refusals_are_results() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let capped = office
        .create(CreateCampaignRequest {
            per_user_cap_minor: 300,
            ..plain()
        })
        .await;
    let open = office.create(plain()).await;
    let over = office.create(plain()).await;
    close_window(&fixture, &over).await;
    let wallet = fixture.funded("EUR", 0).await;
    let dollars = fixture.funded("USD", 0).await;
    let closed = fixture.funded("EUR", 0).await;
    fixture.set_status(&closed, "closed").await;
    let absent = Wallet {
        wallet_id: WalletId::generate().to_string(),
        ..wallet.clone()
    };
    let unknown = Campaign {
        campaign_id: CampaignId::generate().to_string(),
        ..open.clone()
    };
    let mut as_dollars = new_grant(&open, &dollars, 1);
    as_dollars.amount.as_mut().expect("given").currency_code = "USD".to_owned();
    for (request, reason) in [
        (
            new_grant(&capped, &wallet, 301),
            RejectionReason::GrantCapExceeded,
        ),
        (
            new_grant(&open, &wallet, 1_001),
            RejectionReason::InsufficientFunds,
        ),
        (
            new_grant(&over, &wallet, 1),
            RejectionReason::CampaignNotActive,
        ),
        (
            new_grant(&unknown, &wallet, 1),
            RejectionReason::CampaignNotFound,
        ),
        (
            new_grant(&open, &dollars, 1),
            RejectionReason::CurrencyMismatch,
        ),
        (as_dollars, RejectionReason::CurrencyMismatch),
        (new_grant(&open, &closed, 1), RejectionReason::WalletClosed),
        (
            new_grant(&open, &absent, 1),
            RejectionReason::WalletNotFound,
        ),
    ] {
        let result = post(&fixture, request).await.expect("an answer");
        assert_eq!(rejected(&result).0, reason);
    }
    for campaign in [&capped, &open, &over] {
        assert_eq!(office.totals(campaign).await.grants, 0);
    }
    let by_user = with_token(new_grant(&open, &wallet, 1), &office.token);
    let by_user = fixture.ledger().client.post_bonus_grant(by_user).await;
    assert_eq!(
        by_user.expect_err("no service").code(),
        Code::PermissionDenied
    );
    fixture.verify().await;
}

//! GrantBonus, GetBonusGrant, ListBonusGrants.

use bursar_aip::id::{CampaignId, GrantId, UserId, WalletId};
use bursar_contracts::wallet::v1::{
    BonusGrantStatus, Campaign, CreateCampaignRequest, GetBonusGrantRequest,
    ListBonusGrantsRequest, Wallet,
};
use bursar_testkit::with_token;
use tonic::Code;

use super::campaigns::{close_window, forget_keys};
use super::office::{
    Office, fields, grant_request, is_replay, keyed, metadata, new, owner_token, plain, user_token,
};
use crate::support::{Fixture, reason, uuid_of};

/// A grant is bonus money of the wallet, out of the budget, and one event.
#[tokio::test]
async fn a_grant_is_bonus_money() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let campaign = office
        .create(CreateCampaignRequest {
            grant_ttl_seconds: 3_600,
            ..plain()
        })
        .await;
    let wallet = fixture.funded("EUR", 50).await;
    let grant = office
        .grant(&wallet, &campaign, 300)
        .await
        .expect("granted");
    assert_eq!(grant.wallet_id, wallet.wallet_id);
    assert_eq!(grant.owner_user_id, wallet.owner_user_id);
    assert_eq!(grant.campaign_id, campaign.campaign_id);
    assert_eq!(grant.currency_code, "EUR");
    assert_eq!((grant.amount_minor, grant.remaining_minor), (300, 300));
    assert_eq!(grant.status(), BonusGrantStatus::Active);
    let lasts = |at: &Option<prost_types::Timestamp>| at.as_ref().expect("a time").seconds;
    let lifetime = lasts(&grant.expires_at) - lasts(&grant.granted_at);
    assert!((3_590..=3_600).contains(&lifetime), "{lifetime}");
    let balance = fixture.balance(&wallet).await;
    assert_eq!((balance.available_minor, balance.bonus_minor), (50, 300));
    let totals = office.totals(&campaign).await;
    assert_eq!((totals.left_minor, totals.granted_minor), (700, 300));
    assert_eq!((totals.outstanding_minor, totals.grants), (300, 1));
    let told: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM event_log WHERE kind = 'wallet.credited' AND aggregate_id = $1",
    )
    .bind(uuid_of(&wallet.wallet_id))
    .fetch_one(&fixture.database.pool)
    .await
    .expect("events");
    assert_eq!(told, 2);
    fixture.verify().await;
}

/// A key grants once: its duplicates, a repetition after its answer was lost,
/// and one after the campaign is over give the same grant.
#[tokio::test]
async fn a_key_grants_once() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let campaign = office.create(plain()).await;
    let wallet = fixture.funded("EUR", 0).await;
    let call = || {
        let request = grant_request(&wallet, &campaign, 100);
        keyed(request, &office.token, "once")
    };
    let calls = (0..8).map(|_| {
        let (mut client, call) = (office.client(), call());
        tokio::spawn(async move { client.grant_bonus(call).await })
    });
    let mut answers = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        answers.push(call.await.expect("no panic").expect("granted"));
    }
    assert_eq!(answers.iter().filter(|answer| is_replay(answer)).count(), 7);
    let first = answers[0].get_ref().clone();
    assert!(answers.iter().all(|answer| *answer.get_ref() == first));
    forget_keys(&fixture).await;
    close_window(&fixture, &campaign).await;
    let lost = office.client().grant_bonus(call()).await.expect("found");
    assert!(!is_replay(&lost));
    assert_eq!(*lost.get_ref(), first);
    forget_keys(&fixture).await;
    let other = grant_request(&wallet, &campaign, 101);
    let other = keyed(other, &office.token, "once");
    let reused = office.client().grant_bonus(other).await.expect_err("other");
    assert_eq!(reason(&reused), "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(fixture.balance(&wallet).await.bonus_minor, 100);
    fixture.verify().await;
}

/// A grant is refused for the campaign's window, cap and budget, for another
/// currency, and for wallets that are closed or not there; nothing is granted
/// then, and a refusal is repeated to its key.
#[tokio::test]
async fn grants_are_refused() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let capped = office
        .create(CreateCampaignRequest {
            per_user_cap_minor: 300,
            ..plain()
        })
        .await;
    let uncapped = office.create(plain()).await;
    let over = office.create(plain()).await;
    close_window(&fixture, &over).await;
    let wallet = fixture.funded("EUR", 0).await;
    let user: UserId = wallet.owner_user_id.parse().expect("a user");
    let second = fixture.open(user, "EUR").await;
    let dollars = fixture.open(user, "USD").await;
    office.grant(&wallet, &capped, 250).await.expect("granted");
    let refuse = async |wallet: &Wallet, campaign: &Campaign, amount, code, why: &str| {
        let refused = office.grant(wallet, campaign, amount).await;
        let refused = refused.expect_err(why);
        assert_eq!((refused.code(), reason(&refused).as_str()), (code, why));
        refused
    };
    let unmet = Code::FailedPrecondition;
    // The cap is the user's, over all wallets.
    let cap = refuse(&second, &capped, 51, unmet, "BONUS_CAP_EXCEEDED").await;
    assert_eq!(metadata(&cap, "granted_minor").as_deref(), Some("250"));
    assert_eq!(metadata(&cap, "cap_minor").as_deref(), Some("300"));
    refuse(&wallet, &uncapped, 1_001, unmet, "BONUS_BUDGET_EXHAUSTED").await;
    let closed = refuse(&wallet, &over, 1, unmet, "BONUS_CAMPAIGN_NOT_ACTIVE").await;
    assert_eq!(metadata(&closed, "status").as_deref(), Some("OVER"));
    let invalid = Code::InvalidArgument;
    let mismatch = refuse(&dollars, &uncapped, 1, invalid, "CURRENCY_MISMATCH").await;
    assert_eq!(fields(&mismatch), ["wallet_id"]);
    let absent = Wallet {
        wallet_id: WalletId::generate().to_string(),
        ..wallet.clone()
    };
    refuse(&absent, &uncapped, 1, Code::NotFound, "WALLET_NOT_FOUND").await;
    let unknown = Campaign {
        campaign_id: CampaignId::generate().to_string(),
        ..uncapped.clone()
    };
    let not_found = "BONUS_CAMPAIGN_NOT_FOUND";
    refuse(&wallet, &unknown, 1, Code::NotFound, not_found).await;
    fixture.set_status(&second, "closed").await;
    refuse(&second, &uncapped, 1, unmet, "WALLET_CLOSED").await;
    let mut as_dollars = grant_request(&wallet, &uncapped, 1);
    as_dollars.amount.as_mut().expect("given").currency_code = "USD".to_owned();
    let refused = office
        .client()
        .grant_bonus(new(as_dollars, &office.token))
        .await
        .expect_err("dollars");
    assert_eq!(fields(&refused), ["amount.currency_code"]);
    let again = || {
        let request = grant_request(&wallet, &capped, 51);
        keyed(request, &office.token, "refused")
    };
    let first = office.client().grant_bonus(again()).await.expect_err("cap");
    let second = office.client().grant_bonus(again()).await.expect_err("cap");
    assert_eq!(first.details(), second.details());
    assert!(second.metadata().contains_key("idempotency-replayed"));
    assert_eq!(office.totals(&capped).await.grants, 1);
    assert_eq!(office.totals(&uncapped).await.grants, 0);
    fixture.verify().await;
}

/// A frozen wallet still gets bonus money; it may not spend it.
#[tokio::test]
async fn a_frozen_wallet_is_granted() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let campaign = office.create(plain()).await;
    let wallet = fixture.funded("EUR", 0).await;
    fixture.set_status(&wallet, "frozen").await;
    office.grant(&wallet, &campaign, 10).await.expect("granted");
    fixture.verify().await;
}

/// The platform's own wallets are granted nothing, whoever knows their ids.
#[tokio::test]
async fn a_budget_is_granted_nothing() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let campaign = office.create(plain()).await;
    let budget: uuid::Uuid = sqlx::query_scalar("SELECT budget_wallet_id FROM bonus_campaigns")
        .fetch_one(&fixture.database.pool)
        .await
        .expect("one campaign");
    let budget = Wallet {
        wallet_id: WalletId::from_uuid(budget).to_string(),
        ..Wallet::default()
    };
    let refused = office.grant(&budget, &campaign, 1).await;
    assert_eq!(reason(&refused.expect_err("no user's")), "WALLET_NOT_FOUND");
}

/// Users see their own grants only; another's is like one that is not there.
#[tokio::test]
async fn grants_are_their_owners() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let campaign = office.create(plain()).await;
    let wallet = fixture.funded("EUR", 0).await;
    let grant = office.grant(&wallet, &campaign, 10).await.expect("granted");
    let owner = owner_token(&fixture.tokens, &wallet);
    let stranger = user_token(&fixture.tokens, UserId::generate());
    let get = |grant_id: &str| GetBonusGrantRequest {
        grant_id: grant_id.to_owned(),
    };
    let list = || ListBonusGrantsRequest {
        wallet_id: wallet.wallet_id.clone(),
        ..ListBonusGrantsRequest::default()
    };
    let mut client = office.client();
    let found = client
        .get_bonus_grant(with_token(get(&grant.grant_id), &owner))
        .await
        .expect("the owner sees it");
    assert_eq!(found.into_inner().grant.as_ref(), Some(&grant));
    let listed = client
        .list_bonus_grants(with_token(list(), &owner))
        .await
        .expect("the owner sees them");
    assert_eq!(listed.into_inner().grants, std::slice::from_ref(&grant));
    let absent = GrantId::generate().to_string();
    for (token, id) in [(&stranger, &grant.grant_id), (&owner, &absent)] {
        let refused = client.get_bonus_grant(with_token(get(id), token)).await;
        let refused = refused.expect_err("not the caller's");
        assert_eq!(refused.code(), Code::NotFound);
        assert_eq!(reason(&refused), "BONUS_GRANT_NOT_FOUND");
    }
    let refused = client
        .list_bonus_grants(with_token(list(), &stranger))
        .await;
    assert_eq!(
        reason(&refused.expect_err("not the caller's")),
        "WALLET_NOT_FOUND"
    );
    let granting = new(grant_request(&wallet, &campaign, 1), &owner);
    let refused = client.grant_bonus(granting).await;
    assert_eq!(
        refused.expect_err("no operator").code(),
        Code::PermissionDenied
    );
}

/// Pages go from the newest grant to the oldest, of all or of one status, and a
/// token continues only its own list.
#[tokio::test]
async fn grants_are_listed() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let campaign = office
        .create(CreateCampaignRequest {
            conversion: Some(super::office::at_once()),
            ..plain()
        })
        .await;
    let wallet = fixture.funded("EUR", 0).await;
    let mut grants = Vec::new();
    for amount in 1..=5 {
        grants.push(
            office
                .grant(&wallet, &campaign, amount)
                .await
                .expect("granted"),
        );
    }
    office
        .convert(&wallet, &grants[2])
        .await
        .expect("converted");
    let list = |status: BonusGrantStatus, page_token: String| ListBonusGrantsRequest {
        wallet_id: wallet.wallet_id.clone(),
        status: status.into(),
        page_size: 2,
        page_token,
    };
    for (status, expected) in [
        (BonusGrantStatus::Unspecified, vec![5, 4, 3, 2, 1]),
        (BonusGrantStatus::Active, vec![5, 4, 2, 1]),
        (BonusGrantStatus::Converted, vec![3]),
        (BonusGrantStatus::Expired, vec![]),
    ] {
        let (mut amounts, mut token) = (Vec::new(), String::new());
        loop {
            let request = with_token(list(status, token), &office.token);
            let page = office.client().list_bonus_grants(request).await;
            let page = page.expect("a page").into_inner();
            amounts.extend(page.grants.iter().map(|grant| grant.amount_minor));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(amounts, expected);
    }
    let request = with_token(list(BonusGrantStatus::Active, String::new()), &office.token);
    let page = office.client().list_bonus_grants(request).await;
    let token = page.expect("a page").into_inner().next_page_token;
    let other = with_token(list(BonusGrantStatus::Spent, token), &office.token);
    let refused = office.client().list_bonus_grants(other).await;
    assert_eq!(
        reason(&refused.expect_err("another list")),
        "PAGE_TOKEN_INVALID"
    );
}

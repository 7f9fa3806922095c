//! CreateCampaign, GetCampaign, ListCampaigns, FundCampaign, EndCampaign.

use bursar_aip::id::{CampaignId, UserId};
use bursar_contracts::wallet::v1::{
    Campaign, CampaignStatus, ConversionRule, CreateCampaignRequest, EndCampaignRequest,
    FundCampaignRequest, GetCampaignRequest, ListCampaignsRequest,
};
use bursar_testkit::with_token;
use prost_types::Timestamp;
use tonic::Code;

use super::office::{Office, euros, fields, is_replay, keyed, metadata, new, plain, user_token};
use crate::support::{Fixture, reason};

/// So many seconds from now.
fn in_seconds(seconds: i64) -> Option<Timestamp> {
    let now = bursar_server::now().unix_timestamp();
    Some(Timestamp {
        seconds: now + seconds,
        nanos: 0,
    })
}

/// A new campaign has its budget out of the pool, and says what it was told.
#[tokio::test]
async fn a_campaign_has_its_budget() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let request = CreateCampaignRequest {
        per_user_cap_minor: 300,
        starts_at: in_seconds(-60),
        ends_at: in_seconds(600),
        grant_ttl_seconds: 86_400,
        conversion: Some(ConversionRule {
            min_age_seconds: 60,
            min_spend_minor: 500,
            automatic: true,
        }),
        ..plain()
    };
    let created = office.create(request.clone()).await;
    assert_eq!(created.status(), CampaignStatus::Active);
    assert_eq!(created.name, "spring");
    assert_eq!(created.per_user_cap_minor, 300);
    assert_eq!(created.starts_at, request.starts_at);
    assert_eq!(created.ends_at, request.ends_at);
    assert_eq!(created.grant_ttl_seconds, 86_400);
    assert_eq!(created.conversion, request.conversion);
    assert_eq!(created.ended_at, None);
    let (found, totals) = office.campaign(&created).await;
    assert_eq!(found, created);
    assert_eq!((totals.funded_minor, totals.left_minor), (1_000, 1_000));
    assert_eq!((totals.granted_minor, totals.grants), (0, 0));
    assert_eq!(office.pool_minor().await, -1_000);
    let floor: i64 = sqlx::query_scalar(
        "SELECT min_available FROM wallets
         WHERE system_purpose = 'bonus_pool' AND system_name <> ''",
    )
    .fetch_one(&fixture.database.pool)
    .await
    .expect("one budget");
    assert_eq!(floor, 0);
    fixture.verify().await;
}

/// A key creates one campaign and funds it once, however often it is used at
/// once; another request with it is refused.
#[tokio::test]
async fn a_key_creates_one_campaign() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let calls = (0..8).map(|_| {
        let (mut client, token) = (office.client(), office.token.clone());
        tokio::spawn(async move { client.create_campaign(keyed(plain(), &token, "one")).await })
    });
    let mut answers = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        answers.push(call.await.expect("no panic").expect("created"));
    }
    let replays = answers.iter().filter(|answer| is_replay(answer)).count();
    assert_eq!(replays, 7);
    let first = answers[0].get_ref().campaign.clone();
    assert!(
        answers
            .iter()
            .all(|answer| answer.get_ref().campaign == first)
    );
    assert_eq!(office.pool_minor().await, -1_000);
    let other = CreateCampaignRequest {
        budget_minor: 2_000,
        ..plain()
    };
    let reused = office
        .client()
        .create_campaign(keyed(other, &office.token, "one"))
        .await
        .expect_err("another request");
    assert_eq!(reason(&reused), "IDEMPOTENCY_KEY_REUSED");
    let keyless = office
        .client()
        .create_campaign(with_token(plain(), &office.token))
        .await
        .expect_err("no key");
    assert_eq!(reason(&keyless), "IDEMPOTENCY_KEY_REQUIRED");
    fixture.verify().await;
}

/// Cut off between its posting and its answer, a creation goes on where it was:
/// the same key finds the same campaign, and no second budget.
#[tokio::test]
async fn a_creation_that_was_cut_off_goes_on() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let create = || keyed(plain(), &office.token, "cut");
    let first = office.client().create_campaign(create()).await;
    let first = first.expect("created").into_inner();
    forget_keys(&fixture).await;
    let again = office.client().create_campaign(create()).await;
    let again = again.expect("found");
    assert!(!is_replay(&again));
    assert_eq!(again.into_inner(), first);
    assert_eq!(office.pool_minor().await, -1_000);
    forget_keys(&fixture).await;
    let other = CreateCampaignRequest {
        name: "autumn".to_owned(),
        ..plain()
    };
    let other = keyed(other, &office.token, "cut");
    let reused = office.client().create_campaign(other).await;
    let reused = reused.expect_err("another request");
    assert_eq!(reason(&reused), "IDEMPOTENCY_KEY_REUSED");
    fixture.verify().await;
}

/// Forgets all keys, as if the answers had never been committed.
pub(super) async fn forget_keys(fixture: &Fixture) {
    sqlx::query("DELETE FROM idempotency_keys")
        .execute(&fixture.database.owner)
        .await
        .expect("the owner may delete keys");
}

/// Requests that make no sense are refused with the field named.
#[tokio::test]
async fn senseless_campaigns_are_refused() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let cases = [
        (
            CreateCampaignRequest {
                currency_code: "ZZZ".to_owned(),
                ..plain()
            },
            "CURRENCY_UNSUPPORTED",
            "currency_code",
        ),
        (
            CreateCampaignRequest {
                starts_at: in_seconds(60),
                ends_at: in_seconds(60),
                ..plain()
            },
            "INVALID_FIELD",
            "ends_at",
        ),
        (
            CreateCampaignRequest {
                ends_at: in_seconds(-1),
                ..plain()
            },
            "INVALID_FIELD",
            "ends_at",
        ),
        (
            CreateCampaignRequest {
                starts_at: Some(Timestamp {
                    seconds: i64::MAX,
                    nanos: 0,
                }),
                ..plain()
            },
            "INVALID_FIELD",
            "starts_at",
        ),
        (
            CreateCampaignRequest {
                budget_minor: 0,
                ..plain()
            },
            "INVALID_FIELD",
            "budget_minor",
        ),
        (
            CreateCampaignRequest {
                name: String::new(),
                ..plain()
            },
            "INVALID_FIELD",
            "name",
        ),
        (
            CreateCampaignRequest {
                grant_ttl_seconds: -1,
                ..plain()
            },
            "INVALID_FIELD",
            "grant_ttl_seconds",
        ),
    ];
    for (request, why, field) in cases {
        let refused = office.try_create(request).await.expect_err("senseless");
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(reason(&refused), why);
        assert_eq!(fields(&refused), [field]);
    }
    let campaigns: i64 = sqlx::query_scalar("SELECT count(*) FROM bonus_campaigns")
        .fetch_one(&fixture.database.pool)
        .await
        .expect("counted");
    assert_eq!(campaigns, 0);
}

/// Pages go from the newest campaign to the oldest, without gaps or repetitions.
#[tokio::test]
async fn campaigns_are_listed() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let mut names = Vec::new();
    for number in 0..5 {
        let name = format!("campaign {number}");
        names.push(name.clone());
        office
            .create(CreateCampaignRequest { name, ..plain() })
            .await;
    }
    names.reverse();
    let list = |page_token: String| ListCampaignsRequest {
        page_size: 2,
        page_token,
    };
    let (mut listed, mut token, mut sizes) = (Vec::new(), String::new(), Vec::new());
    loop {
        let request = with_token(list(token), &office.token);
        let page = office.client().list_campaigns(request).await;
        let page = page.expect("a page").into_inner();
        sizes.push(page.campaigns.len());
        listed.extend(page.campaigns.into_iter().map(|campaign| campaign.name));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((listed, sizes), (names, vec![2, 2, 1]));
    let request = with_token(list("nonsense".to_owned()), &office.token);
    let refused = office.client().list_campaigns(request).await;
    assert_eq!(
        reason(&refused.expect_err("no token")),
        "PAGE_TOKEN_INVALID"
    );
}

/// A campaign gets more budget before and in its window, once for a key.
#[tokio::test]
async fn a_campaign_is_funded() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let scheduled = CreateCampaignRequest {
        starts_at: in_seconds(600),
        ..plain()
    };
    let campaign = office.create(scheduled).await;
    assert_eq!(campaign.status(), CampaignStatus::Scheduled);
    let request = || FundCampaignRequest {
        campaign_id: campaign.campaign_id.clone(),
        amount: euros(500),
    };
    for attempt in 0..3 {
        let call = keyed(request(), &office.token, "more");
        let funded = office.client().fund_campaign(call).await.expect("funded");
        assert_eq!(funded.get_ref().left_minor, 1_500);
        assert_eq!(is_replay(&funded), attempt == 1);
        if attempt == 1 {
            // The third finds its posting in the ledger, though the campaign is
            // over by then.
            forget_keys(&fixture).await;
            close_window(&fixture, &campaign).await;
        }
    }
    let totals = office.totals(&campaign).await;
    assert_eq!((totals.funded_minor, totals.left_minor), (1_500, 1_500));
    let mut dollars = request();
    dollars.amount.as_mut().expect("an amount").currency_code = "USD".to_owned();
    let refused = office
        .client()
        .fund_campaign(new(dollars, &office.token))
        .await
        .expect_err("another currency");
    assert_eq!(reason(&refused), "CURRENCY_MISMATCH");
    assert_eq!(fields(&refused), ["amount.currency_code"]);
    fixture.verify().await;
}

/// Closes a campaign's window, as an operator with the database would.
pub(super) async fn close_window(fixture: &Fixture, campaign: &Campaign) {
    sqlx::query(
        "UPDATE bonus_campaigns
         SET starts_at = now() - interval '2 hours', ends_at = now() - interval '1 hour'
         WHERE id = $1",
    )
    .bind(crate::support::uuid_of(&campaign.campaign_id))
    .execute(&fixture.database.owner)
    .await
    .expect("the owner may move a window");
}

/// Ending a campaign gives its budget back once and for all.
#[tokio::test]
async fn an_ended_campaign_is_over() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let campaign = office.create(plain()).await;
    let wallet = fixture.funded("EUR", 0).await;
    let grant = office
        .grant(&wallet, &campaign, 300)
        .await
        .expect("granted");
    let (ended, returned) = office.end(&campaign).await;
    assert_eq!(ended.status(), CampaignStatus::Ended);
    assert!(ended.ended_at.is_some());
    assert_eq!(returned, 700);
    assert_eq!(office.end(&campaign).await, (ended, 0));
    let totals = office.totals(&campaign).await;
    assert_eq!((totals.funded_minor, totals.left_minor), (300, 0));
    assert_eq!(totals.outstanding_minor, 300);
    assert_eq!(office.pool_minor().await, -300);
    assert_eq!(office.current(&grant).await, grant);
    for refused in [
        office.grant(&wallet, &campaign, 1).await.err(),
        office.fund(&campaign, 1).await.err(),
    ] {
        let refused = refused.expect("it has ended");
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(reason(&refused), "BONUS_CAMPAIGN_NOT_ACTIVE");
        assert_eq!(metadata(&refused, "status").as_deref(), Some("ENDED"));
    }
    fixture.verify().await;
}

/// Campaigns that do not exist are not found, and users have no business here.
#[tokio::test]
async fn campaigns_are_operators_business() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let campaign = office.create(plain()).await;
    let absent = CampaignId::generate().to_string();
    let get = |campaign_id: &str| GetCampaignRequest {
        campaign_id: campaign_id.to_owned(),
    };
    let end = |campaign_id: &str| EndCampaignRequest {
        campaign_id: campaign_id.to_owned(),
    };
    let fund = |campaign_id: &str| FundCampaignRequest {
        campaign_id: campaign_id.to_owned(),
        amount: euros(1),
    };
    let mut client = office.client();
    let token = &office.token;
    let not_found = [
        client
            .get_campaign(with_token(get(&absent), token))
            .await
            .err(),
        client.end_campaign(new(end(&absent), token)).await.err(),
        client.fund_campaign(new(fund(&absent), token)).await.err(),
    ];
    for refused in not_found {
        let refused = refused.expect("absent");
        assert_eq!(refused.code(), Code::NotFound);
        assert_eq!(reason(&refused), "BONUS_CAMPAIGN_NOT_FOUND");
    }
    let user = user_token(&fixture.tokens, UserId::generate());
    let id = &campaign.campaign_id;
    let denied = [
        client.create_campaign(new(plain(), &user)).await.err(),
        client.get_campaign(with_token(get(id), &user)).await.err(),
        client.end_campaign(new(end(id), &user)).await.err(),
        client.fund_campaign(new(fund(id), &user)).await.err(),
        client
            .list_campaigns(with_token(ListCampaignsRequest::default(), &user))
            .await
            .err(),
    ];
    for refused in denied {
        assert_eq!(refused.expect("denied").code(), Code::PermissionDenied);
    }
    assert_eq!(office.totals(&campaign).await.left_minor, 1_000);
}

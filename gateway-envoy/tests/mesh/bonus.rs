//! Bonus money: campaigns, grants, and what becomes of what was granted.

use bursar_contracts::wallet::v1::bonus_service_client::BonusServiceClient;
use bursar_contracts::wallet::v1::{
    BonusGrantStatus, CampaignStatus, ConversionRule, ConvertBonusRequest, CreateCampaignRequest,
    EndCampaignRequest, GetCampaignRequest, GrantBonusRequest,
};
use serde_json::{Value, json};

use crate::grpc;
use crate::holds::{Counter, reason};
use crate::support::{Answer, eur, eventually, minor, new_key, refused, text};

const CAMPAIGNS: &str = "/api/v1/wallet/bonus-campaigns";

/// How long granted money may be spent where a test waits for its end: long
/// enough for a transfer on a busy machine.
const GRANT_SECONDS: i32 = 6;

async fn campaign(counter: &Counter, rules: Value) -> String {
    let mut body = json!({"name": "Welcome", "currency_code": "EUR", "budget_minor": "1000"});
    let rules = rules.as_object().expect("an object").clone();
    body.as_object_mut().expect("an object").extend(rules);
    let created = counter
        .edge
        .pay(CAMPAIGNS, &counter.operator, &new_key(), &body)
        .await
        .ok();
    assert_eq!(created["campaign"]["status"], "CAMPAIGN_STATUS_ACTIVE");
    text(&created["campaign"]["campaign_id"])
}

async fn grant(counter: &Counter, campaign: &str, minor: i64) -> Answer {
    let path = format!("/api/v1/wallet/wallets/{}/bonus-grants", counter.wallet);
    let body = json!({"campaign_id": campaign, "amount": eur(minor)});
    counter
        .edge
        .pay(&path, &counter.operator, &new_key(), &body)
        .await
}

/// Where a campaign's money is.
async fn totals(counter: &Counter, campaign: &str) -> Value {
    let path = format!("{CAMPAIGNS}/{campaign}");
    let found = counter.edge.get(&path, &counter.operator).await.ok();
    found["totals"].clone()
}

/// Granted money pays for a transfer before the wallet's own does, reaches the
/// payee as money for anything, and what is left goes back when its time is over.
#[tokio::test]
async fn a_grant_is_spent_and_its_rest_expires() {
    let counter = Counter::open(500).await;
    let rules = json!({"grant_ttl_seconds": GRANT_SECONDS, "per_user_cap_minor": "400"});
    let campaign = campaign(&counter, rules).await;
    let granted = grant(&counter, &campaign, 300).await.ok();
    let granted = &granted["grant"];
    assert_eq!(granted["status"], "BONUS_GRANT_STATUS_ACTIVE");
    assert_eq!(granted["owner_user_id"], counter.ada.user_id.as_str());
    assert_eq!(counter.balances().await, ([500, 0, 300], [0, 0, 0]));

    let (edge, ada, wallet) = (&counter.edge, &counter.ada, &counter.wallet);
    edge.transfer(ada, wallet, &counter.till, 200).await.ok();
    assert_eq!(counter.balances().await, ([500, 0, 100], [200, 0, 0]));
    let over = grant(&counter, &campaign, 101).await;
    refused(&over, 400, "BONUS_CAP_EXCEEDED");
    let metadata = &over.detail("google.rpc.ErrorInfo")["metadata"];
    assert_eq!(metadata["granted_minor"], "300");
    assert_eq!(metadata["cap_minor"], "400");

    let path = format!("/api/v1/wallet/bonus-grants/{}", text(&granted["grant_id"]));
    let ended = eventually("the grant's end", async || {
        let found = edge.get(&path, &ada.token).await.ok()["grant"].clone();
        (found["status"] != "BONUS_GRANT_STATUS_ACTIVE").then_some(found)
    });
    let ended = ended.await;
    assert_eq!(ended["status"], "BONUS_GRANT_STATUS_EXPIRED");
    assert_eq!(ended["remaining_minor"], "0");
    assert_eq!(counter.balances().await, ([500, 0, 0], [200, 0, 0]));
    let totals = totals(&counter, &campaign).await;
    let seen = [
        "funded",
        "left",
        "granted",
        "outstanding",
        "spent",
        "expired",
    ]
    .map(|name| minor(&totals[format!("{name}_minor")]));
    assert_eq!(seen, [1_000, 800, 300, 0, 200, 100], "{totals:#}");
}

/// A transfer may be paid from both kinds of money; a withdrawal takes none of
/// what was granted.
#[tokio::test]
async fn granted_money_is_for_spending_only() {
    let counter = Counter::open(100).await;
    let campaign = campaign(&counter, json!({})).await;
    grant(&counter, &campaign, 50).await.ok();
    let (edge, ada, wallet) = (&counter.edge, &counter.ada, &counter.wallet);
    let body = json!({"wallet_id": wallet, "amount": eur(101), "provider": "sandbox"});
    let path = "/api/v1/transactions/withdrawals";
    let withdrawal = edge.pay_until_answered(path, &ada.token, &body).await;
    refused(&withdrawal, 400, "INSUFFICIENT_FUNDS");
    let hold = counter.try_place(&json!({"amount": eur(101)})).await;
    refused(&hold, 400, "INSUFFICIENT_FUNDS");
    let transfer = edge.transfer(ada, wallet, &counter.till, 151).await;
    refused(&transfer, 400, "INSUFFICIENT_FUNDS");
    edge.transfer(ada, wallet, &counter.till, 130).await.ok();
    assert_eq!(counter.balances().await, ([20, 0, 0], [130, 0, 0]));
    let budget = grant(&counter, &campaign, 951).await;
    refused(&budget, 400, "BONUS_BUDGET_EXHAUSTED");
}

/// Operators run campaigns; users see their own grants, and nobody else's.
#[tokio::test]
async fn campaigns_are_the_operators() {
    let counter = Counter::open(100).await;
    let campaign = campaign(&counter, json!({})).await;
    let granted = grant(&counter, &campaign, 50).await.ok();
    let id = text(&granted["grant"]["grant_id"]);
    let (edge, ada) = (&counter.edge, &counter.ada);
    let bob = edge.person().await;
    let grants = format!("/api/v1/wallet/wallets/{}/bonus-grants", counter.wallet);
    let one = format!("/api/v1/wallet/bonus-grants/{id}");
    let convert = format!("{one}:convert");
    refused(
        &edge.get(&one, &bob.token).await,
        404,
        "BONUS_GRANT_NOT_FOUND",
    );
    refused(
        &edge.get(&grants, &bob.token).await,
        404,
        "WALLET_NOT_FOUND",
    );
    let others = edge.pay(&convert, &bob.token, &new_key(), &json!({})).await;
    refused(&others, 404, "BONUS_GRANT_NOT_FOUND");
    let ruleless = edge.pay(&convert, &ada.token, &new_key(), &json!({})).await;
    refused(&ruleless, 400, "BONUS_NOT_CONVERTIBLE");
    let listed = edge.get(&grants, &ada.token).await.ok();
    assert_eq!(listed["grants"][0]["grant_id"], id.as_str());

    let of_campaign = format!("{CAMPAIGNS}/{campaign}");
    for path in [CAMPAIGNS, &of_campaign] {
        refused(&edge.get(path, &ada.token).await, 403, "PERMISSION_DENIED");
    }
    let (fund, end) = (format!("{of_campaign}:fund"), format!("{of_campaign}:end"));
    let create = json!({"name": "x", "currency_code": "EUR", "budget_minor": "1"});
    let granting = json!({"campaign_id": campaign, "amount": eur(1)});
    for (path, body) in [
        (CAMPAIGNS, &create),
        (&fund, &json!({"amount": eur(1)})),
        (&end, &json!({})),
        (&grants, &granting),
    ] {
        let answer = edge.pay(path, &ada.token, &new_key(), body).await;
        refused(&answer, 403, "PERMISSION_DENIED");
    }

    let more = json!({"amount": eur(500)});
    let funded = edge.pay(&fund, &counter.operator, &new_key(), &more).await;
    assert_eq!(minor(&funded.ok()["left_minor"]), 1_450);
    let ended = edge
        .pay(&end, &counter.operator, &new_key(), &json!({}))
        .await;
    let ended = ended.ok();
    assert_eq!(minor(&ended["returned_minor"]), 1_450);
    assert_eq!(ended["campaign"]["status"], "CAMPAIGN_STATUS_ENDED");
    let late = grant(&counter, &campaign, 1).await;
    refused(&late, 400, "BONUS_CAMPAIGN_NOT_ACTIVE");
}

/// A campaign's whole life by gRPC, up to the conversion into money for anything.
#[tokio::test]
async fn bonus_answers_over_grpc() {
    let counter = Counter::open(200).await;
    let operator = &counter.operator;
    let mut bonus = BonusServiceClient::new(counter.edge.channel());
    let create = CreateCampaignRequest {
        name: "Spring".to_owned(),
        currency_code: "EUR".to_owned(),
        budget_minor: 500,
        conversion: Some(ConversionRule {
            min_spend_minor: 150,
            ..ConversionRule::default()
        }),
        ..CreateCampaignRequest::default()
    };
    let created = bonus
        .create_campaign(grpc::paying(create, operator, &new_key()))
        .await
        .expect("created")
        .into_inner()
        .campaign
        .expect("a campaign");
    assert_eq!(created.status(), CampaignStatus::Active);
    let campaign_id = created.campaign_id;
    let grant = GrantBonusRequest {
        wallet_id: counter.wallet.clone(),
        campaign_id: campaign_id.clone(),
        amount: grpc::eur(100),
    };
    let granted = bonus
        .grant_bonus(grpc::paying(grant, operator, &new_key()))
        .await
        .expect("granted")
        .into_inner()
        .grant
        .expect("a grant");
    let convert = ConvertBonusRequest {
        grant_id: granted.grant_id,
    };
    let ask = |token: &str| grpc::paying(convert.clone(), token, &new_key());
    let token = &counter.ada.token;
    let early = bonus.convert_bonus(ask(token)).await;
    assert_eq!(
        reason(&early.expect_err("too early")),
        "BONUS_NOT_CONVERTIBLE"
    );
    let (edge, ada) = (&counter.edge, &counter.ada);
    let transfer = edge.transfer(ada, &counter.wallet, &counter.till, 160);
    transfer.await.ok();
    // The bonus was spent first, and with it the grant.
    let late = bonus.convert_bonus(ask(token)).await;
    assert_eq!(reason(&late.expect_err("spent")), "BONUS_GRANT_NOT_ACTIVE");
    let again = GrantBonusRequest {
        wallet_id: counter.wallet.clone(),
        campaign_id: campaign_id.clone(),
        amount: grpc::eur(200),
    };
    let granted = bonus
        .grant_bonus(grpc::paying(again, operator, &new_key()))
        .await
        .expect("granted")
        .into_inner()
        .grant
        .expect("a grant");
    edge.transfer(ada, &counter.wallet, &counter.till, 150)
        .await
        .ok();
    let convert = ConvertBonusRequest {
        grant_id: granted.grant_id,
    };
    let converted = bonus
        .convert_bonus(grpc::paying(convert, token, &new_key()))
        .await
        .expect("converted")
        .into_inner();
    assert_eq!(converted.converted_minor, 50);
    let status = converted.grant.expect("a grant").status();
    assert_eq!(status, BonusGrantStatus::Converted);
    assert_eq!(counter.balances().await, ([190, 0, 0], [310, 0, 0]));
    let get = GetCampaignRequest {
        campaign_id: campaign_id.clone(),
    };
    let found = bonus.get_campaign(grpc::with(get, operator)).await;
    let totals = found.expect("read").into_inner().totals.expect("totals");
    assert_eq!((totals.spent_minor, totals.converted_minor), (250, 50));
    let end = EndCampaignRequest { campaign_id };
    let ended = bonus
        .end_campaign(grpc::paying(end, operator, &new_key()))
        .await;
    assert_eq!(ended.expect("ended").into_inner().returned_minor, 200);
}

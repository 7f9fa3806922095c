//! Many at once: nobody is granted more than the cap, no budget gives more than
//! it has, and an ended campaign gives nothing.

use bursar_aip::id::UserId;
use bursar_contracts::wallet::v1::bonus_service_client::BonusServiceClient;
use bursar_contracts::wallet::v1::{
    BonusGrant, BonusGrantStatus, Campaign, CreateCampaignRequest, Wallet,
};
use bursar_testkit::TestService;
use tonic::Status;
use tonic::transport::Channel;

use super::office::{Office, at_once, convert_request, grant_request, new, owner_token, plain};
use super::spending::spend;
use crate::support::{Fixture, reason};

/// Another replica of the fixture's service.
async fn replica(fixture: &Fixture) -> TestService {
    TestService::start(
        bursar_wallet::definition(),
        &fixture.database,
        &fixture.tokens,
        &[],
    )
    .await
}

/// Twenty grants at once, over the wallets and the clients in turn.
async fn twenty(
    office: &Office<'_>,
    clients: &[BonusServiceClient<Channel>],
    wallets: &[Wallet],
    campaign: &Campaign,
    amount: i64,
) -> Vec<Result<BonusGrant, Status>> {
    let calls = (0..20).map(|number| {
        let mut client = clients[number % clients.len()].clone();
        let wallet = &wallets[number / 2 % wallets.len()];
        let request = new(grant_request(wallet, campaign, amount), &office.token);
        tokio::spawn(async move {
            let answer = client.grant_bonus(request).await?;
            Ok(answer.into_inner().grant.expect("a grant"))
        })
    });
    let mut answers = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        answers.push(call.await.expect("no panic"));
    }
    answers
}

/// The refusals' reasons, each once.
fn refusals(answers: &[Result<BonusGrant, Status>]) -> Vec<String> {
    let mut reasons: Vec<String> = answers
        .iter()
        .filter_map(|answer| answer.as_ref().err().map(reason))
        .collect();
    reasons.sort();
    reasons.dedup();
    reasons
}

/// Twenty grants at the cap, over two wallets of one user and two replicas: as
/// many as fit are made.
#[tokio::test]
async fn the_cap_holds() {
    let fixture = Fixture::start().await;
    let replica = replica(&fixture).await;
    let office = Office::of(&fixture);
    let clients = [office.client(), BonusServiceClient::new(replica.channel())];
    let user = UserId::generate();
    let wallets = [
        fixture.open(user, "EUR").await,
        fixture.open(user, "EUR").await,
    ];
    for _ in 0..3 {
        let request = CreateCampaignRequest {
            per_user_cap_minor: 100,
            ..plain()
        };
        let campaign = office.create(request).await;
        let answers = twenty(&office, &clients, &wallets, &campaign, 15).await;
        let made = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(made, 6);
        assert_eq!(refusals(&answers), ["BONUS_CAP_EXCEEDED"]);
        assert_eq!(office.totals(&campaign).await.granted_minor, 90);
    }
    fixture.verify().await;
}

/// Twenty grants at the end of a budget, to two users and over two replicas: the
/// budget gives what it has.
#[tokio::test]
async fn the_budget_holds() {
    let fixture = Fixture::start().await;
    let replica = replica(&fixture).await;
    let office = Office::of(&fixture);
    let clients = [office.client(), BonusServiceClient::new(replica.channel())];
    let wallets = [
        fixture.funded("EUR", 0).await,
        fixture.funded("EUR", 0).await,
    ];
    for _ in 0..3 {
        let request = CreateCampaignRequest {
            budget_minor: 100,
            ..plain()
        };
        let campaign = office.create(request).await;
        let answers = twenty(&office, &clients, &wallets, &campaign, 15).await;
        let made = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(made, 6);
        assert_eq!(refusals(&answers), ["BONUS_BUDGET_EXHAUSTED"]);
        let totals = office.totals(&campaign).await;
        assert_eq!((totals.left_minor, totals.granted_minor), (10, 90));
    }
    fixture.verify().await;
}

/// A campaign that is ended while grants are made gives back all that was not
/// granted before, and grants nothing after.
#[tokio::test]
async fn an_end_is_an_end() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let wallets = [
        fixture.funded("EUR", 0).await,
        fixture.funded("EUR", 0).await,
    ];
    for _ in 0..5 {
        let before = office.pool_minor().await;
        let campaign = office.create(plain()).await;
        let clients = [office.client()];
        let (answers, (_, returned)) = tokio::join!(
            twenty(&office, &clients, &wallets, &campaign, 10),
            office.end(&campaign),
        );
        let made = answers.iter().filter(|answer| answer.is_ok()).count();
        let granted = i64::try_from(made).expect("at most twenty") * 10;
        assert!(returned <= 1_000 - granted);
        for refused in refusals(&answers) {
            assert!(
                ["BONUS_BUDGET_EXHAUSTED", "BONUS_CAMPAIGN_NOT_ACTIVE"].contains(&refused.as_str()),
                "{refused}"
            );
        }
        let totals = office.totals(&campaign).await;
        assert_eq!(totals.granted_minor, granted);
        crate::support::eventually("the budget is empty", async || {
            office.totals(&campaign).await.left_minor == 0
        })
        .await;
        assert_eq!(office.pool_minor().await, before - granted);
    }
    fixture.verify().await;
}

/// A grant that is converted while it is spent is converted by what is left:
/// nothing is lost, and nothing is there twice.
#[tokio::test]
async fn spending_and_converting_race_safely() {
    let fixture = Fixture::start().await;
    let office = Office::of(&fixture);
    let request = CreateCampaignRequest {
        conversion: Some(at_once()),
        ..plain()
    };
    let campaign = office.create(request).await;
    let shop = fixture.open(UserId::generate(), "EUR").await;
    for round in 1..=5 {
        let wallet = fixture.funded("EUR", 0).await;
        let grant = office.grant(&wallet, &campaign, 40).await.expect("granted");
        let token = owner_token(&fixture.tokens, &wallet);
        let conversions = (0..3).map(|_| {
            let mut client = office.client();
            let request = new(convert_request(&grant), &token);
            tokio::spawn(async move { client.convert_bonus(request).await })
        });
        let payments = (0..10).map(|_| {
            let (mut ledger, payment) = (fixture.ledger(), spend(&wallet, &shop, 3));
            tokio::spawn(async move { ledger.post_one(payment).await })
        });
        let (conversions, payments): (Vec<_>, Vec<_>) = (conversions.collect(), payments.collect());
        for payment in payments {
            crate::support::applied(&payment.await.expect("no panic"));
        }
        let mut converted = 0;
        for conversion in conversions {
            match conversion.await.expect("no panic") {
                Ok(_) => converted += 1,
                Err(refused) => assert!(
                    ["BONUS_GRANT_NOT_ACTIVE", "BONUS_CONTENDED"]
                        .contains(&reason(&refused).as_str()),
                    "{refused:?}"
                ),
            }
        }
        assert!(converted <= 1);
        let balance = fixture.balance(&wallet).await;
        assert_eq!(balance.available_minor + balance.bonus_minor, 10);
        let ended = office.current(&grant).await;
        let is_converted = ended.status() == BonusGrantStatus::Converted;
        assert_eq!(is_converted, converted == 1);
        assert_eq!(fixture.balance(&shop).await.available_minor, 30 * round);
    }
    fixture.verify().await;
}

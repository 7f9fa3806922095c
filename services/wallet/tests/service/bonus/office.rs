//! The operators' office for bonus money: a client with an operator's token and
//! short words for what it asks.

use bursar_aip::id::UserId;
use bursar_contracts::r#type::v1::Money;
use bursar_contracts::wallet::v1::bonus_service_client::BonusServiceClient;
use bursar_contracts::wallet::v1::{
    BonusGrant, Campaign, CampaignTotals, ConversionRule, ConvertBonusRequest,
    CreateCampaignRequest, EndCampaignRequest, FundCampaignRequest, GetBonusGrantRequest,
    GetCampaignRequest, GrantBonusRequest, Wallet,
};
use bursar_testkit::{Tokens, with_token};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::support::{Fixture, uuid_of};

/// A client with an operator's token.
pub(super) struct Office<'a> {
    pub(super) fixture: &'a Fixture,
    pub(super) client: BonusServiceClient<Channel>,
    pub(super) token: String,
}

/// A campaign of 10.00 euros without further rules.
pub(super) fn plain() -> CreateCampaignRequest {
    CreateCampaignRequest {
        name: "spring".to_owned(),
        currency_code: "EUR".to_owned(),
        budget_minor: 1_000,
        ..CreateCampaignRequest::default()
    }
}

/// A rule by which a user converts at once.
pub(super) fn at_once() -> ConversionRule {
    ConversionRule::default()
}

pub(super) fn euros(minor_units: i64) -> Option<Money> {
    Some(Money {
        currency_code: "EUR".to_owned(),
        minor_units,
    })
}

/// A request with a token and a key.
pub(super) fn keyed<T>(message: T, token: &str, key: &str) -> Request<T> {
    let mut request = with_token(message, token);
    let value = key.parse().expect("a key is visible ASCII");
    request.metadata_mut().insert("idempotency-key", value);
    request
}

/// A request with a token and a key that nobody used.
pub(super) fn new<T>(message: T, token: &str) -> Request<T> {
    keyed(message, token, &Uuid::now_v7().to_string())
}

/// Whether an answer was given before.
pub(super) fn is_replay<T>(response: &Response<T>) -> bool {
    response.metadata().contains_key("idempotency-replayed")
}

pub(super) fn grant_request(
    wallet: &Wallet,
    campaign: &Campaign,
    amount: i64,
) -> GrantBonusRequest {
    GrantBonusRequest {
        wallet_id: wallet.wallet_id.clone(),
        campaign_id: campaign.campaign_id.clone(),
        amount: euros(amount),
    }
}

pub(super) fn convert_request(grant: &BonusGrant) -> ConvertBonusRequest {
    ConvertBonusRequest {
        grant_id: grant.grant_id.clone(),
    }
}

/// The token of the user who owns a wallet.
pub(super) fn owner_token(tokens: &Tokens, wallet: &Wallet) -> String {
    let owner: UserId = wallet.owner_user_id.parse().expect("a user's wallet");
    user_token(tokens, owner)
}

pub(super) fn user_token(tokens: &Tokens, user: UserId) -> String {
    let mut claims = Tokens::user_claims(user);
    claims.permissions.push("bonus:*:own".to_owned());
    tokens.mint(claims)
}

impl<'a> Office<'a> {
    pub(super) fn of(fixture: &'a Fixture) -> Self {
        let mut claims = Tokens::user_claims(UserId::generate());
        let grants = ["bonus_campaign:*:any", "bonus:*:any"].map(str::to_owned);
        claims.permissions.extend(grants);
        Self {
            fixture,
            client: BonusServiceClient::new(fixture.service.channel()),
            token: fixture.tokens.mint(claims),
        }
    }

    pub(super) fn client(&self) -> BonusServiceClient<Channel> {
        self.client.clone()
    }

    pub(super) async fn try_create(
        &self,
        request: CreateCampaignRequest,
    ) -> Result<Campaign, Status> {
        let request = new(request, &self.token);
        let answer = self.client().create_campaign(request).await?;
        Ok(answer.into_inner().campaign.expect("a campaign"))
    }

    pub(super) async fn create(&self, request: CreateCampaignRequest) -> Campaign {
        self.try_create(request).await.expect("it is created")
    }

    pub(super) async fn grant(
        &self,
        wallet: &Wallet,
        campaign: &Campaign,
        amount: i64,
    ) -> Result<BonusGrant, Status> {
        let request = new(grant_request(wallet, campaign, amount), &self.token);
        let answer = self.client().grant_bonus(request).await?;
        Ok(answer.into_inner().grant.expect("a grant"))
    }

    pub(super) async fn fund(&self, campaign: &Campaign, amount: i64) -> Result<i64, Status> {
        let request = FundCampaignRequest {
            campaign_id: campaign.campaign_id.clone(),
            amount: euros(amount),
        };
        let request = new(request, &self.token);
        let answer = self.client().fund_campaign(request).await?;
        Ok(answer.into_inner().left_minor)
    }

    pub(super) async fn end(&self, campaign: &Campaign) -> (Campaign, i64) {
        let request = EndCampaignRequest {
            campaign_id: campaign.campaign_id.clone(),
        };
        let request = new(request, &self.token);
        let answer = self.client().end_campaign(request).await.expect("ended");
        let answer = answer.into_inner();
        (answer.campaign.expect("a campaign"), answer.returned_minor)
    }

    /// Converts a grant as its owner; how much became available.
    pub(super) async fn convert(&self, wallet: &Wallet, grant: &BonusGrant) -> Result<i64, Status> {
        let token = owner_token(&self.fixture.tokens, wallet);
        let request = new(convert_request(grant), &token);
        let answer = self.client().convert_bonus(request).await?;
        Ok(answer.into_inner().converted_minor)
    }

    pub(super) async fn campaign(&self, campaign: &Campaign) -> (Campaign, CampaignTotals) {
        let request = GetCampaignRequest {
            campaign_id: campaign.campaign_id.clone(),
        };
        let request = with_token(request, &self.token);
        let answer = self.client().get_campaign(request).await;
        let answer = answer.expect("it is there").into_inner();
        (
            answer.campaign.expect("a campaign"),
            answer.totals.expect("totals"),
        )
    }

    pub(super) async fn totals(&self, campaign: &Campaign) -> CampaignTotals {
        self.campaign(campaign).await.1
    }

    pub(super) async fn current(&self, grant: &BonusGrant) -> BonusGrant {
        let request = GetBonusGrantRequest {
            grant_id: grant.grant_id.clone(),
        };
        let request = with_token(request, &self.token);
        let answer = self.client().get_bonus_grant(request).await;
        let answer = answer.expect("an operator sees every grant");
        answer.into_inner().grant.expect("a grant")
    }

    /// What is left in the platform's pool, below 0 by what it gave away.
    pub(super) async fn pool_minor(&self) -> i64 {
        sqlx::query_scalar(
            "SELECT coalesce(sum(available), 0)::bigint FROM wallets
             WHERE system_purpose = 'bonus_pool' AND system_name = ''",
        )
        .fetch_one(&self.fixture.database.pool)
        .await
        .expect("the pool is read")
    }

    /// Makes a grant older by this many seconds, its end with it, as the role
    /// that owns the tables.
    pub(super) async fn age(&self, grant: &BonusGrant, seconds: i32) {
        sqlx::query(
            "UPDATE bonus_grants
             SET granted_at = granted_at - $2 * interval '1 second',
                 expires_at = expires_at - $2 * interval '1 second'
             WHERE id = $1",
        )
        .bind(uuid_of(&grant.grant_id))
        .bind(seconds)
        .execute(&self.fixture.database.owner)
        .await
        .expect("the owner may age a grant");
    }
}

/// The metadata of an error's reason under a key.
pub(super) fn metadata(status: &Status, key: &str) -> Option<String> {
    use bursar_status::StatusExt;
    let details = status.get_error_details();
    details.error_info()?.metadata.get(key).cloned()
}

/// The fields that an error names.
pub(super) fn fields(status: &Status) -> Vec<String> {
    use bursar_status::StatusExt;
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| &bad.field_violations);
    let fields = violations.into_iter().flatten();
    fields.map(|violation| violation.field.clone()).collect()
}

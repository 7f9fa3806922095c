//! What operators move in customers' wallets, with a real wallet service behind it.

mod adjustments;
mod bonus_grants;

use std::time::Instant;

use bursar_aip::id::UserId;
use bursar_contracts::transaction::v1::back_office_service_client::BackOfficeServiceClient;
use bursar_contracts::transaction::v1::{
    AdjustmentDirection, AdjustmentReason, CreateAdjustmentRequest, CreateBonusGrantRequest,
    Transaction,
};
use bursar_contracts::wallet::v1::bonus_service_client::BonusServiceClient;
use bursar_contracts::wallet::v1::{
    Campaign, CampaignTotals, CreateCampaignRequest, EndCampaignRequest, GetCampaignRequest,
};
use bursar_testkit::{TestService, with_token};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::support::calls::{euros, keyed, told};
use crate::support::wire::Mode;
use crate::support::{LOOK_AGAIN, Mesh, PATIENCE};

/// An operator who may do what these tests are about.
struct Office<'a> {
    mesh: &'a Mesh,
    operator: UserId,
    token: String,
}

/// A campaign of 10.00 euros without further rules.
fn plain() -> CreateCampaignRequest {
    CreateCampaignRequest {
        name: "spring".to_owned(),
        currency_code: "EUR".to_owned(),
        budget_minor: 1_000,
        ..CreateCampaignRequest::default()
    }
}

fn credit(wallet: &str, minor_units: i64) -> CreateAdjustmentRequest {
    CreateAdjustmentRequest {
        wallet_id: wallet.to_owned(),
        amount: euros(minor_units),
        direction: AdjustmentDirection::Credit.into(),
        reason: AdjustmentReason::Goodwill.into(),
        description: "sorry for the long wait".to_owned(),
        corrected_transaction_id: String::new(),
    }
}

fn debit(wallet: &str, minor_units: i64) -> CreateAdjustmentRequest {
    CreateAdjustmentRequest {
        direction: AdjustmentDirection::Debit.into(),
        reason: AdjustmentReason::Correction.into(),
        description: "credited twice".to_owned(),
        ..credit(wallet, minor_units)
    }
}

fn grant(campaign: &Campaign, wallet: &str, minor_units: i64) -> CreateBonusGrantRequest {
    CreateBonusGrantRequest {
        campaign_id: campaign.campaign_id.clone(),
        wallet_id: wallet.to_owned(),
        amount: euros(minor_units),
        description: "welcome".to_owned(),
    }
}

fn of_response(transaction: Option<Transaction>) -> Transaction {
    transaction.expect("a response has its transaction")
}

impl<'a> Office<'a> {
    fn of(mesh: &'a Mesh) -> Self {
        Self::held_by(mesh, UserId::generate())
    }

    /// The same of somebody who may be a customer as well.
    fn held_by(mesh: &'a Mesh, operator: UserId) -> Self {
        let token = mesh.tokens.admin(operator);
        Self {
            mesh,
            operator,
            token,
        }
    }

    fn client(&self) -> BackOfficeServiceClient<Channel> {
        BackOfficeServiceClient::new(self.mesh.service.channel())
    }

    fn bonus(&self) -> BonusServiceClient<Channel> {
        BonusServiceClient::new(self.mesh.wallet.channel())
    }

    fn request<T>(&self, message: T, key: &str) -> Request<T> {
        keyed(with_token(message, &self.token), key)
    }

    fn new_request<T>(&self, message: T) -> Request<T> {
        self.request(message, &Uuid::now_v7().to_string())
    }

    async fn adjust(&self, message: CreateAdjustmentRequest) -> Result<Transaction, Status> {
        let request = self.new_request(message);
        let response = self.client().create_adjustment(request).await?;
        Ok(of_response(response.into_inner().transaction))
    }

    async fn grant(&self, message: CreateBonusGrantRequest) -> Result<Transaction, Status> {
        let request = self.new_request(message);
        let response = self.client().create_bonus_grant(request).await?;
        Ok(of_response(response.into_inner().transaction))
    }

    /// Asks for a grant again with its key for as long as that is what it is told, at one
    /// instance of the service.
    async fn grant_until_answered(
        &self,
        service: &TestService,
        message: &CreateBonusGrantRequest,
        key: &str,
    ) -> Result<Transaction, Status> {
        let give_up = Instant::now() + PATIENCE;
        let mut client = BackOfficeServiceClient::new(service.channel());
        loop {
            let request = self.request(message.clone(), key);
            match client.create_bonus_grant(request).await {
                Ok(response) => return Ok(of_response(response.into_inner().transaction)),
                Err(status) if told(&status).retries => {
                    assert!(Instant::now() < give_up, "still no answer: {status:?}");
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Err(status) => return Err(status),
            }
        }
    }

    async fn campaign(&self, message: CreateCampaignRequest) -> Campaign {
        let response = self
            .bonus()
            .create_campaign(self.new_request(message))
            .await;
        let campaign = response.expect("it is created").into_inner().campaign;
        campaign.expect("a response has its campaign")
    }

    async fn end(&self, campaign: &Campaign) {
        let request = self.new_request(EndCampaignRequest {
            campaign_id: campaign.campaign_id.clone(),
        });
        self.bonus().end_campaign(request).await.expect("it ends");
    }

    async fn totals(&self, campaign: &Campaign) -> CampaignTotals {
        let request = GetCampaignRequest {
            campaign_id: campaign.campaign_id.clone(),
        };
        let request = with_token(request, &self.token);
        let response = self.bonus().get_campaign(request).await;
        let totals = response.expect("it is there").into_inner().totals;
        totals.expect("a response has its totals")
    }

    /// Makes a call whose posting is made and never answered. The ledger is asked whose
    /// the wallet is before, and does answer that: nothing is posted until the transaction
    /// is recorded, and answers are lost from then on.
    async fn loses_posting<T>(&self, call: impl Future<Output = T>) -> T {
        let owner = &self.mesh.wallet_database.owner;
        let mut holding = owner.begin().await.expect("a transaction");
        sqlx::query("SELECT 1 FROM wallets FOR UPDATE")
            .execute(&mut *holding)
            .await
            .expect("the owner may lock wallets");
        let losing = async {
            let recorded = "SELECT count(*) FROM transactions WHERE state = 'PENDING'";
            self.mesh.until(recorded, 1).await;
            self.mesh.to_wallet.set(Mode::LosesAnswers);
            holding.rollback().await.expect("the wallets are let go");
        };
        let (answer, ()) = tokio::join!(call, losing);
        answer
    }

    /// What the suspense wallet of euros has.
    async fn suspense(&self) -> i64 {
        sqlx::query_scalar(
            "SELECT coalesce(sum(available), 0)::bigint FROM wallets
             WHERE system_purpose = 'suspense' AND currency = 'EUR'",
        )
        .fetch_one(&self.mesh.wallet_database.pool)
        .await
        .expect("the wallet is read")
    }

    /// How many grants there are in the ledger.
    async fn grants(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM bonus_grants")
            .fetch_one(&self.mesh.wallet_database.pool)
            .await
            .expect("the grants are counted")
    }
}

/// The answers to as many calls at once with one key: all that came, of which at least
/// one did. The others are told to try again.
fn answered<T: PartialEq + std::fmt::Debug>(calls: Vec<Result<Response<T>, Status>>) -> Vec<T> {
    let mut answers = Vec::new();
    for call in calls {
        match call {
            Ok(response) => answers.push(response.into_inner()),
            Err(status) => assert!(told(&status).retries, "{status:?}"),
        }
    }
    assert!(!answers.is_empty());
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    answers
}

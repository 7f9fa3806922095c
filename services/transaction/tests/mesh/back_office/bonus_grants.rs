//! Grants of bonus money as transactions.

use std::time::Duration;

use bursar_contracts::transaction::v1::{
    ListTransactionsRequest, Transaction, TransactionState, TransactionType,
};
use bursar_contracts::wallet::v1::bonus_service_client::BonusServiceClient;
use bursar_contracts::wallet::v1::{
    BonusGrant, Campaign, CreateCampaignRequest, GetBonusGrantRequest,
};
use bursar_testkit::with_token;
use tonic::{Code, Status};

use super::{Office, answered, grant, plain};
use crate::support::Mesh;
use crate::support::calls::{is_replayed, refusal, told};
use crate::support::person::Person;
use crate::support::wire::Mode;

/// A deadline that a test can wait for.
const SHORT: Duration = Duration::from_millis(2_500);

/// The grant in wallet, as the owner sees it.
async fn granted(mesh: &Mesh, owner: &Person<'_>, transaction: &Transaction) -> BonusGrant {
    let request = GetBonusGrantRequest {
        grant_id: transaction.bonus_grant_id.clone(),
    };
    let response = BonusServiceClient::new(mesh.wallet.channel())
        .get_bonus_grant(with_token(request, &owner.token))
        .await;
    let grant = response.expect("it is his").into_inner().grant;
    grant.expect("a response has its grant")
}

/// What a call without an answer tells of the transaction that waits.
fn waiting(lost: Result<Transaction, Status>) -> String {
    let told = told(&lost.expect_err("no answer"));
    assert!(told.retries);
    told.transaction_id.expect("what waits is named")
}

impl Office<'_> {
    /// Asks with a deadline of the operator's.
    async fn grant_within(
        &self,
        campaign: &Campaign,
        wallet: &str,
        minor_units: i64,
    ) -> Result<Transaction, Status> {
        let mut request = self.request(grant(campaign, wallet, minor_units), "k");
        request.set_timeout(SHORT);
        let response = self.client().create_bonus_grant(request).await?;
        Ok(super::of_response(response.into_inner().transaction))
    }
}

/// A grant is a transaction whose one effect is wallet's grant; the owner finds both.
#[tokio::test]
async fn a_grant_is_a_transaction() {
    let mesh = Mesh::start().await;
    let office = Office::of(&mesh);
    let ada = mesh.person();
    let wallet = ada.wallet().await;
    let campaign = office.campaign(plain()).await;
    let done = office.grant(grant(&campaign, &wallet, 300)).await;
    let done = done.expect("there is enough");
    assert_eq!(done.state(), TransactionState::Completed);
    assert_eq!(done.r#type(), TransactionType::BonusGrant);
    assert_eq!(done.initiator_user_id, office.operator.to_string());
    assert_eq!(done.campaign_id, campaign.campaign_id);
    assert_eq!((&*done.from_wallet_id, &done.to_wallet_id), ("", &wallet));
    let bonus = granted(&mesh, &ada, &done).await;
    assert_eq!((bonus.amount_minor, bonus.remaining_minor), (300, 300));
    assert_eq!(bonus.wallet_id, wallet);
    assert_eq!(office.totals(&campaign).await.granted_minor, 300);
    let listed = ada.list(ListTransactionsRequest::default()).await;
    assert_eq!(listed.expect("her own").transactions, [done]);
    // It is no money for anything.
    assert_eq!(ada.balance(&wallet).await, (0, 0));
    mesh.verify().await;
}

/// What the campaign or the wallet forbids ends FAILED with the reason, and grants nothing.
#[tokio::test]
async fn a_campaign_refuses() {
    let mesh = Mesh::start().await;
    let office = Office::of(&mesh);
    let ada = mesh.person();
    let (wallet, dollars) = (ada.wallet().await, ada.wallet_in("USD").await);
    let closed = ada.wallet().await;
    mesh.set_status(&closed, "closed").await;
    let capped = office
        .campaign(CreateCampaignRequest {
            per_user_cap_minor: 250,
            ..plain()
        })
        .await;
    let ended = office.campaign(plain()).await;
    office.end(&ended).await;
    let unknown = Campaign {
        campaign_id: bursar_aip::id::CampaignId::generate().to_string(),
        ..capped.clone()
    };
    let open = office.campaign(plain()).await;
    let unmet = Code::FailedPrecondition;
    let nobody = bursar_aip::id::WalletId::generate().to_string();
    for (campaign, wallet, minor, code, reason) in [
        (&capped, &wallet, 251, unmet, "BONUS_CAP_EXCEEDED"),
        (&open, &wallet, 1_001, unmet, "BONUS_BUDGET_EXHAUSTED"),
        (&ended, &wallet, 1, unmet, "BONUS_CAMPAIGN_NOT_ACTIVE"),
        (
            &unknown,
            &wallet,
            1,
            Code::NotFound,
            "BONUS_CAMPAIGN_NOT_FOUND",
        ),
        (
            &open,
            &dollars,
            1,
            Code::InvalidArgument,
            "CURRENCY_MISMATCH",
        ),
        (&open, &closed, 1, unmet, "WALLET_CLOSED"),
        (&open, &nobody, 1, Code::NotFound, "WALLET_NOT_FOUND"),
    ] {
        let refused = office.grant(grant(campaign, wallet, minor)).await;
        let refused = refused.expect_err(reason);
        assert_eq!(refusal(&refused), (code, reason.to_owned()));
        let id = told(&refused).transaction_id.expect("it was recorded");
        let failed = mesh.transaction(&id).await;
        assert_eq!(failed.state(), TransactionState::Failed);
        assert_eq!(failed.failure.expect("why").reason, reason);
    }
    let by_user = ada.request(grant(&open, &wallet, 1));
    let by_user = office.client().create_bonus_grant(by_user).await;
    assert_eq!(
        by_user.expect_err("she may not").code(),
        Code::PermissionDenied
    );
    assert_eq!(office.grants().await, 0);
    mesh.verify().await;
}

/// Nobody grants anything to a wallet of one's own; somebody else may.
#[tokio::test]
async fn nobody_grants_to_ones_own_wallet() {
    let mesh = Mesh::start().await;
    let ada = mesh.person();
    let wallet = ada.wallet().await;
    let hers = Office::held_by(&mesh, ada.id);
    let campaign = hers.campaign(plain()).await;
    let refused = hers.grant(grant(&campaign, &wallet, 70)).await;
    assert_eq!(
        refusal(&refused.expect_err("it is her own")),
        (Code::PermissionDenied, "PERMISSION_DENIED".to_owned())
    );
    let grants = "SELECT count(*) FROM transactions WHERE kind = 'bonus_grant'";
    assert_eq!(mesh.count(grants).await, 0);
    let office = Office::of(&mesh);
    let done = office.grant(grant(&campaign, &wallet, 70)).await;
    assert_eq!(done.expect("granted").to_wallet_id, wallet);
    assert_eq!(office.grants().await, 1);
    mesh.verify().await;
}

/// Ten calls at once with one key grant once, and the key gives its answer again.
#[tokio::test]
async fn a_key_grants_once() {
    let mesh = Mesh::start().await;
    let office = Office::of(&mesh);
    let wallet = mesh.person().wallet().await;
    let campaign = office.campaign(plain()).await;
    let call = || {
        let request = office.request(grant(&campaign, &wallet, 70), "k");
        let mut client = office.client();
        async move { client.create_bonus_grant(request).await }
    };
    let answers = answered(futures::future::join_all((0..10).map(|_| call())).await);
    let again = call().await.expect("as before");
    assert!(is_replayed(again.metadata()));
    assert_eq!(*again.get_ref(), answers[0]);
    assert_eq!(office.totals(&campaign).await.granted_minor, 70);
    assert_eq!(office.grants().await, 1);
    mesh.verify().await;
}

/// The grant was made and its answer lost, and the campaign has ended since: another
/// process, in the place of the first, takes the grant for what it is, the first and only one.
#[tokio::test]
async fn a_grant_whose_answer_was_lost_is_the_first() {
    let mut mesh = Mesh::start().await;
    let (campaign, wallet, id) = {
        let office = Office::of(&mesh);
        let wallet = mesh.person().wallet().await;
        let campaign = office.campaign(plain()).await;
        let call = office.grant_within(&campaign, &wallet, 70);
        let id = waiting(office.loses_posting(call).await);
        assert_eq!(office.grants().await, 1);
        office.end(&campaign).await;
        (campaign, wallet, id)
    };
    mesh.restart_service().await;
    mesh.to_wallet.set(Mode::Whole);
    let done = mesh.reaches(&id, TransactionState::Completed).await;
    let office = Office::of(&mesh);
    assert_eq!(office.grants().await, 1);
    assert_eq!(office.totals(&campaign).await.granted_minor, 70);
    assert_eq!(done.to_wallet_id, wallet);
    mesh.verify().await;
}

/// A refusal beside an attempt that was never answered is made certain first: the grant's
/// id is taken by a posting that moves nothing, so that the grant cannot be made later,
/// when the campaign would allow it.
#[tokio::test]
async fn an_uncertain_refusal_is_barred() {
    let mesh = Mesh::start().await;
    let office = Office::of(&mesh);
    let wallet = mesh.person().wallet().await;
    let campaign = office.campaign(plain()).await;
    let call = office.grant_within(&campaign, &wallet, 1_001);
    let id = waiting(office.loses_posting(call).await);
    mesh.to_wallet.set(Mode::Whole);
    let message = grant(&campaign, &wallet, 1_001);
    let refused = office
        .grant_until_answered(&mesh.service, &message, "k")
        .await
        .expect_err("the budget is too small");
    assert_eq!(told(&refused).reason, "BONUS_BUDGET_EXHAUSTED");
    assert_eq!(told(&refused).transaction_id, Some(id.clone()));
    let posting = id.trim_start_matches("txn_").to_owned();
    let kind: String = sqlx::query_scalar("SELECT kind::text FROM postings WHERE id = $1::uuid")
        .bind(posting)
        .fetch_one(&mesh.wallet_database.owner)
        .await
        .expect("the id is taken");
    assert_eq!(kind, "adjustment");
    assert_eq!((office.grants().await, office.suspense().await), (0, 0));
    mesh.verify().await;
}

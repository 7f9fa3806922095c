//! An operator of fraud screening in a test's mesh.

use bursar_aip::id::UserId;
use bursar_contracts::transaction::v1::fraud_service_client::FraudServiceClient;
use bursar_contracts::transaction::v1::{
    BacktestFraudRuleRequest, DecideFraudCaseRequest, DecideFraudCaseResponse,
    DeleteFraudRuleRequest, FraudBacktest, FraudCase, FraudCaseState, FraudDecision, FraudOutcome,
    FraudRule, FraudRuleCounts, FraudRuleDraft, FraudRuleMode, FraudStage, GetFraudCaseRequest,
    GetFraudCaseResponse, GetFraudRuleRequest, ListFraudCasesRequest, ListFraudCasesResponse,
    PutFraudRuleRequest, TransactionState,
};
use bursar_testkit::with_token;
use prost_types::Timestamp;
use tonic::transport::Channel;
use tonic::{Response, Status};
use uuid::Uuid;

use super::Mesh;
use super::calls::keyed;

/// The operators' page.
const PAGE: &str = include_str!("../../../../../docs/operations/fraud.md");

/// The expression of a ready rule of the operators' page.
pub(crate) fn ready(name: &str) -> &'static str {
    let (_, rest) = PAGE
        .split_once(&format!("#### {name}\n"))
        .expect("the page has the rule");
    let (_, rest) = rest.split_once("```cel\n").expect("it has an expression");
    let (text, _) = rest.split_once("```").expect("which ends");
    text.trim()
}

/// An active rule that is tried before.
pub(crate) fn draft(expression: &str, outcome: FraudOutcome) -> FraudRuleDraft {
    FraudRuleDraft {
        expression: expression.to_owned(),
        outcome: outcome.into(),
        mode: FraudRuleMode::Active.into(),
        stage: FraudStage::Before.into(),
        priority: 100,
        description: "for a test".to_owned(),
    }
}

/// An operator.
pub(crate) struct Desk<'a> {
    pub(crate) mesh: &'a Mesh,
    token: String,
}

impl<'a> Desk<'a> {
    pub(crate) fn new(mesh: &'a Mesh) -> Self {
        let token = mesh.tokens.admin(UserId::generate());
        Self { mesh, token }
    }

    pub(crate) fn client(&self) -> FraudServiceClient<Channel> {
        FraudServiceClient::new(self.mesh.service.channel())
    }

    /// Makes or changes a rule, from whatever version it has.
    pub(crate) async fn put(&self, name: &str, rule: FraudRuleDraft) -> FraudRule {
        let version = self.rule(name).await.map_or(0, |rule| rule.version);
        self.put_at(name, rule, version)
            .await
            .expect("the rule is valid")
    }

    pub(crate) async fn put_at(
        &self,
        name: &str,
        rule: FraudRuleDraft,
        version: i64,
    ) -> Result<FraudRule, Status> {
        let request = PutFraudRuleRequest {
            name: name.to_owned(),
            rule: Some(rule),
            version,
        };
        let request = with_token(request, &self.token);
        let response = self.client().put_fraud_rule(request).await?;
        Ok(response.into_inner().rule.expect("a response has its rule"))
    }

    pub(crate) async fn rule(&self, name: &str) -> Option<FraudRule> {
        let request = GetFraudRuleRequest {
            name: name.to_owned(),
        };
        let request = with_token(request, &self.token);
        match self.client().get_fraud_rule(request).await {
            Ok(response) => response.into_inner().rule,
            Err(status) => {
                assert_eq!(status.code(), tonic::Code::NotFound);
                None
            }
        }
    }

    pub(crate) async fn counts(&self, name: &str) -> FraudRuleCounts {
        let rule = self.rule(name).await.expect("the rule is there");
        rule.counts.expect("a rule has its counts")
    }

    pub(crate) async fn delete(&self, name: &str) {
        let request = DeleteFraudRuleRequest {
            name: name.to_owned(),
        };
        let request = with_token(request, &self.token);
        let deleted = self.client().delete_fraud_rule(request).await;
        deleted.expect("a rule can be deleted");
    }

    /// Holds an expression against the last hour.
    pub(crate) async fn backtest(&self, expression: &str) -> FraudBacktest {
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let request = BacktestFraudRuleRequest {
            expression: expression.to_owned(),
            start_time: at(now - 3_600),
            end_time: at(now + 60),
        };
        let request = with_token(request, &self.token);
        let response = self.client().backtest_fraud_rule(request).await;
        let backtest = response.expect("the expression is valid").into_inner();
        backtest.backtest.expect("a response has its result")
    }

    /// The cases in a state, the oldest first.
    pub(crate) async fn cases(&self, state: FraudCaseState) -> Vec<FraudCase> {
        let request = ListFraudCasesRequest {
            state: state.into(),
            ..ListFraudCasesRequest::default()
        };
        let request = with_token(request, &self.token);
        let response = self.client().list_fraud_cases(request).await;
        response.expect("an operator may look").into_inner().cases
    }

    /// The one open case.
    pub(crate) async fn open_case(&self) -> FraudCase {
        let mut cases = self.cases(FraudCaseState::Open).await;
        assert_eq!(cases.len(), 1, "{cases:?}");
        cases.remove(0)
    }

    pub(crate) async fn decide(
        &self,
        case: &FraudCase,
        decision: FraudDecision,
    ) -> Result<DecideFraudCaseResponse, Status> {
        let key = Uuid::now_v7().to_string();
        let response = self.decide_with(case, decision, &key).await?;
        Ok(response.into_inner())
    }

    pub(crate) async fn decide_with(
        &self,
        case: &FraudCase,
        decision: FraudDecision,
        key: &str,
    ) -> Result<Response<DecideFraudCaseResponse>, Status> {
        let request = DecideFraudCaseRequest {
            case_id: case.case_id.clone(),
            decision: decision.into(),
            reason: "the customer was asked".to_owned(),
        };
        let request = keyed(with_token(request, &self.token), key);
        self.client().decide_fraud_case(request).await
    }

    /// A case with its transaction as it is now.
    pub(crate) async fn case(&self, id: &str) -> Result<GetFraudCaseResponse, Status> {
        let request = GetFraudCaseRequest {
            case_id: id.to_owned(),
        };
        let request = with_token(request, &self.token);
        let response = self.client().get_fraud_case(request).await?;
        Ok(response.into_inner())
    }

    /// A page of a user's cases.
    pub(crate) async fn page(
        &self,
        user_id: &str,
        page_token: &str,
    ) -> Result<ListFraudCasesResponse, Status> {
        let request = ListFraudCasesRequest {
            user_id: user_id.to_owned(),
            page_size: 2,
            page_token: page_token.to_owned(),
            ..ListFraudCasesRequest::default()
        };
        let request = with_token(request, &self.token);
        let response = self.client().list_fraud_cases(request).await?;
        Ok(response.into_inner())
    }

    /// Approves the one open case, and waits until its transaction is COMPLETED.
    pub(crate) async fn approve(&self) {
        let case = self.open_case().await;
        self.decide(&case, FraudDecision::Approve)
            .await
            .expect("it is open");
        self.mesh
            .reaches(&case.transaction_id, TransactionState::Completed)
            .await;
    }
}

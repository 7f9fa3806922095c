//! The operators' service for fraud screening.

mod backtest;
mod cases;
mod contract;
mod decide;
mod error;
mod rules;
pub(super) mod screening;

use bursar_contracts::transaction::v1 as proto;
use bursar_contracts::transaction::v1::fraud_service_server::FraudService;
use tonic::{Request, Response, Status};

use crate::advance::Engine;

/// The service's handlers.
pub(crate) struct FraudRpc {
    engine: Engine,
}

impl FraudRpc {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine }
    }
}

#[tonic::async_trait]
impl FraudService for FraudRpc {
    async fn put_fraud_rule(
        &self,
        request: Request<proto::PutFraudRuleRequest>,
    ) -> Result<Response<proto::PutFraudRuleResponse>, Status> {
        rules::put(&self.engine, request).await
    }

    async fn get_fraud_rule(
        &self,
        request: Request<proto::GetFraudRuleRequest>,
    ) -> Result<Response<proto::GetFraudRuleResponse>, Status> {
        rules::get(&self.engine, request).await
    }

    async fn list_fraud_rules(
        &self,
        request: Request<proto::ListFraudRulesRequest>,
    ) -> Result<Response<proto::ListFraudRulesResponse>, Status> {
        rules::list(&self.engine, request).await
    }

    async fn delete_fraud_rule(
        &self,
        request: Request<proto::DeleteFraudRuleRequest>,
    ) -> Result<Response<proto::DeleteFraudRuleResponse>, Status> {
        rules::delete(&self.engine, request).await
    }

    async fn backtest_fraud_rule(
        &self,
        request: Request<proto::BacktestFraudRuleRequest>,
    ) -> Result<Response<proto::BacktestFraudRuleResponse>, Status> {
        backtest::handle(&self.engine, request).await
    }

    async fn list_fraud_cases(
        &self,
        request: Request<proto::ListFraudCasesRequest>,
    ) -> Result<Response<proto::ListFraudCasesResponse>, Status> {
        cases::list(&self.engine, request).await
    }

    async fn get_fraud_case(
        &self,
        request: Request<proto::GetFraudCaseRequest>,
    ) -> Result<Response<proto::GetFraudCaseResponse>, Status> {
        cases::get(&self.engine, request).await
    }

    async fn decide_fraud_case(
        &self,
        request: Request<proto::DecideFraudCaseRequest>,
    ) -> Result<Response<proto::DecideFraudCaseResponse>, Status> {
        decide::handle(&self.engine, request).await
    }
}

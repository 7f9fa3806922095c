//! The service of limits: users see their own, operators put the rules.

mod contract;
mod error;
mod list;
mod mine;
mod put;

use bursar_contracts::transaction::v1 as proto;
use bursar_contracts::transaction::v1::limit_service_server::LimitService;
use tonic::{Request, Response, Status};

use crate::advance::Engine;

/// The service's handlers.
pub(crate) struct LimitRpc {
    engine: Engine,
}

impl LimitRpc {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine }
    }
}

#[tonic::async_trait]
impl LimitService for LimitRpc {
    async fn get_my_limits(
        &self,
        request: Request<proto::GetMyLimitsRequest>,
    ) -> Result<Response<proto::GetMyLimitsResponse>, Status> {
        mine::handle(&self.engine, request).await
    }

    async fn put_limit_rule(
        &self,
        request: Request<proto::PutLimitRuleRequest>,
    ) -> Result<Response<proto::PutLimitRuleResponse>, Status> {
        put::put(&self.engine, request).await
    }

    async fn archive_limit_rule(
        &self,
        request: Request<proto::ArchiveLimitRuleRequest>,
    ) -> Result<Response<proto::ArchiveLimitRuleResponse>, Status> {
        put::archive(&self.engine, request).await
    }

    async fn list_limit_rules(
        &self,
        request: Request<proto::ListLimitRulesRequest>,
    ) -> Result<Response<proto::ListLimitRulesResponse>, Status> {
        list::handle(&self.engine, request).await
    }
}

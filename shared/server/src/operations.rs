//! The operations service: what every service answers about itself.

use std::time::Instant;

use bursar_contracts::operations::v1::operations_service_server::OperationsService;
use bursar_contracts::operations::v1::{
    DependencyStatus, GetServiceStatusRequest, GetServiceStatusResponse, InboxStatus, OutboxStatus,
    PoolStatus, ServiceStatus,
};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::database;
use crate::readiness::{Dependency, Readiness, is_ready};

/// Answers for one service.
pub(crate) struct Operations {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) started: Instant,
    pub(crate) pool: PgPool,
    pub(crate) max_connections: u32,
    pub(crate) readiness: Readiness,
    pub(crate) shutdown: CancellationToken,
}

#[tonic::async_trait]
impl OperationsService for Operations {
    async fn get_service_status(
        &self,
        _request: Request<GetServiceStatusRequest>,
    ) -> Result<Response<GetServiceStatusResponse>, Status> {
        let dependencies = self.readiness.check().await;
        let ready = is_ready(&dependencies) && !self.shutdown.is_cancelled();
        let stats = self.event_stats().await?;
        let status = ServiceStatus {
            name: self.name.to_owned(),
            version: self.version.to_owned(),
            ready,
            uptime_seconds: self.started.elapsed().as_secs(),
            dependencies: dependencies.into_iter().map(dependency).collect(),
            pool: Some(PoolStatus {
                max_connections: self.max_connections,
                connections: self.pool.size(),
                idle_connections: u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX),
            }),
            outbox: Some(OutboxStatus {
                unpublished_events: stats.unpublished_events,
                oldest_unpublished_age_ms: stats.oldest_unpublished_age_ms,
            }),
            inbox: Some(InboxStatus {
                dead_letters: stats.dead_letters,
            }),
        };
        Ok(Response::new(GetServiceStatusResponse {
            status: Some(status),
        }))
    }
}

impl Operations {
    async fn event_stats(&self) -> Result<bursar_events::Stats, Status> {
        let mut connection = self
            .pool
            .acquire()
            .await
            .map_err(|error| database::status(&error))?;
        bursar_events::stats(&mut connection)
            .await
            .map_err(|error| database::status(&error))
    }
}

fn dependency(seen: Dependency) -> DependencyStatus {
    DependencyStatus {
        name: seen.name.to_owned(),
        healthy: seen.healthy,
        latency_us: seen.latency_us,
        error: seen.error,
    }
}

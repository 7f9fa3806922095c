//! The handlers of schedules.

mod control;
mod create;
mod reads;
pub(crate) mod transfer;

use bursar_contracts::transaction::v1::schedule_service_server::ScheduleService;
use bursar_contracts::transaction::v1::{
    CancelScheduleRequest, CancelScheduleResponse, CreateScheduleRequest, CreateScheduleResponse,
    GetScheduleRequest, GetScheduleResponse, ListScheduleRunsRequest, ListScheduleRunsResponse,
    ListSchedulesRequest, ListSchedulesResponse, PauseScheduleRequest, PauseScheduleResponse,
    ResumeScheduleRequest, ResumeScheduleResponse,
};
use tonic::{Request, Response, Status};

use crate::advance::Engine;
use crate::schedule::control::Wish;

/// How many of the coming due times are shown.
const SHOWN: usize = 3;

/// The service's handlers.
pub(crate) struct ScheduleRpc {
    engine: Engine,
}

impl ScheduleRpc {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine }
    }
}

#[tonic::async_trait]
impl ScheduleService for ScheduleRpc {
    async fn create_schedule(
        &self,
        request: Request<CreateScheduleRequest>,
    ) -> Result<Response<CreateScheduleResponse>, Status> {
        create::handle(&self.engine, request).await
    }

    async fn get_schedule(
        &self,
        request: Request<GetScheduleRequest>,
    ) -> Result<Response<GetScheduleResponse>, Status> {
        reads::get(&self.engine, request).await
    }

    async fn list_schedules(
        &self,
        request: Request<ListSchedulesRequest>,
    ) -> Result<Response<ListSchedulesResponse>, Status> {
        reads::list(&self.engine, request).await
    }

    async fn list_schedule_runs(
        &self,
        request: Request<ListScheduleRunsRequest>,
    ) -> Result<Response<ListScheduleRunsResponse>, Status> {
        reads::list_runs(&self.engine, request).await
    }

    async fn pause_schedule(
        &self,
        request: Request<PauseScheduleRequest>,
    ) -> Result<Response<PauseScheduleResponse>, Status> {
        control::handle(&self.engine, request, Wish::Pause).await
    }

    async fn resume_schedule(
        &self,
        request: Request<ResumeScheduleRequest>,
    ) -> Result<Response<ResumeScheduleResponse>, Status> {
        control::handle(&self.engine, request, Wish::Resume).await
    }

    async fn cancel_schedule(
        &self,
        request: Request<CancelScheduleRequest>,
    ) -> Result<Response<CancelScheduleResponse>, Status> {
        control::handle(&self.engine, request, Wish::Cancel).await
    }
}

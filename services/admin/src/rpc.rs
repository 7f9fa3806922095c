//! The RPCs of admin, one file each. A handler translates between the
//! contract and the domain, and opens the one transaction of its call. Who may
//! call, and within which bounds, was settled before it runs.

mod create_ticket;
mod get_mesh_status;
mod get_ticket;
mod list_audit_events;
mod list_tickets;
mod once;
mod resolve_ticket;
mod ticket_message;

use bursar_contracts::admin::v1::admin_service_server::AdminService;
use bursar_contracts::admin::v1::{
    CreateTicketRequest, CreateTicketResponse, GetMeshStatusRequest, GetMeshStatusResponse,
    GetTicketRequest, GetTicketResponse, ListAuditEventsRequest, ListAuditEventsResponse,
    ListTicketsRequest, ListTicketsResponse, ResolveTicketRequest, ResolveTicketResponse,
};
use sqlx::PgPool;
use tonic::{Request, Response, Status};

pub(crate) use get_mesh_status::Mesh;

/// What the handlers need.
pub(crate) struct Admin {
    pub(crate) pool: PgPool,
    pub(crate) mesh: Mesh,
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn create_ticket(
        &self,
        request: Request<CreateTicketRequest>,
    ) -> Result<Response<CreateTicketResponse>, Status> {
        create_ticket::handle(&self.pool, request).await
    }

    async fn get_ticket(
        &self,
        request: Request<GetTicketRequest>,
    ) -> Result<Response<GetTicketResponse>, Status> {
        get_ticket::handle(&self.pool, request).await
    }

    async fn list_tickets(
        &self,
        request: Request<ListTicketsRequest>,
    ) -> Result<Response<ListTicketsResponse>, Status> {
        list_tickets::handle(&self.pool, request).await
    }

    async fn resolve_ticket(
        &self,
        request: Request<ResolveTicketRequest>,
    ) -> Result<Response<ResolveTicketResponse>, Status> {
        resolve_ticket::handle(&self.pool, request).await
    }

    async fn list_audit_events(
        &self,
        request: Request<ListAuditEventsRequest>,
    ) -> Result<Response<ListAuditEventsResponse>, Status> {
        list_audit_events::handle(&self.pool, request).await
    }

    async fn get_mesh_status(
        &self,
        request: Request<GetMeshStatusRequest>,
    ) -> Result<Response<GetMeshStatusResponse>, Status> {
        get_mesh_status::handle(&self.mesh, request).await
    }
}

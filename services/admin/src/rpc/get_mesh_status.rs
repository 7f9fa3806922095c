//! `GetMeshStatus`: asks every service how it is. A service that is dead or
//! slow is an answer, never an error of the call.

use std::time::{Duration, Instant};

use bursar_contracts::admin::v1::{GetMeshStatusRequest, GetMeshStatusResponse, MeshService};
use bursar_contracts::operations::v1::GetServiceStatusRequest;
use bursar_contracts::operations::v1::operations_service_client::OperationsServiceClient;
use bursar_server::{Outbound, Start};
use futures::future::join_all;
use tonic::{Request, Response, Status};

/// The services that are asked, admin among them, by name.
const SERVICES: [&str; 4] = ["admin", "identity", "transaction", "wallet"];

/// How long a service may take to answer.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The ways to the services of the mesh.
pub(crate) struct Mesh(Vec<(&'static str, OperationsServiceClient<Outbound>)>);

impl Mesh {
    /// The ways to all services, from the addresses in the configuration.
    pub(crate) fn new(start: &Start) -> anyhow::Result<Self> {
        let clients = SERVICES
            .iter()
            .map(|&name| Ok((name, OperationsServiceClient::new(start.channel(name)?))));
        Ok(Self(clients.collect::<anyhow::Result<_>>()?))
    }
}

pub(super) async fn handle(
    mesh: &Mesh,
    _request: Request<GetMeshStatusRequest>,
) -> Result<Response<GetMeshStatusResponse>, Status> {
    let services = join_all(
        mesh.0
            .iter()
            .map(|(name, client)| ask(name, client.clone())),
    )
    .await;
    Ok(Response::new(GetMeshStatusResponse {
        healthy: services.iter().all(|service| service.healthy),
        services,
    }))
}

async fn ask(name: &str, mut client: OperationsServiceClient<Outbound>) -> MeshService {
    let asked_at = Instant::now();
    // The call itself carries the longer deadline of ours; giving it up cancels it.
    let call = client.get_service_status(GetServiceStatusRequest {});
    let answer = tokio::time::timeout(TIMEOUT, call).await;
    let latency_us = u64::try_from(asked_at.elapsed().as_micros()).unwrap_or(u64::MAX);
    let (status, error) = match answer {
        Ok(Ok(response)) => match response.into_inner().status {
            Some(status) => (Some(status), String::new()),
            None => (None, "it answered without its status".to_owned()),
        },
        Ok(Err(status)) => (None, reason(&status)),
        Err(_) => (None, format!("no answer within {} ms", TIMEOUT.as_millis())),
    };
    MeshService {
        name: name.to_owned(),
        healthy: status.as_ref().is_some_and(|status| status.ready),
        latency_us,
        status,
        error,
    }
}

/// A refusal in a line.
fn reason(status: &Status) -> String {
    match status.message() {
        "" => status.code().to_string(),
        message => format!("{}: {message}", status.code()),
    }
}

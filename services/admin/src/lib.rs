//! Tickets, the audit trail and the state of the mesh.
//!
//! `rpc` translates calls into decisions of `domain` and statements of `store`;
//! `jobs` feeds the audit trail from the events of all services. Admin knows
//! the other services by their events and by what each says of its own state;
//! it reads no database but its own.

pub mod domain;
mod error;
mod events;
pub mod invariants;
mod jobs;
mod rpc;
pub mod store;

use bursar_contracts::admin::v1::admin_service_server::AdminServiceServer;
use bursar_server::{Assembly, Definition, Job, Migrations, Start};
use tonic::service::Routes;

use crate::rpc::{Admin, Mesh};

/// The migrations of admin's own tables.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// The service, for the server to run.
pub fn definition() -> Definition {
    Definition {
        name: "admin",
        version: env!("CARGO_PKG_VERSION"),
        migrations: vec![
            Migrations {
                name: "aip",
                migrator: &bursar_aip::MIGRATOR,
            },
            Migrations {
                name: "events",
                migrator: &bursar_events::MIGRATOR,
            },
            Migrations {
                name: "admin",
                migrator: &MIGRATOR,
            },
        ],
        invariants: invariants::INVARIANTS.to_vec(),
        assemble: |start| Box::pin(assemble(start)),
    }
}

async fn assemble(start: Start) -> anyhow::Result<Assembly> {
    let admin = Admin {
        pool: start.pool.clone(),
        mesh: Mesh::new(&start)?,
    };
    let cleanup = jobs::cleanup::run(start.pool.clone(), start.shutdown.clone());
    let mut jobs = vec![Job::new("cleanup", cleanup)];
    match start.config.redis_events_url {
        Some(_) => jobs.push(jobs::audit::job(&start)?),
        None => tracing::warn!("BURSAR_REDIS_EVENTS_URL is not set; the audit trail is not fed"),
    }
    Ok(Assembly {
        routes: Some(Routes::new(AdminServiceServer::new(admin))),
        http: axum::Router::new(),
        jobs,
    })
}

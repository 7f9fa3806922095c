//! A simulated payment provider: charges, payouts, account numbers and signed
//! callbacks over HTTP.
//!
//! It stands for another company, with books of its own in a database of its
//! own. What it has answered is committed; a reference means one movement for
//! ever; and on demand it fails in every way in which providers fail. The
//! README describes its API.

mod api;
mod config;
mod domain;
mod error;
mod jobs;
mod signature;
mod store;

use bursar_server::{Assembly, Definition, Invariant, Job, Migrations, Start};

use crate::config::Settings;

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// The rules that always hold in the provider's books. The number 16 is the
/// platform's: at most one movement a reference.
const INVARIANTS: [Invariant; 3] = [
    Invariant {
        number: 16,
        name: "at most one charge and one payout a reference",
        sql: "SELECT kind, reference FROM movements GROUP BY kind, reference HAVING count(*) > 1",
    },
    Invariant {
        number: 16,
        name: "a movement is finished, or pending for no longer than planned",
        sql: "SELECT kind, reference FROM movements
              WHERE (status = 'pending') <> (finished_at IS NULL)
                 OR (status = 'pending' AND settle_at < now() - interval '1 minute')",
    },
    Invariant {
        number: 16,
        name: "only finished movements are told to the customer",
        sql: "SELECT callbacks.callback_id
              FROM callbacks JOIN movements USING (kind, reference)
              WHERE movements.status = 'pending'",
    },
];

/// The process's definition.
pub fn definition() -> Definition {
    Definition {
        name: "sandbox",
        version: env!("CARGO_PKG_VERSION"),
        migrations: vec![Migrations {
            name: "sandbox",
            migrator: &MIGRATOR,
        }],
        invariants: INVARIANTS.to_vec(),
        assemble: |start| Box::pin(assemble(start)),
    }
}

async fn assemble(start: Start) -> anyhow::Result<Assembly> {
    let settings = Settings::read(&start)?;
    let mut work = vec![Job::new(
        "settle",
        jobs::settle::run(
            start.pool.clone(),
            settings.callbacks.is_some(),
            start.shutdown.clone(),
        ),
    )];
    if let Some(callbacks) = &settings.callbacks {
        let deliver = jobs::deliver::Deliver::new(start.pool.clone(), callbacks.clone())?;
        work.push(Job::new("deliver", deliver.run(start.shutdown.clone())));
    }
    Ok(Assembly {
        routes: None,
        http: api::router(start.pool.clone(), &settings, start.shutdown.clone()),
        jobs: work,
    })
}

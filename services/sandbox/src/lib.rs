//! A simulated payment provider over HTTP: charges, payouts, refunds, cards,
//! account numbers, settlement files and signed callbacks.
//!
//! It stands for another company, with books of its own in a database of its
//! own. What it has answered is committed; a reference means one movement for
//! ever; and on demand it fails in every way in which providers fail. The
//! README describes its API.

mod api;
mod card_token;
mod config;
mod domain;
mod due;
mod error;
mod jobs;
mod notices;
mod signature;
mod store;

use bursar_server::{Assembly, Definition, Invariant, Job, Migrations, Start};

use crate::config::Settings;

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// The rules that always hold in the provider's books. The number 16 is the
/// platform's: the provider's books are ours, at most one movement a reference.
const INVARIANTS: [Invariant; 7] = [
    Invariant {
        number: 16,
        name: "at most one movement of a kind a reference",
        sql: "SELECT kind, reference FROM movements GROUP BY kind, reference HAVING count(*) > 1",
    },
    Invariant {
        number: 16,
        name: "a movement is finished, or pending for no longer than planned",
        sql: "SELECT kind, reference FROM movements, test_clock
              WHERE (status = 'pending') <> (finished_at IS NULL)
                 OR (status = 'pending' AND settle_at < coalesce(frozen_at,
                     now() + ahead_us * interval '1 microsecond') - interval '1 minute')",
    },
    Invariant {
        number: 16,
        name: "only finished movements are told to the customer",
        sql: "SELECT callbacks.callback_id
              FROM callbacks JOIN movements USING (kind, reference)
              WHERE movements.status = 'pending'",
    },
    Invariant {
        number: 16,
        name: "the refunds of a charge or capture are what it counts, and no more than it",
        sql: "SELECT paid.kind, paid.reference
              FROM movements paid LEFT JOIN movements refund
                  ON refund.source_kind = paid.kind AND refund.source_reference = paid.reference
                 AND refund.kind = 'refund' AND refund.status <> 'declined'
              WHERE paid.kind IN ('charge', 'capture')
              GROUP BY paid.kind, paid.reference
              HAVING coalesce(sum(refund.amount_minor), 0) <> paid.refunded_minor
                  OR paid.refunded_minor > paid.amount_minor
                  OR (paid.refunded_minor > 0 AND paid.status <> 'succeeded')",
    },
    Invariant {
        number: 16,
        name: "the captures of an authorization are what it counts, and no more than it",
        sql: "SELECT card.reference
              FROM card_authorizations card LEFT JOIN movements capture
                  ON capture.source_kind = 'authorization'
                 AND capture.source_reference = card.reference
                 AND capture.status <> 'declined'
              GROUP BY card.reference
              HAVING coalesce(sum(capture.amount_minor), 0) <> card.captured_minor
                  OR card.captured_minor > card.amount_minor
                  OR (card.captured_minor > 0 AND card.status IN ('pending', 'declined'))",
    },
    Invariant {
        number: 16,
        name: "refunds and captures draw on something of their currency",
        sql: "SELECT draw.kind, draw.reference
              FROM movements draw
              WHERE draw.source_kind IS NOT NULL AND draw.currency IS DISTINCT FROM
                  CASE WHEN draw.source_kind = 'authorization' THEN
                      (SELECT currency FROM card_authorizations
                       WHERE reference = draw.source_reference)
                  ELSE
                      (SELECT currency FROM movements
                       WHERE kind = draw.source_kind AND reference = draw.source_reference)
                  END",
    },
    Invariant {
        number: 16,
        name: "an authorization is open for no longer than its time",
        sql: "SELECT reference FROM card_authorizations, test_clock
              WHERE status = 'authorized' AND captured_minor < amount_minor
                AND expires_at < coalesce(frozen_at,
                    now() + ahead_us * interval '1 microsecond') - interval '1 minute'",
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

//! `ExplainTransaction`.

use std::time::{Duration, Instant};

use bursar_aip::id::{ScheduleId, TransactionId};
use bursar_auth::{Caller, Reach};
use bursar_contracts::transaction::v1::explain_service_server::ExplainService;
use bursar_contracts::transaction::v1::{
    ExplainTransactionRequest, ExplainTransactionResponse, MissingPart,
};
use bursar_server::Context;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use super::get_transaction::is_visible;
use crate::advance::Engine;
use crate::error::Error;
use crate::explain::chain::{Audience, Logged, Material};
use crate::explain::entries::Entries;
use crate::store::transactions::Stored;
use crate::store::{bulk, events, explain, transactions};

/// The longest time that the ledger is waited for.
const LEDGER_TIME: Duration = Duration::from_secs(2);

/// The service's handler.
pub(crate) struct ExplainRpc {
    engine: Engine,
    entries: Entries,
}

impl ExplainRpc {
    pub(crate) fn new(engine: Engine, entries: Entries) -> Self {
        Self { engine, entries }
    }
}

#[tonic::async_trait]
impl ExplainService for ExplainRpc {
    async fn explain_transaction(
        &self,
        request: Request<ExplainTransactionRequest>,
    ) -> Result<Response<ExplainTransactionResponse>, Status> {
        let context = Context::of(&request)?;
        let reach = context.reach()?;
        let text = request.into_inner().transaction_id;
        let id: TransactionId = text.parse().map_err(|_| Error::FieldInvalid {
            field: "transaction_id",
        })?;
        let mut conn = self.engine.pool.acquire().await.map_err(Error::from)?;
        let found = transactions::find(&mut conn, id)
            .await
            .map_err(Error::from)?;
        let stored = found
            .filter(|stored| stored.tenant == context.caller.tenant)
            .filter(|stored| is_visible(&stored.transaction, reach))
            .ok_or(Error::TransactionNotFound)?;
        let audience = match reach {
            Reach::Any => Audience::Operator,
            Reach::Own(_) => Audience::Customer,
        };
        let mut material = collect(&mut conn, stored, audience).await;
        drop(conn);
        self.add_postings(&mut material, &context.caller, context.deadline)
            .await;
        Ok(Response::new(ExplainTransactionResponse {
            explanation: Some(material.explain(audience)),
        }))
    }
}

impl ExplainRpc {
    /// Adds the ledger's part. It is asked last, and half of the time is left for
    /// the answer.
    async fn add_postings(&self, material: &mut Material, caller: &Caller, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        let until = Instant::now() + LEDGER_TIME.min(left / 2);
        let transaction = &material.stored.transaction;
        let (postings, cause) = self
            .entries
            .of(transaction, &material.log, caller, until)
            .await;
        material.postings = postings;
        if let Some(cause) = cause {
            material.missing.push(MissingPart {
                part: "entries".to_owned(),
                cause: cause.to_string(),
            });
        }
    }
}

/// What the database knows. What cannot be read is missing, and named.
async fn collect(conn: &mut PgConnection, stored: Stored, audience: Audience) -> Material {
    let id = stored.transaction.id;
    let mut missing = Missing(Vec::new());
    let log = missing.unless("events", log(conn, id).await);
    let bulk = missing.unless("request", bulk::of_transaction(conn, id).await);
    let run = missing.unless("request", run(conn, id, &log).await);
    let refunds = missing.unless("refunds", explain::refunds(conn, id).await);
    let mut material = Material {
        stored,
        bulk,
        run,
        log,
        key: None,
        callbacks: Vec::new(),
        refunds,
        check: None,
        settled: Vec::new(),
        breaks: Vec::new(),
        postings: Vec::new(),
        missing: Vec::new(),
    };
    if audience == Audience::Operator {
        let resources: Vec<_> = [Some(id.uuid()), bulk.map(|bulk| bulk.uuid())]
            .into_iter()
            .flatten()
            .collect();
        let principal = material.stored.transaction.initiator.to_string();
        let tenant = &material.stored.tenant;
        let key = explain::key(conn, tenant, &principal, &resources).await;
        material.key = missing.unless("request", key);
        material.callbacks = missing.unless("callbacks", explain::callbacks(conn, id).await);
        material.check = missing.unless("check", explain::check(conn, id).await);
        material.settled = missing.unless("settlement", explain::settled(conn, id).await);
        material.breaks = missing.unless("settlement", explain::breaks(conn, id).await);
    }
    material.missing = missing.0;
    material
}

/// The events with their rows.
async fn log(conn: &mut PgConnection, id: TransactionId) -> Result<Vec<Logged>, sqlx::Error> {
    let rows = events::log(conn, id).await?;
    let read = events::read_all(&rows)?;
    let together = rows.into_iter().zip(read);
    Ok(together
        .map(|(row, (event, _))| Logged { event, row })
        .collect())
}

/// The schedule that made it, which the first event names, with the number of its run.
async fn run(
    conn: &mut PgConnection,
    id: TransactionId,
    log: &[Logged],
) -> Result<Option<(ScheduleId, i32)>, sqlx::Error> {
    let actor = log.first().map(|logged| logged.row.actor.as_str());
    let Some(schedule) = actor.and_then(|actor| actor.parse().ok()) else {
        return Ok(None);
    };
    let number = explain::run(conn, schedule, id).await?;
    Ok(number.map(|number| (schedule, number)))
}

/// The parts that are not there.
struct Missing(Vec<MissingPart>);

impl Missing {
    /// A part, or nothing and its name among the missing.
    fn unless<T: Default>(&mut self, part: &str, result: Result<T, sqlx::Error>) -> T {
        result.unwrap_or_else(|error| {
            tracing::warn!(part, %error, "a part of an explanation cannot be read");
            self.0.push(MissingPart {
                part: part.to_owned(),
                cause: "the database cannot tell it now".to_owned(),
            });
            T::default()
        })
    }
}

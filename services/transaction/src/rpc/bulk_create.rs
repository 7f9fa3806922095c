//! `CreateBulkTransfer`: many transfers by one call.
//!
//! A key that came before is answered as the other Create calls answer it (see
//! `creation.rs`), with the bulk transfer in place of the transaction.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bursar_aip::id::{BulkTransferId, TransactionId, UserId, WalletId};
use bursar_aip::idempotency::{self, Answer, Claim};
use bursar_contracts::transaction::v1::{
    BulkTransferMode, BulkTransferOrder, CreateBulkTransferRequest, CreateBulkTransferResponse,
};
use bursar_money::{Currency, PositiveMoney};
use bursar_server::{Context, crash_point, database, detached, now};
use bursar_status::correlation;
use sqlx::PgConnection;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::fraud::screening::Screened;
use crate::advance::{Engine, Freeze};
use crate::bulk::error::Error;
use crate::bulk::run::{BulkRun, kept};
use crate::bulk::{Bulk, Counts, Item, ItemResult, Mode, answer};
use crate::domain::limit::Exceeded;
use crate::domain::{Event, Fee, Initiated, Movement, MovementKind, Price};
use crate::fraud::Subject;
use crate::limits::{self, Mover};
use crate::pricing::{self, PricingError, Wanted};
use crate::store::events::{EventBatch, Told};
use crate::store::transactions::Stored;
use crate::store::{bulk, bulk_checks, bulk_rows};
use crate::watch;

/// How long after its deadline a live run's lease lapses: the time in which its
/// last commit may still be under way.
const LEASE_MARGIN: Duration = Duration::from_secs(3);

pub(super) async fn handle(
    engine: &Engine,
    request: Request<CreateBulkTransferRequest>,
) -> Result<Response<CreateBulkTransferResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let fingerprint = idempotency::fingerprint(&message);
    let mode = mode(&message)?;
    let orders = orders(message.transfers)?;
    let freeze = Freeze::of(&context).ok_or_else(idempotency::required)?;
    let call = Call {
        engine: engine.clone(),
        initiator: context.user_id()?,
        tier: context.caller.tier,
        actor: context.caller.actor(),
        freeze,
        fingerprint,
        deadline: context.deadline,
    };
    detached(call.run(mode, orders)).await
}

/// A transfer to make.
#[derive(Debug)]
struct Order {
    key: String,
    from: WalletId,
    to: WalletId,
    amount: PositiveMoney,
    description: String,
}

fn mode(message: &CreateBulkTransferRequest) -> Result<Mode, Error> {
    match message.mode() {
        BulkTransferMode::Atomic => Ok(Mode::Atomic),
        BulkTransferMode::Independent => Ok(Mode::Independent),
        BulkTransferMode::Unspecified => Err(Error::FieldInvalid {
            field: "mode".to_owned(),
        }),
    }
}

/// The transfers of a request. The first that is wrong is named.
fn orders(messages: Vec<BulkTransferOrder>) -> Result<Vec<Order>, Error> {
    let mut keys: HashMap<String, usize> = HashMap::with_capacity(messages.len());
    let mut orders = Vec::with_capacity(messages.len());
    for (position, message) in messages.into_iter().enumerate() {
        let order = order(position, message)?;
        if let Some(first) = keys.insert(order.key.clone(), position) {
            return Err(Error::ItemKeyRepeated { position, first });
        }
        orders.push(order);
    }
    Ok(orders)
}

fn order(position: usize, message: BulkTransferOrder) -> Result<Order, Error> {
    let invalid = |field: &str| Error::FieldInvalid {
        field: format!("transfers[{position}].{field}"),
    };
    let wallet = |text: &str, field| text.parse::<WalletId>().map_err(|_| invalid(field));
    let from = wallet(&message.from_wallet_id, "from_wallet_id")?;
    let to = wallet(&message.to_wallet_id, "to_wallet_id")?;
    if from == to {
        return Err(Error::SameWallet { position });
    }
    let amount = message.amount.ok_or_else(|| invalid("amount"))?;
    let currency = Currency::parse(&amount.currency_code)
        .map_err(|_| Error::CurrencyUnsupported { position })?;
    Ok(Order {
        key: message.item_key,
        from,
        to,
        amount: PositiveMoney::new(currency, amount.minor_units)
            .map_err(|_| invalid("amount.minor_units"))?,
        description: message.description,
    })
}

/// A call under way.
struct Call {
    engine: Engine,
    initiator: UserId,
    tier: u8,
    actor: String,
    freeze: Freeze,
    fingerprint: [u8; 32],
    deadline: Instant,
}

/// What became of claiming the key.
enum Claimed {
    /// It is ours, and so is the run.
    Run(Box<BulkRun>),
    /// It came before.
    Before(Claim),
    /// It is ours, and nothing was recorded. The answer is kept.
    Refused(Status),
}

impl Call {
    async fn run(
        self,
        mode: Mode,
        orders: Vec<Order>,
    ) -> Result<Response<CreateBulkTransferResponse>, Status> {
        match self.claim(mode, orders).await? {
            Claimed::Run(run) => {
                crash_point!("bulk.after_intent_commit");
                let bulk = run.bulk.id;
                let ended = self.engine.advance_bulk(*run).await;
                self.answer(bulk, ended).await
            }
            Claimed::Before(claim) => self.before(claim).await,
            Claimed::Refused(status) => Err(status),
        }
    }

    /// One database transaction: the key, the bulk transfer, its check with the
    /// first lease, and the intents of all transfers.
    async fn claim(&self, mode: Mode, orders: Vec<Order>) -> Result<Claimed, Error> {
        let at = now();
        let mut bulk = Bulk {
            id: BulkTransferId::generate(),
            tenant: self.freeze.tenant.clone(),
            mode,
            initiator: self.initiator,
            transfers: i32::try_from(orders.len()).unwrap_or(i32::MAX),
            counts: Counts::default(),
            created_at: at,
            updated_at: at,
        };
        let mut database = database::begin(&self.engine.bulks).await?;
        let scope = self.freeze.scope();
        let resource = Some(bulk.id.uuid());
        let claim =
            idempotency::claim(&mut database, &scope, self.fingerprint, resource, at).await?;
        if claim != Claim::Claimed {
            database.rollback().await?;
            return Ok(Claimed::Before(claim));
        }
        let prices = self.prices(&orders, &mut database).await?;
        let (mut items, told) = self.intents(orders, prices, at);
        if let Err(error) = self.screen(&items, &mut database).await {
            if !error.is_kept() {
                return Err(error.into());
            }
            let status = Status::from(error);
            idempotency::complete(&mut database, &scope, &Answer::error(&status)).await?;
            crash_point!("bulk.before_denial_commit");
            database.commit().await?;
            crash_point!("bulk.after_denial_commit");
            return Ok(Claimed::Refused(status));
        }
        let exceeded = match self.reserve(mode, &items, &mut database).await {
            Ok(exceeded) => exceeded,
            Err(error) => {
                database.rollback().await?;
                return self.refused_by_limit(error).await;
            }
        };
        let lease = bulk_checks::insert(
            &mut database,
            &bulk.tenant,
            bulk.id,
            self.engine.holder,
            self.lease_time(),
            &correlation::current(),
        )
        .await?;
        bulk::insert(&mut database, &bulk).await?;
        bulk::insert_items(&mut database, &bulk, &items).await?;
        let rows: Vec<&Stored> = items.iter().map(|item| &item.stored).collect();
        let batch = EventBatch::new();
        bulk_rows::insert(&mut database, &rows, &batch).await?;
        let told: Vec<Told<'_>> = rows
            .into_iter()
            .zip(&told)
            .map(|(stored, event)| Told {
                stored,
                events: std::slice::from_ref(event),
                actor: &self.actor,
            })
            .collect();
        batch.append_all(&mut database, &told).await?;
        let settled = limits::bulk::end(
            &mut database,
            &mut bulk,
            &mut items,
            &exceeded,
            at,
            &self.actor,
        )
        .await?;
        if bulk.is_over() {
            bulk_checks::remove(&mut database, &lease).await?;
            if let Some(answer) = kept(&bulk, &settled) {
                idempotency::complete(&mut database, &scope, &answer).await?;
            }
        }
        crash_point!("bulk.before_intent_commit");
        database.commit().await?;
        for item in &items {
            watch::moved(&item.stored.transaction);
        }
        Ok(Claimed::Run(Box::new(BulkRun {
            bulk,
            items,
            settled,
            lease,
            actor: self.actor.clone(),
            loose_end: false,
            freeze: Some(self.freeze.clone()),
            deadline: self.deadline,
            // A live run ends by its deadline, also while the process is ending.
            stop: CancellationToken::new(),
        })))
    }

    /// Holds all transfers against the fraud rules.
    async fn screen(
        &self,
        items: &[Item],
        database: &mut PgConnection,
    ) -> Result<(), crate::error::Error> {
        let tenant = &self.freeze.tenant;
        let subjects = items
            .iter()
            .filter_map(|item| Subject::of(tenant, &item.stored.transaction))
            .collect();
        Screened::hear_together(&self.engine, database, tenant, subjects).await
    }

    /// Reserves what the transfers use of the user's limits. Returns what some of
    /// them exceed that stand for themselves.
    async fn reserve(
        &self,
        mode: Mode,
        items: &[Item],
        database: &mut PgConnection,
    ) -> Result<Vec<(usize, Exceeded)>, Error> {
        let mover = Mover {
            tenant: &self.freeze.tenant,
            user: self.initiator,
            tier: self.tier,
        };
        limits::bulk::reserve(database, mover, mode, items).await
    }

    /// Keeps a limit's refusal for the key, and nothing else.
    async fn refused_by_limit(&self, error: Error) -> Result<Claimed, Error> {
        if !matches!(error, Error::LimitExceeded { .. }) {
            return Err(error);
        }
        let status = Status::from(error);
        let mut database = database::begin(&self.engine.pool).await?;
        let scope = self.freeze.scope();
        let claim =
            idempotency::claim(&mut database, &scope, self.fingerprint, None, now()).await?;
        if claim != Claim::Claimed {
            database.rollback().await?;
            return Ok(Claimed::Before(claim));
        }
        idempotency::complete(&mut database, &scope, &Answer::error(&status)).await?;
        crash_point!("bulk.before_refusal_commit");
        database.commit().await?;
        crash_point!("bulk.after_refusal_commit");
        Ok(Claimed::Refused(status))
    }

    /// What each of the transfers costs.
    async fn prices(
        &self,
        orders: &[Order],
        database: &mut PgConnection,
    ) -> Result<Vec<Price>, Error> {
        let wanted = |order: &Order| Wanted {
            tenant: &self.freeze.tenant,
            kind: MovementKind::Transfer,
            amount: order.amount,
        };
        let wanted: Vec<Wanted<'_>> = orders.iter().map(wanted).collect();
        let fees = pricing::fees_of(database, &wanted).await?;
        let price = |(position, fee): (usize, Result<Option<Fee>, PricingError>)| {
            // A fee alone can only make an amount too large.
            let fee = fee.map_err(|_| Error::FieldInvalid {
                field: format!("transfers[{position}].amount.minor_units"),
            })?;
            Ok(Price {
                fee,
                conversion: None,
            })
        };
        fees.into_iter().enumerate().map(price).collect()
    }

    /// The transfers as they are recorded, and the first event of each.
    fn intents(
        &self,
        orders: Vec<Order>,
        prices: Vec<Price>,
        at: OffsetDateTime,
    ) -> (Vec<Item>, Vec<Event>) {
        (0..)
            .zip(orders.into_iter().zip(prices))
            .map(|(position, (order, price))| {
                let initiated = Initiated {
                    movement: Movement::Transfer {
                        from: order.from,
                        to: order.to,
                    },
                    amount: order.amount,
                    price,
                    initiator: self.initiator,
                };
                let id = TransactionId::generate();
                let tenant = self.freeze.tenant.clone();
                let (stored, event) =
                    Stored::initiate(id, initiated, tenant, order.description, at);
                let item = Item {
                    position,
                    key: order.key,
                    stored,
                    refusal: None,
                };
                (item, event)
            })
            .unzip()
    }

    fn lease_time(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()) + LEASE_MARGIN
    }

    /// Answers a key that came before.
    async fn before(&self, claim: Claim) -> Result<Response<CreateBulkTransferResponse>, Status> {
        match claim {
            Claim::Replay(answer) => answer.into_result(),
            Claim::Reused => Err(idempotency::reused()),
            Claim::InUse {
                resource: Some(resource),
            } => self.go_on(resource).await,
            // Claimed here means that the key changed hands while we looked.
            Claim::InUse { resource: None } | Claim::Claimed => Err(idempotency::in_use()),
        }
    }

    /// Answers a key whose first request was not answered: by the bulk transfer if
    /// it is over, or by running it on if nobody else does.
    async fn go_on(&self, resource: Uuid) -> Result<Response<CreateBulkTransferResponse>, Status> {
        let id = BulkTransferId::from_uuid(resource);
        let mut conn = self.engine.pool.acquire().await.map_err(Error::from)?;
        crash_point!("bulk.before_take_over");
        let lease = bulk_checks::take(&mut conn, id, self.engine.holder, self.lease_time())
            .await
            .map_err(Error::from)?;
        crash_point!("bulk.after_take_over");
        drop(conn);
        if let Some(lease) = lease {
            let run = self
                .engine
                .load_bulk(
                    lease,
                    self.actor.clone(),
                    Some(self.freeze.clone()),
                    self.deadline,
                    CancellationToken::new(),
                )
                .await?;
            let ended = self.engine.advance_bulk(run).await;
            return self.answer(id, ended).await;
        }
        self.as_it_is(id).await
    }

    /// The answer about a bulk transfer that somebody else brought to its end,
    /// which is kept now.
    async fn as_it_is(
        &self,
        id: BulkTransferId,
    ) -> Result<Response<CreateBulkTransferResponse>, Status> {
        let mut conn = self.engine.pool.acquire().await.map_err(Error::from)?;
        let found = bulk::find(&mut conn, id).await.map_err(Error::from)?;
        let found = found.ok_or(Error::NotFound)?;
        if !found.is_over() {
            return Err(idempotency::in_use());
        }
        let limit = i64::from(found.transfers);
        let results = bulk::results(&mut conn, &found.tenant, id, 0, limit)
            .await
            .map_err(Error::from)?;
        drop(conn);
        if let Some(answer) = kept(&found, &results) {
            let mut database = database::begin(&self.engine.pool)
                .await
                .map_err(Error::from)?;
            match idempotency::complete(&mut database, &self.freeze.scope(), &answer).await {
                Ok(()) => {
                    crash_point!("bulk.before_answer_commit");
                    database.commit().await.map_err(Error::from)?;
                    crash_point!("bulk.after_answer_commit");
                }
                Err(sqlx::Error::RowNotFound) => {
                    database.rollback().await.map_err(Error::from)?;
                    return self.repeat(&found, &results).await;
                }
                Err(error) => return Err(Error::from(error).into()),
            }
        }
        Ok(Response::new(answer(&found, &results)?))
    }

    /// The answer that the key has. A key without one is gone, and nobody can ask for
    /// it any more: then the answer is where the bulk transfer is.
    async fn repeat(
        &self,
        bulk: &Bulk,
        results: &[ItemResult],
    ) -> Result<Response<CreateBulkTransferResponse>, Status> {
        let scope = self.freeze.scope();
        let begun = database::begin(&self.engine.pool).await;
        let mut database = begun.map_err(Error::from)?;
        let claim = idempotency::claim(&mut database, &scope, self.fingerprint, None, now())
            .await
            .map_err(Error::from)?;
        database.rollback().await.map_err(Error::from)?;
        match claim {
            Claim::Replay(answer) => answer.into_result(),
            Claim::Reused | Claim::InUse { .. } | Claim::Claimed => {
                Ok(Response::new(answer(bulk, results)?))
            }
        }
    }

    /// The answer to a run. One that was overtaken is answered by where the other
    /// run has come to, if that is an end; one whose key was answered meanwhile, by
    /// that answer.
    async fn answer(
        &self,
        id: BulkTransferId,
        ended: Result<BulkRun, Error>,
    ) -> Result<Response<CreateBulkTransferResponse>, Status> {
        match ended {
            Ok(run) if run.freeze.is_none() => self.repeat(&run.bulk, &run.results()).await,
            Ok(run) => Ok(Response::new(answer(&run.bulk, &run.results())?)),
            Err(Error::Superseded { .. }) => self.as_it_is(id).await,
            Err(error) => Err(error.into()),
        }
    }
}

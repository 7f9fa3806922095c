//! The intents of transfers, many in one commit.
//!
//! A transfer is recorded before the ledger is asked, so every one of them costs a
//! commit here. One database transaction takes those of all that begin at the moment:
//!
//! ```text
//! BEGIN
//! INSERT INTO idempotency_keys …      the claims, in the order of the keys
//! SELECT FROM idempotency_keys …      what became of the keys that came before
//! the fraud rules                     as they are now; their users wait for each other
//! the fee rules                       as they are now
//! the limits                          what is used of them is reserved
//! INSERT INTO transaction_checks …    with the first leases
//! INSERT INTO transactions …
//! INSERT INTO event_batches …
//! UPDATE idempotency_keys …           the answers of those that are refused
//! COMMIT
//! ```
//!
//! The second of two with one key, a transfer that a person must look at, and every
//! transfer of a batch that the database refuses, is recorded by its own call.

use std::collections::HashSet;
use std::time::Duration;

use bursar_aip::id::{TransactionId, UserId};
use bursar_aip::idempotency::{self, Answer, Claim, Claiming};
use bursar_money::PositiveMoney;
use bursar_server::{crash_point, database, now};
use bursar_status::correlation;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use tonic::Status;
use tracing::Span;
use uuid::Uuid;

use crate::advance::{Freeze, UNKNOWN_TERMS};
use crate::domain::{Event, Initiated, Input, Movement, Price, Step, step};
use crate::error::Error;
use crate::fraud::screener::Screener;
use crate::fraud::{Screening, Subject, Verdict};
use crate::group::{self, Crowd, Group, Piece};
use crate::limits::{self, LimitError, Mover};
use crate::pricing;
use crate::store::bulk_rows;
use crate::store::checks::{self, Lease};
use crate::store::events::{self, EventBatch, Told};
use crate::store::fraud::hits;
use crate::store::transactions::Stored;

/// How long a batch waits for one lock. One user whose rows are held elsewhere must not
/// hold up everybody else: each goes alone then.
const PATIENCE: &str = "SET LOCAL lock_timeout = '250ms'";

/// A transfer that is asked for, by somebody who may, and without a quote.
pub(crate) struct Asked {
    /// As which it will be recorded.
    pub(crate) transaction: TransactionId,
    /// The user who asks.
    pub(crate) initiator: UserId,
    /// How far the user's identity is verified.
    pub(crate) tier: u8,
    /// Who is told to have caused it.
    pub(crate) actor: String,
    /// The key, and what its answer is.
    pub(crate) freeze: Freeze,
    /// What tells the request from another one with its key.
    pub(crate) fingerprint: [u8; 32],
    /// For how long the first lease is.
    pub(crate) lease_time: Duration,
    /// What it does.
    pub(crate) movement: Movement,
    /// How much it moves.
    pub(crate) amount: PositiveMoney,
    /// The initiator's note.
    pub(crate) description: String,
    /// What its events are traced to.
    pub(crate) span: Span,
}

/// What became of an intent.
pub(crate) enum Fate {
    /// It is recorded, and this step is to be gone on with under this lease.
    Begun {
        /// The transfer.
        stored: Box<Stored>,
        /// The right to write.
        lease: Lease,
        /// The step.
        first: Box<Step>,
    },
    /// Its key came before.
    Before(Claim),
    /// It is refused, and the answer is kept.
    Refused(Status),
    /// It is not recorded here.
    Alone,
}

/// The way into the commits.
#[derive(Clone)]
pub(crate) struct Intents(Group<Asked, Fate>);

/// What the commits need.
#[derive(Clone)]
struct House {
    pool: PgPool,
    fraud: Screener,
    holder: Uuid,
}

/// The way into the commits, and the work that makes them.
pub(crate) fn intents(
    pool: PgPool,
    fraud: Screener,
    holder: Uuid,
    crowd: &Crowd,
) -> (
    Intents,
    impl Future<Output = anyhow::Result<()>> + Send + 'static,
) {
    let house = House {
        pool,
        fraud,
        holder,
    };
    let (group, inbox) = group::queue(crowd);
    let writing = inbox.serve(move |pieces| begin(house.clone(), pieces));
    (Intents(group), writing)
}

impl Intents {
    /// Records an intent with those of others.
    pub(crate) async fn begin(&self, asked: Asked) -> Fate {
        self.0.join(asked).await.unwrap_or(Fate::Alone)
    }
}

#[tracing::instrument(name = "transfers.begin", skip_all, fields(transfers = pieces.len()))]
async fn begin(house: House, pieces: Vec<Piece<Asked>>) -> Vec<Fate> {
    match record(&house, &pieces).await {
        Ok(fates) => fates,
        Err(error) => {
            tracing::warn!(%error, transfers = pieces.len(), "the intents are recorded one by one");
            pieces.iter().map(|_| Fate::Alone).collect()
        }
    }
}

/// What the fraud rules say of an intent.
struct Heard {
    index: usize,
    subject: Subject,
    screening: Screening,
}

/// Intents on their way, those that are settled with their fate.
struct Batch<'a> {
    pieces: &'a [Piece<Asked>],
    fates: Vec<Option<Fate>>,
    at: OffsetDateTime,
}

async fn record(house: &House, pieces: &[Piece<Asked>]) -> Result<Vec<Fate>, sqlx::Error> {
    let mut database = database::begin(&house.pool).await?;
    sqlx::raw_sql(PATIENCE).execute(&mut *database).await?;
    let mut batch = Batch::claim(&mut database, pieces).await?;
    if batch.open().is_empty() {
        database.rollback().await?;
        return Ok(batch.fates());
    }
    let heard = batch.screen(&mut database, &house.fraud).await?;
    let priced = batch.price(&mut database).await?;
    let recorded = batch.fit(&mut database, priced).await?;
    batch.reconsider(&mut database, &heard).await?;
    batch.note(&mut database, &heard).await?;
    batch.write(&mut database, recorded, house.holder).await?;
    batch.answer(&mut database).await?;
    crash_point!("intents.before_commit");
    database.commit().await?;
    crash_point!("intents.after_commit");
    Ok(batch.fates())
}

impl<'a> Batch<'a> {
    /// Claims the keys. Of two with the same key, the second one finds the first.
    async fn claim(
        conn: &mut PgConnection,
        pieces: &'a [Piece<Asked>],
    ) -> Result<Self, sqlx::Error> {
        let at = now();
        let mut fates: Vec<Option<Fate>> = Vec::with_capacity(pieces.len());
        let (mut seen, mut firsts) = (HashSet::new(), Vec::new());
        for (index, piece) in pieces.iter().enumerate() {
            let scope = piece.work.freeze.scope();
            let key = (
                scope.tenant,
                scope.principal,
                scope.method,
                scope.key.as_str(),
            );
            let is_first = seen.insert(key);
            fates.push((!is_first).then_some(Fate::Alone));
            if is_first {
                firsts.push(index);
            }
        }
        let claiming: Vec<Claiming<'_>> = firsts
            .iter()
            .map(|&index| {
                let asked = &pieces[index].work;
                Claiming {
                    scope: asked.freeze.scope(),
                    fingerprint: asked.fingerprint,
                    resource: Some(asked.transaction.uuid()),
                }
            })
            .collect();
        let claims = idempotency::claim_all(conn, &claiming, at).await?;
        for (index, claim) in firsts.into_iter().zip(claims) {
            fates[index] = match claim {
                Some(Claim::Claimed) => None,
                Some(before) => Some(Fate::Before(before)),
                None => Some(Fate::Alone),
            };
        }
        Ok(Self { pieces, fates, at })
    }

    /// Those that are not settled, with their indices.
    fn open(&self) -> Vec<(usize, &'a Asked)> {
        let open = self.pieces.iter().zip(&self.fates).enumerate();
        open.filter(|(_, (_, fate))| fate.is_none())
            .map(|(index, (piece, _))| (index, &piece.work))
            .collect()
    }

    /// Hears the fraud rules. Who is stopped for a person's decision is recorded alone.
    async fn screen(
        &mut self,
        conn: &mut PgConnection,
        fraud: &Screener,
    ) -> Result<Vec<Heard>, sqlx::Error> {
        let mut heard: Vec<(usize, Subject)> = Vec::new();
        for (index, asked) in self.open() {
            let (tenant, id) = (&asked.freeze.tenant, asked.transaction);
            let user = asked.initiator;
            let subject = Subject::wanted(tenant, id, user, &asked.movement, asked.amount, self.at);
            heard.extend(subject.map(|subject| (index, subject)));
        }
        let subjects: Vec<Subject> = heard.iter().map(|(_, subject)| subject.clone()).collect();
        let screenings = fraud.screen(conn, &subjects).await?;
        for ((index, _), screening) in heard.iter().zip(&screenings) {
            match screening.verdict {
                Verdict::Review => self.give_back(conn, *index).await?,
                Verdict::Deny => self.refuse(*index, Error::FraudDenied),
                _ => {}
            }
        }
        let heard = heard.into_iter().zip(screenings);
        Ok(heard
            .map(|((index, subject), screening)| Heard {
                index,
                subject,
                screening,
            })
            .collect())
    }

    /// Lets those be asked for alone that were denied when the rules counted an earlier
    /// transfer of the same user that is not recorded after all.
    async fn reconsider(
        &mut self,
        conn: &mut PgConnection,
        heard: &[Heard],
    ) -> Result<(), sqlx::Error> {
        let mut unrecorded = HashSet::new();
        for one in heard {
            let user = (&one.subject.tenant, one.subject.user);
            if one.screening.verdict == Verdict::Deny && unrecorded.contains(&user) {
                self.give_back(conn, one.index).await?;
            }
            if self.fates[one.index].is_some() {
                unrecorded.insert(user);
            }
        }
        Ok(())
    }

    /// Writes what the rules found about those that are recorded or were denied. What
    /// is refused for another reason leaves nothing, as it does alone.
    async fn note(&self, conn: &mut PgConnection, heard: &[Heard]) -> Result<(), sqlx::Error> {
        let found: Vec<(&Subject, &Screening)> = heard
            .iter()
            .filter(|one| match &self.fates[one.index] {
                None => true,
                Some(Fate::Refused(_)) => one.screening.verdict == Verdict::Deny,
                Some(Fate::Begun { .. } | Fate::Before(_) | Fate::Alone) => false,
            })
            .map(|one| (&one.subject, &one.screening))
            .collect();
        hits::record(conn, &found).await
    }

    /// What each costs that is not settled.
    async fn price(&mut self, conn: &mut PgConnection) -> Result<Vec<(usize, Price)>, sqlx::Error> {
        let open = self.open();
        let orders: Vec<pricing::Order<'_>> = open
            .iter()
            .map(|(_, asked)| pricing::Order {
                transaction: asked.transaction,
                tenant: &asked.freeze.tenant,
                user: asked.initiator,
                movement: &asked.movement,
                amount: asked.amount,
                quote: None,
            })
            .collect();
        let prices = pricing::price(conn, &orders, self.at).await?;
        let mut priced = Vec::with_capacity(open.len());
        for ((index, _), price) in open.into_iter().zip(prices) {
            match price.map_err(Error::from) {
                Ok(price) => priced.push((index, price)),
                Err(error) if error.is_kept() => self.refuse(index, error),
                Err(_) => self.give_back(conn, index).await?,
            }
        }
        Ok(priced)
    }

    /// The transfers as they are to be recorded, of which what fits the users' limits
    /// is reserved.
    async fn fit(
        &mut self,
        conn: &mut PgConnection,
        priced: Vec<(usize, Price)>,
    ) -> Result<Vec<(usize, Stored, Event)>, sqlx::Error> {
        let pieces = self.pieces;
        let recorded: Vec<(usize, Stored, Event)> = priced
            .into_iter()
            .map(|(index, price)| {
                let (stored, event) = pieces[index].work.initiate(price, self.at);
                (index, stored, event)
            })
            .collect();
        let moved: Vec<(Mover<'_>, &Stored)> = recorded
            .iter()
            .map(|(index, stored, _)| (pieces[*index].work.mover(), stored))
            .collect();
        let exceeded = limits::reserve_all(conn, &moved).await?;
        let mut over = HashSet::new();
        for (position, exceeded) in exceeded {
            let index = recorded[position].0;
            over.insert(index);
            self.refuse(index, LimitError::Exceeded(Box::new(exceeded)).into());
        }
        let fits = |(index, ..): &(usize, Stored, Event)| !over.contains(index);
        Ok(recorded.into_iter().filter(fits).collect())
    }

    async fn write(
        &mut self,
        conn: &mut PgConnection,
        recorded: Vec<(usize, Stored, Event)>,
        holder: Uuid,
    ) -> Result<(), sqlx::Error> {
        let new: Vec<checks::New<'_>> = recorded
            .iter()
            .map(|(index, stored, _)| {
                let piece = &self.pieces[*index];
                checks::New {
                    tenant: &stored.tenant,
                    transaction: stored.transaction.id,
                    lease: piece.work.lease_time,
                    correlation: &piece.correlation,
                }
            })
            .collect();
        let leases = checks::insert_all(conn, &new, holder).await?;
        let rows: Vec<&Stored> = recorded.iter().map(|(_, stored, _)| stored).collect();
        let batch = EventBatch::new();
        bulk_rows::insert(conn, &rows, &batch).await?;
        let mut logged = Vec::with_capacity(recorded.len());
        for (index, stored, event) in &recorded {
            let piece = &self.pieces[*index];
            let told = Told {
                stored,
                events: std::slice::from_ref(event),
                actor: &piece.work.actor,
            };
            let encoded = async { piece.work.span.in_scope(|| events::encode(told)) };
            logged.extend(correlation::scope(piece.correlation.clone(), encoded).await);
        }
        batch.append_encoded(conn, &logged).await?;
        for ((index, stored, _), lease) in recorded.into_iter().zip(leases) {
            let resumed = step(
                &stored.transaction,
                Input::Resume(None),
                &UNKNOWN_TERMS,
                self.at,
            );
            let first = resumed.map_err(|error| sqlx::Error::Encode(error.into()))?;
            self.fates[index] = Some(Fate::Begun {
                stored: Box::new(stored),
                lease,
                first: Box::new(first),
            });
        }
        Ok(())
    }

    /// Keeps the answers of those that are refused.
    async fn answer(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        let mut answers = Vec::new();
        for (piece, fate) in self.pieces.iter().zip(&self.fates) {
            if let Some(Fate::Refused(status)) = fate {
                answers.push((piece.work.freeze.scope(), Answer::error(status)));
            }
        }
        let answers: Vec<_> = answers
            .iter()
            .map(|(scope, answer)| (*scope, answer))
            .collect();
        idempotency::complete_all(conn, &answers).await?;
        Ok(())
    }

    fn refuse(&mut self, index: usize, error: Error) {
        self.fates[index] = Some(Fate::Refused(error.into()));
    }

    /// Gives the key back, for the call to claim it by itself.
    async fn give_back(
        &mut self,
        conn: &mut PgConnection,
        index: usize,
    ) -> Result<(), sqlx::Error> {
        self.fates[index] = Some(Fate::Alone);
        idempotency::release(conn, &self.pieces[index].work.freeze.scope()).await
    }

    fn fates(self) -> Vec<Fate> {
        let fates = self.fates.into_iter();
        fates.map(|fate| fate.unwrap_or(Fate::Alone)).collect()
    }
}

impl Asked {
    fn mover(&self) -> Mover<'_> {
        Mover {
            tenant: &self.freeze.tenant,
            user: self.initiator,
            tier: self.tier,
        }
    }

    /// The transfer as it is recorded, and its first event.
    fn initiate(&self, price: Price, at: OffsetDateTime) -> (Stored, Event) {
        let initiated = Initiated {
            movement: self.movement.clone(),
            amount: self.amount,
            price,
            initiator: self.initiator,
        };
        let tenant = self.freeze.tenant.clone();
        let description = self.description.clone();
        Stored::initiate(self.transaction, initiated, tenant, description, at)
    }
}

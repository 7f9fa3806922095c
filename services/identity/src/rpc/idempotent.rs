//! A mutation under its caller's idempotency key.
//!
//! The claim, the effect and the answer share one transaction: [`Keyed::begin`]
//! opens it and claims, [`Claimed::finish`] records the answer and commits.

use bursar_aip::id::TenantId;
use bursar_aip::idempotency::{self, Answer, Claim, Key, Scope};
use bursar_server::{Context, database};
use prost::Message;
use sqlx::{PgPool, Postgres, Transaction};
use time::OffsetDateTime;
use tonic::{Response, Status};

use crate::error::Error;

/// A request with the key that it came with, if it did.
pub(crate) struct Keyed {
    tenant: TenantId,
    principal: String,
    method: &'static str,
    key: Option<Key>,
    fingerprint: [u8; 32],
}

/// What a request finds at its turn.
pub(crate) enum Turn<'a, T> {
    /// It is to be done.
    Do(Claimed<'a>),
    /// It was done before; this was the answer.
    Done(Result<Response<T>, Status>),
}

/// An open transaction that holds the claim.
pub(crate) struct Claimed<'a> {
    /// The transaction, for the effect.
    pub(crate) transaction: Transaction<'static, Postgres>,
    scope: Option<Scope<'a>>,
}

impl Keyed {
    /// Notes the key. `fingerprinted` is the request without its secrets, which
    /// are kept nowhere, hashes of requests included.
    pub(crate) fn new(context: &Context, fingerprinted: &impl Message) -> Self {
        Self {
            tenant: context.caller.tenant.clone(),
            principal: context.caller.principal(),
            method: context.method,
            key: context.idempotency_key.clone(),
            fingerprint: idempotency::fingerprint(fingerprinted),
        }
    }

    /// Opens the transaction and claims the key. A duplicate waits here for the
    /// first request to end.
    pub(crate) async fn begin<T: Message + Default>(
        &self,
        pool: &PgPool,
        now: OffsetDateTime,
    ) -> Result<Turn<'_, T>, Error> {
        let mut transaction = database::begin(pool).await?;
        let Some(key) = &self.key else {
            return Ok(Turn::Do(Claimed {
                transaction,
                scope: None,
            }));
        };
        let scope = Scope {
            tenant: &self.tenant,
            principal: &self.principal,
            method: self.method,
            key,
        };
        match idempotency::claim(&mut transaction, &scope, self.fingerprint, None, now).await? {
            Claim::Claimed => Ok(Turn::Do(Claimed {
                transaction,
                scope: Some(scope),
            })),
            Claim::Replay(answer) => Ok(Turn::Done(answer.into_result())),
            Claim::Reused => Err(idempotency::reused().into()),
            Claim::InUse { .. } => Err(idempotency::in_use().into()),
        }
    }
}

impl Claimed<'_> {
    /// Records the outcome as the answer for duplicates and commits. Refusals
    /// are recorded too, so they must have left the transaction usable; an
    /// outcome that is no definite answer rolls back, claim and all.
    pub(crate) async fn finish<T: Message>(
        mut self,
        outcome: Result<T, Error>,
    ) -> Result<Response<T>, Error> {
        match outcome {
            Ok(message) => {
                if let Some(scope) = &self.scope {
                    let answer = Answer::response(&message);
                    idempotency::complete(&mut self.transaction, scope, &answer).await?;
                }
                self.transaction.commit().await?;
                Ok(Response::new(message))
            }
            Err(error) if error.is_definite() => {
                let status = Status::from(error);
                if let Some(scope) = &self.scope {
                    let answer = Answer::error(&status);
                    idempotency::complete(&mut self.transaction, scope, &answer).await?;
                    self.transaction.commit().await?;
                }
                Err(status.into())
            }
            Err(error) => Err(error),
        }
    }
}

//! Operations that take effect once, however often they are asked for.
//!
//! ```text
//! BEGIN
//! INSERT INTO idempotency_keys …      a concurrent duplicate waits here for the COMMIT
//! SAVEPOINT
//!   the effect: it reads, writes, posts through the ledger's queue, and answers
//! RELEASE                             or ROLLBACK TO, when it refuses
//! UPDATE idempotency_keys SET answer …
//! COMMIT
//! ```
//!
//! What an effect writes on its connection commits with its answer. What it
//! posts commits earlier, by a writer: an effect that is cut off between the two
//! has posted, and its key is free again. So a posting takes the
//! [`Operation`]'s id, which follows from the key, and its fingerprint, which is
//! the request's: done again, the effect meets its own posting in the ledger
//! and answers from it, and with another request it is refused. In this way a
//! key that posted something is remembered for as long as the ledger, not only
//! for the day that answers are kept.
//!
//! Refusals are answers and are kept; what may go otherwise the next time is
//! not ([`Error::is_refusal`]). Without a key the effect runs by itself, in a
//! transaction and with an operation id of its own.
//!
//! Locks: an effect that posts holds no row of wallets, holds or grants locked,
//! or it would wait for a writer that waits for it. And it works on the connection
//! it is given: duplicates may hold all others of the pool while they wait for it.

use bursar_aip::id::{HoldId, TenantId};
use bursar_aip::idempotency::{self, Answer, Claim, Key, Scope};
use bursar_server::{Context, crash_point, database, now};
use prost::Message;
use sqlx::{Connection, PgConnection, PgPool};
use tonic::{Response, Status};
use uuid::{Uuid, uuid};

use crate::domain::posting::{Fingerprint, PostingId};
use crate::error::Error;

/// The namespace of operation ids that follow from keys. They are stored, so
/// it never changes.
const OPERATIONS: Uuid = uuid!("5b0c2f3e-94f1-4b53-8f0f-6f4e6d0f1c57");

/// A call that shall take effect once: what its key is bound to.
pub(crate) struct Call {
    tenant: TenantId,
    principal: String,
    method: &'static str,
    key: Option<Key>,
    fingerprint: Fingerprint,
}

/// The identity of an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Operation {
    id: Uuid,
    /// What tells the request from another one with its key; the postings'
    /// fingerprint.
    pub(crate) fingerprint: Fingerprint,
}

impl Operation {
    /// The id of the posting that is the effect.
    pub(crate) fn posting(&self) -> PostingId {
        PostingId::from_uuid(self.id)
    }

    /// The id of a hold that the effect places.
    pub(crate) fn hold(&self) -> HoldId {
        HoldId::from_uuid(self.derive("hold"))
    }

    /// The id of something else that the effect makes, such as a second posting:
    /// the same one whenever the operation is done again.
    pub(crate) fn derive(&self, what: &str) -> Uuid {
        Uuid::new_v5(&self.id, what.as_bytes())
    }
}

impl Call {
    /// The call of a request.
    pub(crate) fn of(context: &Context, request: &impl Message) -> Self {
        Self {
            tenant: context.caller.tenant.clone(),
            principal: context.caller.principal(),
            method: context.method,
            key: context.idempotency_key.clone(),
            fingerprint: idempotency::fingerprint(request),
        }
    }

    fn scope(&self) -> Option<Scope<'_>> {
        Some(Scope {
            tenant: &self.tenant,
            principal: &self.principal,
            method: self.method,
            key: self.key.as_ref()?,
        })
    }

    /// The operation: always the same with a key, another one each time without.
    fn operation(&self) -> Operation {
        let id = self.scope().map_or_else(Uuid::now_v7, |scope| {
            let key = scope.key.as_str();
            // No part has a line break in it, so two scopes never share a text.
            let text = [scope.tenant.as_str(), scope.principal, scope.method, key].join("\n");
            Uuid::new_v5(&OPERATIONS, text.as_bytes())
        });
        Operation {
            id,
            fingerprint: self.fingerprint,
        }
    }
}

/// Runs `effect` unless the call's key was used before; then its first answer
/// is given again. Call it inside [`bursar_server::detached`], so that a caller
/// that leaves does not cut the effect off.
pub(crate) async fn once<T, F>(pool: &PgPool, call: &Call, effect: F) -> Result<Response<T>, Status>
where
    T: Message + Default,
    F: AsyncFnOnce(&mut PgConnection, Operation) -> Result<T, Error>,
{
    let operation = call.operation();
    let mut transaction = database::begin(pool).await.map_err(Error::from)?;
    let Some(scope) = call.scope() else {
        let answer = effect(&mut transaction, operation).await?;
        crash_point!("once.before_unkeyed_commit");
        transaction.commit().await.map_err(Error::from)?;
        crash_point!("once.after_unkeyed_commit");
        return Ok(Response::new(answer));
    };
    let claim = idempotency::claim(&mut transaction, &scope, call.fingerprint, None, now())
        .await
        .map_err(Error::from)?;
    match claim {
        Claim::Claimed => {}
        Claim::Replay(answer) => return answer.into_result(),
        Claim::Reused => return Err(Error::KeyReused.into()),
        Claim::InUse { .. } => return Err(Error::KeyInUse.into()),
    }
    let mut savepoint = transaction.begin().await.map_err(Error::from)?;
    let result = match effect(&mut savepoint, operation).await {
        Ok(answer) => {
            savepoint.commit().await.map_err(Error::from)?;
            Ok(answer)
        }
        Err(refusal) if refusal.is_refusal() => {
            savepoint.rollback().await.map_err(Error::from)?;
            Err(Status::from(refusal))
        }
        Err(failure) => return Err(failure.into()),
    };
    let answer = match &result {
        Ok(message) => Answer::response(message),
        Err(status) => Answer::error(status),
    };
    idempotency::complete(&mut transaction, &scope, &answer)
        .await
        .map_err(Error::from)?;
    crash_point!("once.before_commit");
    transaction.commit().await.map_err(Error::from)?;
    crash_point!("once.after_commit");
    result.map(Response::new)
}

#[cfg(test)]
mod tests;

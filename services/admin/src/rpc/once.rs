//! A mutation that takes an idempotency key, run once a key.

use bursar_aip::idempotency::{self, Answer, Claim, Key, Scope};
use bursar_auth::Caller;
use bursar_server::{Context, now};
use prost::Message;
use sqlx::{PgConnection, Postgres, Transaction};
use std::sync::Arc;
use tonic::{Response, Status};

use crate::error::AdminError;

/// A call that changes something, with the key that the caller sent, if any.
pub(super) struct Once {
    caller: Arc<Caller>,
    principal: String,
    method: &'static str,
    /// The key and the fingerprint of the request.
    key: Option<(Key, [u8; 32])>,
}

impl Once {
    /// The call of `context` with the request `message`.
    pub(super) fn new(context: &Context, message: &impl Message) -> Self {
        Self {
            caller: Arc::clone(&context.caller),
            principal: context.caller.principal(),
            method: context.method,
            key: context
                .idempotency_key
                .clone()
                .map(|key| (key, idempotency::fingerprint(message))),
        }
    }

    /// Claims the key in the transaction of the effect. Returns the answer to
    /// give when the key was claimed before, and `None` when the call is the
    /// first with its key or has none.
    pub(super) async fn answered<T: Message + Default>(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Option<Result<Response<T>, Status>>, AdminError> {
        let Some((key, fingerprint)) = &self.key else {
            return Ok(None);
        };
        match idempotency::claim(connection, &self.scope(key), *fingerprint, None, now()).await? {
            Claim::Claimed => Ok(None),
            Claim::Replay(answer) => Ok(Some(answer.into_result())),
            Claim::Reused => Err(AdminError::KeyReused),
            Claim::InUse { .. } => Err(AdminError::KeyInUse),
        }
    }

    /// Ends the call: an effect is committed with its answer; a final refusal,
    /// which has written nothing, is committed as the answer to the key; any
    /// other failure is rolled back with the claim.
    pub(super) async fn finish<T: Message + Default>(
        &self,
        mut transaction: Transaction<'static, Postgres>,
        outcome: Result<T, AdminError>,
    ) -> Result<Response<T>, Status> {
        match outcome {
            Ok(message) => {
                self.keep(&mut transaction, || Answer::response(&message))
                    .await?;
                transaction.commit().await.map_err(AdminError::from)?;
                Ok(Response::new(message))
            }
            Err(error) if error.is_final() => {
                let status = Status::from(error);
                self.keep(&mut transaction, || Answer::error(&status))
                    .await?;
                transaction.commit().await.map_err(AdminError::from)?;
                Err(status)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn keep(
        &self,
        connection: &mut PgConnection,
        answer: impl FnOnce() -> Answer,
    ) -> Result<(), AdminError> {
        if let Some((key, _)) = &self.key {
            idempotency::complete(connection, &self.scope(key), &answer()).await?;
        }
        Ok(())
    }

    fn scope<'a>(&'a self, key: &'a Key) -> Scope<'a> {
        Scope {
            tenant: &self.caller.tenant,
            principal: &self.principal,
            method: self.method,
            key,
        }
    }
}

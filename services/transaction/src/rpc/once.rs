//! A change that is made once for a key, and answered in the same place.
//!
//! It is for calls whose effect is rows of this database alone: the key, the effect
//! and the answer are one database transaction. A refusal rolls it back and is not
//! kept. Where a key is optional and none was sent, the change is made as often as
//! it is asked for.

use bursar_aip::idempotency::{self, Answer, Claim};
use bursar_server::{Context, crash_point, database, now};
use prost::Message;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use tonic::{Response, Status};

use crate::advance::Freeze;
use crate::error::Error;

/// A call that changes something once.
pub(super) struct Once {
    freeze: Option<Freeze>,
    fingerprint: [u8; 32],
}

/// What became of claiming the key.
pub(super) enum Begun {
    /// The change is to be made.
    First(Box<Open>),
    /// It was made before, and was answered so.
    Before(Answer),
}

/// A change under way. Dropped, it never happened.
pub(super) struct Open {
    /// Where the change is made.
    pub(super) database: Transaction<'static, Postgres>,
    freeze: Option<Freeze>,
}

impl Once {
    /// Reads the call's place among the keys. The contract says whether it needs one.
    pub(super) fn of(context: &Context, message: &impl Message) -> Self {
        Self {
            freeze: Freeze::of(context),
            fingerprint: idempotency::fingerprint(message),
        }
    }

    /// Claims the key, if there is one.
    pub(super) async fn begin(self, pool: &PgPool) -> Result<Begun, Status> {
        let mut database = database::begin(pool).await.map_err(Error::from)?;
        if let Some(answer) = self.claim(&mut database).await? {
            return Ok(Begun::Before(answer));
        }
        Ok(Begun::First(Box::new(Open {
            database,
            freeze: self.freeze,
        })))
    }

    /// The answer to a key that came before, for a call that has more to ask than
    /// this database before it can begin.
    pub(super) async fn answered(&self, pool: &PgPool) -> Result<Option<Answer>, Status> {
        if self.freeze.is_none() {
            return Ok(None);
        }
        let mut database = database::begin(pool).await.map_err(Error::from)?;
        let answer = self.claim(&mut database).await?;
        database.rollback().await.map_err(Error::from)?;
        Ok(answer)
    }

    /// Claims the key; its answer when it came before.
    async fn claim(&self, database: &mut PgConnection) -> Result<Option<Answer>, Status> {
        let Some(freeze) = &self.freeze else {
            return Ok(None);
        };
        let claim = idempotency::claim(database, &freeze.scope(), self.fingerprint, None, now())
            .await
            .map_err(Error::from)?;
        match claim {
            Claim::Claimed => Ok(None),
            Claim::Replay(answer) => Ok(Some(answer)),
            Claim::Reused => Err(idempotency::reused()),
            Claim::InUse { .. } => Err(idempotency::in_use()),
        }
    }
}

impl Open {
    /// Commits the change with its answer.
    pub(super) async fn finish<T: Message>(mut self, response: T) -> Result<Response<T>, Status> {
        if let Some(freeze) = &self.freeze {
            let answer = Answer::response(&response);
            idempotency::complete(&mut self.database, &freeze.scope(), &answer)
                .await
                .map_err(Error::from)?;
        }
        crash_point!("once.before_commit");
        self.database.commit().await.map_err(Error::from)?;
        crash_point!("once.after_commit");
        Ok(Response::new(response))
    }
}

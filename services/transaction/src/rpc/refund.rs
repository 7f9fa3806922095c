//! What a refund is asked for, and how it becomes an intent.

use bursar_aip::id::{TenantId, TransactionId};
use bursar_money::PositiveMoney;
use bursar_server::canary;
use sqlx::PgConnection;

use super::creation::Intent;
use crate::advance::Engine;
use crate::domain::{Asker, RefundError, plan_refund};
use crate::error::Error;
use crate::store::transactions;

/// A refund that is asked for.
pub(super) struct RefundWish {
    /// The transaction to refund.
    pub(super) original: TransactionId,
    /// How much; all that is left when absent.
    pub(super) amount: Option<PositiveMoney>,
    /// Who asks.
    pub(super) asker: Asker,
    /// The asker's note.
    pub(super) description: String,
}

impl RefundWish {
    /// Locks the original, so that nobody else reserves what is left of it before
    /// the database transaction ends. First of all: see the store's lock order.
    pub(super) async fn lock(&self, conn: &mut PgConnection) -> Result<(), Error> {
        transactions::lock(conn, self.original).await?;
        Ok(())
    }

    /// The intent, with its amount reserved of the original, which is locked. An
    /// [`Error::Refund`] is an answer; everything else may go better another time.
    pub(super) async fn intent(
        self,
        engine: &Engine,
        tenant: &TenantId,
        conn: &mut PgConnection,
    ) -> Result<Intent, Error> {
        let original = transactions::find(conn, self.original)
            .await?
            .filter(|stored| stored.tenant == *tenant)
            .ok_or(RefundError::NotFound)?;
        let (movement, amount) = plan_refund(
            &original.transaction,
            original.refunded_minor,
            self.amount,
            self.asker,
        )?;
        if let Some(provider) = movement.provider()
            && engine.providers.get(provider).is_none()
        {
            return Err(Error::ProviderUnknown);
        }
        if !canary!("refund.reserve_skipped") {
            transactions::reserve(conn, self.original, amount.minor()).await?;
        }
        Ok(Intent {
            movement,
            amount,
            description: self.description,
            quote: None,
        })
    }
}

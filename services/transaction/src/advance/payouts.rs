//! What only payouts to bank accounts need: whom the provider is to pay, and what the
//! settlement says where the provider cannot be asked.

use super::{Engine, Run};
use crate::domain::Looked;
use crate::payout::PayoutError;
use crate::provider::Order;
use crate::store::reconciliation::breaks;
use crate::store::transactions::Stored;

impl Engine {
    /// The order with whom the provider is to pay, where it has to be told.
    pub(super) async fn paying(&self, run: &Run, order: Order) -> Result<Order, PayoutError> {
        let Some(id) = run.stored.transaction.movement.payout_account() else {
            return Ok(order);
        };
        let mut conn = self.pool.acquire().await?;
        let found = self.payout_accounts.find(&mut conn, id).await?;
        let account = found.ok_or(PayoutError::NotFound)?;
        Ok(Order {
            payee: Some(account.payee),
            ..order
        })
    }

    /// What the settlement says of a transaction whose provider cannot be asked. Only
    /// that it was done: that a line is missing says nothing.
    pub(super) async fn settled(&self, stored: &Stored) -> Looked {
        let settled = async {
            let mut conn = self.pool.acquire().await?;
            breaks::settled_payout(&mut conn, stored).await
        };
        match settled.await {
            Ok(Some(done)) => Looked::Found(done),
            Ok(None) => Looked::Unanswered,
            Err(error) => {
                tracing::warn!(%error, "what the settlement says cannot be read now");
                Looked::Unanswered
            }
        }
    }
}

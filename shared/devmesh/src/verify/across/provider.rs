//! Transactions against the simulated provider's own books: what it took in and
//! paid out is what ours say, and never more than once.

use futures::Stream;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::Keyed;
use super::transaction::Transaction;

/// What the provider has under one reference of ours, which is the
/// transaction's id as text.
#[derive(Clone, Debug, Eq, FromRow, PartialEq)]
pub(super) struct Movement {
    transaction_id: Uuid,
    /// How many movements have the reference.
    movements: i64,
    /// `charge`, `capture`, `payout` or `refund`, of the one that succeeded.
    kind: Option<String>,
    amount_minor: Option<i64>,
    currency: Option<String>,
}

impl Keyed for Movement {
    fn id(&self) -> Uuid {
        self.transaction_id
    }
}

/// Whether the provider has what the transaction says. One under way may be
/// anything, except done twice.
pub(super) fn agree(transaction: Option<&Transaction>, movement: Option<&Movement>) -> bool {
    let succeeded = movement.is_some_and(|movement| movement.kind.is_some());
    let is_single = movement.is_none_or(|movement| movement.movements == 1);
    let matches = match transaction {
        // Money that the provider moved and nobody of ours ordered.
        None => !succeeded,
        Some(transaction) if transaction.is_completed() => {
            succeeded && movement.is_some_and(|movement| is_same(transaction, movement))
        }
        Some(transaction) if transaction.is_failed() => !succeeded,
        Some(transaction) => {
            movement.is_none_or(|movement| !succeeded || is_same(transaction, movement))
        }
    };
    is_single && matches
}

fn is_same(transaction: &Transaction, movement: &Movement) -> bool {
    let kinds: &[&str] = match transaction.kind.as_str() {
        // From an account, or from a card.
        "deposit" => &["charge", "capture"],
        "refund" => &["refund"],
        _ => &["payout"],
    };
    let is_of_kind = |kind: &str| kinds.contains(&kind);
    movement.kind.as_deref().is_some_and(is_of_kind)
        && movement.amount_minor == Some(transaction.amount_minor)
        && movement.currency.as_ref() == Some(&transaction.currency_code)
}

/// What is under every reference of the form of ours, by transaction.
pub(super) fn movements(
    connection: &mut PgConnection,
) -> impl Stream<Item = sqlx::Result<Movement>> + '_ {
    sqlx::query_as(
        "SELECT substr(reference, 5)::uuid AS transaction_id,
                count(*) AS movements,
                max(kind) FILTER (WHERE status = 'succeeded') AS kind,
                max(amount_minor) FILTER (WHERE status = 'succeeded') AS amount_minor,
                max(currency) FILTER (WHERE status = 'succeeded') AS currency
         FROM movements
         WHERE reference ~ '^txn_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
         GROUP BY 1
         ORDER BY 1",
    )
    .fetch(connection)
}

/// What is under one reference.
pub(super) async fn movement(
    connection: &mut PgConnection,
    id: Uuid,
) -> sqlx::Result<Option<Movement>> {
    sqlx::query_as(
        "SELECT $1 AS transaction_id,
                count(*) AS movements,
                max(kind) FILTER (WHERE status = 'succeeded') AS kind,
                max(amount_minor) FILTER (WHERE status = 'succeeded') AS amount_minor,
                max(currency) FILTER (WHERE status = 'succeeded') AS currency
         FROM movements
         WHERE reference = 'txn_' || $1::text
         HAVING count(*) > 0",
    )
    .bind(id)
    .fetch_optional(connection)
    .await
}

/// How many movements succeeded under references that are not of our form.
pub(super) async fn foreign(connection: &mut PgConnection, max: usize) -> sqlx::Result<usize> {
    let rows = sqlx::query(
        "SELECT FROM movements
         WHERE status = 'succeeded'
           AND reference !~ '^txn_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
         LIMIT $1",
    )
    .bind(i64::try_from(max).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?;
    Ok(rows.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deposit(state: &str) -> Transaction {
        Transaction {
            transaction_id: Uuid::from_u128(1),
            kind: "deposit".to_owned(),
            state: state.to_owned(),
            currency_code: "EUR".to_owned(),
            amount_minor: 500,
            from_wallet_id: None,
            to_wallet_id: Some(Uuid::from_u128(10)),
            provider: Some("sandbox".to_owned()),
            wallet_pays_minor: 500,
            fee_minor: 0,
            credited_minor: 500,
            credited_currency: "EUR".to_owned(),
        }
    }

    fn charge() -> Movement {
        Movement {
            transaction_id: Uuid::from_u128(1),
            movements: 1,
            kind: Some("charge".to_owned()),
            amount_minor: Some(500),
            currency: Some("EUR".to_owned()),
        }
    }

    fn declined() -> Movement {
        Movement {
            kind: None,
            amount_minor: None,
            currency: None,
            ..charge()
        }
    }

    #[test]
    fn a_completed_deposit_was_charged_once_for_its_amount() {
        // Nothing, a payout, another amount or a second movement break it.
        let completed = deposit("COMPLETED");
        assert!(agree(Some(&completed), Some(&charge())));
        assert!(!agree(Some(&completed), None));
        assert!(!agree(Some(&completed), Some(&declined())));
        let payout = Movement {
            kind: Some("payout".to_owned()),
            ..charge()
        };
        assert!(!agree(Some(&completed), Some(&payout)));
        let dearer = Movement {
            amount_minor: Some(501),
            ..charge()
        };
        assert!(!agree(Some(&completed), Some(&dearer)));
        assert!(!agree(
            Some(&completed),
            Some(&Movement {
                movements: 2,
                ..charge()
            })
        ));
    }

    #[test]
    fn a_completed_deposit_from_a_card_was_captured_once() {
        // A charge beside the capture is money taken twice.
        let completed = deposit("COMPLETED");
        let capture = Movement {
            kind: Some("capture".to_owned()),
            ..charge()
        };
        assert!(agree(Some(&completed), Some(&capture)));
        assert!(!agree(
            Some(&completed),
            Some(&Movement {
                movements: 2,
                ..capture.clone()
            })
        ));
        assert!(!agree(Some(&deposit("FAILED")), Some(&capture)));
    }

    #[test]
    fn a_completed_refund_was_refunded() {
        // A payout of the same amount is no refund.
        let refund = Transaction {
            kind: "refund".to_owned(),
            ..deposit("COMPLETED")
        };
        let of_kind = |kind: &str| Movement {
            kind: Some(kind.to_owned()),
            ..charge()
        };
        assert!(agree(Some(&refund), Some(&of_kind("refund"))));
        assert!(!agree(Some(&refund), Some(&of_kind("payout"))));
    }

    #[test]
    fn a_failed_deposit_was_not_charged() {
        // The provider declined it, or never heard of it.
        let failed = deposit("FAILED");
        assert!(agree(Some(&failed), None));
        assert!(agree(Some(&failed), Some(&declined())));
        assert!(!agree(Some(&failed), Some(&charge())));
    }

    #[test]
    fn a_deposit_under_way_may_be_charged_already() {
        // Not known here is not undone there.
        let unknown = deposit("UNKNOWN");
        assert!(agree(Some(&unknown), None));
        assert!(agree(Some(&unknown), Some(&charge())));
        assert!(!agree(None, Some(&charge())));
    }
}

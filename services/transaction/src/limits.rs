//! The platform's limits of what users move, between the rules and the database.
//!
//! The rules are in [`crate::domain::limit`], pure, and the counting is in
//! [`crate::store::limits`]. Recording an intent reserves what it uses, in the same
//! database transaction; recording that it failed gives that back. A movement that
//! is under way, waits for a person, or whose outcome is not known keeps what it has
//! reserved. What was refused by a limit was never recorded, and the refusal is kept
//! for the key; only the transfers of an independent bulk transfer are recorded as
//! failed, because each of them has a result.
//!
//! When the rules or the use cannot be read, nothing is moved.

pub(crate) mod bulk;

use std::time::Duration;

use bursar_aip::id::{TenantId, TransactionId, UserId};
use bursar_contracts::transaction::v1::ErrorReason;
use bursar_money::PositiveMoney;
use bursar_server::Invariant;
use bursar_status::{Reason, StatusBuilder};
use sqlx::PgConnection;
use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tonic::{Code, Status};

use crate::domain::limit::{Demand, Exceeded, LimitKind, Limited};
use crate::domain::{Movement, State, Transaction};
use crate::store::limits;
use crate::store::transactions::Stored;
use crate::watch;

/// When to try again after the limits could not be read.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How long after a period began its use is kept: the longest one is over by then for
/// a month.
pub(crate) const USAGE_KEPT: time::Duration = time::Duration::days(62);

/// Why a movement is not recorded.
#[derive(Debug, Error)]
pub(crate) enum LimitError {
    /// It would exceed a limit. Kept for the key's duplicates.
    #[error("{0}")]
    Exceeded(Box<Exceeded>),
    /// Whether it would is not known.
    #[error("the limits cannot be read now")]
    Unread(#[source] sqlx::Error),
}

impl From<LimitError> for Status {
    fn from(error: LimitError) -> Self {
        match error {
            LimitError::Exceeded(exceeded) => told(&exceeded).into(),
            LimitError::Unread(cause) => {
                tracing::error!(error = %cause, "the limits cannot be read, so nothing is moved");
                let message = "the limits cannot be read now";
                StatusBuilder::new(Code::Unavailable, ErrorReason::LimitsUnreadable, message)
                    .retry_after(RETRY_AFTER)
                    .into()
            }
        }
    }
}

/// The reason of a kind of limit in the contract.
pub(crate) fn reason(kind: LimitKind) -> ErrorReason {
    match kind {
        LimitKind::Single => ErrorReason::TierSingleLimitExceeded,
        LimitKind::Daily => ErrorReason::TierDailyLimitExceeded,
        LimitKind::Monthly => ErrorReason::TierMonthlyLimitExceeded,
        LimitKind::Velocity => ErrorReason::VelocityLimitExceeded,
    }
}

/// What the caller is told of a limit.
pub(crate) fn told(exceeded: &Exceeded) -> StatusBuilder {
    let reason = reason(exceeded.kind);
    let message = exceeded.to_string();
    let builder = StatusBuilder::new(Code::FailedPrecondition, reason, &*message)
        .precondition(reason.name(), "amount", message)
        .metadata("limit", exceeded.limit.to_string())
        .metadata("used", exceeded.used.to_string())
        .metadata("left", exceeded.left.to_string())
        .metadata("rule", exceeded.rule.to_string())
        .metadata("movement", exceeded.movement.name())
        .metadata("currency_code", exceeded.currency.code());
    match exceeded.resets_at.and_then(|at| at.format(&Rfc3339).ok()) {
        Some(resets_at) => builder.metadata("resets_at", resets_at),
        None => builder,
    }
}

/// Who moves money.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mover<'a> {
    /// The user's tenant.
    pub(crate) tenant: &'a TenantId,
    /// The user.
    pub(crate) user: UserId,
    /// How far the user's identity is verified, by the token of the call.
    pub(crate) tier: u8,
}

impl Mover<'_> {
    /// What a movement demands of the mover's limits; `None` for refunds, which have
    /// none.
    fn demand(
        self,
        movement: &Movement,
        amount: PositiveMoney,
        at: OffsetDateTime,
    ) -> Option<Demand> {
        let (movement, wallet) = Limited::of(movement)?;
        Some(Demand {
            tenant: self.tenant.clone(),
            user: self.user,
            tier: self.tier,
            wallet,
            movement,
            amount,
            at,
        })
    }

    fn demand_of(self, stored: &Stored) -> Option<Demand> {
        let transaction = &stored.transaction;
        self.demand(
            &transaction.movement,
            transaction.amount,
            transaction.created_at,
        )
    }
}

/// Reserves what a movement uses, where its intent is recorded.
pub(crate) async fn reserve(
    conn: &mut PgConnection,
    mover: Mover<'_>,
    movement: &Movement,
    amount: PositiveMoney,
    at: OffsetDateTime,
) -> Result<(), LimitError> {
    let Some(demand) = mover.demand(movement, amount, at) else {
        return Ok(());
    };
    let reserved = limits::reserve(conn, &[demand]).await;
    let results = reserved.map_err(LimitError::Unread)?;
    results
        .into_iter()
        .collect::<Result<(), Exceeded>>()
        .inspect_err(watch::limit_refused)
        .map_err(|exceeded| LimitError::Exceeded(Box::new(exceeded)))
}

/// Reserves what of some transactions fits. Returns what each of the others exceeds,
/// with its index.
pub(crate) async fn reserve_each(
    conn: &mut PgConnection,
    mover: Mover<'_>,
    stored: &[&Stored],
) -> Result<Vec<(usize, Exceeded)>, sqlx::Error> {
    let moved: Vec<_> = stored.iter().map(|stored| (mover, *stored)).collect();
    reserve_all(conn, &moved).await
}

/// The same for transactions of several movers.
pub(crate) async fn reserve_all(
    conn: &mut PgConnection,
    moved: &[(Mover<'_>, &Stored)],
) -> Result<Vec<(usize, Exceeded)>, sqlx::Error> {
    let (places, demands) = demands(moved);
    let results = limits::reserve(conn, &demands).await?;
    Ok(places
        .into_iter()
        .zip(results)
        .filter_map(|(place, result)| Some((place, result.err()?)))
        .inspect(|(_, exceeded)| watch::limit_refused(exceeded))
        .collect())
}

/// Reserves what some transactions use together, or nothing. Returns the index of the
/// first that does not fit, and what it exceeds.
pub(crate) async fn reserve_together(
    conn: &mut PgConnection,
    mover: Mover<'_>,
    stored: &[&Stored],
) -> Result<Option<(usize, Exceeded)>, sqlx::Error> {
    let moved: Vec<_> = stored.iter().map(|stored| (mover, *stored)).collect();
    let (places, demands) = demands(&moved);
    let reserved = limits::reserve_together(conn, &demands).await?;
    Ok(reserved
        .inspect_err(|(_, exceeded)| watch::limit_refused(exceeded))
        .err()
        .map(|(index, exceeded)| (places[index], exceeded)))
}

fn demands(moved: &[(Mover<'_>, &Stored)]) -> (Vec<usize>, Vec<Demand>) {
    let demands = moved.iter().map(|(mover, stored)| mover.demand_of(stored));
    demands
        .enumerate()
        .filter_map(|(place, demand)| Some((place, demand?)))
        .unzip()
}

/// Gives back what those of some transactions had reserved that are FAILED. For the
/// database transaction that makes them so, once, and last in it: see the lock order
/// of the store.
pub(crate) async fn release<'a>(
    conn: &mut PgConnection,
    ended: impl IntoIterator<Item = &'a Transaction>,
) -> Result<(), sqlx::Error> {
    let failed: Vec<TransactionId> = ended
        .into_iter()
        .filter(|transaction| transaction.state == State::Failed)
        .filter(|transaction| Limited::of(&transaction.movement).is_some())
        .map(|transaction| transaction.id)
        .collect();
    limits::release(conn, &failed).await
}

/// The rules about limits that `bursar-transaction verify` checks.
pub(crate) const INVARIANTS: [Invariant; 1] = [Invariant {
    number: 15,
    name: "what is used of limits is the sum of the period's movements that have not failed",
    sql: "SELECT limit_usage.user_id
          FROM limit_usage
          LEFT JOIN (
              SELECT initiator_user_id, kind, currency_code, period,
                  (starts_at AT TIME ZONE 'UTC')::date AS starts_on,
                  sum(amount_minor) AS minor, count(*) AS movements
              FROM transactions
              CROSS JOIN LATERAL (VALUES
                  ('day', date_trunc('day', created_at, 'UTC')),
                  ('month', date_trunc('month', created_at, 'UTC'))
              ) AS span (period, starts_at)
              WHERE state <> 'FAILED' AND kind <> 'refund'
                -- What is longer over than this is about to be deleted.
                AND created_at >= (SELECT min(starts_on) FROM limit_usage) - interval '1 day'
              GROUP BY initiator_user_id, kind, currency_code, period, starts_at
          ) AS moved
              ON moved.initiator_user_id = limit_usage.user_id
             AND moved.kind = limit_usage.movement
             AND moved.currency_code = limit_usage.currency_code
             AND moved.period = limit_usage.period
             AND moved.starts_on = limit_usage.starts_on
          WHERE limit_usage.used_minor <> coalesce(moved.minor, 0)
             OR limit_usage.movements <> coalesce(moved.movements, 0)",
}];

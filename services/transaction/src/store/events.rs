//! A transaction's events in the event log.

use bursar_aip::id::{HoldId, TransactionId, UserId, WalletId};
use bursar_contracts::transaction::v1::{
    TransactionCompleted, TransactionFailed, TransactionFundsHeld, TransactionInitiated,
    TransactionOutcomeUnknown, TransactionProviderAccepted, TransactionProviderDeclined,
    TransactionProviderRequested, TransactionProviderSucceeded, TransactionReviewRequired,
    TransactionReviewResolved, TransactionShortfallFound, TransactionType,
};
use bursar_events::{Aggregate, Event as LoggedEvent, EventData, Logged};
use bursar_money::{Currency, PositiveMoney};
use prost::Message;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::transactions::Stored;
use super::unreadable;
use crate::contract;
use crate::domain::{
    Adjustment, AdjustmentDirection, Back, Event, Failure, FailureReason, Initiated, Movement,
    Price, Refund, Resolved,
};

/// What happened to a transaction, and who caused it.
#[derive(Clone, Copy)]
pub(crate) struct Told<'a> {
    /// The transaction as it is now.
    pub(crate) stored: &'a Stored,
    /// The events that led to that, in order. The last of them made its version.
    pub(crate) events: &'a [Event],
    /// Who caused it.
    pub(crate) actor: &'a str,
}

/// A row of the log to be. The rows of transactions name it when they are written, and
/// then what is told of them is appended as it, in the same database transaction.
#[derive(Debug)]
#[must_use = "rows that name a batch have their events in it"]
pub(crate) struct EventBatch(Uuid);

impl EventBatch {
    pub(crate) fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// What it is called in the rows of transactions.
    pub(super) fn name(&self) -> Uuid {
        self.0
    }

    /// Appends the events that led to the transaction as it is now, in order. The last of
    /// them made its version.
    pub(crate) async fn append(
        self,
        conn: &mut PgConnection,
        stored: &Stored,
        events: &[Event],
        actor: &str,
    ) -> Result<(), sqlx::Error> {
        let told = Told {
            stored,
            events,
            actor,
        };
        self.append_all(conn, &[told]).await
    }

    /// Appends the events of several transactions.
    pub(crate) async fn append_all(
        self,
        conn: &mut PgConnection,
        told: &[Told<'_>],
    ) -> Result<(), sqlx::Error> {
        let logged: Vec<_> = told.iter().flat_map(|told| encode(*told)).collect();
        self.append_encoded(conn, &logged).await
    }

    /// Appends what [`encode`] made, in the name of whoever encoded it.
    #[tracing::instrument(name = "store.events.append", skip_all)]
    pub(crate) async fn append_encoded(
        self,
        conn: &mut PgConnection,
        logged: &[LoggedEvent],
    ) -> Result<(), sqlx::Error> {
        bursar_events::append_named(conn, self.0, logged).await
    }
}

/// Events as the log takes them. They belong to the request under way.
pub(crate) fn encode(told: Told<'_>) -> Vec<LoggedEvent> {
    let after = told.stored.transaction.version;
    let count = i64::try_from(told.events.len()).unwrap_or(i64::MAX);
    let versions = (after - count + 1)..;
    let events = told.events.iter().zip(versions);
    events
        .map(|(event, version)| entry(told.stored, event, version, told.actor))
        .collect()
}

fn entry(stored: &Stored, event: &Event, version: i64, actor: &str) -> LoggedEvent {
    let log = Log {
        stored,
        kind: event.kind(),
        version,
        actor,
    };
    match event {
        Event::Initiated(initiated) => log.entry(&initiated_message(initiated)),
        Event::ShortfallFound {
            attempt,
            wallet_minor,
        } => log.entry(&TransactionShortfallFound {
            attempt: *attempt,
            wallet_minor: *wallet_minor,
            receivable_minor: stored.transaction.amount.minor() - wallet_minor,
        }),
        Event::FundsHeld { hold } => log.entry(&TransactionFundsHeld {
            hold_id: hold.to_string(),
        }),
        Event::ProviderRequested { provider, attempt } => {
            log.entry(&TransactionProviderRequested {
                provider: provider.to_string(),
                attempt: *attempt,
            })
        }
        Event::ProviderAccepted { reference } => log.entry(&TransactionProviderAccepted {
            provider_reference: reference.clone(),
        }),
        Event::ProviderSucceeded { reference } => log.entry(&TransactionProviderSucceeded {
            provider_reference: reference.clone(),
        }),
        Event::ProviderDeclined {
            reference,
            decline_code,
        } => log.entry(&TransactionProviderDeclined {
            provider_reference: reference.clone().unwrap_or_default(),
            decline_code: decline_code.clone(),
        }),
        Event::OutcomeUnknown { cause } => log.entry(&TransactionOutcomeUnknown {
            cause: cause.clone(),
        }),
        Event::Completed {
            beneficiary,
            posted_at,
        } => log.entry(&TransactionCompleted {
            beneficiary_user_id: contract::text(*beneficiary),
            posted_at: Some(contract::timestamp(*posted_at)),
        }),
        Event::Failed(failure) => log.entry(&TransactionFailed {
            failure: Some(contract::failure(failure)),
        }),
        Event::ReviewRequired { cause } => log.entry(&TransactionReviewRequired {
            cause: cause.clone(),
        }),
        Event::ReviewResolved(resolved) => log.entry(&TransactionReviewResolved {
            resolution: contract::review_resolution(resolved.resolution).into(),
            reason: resolved.reason.clone(),
            operator_user_id: resolved.operator.to_string(),
        }),
    }
}

/// The place of an event in the log.
struct Log<'a> {
    stored: &'a Stored,
    kind: &'static str,
    version: i64,
    actor: &'a str,
}

impl Log<'_> {
    fn entry(self, message: &impl EventData) -> LoggedEvent {
        let transaction = &self.stored.transaction;
        let aggregate = Aggregate {
            kind: "transaction",
            id: transaction.id.uuid(),
            subject: transaction.id.to_string(),
        };
        LoggedEvent::new(
            self.kind,
            aggregate,
            self.version,
            message,
            self.actor.to_owned(),
            self.stored.tenant.clone(),
            // All events of one append were made by one step, at one time.
            transaction.updated_at,
        )
    }
}

fn initiated_message(initiated: &Initiated) -> TransactionInitiated {
    let movement = &initiated.movement;
    let refund = movement.refund();
    let adjustment = movement.adjustment();
    TransactionInitiated {
        r#type: contract::transaction_type(movement.kind()).into(),
        amount: Some(contract::money(initiated.amount)),
        from_wallet_id: contract::text(movement.from_wallet()),
        to_wallet_id: contract::text(movement.to_wallet()),
        provider: contract::text(movement.provider()),
        payout_account_id: contract::text(movement.payout_account()),
        initiator_user_id: initiated.initiator.to_string(),
        original_transaction_id: contract::text(refund.map(|refund| refund.original)),
        payer_user_id: contract::text(movement.payer()),
        covers_shortfall: refund.is_some_and(|refund| {
            matches!(
                refund.back,
                Back::Provider {
                    covers_shortfall: true,
                    ..
                }
            )
        }),
        fee: contract::fee(&initiated.price, initiated.amount),
        conversion: initiated
            .price
            .conversion
            .as_ref()
            .map(contract::conversion),
        adjustment_reason: contract::adjustment_reason_of(movement).into(),
        corrected_transaction_id: contract::text(
            adjustment.and_then(|adjustment| adjustment.corrects),
        ),
        campaign_id: contract::text(movement.campaign()),
    }
}

/// The log of a transaction, in order; empty when there is none.
#[tracing::instrument(name = "store.events.log", skip_all)]
pub(crate) async fn log(
    conn: &mut PgConnection,
    id: TransactionId,
) -> Result<Vec<Logged>, sqlx::Error> {
    let batches = sqlx::query_scalar!(
        "SELECT event_batches FROM transactions WHERE transaction_id = $1",
        id.uuid(),
    )
    .fetch_optional(&mut *conn)
    .await?;
    bursar_events::of_aggregate(conn, id.uuid(), &batches.unwrap_or_default()).await
}

/// The log of a transaction, in order, as the domain reads it.
pub(crate) async fn load(
    conn: &mut PgConnection,
    id: TransactionId,
) -> Result<Vec<(Event, OffsetDateTime)>, sqlx::Error> {
    read_all(&log(conn, id).await?)
}

/// What the domain reads of a log.
pub(crate) fn read_all(log: &[Logged]) -> Result<Vec<(Event, OffsetDateTime)>, sqlx::Error> {
    log.iter()
        .map(|row| {
            let event = decode(&row.kind, &row.data).ok_or_else(|| unreadable(&row.kind))?;
            Ok((event, row.occurred_at))
        })
        .collect()
}

fn decode(kind: &str, data: &[u8]) -> Option<Event> {
    Some(match kind {
        "transaction.initiated" => {
            initiated(TransactionInitiated::decode(data).ok()?).map(Event::Initiated)?
        }
        "transaction.shortfall_found" => {
            let message = TransactionShortfallFound::decode(data).ok()?;
            Event::ShortfallFound {
                attempt: message.attempt,
                wallet_minor: message.wallet_minor,
            }
        }
        "transaction.funds_held" => Event::FundsHeld {
            hold: read::<HoldId>(&TransactionFundsHeld::decode(data).ok()?.hold_id)?,
        },
        "transaction.provider_requested" => {
            let message = TransactionProviderRequested::decode(data).ok()?;
            Event::ProviderRequested {
                provider: read(&message.provider)?,
                attempt: message.attempt,
            }
        }
        "transaction.provider_accepted" => Event::ProviderAccepted {
            reference: TransactionProviderAccepted::decode(data)
                .ok()?
                .provider_reference,
        },
        "transaction.provider_succeeded" => Event::ProviderSucceeded {
            reference: TransactionProviderSucceeded::decode(data)
                .ok()?
                .provider_reference,
        },
        "transaction.provider_declined" => {
            let message = TransactionProviderDeclined::decode(data).ok()?;
            Event::ProviderDeclined {
                reference: Some(message.provider_reference).filter(|text| !text.is_empty()),
                decline_code: message.decline_code,
            }
        }
        "transaction.outcome_unknown" => Event::OutcomeUnknown {
            cause: TransactionOutcomeUnknown::decode(data).ok()?.cause,
        },
        "transaction.completed" => {
            let message = TransactionCompleted::decode(data).ok()?;
            Event::Completed {
                beneficiary: optional::<UserId>(&message.beneficiary_user_id)?,
                posted_at: contract::instant(&message.posted_at?)?,
            }
        }
        "transaction.failed" => {
            let failure = TransactionFailed::decode(data).ok()?.failure?;
            Event::Failed(Failure {
                reason: FailureReason::parse(&failure.reason)?,
                message: failure.message,
            })
        }
        "transaction.review_required" => Event::ReviewRequired {
            cause: TransactionReviewRequired::decode(data).ok()?.cause,
        },
        "transaction.review_resolved" => {
            let message = TransactionReviewResolved::decode(data).ok()?;
            Event::ReviewResolved(Resolved {
                resolution: contract::resolution_of(message.resolution())?,
                operator: read(&message.operator_user_id)?,
                reason: message.reason,
            })
        }
        _ => return None,
    })
}

fn initiated(message: TransactionInitiated) -> Option<Initiated> {
    let from = || read::<WalletId>(&message.from_wallet_id);
    let to = || read::<WalletId>(&message.to_wallet_id);
    let provider = || read(&message.provider);
    let movement = match message.r#type() {
        TransactionType::Unspecified => return None,
        TransactionType::Transfer => Movement::Transfer {
            from: from()?,
            to: to()?,
        },
        TransactionType::Deposit => Movement::Deposit {
            to: to()?,
            provider: provider()?,
        },
        TransactionType::Withdrawal => Movement::Withdrawal {
            from: from()?,
            provider: provider()?,
            payout_account: optional(&message.payout_account_id)?,
        },
        TransactionType::Refund => Movement::Refund(Refund {
            original: read(&message.original_transaction_id)?,
            payer: read(&message.payer_user_id)?,
            from: from()?,
            back: match optional(&message.to_wallet_id)? {
                Some(to) => Back::Wallet(to),
                None => Back::Provider {
                    provider: provider()?,
                    covers_shortfall: message.covers_shortfall,
                },
            },
        }),
        TransactionType::Adjustment => Movement::Adjustment(adjustment(&message)?),
        TransactionType::BonusGrant => Movement::BonusGrant {
            campaign: read(&message.campaign_id)?,
            to: to()?,
        },
    };
    let amount = message.amount.as_ref()?;
    let currency = Currency::parse(&amount.currency_code).ok()?;
    Some(Initiated {
        movement,
        amount: PositiveMoney::new(currency, amount.minor_units).ok()?,
        price: Price {
            fee: match &message.fee {
                Some(fee) => Some(contract::fee_of(fee)?),
                None => None,
            },
            conversion: match &message.conversion {
                Some(conversion) => Some(contract::conversion_of(conversion)?),
                None => None,
            },
        },
        initiator: read(&message.initiator_user_id)?,
    })
}

fn adjustment(message: &TransactionInitiated) -> Option<Adjustment> {
    let (wallet, direction) = match optional(&message.from_wallet_id)? {
        Some(from) => {
            let owner = read(&message.payer_user_id)?;
            (from, AdjustmentDirection::Debit { owner })
        }
        None => (read(&message.to_wallet_id)?, AdjustmentDirection::Credit),
    };
    Some(Adjustment {
        wallet,
        direction,
        reason: contract::adjustment_reason(message.adjustment_reason())?,
        corrects: optional(&message.corrected_transaction_id)?,
    })
}

fn read<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// The empty text is an absent value.
fn optional<T: std::str::FromStr>(text: &str) -> Option<Option<T>> {
    if text.is_empty() {
        Some(None)
    } else {
        read(text).map(Some)
    }
}

//! The table of states: the fold of each transaction's events.

use bursar_aip::id::{
    CampaignId, HoldId, PayoutAccountId, TenantId, TransactionId, UserId, WalletId,
};
use bursar_money::{Currency, PositiveMoney};
use bursar_server::canary;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::prices::PriceColumns;
use super::unreadable;
use crate::domain::{
    Adjustment, AdjustmentDirection, AdjustmentReason, Back, Failure, FailureReason, Movement,
    MovementKind, Price, Refund, Resolution, Share, State, Transaction,
};

/// A transaction with what is no part of its fold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// The fold.
    pub(crate) transaction: Transaction,
    /// The tenant it belongs to.
    pub(crate) tenant: TenantId,
    /// The initiator's note.
    pub(crate) description: String,
    /// The sum of its refunds that have not failed, in minor units.
    pub(crate) refunded_minor: i64,
}

/// A row of the table.
pub(super) struct Row {
    pub(super) transaction_id: Uuid,
    pub(super) tenant_id: String,
    pub(super) kind: String,
    pub(super) state: String,
    pub(super) currency_code: String,
    pub(super) amount_minor: i64,
    pub(super) from_wallet_id: Option<Uuid>,
    pub(super) to_wallet_id: Option<Uuid>,
    pub(super) provider: Option<String>,
    pub(super) payout_account_id: Option<Uuid>,
    pub(super) initiator_user_id: Uuid,
    pub(super) description: String,
    pub(super) original_transaction_id: Option<Uuid>,
    pub(super) payer_user_id: Option<Uuid>,
    pub(super) covers_shortfall: bool,
    pub(super) share_number: i32,
    pub(super) share_wallet_minor: Option<i64>,
    pub(super) refunded_minor: i64,
    pub(super) hold_id: Option<Uuid>,
    pub(super) provider_requests: i32,
    pub(super) provider_requested_at: Option<OffsetDateTime>,
    pub(super) provider_reference: Option<String>,
    pub(super) decline_code: Option<String>,
    pub(super) unknown_since: Option<OffsetDateTime>,
    pub(super) failure_reason: Option<String>,
    pub(super) failure_message: Option<String>,
    pub(super) review_cause: Option<String>,
    pub(super) stopped_in: Option<String>,
    pub(super) approved_at: Option<OffsetDateTime>,
    pub(super) resolution: Option<String>,
    pub(super) beneficiary_user_id: Option<Uuid>,
    pub(super) posted_at: Option<OffsetDateTime>,
    pub(super) created_at: OffsetDateTime,
    pub(super) updated_at: OffsetDateTime,
    pub(super) version: i64,
    pub(super) fee_minor: Option<i64>,
    pub(super) fee_payer: Option<String>,
    pub(super) fee_rule_id: Option<Uuid>,
    pub(super) converted_currency_code: Option<String>,
    pub(super) converted_minor: Option<i64>,
    pub(super) fx_rate: Option<String>,
    pub(super) fx_spread_basis_points: Option<i32>,
    pub(super) fx_source: Option<String>,
    pub(super) fx_observed_at: Option<OffsetDateTime>,
    pub(super) fx_rate_id: Option<Uuid>,
    pub(super) adjustment_reason: Option<String>,
    pub(super) corrected_transaction_id: Option<Uuid>,
    pub(super) campaign_id: Option<Uuid>,
}

impl Row {
    fn movement(&self) -> Option<Movement> {
        let from = self.from_wallet_id.map(WalletId::from_uuid);
        let to = self.to_wallet_id.map(WalletId::from_uuid);
        let provider = || self.provider.as_ref()?.parse().ok();
        Some(match MovementKind::parse(&self.kind)? {
            MovementKind::Transfer => Movement::Transfer {
                from: from?,
                to: to?,
            },
            MovementKind::Deposit => Movement::Deposit {
                to: to?,
                provider: provider()?,
            },
            MovementKind::Withdrawal => Movement::Withdrawal {
                from: from?,
                provider: provider()?,
                payout_account: self.payout_account_id.map(PayoutAccountId::from_uuid),
            },
            MovementKind::Refund => Movement::Refund(Refund {
                original: TransactionId::from_uuid(self.original_transaction_id?),
                payer: UserId::from_uuid(self.payer_user_id?),
                from: from?,
                back: match to {
                    Some(to) => Back::Wallet(to),
                    None => Back::Provider {
                        provider: provider()?,
                        covers_shortfall: self.covers_shortfall,
                    },
                },
            }),
            MovementKind::Adjustment => Movement::Adjustment(self.adjustment()?),
            MovementKind::BonusGrant => Movement::BonusGrant {
                campaign: CampaignId::from_uuid(self.campaign_id?),
                to: to?,
            },
        })
    }

    fn adjustment(&self) -> Option<Adjustment> {
        let (wallet, direction) = match (self.from_wallet_id, self.to_wallet_id) {
            (Some(from), _) => {
                let owner = UserId::from_uuid(self.payer_user_id?);
                (from, AdjustmentDirection::Debit { owner })
            }
            (None, to) => (to?, AdjustmentDirection::Credit),
        };
        Some(Adjustment {
            wallet: WalletId::from_uuid(wallet),
            direction,
            reason: AdjustmentReason::parse(self.adjustment_reason.as_deref()?)?,
            corrects: self.corrected_transaction_id.map(TransactionId::from_uuid),
        })
    }

    fn price(&self) -> Result<Price, sqlx::Error> {
        PriceColumns {
            fee_minor: self.fee_minor,
            fee_payer: self.fee_payer.clone(),
            fee_rule_id: self.fee_rule_id,
            converted_currency_code: self.converted_currency_code.clone(),
            converted_minor: self.converted_minor,
            fx_rate: self.fx_rate.clone(),
            fx_spread_basis_points: self.fx_spread_basis_points,
            fx_source: self.fx_source.clone(),
            fx_observed_at: self.fx_observed_at,
            fx_rate_id: self.fx_rate_id,
        }
        .read()
    }

    fn share(&self) -> Result<Option<Share>, sqlx::Error> {
        let Some(wallet_minor) = self.share_wallet_minor else {
            return Ok(None);
        };
        let number = u32::try_from(self.share_number).map_err(|_| unreadable("share_number"))?;
        Ok(Some(Share {
            number,
            wallet_minor,
        }))
    }

    fn stopped_in(&self) -> Result<Option<State>, sqlx::Error> {
        let read = |name: &str| State::parse(name).ok_or_else(|| unreadable("stopped_in"));
        self.stopped_in.as_deref().map(read).transpose()
    }

    fn resolution(&self) -> Result<Option<Resolution>, sqlx::Error> {
        let read = |name: &str| Resolution::parse(name).ok_or_else(|| unreadable("resolution"));
        self.resolution.as_deref().map(read).transpose()
    }

    fn amount(&self) -> Option<PositiveMoney> {
        let currency = Currency::parse(&self.currency_code).ok()?;
        PositiveMoney::new(currency, self.amount_minor).ok()
    }

    fn failure(&self) -> Result<Option<Failure>, sqlx::Error> {
        let (Some(reason), Some(message)) = (&self.failure_reason, &self.failure_message) else {
            return Ok(None);
        };
        Ok(Some(Failure {
            reason: FailureReason::parse(reason).ok_or_else(|| unreadable("failure_reason"))?,
            message: message.clone(),
        }))
    }
}

impl TryFrom<Row> for Stored {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let transaction = Transaction {
            id: TransactionId::from_uuid(row.transaction_id),
            movement: row.movement().ok_or_else(|| unreadable("kind"))?,
            amount: row.amount().ok_or_else(|| unreadable("amount_minor"))?,
            price: row.price()?,
            initiator: UserId::from_uuid(row.initiator_user_id),
            state: State::parse(&row.state).ok_or_else(|| unreadable("state"))?,
            share: row.share()?,
            stopped_in: row.stopped_in()?,
            approved_at: row.approved_at,
            resolution: row.resolution()?,
            hold: row.hold_id.map(HoldId::from_uuid),
            provider_requests: u32::try_from(row.provider_requests)
                .map_err(|_| unreadable("provider_requests"))?,
            failure: row.failure()?,
            provider_requested_at: row.provider_requested_at,
            provider_reference: row.provider_reference,
            decline_code: row.decline_code,
            unknown_since: row.unknown_since,
            review_cause: row.review_cause,
            beneficiary: row.beneficiary_user_id.map(UserId::from_uuid),
            posted_at: row.posted_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        };
        Ok(Self {
            transaction,
            tenant: row.tenant_id.parse().map_err(|_| unreadable("tenant_id"))?,
            description: row.description,
            refunded_minor: row.refunded_minor,
        })
    }
}

/// Records a new transaction.
#[tracing::instrument(name = "store.transactions.insert", skip_all)]
pub(crate) async fn insert(conn: &mut PgConnection, stored: &Stored) -> Result<(), sqlx::Error> {
    let transaction = &stored.transaction;
    let movement = &transaction.movement;
    let refund = movement.refund();
    let adjustment = movement.adjustment();
    let price = PriceColumns::from(&transaction.price);
    sqlx::query!(
        "INSERT INTO transactions (
             transaction_id, tenant_id, kind, state, currency_code, amount_minor, from_wallet_id,
             to_wallet_id, provider, initiator_user_id, description, provider_requests,
             provider_requested_at, created_at, updated_at, version, original_transaction_id,
             payer_user_id, covers_shortfall, fee_minor, fee_payer, fee_rule_id,
             converted_currency_code, converted_minor, fx_rate, fx_spread_basis_points, fx_source,
             fx_observed_at, fx_rate_id, payout_account_id, adjustment_reason,
             corrected_transaction_id, campaign_id
         )
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
             $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31,
             $32, $33)",
        transaction.id.uuid(),
        stored.tenant.as_str(),
        movement.kind().name(),
        transaction.state.name(),
        transaction.amount.currency().code(),
        transaction.amount.minor(),
        movement.from_wallet().map(WalletId::uuid),
        movement.to_wallet().map(WalletId::uuid),
        movement.provider().map(|provider| provider.as_str()),
        transaction.initiator.uuid(),
        stored.description,
        i32::try_from(transaction.provider_requests).unwrap_or(i32::MAX),
        transaction.provider_requested_at,
        transaction.created_at,
        transaction.updated_at,
        transaction.version,
        refund.map(|refund| refund.original.uuid()),
        movement.payer().map(UserId::uuid),
        transaction.covers_shortfall(),
        price.fee_minor,
        price.fee_payer,
        price.fee_rule_id,
        price.converted_currency_code,
        price.converted_minor,
        price.fx_rate,
        price.fx_spread_basis_points,
        price.fx_source,
        price.fx_observed_at,
        price.fx_rate_id,
        movement.payout_account().map(PayoutAccountId::uuid),
        adjustment.map(|adjustment| adjustment.reason.name()),
        adjustment.and_then(|adjustment| Some(adjustment.corrects?.uuid())),
        movement.campaign().map(CampaignId::uuid),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Turns the row to what later events made of it, if it is still at the
/// version `from`; false when it is not. A refund that fails by it gives back what
/// it had reserved of its original.
#[tracing::instrument(name = "store.transactions.update", skip_all)]
pub(crate) async fn update(
    conn: &mut PgConnection,
    transaction: &Transaction,
    from: i64,
) -> Result<bool, sqlx::Error> {
    let failure = transaction.failure.as_ref();
    let updated = sqlx::query!(
        "UPDATE transactions
         SET state = $3, hold_id = $4, provider_requests = $5, provider_requested_at = $6,
             provider_reference = $7, decline_code = $8, unknown_since = $9, failure_reason = $10,
             failure_message = $11, review_cause = $12, beneficiary_user_id = $13, posted_at = $14,
             updated_at = $15, version = $16, share_number = $17, share_wallet_minor = $18,
             stopped_in = $19, resolution = $20, approved_at = $21,
             payment_method = CASE WHEN $22 THEN payment_method END
         WHERE transaction_id = $1 AND version = $2",
        transaction.id.uuid(),
        from,
        transaction.state.name(),
        transaction.hold.map(HoldId::uuid),
        i32::try_from(transaction.provider_requests).unwrap_or(i32::MAX),
        transaction.provider_requested_at,
        transaction.provider_reference,
        transaction.decline_code,
        transaction.unknown_since,
        failure.map(|failure| failure.reason.name()),
        failure.map(|failure| failure.message.as_str()),
        transaction.review_cause,
        transaction.beneficiary.map(UserId::uuid),
        transaction.posted_at,
        transaction.updated_at,
        transaction.version,
        i32::try_from(transaction.shares()).unwrap_or(i32::MAX),
        transaction.share.map(|share| share.wallet_minor),
        transaction.stopped_in.map(State::name),
        transaction.resolution.map(Resolution::name),
        transaction.approved_at,
        transaction.may_be_asked(),
    )
    .execute(&mut *conn)
    .await?;
    let is_updated = updated.rows_affected() == 1 || canary!("state.version_ignored");
    if is_updated
        && transaction.state == State::Failed
        && let Some(refund) = transaction.movement.refund()
    {
        // FAILED is final and has one version, so this happens once.
        reserve(conn, refund.original, -transaction.amount.minor()).await?;
    }
    Ok(is_updated)
}

/// Changes what is reserved of a transaction for refunds. The row is locked from
/// then on; its constraint lets the sum never exceed the amount.
#[tracing::instrument(name = "store.transactions.reserve", skip_all)]
pub(crate) async fn reserve(
    conn: &mut PgConnection,
    original: TransactionId,
    change_minor: i64,
) -> Result<(), sqlx::Error> {
    let reserved = sqlx::query!(
        "UPDATE transactions SET refunded_minor = refunded_minor + $2 WHERE transaction_id = $1",
        original.uuid(),
        change_minor,
    )
    .execute(conn)
    .await?;
    match reserved.rows_affected() {
        1 => Ok(()),
        _ => Err(sqlx::Error::RowNotFound),
    }
}

/// Locks the row of a transaction, so that what is reserved of it stays as it is.
#[tracing::instrument(name = "store.transactions.lock", skip_all)]
pub(crate) async fn lock(conn: &mut PgConnection, id: TransactionId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "SELECT transaction_id FROM transactions WHERE transaction_id = $1 FOR NO KEY UPDATE",
        id.uuid(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(())
}

/// The transaction of an id.
#[tracing::instrument(name = "store.transactions.find", skip_all)]
pub(crate) async fn find(
    conn: &mut PgConnection,
    id: TransactionId,
) -> Result<Option<Stored>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT transaction_id, tenant_id, kind, state, currency_code, amount_minor,
             from_wallet_id, to_wallet_id, provider, payout_account_id, initiator_user_id,
             description, hold_id,
             provider_requests, provider_requested_at, provider_reference, decline_code,
             unknown_since, failure_reason, failure_message, review_cause, beneficiary_user_id,
             posted_at, created_at, updated_at, version, original_transaction_id, payer_user_id,
             covers_shortfall, share_number, share_wallet_minor, refunded_minor, stopped_in, approved_at,
             resolution, fee_minor, fee_payer, fee_rule_id, converted_currency_code,
             converted_minor, fx_rate, fx_spread_basis_points, fx_source, fx_observed_at,
             fx_rate_id, adjustment_reason, corrected_transaction_id, campaign_id
         FROM transactions
         WHERE transaction_id = $1",
        id.uuid(),
    )
    .fetch_optional(conn)
    .await?
    .map(Stored::try_from)
    .transpose()
}

/// The transactions of some ids, in any order.
#[tracing::instrument(name = "store.transactions.find_all", skip_all)]
pub(crate) async fn find_all(
    conn: &mut PgConnection,
    ids: &[Uuid],
) -> Result<Vec<Stored>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT transaction_id, tenant_id, kind, state, currency_code, amount_minor,
             from_wallet_id, to_wallet_id, provider, payout_account_id, initiator_user_id,
             description, hold_id,
             provider_requests, provider_requested_at, provider_reference, decline_code,
             unknown_since, failure_reason, failure_message, review_cause, beneficiary_user_id,
             posted_at, created_at, updated_at, version, original_transaction_id, payer_user_id,
             covers_shortfall, share_number, share_wallet_minor, refunded_minor, stopped_in, approved_at,
             resolution, fee_minor, fee_payer, fee_rule_id, converted_currency_code,
             converted_minor, fx_rate, fx_spread_basis_points, fx_source, fx_observed_at,
             fx_rate_id, adjustment_reason, corrected_transaction_id, campaign_id
         FROM transactions
         WHERE transaction_id = ANY ($1)",
        ids,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Stored::try_from).collect()
}

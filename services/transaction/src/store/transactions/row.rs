//! How a row of the table of states is read.

use bursar_aip::id::{CampaignId, HoldId, PayoutAccountId, TransactionId, UserId, WalletId};
use bursar_money::{Currency, PositiveMoney};
use time::OffsetDateTime;
use uuid::Uuid;

use super::super::prices::PriceColumns;
use super::super::unreadable;
use super::Stored;
use crate::domain::{
    Adjustment, AdjustmentDirection, AdjustmentReason, Back, Failure, FailureReason, Movement,
    MovementKind, Price, Refund, Resolution, Share, State, Transaction,
};

/// A row of the table.
pub(in crate::store) struct Row {
    pub(in crate::store) transaction_id: Uuid,
    pub(in crate::store) tenant_id: String,
    pub(in crate::store) kind: String,
    pub(in crate::store) state: String,
    pub(in crate::store) currency_code: String,
    pub(in crate::store) amount_minor: i64,
    pub(in crate::store) from_wallet_id: Option<Uuid>,
    pub(in crate::store) to_wallet_id: Option<Uuid>,
    pub(in crate::store) provider: Option<String>,
    pub(in crate::store) payout_account_id: Option<Uuid>,
    pub(in crate::store) initiator_user_id: Uuid,
    pub(in crate::store) description: String,
    pub(in crate::store) original_transaction_id: Option<Uuid>,
    pub(in crate::store) payer_user_id: Option<Uuid>,
    pub(in crate::store) covers_shortfall: bool,
    pub(in crate::store) share_number: i32,
    pub(in crate::store) share_wallet_minor: Option<i64>,
    pub(in crate::store) refunded_minor: i64,
    pub(in crate::store) hold_id: Option<Uuid>,
    pub(in crate::store) provider_requests: i32,
    pub(in crate::store) provider_requested_at: Option<OffsetDateTime>,
    pub(in crate::store) provider_reference: Option<String>,
    pub(in crate::store) decline_code: Option<String>,
    pub(in crate::store) unknown_since: Option<OffsetDateTime>,
    pub(in crate::store) failure_reason: Option<String>,
    pub(in crate::store) failure_message: Option<String>,
    pub(in crate::store) review_cause: Option<String>,
    pub(in crate::store) stopped_in: Option<String>,
    pub(in crate::store) approved_at: Option<OffsetDateTime>,
    pub(in crate::store) resolution: Option<String>,
    pub(in crate::store) beneficiary_user_id: Option<Uuid>,
    pub(in crate::store) posted_at: Option<OffsetDateTime>,
    pub(in crate::store) created_at: OffsetDateTime,
    pub(in crate::store) updated_at: OffsetDateTime,
    pub(in crate::store) version: i64,
    pub(in crate::store) fee_minor: Option<i64>,
    pub(in crate::store) fee_payer: Option<String>,
    pub(in crate::store) fee_rule_id: Option<Uuid>,
    pub(in crate::store) converted_currency_code: Option<String>,
    pub(in crate::store) converted_minor: Option<i64>,
    pub(in crate::store) fx_rate: Option<String>,
    pub(in crate::store) fx_spread_basis_points: Option<i32>,
    pub(in crate::store) fx_source: Option<String>,
    pub(in crate::store) fx_observed_at: Option<OffsetDateTime>,
    pub(in crate::store) fx_rate_id: Option<Uuid>,
    pub(in crate::store) adjustment_reason: Option<String>,
    pub(in crate::store) corrected_transaction_id: Option<Uuid>,
    pub(in crate::store) campaign_id: Option<Uuid>,
}

/// Reads whole rows: every column of [`Row`], and the rest of the statement from its FROM
/// on. A macro because the statement that is checked must be one literal. What it reads may
/// be a set of parts, of which PostgreSQL does not know what is never null, so it is said.
macro_rules! select_rows {
    ($rest:tt $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            $crate::store::transactions::row::Row,
            r#"SELECT
                    transaction_id AS "transaction_id!", tenant_id AS "tenant_id!", kind AS "kind!",
                    state AS "state!", currency_code AS "currency_code!",
                    amount_minor AS "amount_minor!", from_wallet_id, to_wallet_id, provider,
                    payout_account_id, initiator_user_id AS "initiator_user_id!",
                    description AS "description!", hold_id,
                    provider_requests AS "provider_requests!", provider_requested_at,
                    provider_reference, decline_code, unknown_since, failure_reason,
                    failure_message, review_cause, beneficiary_user_id, posted_at,
                    created_at AS "created_at!", updated_at AS "updated_at!", version AS "version!",
                    original_transaction_id, payer_user_id, covers_shortfall AS "covers_shortfall!",
                    share_number AS "share_number!", share_wallet_minor,
                    refunded_minor AS "refunded_minor!", stopped_in, approved_at, resolution,
                    fee_minor, fee_payer, fee_rule_id, converted_currency_code, converted_minor,
                    fx_rate, fx_spread_basis_points, fx_source, fx_observed_at, fx_rate_id,
                    adjustment_reason, corrected_transaction_id, campaign_id
                 "# + $rest
            $(, $argument)*
        )
    };
}
pub(in crate::store) use select_rows;

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

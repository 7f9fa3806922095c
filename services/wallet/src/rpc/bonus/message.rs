//! Between the contract's messages about bonus money and the domain's values.

use std::num::NonZeroI64;

use bursar_contracts::wallet::v1 as proto;
use bursar_money::Currency;
use prost_types::Timestamp;
use time::{Duration, OffsetDateTime};
use tonic::Status;

use crate::contract::{self, timestamp};
use crate::domain::bonus::{BonusGrant, GrantStatus};
use crate::domain::campaign::{Campaign, ConversionRule, Stage};
use crate::error::BonusError;
use crate::store::campaigns::Totals;

/// A campaign as it is at `now`.
pub(super) fn campaign(campaign: &Campaign, now: OffsetDateTime) -> proto::Campaign {
    proto::Campaign {
        campaign_id: campaign.id.to_string(),
        name: campaign.name.clone(),
        currency_code: campaign.currency.code().to_owned(),
        status: status(campaign.stage(now)).into(),
        per_user_cap_minor: campaign.user_cap.unwrap_or_default(),
        starts_at: Some(timestamp(campaign.starts_at)),
        ends_at: campaign.ends_at.map(timestamp),
        grant_ttl_seconds: campaign.grant_ttl.map(seconds).unwrap_or_default(),
        conversion: campaign.conversion.map(rule),
        created_at: Some(timestamp(campaign.created_at)),
        ended_at: campaign.ended_at.map(timestamp),
    }
}

fn status(stage: Stage) -> proto::CampaignStatus {
    match stage {
        Stage::Scheduled => proto::CampaignStatus::Scheduled,
        Stage::Active => proto::CampaignStatus::Active,
        Stage::Over => proto::CampaignStatus::Over,
        Stage::Ended => proto::CampaignStatus::Ended,
    }
}

fn rule(rule: ConversionRule) -> proto::ConversionRule {
    proto::ConversionRule {
        min_age_seconds: seconds(rule.min_age),
        min_spend_minor: rule.min_spend,
        automatic: rule.is_automatic,
    }
}

/// The rule of a request, whose bounds were checked.
pub(super) fn rule_of(rule: &proto::ConversionRule) -> ConversionRule {
    ConversionRule {
        min_age: Duration::seconds(i64::from(rule.min_age_seconds)),
        min_spend: rule.min_spend_minor,
        is_automatic: rule.automatic,
    }
}

/// The contract's bound is ten years, which is far from the highest `i32`.
fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.whole_seconds()).unwrap_or(i32::MAX)
}

/// Where a campaign's money is.
pub(super) fn totals(totals: &Totals) -> proto::CampaignTotals {
    let Totals {
        left,
        grants,
        granted,
        outstanding,
        converted,
        expired,
    } = *totals;
    proto::CampaignTotals {
        funded_minor: left + granted - expired,
        left_minor: left,
        granted_minor: granted,
        outstanding_minor: outstanding,
        spent_minor: granted - outstanding - converted - expired,
        converted_minor: converted,
        expired_minor: expired,
        grants,
    }
}

/// A grant of a campaign.
pub(super) fn grant(
    grant: &BonusGrant,
    currency: Currency,
    conversion: Option<ConversionRule>,
) -> proto::BonusGrant {
    proto::BonusGrant {
        grant_id: grant.id.to_string(),
        campaign_id: grant.campaign.to_string(),
        wallet_id: grant.wallet.to_string(),
        owner_user_id: grant.owner.to_string(),
        currency_code: currency.code().to_owned(),
        amount_minor: grant.amount,
        remaining_minor: grant.remaining,
        status: grant_status(grant.status).into(),
        granted_at: Some(timestamp(grant.granted_at)),
        expires_at: grant.expires_at.map(timestamp),
        ended_at: grant.ended.map(|(_, at)| timestamp(at)),
        conversion: conversion.map(rule),
    }
}

fn grant_status(status: GrantStatus) -> proto::BonusGrantStatus {
    match status {
        GrantStatus::Active => proto::BonusGrantStatus::Active,
        GrantStatus::Spent => proto::BonusGrantStatus::Spent,
        GrantStatus::Converted => proto::BonusGrantStatus::Converted,
        GrantStatus::Expired => proto::BonusGrantStatus::Expired,
    }
}

/// The status of a filter; `None` for all of them.
pub(super) fn grant_status_of(status: proto::BonusGrantStatus) -> Option<GrantStatus> {
    match status {
        proto::BonusGrantStatus::Unspecified => None,
        proto::BonusGrantStatus::Active => Some(GrantStatus::Active),
        proto::BonusGrantStatus::Spent => Some(GrantStatus::Spent),
        proto::BonusGrantStatus::Converted => Some(GrantStatus::Converted),
        proto::BonusGrantStatus::Expired => Some(GrantStatus::Expired),
    }
}

/// An instant of a request.
pub(super) fn instant(at: &Timestamp, field: &'static str) -> Result<OffsetDateTime, BonusError> {
    contract::instant(at).ok_or(BonusError::InstantInvalid { field })
}

/// An amount of a request, whose bounds were checked.
pub(super) struct Money {
    /// The currency as the request names it.
    pub(super) currency_code: String,
    /// In minor units.
    pub(super) amount: NonZeroI64,
}

/// The amount of a request; validation has refused one that is absent or 0.
pub(super) fn money(money: Option<bursar_contracts::r#type::v1::Money>) -> Result<Money, Status> {
    let money = money.unwrap_or_default();
    let amount = NonZeroI64::new(money.minor_units).ok_or(BonusError::AmountMissing)?;
    Ok(Money {
        currency_code: money.currency_code,
        amount,
    })
}

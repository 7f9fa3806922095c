//! The columns of a price, which transactions and quotes have alike.

use bursar_aip::id::{ExchangeRateId, FeeRuleId};
use bursar_money::{Currency, PositiveMoney};
use time::OffsetDateTime;
use uuid::Uuid;

use super::unreadable;
use crate::domain::{Conversion, Fee, FeePayer, Price};

/// A price as it is in a row. Without a fee, or without a conversion, its columns
/// are all NULL.
#[derive(Clone, Debug, Default)]
pub(super) struct PriceColumns {
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
}

impl From<&Price> for PriceColumns {
    fn from(price: &Price) -> Self {
        let fee = price.fee.as_ref();
        let conversion = price.conversion.as_ref();
        Self {
            fee_minor: fee.map(|fee| fee.minor),
            fee_payer: fee.map(|fee| fee.payer.name().to_owned()),
            fee_rule_id: fee.map(|fee| fee.rule.uuid()),
            converted_currency_code: conversion
                .map(|conversion| conversion.amount.currency().code().to_owned()),
            converted_minor: conversion.map(|conversion| conversion.amount.minor()),
            fx_rate: conversion.map(|conversion| conversion.rate.to_string()),
            fx_spread_basis_points: conversion.map(|conversion| conversion.spread_basis_points),
            fx_source: conversion.map(|conversion| conversion.source.clone()),
            fx_observed_at: conversion.map(|conversion| conversion.observed_at),
            fx_rate_id: conversion.map(|conversion| conversion.exchange_rate.uuid()),
        }
    }
}

impl PriceColumns {
    /// The price.
    pub(super) fn read(self) -> Result<Price, sqlx::Error> {
        Ok(Price {
            fee: self.fee()?,
            conversion: self.conversion()?,
        })
    }

    fn fee(&self) -> Result<Option<Fee>, sqlx::Error> {
        let Some(minor) = self.fee_minor else {
            return Ok(None);
        };
        let read = || {
            Some(Fee {
                minor,
                payer: FeePayer::parse(self.fee_payer.as_deref()?)?,
                rule: FeeRuleId::from_uuid(self.fee_rule_id?),
            })
        };
        read().map(Some).ok_or_else(|| unreadable("fee_payer"))
    }

    fn conversion(self) -> Result<Option<Conversion>, sqlx::Error> {
        let Some(minor) = self.converted_minor else {
            return Ok(None);
        };
        let read = || {
            let currency = Currency::parse(self.converted_currency_code.as_deref()?).ok()?;
            Some(Conversion {
                amount: PositiveMoney::new(currency, minor).ok()?,
                rate: self.fx_rate.as_deref()?.parse().ok()?,
                spread_basis_points: self.fx_spread_basis_points?,
                source: self.fx_source?,
                observed_at: self.fx_observed_at?,
                exchange_rate: ExchangeRateId::from_uuid(self.fx_rate_id?),
            })
        };
        read().map(Some).ok_or_else(|| unreadable("fx_rate"))
    }
}

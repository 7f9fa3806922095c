//! Prices, fee rules, exchange rates and quotes as the contract writes them.

use bursar_aip::id::QuoteId;
use bursar_contracts::transaction::v1 as contract;
use bursar_contracts::r#type::v1::Money as MoneyMessage;
use bursar_money::{Currency, Money, PositiveMoney};

use super::{instant, money, text, timestamp, transaction_type};
use crate::domain::{Conversion, Fee, FeePayer, Price, Quote, Rounding};
use crate::store::fees::StoredRule;
use crate::store::rates::StoredRate;

/// What an amount costs.
pub(crate) fn fee(price: &Price, amount: PositiveMoney) -> Option<contract::Fee> {
    price.fee.map(|fee| contract::Fee {
        amount_minor: fee.minor,
        currency_code: amount.currency().code().to_owned(),
        payer: fee_payer(fee.payer).into(),
        fee_rule_id: fee.rule.to_string(),
    })
}

/// A fee that the contract wrote; `None` when it is none.
pub(crate) fn fee_of(message: &contract::Fee) -> Option<Fee> {
    Some(Fee {
        minor: message.amount_minor,
        payer: fee_payer_of(message.payer())?,
        rule: message.fee_rule_id.parse().ok()?,
    })
}

/// What money becomes on its way.
pub(crate) fn conversion(conversion: &Conversion) -> contract::Conversion {
    contract::Conversion {
        amount: Some(money(conversion.amount)),
        rate: conversion.rate.to_string(),
        spread_basis_points: conversion.spread_basis_points,
        source: conversion.source.clone(),
        observed_at: Some(timestamp(conversion.observed_at)),
        exchange_rate_id: conversion.exchange_rate.to_string(),
    }
}

/// A conversion that the contract wrote; `None` when it is none.
pub(crate) fn conversion_of(message: &contract::Conversion) -> Option<Conversion> {
    let amount = message.amount.as_ref()?;
    let currency = Currency::parse(&amount.currency_code).ok()?;
    Some(Conversion {
        amount: PositiveMoney::new(currency, amount.minor_units).ok()?,
        rate: message.rate.parse().ok()?,
        spread_basis_points: message.spread_basis_points,
        source: message.source.clone(),
        observed_at: instant(message.observed_at.as_ref()?)?,
        exchange_rate: message.exchange_rate_id.parse().ok()?,
    })
}

fn fee_payer(payer: FeePayer) -> contract::FeePayer {
    match payer {
        FeePayer::Sender => contract::FeePayer::Sender,
        FeePayer::Recipient => contract::FeePayer::Recipient,
    }
}

/// A payer that the contract names; `None` for a value that validation refuses.
pub(crate) fn fee_payer_of(payer: contract::FeePayer) -> Option<FeePayer> {
    FeePayer::ALL
        .into_iter()
        .find(|known| fee_payer(*known) == payer)
}

fn rounding(rounding: Rounding) -> contract::FeeRounding {
    match rounding {
        Rounding::HalfUp => contract::FeeRounding::HalfUp,
        Rounding::HalfEven => contract::FeeRounding::HalfEven,
        Rounding::Up => contract::FeeRounding::Up,
        Rounding::Down => contract::FeeRounding::Down,
    }
}

/// A way of rounding that the contract names; `None` for a value that validation
/// refuses.
pub(crate) fn rounding_of(named: contract::FeeRounding) -> Option<Rounding> {
    Rounding::ALL
        .into_iter()
        .find(|known| rounding(*known) == named)
}

/// A fee rule.
pub(crate) fn fee_rule(stored: &StoredRule) -> contract::FeeRule {
    let rule = &stored.rule;
    let (archived_by, archived_at) = stored.archived.clone().unzip();
    contract::FeeRule {
        fee_rule_id: rule.id.to_string(),
        r#type: transaction_type(rule.kind).into(),
        currency_code: rule.currency.code().to_owned(),
        from_amount_minor: rule.from_minor,
        to_amount_minor: rule.to_minor.unwrap_or_default(),
        fixed_minor: rule.fixed_minor,
        basis_points: rule.basis_points,
        min_fee_minor: rule.min_fee_minor,
        max_fee_minor: rule.max_fee_minor.unwrap_or_default(),
        payer: fee_payer(rule.payer).into(),
        rounding: rounding(rule.rounding).into(),
        priority: rule.priority,
        created_by: stored.created_by.clone(),
        created_at: Some(timestamp(stored.created_at)),
        archived_by: archived_by.unwrap_or_default(),
        archived_at: archived_at.map(timestamp),
    }
}

/// An exchange rate.
pub(crate) fn exchange_rate(stored: &StoredRate) -> contract::ExchangeRate {
    let rate = &stored.rate;
    contract::ExchangeRate {
        exchange_rate_id: rate.id.to_string(),
        from_currency_code: rate.from.code().to_owned(),
        to_currency_code: rate.to.code().to_owned(),
        rate: rate.rate.to_string(),
        spread_basis_points: rate.spread_basis_points,
        source: rate.source.clone(),
        observed_at: Some(timestamp(rate.observed_at)),
        created_by: stored.created_by.clone(),
        created_at: Some(timestamp(stored.created_at)),
    }
}

/// A quote.
pub(crate) fn quote(quote: &Quote) -> contract::Quote {
    contract::Quote {
        quote_id: quote.id.to_string(),
        r#type: transaction_type(quote.kind).into(),
        amount: Some(money(quote.amount)),
        from_wallet_id: text(quote.from),
        to_wallet_id: text(quote.to),
        fee: fee(&quote.price, quote.amount),
        conversion: quote.price.conversion.as_ref().map(conversion),
        debited: Some(any_money(quote.price.debited(quote.amount))),
        credited: Some(any_money(quote.price.credited(quote.amount))),
        created_at: Some(timestamp(quote.created_at)),
        expires_at: Some(timestamp(quote.expires_at)),
        transaction_id: text(quote.used_by),
    }
}

/// The quote that a request names; none when the text is empty, and `None` when it
/// is no id.
pub(crate) fn quote_id(text: &str) -> Option<Option<QuoteId>> {
    if text.is_empty() {
        return Some(None);
    }
    text.parse().ok().map(Some)
}

fn any_money(money: Money) -> MoneyMessage {
    MoneyMessage {
        currency_code: money.currency().code().to_owned(),
        minor_units: money.minor(),
    }
}

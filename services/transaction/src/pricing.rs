//! What transactions cost, found where their intents are recorded.
//!
//! A transaction goes by the quote that it names, or by the fee rules of the moment.
//! Both are read in the database transaction of the intent, so the price, the use of
//! the quote and the intent stand or fall together. However many transactions are
//! priced at once, it takes a statement for the rules, and two more where there are
//! quotes. Quotes are locked in the order of their ids, behind the idempotency keys.
//!
//! Refunds are free, and so is whatever no rule is for.

mod error;
pub(crate) mod invariants;

use std::collections::{BTreeSet, HashMap};

use bursar_aip::id::{QuoteId, TenantId, TransactionId, UserId};
use bursar_money::PositiveMoney;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::{
    Fee, MAX_AMOUNT_MINOR, Movement, MovementKind, Price, QuoteError, choose_fee_rule,
};
use crate::store::{fees, quotes};

pub(crate) use error::PricingError;

/// A transaction that is to be priced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    /// The transaction, as which it will be recorded.
    pub(crate) transaction: TransactionId,
    /// The tenant it belongs to.
    pub(crate) tenant: &'a TenantId,
    /// The user who asks for it.
    pub(crate) user: UserId,
    /// What it does.
    pub(crate) movement: &'a Movement,
    /// How much it moves.
    pub(crate) amount: PositiveMoney,
    /// The quote that it names.
    pub(crate) quote: Option<QuoteId>,
}

/// What is asked of the fee rules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The tenant whose rules count.
    pub(crate) tenant: &'a TenantId,
    /// What the transaction does.
    pub(crate) kind: MovementKind,
    /// How much it moves.
    pub(crate) amount: PositiveMoney,
}

/// The prices of transactions that are about to be recorded, one for each in their
/// order. The quotes of those that have a price are used up.
#[tracing::instrument(name = "pricing.price", skip_all)]
pub(crate) async fn price(
    conn: &mut PgConnection,
    orders: &[Order<'_>],
    at: OffsetDateTime,
) -> Result<Vec<Result<Price, PricingError>>, sqlx::Error> {
    let mut by_quote = redeem(conn, orders, at).await?;
    let by_rule: Vec<Wanted<'_>> = orders
        .iter()
        .filter(|order| order.quote.is_none())
        .map(|order| Wanted {
            tenant: order.tenant,
            kind: order.movement.kind(),
            amount: order.amount,
        })
        .collect();
    let mut fees = fees_of(conn, &by_rule).await?.into_iter();
    let prices = orders.iter().map(|order| match order.quote {
        Some(_) => by_quote
            .remove(&order.transaction)
            .unwrap_or(Err(QuoteError::NotFound))
            .map_err(PricingError::Quote),
        None => fees.next().unwrap_or(Ok(None)).map(|fee| Price {
            fee,
            conversion: None,
        }),
    });
    Ok(prices.collect())
}

/// What these cost by the rules that count now, in their order.
pub(crate) async fn fees_of(
    conn: &mut PgConnection,
    wanted: &[Wanted<'_>],
) -> Result<Vec<Result<Option<Fee>, PricingError>>, sqlx::Error> {
    let places: BTreeSet<(&str, &str, &str)> = wanted
        .iter()
        .filter(|one| one.kind.has_fees())
        .map(|one| {
            let currency = one.amount.currency().code();
            (one.tenant.as_str(), one.kind.name(), currency)
        })
        .collect();
    if places.is_empty() {
        return Ok(wanted.iter().map(|_| Ok(None)).collect());
    }
    let tenants: Vec<&str> = places.iter().map(|(tenant, _, _)| *tenant).collect();
    let kinds: Vec<&str> = places.iter().map(|(_, kind, _)| *kind).collect();
    let currencies: Vec<&str> = places.iter().map(|(_, _, currency)| *currency).collect();
    let rules = fees::active(conn, &tenants, &kinds, &currencies).await?;
    let fee = |one: &Wanted<'_>| {
        let own = rules.iter().filter(|stored| stored.tenant == *one.tenant);
        let (currency, minor) = (one.amount.currency(), one.amount.minor());
        let rule = choose_fee_rule(own.map(|stored| &stored.rule), one.kind, currency, minor);
        let fee = rule.map(|rule| rule.fee(minor));
        let price = Price {
            fee,
            conversion: None,
        };
        if price.debited(one.amount).minor() > MAX_AMOUNT_MINOR {
            return Err(PricingError::AmountTooLarge);
        }
        Ok(fee)
    };
    Ok(wanted.iter().map(fee).collect())
}

/// The prices of those that name a quote, by transaction, with their quotes used
/// up. Of two that name the same one the first gets it.
async fn redeem(
    conn: &mut PgConnection,
    orders: &[Order<'_>],
    at: OffsetDateTime,
) -> Result<HashMap<TransactionId, Result<Price, QuoteError>>, sqlx::Error> {
    let named: Vec<QuoteId> = orders.iter().filter_map(|order| order.quote).collect();
    let mut redeemed = HashMap::new();
    if named.is_empty() {
        return Ok(redeemed);
    }
    let locked = quotes::lock(conn, &named).await?;
    let mut locked: HashMap<QuoteId, _> = locked
        .into_iter()
        .map(|stored| (stored.quote.id, stored))
        .collect();
    let mut used = Vec::new();
    for order in orders {
        let Some(id) = order.quote else { continue };
        let found = locked
            .get_mut(&id)
            .filter(|stored| stored.tenant == *order.tenant);
        let price = match found {
            None => Err(QuoteError::NotFound),
            Some(stored) => {
                let quote = &mut stored.quote;
                let fits = quote.fits(order.user, order.movement, order.amount, at);
                fits.map(|()| {
                    quote.used_by = Some(order.transaction);
                    used.push((id, order.transaction));
                    quote.price.clone()
                })
            }
        };
        redeemed.insert(order.transaction, price);
    }
    if !used.is_empty() {
        quotes::use_up(conn, &used, at).await?;
    }
    Ok(redeemed)
}

#[cfg(test)]
mod tests;

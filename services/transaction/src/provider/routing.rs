//! Which provider a movement goes to when the caller names none: a pure choice
//! by direction, currency, amount, health and cost.
//!
//! Of the providers that take part in such a movement and may be chosen now, the
//! cheapest one is taken; of several that cost the same, the one whose name comes
//! first. The same movement, offers and health always lead to the same provider.
//!
//! The choice is made once, before the intent is recorded, and this is the whole
//! of failover: a provider in bad health is not chosen. Once a transaction is
//! recorded it keeps its provider, also when nothing could be sent to it, because
//! from then on a request may be under way that nobody sees, and two providers
//! must never act for one transaction. It waits, and is given up when its time is
//! over; nothing was sent, so nothing has to be undone.

use std::collections::BTreeMap;

use bursar_money::{Currency, PositiveMoney};
use thiserror::Error;

use super::Direction;
use crate::domain::ProviderName;

/// What a provider does for us, and at what price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The directions in which it moves money.
    pub(crate) directions: Vec<Direction>,
    /// The currencies it takes part in.
    pub(crate) currencies: Currencies,
    /// Whether it has to be told what to charge; it is told nothing otherwise.
    pub(crate) needs_payment_method: bool,
    /// Whether it pays to bank accounts; it pays to none otherwise.
    pub(crate) needs_payout_account: bool,
}

/// The currencies that a provider takes part in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Currencies {
    /// All of them, any amount, at no cost that we know of.
    All,
    /// These.
    Only(BTreeMap<Currency, Tariff>),
}

/// The bounds and the price of one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tariff {
    /// The least amount of one movement, in minor units.
    pub(crate) min_minor: i64,
    /// The greatest amount of one movement, in minor units.
    pub(crate) max_minor: i64,
    /// What it costs us: this share of the amount, in hundredths of a percent …
    pub(crate) cost_basis_points: u32,
    /// … and this, in minor units.
    pub(crate) cost_fixed_minor: i64,
}

/// What is to be moved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// The direction.
    pub(crate) direction: Direction,
    /// How much.
    pub(crate) amount: PositiveMoney,
    /// Whether the caller names what is to be charged.
    pub(crate) has_payment_method: bool,
    /// Whether the caller names the bank account that is to be paid to.
    pub(crate) has_payout_account: bool,
}

/// A provider as the choice sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    /// Its name.
    pub(crate) name: &'a ProviderName,
    /// What it does.
    pub(crate) offer: &'a Offer,
    /// Whether its health lets it be chosen now.
    pub(crate) is_choosable: bool,
}

/// Why there is no provider. The later ones are nearer to success; of several
/// providers the nearest one's is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub(crate) enum Unavailable {
    /// There are no providers at all.
    #[error("no payment provider is configured")]
    NoneConfigured,
    /// None moves money in that direction.
    #[error("no payment provider moves money in this direction")]
    Direction,
    /// Those that do have to be told what to charge.
    #[error("the payment provider charges a payment method, and none is given")]
    PaymentMethodRequired,
    /// Those that do charge no payment method.
    #[error("a payment method is given, and the payment provider charges none")]
    PaymentMethodNotTaken,
    /// Those that do pay to bank accounts.
    #[error("the payment provider pays to a bank account, and none is named")]
    PayoutAccountRequired,
    /// Those that do pay to no bank account.
    #[error("a payout account is named, and the payment provider pays to none")]
    PayoutAccountNotTaken,
    /// None takes part in the currency.
    #[error("no payment provider takes this currency")]
    Currency,
    /// The amount is out of the bounds of all of them.
    #[error("the amount is too small or too large for the payment providers")]
    Amount,
    /// Those that would do it are in bad health.
    #[error("the payment providers for this do not work now")]
    Health,
}

impl Unavailable {
    /// The name in the contract and in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NoneConfigured => "none_configured",
            Self::Direction => "direction",
            Self::PaymentMethodRequired => "payment_method_required",
            Self::PaymentMethodNotTaken => "payment_method_not_taken",
            Self::PayoutAccountRequired => "payout_account_required",
            Self::PayoutAccountNotTaken => "payout_account_not_taken",
            Self::Currency => "currency",
            Self::Amount => "amount",
            Self::Health => "health",
        }
    }
}

impl Default for Offer {
    /// Everything, at no cost that we know of.
    fn default() -> Self {
        Self {
            directions: vec![Direction::Charge, Direction::Payout],
            currencies: Currencies::All,
            needs_payment_method: false,
            needs_payout_account: false,
        }
    }
}

impl Offer {
    /// Whether the provider takes part in anything in a currency.
    pub(crate) fn takes(&self, currency: Currency) -> bool {
        match &self.currencies {
            Currencies::All => true,
            Currencies::Only(tariffs) => tariffs.contains_key(&currency),
        }
    }

    /// What a payer to bank accounts does: it pays out in a currency, to the account
    /// that it is told, any amount at no cost that we know of.
    pub(crate) fn of_bank_payouts(currency: Currency) -> Self {
        let tariff = Tariff {
            min_minor: 1,
            max_minor: i64::MAX,
            cost_basis_points: 0,
            cost_fixed_minor: 0,
        };
        Self {
            directions: vec![Direction::Payout],
            currencies: Currencies::Only(BTreeMap::from([(currency, tariff)])),
            needs_payout_account: true,
            ..Self::default()
        }
    }

    /// What a card acquirer does: it takes money in, from the card that it is told.
    pub(crate) fn of_cards() -> Self {
        Self {
            directions: vec![Direction::Charge],
            needs_payment_method: true,
            ..Self::default()
        }
    }

    /// What a movement costs us with this provider, in minor units of its
    /// currency, rounded up; or why the provider takes no part in it.
    pub(crate) fn cost(&self, wanted: &Wanted) -> Result<i128, Unavailable> {
        if !self.directions.contains(&wanted.direction) {
            return Err(Unavailable::Direction);
        }
        if wanted.direction == Direction::Charge
            && self.needs_payment_method != wanted.has_payment_method
        {
            return Err(if self.needs_payment_method {
                Unavailable::PaymentMethodRequired
            } else {
                Unavailable::PaymentMethodNotTaken
            });
        }
        if wanted.direction == Direction::Payout
            && self.needs_payout_account != wanted.has_payout_account
        {
            return Err(if self.needs_payout_account {
                Unavailable::PayoutAccountRequired
            } else {
                Unavailable::PayoutAccountNotTaken
            });
        }
        let tariff = match &self.currencies {
            Currencies::All => return Ok(0),
            Currencies::Only(tariffs) => tariffs
                .get(&wanted.amount.currency())
                .ok_or(Unavailable::Currency)?,
        };
        let minor = wanted.amount.minor();
        if !(tariff.min_minor..=tariff.max_minor).contains(&minor) {
            return Err(Unavailable::Amount);
        }
        let share = i128::from(minor) * i128::from(tariff.cost_basis_points);
        let rounded_up = (share + 9_999) / 10_000;
        Ok(rounded_up + i128::from(tariff.cost_fixed_minor))
    }
}

/// The providers that a movement may go to now, the best first.
pub(crate) fn rank<'a>(
    candidates: impl IntoIterator<Item = Candidate<'a>>,
    wanted: &Wanted,
) -> Result<Vec<&'a ProviderName>, Unavailable> {
    let mut fitting = Vec::new();
    let mut nearest = Unavailable::NoneConfigured;
    for candidate in candidates {
        match candidate.offer.cost(wanted) {
            Ok(cost) if candidate.is_choosable => {
                fitting.push((cost, candidate.name.as_str(), candidate.name));
            }
            Ok(_) => nearest = nearest.max(Unavailable::Health),
            Err(unfit) => nearest = nearest.max(unfit),
        }
    }
    if fitting.is_empty() {
        return Err(nearest);
    }
    fitting.sort_by_key(|(cost, name, _)| (*cost, *name));
    Ok(fitting.into_iter().map(|(_, _, name)| name).collect())
}

#[cfg(test)]
mod tests;

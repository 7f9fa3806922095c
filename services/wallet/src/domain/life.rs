//! The life of a user's wallet: frozen and unfrozen, closed, and how far below
//! zero it may go.
//!
//! Each rule takes the wallet as it stands, under its row lock, and gives the
//! wallet after it, or nothing when it is so already: asking again is harmless.
//! Every change counts one event. The platform's own wallets have no life.
//!
//! | from | freeze | unfreeze | close |
//! |---|---|---|---|
//! | active | frozen | as it is | closed, if it is empty |
//! | frozen | as it is | active | refused: it would end what the freezing is for |
//! | closed | refused | refused | as it is |

use time::OffsetDateTime;

use super::limit::{Allowance, Limits};
use super::wallet::{Balance, Wallet, WalletStatus};

/// Why a wallet stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It is one of the platform's own.
    System,
    /// It is frozen.
    Frozen,
    /// It is closed.
    Closed,
    /// It has money in some bucket, or owes some.
    NotEmpty,
    /// It owes more than the credit limit would be.
    CreditInUse,
}

impl Wallet {
    /// How far below zero its available money may go, in minor units; 0 for the
    /// platform's own wallets, which have no such limit.
    pub fn credit_limit(&self) -> i64 {
        match self.owner {
            Some(_) => self.min_available.saturating_neg(),
            None => 0,
        }
    }
}

/// The wallet after a change; `None` when there is nothing to change.
pub type Changed = Result<Option<Wallet>, Refusal>;

/// Freezes a wallet.
pub fn freeze(wallet: &Wallet) -> Changed {
    check_user(wallet)?;
    match wallet.status {
        WalletStatus::Active => Ok(Some(with_status(wallet, WalletStatus::Frozen))),
        WalletStatus::Frozen => Ok(None),
        WalletStatus::Closed => Err(Refusal::Closed),
    }
}

/// Unfreezes a wallet.
pub fn unfreeze(wallet: &Wallet) -> Changed {
    check_user(wallet)?;
    match wallet.status {
        WalletStatus::Frozen => Ok(Some(with_status(wallet, WalletStatus::Active))),
        WalletStatus::Active => Ok(None),
        WalletStatus::Closed => Err(Refusal::Closed),
    }
}

/// Closes a wallet without any money. A hold has its money in the held bucket
/// for as long as it is active, and a grant in the bonus bucket, so an empty
/// wallet has neither.
pub fn close(wallet: &Wallet) -> Changed {
    check_user(wallet)?;
    match wallet.status {
        WalletStatus::Closed => Ok(None),
        WalletStatus::Frozen => Err(Refusal::Frozen),
        WalletStatus::Active if wallet.balance != Balance::default() => Err(Refusal::NotEmpty),
        WalletStatus::Active => Ok(Some(with_status(wallet, WalletStatus::Closed))),
    }
}

/// Lets a wallet go `limit` minor units below zero, which is 0 or more. Refused
/// when it is lower than that now.
pub fn set_credit_limit(wallet: &Wallet, limit: i64) -> Changed {
    check_open(wallet)?;
    // No negative of a number that is 0 or more leaves the range.
    let floor = -limit;
    if wallet.min_available == floor {
        return Ok(None);
    }
    if wallet.balance.available < floor {
        return Err(Refusal::CreditInUse);
    }
    Ok(Some(Wallet {
        min_available: floor,
        event_version: wallet.event_version + 1,
        ..wallet.clone()
    }))
}

/// Sets what a wallet may spend. What it has spent so far stays counted;
/// `current` is its allowance before, if it ever had one.
pub fn set_spending_limits(
    wallet: &Wallet,
    current: Option<Allowance>,
    limits: Limits,
    now: OffsetDateTime,
) -> Result<Option<(Wallet, Allowance)>, Refusal> {
    check_open(wallet)?;
    let before = current.map_or(Limits::default(), |allowance| allowance.limits);
    if before == limits {
        return Ok(None);
    }
    let allowance = match current {
        Some(current) => Allowance {
            limits,
            ..current.at(now)
        },
        None => Allowance::unused(wallet.id, limits, now),
    };
    let after = Wallet {
        has_limits: true,
        event_version: wallet.event_version + 1,
        ..wallet.clone()
    };
    Ok(Some((after, allowance)))
}

fn check_user(wallet: &Wallet) -> Result<(), Refusal> {
    match wallet.owner {
        Some(_) => Ok(()),
        None => Err(Refusal::System),
    }
}

fn check_open(wallet: &Wallet) -> Result<(), Refusal> {
    check_user(wallet)?;
    match wallet.status {
        WalletStatus::Active | WalletStatus::Frozen => Ok(()),
        WalletStatus::Closed => Err(Refusal::Closed),
    }
}

fn with_status(wallet: &Wallet, status: WalletStatus) -> Wallet {
    Wallet {
        status,
        event_version: wallet.event_version + 1,
        ..wallet.clone()
    }
}

#[cfg(test)]
mod tests;

//! The trial balance: every account's balance in one of two columns, whose sums
//! are equal when the books are right.
//!
//! Money in users' wallets is owed to them: a balance above zero is a credit.
//! What the platform's wallets are short of, such as what a provider holds for
//! the platform, is a debit.

use std::collections::BTreeMap;

use bursar_money::Currency;

use super::wallet::{Bucket, SystemPurpose};

/// A class of accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccountClass {
    /// A bucket of all users' wallets.
    Users(Bucket),
    /// The platform's wallets for one purpose.
    Platform(SystemPurpose),
}

/// The balances of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Columns {
    /// How many wallets there are.
    pub wallets: i64,
    /// The sum of the balances below zero, as a positive number.
    pub debit: i64,
    /// The sum of the balances above zero.
    pub credit: i64,
}

/// The trial balance of one currency.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrialBalance {
    /// The classes that have wallets.
    pub lines: BTreeMap<AccountClass, Columns>,
}

impl TrialBalance {
    /// The sums of both columns: debit, then credit.
    pub fn totals(&self) -> (i128, i128) {
        let sum = |of: fn(&Columns) -> i64| -> i128 {
            self.lines
                .values()
                .map(|columns| i128::from(of(columns)))
                .sum()
        };
        (sum(|columns| columns.debit), sum(|columns| columns.credit))
    }

    /// Whether both columns have the same sum.
    pub fn is_balanced(&self) -> bool {
        let (debit, credit) = self.totals();
        debit == credit
    }
}

/// The trial balances of classes in several currencies.
pub fn by_currency(
    classes: impl IntoIterator<Item = (Currency, AccountClass, Columns)>,
) -> BTreeMap<&'static str, TrialBalance> {
    let mut balances: BTreeMap<&'static str, TrialBalance> = BTreeMap::new();
    for (currency, class, columns) in classes {
        let balance = balances.entry(currency.code()).or_default();
        balance.lines.insert(class, columns);
    }
    balances
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(debit: i64, credit: i64) -> Columns {
        Columns {
            wallets: 1,
            debit,
            credit,
        }
    }

    /// Currencies are apart, and one cent is enough to unbalance one.
    #[test]
    fn columns_balance_per_currency() {
        let eur = Currency::parse("EUR").expect("a currency");
        let usd = Currency::parse("USD").expect("a currency");
        let users = AccountClass::Users(Bucket::Available);
        let settlement = AccountClass::Platform(SystemPurpose::Settlement);
        let balances = by_currency([
            (eur, users, columns(0, 100)),
            (usd, users, columns(3, 8)),
            (eur, settlement, columns(100, 0)),
            (usd, settlement, columns(6, 0)),
        ]);
        assert_eq!(balances["EUR"].totals(), (100, 100));
        assert!(balances["EUR"].is_balanced());
        assert_eq!(balances["USD"].totals(), (9, 8));
        assert!(!balances["USD"].is_balanced());
    }
}

//! Bank accounts that providers pay to.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bursar_money::Currency;

use super::Heard;

/// A bank account.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct BankAccount {
    /// Its currency.
    pub(crate) currency: Currency,
    /// The bank's code in its country's transfers.
    pub(crate) sort_code: String,
    /// Its number.
    pub(crate) number: String,
}

/// Who is paid.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Payee {
    /// The account that is paid to.
    pub(crate) account: BankAccount,
    /// The name that the bank has for it.
    pub(crate) name: String,
}

/// What became of asking whose an account is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Enquired {
    /// The bank has this name for it.
    Named(String),
    /// The bank knows no such account.
    NoSuchAccount,
    /// There is no answer.
    Unanswered,
}

/// A provider that pays to bank accounts, and to nothing else.
#[async_trait]
pub(crate) trait NameEnquiry: Send + Sync {
    /// Asks whose an account is, waiting no longer than `timeout`.
    async fn name_of(&self, account: &BankAccount, timeout: Duration) -> Heard<Enquired>;
}

/// The number is personal, so it is not shown.
impl fmt::Debug for BankAccount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("BankAccount")
            .field("currency", &self.currency)
            .field("sort_code", &self.sort_code)
            .finish_non_exhaustive()
    }
}

/// Number and name are personal, so they are not shown.
impl fmt::Debug for Payee {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Payee")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Neither the number nor the name of an account is shown.
    #[test]
    fn payees_are_not_shown() {
        let payee = Payee {
            account: BankAccount {
                currency: Currency::parse("NGN").expect("a currency"),
                sort_code: "000013".to_owned(),
                number: "0167421242".to_owned(),
            },
            name: "ADA OBI".to_owned(),
        };
        let shown = format!("{payee:?}");
        assert!(shown.contains("000013"), "{shown}");
        assert!(
            !shown.contains("0167421242") && !shown.contains("ADA"),
            "{shown}"
        );
    }
}

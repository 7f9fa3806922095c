//! Breaks: what does not match, why, and what would make the books agree.

use std::fmt;

use bursar_aip::id::TransactionId;
use bursar_money::Currency;

use super::{LineId, LineType};

/// Why something is not matched. The names are the contract's `BreakReason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The line has one of our references, and there is no such transaction.
    MissingInLedger,
    /// A completed transaction has no line.
    MissingAtProvider,
    /// The amounts differ by more than the rules allow.
    AmountMismatch,
    /// The currencies differ.
    CurrencyMismatch,
    /// The line repeats one that stands for the same thing.
    DuplicateLine,
    /// The provider says that it happened, and the transaction is not completed.
    StatusMismatch,
    /// The days differ by more than the rules allow.
    DateOutsideWindow,
    /// Nothing of ours is named by the line.
    UnknownReference,
    /// The line is of another type than the transaction.
    TypeMismatch,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::MissingInLedger,
        Self::MissingAtProvider,
        Self::AmountMismatch,
        Self::CurrencyMismatch,
        Self::DuplicateLine,
        Self::StatusMismatch,
        Self::DateOutsideWindow,
        Self::UnknownReference,
        Self::TypeMismatch,
    ];

    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::MissingInLedger => "MISSING_IN_LEDGER",
            Self::MissingAtProvider => "MISSING_AT_PROVIDER",
            Self::AmountMismatch => "AMOUNT_MISMATCH",
            Self::CurrencyMismatch => "CURRENCY_MISMATCH",
            Self::DuplicateLine => "DUPLICATE_LINE",
            Self::StatusMismatch => "STATUS_MISMATCH",
            Self::DateOutsideWindow => "DATE_OUTSIDE_WINDOW",
            Self::UnknownReference => "UNKNOWN_REFERENCE",
            Self::TypeMismatch => "TYPE_MISMATCH",
        }
    }

    /// The reason of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

/// What a break is about. Seen again, in another file or by the nightly job, it
/// is the same break.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A transaction of ours, or one that would be if we had it.
    Transaction(TransactionId),
    /// The provider's name for something of this type.
    ProviderReference(LineType, String),
    /// A line that cannot be told apart otherwise.
    Line(LineId),
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transaction(id) => write!(formatter, "{id}"),
            Self::ProviderReference(kind, text) => {
                write!(formatter, "provider:{}:{text}", kind.name())
            }
            Self::Line(id) => write!(formatter, "line:{}:{}", id.file, id.number),
        }
    }
}

/// One side of a break: what moved, as that side has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side {
    /// What it was.
    pub kind: LineType,
    /// The currency.
    pub currency: Currency,
    /// How much, in minor units.
    pub amount_minor: i64,
}

/// A wallet of the platform that an adjustment changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// What the provider owes the platform.
    Settlement,
    /// Money whose place is not known.
    Suspense,
}

/// One leg of a proposed adjustment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    /// The wallet.
    pub account: Account,
    /// The currency.
    pub currency: Currency,
    /// The change in minor units, never 0.
    pub amount_minor: i64,
}

/// The legs that would make the settlement wallet say what the provider says,
/// with the difference in suspense. They sum to zero in each currency. None are
/// proposed where the money agrees, where recovery may still settle it, or where
/// the difference is out of range.
pub fn legs(
    reason: Reason,
    is_under_way: bool,
    line: Option<Side>,
    recorded: Option<Side>,
) -> Vec<Leg> {
    let is_posted = match reason {
        Reason::DateOutsideWindow => return Vec::new(),
        Reason::StatusMismatch if is_under_way => return Vec::new(),
        // Of a transaction that did not complete nothing is in the books, and what
        // a duplicate repeats is there once already.
        Reason::StatusMismatch | Reason::DuplicateLine => false,
        Reason::MissingInLedger
        | Reason::MissingAtProvider
        | Reason::AmountMismatch
        | Reason::CurrencyMismatch
        | Reason::UnknownReference
        | Reason::TypeMismatch => true,
    };
    let effect = |side: Side| side.kind.settlement_effect(side.amount_minor);
    let said = line.map(|line| (line.currency, effect(line)));
    let booked = recorded
        .filter(|_| is_posted)
        .map(|recorded| (recorded.currency, -effect(recorded)));
    let changes = match (said, booked) {
        (Some((currency, said)), Some((other, booked))) if currency == other => {
            vec![(currency, said + booked)]
        }
        (said, booked) => said.into_iter().chain(booked).collect(),
    };
    let mut legs = Vec::new();
    for (currency, change) in changes {
        let (Ok(there), Ok(back)) = (i64::try_from(change), i64::try_from(-change)) else {
            return Vec::new();
        };
        if there != 0 {
            let leg = |account, amount_minor| Leg {
                account,
                currency,
                amount_minor,
            };
            legs.push(leg(Account::Settlement, there));
            legs.push(leg(Account::Suspense, back));
        }
    }
    legs
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn eur() -> Currency {
        Currency::parse("EUR").expect("a currency")
    }

    fn side(kind: LineType, amount_minor: i64) -> Side {
        Side {
            kind,
            currency: eur(),
            amount_minor,
        }
    }

    fn amounts(legs: &[Leg]) -> Vec<(Account, i64)> {
        legs.iter()
            .map(|leg| (leg.account, leg.amount_minor))
            .collect()
    }

    /// What a provider took in too little is no longer owed by it, and what it
    /// took in without our knowing is owed.
    #[test]
    fn the_settlement_wallet_comes_to_say_what_the_provider_says() {
        let short = legs(
            Reason::AmountMismatch,
            false,
            Some(side(LineType::Charge, 90)),
            Some(side(LineType::Charge, 100)),
        );
        let wanted = [(Account::Settlement, 10), (Account::Suspense, -10)];
        assert_eq!(amounts(&short), wanted);
        let unknown = legs(
            Reason::MissingInLedger,
            false,
            Some(side(LineType::Charge, 90)),
            None,
        );
        let wanted = [(Account::Settlement, -90), (Account::Suspense, 90)];
        assert_eq!(amounts(&unknown), wanted);
        let twice = legs(
            Reason::DuplicateLine,
            false,
            Some(side(LineType::Payout, 7)),
            Some(side(LineType::Payout, 7)),
        );
        let wanted = [(Account::Settlement, 7), (Account::Suspense, -7)];
        assert_eq!(amounts(&twice), wanted);
    }

    /// Nothing is proposed while recovery may still settle it.
    #[test]
    fn nothing_is_proposed_for_what_is_under_way() {
        let line = Some(side(LineType::Charge, 100));
        assert_eq!(legs(Reason::StatusMismatch, true, line, line), []);
        assert_eq!(legs(Reason::StatusMismatch, false, line, line).len(), 2);
        assert_eq!(legs(Reason::DateOutsideWindow, false, line, line), []);
    }

    fn any_side() -> impl Strategy<Value = Option<Side>> {
        let currency = prop_oneof![Just("EUR"), Just("USD")];
        let kind = proptest::sample::select(LineType::ALL.to_vec());
        let amount = prop_oneof![any::<i64>(), -1000..1000i64];
        proptest::option::of(
            (kind, currency, amount).prop_map(|(kind, currency, amount_minor)| Side {
                kind,
                currency: Currency::parse(currency).expect("a currency"),
                amount_minor,
            }),
        )
    }

    proptest! {
        /// Whatever differs, the legs sum to zero in each currency and none is empty.
        #[test]
        fn legs_are_balanced(
            reason in proptest::sample::select(Reason::ALL.to_vec()),
            is_under_way in any::<bool>(),
            line in any_side(),
            recorded in any_side(),
        ) {
            let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
            for leg in legs(reason, is_under_way, line, recorded) {
                prop_assert_ne!(leg.amount_minor, 0);
                *sums.entry(leg.currency.code()).or_default() += i128::from(leg.amount_minor);
            }
            prop_assert!(sums.values().all(|sum| *sum == 0), "{:?}", sums);
        }
    }
}

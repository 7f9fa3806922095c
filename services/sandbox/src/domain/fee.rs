//! What the provider keeps for itself.

use super::Kind;

/// One part of ten thousand.
const BASIS_POINTS: i128 = 10_000;

/// The price of taking money in. Payouts and refunds are free, and the fee of
/// what is refunded is not given back, as with most processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FeeRule {
    /// The part of the amount, at most the whole.
    pub basis_points: u16,
    /// What is added to it, in minor units of any currency.
    pub fixed_minor: u32,
}

impl FeeRule {
    /// The fee of a movement in minor units, rounded half up, at most its amount.
    pub(crate) fn fee_minor(&self, kind: Kind, amount_minor: i64) -> i64 {
        match kind {
            Kind::Charge | Kind::Capture => {
                let part = i128::from(amount_minor) * i128::from(self.basis_points);
                let fee = (part + BASIS_POINTS / 2) / BASIS_POINTS + i128::from(self.fixed_minor);
                i64::try_from(fee).unwrap_or(i64::MAX).min(amount_minor)
            }
            Kind::Payout | Kind::Refund => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Halves go up, nothing costs more than it brings, and money out is free.
    #[test]
    fn fees_are_as_agreed() {
        let rule = FeeRule {
            basis_points: 150,
            fixed_minor: 0,
        };
        let fee = |amount| rule.fee_minor(Kind::Charge, amount);
        assert_eq!([fee(10_000), fee(100), fee(33), fee(34)], [150, 2, 0, 1]);
        assert_eq!(rule.fee_minor(Kind::Payout, 10_000), 0);
        assert_eq!(rule.fee_minor(Kind::Refund, 10_000), 0);
        let dear = FeeRule {
            basis_points: 10_000,
            fixed_minor: u32::MAX,
        };
        assert_eq!(dear.fee_minor(Kind::Capture, i64::MAX), i64::MAX);
        assert_eq!(dear.fee_minor(Kind::Capture, 7), 7);
    }
}

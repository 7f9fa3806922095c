//! Amounts that bring a fault of their own, for trying things by hand.

use std::time::Duration;

use super::{Fault, FaultKind};

/// How long a magic amount stays pending, and how late its slow answer comes.
const DELAY: Duration = Duration::from_secs(2);

/// A fault that nobody arranged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Surprise {
    /// What happens.
    pub fault: Fault,
    /// Whether a second request of the reference is spared. One that finds the
    /// reference in the books is spared in any case.
    pub only_once: bool,
}

/// The surprise of an amount: the last five digits of its minor units decide.
/// The README lists them.
pub(crate) fn surprise(amount_minor: i64) -> Option<Surprise> {
    let digits = amount_minor.rem_euclid(100_000);
    let (kind, decline_code) = match digits {
        99_901 => (FaultKind::Decline, Some("insufficient_funds")),
        99_902 => (FaultKind::Decline, Some("do_not_honor")),
        99_903 => (FaultKind::Pending, None),
        99_904 => (FaultKind::PendingDecline, Some("account_closed")),
        99_905 => (FaultKind::LostResponse, None),
        99_906 | 99_910 => (FaultKind::Timeout, None),
        99_907 => (FaultKind::Error500, None),
        99_908 => (FaultKind::Slow, None),
        99_909 => (FaultKind::ConnectionReset, None),
        99_911 => (FaultKind::NoAnswer, None),
        99_912 => (FaultKind::Decline, Some("lost_card")),
        99_913 => (FaultKind::Decline, Some("expired_card")),
        99_914 => (FaultKind::Decline, Some("processing_error")),
        99_915 => (FaultKind::HttpError, None),
        _ => return None,
    };
    Some(Surprise {
        fault: Fault {
            decline_code: decline_code.map(str::to_owned),
            delay: DELAY,
            ..Fault::of(kind)
        },
        only_once: matches!(digits, 99_910 | 99_915),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only the last five digits count, and ordinary amounts bring nothing.
    #[test]
    fn the_last_digits_decide() {
        let kind = |amount| surprise(amount).map(|surprise| surprise.fault.kind);
        assert_eq!(kind(99_901), Some(FaultKind::Decline));
        assert_eq!(kind(1_299_905), Some(FaultKind::LostResponse));
        for amount in [1, 901, 10_000, 99_900, 99_916, 1_000_000] {
            assert_eq!(kind(amount), None, "{amount}");
        }
    }
}

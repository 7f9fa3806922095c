//! What the rules know of a subject's user.
//!
//! Where each of them comes from, and why:
//!
//! | feature | from | because |
//! |---|---|---|
//! | counts and sums of the last day | `transactions`, under the user's lock | requests that come at once must see each other |
//! | first, last and earlier activity | `transactions` | one look at an index, and exact |
//! | since when a payee is known | the worker's `fraud_payees` | only what is COMPLETED makes a payee known; a late entry errs on the careful side |
//! | sums of the last 30 days | the worker's `fraud_profile_days` | counting a month's rows is too slow for a payment; whole days before today are settled |
//!
//! The counts are of what was asked for, however it ended: an attempt is what a
//! thief makes, and a count that changes when an attempt fails could not be computed
//! again for a back-test.

use time::OffsetDateTime;

use super::subject::Subject;
use crate::domain::MovementKind;

/// Up to how many minor units a transfer is small.
pub(crate) const SMALL_MINOR: i64 = 5_000;

/// What was read about a subject's user, as it was at the subject's time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// Withdrawals of the last hour and the last day.
    pub(crate) withdrawals_last_hour: i64,
    pub(crate) withdrawals_last_day: i64,
    /// Their sums in the subject's currency.
    pub(crate) withdrawals_minor_last_hour: i64,
    pub(crate) withdrawals_minor_last_day: i64,
    /// Transfers of the last ten minutes and the last hour.
    pub(crate) transfers_last_10_minutes: i64,
    pub(crate) transfers_last_hour: i64,
    /// The sum of the last hour's in the subject's currency.
    pub(crate) transfers_minor_last_hour: i64,
    /// Transfers of the subject's currency of at most [`SMALL_MINOR`].
    pub(crate) small_transfers_last_hour: i64,
    pub(crate) small_transfers_last_day: i64,
    /// The first and the last activity of the last 24 hours.
    pub(crate) first_of_last_day: Option<OffsetDateTime>,
    pub(crate) last_of_last_day: Option<OffsetDateTime>,
    /// The last activity before these 24 hours.
    pub(crate) before_last_day: Option<OffsetDateTime>,
    /// The first activity of all.
    pub(crate) first_of_all: Option<OffsetDateTime>,
    /// When a transfer to the payee was COMPLETED first.
    pub(crate) payee_known_since: Option<OffsetDateTime>,
    /// What the user paid in the 30 whole days of UTC before today, in the subject's
    /// currency: transfers and withdrawals that are COMPLETED.
    pub(crate) paid_30_days: i64,
    pub(crate) average_minor_30_days: i64,
    pub(crate) max_minor_30_days: i64,
}

/// What the rules know of a subject's user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Features {
    pub(crate) history: History,
    /// Whole days since the last activity; 0 for a new user.
    pub(crate) days_since_last_activity: i64,
    /// For how many whole days nothing was before the activity of the last 24 hours
    /// began, this transaction included. A small first payment does not hide a long
    /// sleep.
    pub(crate) days_dormant: i64,
    /// Whole days since the first activity; 0 for a new user.
    pub(crate) account_age_days: i64,
    /// Whether nothing was before.
    pub(crate) is_new_user: bool,
    /// Whether it goes to a wallet to which none of the user's transfers is COMPLETED.
    pub(crate) is_new_payee: bool,
    /// Whole days since the payee is known; 0 for a new one, and without one.
    pub(crate) payee_known_days: i64,
}

impl Features {
    /// The features of a subject with this history.
    pub(crate) fn of(subject: &Subject, history: History) -> Self {
        let days = |from: OffsetDateTime, to: OffsetDateTime| (to - from).whole_days().max(0);
        let days_since =
            |from: Option<OffsetDateTime>| from.map_or(0, |from| days(from, subject.at));
        let last = history.last_of_last_day.or(history.before_last_day);
        let woke = history.first_of_last_day.unwrap_or(subject.at);
        Self {
            days_since_last_activity: days_since(last),
            days_dormant: history.before_last_day.map_or(0, |from| days(from, woke)),
            account_age_days: days_since(history.first_of_all),
            is_new_user: history.first_of_all.is_none(),
            is_new_payee: subject.payee.is_some() && history.payee_known_since.is_none(),
            payee_known_days: days_since(history.payee_known_since),
            history,
        }
    }
}

impl History {
    /// Takes in a transaction that the same user asked for a moment earlier and that
    /// is not recorded yet: the one before it in a batch.
    pub(crate) fn take_in(&mut self, earlier: &Subject, subject: &Subject) {
        let same_currency = earlier.amount.currency() == subject.amount.currency();
        let minor = if same_currency {
            earlier.amount.minor()
        } else {
            0
        };
        let add = |to: &mut i64, more: i64| *to = to.saturating_add(more);
        match earlier.kind {
            MovementKind::Withdrawal => {
                add(&mut self.withdrawals_last_hour, 1);
                add(&mut self.withdrawals_last_day, 1);
                add(&mut self.withdrawals_minor_last_hour, minor);
                add(&mut self.withdrawals_minor_last_day, minor);
            }
            MovementKind::Transfer => {
                add(&mut self.transfers_last_10_minutes, 1);
                add(&mut self.transfers_last_hour, 1);
                add(&mut self.transfers_minor_last_hour, minor);
                let is_small = same_currency && minor <= SMALL_MINOR;
                add(&mut self.small_transfers_last_hour, is_small.into());
                add(&mut self.small_transfers_last_day, is_small.into());
            }
            MovementKind::Deposit
            | MovementKind::Refund
            | MovementKind::Adjustment
            | MovementKind::BonusGrant => {}
        }
        self.first_of_last_day.get_or_insert(earlier.at);
        self.last_of_last_day = Some(earlier.at);
        self.first_of_all.get_or_insert(earlier.at);
    }
}

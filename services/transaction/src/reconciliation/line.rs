//! The two sides: a provider's lines and the transactions we recorded.

use bursar_aip::id::{SettlementFileId, TransactionId};
use bursar_money::Currency;
use time::{Date, OffsetDateTime};

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LineType {
    /// The provider took money in.
    Charge,
    /// The provider paid money out.
    Payout,
    /// The provider gave a charge back.
    Refund,
}

impl LineType {
    /// Every type.
    pub const ALL: [Self; 3] = [Self::Charge, Self::Payout, Self::Refund];

    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Charge => "CHARGE",
            Self::Payout => "PAYOUT",
            Self::Refund => "REFUND",
        }
    }

    /// The type of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The type of the line that a kind of transaction leads to; `None` for one
    /// that no provider has a part in.
    pub fn of_transaction(kind: &str) -> Option<Self> {
        match kind {
            "deposit" => Some(Self::Charge),
            "withdrawal" => Some(Self::Payout),
            "refund" => Some(Self::Refund),
            _ => None,
        }
    }

    /// What `amount_minor` of this type does to the wallet that shows what the
    /// provider owes the platform: money it took in is owed, so the wallet falls.
    pub fn settlement_effect(self, amount_minor: i64) -> i128 {
        match self {
            Self::Charge => -i128::from(amount_minor),
            Self::Payout | Self::Refund => i128::from(amount_minor),
        }
    }
}

/// Where a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId {
    /// The file.
    pub file: SettlementFileId,
    /// The line in it, counted from 1, the header included.
    pub number: i64,
}

/// A line of a settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it is.
    pub id: LineId,
    /// Our reference as the provider tells it; may be empty.
    pub reference: String,
    /// The provider's own reference; may be empty.
    pub provider_reference: String,
    /// What joins lines that were settled together; empty when nothing does.
    pub batch_reference: String,
    /// The provider's word for what it is.
    pub type_word: String,
    /// What it is.
    pub kind: LineType,
    /// The currency.
    pub currency: Currency,
    /// The amount before fees in minor units. Some providers write what they
    /// pay out as a negative number; see [`Line::moved_minor`].
    pub gross_minor: i64,
    /// The fee in minor units.
    pub fee_minor: i64,
    /// The amount after fees in minor units.
    pub net_minor: i64,
    /// When it happened.
    pub occurred_at: OffsetDateTime,
}

impl Line {
    /// How much moved in the direction of the type. A charge below zero is no
    /// charge, and stays below zero here.
    pub fn moved_minor(&self) -> i64 {
        Self::moved(self.kind, self.gross_minor)
    }

    /// The same of a type and an amount before fees.
    pub fn moved(kind: LineType, gross_minor: i64) -> i64 {
        match kind {
            LineType::Charge => gross_minor,
            // The one number without an opposite is not a sum that anybody moves.
            LineType::Payout | LineType::Refund => gross_minor.checked_abs().unwrap_or(i64::MAX),
        }
    }

    /// The transaction that the reference names; `None` when it is none of ours.
    pub fn transaction(&self) -> Option<TransactionId> {
        self.reference.parse().ok()
    }

    /// The day of UTC on which it happened.
    pub fn day(&self) -> Date {
        day(self.occurred_at)
    }

    /// What lines that may belong together have in common. Groups are matched one
    /// after the other in the order of this text, whatever the order of lines.
    pub fn group_key(&self) -> String {
        if !self.batch_reference.is_empty() {
            format!("b:{}", self.batch_reference)
        } else if !self.reference.is_empty() {
            format!("r:{}", self.reference)
        } else if !self.provider_reference.is_empty() {
            format!("p:{}", self.provider_reference)
        } else {
            "-".to_owned()
        }
    }

    /// An order of lines by what they say, and only then by where they are.
    pub(super) fn order(&self) -> impl Ord + '_ {
        (
            (&*self.reference, &*self.provider_reference),
            (self.occurred_at, self.kind, self.currency.code()),
            (self.gross_minor, self.fee_minor, self.net_minor),
            (&*self.type_word, &*self.batch_reference, self.id),
        )
    }
}

/// How far a recorded transaction is, as far as reconciliation cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It happened.
    Completed,
    /// It may yet happen: recovery works on it.
    UnderWay,
    /// It did not happen, or waits for a person.
    Other,
}

/// A transaction as reconciliation sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The transaction.
    pub id: TransactionId,
    /// The provider's name for it, once it is known.
    pub provider_reference: Option<String>,
    /// What line it leads to.
    pub kind: LineType,
    /// The currency.
    pub currency: Currency,
    /// How much it moves, in minor units.
    pub amount_minor: i64,
    /// How far it is.
    pub standing: Standing,
    /// The name of its state.
    pub state: String,
    /// The day of UTC on which it was posted, or last changed.
    pub day: Date,
    /// Whether an earlier line stands for it.
    pub is_taken: bool,
}

/// The day of UTC of a time.
pub fn day(at: OffsetDateTime) -> Date {
    at.to_offset(time::UtcOffset::UTC).date()
}

/// By how many days two dates differ.
pub(super) fn days_between(one: Date, other: Date) -> u32 {
    one.to_julian_day().abs_diff(other.to_julian_day())
}

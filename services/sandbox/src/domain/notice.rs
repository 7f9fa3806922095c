//! Faults on demand of notices to the customer.

use std::time::Duration;

/// What a fault does to a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoticeFault {
    /// It is sent this many times more than once.
    Duplicate(u16),
    /// It is sent after a later notice was taken, or after this time when none
    /// comes.
    Reorder(Duration),
    /// It is sent after this time.
    Delay(Duration),
    /// It is never sent.
    Drop,
}

impl NoticeFault {
    /// The name in the API and in the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Duplicate(_) => "duplicate",
            Self::Reorder(_) => "reorder",
            Self::Delay(_) => "delay",
            Self::Drop => "drop",
        }
    }

    /// The fault of that name.
    pub(crate) fn parse(name: &str, copies: Option<u16>, delay: Duration) -> Option<Self> {
        match name {
            "duplicate" => Some(Self::Duplicate(copies.unwrap_or(1))),
            "reorder" => Some(Self::Reorder(delay)),
            "delay" => Some(Self::Delay(delay)),
            "drop" => Some(Self::Drop),
            _ => None,
        }
    }

    /// How many copies are sent.
    pub(crate) fn copies(self) -> Option<u16> {
        match self {
            Self::Duplicate(copies) => Some(copies),
            Self::Reorder(_) | Self::Delay(_) | Self::Drop => None,
        }
    }

    /// How long it waits at most.
    pub(crate) fn delay(self) -> Option<Duration> {
        match self {
            Self::Reorder(delay) | Self::Delay(delay) => Some(delay),
            Self::Duplicate(_) | Self::Drop => None,
        }
    }
}

//! Between the contract's messages and the domain's values.
//!
//! Requests were validated by the codec before they come here, so what can
//! still be wrong about them is little: a currency that does not exist, an
//! instant out of range. Enums translate value by value, in both directions by
//! a match without a catch-all, so that a new value is a compile error.

pub(crate) mod enums;
pub(crate) mod event;
pub(crate) mod history;
pub(crate) mod hold;
pub(crate) mod limit;
pub(crate) mod posting;
pub(crate) mod projection;
pub(crate) mod proof;
pub(crate) mod provider_account;
pub(crate) mod wallet;

use prost_types::Timestamp;
use time::OffsetDateTime;

pub(crate) use bursar_contracts::instant::timestamp;

/// An instant of the contract, in the microseconds that the database keeps; `None` when
/// it is none.
pub(crate) fn instant(at: &Timestamp) -> Option<OffsetDateTime> {
    let instant = bursar_contracts::instant::instant(at)?;
    instant.replace_microsecond(instant.microsecond()).ok()
}

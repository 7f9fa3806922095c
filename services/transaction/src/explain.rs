//! Why a transaction is where it is: one answer from all that is recorded.
//!
//! [`chain`] puts what was found into the order of time, and leaves out what a
//! customer is not told; it is pure. [`entries`] asks wallet for the entries, in the
//! caller's name, so that wallet decides what the caller may see. A part that cannot
//! be had is named with the cause, and never stops the rest: an explanation is
//! wanted most while something is down.
//!
//! Nothing here moves anything on, or asks a payment provider: an explanation tells
//! what is known, and looking twice changes nothing.

pub(crate) mod chain;
pub(crate) mod entries;

//! The provider's API, as a customer sees it.

mod accounts;
mod callbacks;
mod cards;
mod clock;
mod faults;
mod movements;
mod properties;
mod refunds;
mod settlements;
mod support;

//! What a ticket and an audit trail are, and what may happen to them. Pure: no
//! database, no wire, no clock.

pub mod audit;
pub mod ticket;

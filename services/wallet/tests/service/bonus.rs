//! Bonus campaigns and what they grant, through the RPCs and the jobs.
//!
//! Grants last whole seconds at least. Where a test needs one whose time is over,
//! it moves the row's times back as the role that owns the tables; the
//! application's role may not.

mod campaigns;
mod conversion;
mod expiry;
mod grants;
mod model;
mod office;
mod postings;
mod races;
pub(crate) mod spending;
mod tampering;

//! The wallet's write path under kills: the service's process is killed at every
//! step of it, and the database under the service.
//!
//! A generator posts with ids that it knows and notes what was answered. After
//! each kill what was answered must be in the ledger exactly as answered; what
//! was not is asked again with the same ids; and then the ledger must have every
//! posting once and nothing else, with every balance and invariant in order.

mod books;
mod calls;
mod database_killed;
mod house;
mod load;
mod points;
mod service_killed;

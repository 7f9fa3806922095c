//! The wallet under kills: the service's process is killed at every step of the
//! write path and of everything else that it commits, and the database under the
//! service.
//!
//! A generator posts with ids that it knows and notes what was answered. After
//! each kill what was answered must be in the ledger exactly as answered; what
//! was not is asked again with the same ids; and then the ledger must have every
//! posting once and nothing else, with every balance and invariant in order.
//!
//! What is not posting is a day of errands: calls with their keys and what jobs
//! make of them. A day with a kill in it must end as one without.

mod books;
mod calls;
mod database_killed;
mod day;
mod errands;
mod errands_killed;
mod house;
mod load;
mod points;
mod service_killed;

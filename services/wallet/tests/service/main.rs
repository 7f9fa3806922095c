//! The wallet service as its callers meet it: a whole service on a real
//! database, through the generated clients.

mod batches;
mod contention;
mod duplicates;
mod entries;
mod faults;
mod first_wallet;
mod holds;
mod immutability;
mod model;
mod rejections;
mod support;
mod verify;
mod wallets;
mod writer;

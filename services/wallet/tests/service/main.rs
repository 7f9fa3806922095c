//! The wallet service as its callers meet it: a whole service on a real
//! database, through the generated clients.

mod batches;
mod contention;
mod desk;
mod duplicates;
mod entries;
mod faults;
mod first_wallet;
mod hold_contention;
mod hold_expiry;
mod hold_model;
mod hold_rpc;
mod holds;
mod immutability;
mod life;
mod limits;
mod model;
mod rejections;
mod support;
mod verify;
mod wallets;
mod writer;

//! Streams that tell a caller what happens to their money, as it happens.
//!
//! The source is what the relays publish: the streams of this service and of
//! wallet, so a watch sees what every instance does. Each process reads each
//! stream once ([`feed`]), however many watch; what concerns anybody is handed to
//! all watches by a bounded channel, and each takes its user's part ([`account`]).
//!
//! What holds for every watch:
//!
//! - A cursor is a position in each stream. Going on from one tells everything
//!   behind it at least once, and an aggregate's events in their order: the streams
//!   have them so.
//! - A watch from an older cursor reads the streams by itself until it has caught
//!   up with the process, and goes on with the channel from there.
//! - Nothing is kept for a slow reader but the channel's bound: who falls behind is
//!   told from where to watch again, and who falls behind what the streams keep is
//!   told to start anew.
//!
//! Nothing here decides anything about money, or acknowledges anything.

pub(crate) mod account;
pub(crate) mod cursor;
pub(crate) mod error;
pub(crate) mod feed;
pub(crate) mod limits;
pub(crate) mod news;
pub(crate) mod snapshot;
pub(crate) mod token;

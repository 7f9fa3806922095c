//! What identity does in the background. A round that fails is logged and
//! tried again in the next; a job ends when the process shall end.

pub(crate) mod clean_up;
pub(crate) mod signing_keys;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Waits for the next round; `false` when the process shall end instead.
async fn next_round(interval: Duration, shutdown: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(interval) => true,
        () = shutdown.cancelled() => false,
    }
}

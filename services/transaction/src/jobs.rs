//! What the service does in the background.

pub(crate) mod bulk;
pub(crate) mod callbacks;
pub(crate) mod cleanup;
mod due;
pub(crate) mod fraud;
pub(crate) mod reconciliation;
pub(crate) mod recovery;
pub(crate) mod schedules;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Waits for a job's next turn; false when the process ends.
async fn next_turn(interval: Duration, shutdown: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(interval) => true,
        () = shutdown.cancelled() => false,
    }
}

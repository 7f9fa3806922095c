//! What the provider does in the background.

pub(crate) mod deliver;
pub(crate) mod settle;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How often each job looks for work.
const INTERVAL: Duration = Duration::from_millis(200);

/// Waits for the next look; false when the process ends.
async fn next_turn(shutdown: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(INTERVAL) => true,
        () = shutdown.cancelled() => false,
    }
}

//! Waiting for what comes about by itself.

use std::time::Duration;

/// How long that may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_millis(5);

/// Waits until `condition` holds; fails the test when it does not in time.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        let mut ticks = tokio::time::interval(INTERVAL);
        while !condition().await {
            ticks.tick().await;
        }
    };
    let ended = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(ended.is_ok(), "it never came about: {what}");
}

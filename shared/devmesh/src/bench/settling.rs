//! Waiting until one measurement's events are published, so that the next one
//! does not pay for them.

use std::time::{Duration, Instant};

use super::server::unpublished;

/// How long the services may take, and how often that is looked at.
const DEADLINE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_millis(200);

/// Waits until the databases have no event left. Returns how many there were.
pub(super) async fn settle(owner_urls: &[String]) -> anyhow::Result<i64> {
    let mut waited = None;
    let start = Instant::now();
    loop {
        let mut waiting = 0;
        for url in owner_urls {
            waiting += unpublished(url).await?;
        }
        let first = *waited.get_or_insert(waiting);
        if waiting == 0 || start.elapsed() > DEADLINE {
            return Ok(first);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

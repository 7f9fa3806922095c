//! Asking a process whether it works.

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, ensure};
use sqlx::Connection;
use tokio::time::timeout;

use crate::plan::Probe;
use crate::servers::databases::Databases;
use crate::servers::valkey;

const TIMEOUT: Duration = Duration::from_secs(2);
/// Creating databases takes longer than asking whether they are there.
const PROVISION_TIMEOUT: Duration = Duration::from_secs(60);

/// Asks. With `first`, also does what must be done before the process counts as
/// healthy: PostgreSQL gets its roles and databases.
///
/// # Errors
/// Why the process does not count as healthy.
pub async fn ask(
    probe: &Probe,
    databases: &Databases,
    first: bool,
    provision: bool,
) -> anyhow::Result<()> {
    match probe {
        Probe::Postgres => {
            let mut connection = timeout(TIMEOUT, databases.connect())
                .await
                .context("no answer in time")??;
            if first && provision {
                timeout(PROVISION_TIMEOUT, databases.provision(&mut connection))
                    .await
                    .context("the databases were not created in time")??;
            }
            timeout(TIMEOUT, connection.ping())
                .await
                .context("no answer in time")??;
            connection.close().await?;
        }
        Probe::Valkey { port, password } => valkey::probe(*port, password).await?,
        Probe::Http { urls } => {
            for url in urls {
                get(url).await?;
            }
        }
    }
    Ok(())
}

async fn get(url: &str) -> anyhow::Result<()> {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    let client = CLIENT.get_or_init(|| {
        // No connection is kept: each probe asks the process that listens now.
        reqwest::Client::builder()
            .timeout(TIMEOUT)
            .pool_max_idle_per_host(0)
            .no_proxy()
            .build()
            .unwrap_or_default()
    });
    let status = client.get(url).send().await?.status();
    ensure!(status.is_success(), "{url} answers {status}");
    Ok(())
}

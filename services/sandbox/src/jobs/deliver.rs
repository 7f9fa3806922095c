//! Sends the notices of the outbox.
//!
//! A notice is sent at least once and in no particular order, as providers do:
//! the customer knows a repeated one by its id. Signatures and pauses between
//! tries are of the real time: the customer compares them with its own clock.

use std::time::Duration;

use bursar_server::now;
use secrecy::ExposeSecret;
use serde::Deserialize;
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::next_turn;
use crate::config::CallbackSettings;
use crate::signature;
use crate::store;
use crate::store::callbacks::Due;

/// How many notices are sent at once.
const BATCH: i64 = 50;
/// How long the customer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a taken notice is left alone: longer than a try can take.
const LEASE: Duration = Duration::from_secs(30);
/// How often a notice is tried: with the default first retry, for over a day.
const MAX_ATTEMPTS: i32 = 30;
/// The longest pause between two tries.
const MAX_RETRY: Duration = Duration::from_secs(3600);

/// The sender.
pub(crate) struct Deliver {
    pool: PgPool,
    client: reqwest::Client,
    settings: CallbackSettings,
}

impl Deliver {
    /// A sender for the customer of the settings.
    pub(crate) fn new(pool: PgPool, settings: CallbackSettings) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().timeout(TIMEOUT).build()?;
        Ok(Self {
            pool,
            client,
            settings,
        })
    }

    /// Runs until the process ends.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        while next_turn(&shutdown).await {
            if let Err(error) = self.turn().await {
                tracing::warn!(%error, "notices cannot be sent now");
            }
        }
        Ok(())
    }

    async fn turn(&self) -> Result<(), sqlx::Error> {
        let mut conn = self.pool.acquire().await?;
        let clock = store::clock::now(&mut conn).await?;
        let due = store::callbacks::take_due(&mut conn, now(), clock, LEASE, BATCH).await?;
        drop(conn);
        let mut tries = JoinSet::new();
        for notice in due {
            tries.spawn(attempt(self.client.clone(), self.settings.clone(), notice));
        }
        while let Some(tried) = tries.join_next().await {
            // A try that did not end by itself is made again after its lease.
            let Ok((notice, taken)) = tried else { continue };
            let mut conn = self.pool.acquire().await?;
            if taken {
                store::callbacks::delivered(&mut conn, notice.id, now()).await?;
            } else {
                let again = self.next_attempt(notice.attempts);
                store::callbacks::failed(&mut conn, notice.id, again).await?;
            }
        }
        Ok(())
    }

    fn next_attempt(&self, attempts: i32) -> Option<OffsetDateTime> {
        let failures = u32::try_from(attempts).unwrap_or(1).max(1);
        let doubled = 1_u32 << (failures - 1).min(20);
        let delay = self
            .settings
            .first_retry
            .saturating_mul(doubled)
            .min(MAX_RETRY);
        (attempts < MAX_ATTEMPTS).then(|| now() + delay)
    }
}

/// Sends a notice once; true when the customer took it.
async fn attempt(client: reqwest::Client, settings: CallbackSettings, notice: Due) -> (Due, bool) {
    let signature = signature::sign(settings.secret.expose_secret(), &notice.body, now());
    let url = if is_about_card(&notice.body) {
        &settings.card_url
    } else {
        &settings.url
    };
    let sent = client
        .post(url)
        .header(signature::HEADER, signature)
        .header("content-type", "application/json")
        .body(notice.body.clone())
        .send()
        .await;
    let taken = match sent {
        Ok(response) => {
            let status = response.status();
            if !status.is_success() {
                tracing::warn!(callback_id = %notice.id, %status, "a notice was not taken");
            }
            status.is_success()
        }
        Err(error) => {
            tracing::warn!(callback_id = %notice.id, %error, "a notice could not be sent");
            false
        }
    };
    (notice, taken)
}

/// What the body of a notice says of whom it is for.
#[derive(Deserialize)]
struct Told {
    #[serde(rename = "type")]
    event: String,
    data: About,
}

#[derive(Deserialize)]
struct About {
    capture_reference: Option<String>,
}

/// Whether a notice is about an authorisation, a capture, or the refund of one.
fn is_about_card(body: &str) -> bool {
    serde_json::from_str::<Told>(body).is_ok_and(|told| {
        told.event.starts_with("authorization.")
            || told.event.starts_with("capture.")
            || told.data.capture_reference.is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is about a card is told from what is not, also where only the thing that a
    /// refund gives back makes the difference.
    #[test]
    fn cards_have_notices_of_their_own() {
        let is_card = |event: &str, data: &str| {
            is_about_card(&format!(
                r#"{{"callback_id":"cb_1","type":"{event}","reference":"r1","data":{data}}}"#
            ))
        };
        assert!(is_card("authorization.voided", "{}"));
        assert!(is_card(
            "capture.declined",
            r#"{"authorization_reference":"a1"}"#
        ));
        assert!(is_card("refund.failed", r#"{"capture_reference":"k1"}"#));
        assert!(!is_card("refund.succeeded", r#"{"charge_reference":"c1"}"#));
        assert!(!is_card("charge.succeeded", "{}"));
        assert!(!is_card("payout.declined", "{}"));
        assert!(!is_about_card("nonsense"));
    }
}

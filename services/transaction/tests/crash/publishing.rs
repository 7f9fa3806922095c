//! What became of the events: published, and taken in once by who consumes them.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bursar_events::Received;
use bursar_testkit::redis_url;
use redis::aio::MultiplexedConnection;
use redis::streams::StreamRangeReply;
use redis::{AsyncConnectionConfig, Value};

use crate::flow::Flow;
use crate::house::House;

/// How long Redis may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

impl House {
    /// Lets the relay's and the consumers' leases of a process that is no more lapse.
    pub(crate) async fn let_publishing_lapse(&self) {
        for sql in [
            "UPDATE relay_leases SET expires_at = '-infinity'",
            "UPDATE consumer_leases SET expires_at = '-infinity'",
        ] {
            sqlx::query(sql)
                .execute(&self.database.owner)
                .await
                .expect("the owner may change leases");
        }
    }

    /// Waits until everything is published.
    pub(crate) async fn is_published(&self) {
        let text = String::new();
        self.counts_to(
            "SELECT 1 - least(count(*), 1)
             FROM (SELECT seq FROM outbox UNION ALL SELECT seq FROM outbox_batches) AS waiting
             WHERE $1 = ''",
            &text,
        )
        .await;
    }

    /// Waits until every payment counts in its payer's profile, and asserts that it
    /// does once. What is no event is set aside, each once.
    pub(crate) async fn is_taken_in(&self) {
        let text = String::new();
        self.counts_to(
            "SELECT count(*) FROM (
                 SELECT (SELECT coalesce(sum(payments), 0) FROM fraud_profile_days) AS counted,
                     (SELECT count(*) FROM transactions
                      WHERE state = 'COMPLETED' AND kind IN ('transfer', 'withdrawal')) AS made
             ) AS payments
             WHERE counted = made AND $1 = ''",
            &text,
        )
        .await;
        let rubbish = self.rubbish.load(Ordering::Relaxed).to_string();
        self.counts_to(
            "SELECT count(*) FROM (SELECT count(*) AS set_aside FROM dead_letters) AS letters
             WHERE set_aside::text = $1",
            &rubbish,
        )
        .await;
    }

    /// What happens to the stream while nobody of ours is there.
    pub(crate) async fn upset_stream(&self, flow: Flow) {
        let mut redis = self.redis().await;
        let key = self.stream();
        match flow {
            Flow::TransferAfterLoss => {
                let command = redis::cmd("DEL").arg(&key).to_owned();
                let deleted: i64 = command
                    .query_async(&mut redis)
                    .await
                    .expect("Redis answers");
                assert_eq!(deleted, 1, "there was a stream");
            }
            Flow::TransferAfterRubbish => {
                let mut command = redis::cmd("XADD");
                command.arg(&key).arg("*").arg("rubbish").arg("is no event");
                let _: Value = command
                    .query_async(&mut redis)
                    .await
                    .expect("Redis answers");
                self.rubbish.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    /// The stream has every event of late, also where it was lost.
    pub(crate) async fn has_stream(&self) {
        let recorded: Vec<String> = sqlx::query_scalar(
            "SELECT event_id::text FROM event_log WHERE recorded_at > now() - interval '3 minutes'",
        )
        .fetch_all(&self.database.pool)
        .await
        .expect("events are read");
        let mut redis = self.redis().await;
        let mut command = redis::cmd("XRANGE");
        command.arg(self.stream()).arg("-").arg("+");
        let found: StreamRangeReply = command
            .query_async(&mut redis)
            .await
            .expect("Redis answers");
        let found: BTreeSet<String> = found
            .ids
            .iter()
            .filter_map(|entry| Some(Received::of_entry(entry)?.id.to_string()))
            .collect();
        let lost: Vec<_> = recorded.iter().filter(|id| !found.contains(*id)).collect();
        assert!(lost.is_empty(), "not in the stream: {lost:?}");
    }

    fn stream(&self) -> String {
        format!("test:{}:bursar.transaction", self.tokens.name)
    }

    async fn redis(&self) -> MultiplexedConnection {
        let client = redis::Client::open(redis_url()).expect("the tests' Redis has an address");
        // A whole stream is read at once, and the machine may be busy.
        let patient = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        let connection = client.get_multiplexed_async_connection_with_config(&patient);
        connection.await.expect("the tests' Redis is there")
    }
}

//! What the three databases must say: of what was answered, of each other, and by
//! their own rules.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bursar_server::verify;
use bursar_testkit::TestProcess;
use sqlx::Row;

use crate::house::House;
use crate::traffic::Order;

/// Within what time after a restart everything must have come to an end.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl House {
    /// Acknowledged ⊆ durable: what was answered is in the database, as far as it
    /// was answered or farther.
    pub(crate) async fn holds_answers(&self, orders: &[Order]) {
        for told in orders.iter().flat_map(Order::told) {
            let state: Option<String> = sqlx::query_scalar(
                "SELECT state FROM transactions WHERE 'txn_' || transaction_id::text = $1",
            )
            .bind(&told.id)
            .fetch_optional(&self.database.pool)
            .await
            .expect("transactions are read");
            let state = state.unwrap_or_else(|| panic!("{} was answered and is lost", told.id));
            let told_state = told
                .state
                .as_str_name()
                .trim_start_matches("TRANSACTION_STATE_");
            let was_final = matches!(told_state, "COMPLETED" | "FAILED");
            assert!(!was_final || state == told_state, "{told:?} is {state}");
        }
    }

    /// Lets the leases of a process that is no more lapse at once, instead of after
    /// the seconds for which they were given.
    pub(crate) async fn let_leases_lapse(&self) {
        for sql in [
            "UPDATE transaction_checks SET lease_until = now(), next_check_at = now()",
            "UPDATE bulk_transfer_checks SET lease_until = now(), next_check_at = now()",
            "UPDATE schedule_checks SET lease_until = now(), next_check_at = now()",
        ] {
            self.change(sql).await;
        }
        self.let_files_lapse().await;
    }

    /// The same for settlement files.
    pub(crate) async fn let_files_lapse(&self) {
        self.change(
            "UPDATE settlement_files SET lease_until = now()
             WHERE state IN ('IMPORTING', 'RECONCILING')",
        )
        .await;
    }

    /// The same without letting recovery know: whoever asks finds them free.
    pub(crate) async fn let_askers_take_over(&self) {
        for sql in [
            "UPDATE transaction_checks
             SET lease_until = now(), next_check_at = now() + interval '1 hour'",
            "UPDATE bulk_transfer_checks
             SET lease_until = now(), next_check_at = now() + interval '1 hour'",
        ] {
            self.change(sql).await;
        }
    }

    async fn change(&self, sql: &'static str) {
        sqlx::query(sql)
            .execute(&self.database.owner)
            .await
            .expect("the owner may change checks");
    }

    /// The same while a process stands still: what it has locked stays its own.
    pub(crate) async fn let_free_leases_lapse(&self) {
        for sql in [
            "UPDATE transaction_checks SET lease_until = now(), next_check_at = now()
             WHERE transaction_id IN (
                 SELECT transaction_id FROM transaction_checks FOR UPDATE SKIP LOCKED
             )",
            "UPDATE bulk_transfer_checks SET lease_until = now(), next_check_at = now()
             WHERE bulk_transfer_id IN (
                 SELECT bulk_transfer_id FROM bulk_transfer_checks FOR UPDATE SKIP LOCKED
             )",
            "UPDATE schedule_checks SET lease_until = now(), next_check_at = now()
             WHERE schedule_id IN (
                 SELECT schedule_id FROM schedule_checks FOR UPDATE SKIP LOCKED
             )",
            "UPDATE settlement_files SET lease_until = now()
             WHERE file_id IN (
                 SELECT file_id FROM settlement_files
                 WHERE state IN ('IMPORTING', 'RECONCILING')
                 FOR UPDATE SKIP LOCKED
             )",
        ] {
            self.change(sql).await;
        }
    }

    /// True when nothing that is committed is under way.
    pub(crate) async fn is_at_rest(&self) -> bool {
        self.under_way().await.is_empty()
    }

    /// The states of what has not come to an end, and does not wait for a person.
    async fn under_way(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT state FROM transactions
             WHERE state NOT IN ('COMPLETED', 'FAILED', 'MANUAL_REVIEW')
             UNION ALL
             SELECT state FROM settlement_files WHERE state IN ('IMPORTING', 'RECONCILING')",
        )
        .fetch_all(&self.database.pool)
        .await
        .expect("transactions are read")
    }

    /// Nothing waits for a person.
    pub(crate) async fn needs_nobody(&self) {
        let waiting: i64 =
            sqlx::query_scalar("SELECT count(*) FROM transactions WHERE state = 'MANUAL_REVIEW'")
                .fetch_one(&self.database.pool)
                .await
                .expect("transactions are read");
        assert_eq!(waiting, 0, "somebody has to decide");
    }

    /// What orders must have left behind comes to be there, each once.
    pub(crate) async fn has_marks(&self, orders: &[Order]) {
        for mark in orders.iter().flat_map(Order::marks) {
            self.counts_to(mark.sql, &mark.text).await;
        }
    }

    /// Waits until a count that is about a text is 1.
    pub(crate) async fn counts_to(&self, sql: &'static str, text: &str) {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let count: i64 = sqlx::query_scalar(sql)
                .bind(text)
                .fetch_one(&self.database.pool)
                .await
                .unwrap_or_else(|error| panic!("{sql}: {error}"));
            if count == 1 {
                break;
            }
            assert!(Instant::now() < give_up, "{count} and not 1, {text}: {sql}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until nothing is under way any more. The provider answers everything
    /// here, so nothing may stay UNKNOWN.
    pub(crate) async fn comes_to_rest(&self, process: &TestProcess) {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let states = self.under_way().await;
            if states.is_empty() {
                break;
            }
            assert!(
                Instant::now() < give_up,
                "after {PATIENCE:?} some are {states:?}:\n{}",
                process.log()
            );
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Every rule of the three databases holds, and they agree.
    pub(crate) async fn agrees(&self) {
        for (definition, database) in [
            (bursar_transaction::definition(), &self.database),
            (bursar_wallet::definition(), &self.wallet_database),
            (bursar_sandbox::definition(), &self.sandbox_database),
        ] {
            // The wallet publishes nothing here.
            let is_checked = |number| number != 10 || definition.name == "transaction";
            let rules = definition.invariants.iter();
            let rules: Vec<_> = rules
                .filter(|rule| is_checked(rule.number))
                .cloned()
                .collect();
            let verdicts = verify(&database.pool, &rules)
                .await
                .expect("the rules can be checked");
            for verdict in verdicts {
                let rule = verdict.invariant;
                assert_eq!(
                    verdict.offending_rows, 0,
                    "{}: {}: {:?}",
                    definition.name, rule.name, verdict.shown
                );
            }
        }
        assert_eq!(
            self.completed_by_provider().await,
            self.done_by_provider().await
        );
        assert_eq!(self.completed().await, self.posted().await);
    }

    /// The ids that the service says are completed, of whatever kind.
    async fn completed(&self) -> BTreeSet<String> {
        self.ids(
            &self.database.pool,
            "SELECT transaction_id::text AS id FROM transactions WHERE state = 'COMPLETED'",
        )
        .await
    }

    /// The ids of which the ledger has an effect: anything left over of any account's.
    async fn posted(&self) -> BTreeSet<String> {
        self.ids(
            &self.wallet_database.pool,
            "SELECT DISTINCT transaction_id::text AS id
             FROM (
                 SELECT postings.transaction_id
                 FROM postings JOIN entries ON entries.posting_id = postings.id
                 GROUP BY postings.transaction_id, entries.wallet_id
                 HAVING sum(entries.amount) <> 0
             ) AS moved
             -- What a campaign's budget was given is no transaction's.
             WHERE transaction_id IS NOT NULL",
        )
        .await
    }

    /// What the service says its provider has done: references, directions, amounts.
    async fn completed_by_provider(&self) -> BTreeSet<String> {
        self.ids(
            &self.database.pool,
            "SELECT concat_ws(' ', 'txn_' || transaction_id::text, amount_minor, currency_code,
                 CASE kind WHEN 'deposit' THEN 'charge' WHEN 'withdrawal' THEN 'payout'
                           ELSE kind END) AS id
             FROM transactions
             WHERE state = 'COMPLETED' AND provider IS NOT NULL",
        )
        .await
    }

    /// What the provider says it has done. A reference is there once, by its key.
    async fn done_by_provider(&self) -> BTreeSet<String> {
        self.ids(
            &self.sandbox_database.pool,
            "SELECT concat_ws(' ', reference, amount_minor, currency, kind) AS id
             FROM movements
             WHERE status = 'succeeded'",
        )
        .await
    }

    async fn ids(&self, pool: &sqlx::PgPool, sql: &'static str) -> BTreeSet<String> {
        let rows = sqlx::query(sql).fetch_all(pool).await;
        let rows = rows.expect("the books are read");
        let count = rows.len();
        let ids: BTreeSet<String> = rows.into_iter().map(|row| row.get("id")).collect();
        assert_eq!(ids.len(), count, "twice in the books");
        ids
    }

    /// The callers' transactions are there, and no others.
    pub(crate) async fn has_no_others(&self, expected: &BTreeSet<String>) {
        let found = self
            .ids(
                &self.database.pool,
                "SELECT 'txn_' || transaction_id::text AS id FROM transactions",
            )
            .await;
        assert_eq!(found, *expected);
    }
}

//! Scenes in which somebody has to decide, or is refused: what the rules stop, what
//! the limits refuse, what a provider has forgotten and what a refund finds spent.

use std::time::Duration;

use bursar_contracts::transaction::v1::FraudOutcome;
use bursar_contracts::transaction::v1::fraud_service_client::FraudServiceClient;
use bursar_contracts::transaction::v1::limit_service_client::LimitServiceClient;
use bursar_testkit::{TestProcess, with_token};

use crate::flow::{Flow, LIMIT, ORDERS, done, transfer};
use crate::house::House;
use crate::tasks::{limit, rule};
use crate::traffic::{Order, reason};

/// Amounts of a hundred cents from here on are stopped until a person decides.
pub(crate) const STOPPED: i64 = 7_000;
/// Amounts of a hundred cents from here on are denied.
pub(crate) const DENIED: i64 = 7_100;
/// What somebody has got who has spent it since.
const SPENT: i64 = 1_000;
/// How long a check may take that waits for the provider's window.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl House {
    /// Sets up the rules that stop and deny.
    pub(crate) async fn screens(&self, process: &TestProcess) {
        let mut client = FraudServiceClient::new(process.channel());
        for (name, first, outcome) in [
            ("stopped", STOPPED, FraudOutcome::Review),
            ("denied", DENIED, FraudOutcome::Deny),
        ] {
            let amount = "transaction.amount_minor";
            let expression = format!("{amount} > {first} && {amount} < {}", first + 100);
            let request = with_token(rule(name, &expression, outcome), &self.operator);
            if let Err(status) = client.put_fraud_rule(request).await {
                // It is there from before.
                assert_eq!(reason(&status).as_deref(), Some("FRAUD_RULE_CHANGED"));
            }
        }
    }

    /// Sets a limit on what the payer sends at once.
    pub(crate) async fn limits(&self, process: &TestProcess) {
        let [payer, _] = &self.people;
        let request = with_token(limit(payer.id, LIMIT), &self.operator);
        LimitServiceClient::new(process.channel())
            .put_limit_rule(request)
            .await
            .expect("an operator sets limits");
    }

    /// The cases of transactions that were stopped.
    pub(crate) async fn cases_of(&self, transactions: &[String]) -> Vec<String> {
        let cases: Vec<String> = sqlx::query_scalar(
            "SELECT 'fcs_' || case_id::text FROM fraud_cases
             WHERE 'txn_' || transaction_id::text = ANY ($1)",
        )
        .bind(transactions)
        .fetch_all(&self.database.pool)
        .await
        .expect("cases are read");
        assert_eq!(cases.len(), transactions.len(), "each was stopped");
        cases
    }

    /// Deposits that the provider had accepted and knows no longer: a person has to
    /// decide about them.
    pub(crate) async fn forgotten(&self, process: &TestProcess) -> Vec<String> {
        let ids = done(Flow::DepositLater.orders(self, &[]), process).await;
        sqlx::query("DELETE FROM movements WHERE reference = ANY ($1) AND status = 'pending'")
            .bind(&ids)
            .execute(&self.sandbox_database.owner)
            .await
            .expect("the owner may change the provider's books");
        let waiting = async {
            loop {
                let stopped: i64 = sqlx::query_scalar(
                    "SELECT count(*) FROM transactions
                     WHERE 'txn_' || transaction_id::text = ANY ($1) AND state = 'MANUAL_REVIEW'",
                )
                .bind(&ids)
                .fetch_one(&self.database.pool)
                .await
                .expect("transactions are read");
                if stopped == ORDERS {
                    break;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let stopped = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(stopped.is_ok(), "not stopped:\n{}", process.log());
        ids
    }

    /// Deposits of somebody who has spent them since.
    pub(crate) async fn spent(&self, process: &TestProcess) -> Vec<String> {
        let [payer, _] = &self.people;
        let spender = self.person().await;
        let deposits = (1..=ORDERS).map(|minor| Order::deposit(&spender, SPENT + minor));
        let deposits = done(deposits.collect(), process).await;
        let all = (1..=ORDERS).map(|minor| SPENT + minor).sum();
        let spending = Order::new(&spender.token, transfer(&spender, payer, all));
        done(vec![spending], process).await;
        deposits
    }
}

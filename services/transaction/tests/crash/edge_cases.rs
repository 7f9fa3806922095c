//! The edge cases in which the process dies, as a table: where it dies, what it leaves
//! behind, and what that comes to. The cases in which it lives are in the tests of the
//! mesh.
//!
//! One order is given at a time, so that all that is left is told exactly; the kills
//! at every point are [`killed`](crate::killed)'s.

use sqlx::Row as _;

use crate::flow::Flow;
use crate::house::House;
use crate::killed::kill;
use crate::traffic::insist_all;

/// What all books say of one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standing {
    /// The transaction's state; none when it was never recorded.
    state: Option<String>,
    /// The kinds of its postings, in their order.
    postings: Vec<String>,
    /// What the provider has done about it.
    provider: Vec<String>,
}

fn standing(state: Option<&str>, postings: &[&str], provider: &[&str]) -> Standing {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    Standing {
        state: state.map(str::to_owned),
        postings: texts(postings),
        provider: texts(provider),
    }
}

/// A case.
struct Row {
    name: &'static str,
    flow: Flow,
    /// Where the process is killed.
    point: &'static str,
    left: Standing,
    /// Whether it ends by the same key; by itself if not.
    asks_again: bool,
    ends: Standing,
}

fn rows() -> [Row; 5] {
    let paid = || {
        standing(
            Some("COMPLETED"),
            &["hold", "hold_capture"],
            &["payout succeeded"],
        )
    };
    [
        Row {
            name: "before the event: nothing is left, and the key starts anew",
            flow: Flow::Withdrawal,
            point: "creation.before_intent_commit",
            left: standing(None, &[], &[]),
            asks_again: true,
            ends: paid(),
        },
        Row {
            name: "after the event: recovery does what was intended",
            flow: Flow::Withdrawal,
            point: "creation.after_intent_commit",
            left: standing(Some("PENDING"), &[], &[]),
            asks_again: false,
            ends: paid(),
        },
        Row {
            name: "before the provider: it might have been asked, so its window is waited for",
            flow: Flow::Withdrawal,
            point: "advance.before_ask",
            left: standing(Some("PROCESSING"), &["hold"], &[]),
            asks_again: false,
            ends: standing(Some("FAILED"), &["hold", "hold_void"], &[]),
        },
        Row {
            name: "after the provider: what it did is found out, not done again",
            flow: Flow::Withdrawal,
            point: "advance.after_ask",
            left: standing(Some("PROCESSING"), &["hold"], &["payout succeeded"]),
            asks_again: false,
            ends: paid(),
        },
        Row {
            name: "after the ledger: the posting is found, not made again",
            flow: Flow::Transfer,
            point: "advance.after_post",
            left: standing(Some("PENDING"), &["transfer"], &[]),
            asks_again: false,
            ends: standing(Some("COMPLETED"), &["transfer"], &[]),
        },
    ]
}

/// Wherever the process dies, it leaves behind what the table says, and that comes to
/// the end that the table says.
#[tokio::test]
async fn what_a_dead_process_leaves_comes_to_its_end() {
    let house = House::open().await;
    for row in rows() {
        let known = house.transactions().await;
        let mut orders = house.orders(row.flow).await;
        orders.truncate(1);
        let orders = kill(&house, orders, row.point, 1).await;
        assert_eq!(house.standing(&known).await, row.left, "{}", row.name);

        house.let_leases_lapse().await;
        let process = house.start(&[]).await;
        if row.asks_again {
            insist_all(orders, &process).await;
        }
        house.comes_to_rest(&process).await;
        assert_eq!(house.standing(&known).await, row.ends, "{}", row.name);
        process.stop().await;
        house.agrees().await;
    }
}

impl House {
    /// The ids of all transactions.
    async fn transactions(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT 'txn_' || transaction_id::text FROM transactions")
            .fetch_all(&self.database.pool)
            .await
            .expect("transactions are read")
    }

    /// What the books say of the one transaction that is not among those.
    async fn standing(&self, known: &[String]) -> Standing {
        let rows = sqlx::query(
            "SELECT 'txn_' || transaction_id::text AS id, state FROM transactions
             WHERE 'txn_' || transaction_id::text <> ALL ($1)",
        )
        .bind(known)
        .fetch_all(&self.database.pool)
        .await
        .expect("transactions are read");
        assert!(rows.len() <= 1, "one was ordered");
        let Some(row) = rows.first() else {
            return standing(None, &[], &[]);
        };
        let id: String = row.get("id");
        Standing {
            state: Some(row.get("state")),
            postings: self.postings_of(&id).await,
            provider: self.done_about(&id).await,
        }
    }

    async fn postings_of(&self, id: &str) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT kind::text FROM postings
             WHERE 'txn_' || transaction_id::text = $1
             ORDER BY recorded_at",
        )
        .bind(id)
        .fetch_all(&self.wallet_database.pool)
        .await
        .expect("postings are read")
    }

    async fn done_about(&self, id: &str) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT concat_ws(' ', kind, status) FROM movements
             WHERE reference = $1
             ORDER BY position",
        )
        .bind(id)
        .fetch_all(&self.sandbox_database.pool)
        .await
        .expect("the provider's books are read")
    }
}

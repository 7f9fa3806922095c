//! Transfers against each other.

use futures::future::join_all;

use crate::support::{Edge, Person, transfer};

/// Two hundred pairs of opposed transfers at once: all complete, none
/// deadlocks, and the sum stays.
#[tokio::test]
async fn opposed_transfers_keep_the_sum() {
    const PAIRS: usize = 200;
    let edge = Edge::shared();
    let (ada, bob) = (edge.person().await, edge.person().await);
    let (a, b) = (
        edge.funded(&ada, 100_000).await,
        edge.funded(&bob, 100_000).await,
    );
    let one = async |person: &Person, from: &str, to: &str, minor: i64| {
        let body = transfer(from, to, minor);
        edge.pay_until_answered("/api/v1/transactions/transfers", &person.token, &body)
            .await
    };
    let there = join_all((0..PAIRS).map(|_| one(&ada, &a, &b, 7)));
    let back = join_all((0..PAIRS).map(|_| one(&bob, &b, &a, 5)));
    let (there, back) = futures::join!(there, back);
    for answer in there.into_iter().chain(back) {
        assert_eq!(
            answer.ok()["transaction"]["state"],
            "TRANSACTION_STATE_COMPLETED"
        );
    }
    let moved = 2 * i64::try_from(PAIRS).expect("small");
    assert_eq!(edge.available(&ada, &a).await, 100_000 - moved);
    assert_eq!(edge.available(&bob, &b).await, 100_000 + moved);
}

/// A wallet that many spend from at once never goes below zero: exactly as many
/// transfers complete as it has money for.
#[tokio::test]
async fn a_wallet_is_never_overdrawn() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let (from, to) = (
        edge.funded(&ada, 1_000).await,
        edge.wallet(&ada, "EUR").await,
    );
    let body = transfer(&from, &to, 100);
    let answers = join_all((0..40).map(async |_| {
        edge.pay_until_answered("/api/v1/transactions/transfers", &ada.token, &body)
            .await
    }))
    .await;
    let (done, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!(done.len(), 10);
    assert!(
        refused
            .iter()
            .all(|answer| answer.reason() == "INSUFFICIENT_FUNDS")
    );
    assert_eq!(edge.available(&ada, &from).await, 0);
    assert_eq!(edge.available(&ada, &to).await, 1_000);
}

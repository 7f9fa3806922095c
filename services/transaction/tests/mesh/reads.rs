//! Who sees which transaction.

use bursar_aip::id::UserId;
use bursar_contracts::transaction::v1::ListTransactionsRequest;
use bursar_testkit::with_token;
use tonic::Code;

use crate::support::Mesh;
use crate::support::calls::{refusal, transfer};
use crate::support::person::Person;

impl Person<'_> {
    /// The ids of a list, page by page.
    async fn listed(&self, wallet_id: &str, page_size: i32) -> Vec<String> {
        let mut ids = Vec::new();
        let mut page_token = String::new();
        loop {
            let page = self.list(ListTransactionsRequest {
                wallet_id: wallet_id.to_owned(),
                page_size,
                page_token,
            });
            let page = page.await.expect("a user may list");
            ids.extend(
                page.transactions
                    .into_iter()
                    .map(|listed| listed.transaction_id),
            );
            if page.next_page_token.is_empty() {
                return ids;
            }
            page_token = page.next_page_token;
        }
    }
}

/// The initiator sees a transaction, the beneficiary once it is completed, an
/// admin always; for everybody else it does not exist.
#[tokio::test]
async fn transactions_are_seen_by_their_parties() {
    let mesh = Mesh::start().await;
    let (alice, bob, eve) = (mesh.person(), mesh.person(), mesh.person());
    let (from, to) = (alice.funded(100).await, bob.wallet().await);
    let sent = alice
        .transfer(transfer(&from, &to, 60))
        .await
        .expect("enough");
    let refused = alice
        .transfer(transfer(&from, &to, 60))
        .await
        .expect_err("not enough");
    let failed = crate::support::calls::told(&refused)
        .transaction_id
        .expect("named");

    assert_eq!(
        alice.get(&sent.transaction_id).await.expect("her own"),
        sent
    );
    assert_eq!(
        bob.get(&sent.transaction_id).await.expect("it reached him"),
        sent
    );
    alice.get(&failed).await.expect("her own");
    let missing = "txn_0190b6a0-0000-7000-8000-000000000000";
    let not_found = (Code::NotFound, "TRANSACTION_NOT_FOUND".to_owned());
    for (person, id) in [
        (&bob, &*failed),
        (&eve, &*sent.transaction_id),
        (&eve, &*failed),
        (&alice, missing),
    ] {
        let hidden = person.get(id).await.expect_err("hidden");
        assert_eq!(refusal(&hidden), not_found);
    }
    mesh.transaction(&failed).await;
}

/// A user's list has what the user started and what reached the user, newest
/// first, each once, whatever the size of the pages.
#[tokio::test]
async fn lists_have_both_sides_newest_first() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.funded(1_000).await);
    let other = alice.wallet().await;
    let mut sent = Vec::new();
    for _ in 0..3 {
        sent.push(
            alice
                .transfer(transfer(&from, &to, 10))
                .await
                .expect("enough"),
        );
        sent.push(
            bob.transfer(transfer(&to, &from, 10))
                .await
                .expect("enough"),
        );
    }
    let own = alice
        .transfer(transfer(&from, &other, 10))
        .await
        .expect("to herself");
    let refused = bob
        .transfer(transfer(&to, &from, 100_000))
        .await
        .expect_err("too much");
    let failed = crate::support::calls::told(&refused)
        .transaction_id
        .expect("named");
    let newest_first: Vec<_> = sent
        .iter()
        .rev()
        .map(|sent| sent.transaction_id.clone())
        .collect();

    let all = alice.listed("", 0).await;
    assert_eq!(all[0], own.transaction_id);
    assert_eq!(all[1..7], newest_first);
    assert_eq!(all.len(), 8, "and her deposit");
    for size in [1, 2, 3, 7, 8, 100] {
        assert_eq!(alice.listed("", size).await, all, "pages of {size}");
    }
    assert_eq!(alice.listed(&other, 0).await, [own.transaction_id]);
    assert_eq!(alice.listed(&from, 3).await, all);
    let bobs = bob.listed("", 0).await;
    assert_eq!(bobs[0], failed, "his own failure, which alice does not see");
    assert_eq!(bobs[1..7], newest_first);
}

/// Another's wallet is no filter, and a token is good for its own list only.
#[tokio::test]
async fn lists_cannot_be_bent() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    for _ in 0..3 {
        alice
            .transfer(transfer(&from, &to, 10))
            .await
            .expect("enough");
    }
    let list = |wallet_id: &str, page_size, page_token: &str| ListTransactionsRequest {
        wallet_id: wallet_id.to_owned(),
        page_size,
        page_token: page_token.to_owned(),
    };
    let missing = "wal_0190b6a0-0000-7000-8000-000000000000";
    for wallet in [&*to, missing] {
        let hidden = alice.list(list(wallet, 0, "")).await.expect_err("hidden");
        assert_eq!(
            refusal(&hidden),
            (Code::NotFound, "WALLET_NOT_FOUND".to_owned())
        );
    }
    let page = alice.list(list("", 1, "")).await.expect("a page");
    let token = page.next_page_token;
    let invalid = (Code::InvalidArgument, "PAGE_TOKEN_INVALID".to_owned());
    for (person, request) in [
        (&bob, list("", 1, &token)),
        (&alice, list(&from, 1, &token)),
        (&alice, list("", 1, "garbage")),
    ] {
        let refused = person.list(request).await.expect_err("not this list's");
        assert_eq!(refusal(&refused), invalid);
    }
    for size in [-1, i32::MAX] {
        let refused = alice
            .list(list("", size, ""))
            .await
            .expect_err("out of bounds");
        assert_eq!(
            refusal(&refused),
            (Code::InvalidArgument, "INVALID_FIELD".to_owned())
        );
    }
}

/// An admin lists everybody's, and any wallet's.
#[tokio::test]
async fn admins_list_everything() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let sent = alice
        .transfer(transfer(&from, &to, 10))
        .await
        .expect("enough");
    let token = mesh.tokens.admin(UserId::generate());
    for (wallet_id, count) in [("", 2), (&*from, 2), (&*to, 1)] {
        let request = ListTransactionsRequest {
            wallet_id: wallet_id.to_owned(),
            ..ListTransactionsRequest::default()
        };
        let listed = mesh
            .client()
            .list_transactions(with_token(request, &token))
            .await;
        let listed = listed.expect("an admin may list").into_inner().transactions;
        assert_eq!(listed.len(), count);
        assert_eq!(listed[0], sent);
    }
}

//! Following a wallet's entries both ways, with filters, and from a replica.

use bursar_aip::id::{HoldId, UserId};
use bursar_contracts::wallet::v1::{
    Bucket, EntryOrder, GetWalletRequest, ListEntriesRequest, ListEntriesResponse, PostingKind,
    Wallet,
};
use bursar_status::StatusExt;
use bursar_testkit::{ClaimedPort, TestDatabase, with_token};
use tonic::{Code, Status};

use crate::support::{
    Fixture, applied, capture, deposit, place, posting, reason, settlement, transfer, uuid_of, void,
};

fn all_of(wallet: &Wallet) -> ListEntriesRequest {
    ListEntriesRequest {
        wallet_id: wallet.wallet_id.clone(),
        page_size: 3,
        ..ListEntriesRequest::default()
    }
}

async fn page(
    fixture: &Fixture,
    request: ListEntriesRequest,
) -> Result<ListEntriesResponse, Status> {
    let token = fixture.tokens.admin(UserId::generate());
    let response = fixture
        .wallets()
        .list_entries(with_token(request, &token))
        .await?;
    Ok(response.into_inner())
}

fn versions(page: &ListEntriesResponse) -> Vec<i64> {
    page.entries.iter().map(|entry| entry.version).collect()
}

/// Every page from the first to the last, and then back to the first: the
/// versions of each.
async fn there_and_back(
    fixture: &Fixture,
    request: &ListEntriesRequest,
) -> (Vec<Vec<i64>>, Vec<Vec<i64>>) {
    let mut there = Vec::new();
    let mut found = page(fixture, request.clone()).await.expect("a page");
    assert!(found.previous_page_token.is_empty(), "it is the first page");
    there.push(versions(&found));
    while !found.next_page_token.is_empty() {
        let next = ListEntriesRequest {
            page_token: found.next_page_token,
            ..request.clone()
        };
        found = page(fixture, next).await.expect("a page");
        there.push(versions(&found));
    }
    let mut back = vec![versions(&found)];
    while !found.previous_page_token.is_empty() {
        let previous = ListEntriesRequest {
            page_token: found.previous_page_token,
            ..request.clone()
        };
        found = page(fixture, previous).await.expect("a page");
        back.push(versions(&found));
    }
    (there, back)
}

/// A wallet with 11 entries of several kinds: a deposit, seven transfers out,
/// a hold that is placed and captured.
async fn busy_wallet(fixture: &Fixture) -> Wallet {
    let wallet = fixture.funded("EUR", 1_000).await;
    let other = fixture.open(UserId::generate(), "EUR").await;
    let mut ledger = fixture.ledger();
    for amount in 1..=7 {
        applied(&ledger.post_one(transfer(&wallet, &other, amount)).await);
    }
    let hold = HoldId::generate();
    applied(&ledger.post_one(place(hold, &wallet, 50)).await);
    applied(&ledger.post_one(capture(hold, &wallet, 50)).await);
    wallet
}

/// Pages followed to the end and back show every entry once each way, in both
/// orders.
#[tokio::test]
async fn pages_are_followed_both_ways() {
    let fixture = Fixture::start().await;
    let wallet = busy_wallet(&fixture).await;
    for order in [EntryOrder::NewestFirst, EntryOrder::OldestFirst] {
        let request = ListEntriesRequest {
            order: order.into(),
            ..all_of(&wallet)
        };
        let (there, mut back) = there_and_back(&fixture, &request).await;
        let mut expected: Vec<i64> = (1..=11).collect();
        if order == EntryOrder::NewestFirst {
            expected.reverse();
        }
        assert_eq!(there.concat(), expected);
        back.reverse();
        assert_eq!(back.concat(), expected);
    }
}

/// Entries are filtered by bucket and kind, and a token belongs to its filter.
#[tokio::test]
async fn entries_are_filtered() {
    let fixture = Fixture::start().await;
    let wallet = busy_wallet(&fixture).await;
    let held = ListEntriesRequest {
        bucket: Bucket::Held.into(),
        ..all_of(&wallet)
    };
    let (there, _) = there_and_back(&fixture, &held).await;
    assert_eq!(there.concat(), [11, 10]);
    let transfers = ListEntriesRequest {
        kinds: vec![PostingKind::Transfer.into()],
        ..all_of(&wallet)
    };
    let (there, mut back) = there_and_back(&fixture, &transfers).await;
    let expected: Vec<i64> = (2..=8).rev().collect();
    assert_eq!(there.concat(), expected);
    back.reverse();
    assert_eq!(back.concat(), expected);
    let first = page(&fixture, transfers.clone()).await.expect("a page");
    let other_filter = ListEntriesRequest {
        page_token: first.next_page_token,
        kinds: vec![PostingKind::Hold.into()],
        ..transfers
    };
    let refused = page(&fixture, other_filter)
        .await
        .expect_err("another list");
    assert_eq!(reason(&refused), "PAGE_TOKEN_INVALID");
    let nothing = ListEntriesRequest {
        kinds: vec![PostingKind::BonusGrant.into()],
        ..all_of(&wallet)
    };
    let found = page(&fixture, nothing).await.expect("a page");
    assert_eq!(found, ListEntriesResponse::default());
}

/// Entries are filtered by when they were recorded: from a time on, and before one.
#[tokio::test]
async fn entries_are_filtered_by_time() {
    let fixture = Fixture::start().await;
    let wallet = busy_wallet(&fixture).await;
    let whole = ListEntriesRequest {
        page_size: 100,
        order: EntryOrder::OldestFirst.into(),
        ..all_of(&wallet)
    };
    let all = page(&fixture, whole.clone()).await.expect("a page").entries;
    let (from, before) = (all[2].recorded_at, all[6].recorded_at);
    let between = ListEntriesRequest {
        recorded_from: from,
        recorded_before: before,
        ..whole.clone()
    };
    let found = page(&fixture, between.clone()).await.expect("a page");
    let time = |at: &Option<prost_types::Timestamp>| at.map(|at| (at.seconds, at.nanos));
    let expected: Vec<i64> = all
        .iter()
        .filter(|entry| (time(&from)..time(&before)).contains(&time(&entry.recorded_at)))
        .map(|entry| entry.version)
        .collect();
    assert!(!expected.is_empty());
    assert_eq!(versions(&found), expected);
    let reversed = ListEntriesRequest {
        recorded_from: before,
        recorded_before: from,
        ..whole
    };
    let refused = page(&fixture, reversed).await.expect_err("no such span");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let violations = refused.get_details_bad_request().expect("details");
    assert_eq!(violations.field_violations[0].field, "recorded_before");
}

/// A filter that leaves out thousands of entries is answered page by page, each
/// with bounded work, and the pages together are the whole list.
#[tokio::test]
async fn sparse_lists_go_on_over_empty_pages() {
    let fixture = Fixture::start().await;
    let wallet = fixture.open(UserId::generate(), "EUR").await;
    let mut ledger = fixture.ledger();
    let hold = HoldId::generate();
    applied(&ledger.post_one(deposit(&wallet, 50)).await);
    applied(&ledger.post_one(place(hold, &wallet, 50)).await);
    applied(&ledger.post_one(void(hold, &wallet, 50)).await);
    // 31 legs a posting, 320 postings a round: 10,000 entries and more.
    let legs = || {
        let mut legs = vec![settlement("EUR", -31)];
        legs.extend((0..31).map(|_| crate::support::leg(&wallet, 1)));
        posting(PostingKind::Deposit, legs)
    };
    for _ in 0..2 {
        let postings = (0..170).map(|_| legs()).collect();
        let mode = bursar_contracts::wallet::v1::BatchMode::Independent;
        for result in ledger.post(postings, mode).await {
            applied(&result);
        }
    }
    let request = ListEntriesRequest {
        kinds: vec![PostingKind::HoldVoid.into()],
        ..all_of(&wallet)
    };
    let (there, mut back) = there_and_back(&fixture, &request).await;
    assert!(there.len() > 1, "one request looked at every entry");
    assert_eq!(there.concat(), [5, 4]);
    back.reverse();
    assert_eq!(back.concat(), [5, 4]);
}

/// Lists come from the replica when there is one, and from the database what the
/// replica does not have yet.
#[tokio::test]
async fn lists_come_from_the_replica() {
    // Another database in the replica's place shows which of the two was asked.
    let replica = TestDatabase::create(&bursar_wallet::migrations()).await;
    let url = replica.application_url.as_str();
    let fixture = Fixture::start_with(&[("BURSAR_DATABASE_REPLICA_URL", url)]).await;
    let wallet = fixture.funded("EUR", 100).await;
    let missing = page(&fixture, all_of(&wallet)).await.expect("a page");
    assert_eq!(versions(&missing), [1]);
    sqlx::query(
        "INSERT INTO wallets (id, tenant_id, owner_user_id, currency, status, available, held,
             bonus, min_available, version, event_version, created_at)
         VALUES ($1, 'default', $2, 'EUR', 'active', 0, 0, 0, 0, 0, 1, now())",
    )
    .bind(uuid_of(&wallet.wallet_id))
    .bind(uuid_of(&wallet.owner_user_id))
    .execute(&replica.owner)
    .await
    .expect("the replica has the wallet, before its deposit");
    let behind = page(&fixture, all_of(&wallet)).await.expect("a page");
    assert_eq!(versions(&behind), [0_i64; 0]);
}

/// Lists come from the database while the replica does not answer.
#[tokio::test]
async fn lists_do_without_a_replica_that_is_gone() {
    let nobody = ClaimedPort::claim();
    let address = nobody.address();
    let url = format!("postgres://nobody@{address}/nothing");
    let fixture = Fixture::start_with(&[("BURSAR_DATABASE_REPLICA_URL", &url)]).await;
    let wallet = fixture.funded("EUR", 100).await;
    let found = page(&fixture, all_of(&wallet)).await.expect("a page");
    assert_eq!(versions(&found), [1]);
}

/// Whoever asks for a version that the wallet has not come to is told so.
#[tokio::test]
async fn versions_can_be_demanded() {
    let fixture = Fixture::start().await;
    let wallet = fixture.funded("EUR", 100).await;
    let token = fixture.tokens.admin(UserId::generate());
    let get = |min_version| GetWalletRequest {
        wallet_id: wallet.wallet_id.clone(),
        min_version,
    };
    let reached = fixture
        .wallets()
        .get_wallet(with_token(get(1), &token))
        .await
        .expect("it is at version 1");
    let reached = reached.into_inner().wallet.expect("a wallet");
    assert_eq!(reached.version, 1);
    let refused = fixture
        .wallets()
        .get_wallet(with_token(get(2), &token))
        .await
        .expect_err("it is not at version 2");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(reason(&refused), "WALLET_VERSION_NOT_REACHED");
}

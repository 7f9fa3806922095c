//! ListEntries, and the events that tell of entries.

use bursar_aip::id::UserId;
use bursar_contracts::wallet::v1::{
    Bucket, Entry, ListEntriesRequest, PostingKind, Wallet, WalletPosted,
};
use bursar_testkit::with_token;
use prost::Message;
use tonic::Code;

use crate::support::{Fixture, applied, deposit, leg_in, posting, reason, settlement, transfer};

fn page(wallet: &Wallet, page_size: i32, page_token: String) -> ListEntriesRequest {
    ListEntriesRequest {
        wallet_id: wallet.wallet_id.clone(),
        page_size,
        page_token,
        ..ListEntriesRequest::default()
    }
}

async fn all_entries(fixture: &Fixture, wallet: &Wallet, size: i32) -> Vec<Entry> {
    let owner: UserId = wallet.owner_user_id.parse().expect("a user");
    let token = fixture.tokens.user(owner);
    let mut entries = Vec::new();
    let mut next = String::new();
    loop {
        let request = with_token(page(wallet, size, next), &token);
        let answer = fixture
            .wallets()
            .list_entries(request)
            .await
            .expect("a page");
        let answer = answer.into_inner();
        entries.extend(answer.entries);
        next = answer.next_page_token;
        if next.is_empty() {
            return entries;
        }
    }
}

/// Entries come newest first, each once, whatever the page size, and say what
/// their posting was.
#[tokio::test]
async fn entries_are_listed_newest_first() {
    let fixture = Fixture::start().await;
    let wallet = fixture.open(UserId::generate(), "EUR").await;
    let other = fixture.open(UserId::generate(), "EUR").await;
    let mut ledger = fixture.ledger();
    let postings = [
        deposit(&wallet, 500),
        transfer(&wallet, &other, 120),
        transfer(&other, &wallet, 20),
        posting(
            PostingKind::Adjustment,
            vec![settlement("EUR", -7), leg_in(Bucket::Spendable, &wallet, 7)],
        ),
    ];
    for posting in &postings {
        applied(&ledger.post_one(posting.clone()).await);
    }
    let entries = all_entries(&fixture, &wallet, 100).await;
    let lines: Vec<_> = entries
        .iter()
        .map(|entry| {
            (
                entry.version,
                entry.bucket(),
                entry.amount_minor,
                entry.balance_after_minor,
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            (4, Bucket::Available, 7, 407),
            (3, Bucket::Available, 20, 400),
            (2, Bucket::Available, -120, 380),
            (1, Bucket::Available, 500, 500),
        ]
    );
    for (entry, posting) in entries.iter().zip(postings.iter().rev()) {
        assert_eq!(entry.posting_id, posting.posting_id);
        assert_eq!(entry.transaction_id, posting.transaction_id);
        assert_eq!(entry.kind, posting.kind);
        assert!(entry.recorded_at.is_some());
    }
    assert_eq!(all_entries(&fixture, &wallet, 1).await, entries);
    assert_eq!(all_entries(&fixture, &wallet, 3).await, entries);
    fixture.verify().await;
}

/// Another user's ledger is not found; page tokens belong to one wallet.
#[tokio::test]
async fn ledgers_are_their_owners() {
    let fixture = Fixture::start().await;
    let user = UserId::generate();
    let token = fixture.tokens.user(user);
    let wallet = fixture.open(user, "EUR").await;
    let second = fixture.open(user, "EUR").await;
    let mut ledger = fixture.ledger();
    for _ in 0..3 {
        applied(&ledger.post_one(deposit(&wallet, 5)).await);
    }
    let mut client = fixture.wallets();
    let stranger = fixture.tokens.user(UserId::generate());
    let hidden = client
        .list_entries(with_token(page(&wallet, 2, String::new()), &stranger))
        .await;
    let hidden = hidden.expect_err("not theirs");
    assert_eq!(hidden.code(), Code::NotFound);
    assert_eq!(reason(&hidden), "WALLET_NOT_FOUND");
    let admin = fixture.tokens.admin(UserId::generate());
    let seen = client
        .list_entries(with_token(page(&wallet, 2, String::new()), &admin))
        .await;
    let next = seen.expect("any").into_inner().next_page_token;
    assert!(!next.is_empty());
    let moved = client
        .list_entries(with_token(page(&second, 2, next), &token))
        .await;
    let moved = moved.expect_err("another wallet's token");
    assert_eq!(reason(&moved), "PAGE_TOKEN_INVALID");
}

/// Each posting tells of each user's wallet once, with its entries, and says
/// whether money came, went or only moved; the platform's wallets tell nothing.
#[tokio::test]
async fn events_tell_of_postings() {
    let fixture = Fixture::start().await;
    let alice = fixture.funded("EUR", 500).await;
    let bob = fixture.open(UserId::generate(), "EUR").await;
    let mut ledger = fixture.ledger();
    let paid = transfer(&alice, &bob, 200);
    applied(&ledger.post_one(paid.clone()).await);
    let hold = bursar_aip::id::HoldId::generate();
    applied(
        &ledger
            .post_one(crate::support::place(hold, &alice, 50))
            .await,
    );
    let rows: Vec<(String, i64, String, String, Vec<u8>)> = sqlx::query_as(
        "SELECT subject, version, kind, actor, data FROM event_log
         WHERE version > 1 ORDER BY subject, version",
    )
    .fetch_all(&fixture.database.pool)
    .await
    .expect("events");
    let told = |wallet: &Wallet| {
        let own = rows.iter().filter(|row| row.0 == wallet.wallet_id);
        own.map(|row| row.2.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(
        told(&alice),
        ["wallet.credited", "wallet.debited", "wallet.moved"]
    );
    assert_eq!(told(&bob), ["wallet.credited"]);
    assert_eq!(rows.len(), 4);
    let row = rows
        .iter()
        .find(|row| row.0 == bob.wallet_id)
        .expect("bob's");
    assert_eq!(row.3, "service:transaction");
    let data = WalletPosted::decode(row.4.as_slice()).expect("the event's message");
    assert_eq!(data.wallet_id, bob.wallet_id);
    assert_eq!(data.owner_user_id, bob.owner_user_id);
    assert_eq!(data.posting_id, paid.posting_id);
    assert_eq!(data.transaction_id, paid.transaction_id);
    assert_eq!(data.kind(), PostingKind::Transfer);
    assert_eq!(data.entries.len(), 1);
    assert_eq!(data.entries[0].amount_minor, 200);
    assert_eq!(data.entries[0].balance_after_minor, 200);
    assert_eq!(data.entries[0].version, 1);
    fixture.verify().await;
}

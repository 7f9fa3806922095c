//! What a wallet had at any time, and what happened to it: balances at an
//! instant, statements, and entries with filters.

use bursar_contracts::wallet::v1::history_service_client::HistoryServiceClient;
use bursar_contracts::wallet::v1::{
    ExportStatementRequest, GetBalanceAtRequest, GetStatementRequest, TimeBasis,
};
use prost_types::Timestamp;
use serde_json::{Value, json};

use crate::grpc;
use crate::holds::Counter;
use crate::support::{Edge, buckets, eur, minor, refused, send, text};

const BASES: [(&str, &str); 2] = [
    ("TIME_BASIS_EFFECTIVE", "effective_at"),
    ("TIME_BASIS_RECORDED", "recorded_at"),
];
const BUCKETS: [&str; 3] = ["BUCKET_AVAILABLE", "BUCKET_HELD", "BUCKET_BONUS"];

/// A wallet with a past: money that came, went, was set aside, captured and
/// given back.
async fn with_a_past() -> Counter {
    let counter = Counter::open(10_000).await;
    let (ada, wallet, till) = (&counter.ada, &counter.wallet, &counter.till);
    counter.edge.transfer(ada, wallet, till, 1_200).await.ok();
    let placed = counter.place(&json!({"amount": eur(600)})).await;
    let id = text(&placed["hold_id"]);
    let body = json!({"amount": eur(250), "to_wallet_id": till});
    counter.act(&id, "capture", &body).await.ok();
    counter.act(&id, "void", &json!({})).await.ok();
    counter.edge.transfer(ada, wallet, till, 300).await.ok();
    counter
}

/// All entries of a wallet, oldest first.
async fn entries(edge: &Edge, token: &str, wallet: &str) -> Vec<Value> {
    let path = format!(
        "/api/v1/wallet/wallets/{wallet}/entries?order=ENTRY_ORDER_OLDEST_FIRST&page_size=100"
    );
    let page = edge.get(&path, token).await.ok();
    assert_eq!(page["next_page_token"], "");
    page["entries"].as_array().expect("a list").clone()
}

/// An instant of an answer.
fn instant(value: &Value) -> Timestamp {
    text(value).parse().expect("RFC 3339")
}

fn order(at: Timestamp) -> (i64, i32) {
    (at.seconds, at.nanos)
}

/// The same instant, a moment earlier or later.
fn shifted(at: Timestamp, microseconds: i32) -> Timestamp {
    let mut shifted = at;
    shifted.nanos += microseconds * 1_000;
    shifted.normalize();
    shifted
}

fn hours_later(at: Timestamp, hours: i64) -> Timestamp {
    Timestamp {
        seconds: at.seconds + hours * 3_600,
        ..at
    }
}

/// What entries sum to in each bucket.
fn sum<'a>(entries: impl Iterator<Item = &'a Value>) -> [i64; 3] {
    let mut sums = [0; 3];
    for entry in entries {
        let bucket = text(&entry["bucket"]);
        let index = BUCKETS.iter().position(|name| *name == bucket);
        sums[index.expect("a bucket")] += minor(&entry["amount_minor"]);
    }
    sums
}

/// At every instant at which something happened, just before and just after,
/// the balance is what the entries up to then sum to, by both times.
#[tokio::test]
async fn a_balance_at_a_time_is_the_sum_of_the_entries() {
    let counter = with_a_past().await;
    let (edge, token, wallet) = (&counter.edge, &counter.ada.token, &counter.wallet);
    let entries = entries(edge, token, wallet).await;
    assert!(entries.len() >= 8, "{entries:#?}");
    for (basis, field) in BASES {
        for moment in entries.iter().map(|entry| instant(&entry[field])) {
            for at in [-1, 0, 1].map(|shift| shifted(moment, shift)) {
                let path = format!("/api/v1/wallet/wallets/{wallet}/balance?at={at}&basis={basis}");
                let found = edge.get(&path, token).await.ok();
                let is_before = |entry: &&Value| order(instant(&entry[field])) <= order(at);
                let expected = sum(entries.iter().filter(is_before));
                assert_eq!(buckets(&found["balance"]), expected, "{path}");
                assert_eq!(order(instant(&found["at"])), order(at));
                assert_eq!(found["basis"], basis);
            }
        }
    }
    assert_eq!(edge.balance(token, wallet).await, [8_250, 0, 0]);
    let path = format!("/api/v1/wallet/wallets/{wallet}/balance");
    let timeless = edge.get(&path, token).await;
    refused(&timeless, 400, "INVALID_FIELD");
    assert_eq!(timeless.fields(), "at");
    let nonsense = edge.get(&format!("{path}?at=yesterday"), token).await;
    refused(&nonsense, 400, "INVALID_FIELD");
    assert_eq!(nonsense.fields(), "at");
}

/// A statement's pages close: opening and all lines give closing, each line the
/// balance after it, whatever part of the past it is of.
#[tokio::test]
async fn statements_close_page_by_page() {
    let counter = with_a_past().await;
    let (edge, token, wallet) = (&counter.edge, &counter.ada.token, &counter.wallet);
    let entries = entries(edge, token, wallet).await;
    let times = entries.iter().map(|entry| instant(&entry["recorded_at"]));
    let times: Vec<Timestamp> = times.collect();
    let (first, last) = (times[0], times[times.len() - 1]);
    let middle = times[times.len() / 2];
    for (basis, field) in BASES {
        for (from, to) in [
            (first, shifted(last, 1)),
            (shifted(first, 1), last),
            (middle, hours_later(last, 24)),
            (hours_later(first, -24), first),
        ] {
            let range = format!("from={from}&to={to}&basis={basis}");
            let (statement, lines) = statement(edge, token, wallet, &range).await;
            let is_in = |entry: &&Value| {
                let at = order(instant(&entry[field]));
                order(from) <= at && at < order(to)
            };
            let expected: Vec<&Value> = entries.iter().filter(is_in).collect();
            let versions =
                |list: &[&Value]| list.iter().map(|line| minor(&line["version"])).collect();
            let (seen, wanted): (Vec<i64>, Vec<i64>) = (
                versions(&lines.iter().collect::<Vec<_>>()),
                versions(&expected),
            );
            assert_eq!(seen, wanted, "{range}");
            let mut balance = buckets(&statement["opening"]);
            for line in &lines {
                let change = sum(std::iter::once(line));
                balance = std::array::from_fn(|bucket| balance[bucket] + change[bucket]);
                assert_eq!(buckets(&line["balance"]), balance, "{line:#}");
            }
            assert_eq!(buckets(&statement["closing"]), balance, "{range}");
        }
    }
    let path = format!("/api/v1/wallet/wallets/{wallet}/statement?from={last}&to={first}");
    let backwards = edge.get(&path, token).await;
    refused(&backwards, 400, "INVALID_FIELD");
    assert_eq!(backwards.fields(), "to");
}

/// A statement and its lines, read two at a time.
async fn statement(edge: &Edge, token: &str, wallet: &str, range: &str) -> (Value, Vec<Value>) {
    let mut lines = Vec::new();
    let mut page_token = String::new();
    loop {
        let path = format!(
            "/api/v1/wallet/wallets/{wallet}/statement?{range}&page_size=2&page_token={page_token}"
        );
        let page = edge.get(&path, token).await.ok();
        lines.extend(page["entries"].as_array().expect("a list").iter().cloned());
        page_token = text(&page["next_page_token"]);
        if page_token.is_empty() {
            return (page["statement"].clone(), lines);
        }
    }
}

/// The same statement as a file: CSV with its type, an opening, every entry and
/// a closing to which they sum.
#[tokio::test]
async fn a_statement_is_a_file_too() {
    let counter = with_a_past().await;
    let (edge, token, wallet) = (&counter.edge, &counter.ada.token, &counter.wallet);
    let entries = entries(edge, token, wallet).await;
    let from = instant(&entries[0]["recorded_at"]);
    let to = hours_later(from, 1);
    let path = format!("/api/v1/wallet/wallets/{wallet}/statement.csv?from={from}&to={to}");
    let answer = edge.get(&path, token).await;
    assert_eq!(answer.status, 200, "{:#}", answer.json);
    let kind = &answer.headers["content-type"];
    assert_eq!(kind, "text/csv; charset=utf-8; header=present");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let file = text(&answer.json);
    let mut records = file
        .split_terminator("\r\n")
        .map(|record| record.split(',').collect());
    let names: Vec<&str> = records.next().expect("the names");
    let records: Vec<Vec<&str>> = records.collect();
    let column = |name: &str| {
        names
            .iter()
            .position(|known| *known == name)
            .expect("a column")
    };
    let number =
        |record: &[&str], name: &str| -> i64 { record[column(name)].parse().expect("a number") };
    let money = |record: &[&str]| {
        ["available_minor", "held_minor", "bonus_minor"].map(|name| number(record, name))
    };
    let kinds: Vec<&str> = records.iter().map(|record| record[0]).collect();
    assert_eq!(kinds[0], "opening");
    assert_eq!(kinds[kinds.len() - 1], "closing");
    assert_eq!(records.len(), entries.len() + 2, "{file}");
    let mut balance = money(&records[0]);
    assert_eq!(balance, [0, 0, 0]);
    for (record, entry) in records[1..].iter().zip(&entries) {
        assert_eq!(record[0], "entry");
        assert_eq!(number(record, "version"), minor(&entry["version"]));
        assert_eq!(record[column("posting_id")], text(&entry["posting_id"]));
        let bucket = BUCKETS
            .iter()
            .position(|name| *name == record[column("bucket")]);
        balance[bucket.expect("a bucket")] += number(record, "amount_minor");
        assert_eq!(money(record), balance, "{record:?}");
    }
    assert_eq!(money(&records[records.len() - 1]), balance);
    assert_eq!(balance, edge.balance(token, wallet).await);

    // An error has the one form, not the file's.
    let bob = edge.person().await;
    let others = edge.get(&path, &bob.token).await;
    refused(&others, 404, "WALLET_NOT_FOUND");
    assert_eq!(others.headers["content-type"], "application/json");
    let anonymous = send(edge.request("GET", &path)).await;
    refused(&anonymous, 401, "UNAUTHENTICATED");
}

/// Entries are followed both ways, and filtered by bucket, kinds and time.
#[tokio::test]
async fn entries_go_both_ways_and_are_filtered() {
    let counter = with_a_past().await;
    let (edge, token, wallet) = (&counter.edge, &counter.ada.token, &counter.wallet);
    let all = entries(edge, token, wallet).await;
    let list = format!("/api/v1/wallet/wallets/{wallet}/entries");
    let read = async |query: &str| edge.get(&format!("{list}?{query}"), token).await.ok();
    let found = async |query: &str| {
        let page = read(&format!("{query}&order=ENTRY_ORDER_OLDEST_FIRST")).await;
        assert_eq!(page["next_page_token"], "", "{query}");
        page["entries"].as_array().expect("a list").clone()
    };

    let first = read("page_size=3").await;
    assert_eq!(first["previous_page_token"], "");
    let next = text(&first["next_page_token"]);
    let second = read(&format!("page_size=3&page_token={next}")).await;
    let previous = text(&second["previous_page_token"]);
    let back = read(&format!("page_size=3&page_token={previous}")).await;
    assert_eq!(back["entries"], first["entries"]);
    let newest: Vec<Value> = all.iter().rev().take(6).cloned().collect();
    let read_so_far = [&first["entries"], &second["entries"]];
    let read_so_far = read_so_far
        .iter()
        .flat_map(|page| page.as_array().expect("a list"));
    assert_eq!(read_so_far.cloned().collect::<Vec<_>>(), newest);

    let held = found("bucket=BUCKET_HELD").await;
    assert!(held.len() >= 3);
    let is_held = |entry: &&Value| entry["bucket"] == "BUCKET_HELD";
    assert_eq!(
        held,
        all.iter().filter(is_held).cloned().collect::<Vec<_>>()
    );
    let kinds = found("kinds=POSTING_KIND_HOLD&kinds=POSTING_KIND_TRANSFER").await;
    let is_kind = |entry: &&Value| {
        ["POSTING_KIND_HOLD", "POSTING_KIND_TRANSFER"].contains(&text(&entry["kind"]).as_str())
    };
    assert_eq!(
        kinds,
        all.iter().filter(is_kind).cloned().collect::<Vec<_>>()
    );
    let middle = instant(&all[all.len() / 2]["recorded_at"]);
    let from = found(&format!("recorded_from={middle}")).await;
    let before = found(&format!("recorded_before={middle}")).await;
    assert!(!from.is_empty() && !before.is_empty());
    assert_eq!([before, from].concat(), all);
    // The same instant by another clock; a plus sign in a query is a space.
    let ahead = hours_later(middle, 2).to_string().replace('Z', "%2B02:00");
    let shifted = found(&format!("recorded_from={ahead}")).await;
    assert_eq!(shifted, found(&format!("recorded_from={middle}")).await);

    for (query, field) in [
        ("recorded_from=yesterday", "recorded_from"),
        ("recorded_from=2026-13-01T00:00:00Z", "recorded_from"),
        ("recorded_before=2026-01-01", "recorded_before"),
        ("kinds=HOLD", "kinds"),
        ("bucket=BUCKET_SPENDABLE", "bucket"),
        ("order=1&order=2", "order"),
    ] {
        let answer = edge.get(&format!("{list}?{query}"), token).await;
        refused(&answer, 400, "INVALID_FIELD");
        assert_eq!(answer.fields(), field, "{query}: {:#}", answer.json);
    }
    let other = read("page_size=1&bucket=BUCKET_HELD").await;
    let foreign = text(&other["next_page_token"]);
    let answer = edge
        .get(&format!("{list}?page_token={foreign}"), token)
        .await;
    refused(&answer, 400, "PAGE_TOKEN_INVALID");
}

/// A wallet that has just been changed is read at its new version.
#[tokio::test]
async fn a_wallet_is_read_at_the_version_asked_for() {
    let counter = with_a_past().await;
    let (edge, token, wallet) = (&counter.edge, &counter.ada.token, &counter.wallet);
    let all = entries(edge, token, wallet).await;
    let version = minor(&all[all.len() - 1]["version"]);
    let path = format!("/api/v1/wallet/wallets/{wallet}?min_version={version}");
    let found = edge.get(&path, token).await.ok();
    assert_eq!(minor(&found["wallet"]["version"]), version);
    assert_eq!(buckets(&found["wallet"]["balance"]), sum(all.iter()));
    let path = format!(
        "/api/v1/wallet/wallets/{wallet}?min_version={}",
        version + 1
    );
    let ahead = edge.get(&path, token).await;
    refused(&ahead, 400, "WALLET_VERSION_NOT_REACHED");
}

/// Days and months sum to what the entries say, once the projection has come so
/// far.
#[tokio::test]
async fn days_and_months_sum_up() {
    let counter = with_a_past().await;
    let (edge, token, wallet) = (&counter.edge, &counter.ada.token, &counter.wallet);
    let all = entries(edge, token, wallet).await;
    let last = &all[all.len() - 1];
    let version = minor(&last["version"]);
    for (list, length) in [("days", 10), ("months", 7)] {
        let first: String = text(&all[0]["effective_at"]).chars().take(length).collect();
        let to: String = text(&last["effective_at"]).chars().take(length).collect();
        let unit = list.trim_end_matches('s');
        let path =
            format!("/api/v1/wallet/wallets/{wallet}/{list}?from_{unit}={first}&to_{unit}={to}");
        let listed = crate::support::eventually("the projection", async || {
            let listed = edge.get(&path, token).await.ok();
            (minor(&listed["through_version"]) >= version).then_some(listed)
        });
        let listed = listed.await;
        let mut net = 0;
        let mut count = 0;
        for row in listed[list].as_array().expect("a list") {
            let turnover = &row["available"];
            net += minor(&turnover["in_minor"]) - minor(&turnover["out_minor"]);
            count += minor(&row["entries"]);
        }
        assert_eq!(net, sum(all.iter())[0], "{listed:#}");
        assert_eq!(usize::try_from(count), Ok(all.len()), "{listed:#}");
    }
}

/// Balances and statements by gRPC, the file as a stream.
#[tokio::test]
async fn history_answers_over_grpc() {
    let counter = with_a_past().await;
    let token = &counter.ada.token;
    let mut history = HistoryServiceClient::new(counter.edge.channel());
    let all = entries(&counter.edge, token, &counter.wallet).await;
    let from = instant(&all[0]["recorded_at"]);
    let to = hours_later(from, 1);
    let balance = GetBalanceAtRequest {
        wallet_id: counter.wallet.clone(),
        at: Some(to),
        basis: TimeBasis::Recorded.into(),
    };
    let found = history.get_balance_at(grpc::with(balance, token)).await;
    let found = found.expect("read").into_inner().balance.expect("money");
    let expected = sum(all.iter());
    assert_eq!(
        [found.available_minor, found.held_minor, found.bonus_minor],
        expected
    );
    let statement = GetStatementRequest {
        wallet_id: counter.wallet.clone(),
        from: Some(from),
        to: Some(to),
        page_size: 100,
        ..GetStatementRequest::default()
    };
    let read = history.get_statement(grpc::with(statement, token)).await;
    let read = read.expect("read").into_inner();
    assert_eq!(read.entries.len(), all.len());
    assert_eq!(read.statement.and_then(|read| read.closing), Some(found));
    let export = ExportStatementRequest {
        wallet_id: counter.wallet.clone(),
        from: Some(from),
        to: Some(to),
        ..ExportStatementRequest::default()
    };
    let parts = history.export_statement(grpc::with(export, token)).await;
    let mut parts = parts.expect("opened").into_inner();
    let mut file = Vec::new();
    while let Some(part) = parts.message().await.expect("a part") {
        file.extend(part.file.expect("a part").data);
    }
    let file = String::from_utf8(file).expect("UTF-8");
    assert_eq!(file.lines().count(), all.len() + 3, "{file}");
}

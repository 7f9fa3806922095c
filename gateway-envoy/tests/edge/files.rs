//! Files: RPCs that stream the parts of one, which REST callers get as it is.

use crate::support::{Answer, Call, Edge, FILE_PARTS, FILE_TYPE, KNOWN_WALLET, PART_BYTES, part};

const RANGE: &str = "from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z";

fn statement(edge: &Edge, query: &str) -> Call {
    let path = format!("/api/v1/wallet/wallets/{KNOWN_WALLET}/statement.csv?{query}");
    edge.rest.get(&path).token(&edge.token("usr_1"))
}

/// The error's form, whatever the RPC would have answered.
fn refusal(answer: &Answer, status: u16, code: i32) -> String {
    let reason = answer.error(status, code);
    assert!(!answer.body.contains("1,1,"), "{answer:?}");
    reason
}

/// A file comes whole, byte by byte and under its own type, however large it
/// is: nothing holds it back.
#[tokio::test]
async fn files_are_streamed_as_they_are() {
    let edge = Edge::start().await;
    let answer = statement(&edge, RANGE).send().await;
    assert_eq!(answer.status, 200, "{:?}", answer.headers);
    assert_eq!(answer.header("content-type"), Some(FILE_TYPE));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.body.len(), FILE_PARTS * PART_BYTES);
    let expected: Vec<u8> = (0..FILE_PARTS).flat_map(part).collect();
    assert!(answer.body.as_bytes() == expected, "the file was changed");
}

/// What the service refuses, and what the gateway itself refuses, has the form
/// of every error.
#[tokio::test]
async fn errors_are_no_files() {
    let edge = Edge::start().await;
    let refused = statement(&edge, RANGE).header("x-fault", "refused");
    assert_eq!(refusal(&refused.send().await, 400, 9), "OVERLOADED");
    let bad = statement(&edge, "from=yesterday").send().await;
    assert_eq!(refusal(&bad, 400, 3), "INVALID_FIELD");
    assert_eq!(bad.violations()[0].0, "from");
    let path = format!("/api/v1/wallet/wallets/{KNOWN_WALLET}/statement.csv?{RANGE}");
    let anonymous = edge.rest.get(&path).send().await;
    assert_eq!(refusal(&anonymous, 401, 16), "UNAUTHENTICATED");
}

/// A file that cannot be begun is an error like any other.
#[tokio::test]
async fn a_file_that_breaks_at_once_is_an_error() {
    let edge = Edge::start().await;
    let answer = statement(&edge, RANGE).header("x-fault-after", "0").send();
    assert_eq!(refusal(&answer.await, 400, 9), "OVERLOADED");
}

/// One that breaks later ends where it broke: its status was sent, so the file
/// itself must say when it is whole.
#[tokio::test]
async fn a_file_that_breaks_later_ends_there() {
    let edge = Edge::start().await;
    let answer = statement(&edge, RANGE).header("x-fault-after", "2").send();
    let answer = answer.await;
    assert_eq!(answer.status, 200, "{:?}", answer.headers);
    let expected: Vec<u8> = (0..2).flat_map(part).collect();
    assert!(answer.body.as_bytes() == expected, "the file was changed");
}

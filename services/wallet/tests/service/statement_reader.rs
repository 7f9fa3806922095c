//! Reading statements, as pages and as files, and checking them against the
//! entries.

use bursar_contracts::wallet::v1::{
    Balance, ExportStatementRequest, GetStatementRequest, GetStatementResponse, Statement,
    StatementEntry, TimeBasis, Wallet,
};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use tonic::Status;

use crate::bookkeeper::{Booked, Bookkeeper, sum, timestamp};

/// A wallet's statement of a time.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) wallet: &'a Wallet,
    pub(crate) from: OffsetDateTime,
    pub(crate) to: OffsetDateTime,
    pub(crate) basis: TimeBasis,
}

impl Asked<'_> {
    pub(crate) fn page(&self, page_size: i32, page_token: String) -> GetStatementRequest {
        GetStatementRequest {
            wallet_id: self.wallet.wallet_id.clone(),
            from: Some(timestamp(self.from)),
            to: Some(timestamp(self.to)),
            basis: self.basis.into(),
            page_size,
            page_token,
        }
    }

    pub(crate) fn file(&self) -> ExportStatementRequest {
        ExportStatementRequest {
            wallet_id: self.wallet.wallet_id.clone(),
            from: Some(timestamp(self.from)),
            to: Some(timestamp(self.to)),
            basis: self.basis.into(),
        }
    }
}

pub(crate) async fn page(
    books: &Bookkeeper,
    asked: &Asked<'_>,
    size: i32,
    token: String,
) -> GetStatementResponse {
    let request = books.call(asked.page(size, token));
    let answer = books.history.clone().get_statement(request).await;
    answer.expect("a page").into_inner()
}

/// All pages of a statement, each of so many entries.
pub(crate) async fn all_pages(
    books: &Bookkeeper,
    asked: &Asked<'_>,
    size: i32,
) -> (Statement, Vec<StatementEntry>) {
    let mut entries = Vec::new();
    let mut token = String::new();
    loop {
        let answer = page(books, asked, size, token).await;
        assert!(answer.entries.len() <= usize::try_from(size).expect("a size"));
        entries.extend(answer.entries);
        token = answer.next_page_token;
        if token.is_empty() {
            return (answer.statement.expect("a statement"), entries);
        }
    }
}

/// A whole file.
pub(crate) async fn file(books: &Bookkeeper, asked: &Asked<'_>) -> Result<String, Status> {
    let request = books.call(asked.file());
    let mut parts = books
        .history
        .clone()
        .export_statement(request)
        .await?
        .into_inner();
    let mut bytes = Vec::new();
    while let Some(part) = parts.message().await? {
        let part = part.file.expect("a part");
        assert_eq!(part.content_type, "text/csv; charset=utf-8; header=present");
        assert!(part.data.ends_with(b"\r\n"), "parts end between records");
        bytes.extend(part.data);
    }
    Ok(String::from_utf8(bytes).expect("UTF-8"))
}

/// What the entries say: opening, entries in their order, closing.
pub(crate) fn replayed<'a>(
    entries: &'a [Booked],
    asked: &Asked<'_>,
) -> (Balance, Vec<&'a Booked>, Balance) {
    let time = |entry: &Booked| entry.time(asked.basis);
    let before = |end| sum(entries.iter().filter(|entry| time(entry) < end));
    let mut within: Vec<&Booked> = entries
        .iter()
        .filter(|entry| (asked.from..asked.to).contains(&time(entry)))
        .collect();
    within.sort_by_key(|entry| (time(entry), entry.version));
    (before(asked.from), within, before(asked.to))
}

/// Checks a statement at several page sizes against the entries, and its file
/// against its pages.
pub(crate) async fn assert_closes(
    books: &Bookkeeper,
    entries: &[Booked],
    asked: &Asked<'_>,
    sizes: &[i32],
) {
    let (opening, within, closing) = replayed(entries, asked);
    for &size in sizes {
        let (statement, lines) = all_pages(books, asked, size).await;
        assert_eq!(statement.opening, Some(opening), "pages of {size}");
        assert_eq!(statement.closing, Some(closing), "pages of {size}");
        let versions: Vec<i64> = lines.iter().map(|line| line.version).collect();
        let expected: Vec<i64> = within.iter().map(|entry| entry.version).collect();
        assert_eq!(versions, expected, "pages of {size}");
        for (index, line) in lines.iter().enumerate() {
            let mut running = opening;
            let so_far = sum(within[..=index].iter().copied());
            running.available_minor += so_far.available_minor;
            running.held_minor += so_far.held_minor;
            running.bonus_minor += so_far.bonus_minor;
            assert_eq!(line.balance, Some(running), "pages of {size}");
            assert_eq!(line.amount_minor, within[index].amount);
        }
        if size == 100 {
            let text = file(books, asked).await.expect("a file");
            assert_same(&text, &statement, &lines);
        }
    }
}

/// Checks that a file says what pages say.
fn assert_same(text: &str, statement: &Statement, lines: &[StatementEntry]) {
    let mut records = text.split("\r\n");
    let names = "record,wallet_id,currency_code,effective_at,recorded_at,version,posting_id,\
                 transaction_id,kind,bucket,amount_minor,available_minor,held_minor,bonus_minor";
    assert_eq!(records.next(), Some(names));
    let money = |balance: &Option<Balance>| {
        let balance = balance.expect("a balance");
        let (available, held) = (balance.available_minor, balance.held_minor);
        format!("{available},{held},{}", balance.bonus_minor)
    };
    let bound = |name: &str, at: &Option<prost_types::Timestamp>, balance: &Option<Balance>| {
        let at = rfc3339(at);
        let times = match statement.basis() {
            TimeBasis::Recorded => format!(",{at}"),
            TimeBasis::Effective | TimeBasis::Unspecified => format!("{at},"),
        };
        let (wallet, currency) = (&statement.wallet_id, &statement.currency_code);
        format!(
            "{name},{wallet},{currency},{times},,,,,,,{}",
            money(balance)
        )
    };
    let opening = bound("opening", &statement.from, &statement.opening);
    assert_eq!(records.next(), Some(opening.as_str()));
    for line in lines {
        let expected = format!(
            "entry,{},{},{},{},{},{},{},{},{},{},{}",
            statement.wallet_id,
            statement.currency_code,
            rfc3339(&line.effective_at),
            rfc3339(&line.recorded_at),
            line.version,
            line.posting_id,
            line.transaction_id,
            line.kind().as_str_name(),
            line.bucket().as_str_name(),
            line.amount_minor,
            money(&line.balance),
        );
        assert_eq!(records.next(), Some(expected.as_str()));
    }
    let closing = bound("closing", &statement.to, &statement.closing);
    assert_eq!(records.next(), Some(closing.as_str()));
    assert_eq!((records.next(), records.next()), (Some(""), None));
}

fn rfc3339(at: &Option<prost_types::Timestamp>) -> String {
    let at = at.expect("an instant");
    let instant = OffsetDateTime::from_unix_timestamp(at.seconds).expect("in range");
    let instant = instant + Duration::nanoseconds(i64::from(at.nanos));
    instant.format(&Rfc3339).expect("a year of four digits")
}

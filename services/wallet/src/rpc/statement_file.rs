//! The records of a statement's CSV file.
//!
//! Each has the names of the contract's JSON: a `record` of `opening`, `entry` or
//! `closing`, the entry's fields where there is one, and the money after it.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::contract::history as contract;
use crate::contract::history::StatementHead;
use crate::domain::csv::Field::{Empty, Number, Text};
use crate::domain::csv::push_record;
use crate::domain::history::{BalancedLine, TimeBasis};
use crate::domain::wallet::Balance;

/// The names of the fields.
const FIELDS: [&str; 14] = [
    "record",
    "wallet_id",
    "currency_code",
    "effective_at",
    "recorded_at",
    "version",
    "posting_id",
    "transaction_id",
    "kind",
    "bucket",
    "amount_minor",
    "available_minor",
    "held_minor",
    "bonus_minor",
];

/// The record of the names and the opening.
pub(super) fn begin(file: &mut String, head: &StatementHead) {
    push_record(file, &FIELDS.map(Text));
    bound(file, head, "opening", head.period.from, head.opening);
}

/// The closing.
pub(super) fn end(file: &mut String, head: &StatementHead) {
    bound(file, head, "closing", head.period.to, head.closing);
}

/// The opening or the closing: its time is the statement's.
fn bound(
    file: &mut String,
    head: &StatementHead,
    record: &str,
    at: OffsetDateTime,
    balance: Balance,
) {
    let (wallet, at) = (head.wallet.to_string(), text(at));
    let (effective, recorded) = match head.basis {
        TimeBasis::Effective => (Text(&at), Empty),
        TimeBasis::Recorded => (Empty, Text(&at)),
    };
    let fields = [
        Text(record),
        Text(&wallet),
        Text(head.currency.code()),
        effective,
        recorded,
        Empty,
        Empty,
        Empty,
        Empty,
        Empty,
        Empty,
        Number(balance.available),
        Number(balance.held),
        Number(balance.bonus),
    ];
    push_record(file, &fields);
}

/// An entry.
pub(super) fn line(file: &mut String, head: &StatementHead, balanced: &BalancedLine) {
    let (line, balance) = (&balanced.line, balanced.balance);
    let (wallet, posting) = (head.wallet.to_string(), line.posting.to_string());
    let transaction = line.transaction.map(|transaction| transaction.to_string());
    let (effective_at, recorded_at) = (text(line.effective_at), text(line.recorded_at));
    let fields = [
        Text("entry"),
        Text(&wallet),
        Text(head.currency.code()),
        Text(&effective_at),
        Text(&recorded_at),
        Number(line.version),
        Text(&posting),
        transaction.as_deref().map_or(Empty, Text),
        Text(contract::kind_name(line.kind)),
        Text(contract::bucket_name(line.bucket)),
        Number(line.amount),
        Number(balance.available),
        Number(balance.held),
        Number(balance.bonus),
    ];
    push_record(file, &fields);
}

/// An instant by RFC 3339. The years of the contract's timestamps all have four
/// digits.
fn text(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}

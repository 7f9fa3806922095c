//! What operators see of reconciliation.
//!
//! The counters are of what this process has done. The gauges are of the whole
//! platform, as the database has it, so every instance shows the same.

use metrics::{counter, gauge};
use time::OffsetDateTime;

use super::age_seconds;
use crate::reconciliation::Reason;
use crate::store::reconciliation::Source;
use crate::store::reconciliation::outcome::Changed;
use crate::store::reconciliation::report::Backlog;

/// What became of a file or a list: `imported`, `repeated`, `refused` or `reconciled`.
pub(crate) fn file(source: Source, outcome: &'static str) {
    counter!(
        "bursar_reconciliation_files_total",
        "source" => source.name(),
        "outcome" => outcome
    )
    .increment(1);
}

/// A file or a list counts from now on, with so many lines.
pub(crate) fn imported(source: Source, line_count: i64) {
    file(source, "imported");
    lines(source, "imported", u64::try_from(line_count).unwrap_or(0));
}

/// Lines were matched or not, which opened and closed breaks.
pub(crate) fn matched(source: Source, changed: &Changed) {
    lines(source, "matched", changed.matched_lines as u64);
    lines(source, "broken", changed.broken_lines as u64);
    for reason in &changed.opened {
        counter!("bursar_reconciliation_breaks_opened_total", "reason" => reason.name())
            .increment(1);
    }
    for reason in &changed.closed {
        closed(*reason, "later");
    }
}

/// A person has resolved a break.
pub(crate) fn resolved(reason: Reason) {
    closed(reason, "person");
}

/// What waits, and since when; how long ago each kind of run was is for whoever reads
/// the time of the last one.
pub(crate) fn backlog(backlog: &Backlog, now: OffsetDateTime) {
    for reason in Reason::ALL {
        let open = backlog.open.iter().find(|count| count.reason == reason);
        let breaks = open.map_or(0, |count| count.breaks);
        gauge!("bursar_reconciliation_breaks_open", "reason" => reason.name())
            .set(u32::try_from(breaks).unwrap_or(u32::MAX));
    }
    let oldest = backlog.open.iter().map(|count| count.oldest).min();
    gauge!("bursar_reconciliation_breaks_oldest_age_seconds").set(age_seconds(oldest, now));
    for source in Source::ALL {
        let runs = backlog.runs.iter().find(|runs| runs.source == source);
        let files = runs.map_or(0, |runs| runs.files_under_way);
        gauge!("bursar_reconciliation_files_under_way", "source" => source.name())
            .set(u32::try_from(files).unwrap_or(u32::MAX));
        if let Some(at) = runs.and_then(|runs| runs.last_reconciled_at) {
            gauge!(
                "bursar_reconciliation_last_run_timestamp_seconds",
                "source" => source.name()
            )
            .set(age_seconds(Some(OffsetDateTime::UNIX_EPOCH), at));
        }
    }
}

fn lines(source: Source, outcome: &'static str, count: u64) {
    counter!(
        "bursar_reconciliation_lines_total",
        "source" => source.name(),
        "outcome" => outcome
    )
    .increment(count);
}

/// `by` is `later` where a later line or state explained it, or `person`.
fn closed(reason: Reason, by: &'static str) {
    counter!(
        "bursar_reconciliation_breaks_closed_total",
        "reason" => reason.name(),
        "by" => by
    )
    .increment(1);
}

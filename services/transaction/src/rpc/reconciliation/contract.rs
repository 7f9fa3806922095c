//! Between reconciliation's values and the contract's messages.

use bursar_contracts::transaction::v1 as proto;
use bursar_contracts::r#type::v1::Money;
use time::Date;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::error::ReconciliationError;
use crate::contract::{timestamp, transaction_state};
use crate::reconciliation::breaks::{Account, Side};
use crate::reconciliation::{Leg, Line, LineType, Reason, legs};
use crate::store::reconciliation::breaks::{
    BrokenLine, BrokenTransaction, Resolution, StoredBreak,
};
use crate::store::reconciliation::files::StoredFile;
use crate::store::reconciliation::report::{AGES, Report};
use crate::store::reconciliation::{FileState, Source};

const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

/// A day as the contract writes it.
pub(super) fn date(date: Date) -> String {
    date.format(DAY).unwrap_or_default()
}

/// A day that the contract wrote.
pub(super) fn parse_date(text: &str) -> Result<Date, ReconciliationError> {
    Date::parse(text, DAY).map_err(|_| ReconciliationError::FieldInvalid {
        field: "settlement_date",
    })
}

/// A file as the contract writes it.
pub(super) fn file(file: &StoredFile) -> proto::SettlementFile {
    proto::SettlementFile {
        settlement_file_id: file.id.to_string(),
        provider: file.provider.to_string(),
        source: match file.source {
            Source::File => proto::SettlementSource::File,
            Source::List => proto::SettlementSource::List,
        }
        .into(),
        file_name: file.name.clone(),
        settlement_date: date(file.settlement_date),
        state: match file.state {
            FileState::Importing => proto::SettlementFileState::Importing,
            FileState::Failed => proto::SettlementFileState::Failed,
            FileState::Reconciling => proto::SettlementFileState::Reconciling,
            FileState::Reconciled => proto::SettlementFileState::Reconciled,
        }
        .into(),
        sha256: file.sha256.as_ref().map(hex::encode).unwrap_or_default(),
        bytes: file.bytes,
        lines: file.lines,
        problem: file
            .problem
            .as_ref()
            .map(|problem| proto::SettlementFileProblem {
                line: problem.line,
                column: problem.column.clone(),
                code: problem.code.clone(),
                message: problem.message.clone(),
            }),
        imported_by: file.imported_by.clone(),
        created_at: Some(timestamp(file.created_at)),
        reconciled_at: file.reconciled_at.map(timestamp),
    }
}

/// The state that a list is limited to.
pub(super) fn file_state(state: proto::SettlementFileState) -> Option<FileState> {
    match state {
        proto::SettlementFileState::Unspecified => None,
        proto::SettlementFileState::Importing => Some(FileState::Importing),
        proto::SettlementFileState::Failed => Some(FileState::Failed),
        proto::SettlementFileState::Reconciling => Some(FileState::Reconciling),
        proto::SettlementFileState::Reconciled => Some(FileState::Reconciled),
    }
}

/// The source that a report is limited to.
pub(super) fn source(source: proto::SettlementSource) -> Source {
    match source {
        proto::SettlementSource::Unspecified | proto::SettlementSource::File => Source::File,
        proto::SettlementSource::List => Source::List,
    }
}

fn reason(reason: Reason) -> proto::BreakReason {
    match reason {
        Reason::MissingInLedger => proto::BreakReason::MissingInLedger,
        Reason::MissingAtProvider => proto::BreakReason::MissingAtProvider,
        Reason::AmountMismatch => proto::BreakReason::AmountMismatch,
        Reason::CurrencyMismatch => proto::BreakReason::CurrencyMismatch,
        Reason::DuplicateLine => proto::BreakReason::DuplicateLine,
        Reason::StatusMismatch => proto::BreakReason::StatusMismatch,
        Reason::DateOutsideWindow => proto::BreakReason::DateOutsideWindow,
        Reason::UnknownReference => proto::BreakReason::UnknownReference,
        Reason::TypeMismatch => proto::BreakReason::TypeMismatch,
    }
}

/// The reason that a list is limited to.
pub(super) fn wanted_reason(wanted: proto::BreakReason) -> Option<Reason> {
    Reason::ALL
        .into_iter()
        .find(|known| reason(*known) == wanted)
}

/// How an operator explained a break; `None` for what only the platform says.
pub(super) fn resolution(resolution: proto::BreakResolution) -> Option<Resolution> {
    match resolution {
        proto::BreakResolution::Unspecified | proto::BreakResolution::MatchedLater => None,
        proto::BreakResolution::Adjusted => Some(Resolution::Adjusted),
        proto::BreakResolution::CorrectedByProvider => Some(Resolution::CorrectedByProvider),
        proto::BreakResolution::WrittenOff => Some(Resolution::WrittenOff),
        proto::BreakResolution::FalseAlarm => Some(Resolution::FalseAlarm),
    }
}

fn told_resolution(resolution: Resolution) -> proto::BreakResolution {
    match resolution {
        Resolution::MatchedLater => proto::BreakResolution::MatchedLater,
        Resolution::Adjusted => proto::BreakResolution::Adjusted,
        Resolution::CorrectedByProvider => proto::BreakResolution::CorrectedByProvider,
        Resolution::WrittenOff => proto::BreakResolution::WrittenOff,
        Resolution::FalseAlarm => proto::BreakResolution::FalseAlarm,
    }
}

/// A break as the contract writes it, with the legs that are proposed.
pub(super) fn told_break(told: &StoredBreak) -> proto::Break {
    let state = if told.end.is_some() {
        proto::BreakState::Resolved
    } else {
        proto::BreakState::Open
    };
    let end = told.end.as_ref();
    proto::Break {
        break_id: told.id.to_string(),
        provider: told.provider.clone(),
        reason: reason(told.reason).into(),
        state: state.into(),
        settlement_date: date(told.settlement_date),
        line: told.line.as_ref().map(|line| break_line(told, line)),
        transaction: told.transaction.as_ref().map(break_transaction),
        proposed_legs: if end.is_some() {
            Vec::new()
        } else {
            proposed(told)
        },
        first_seen_at: Some(timestamp(told.first_seen_at)),
        last_seen_at: Some(timestamp(told.last_seen_at)),
        resolution: end
            .map_or(proto::BreakResolution::Unspecified, |end| {
                told_resolution(end.resolution)
            })
            .into(),
        note: end.map(|end| end.note.clone()).unwrap_or_default(),
        resolved_by: end.map(|end| end.by.clone()).unwrap_or_default(),
        resolved_at: end.map(|end| timestamp(end.at)),
    }
}

fn break_line(told: &StoredBreak, line: &BrokenLine) -> proto::BreakLine {
    proto::BreakLine {
        settlement_file_id: told.file.to_string(),
        line: line.number,
        reference: line.reference.clone(),
        provider_reference: line.provider_reference.clone(),
        r#type: line.type_word.clone(),
        gross: Some(money(line.side)),
        occurred_at: Some(timestamp(line.occurred_at)),
    }
}

fn break_transaction(transaction: &BrokenTransaction) -> proto::BreakTransaction {
    proto::BreakTransaction {
        transaction_id: transaction.id.to_string(),
        amount: Some(money(transaction.side)),
        state: transaction_state(transaction.state).into(),
    }
}

fn money(side: Side) -> Money {
    Money {
        currency_code: side.currency.code().to_owned(),
        minor_units: side.amount_minor,
    }
}

fn proposed(told: &StoredBreak) -> Vec<proto::ProposedLeg> {
    let line = told.line.as_ref().map(|line| Side {
        amount_minor: Line::moved(line.side.kind, line.side.amount_minor),
        ..line.side
    });
    let transaction = told.transaction.as_ref();
    let is_under_way = transaction.is_some_and(|transaction| !transaction.state.is_at_rest());
    let recorded = transaction.map(|transaction| transaction.side);
    legs(told.reason, is_under_way, line, recorded)
        .into_iter()
        .map(|leg| proposed_leg(&told.provider, leg))
        .collect()
}

fn proposed_leg(provider: &str, leg: Leg) -> proto::ProposedLeg {
    proto::ProposedLeg {
        account: match leg.account {
            Account::Settlement => format!("settlement:{provider}"),
            Account::Suspense => "suspense".to_owned(),
        },
        currency_code: leg.currency.code().to_owned(),
        amount_minor: leg.amount_minor,
    }
}

/// A type as the contract names it.
pub(super) fn line_type(kind: LineType) -> proto::LineType {
    match kind {
        LineType::Charge => proto::LineType::Charge,
        LineType::Payout => proto::LineType::Payout,
        LineType::Refund => proto::LineType::Refund,
    }
}

/// A report as the contract writes it.
pub(super) fn report(report: &Report) -> proto::ReconciliationReport {
    let ages = AGES.iter().zip(report.ages);
    proto::ReconciliationReport {
        lines: report.sums.iter().map(|sums| sums.lines).sum(),
        matched_lines: report.sums.iter().map(|sums| sums.matched_lines).sum(),
        broken_lines: report.broken_lines,
        pending_lines: report.pending_lines,
        matched_transactions: report.matched_transactions,
        missing_transactions: report.missing_transactions,
        sums: report
            .sums
            .iter()
            .map(|sums| proto::ReconciliationSums {
                currency_code: sums.currency_code.clone(),
                lines: sums.lines,
                gross_minor: sums.gross_minor,
                fee_minor: sums.fee_minor,
                net_minor: sums.net_minor,
                matched_lines: sums.matched_lines,
                matched_gross_minor: sums.matched_gross_minor,
                matched_transactions_minor: sums.matched_transactions_minor,
            })
            .collect(),
        breaks: report
            .breaks
            .iter()
            .map(|count| proto::BreakCount {
                reason: reason(count.reason).into(),
                open: count.open,
                resolved: count.resolved,
            })
            .collect(),
        ages: ages
            .map(|(&(from_days, to_days), open)| proto::BreakAge {
                from_days,
                to_days: to_days.unwrap_or(0),
                open,
            })
            .collect(),
    }
}

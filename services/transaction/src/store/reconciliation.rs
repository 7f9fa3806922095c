//! Settlement files, matches and breaks in PostgreSQL.
//!
//! Lock order inside a database transaction: `settlement_files`, then lines,
//! matches and breaks, then `transaction_checks` in the order of ids. Rows of
//! `transactions` are only read. All times and leases are the database's.

pub(crate) mod breaks;
pub(crate) mod candidates;
pub(crate) mod files;
pub(crate) mod lines;
pub(crate) mod outcome;
pub(crate) mod report;
pub(crate) mod settings;
pub(crate) mod work;

use crate::reconciliation::ProblemCode;

/// Where lines come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file that somebody brought.
    File,
    /// The provider's list.
    List,
}

impl Source {
    /// Every source.
    pub(crate) const ALL: [Self; 2] = [Self::File, Self::List];

    /// The name in the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::File => "FILE",
            Self::List => "LIST",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name() == name)
    }
}

/// How far a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileState {
    /// It is being read; nothing of it counts.
    Importing,
    /// It was not taken.
    Failed,
    /// Its lines count and are being matched.
    Reconciling,
    /// Every line is matched or broken.
    Reconciled,
}

impl FileState {
    const ALL: [Self; 4] = [
        Self::Importing,
        Self::Failed,
        Self::Reconciling,
        Self::Reconciled,
    ];

    /// The name in the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Importing => "IMPORTING",
            Self::Failed => "FAILED",
            Self::Reconciling => "RECONCILING",
            Self::Reconciled => "RECONCILED",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// The right to write to a file, until somebody else takes it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    /// The file.
    pub(crate) file: bursar_aip::id::SettlementFileId,
    /// The change of hands under which it was got.
    pub(crate) epoch: i64,
}

/// Where a file is broken, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredProblem {
    /// The line; 0 for the file as a whole.
    pub(crate) line: i64,
    /// The column; empty for the line as a whole.
    pub(crate) column: String,
    /// What is wrong.
    pub(crate) code: String,
    /// The same for people.
    pub(crate) message: String,
}

impl StoredProblem {
    /// A problem of a file whose reading was not finished.
    pub(crate) fn interrupted() -> Self {
        Self {
            line: 0,
            column: String::new(),
            code: ProblemCode::Interrupted.name().to_owned(),
            message: ProblemCode::Interrupted.message().to_owned(),
        }
    }
}

impl From<&crate::reconciliation::Problem> for StoredProblem {
    fn from(problem: &crate::reconciliation::Problem) -> Self {
        Self {
            line: problem.line,
            column: problem.column.clone(),
            code: problem.code.name().to_owned(),
            message: problem.to_string(),
        }
    }
}

#[cfg(test)]
mod tests;

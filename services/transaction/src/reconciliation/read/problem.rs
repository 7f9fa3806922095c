//! What can be wrong with a file.

use std::fmt;

use thiserror::Error;

/// Where and how a file is broken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct Problem {
    /// The line, counted from 1, the header included; 0 for the file as a whole.
    pub line: i64,
    /// The column; empty for the line as a whole.
    pub column: String,
    /// What is wrong.
    pub code: ProblemCode,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemCode {
    /// There is not even a header.
    NoHeader,
    /// A column that the form names is not in the header.
    MissingColumn,
    /// The header names a column twice.
    ColumnTwice,
    /// A record has more or fewer fields than the header.
    FieldCount,
    /// A record or a field is longer than any may be.
    TooLong,
    /// A field is not UTF-8, or has control characters.
    NotText,
    /// A field is no 64-bit integer.
    NotANumber,
    /// A field is no time by RFC 3339.
    NotATime,
    /// A currency is none.
    UnknownCurrency,
    /// A word for the type is none of the form's.
    UnknownType,
    /// The amount after the fee is not what the amount before it leaves.
    NetDiffers,
    /// The sums are beyond what can be added up.
    Overflow,
    /// A currency's lines have no trailer, or two.
    NoTrailer,
    /// The file ends without its last record: it was cut off.
    NoEnd,
    /// A line or a trailer comes too late.
    AfterTrailer,
    /// A trailer's number of lines is not theirs.
    CountDiffers,
    /// A trailer's sum is not that of the lines.
    SumDiffers,
    /// What was sent broke off, or its reader died.
    Interrupted,
    /// The same content counts already. Only until the attempt is deleted.
    AlreadyImported,
    /// The provider's list is not what it documents.
    ListMalformed,
}

/// What is wrong with a field, before it is known on which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) column: String,
    pub(super) code: ProblemCode,
}

impl Wrong {
    pub(super) fn new(column: &str, code: ProblemCode) -> Self {
        // A header may be any garbage; what is told of it is bounded.
        let column = column.chars().take(32).collect();
        Self { column, code }
    }

    pub(super) fn at(self, line: i64) -> Problem {
        Problem {
            line,
            column: self.column,
            code: self.code,
        }
    }
}

impl Problem {
    /// A problem of the file as a whole.
    pub fn of_file(code: ProblemCode) -> Self {
        Self {
            line: 0,
            column: String::new(),
            code,
        }
    }
}

impl ProblemCode {
    /// The name in answers and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoHeader => "no_header",
            Self::MissingColumn => "missing_column",
            Self::ColumnTwice => "column_twice",
            Self::FieldCount => "field_count",
            Self::TooLong => "too_long",
            Self::NotText => "not_text",
            Self::NotANumber => "not_a_number",
            Self::NotATime => "not_a_time",
            Self::UnknownCurrency => "unknown_currency",
            Self::UnknownType => "unknown_type",
            Self::NetDiffers => "net_differs",
            Self::Overflow => "overflow",
            Self::NoTrailer => "no_trailer",
            Self::NoEnd => "no_end",
            Self::AfterTrailer => "after_trailer",
            Self::CountDiffers => "count_differs",
            Self::SumDiffers => "sum_differs",
            Self::Interrupted => "interrupted",
            Self::AlreadyImported => "already_imported",
            Self::ListMalformed => "list_malformed",
        }
    }

    /// The same for people.
    pub fn message(self) -> &'static str {
        match self {
            Self::NoHeader => "the file has no header",
            Self::MissingColumn => "the header does not have this column",
            Self::ColumnTwice => "the header has this column twice",
            Self::FieldCount => "the line has more or fewer fields than the header",
            Self::TooLong => "this is longer than it may be",
            Self::NotText => "this is not UTF-8 text without control characters",
            Self::NotANumber => "this is not a whole number of 64 bits",
            Self::NotATime => "this is not a time by RFC 3339",
            Self::UnknownCurrency => "this is not a currency",
            Self::UnknownType => "this is none of the words that the settings have for types",
            Self::NetDiffers => "this is not the amount before the fee without the fee",
            Self::Overflow => "the sums are too large",
            Self::NoTrailer => "a currency's lines do not have one trailer",
            Self::NoEnd => "the file ends without its last record; it may have been cut off",
            Self::AfterTrailer => "this comes after what ends it",
            Self::CountDiffers => "the trailer counts another number of lines",
            Self::SumDiffers => "the trailer has another sum than the lines",
            Self::Interrupted => "the file was not read to its end",
            Self::AlreadyImported => "the same content was imported before",
            Self::ListMalformed => "the provider's list is not what it documents",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(formatter, "line {}", self.line)?;
            if !self.column.is_empty() {
                write!(formatter, ", column {}", self.column)?;
            }
            write!(formatter, ": ")?;
        }
        formatter.write_str(self.code.message())
    }
}

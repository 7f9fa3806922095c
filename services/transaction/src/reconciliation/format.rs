//! The form of a provider's settlement files: which column means what.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::LineType;

/// The longest name of a column, in bytes.
pub const MAX_COLUMN: usize = 64;

/// A form. Columns are named by their headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// What stands between two fields.
    pub delimiter: u8,
    /// The column of our reference.
    pub reference: String,
    /// The column of the provider's reference.
    pub provider_reference: String,
    /// The column of the batch reference.
    pub batch_reference: Option<String>,
    /// The column of the type.
    pub kind: String,
    /// The column of the currency.
    pub currency: String,
    /// The column of the amount before fees.
    pub gross: String,
    /// The column of the fee.
    pub fee: Option<String>,
    /// The column of the amount after fees.
    pub net: Option<String>,
    /// The column of the time.
    pub occurred_at: String,
    /// What a trailer begins with; see [`super::read`].
    pub trailer: String,
    /// What the last record begins with.
    pub end: String,
    /// The provider's words for what its lines are.
    pub words: BTreeMap<String, LineType>,
}

/// Why a form is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FormatInvalid {
    /// The delimiter is none of those that are taken.
    #[error("the delimiter is a comma, a semicolon, a bar or a tab")]
    Delimiter,
    /// A column has no name, or one that is too long.
    #[error("a column's name has 1 to 64 bytes")]
    ColumnName,
    /// Two meanings have the same column.
    #[error("the column {column} is named twice")]
    ColumnTwice {
        /// The column.
        column: String,
    },
    /// A trailer could not be told from the end.
    #[error("the trailer and the end begin with the same word")]
    OneMarker,
    /// There are no words for types.
    #[error("there must be a word for at least one type")]
    NoWords,
}

impl Format {
    /// The form that every provider begins with: the sandbox's.
    pub fn initial() -> Self {
        let words = [
            ("charge", LineType::Charge),
            ("capture", LineType::Charge),
            ("payout", LineType::Payout),
            ("refund", LineType::Refund),
        ];
        Self {
            delimiter: b',',
            reference: "our_reference".to_owned(),
            provider_reference: "provider_reference".to_owned(),
            batch_reference: None,
            kind: "type".to_owned(),
            currency: "currency".to_owned(),
            gross: "gross_minor".to_owned(),
            fee: Some("fee_minor".to_owned()),
            net: Some("net_minor".to_owned()),
            occurred_at: "occurred_at".to_owned(),
            trailer: "trailer".to_owned(),
            end: "end".to_owned(),
            words: words.map(|(word, kind)| (word.to_owned(), kind)).into(),
        }
    }

    /// The names of its columns.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let always = [
            &self.reference,
            &self.provider_reference,
            &self.kind,
            &self.currency,
            &self.gross,
            &self.occurred_at,
        ];
        let sometimes = [&self.batch_reference, &self.fee, &self.net];
        let sometimes = sometimes.into_iter().filter_map(Option::as_ref);
        always.into_iter().chain(sometimes).map(String::as_str)
    }

    /// Checks it.
    pub fn validate(&self) -> Result<(), FormatInvalid> {
        if !matches!(self.delimiter, b',' | b';' | b'|' | b'\t') {
            return Err(FormatInvalid::Delimiter);
        }
        let mut seen = BTreeSet::new();
        for column in self.columns().chain([&*self.trailer, &*self.end]) {
            if !(1..=MAX_COLUMN).contains(&column.len()) {
                return Err(FormatInvalid::ColumnName);
            }
        }
        for column in self.columns() {
            if !seen.insert(column) {
                let column = column.to_owned();
                return Err(FormatInvalid::ColumnTwice { column });
            }
        }
        if self.trailer == self.end {
            return Err(FormatInvalid::OneMarker);
        }
        if self.words.is_empty() {
            return Err(FormatInvalid::NoWords);
        }
        Ok(())
    }
}

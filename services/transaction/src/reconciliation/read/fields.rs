//! From a record's fields to a line.

use bursar_money::Currency;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::problem::{ProblemCode, Wrong};
use crate::reconciliation::{Format, Line, LineId};

/// The longest reference, in bytes.
const MAX_REFERENCE: usize = 128;

/// The fields of a record.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    ends: &'a [usize],
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8], ends: &'a [usize]) -> Self {
        Self { bytes, ends }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    fn raw(&self, at: usize) -> Option<&'a [u8]> {
        let start = match at.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.bytes.get(start..*self.ends.get(at)?)
    }

    /// The field as text without control characters.
    pub(super) fn text(&self, at: usize) -> Option<&'a str> {
        let text = std::str::from_utf8(self.raw(at)?).ok()?;
        (!text.chars().any(char::is_control)).then_some(text)
    }
}

/// Where the columns of a form are in a file.
pub(super) struct Columns {
    count: usize,
    reference: usize,
    provider_reference: usize,
    batch_reference: Option<usize>,
    kind: usize,
    currency: usize,
    gross: usize,
    fee: Option<usize>,
    net: Option<usize>,
    occurred_at: usize,
}

impl Columns {
    /// Finds the form's columns in a header.
    pub(super) fn read(header: &Fields<'_>, format: &Format) -> Result<Self, Wrong> {
        let mut names = Vec::with_capacity(header.len());
        for at in 0..header.len() {
            let name = header
                .text(at)
                .ok_or(Wrong::new("", ProblemCode::NotText))?;
            let name = name.trim_start_matches('\u{feff}').trim();
            if names.contains(&name) {
                return Err(Wrong::new(name, ProblemCode::ColumnTwice));
            }
            names.push(name);
        }
        let find = |wanted: &str| {
            names
                .iter()
                .position(|name| *name == wanted)
                .ok_or_else(|| Wrong::new(wanted, ProblemCode::MissingColumn))
        };
        let maybe = |wanted: &Option<String>| wanted.as_deref().map(find).transpose();
        Ok(Self {
            count: names.len(),
            reference: find(&format.reference)?,
            provider_reference: find(&format.provider_reference)?,
            batch_reference: maybe(&format.batch_reference)?,
            kind: find(&format.kind)?,
            currency: find(&format.currency)?,
            gross: find(&format.gross)?,
            fee: maybe(&format.fee)?,
            net: maybe(&format.net)?,
            occurred_at: find(&format.occurred_at)?,
        })
    }

    /// Reads a line.
    pub(super) fn line(
        &self,
        id: LineId,
        fields: &Fields<'_>,
        format: &Format,
    ) -> Result<Line, Wrong> {
        if fields.len() != self.count {
            return Err(Wrong::new("", ProblemCode::FieldCount));
        }
        let word = reference(fields, self.kind, &format.kind)?;
        let kind = format.words.get(&word).copied();
        let kind = kind.ok_or_else(|| Wrong::new(&format.kind, ProblemCode::UnknownType))?;
        let code = text(fields, self.currency, &format.currency)?;
        let currency = Currency::parse(code)
            .map_err(|_| Wrong::new(&format.currency, ProblemCode::UnknownCurrency))?;
        let gross_minor = number(fields, self.gross, &format.gross)?;
        let fee_minor = match (self.fee, &format.fee) {
            (Some(at), Some(name)) => number(fields, at, name)?,
            _ => 0,
        };
        let net_minor = match (self.net, &format.net) {
            (Some(at), Some(name)) => number(fields, at, name)?,
            _ => gross_minor
                .checked_sub(fee_minor)
                .ok_or_else(|| Wrong::new(&format.gross, ProblemCode::Overflow))?,
        };
        if gross_minor.checked_sub(fee_minor) != Some(net_minor) {
            let column = format.net.as_deref().unwrap_or(&format.gross);
            return Err(Wrong::new(column, ProblemCode::NetDiffers));
        }
        let batch_reference = match (self.batch_reference, &format.batch_reference) {
            (Some(at), Some(name)) => reference(fields, at, name)?,
            _ => String::new(),
        };
        Ok(Line {
            id,
            reference: reference(fields, self.reference, &format.reference)?,
            provider_reference: reference(
                fields,
                self.provider_reference,
                &format.provider_reference,
            )?,
            batch_reference,
            type_word: word,
            kind,
            currency,
            gross_minor,
            fee_minor,
            net_minor,
            occurred_at: moment(fields, self.occurred_at, &format.occurred_at)?,
        })
    }
}

impl Columns {
    /// Reads a trailer.
    pub(super) fn trailer(&self, fields: &Fields<'_>, format: &Format) -> Result<Trailer, Wrong> {
        let lines = self.count(fields, format)?;
        let code = text(fields, self.currency, &format.currency)?;
        let currency = Currency::parse(code)
            .map_err(|_| Wrong::new(&format.currency, ProblemCode::UnknownCurrency))?;
        let maybe = |at: Option<usize>, name: &Option<String>| match (at, name) {
            (Some(at), Some(name)) => sum(fields, at, name).map(Some),
            _ => Ok(None),
        };
        Ok(Trailer {
            currency,
            lines,
            gross_minor: sum(fields, self.gross, &format.gross)?,
            fee_minor: maybe(self.fee, &format.fee)?,
            net_minor: maybe(self.net, &format.net)?,
        })
    }

    /// Reads the number of lines in the second field.
    pub(super) fn count(&self, fields: &Fields<'_>, format: &Format) -> Result<i64, Wrong> {
        if fields.len() != self.count {
            return Err(Wrong::new("", ProblemCode::FieldCount));
        }
        let columns = [
            (self.reference, &format.reference),
            (self.provider_reference, &format.provider_reference),
        ];
        let name = columns.into_iter().find(|(at, _)| *at == 1);
        number(fields, 1, name.map_or("", |(_, name)| name))
    }
}

/// A trailer's numbers; a sum of 64-bit numbers can be larger.
pub(super) struct Trailer {
    pub(super) currency: Currency,
    pub(super) lines: i64,
    pub(super) gross_minor: i128,
    pub(super) fee_minor: Option<i128>,
    pub(super) net_minor: Option<i128>,
}

fn text<'a>(fields: &Fields<'a>, at: usize, column: &str) -> Result<&'a str, Wrong> {
    fields
        .text(at)
        .ok_or_else(|| Wrong::new(column, ProblemCode::NotText))
}

fn reference(fields: &Fields<'_>, at: usize, column: &str) -> Result<String, Wrong> {
    let text = text(fields, at, column)?;
    if text.len() > MAX_REFERENCE {
        return Err(Wrong::new(column, ProblemCode::TooLong));
    }
    Ok(text.to_owned())
}

fn number(fields: &Fields<'_>, at: usize, column: &str) -> Result<i64, Wrong> {
    let wrong = |_| Wrong::new(column, ProblemCode::NotANumber);
    i64::try_from(sum(fields, at, column)?).map_err(wrong)
}

fn sum(fields: &Fields<'_>, at: usize, column: &str) -> Result<i128, Wrong> {
    let text = text(fields, at, column)?;
    let wrong = || Wrong::new(column, ProblemCode::NotANumber);
    let digits = text.strip_prefix('-').unwrap_or(text);
    // `parse` alone would also take a plus sign.
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    text.parse().map_err(|_| wrong())
}

/// A time in the microseconds that the database keeps.
fn moment(fields: &Fields<'_>, at: usize, column: &str) -> Result<OffsetDateTime, Wrong> {
    let wrong = || Wrong::new(column, ProblemCode::NotATime);
    let moment = OffsetDateTime::parse(text(fields, at, column)?, &Rfc3339).map_err(|_| wrong())?;
    let micros = moment.nanosecond() / 1_000 * 1_000;
    moment.replace_nanosecond(micros).map_err(|_| wrong())
}

//! Reads a settlement file as it arrives.
//!
//! The reader is fed whatever bytes came and gives one line at a time, so a file
//! of any size takes the memory of one record. A record has at most
//! [`MAX_RECORD`] bytes and [`MAX_FIELDS`] fields. Everything that is wrong is
//! told by line and column, and the first thing that is wrong ends the file: of
//! a file that is not whole nothing counts.
//!
//! The first record names the columns. After the lines comes a trailer for each
//! currency: it begins with the form's marker, has the number of the currency's
//! lines in the second field, and their sums in the columns of the amounts. The
//! last record begins with the form's other marker and has the number of all
//! lines in the second field; without it a file that was cut off between two
//! lines would look whole.

mod fields;
mod problem;
mod trailer;

use bursar_aip::id::SettlementFileId;
use csv_core::ReadRecordResult;

use super::{Format, Line, LineId};
use fields::{Columns, Fields};
pub use problem::{Problem, ProblemCode};
pub use trailer::{Sum, Totals};

/// The longest record, in bytes without its delimiters and quotes.
pub const MAX_RECORD: usize = 16 * 1024;
/// The most fields of a record.
pub const MAX_FIELDS: usize = 128;

/// What a record turned out to be.
enum Record {
    Header,
    Line(Line),
    Trailer,
}

/// A reader of one file.
pub struct Reader {
    file: SettlementFileId,
    format: Format,
    csv: csv_core::Reader,
    /// The record under way: its bytes, without delimiters, and where fields end.
    bytes: Box<[u8; MAX_RECORD]>,
    ends: Box<[usize; MAX_FIELDS]>,
    length: usize,
    fields: usize,
    is_in_record: bool,
    /// The line that comes next, and that on which the record began.
    line: i64,
    record_line: i64,
    columns: Option<Columns>,
    totals: Totals,
}

impl Reader {
    /// A reader of a file of this form, which was validated.
    pub fn new(file: SettlementFileId, format: Format) -> Self {
        let csv = csv_core::ReaderBuilder::new()
            .delimiter(format.delimiter)
            .build();
        Self {
            file,
            format,
            csv,
            bytes: Box::new([0; MAX_RECORD]),
            ends: Box::new([0; MAX_FIELDS]),
            length: 0,
            fields: 0,
            is_in_record: false,
            line: 1,
            record_line: 1,
            columns: None,
            totals: Totals::default(),
        }
    }

    /// Takes the next line out of `input`, which is left at what comes after it;
    /// `None` when all of `input` is taken and no further line is whole.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Line>, Problem> {
        loop {
            if !self.is_in_record {
                self.skip_line_ends(input);
                self.record_line = self.line;
            }
            if input.is_empty() {
                return Ok(None);
            }
            self.is_in_record = true;
            if self.step(input)?
                && let Record::Line(line) = self.record()?
            {
                return Ok(Some(line));
            }
        }
    }

    /// Ends the file; the last record need not end its line. Gives the line that
    /// was still under way, if there was one; then it is to be called again.
    pub fn finish(&mut self) -> Result<Option<Line>, Problem> {
        if self.is_in_record {
            self.step(&mut &b"\n"[..])?;
            if let Record::Line(line) = self.record()? {
                return Ok(Some(line));
            }
        }
        if self.columns.is_none() {
            return Err(Problem::of_file(ProblemCode::NoHeader));
        }
        self.totals.check_whole()?;
        Ok(None)
    }

    /// What the lines so far sum up to.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// How many bytes it holds on to, whatever it has read. For the test that
    /// this does not grow.
    pub fn buffered(&self) -> usize {
        self.bytes.len() + self.ends.len() * size_of::<usize>()
    }

    fn skip_line_ends(&mut self, input: &mut &[u8]) {
        while let [first @ (b'\r' | b'\n'), rest @ ..] = *input {
            self.line += i64::from(*first == b'\n');
            *input = rest;
        }
    }

    /// Feeds the parser; true when a record is whole.
    fn step(&mut self, input: &mut &[u8]) -> Result<bool, Problem> {
        let output = self.bytes.get_mut(self.length..).unwrap_or_default();
        let ends = self.ends.get_mut(self.fields..).unwrap_or_default();
        let (result, taken, written, ended) = self.csv.read_record(input, output, ends);
        let (eaten, rest) = input.split_at(taken);
        let new_lines = eaten.iter().filter(|&&byte| byte == b'\n').count();
        self.line += i64::try_from(new_lines).unwrap_or(0);
        *input = rest;
        self.length += written;
        self.fields += ended;
        match result {
            ReadRecordResult::InputEmpty => Ok(false),
            ReadRecordResult::Record | ReadRecordResult::End => Ok(true),
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                Err(self.problem("", ProblemCode::TooLong))
            }
        }
    }

    /// Reads the record that is whole now.
    fn record(&mut self) -> Result<Record, Problem> {
        let (length, fields) = (self.length, self.fields);
        (self.length, self.fields) = (0, 0);
        self.is_in_record = false;
        let line = self.record_line;
        let read = Fields::new(&self.bytes[..length], &self.ends[..fields]);
        let Some(columns) = &self.columns else {
            let columns = Columns::read(&read, &self.format).map_err(|wrong| wrong.at(line))?;
            self.columns = Some(columns);
            return Ok(Record::Header);
        };
        let first = read.text(0);
        if first == Some(&*self.format.trailer) {
            let sums = columns.trailer(&read, &self.format);
            let checked = sums.and_then(|sums| self.totals.take_trailer(sums, &self.format));
            checked.map_err(|wrong| wrong.at(line))?;
            return Ok(Record::Trailer);
        }
        if first == Some(&*self.format.end) {
            let count = columns.count(&read, &self.format);
            let checked = count.and_then(|count| self.totals.take_end(count));
            checked.map_err(|wrong| wrong.at(line))?;
            return Ok(Record::Trailer);
        }
        let id = LineId {
            file: self.file,
            number: line,
        };
        let parsed = columns
            .line(id, &read, &self.format)
            .map_err(|wrong| wrong.at(line))?;
        self.totals.take(&parsed).map_err(|wrong| wrong.at(line))?;
        Ok(Record::Line(parsed))
    }

    fn problem(&self, column: &str, code: ProblemCode) -> Problem {
        Problem {
            line: self.record_line,
            column: column.to_owned(),
            code,
        }
    }
}

#[cfg(test)]
mod tests;

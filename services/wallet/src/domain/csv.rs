//! CSV by RFC 4180: records end with CRLF, fields with a quote, a comma or a
//! line break are quoted, and quotes in them are doubled.
//!
//! Spreadsheets take a text that begins like a formula for one, and a formula
//! can send what it reads elsewhere. Such a text gets an apostrophe before it.
//! Numbers are numbers and stay as they are, also below zero.

/// How a text begins that a spreadsheet may take for a formula.
const FORMULA_STARTS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// A field of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field<'a> {
    /// Text, whoever wrote it.
    Text(&'a str),
    /// An integer.
    Number(i64),
    /// Nothing.
    Empty,
}

/// Appends a record.
pub fn push_record(file: &mut String, fields: &[Field<'_>]) {
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            file.push(',');
        }
        match field {
            Field::Text(text) => push_text(file, text),
            Field::Number(number) => file.push_str(&number.to_string()),
            Field::Empty => {}
        }
    }
    file.push_str("\r\n");
}

fn push_text(file: &mut String, text: &str) {
    let guard = if text.starts_with(FORMULA_STARTS) {
        "'"
    } else {
        ""
    };
    let is_quoted = text.contains(['"', ',', '\r', '\n']);
    if is_quoted {
        file.push('"');
        file.push_str(guard);
        file.push_str(&text.replace('"', "\"\""));
        file.push('"');
    } else {
        file.push_str(guard);
        file.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: &[Field<'_>]) -> String {
        let mut file = String::new();
        push_record(&mut file, fields);
        file
    }

    /// Fields are quoted where RFC 4180 wants it, and nowhere else.
    #[test]
    fn fields_are_quoted_when_they_must_be() {
        let fields = [
            Field::Text("plain text"),
            Field::Text("a,b"),
            Field::Text("say \"x\""),
            Field::Text("two\r\nlines"),
            Field::Empty,
            Field::Number(-12),
        ];
        assert_eq!(
            record(&fields),
            "plain text,\"a,b\",\"say \"\"x\"\"\",\"two\r\nlines\",,-12\r\n"
        );
    }

    /// No text is taken for a formula; a number below zero is none.
    #[test]
    fn texts_are_no_formulas() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\tx"] {
            assert_eq!(record(&[Field::Text(text)]), format!("'{text}\r\n"));
        }
        assert_eq!(
            record(&[Field::Text("=HYPERLINK(\"x\",\"y\")")]),
            "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\"\r\n"
        );
        assert_eq!(
            record(&[Field::Number(i64::MIN)]),
            "-9223372036854775808\r\n"
        );
    }
}

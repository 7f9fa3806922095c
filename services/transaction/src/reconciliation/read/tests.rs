use bursar_aip::id::SettlementFileId;
use proptest::prelude::*;
use time::macros::datetime;
use uuid::Uuid;

use super::*;
use crate::reconciliation::LineType;

const HEADER: &str =
    "our_reference,provider_reference,type,currency,gross_minor,fee_minor,net_minor,occurred_at\n";
const ONE: &str = "txn_1,ch_1,charge,EUR,1000,15,985,2026-03-02T03:04:05Z\n";
const TWO: &str = "\"a,\"\"b\",po_2,payout,EUR,-400,0,-400,2026-03-02T03:04:05.1234567+01:00\n";
const TRAILERS: &str = "trailer,2,total,EUR,600,15,585,2026-03-02\nend,2,end,,,,,2026-03-02\n";

fn reader() -> Reader {
    Reader::new(SettlementFileId::from_uuid(Uuid::nil()), Format::initial())
}

/// Reads a file that comes in parts of this size.
fn read(text: &[u8], part: usize) -> Result<Vec<Line>, Problem> {
    let mut reader = reader();
    let mut lines = Vec::new();
    for part in text.chunks(part.max(1)) {
        let mut rest = part;
        while let Some(line) = reader.next(&mut rest)? {
            lines.push(line);
        }
    }
    while let Some(line) = reader.finish()? {
        lines.push(line);
    }
    Ok(lines)
}

fn problem(text: &str) -> (i64, String, &'static str) {
    let problem = read(text.as_bytes(), 7).expect_err("the file is broken");
    (problem.line, problem.column, problem.code.name())
}

/// A whole file gives its lines as they are written.
#[test]
fn a_whole_file_is_read() {
    let text = format!("{HEADER}{ONE}\r\n{TWO}{TRAILERS}");
    let lines = read(text.as_bytes(), 1).expect("the file is whole");
    assert_eq!(lines.len(), 2);
    assert_eq!((lines[0].id.number, lines[1].id.number), (2, 4));
    assert_eq!(lines[0].provider_reference, "ch_1");
    assert_eq!(lines[1].reference, "a,\"b");
    assert_eq!(lines[1].kind, LineType::Payout);
    assert_eq!(lines[1].moved_minor(), 400);
    assert_eq!(
        lines[1].occurred_at,
        datetime!(2026-03-02 02:04:05.123456 UTC)
    );
    // The last record need not end its line.
    let cut = text.trim_end();
    assert_eq!(read(cut.as_bytes(), 5).map(|lines| lines.len()), Ok(2));
    let empty = format!("{HEADER}end,0,end,,,,,2026-03-02\n");
    assert_eq!(read(empty.as_bytes(), 5), Ok(Vec::new()));
}

/// Each thing that can be wrong is told by its line, its column and its name.
#[test]
fn what_is_wrong_is_told_where_it_is() {
    let column = |name: &str| name.to_owned();
    let broken = |line: &str| format!("{HEADER}{ONE}{line}\n{TRAILERS}");
    let time = "2026-03-02T03:04:05Z";
    let cases = [
        (String::new(), (0, column(""), "no_header")),
        (
            HEADER.replace("currency", "money"),
            (1, column("currency"), "missing_column"),
        ),
        (
            HEADER.replace("type", "currency"),
            (1, column("currency"), "column_twice"),
        ),
        (
            broken("r,p,charge,EUR,1,0,1"),
            (3, column(""), "field_count"),
        ),
        (
            broken(&format!("{},p,charge,EUR,1,0,1,{time}", "x".repeat(129))),
            (3, column("our_reference"), "too_long"),
        ),
        (
            broken(&format!("r,\u{7},charge,EUR,1,0,1,{time}")),
            (3, column("provider_reference"), "not_text"),
        ),
        (
            broken(&format!("r,p,charge,EUR,+1,0,1,{time}")),
            (3, column("gross_minor"), "not_a_number"),
        ),
        (
            broken(&format!("r,p,charge,EUR,9223372036854775808,0,1,{time}")),
            (3, column("gross_minor"), "not_a_number"),
        ),
        (
            broken("r,p,charge,EUR,1,0,1,2026-03-02"),
            (3, column("occurred_at"), "not_a_time"),
        ),
        (
            broken(&format!("r,p,charge,EURO,1,0,1,{time}")),
            (3, column("currency"), "unknown_currency"),
        ),
        (
            broken(&format!("r,p,gift,EUR,1,0,1,{time}")),
            (3, column("type"), "unknown_type"),
        ),
        (
            broken(&format!("r,p,charge,EUR,1,0,2,{time}")),
            (3, column("net_minor"), "net_differs"),
        ),
        (
            broken(&"x".repeat(MAX_RECORD + 1)),
            (3, column(""), "too_long"),
        ),
        (format!("{HEADER}{ONE}{TWO}"), (0, column(""), "no_end")),
        (
            format!("{HEADER}{ONE}end,1,end,,,,,\n"),
            (0, column(""), "no_trailer"),
        ),
        (
            format!("{HEADER}{ONE}{TRAILERS}"),
            (3, column(""), "count_differs"),
        ),
        (
            format!("{HEADER}{ONE}{TWO}trailer,2,total,EUR,601,15,586,\n"),
            (4, column("gross_minor"), "sum_differs"),
        ),
        (
            format!("{HEADER}{ONE}{TWO}{TRAILERS}{ONE}"),
            (6, column(""), "after_trailer"),
        ),
    ];
    for (text, wanted) in cases {
        assert_eq!(problem(&text), wanted, "{text}");
    }
}

/// A long file passes through the memory of one record and of the parts that
/// come: the reader holds the same before and after, and gives lines one by one,
/// so nothing can gather in it.
#[test]
fn memory_does_not_grow_with_the_file() {
    const BYTES: usize = 20 * 1024 * 1024;
    let block: String = (0..1_000)
        .map(|number| {
            format!("txn_{number:040},ch_{number:040},charge,EUR,1,0,1,2026-03-02T03:04:05Z\n")
        })
        .collect();
    let mut reader = reader();
    let before = reader.buffered();
    let mut feed = |text: &str| {
        let mut rest = text.as_bytes();
        let mut count = 0;
        while let Some(line) = reader.next(&mut rest).expect("the file is whole") {
            count += 1;
            drop(line);
        }
        assert_eq!(reader.buffered(), before);
        count
    };
    feed(HEADER);
    let (mut bytes, mut lines) = (0, 0);
    while bytes < BYTES {
        lines += feed(&block);
        bytes += block.len();
    }
    feed(&format!("trailer,{lines},total,EUR,{lines},0,{lines},\n"));
    feed(&format!("end,{lines},end,,,,,\n"));
    assert_eq!(reader.finish(), Ok(None));
    assert_eq!(reader.totals().lines(), lines);
}

proptest! {
    /// However a file is cut into parts, it is read the same.
    #[test]
    fn parts_do_not_matter(part in 1_usize..300) {
        let text = format!("{HEADER}{ONE}{TWO}{TRAILERS}");
        let whole = read(text.as_bytes(), text.len());
        prop_assert!(whole.is_ok());
        prop_assert_eq!(read(text.as_bytes(), part), whole);
    }

    /// A file that was cut off anywhere before its last record is never whole.
    #[test]
    fn a_file_that_was_cut_off_is_refused(kept in 0_usize..300) {
        let text = format!("{HEADER}{ONE}{TWO}{TRAILERS}");
        let end = text.find("end,2").expect("the file has its end");
        let kept = kept.min(end);
        prop_assert!(read(&text.as_bytes()[..kept], 16).is_err());
    }

    /// No bytes break the reader.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
        let mut text = HEADER.as_bytes().to_vec();
        text.extend(bytes);
        if let Ok(lines) = read(&text, 64) {
            prop_assert!(lines.len() < 500);
        }
    }
}

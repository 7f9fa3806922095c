use bursar_aip::id::SettlementFileId;
use bursar_money::Currency;
use time::macros::datetime;
use uuid::Uuid;

use super::*;
use crate::reconciliation::{LineId, LineType};

fn line(number: usize, reference: &str) -> Line {
    Line {
        id: LineId {
            file: SettlementFileId::from_uuid(Uuid::nil()),
            number: i64::try_from(number).expect("a small number"),
        },
        reference: reference.to_owned(),
        provider_reference: String::new(),
        batch_reference: String::new(),
        type_word: "charge".to_owned(),
        kind: LineType::Charge,
        currency: Currency::parse("EUR").expect("a currency"),
        gross_minor: 1,
        fee_minor: 0,
        net_minor: 1,
        occurred_at: datetime!(2026-03-02 12:00 UTC),
    }
}

/// A page with more behind it ends with a whole group; the last page is taken
/// whole, and a group that fills the page is taken in parts.
#[test]
fn pages_end_with_groups() {
    let mut last = vec![line(1, "a"), line(2, "b")];
    assert_eq!(cut(&mut last, String::new()), "r:b");
    assert_eq!(last.len(), 2);

    let mut full: Vec<_> = (0..PAGE - 1).map(|number| line(number, "a")).collect();
    full.extend([line(PAGE, "b"), line(PAGE + 1, "b")]);
    assert_eq!(cut(&mut full, String::new()), "r:a");
    assert_eq!(full.len(), PAGE - 1);

    let mut one: Vec<_> = (0..=PAGE).map(|number| line(number, "a")).collect();
    assert_eq!(cut(&mut one, "before".to_owned()), "before");
    assert_eq!(one.len(), PAGE);
}

//! What `verify` and the metrics say of reconciliation.

use bursar_contracts::transaction::v1::{BreakResolution, ListBreaksRequest, ResolveBreakRequest};
use bursar_testkit::with_token;

use crate::support::Mesh;
use crate::support::settlement::{Booked, DAY, FileLine, settlement};

/// Books of one match by one line, one by two lines, and a break of each side.
async fn settled(mesh: &Mesh) {
    let (single, parted) = (Booked::deposit(100), Booked::withdrawal(300));
    let (short, absent) = (Booked::deposit(70), Booked::deposit(50));
    mesh.book(&[single.clone(), parted.clone(), short.clone(), absent])
        .await;
    let part = |gross_minor| FileLine {
        gross_minor,
        ..parted.line()
    };
    let wrong = FileLine {
        gross_minor: 71,
        ..short.line()
    };
    let lines = [single.line(), part(-100), part(-200), wrong];
    mesh.reconcile(&settlement(&lines), DAY).await;
}

/// Each planted break is named by the rule that it breaks.
#[tokio::test]
async fn planted_breaks_are_found() {
    let placed = "a settlement line is matched, broken, or waits for its file to be matched";
    let whole = "a settlement file that counts has the lines that were read of it";
    let joined =
        "a match joins lines with completed transactions of the same provider and currency";
    let agrees = "what is matched agrees, within the tolerance of its rule";
    let shown = "an open break is that of the line that shows it";
    let line = "what a break says of its line is what the line says";
    let transaction = "what a break says of its transaction is what the transaction says";
    let breaks = [
        (
            "UPDATE settlement_lines SET state = 'PENDING', match_id = NULL
             WHERE state = 'MATCHED'",
            placed,
        ),
        ("DELETE FROM settlement_matches", placed),
        ("DELETE FROM settlement_breaks", placed),
        ("DELETE FROM settlement_files", placed),
        ("DELETE FROM settlement_lines WHERE line = 2", whole),
        ("UPDATE settlement_files SET lines = lines + 1", whole),
        ("DELETE FROM settlement_match_transactions", joined),
        (
            "UPDATE settlement_lines SET match_id = gen_random_uuid()
          WHERE state = 'MATCHED'",
            joined,
        ),
        ("UPDATE settlement_lines SET currency_code = 'USD'", joined),
        (
            "UPDATE transactions SET amount_minor = amount_minor + 1",
            joined,
        ),
        ("UPDATE transactions SET provider = 'other'", joined),
        (
            "UPDATE transactions
             SET state = 'SETTLING', posted_at = NULL
             WHERE kind = 'withdrawal'",
            joined,
        ),
        (
            "UPDATE settlement_lines SET gross_minor = gross_minor - 1 WHERE state = 'MATCHED'",
            agrees,
        ),
        (
            "UPDATE settlement_match_transactions SET amount_minor = amount_minor + 1",
            agrees,
        ),
        // One of the two parts is gone.
        (
            "DELETE FROM settlement_lines WHERE gross_minor = -200",
            agrees,
        ),
        (
            "UPDATE settlement_lines SET break_id = gen_random_uuid() WHERE state = 'BROKEN'",
            shown,
        ),
        (
            "UPDATE settlement_lines SET gross_minor = 72 WHERE state = 'BROKEN'",
            line,
        ),
        (
            "UPDATE settlement_breaks SET line_currency = 'USD' WHERE line IS NOT NULL",
            line,
        ),
        (
            "UPDATE settlement_breaks SET transaction_minor = transaction_minor + 1",
            transaction,
        ),
        (
            "UPDATE settlement_breaks SET provider = 'other'",
            transaction,
        ),
    ];
    let mesh = Mesh::start().await;
    mesh.put_checks_off().await;
    settled(&mesh).await;
    mesh.verify_reconciliation().await;
    let rules = bursar_transaction::definition().invariants;
    for (statement, broken) in breaks {
        // Rolled back at the end, so that each break is found by itself.
        let mut planted = mesh.database.owner.begin().await.expect("a connection");
        let changed = sqlx::query(statement).execute(&mut *planted).await;
        let changed = changed.expect("the break is planted").rows_affected();
        assert!(changed > 0, "{statement}");
        let rule = rules.iter().find(|known| known.name == broken);
        let sql = rule.expect("a rule").sql;
        let found = sqlx::query(sql).fetch_all(&mut *planted).await;
        assert!(!found.expect("a query").is_empty(), "{broken}: {statement}");
        planted.rollback().await.expect("nothing stays");
    }
}

/// Operators see files, lines and breaks counted, what waits, and when a run was last.
#[tokio::test]
async fn operators_see_what_was_reconciled() {
    let mesh = Mesh::start().await;
    mesh.put_checks_off().await;
    let names = [
        r#"bursar_reconciliation_files_total{source="FILE",outcome="imported"}"#,
        r#"bursar_reconciliation_files_total{source="FILE",outcome="reconciled"}"#,
        r#"bursar_reconciliation_lines_total{source="FILE",outcome="imported"}"#,
        r#"bursar_reconciliation_lines_total{source="FILE",outcome="matched"}"#,
        r#"bursar_reconciliation_lines_total{source="FILE",outcome="broken"}"#,
        r#"bursar_reconciliation_breaks_opened_total{reason="AMOUNT_MISMATCH"}"#,
        r#"bursar_reconciliation_breaks_opened_total{reason="MISSING_AT_PROVIDER"}"#,
    ];
    let grown = mesh.grown(names, settled(&mesh)).await;
    for ((name, grown), least) in names.iter().zip(grown).zip([1, 1, 4, 3, 1, 1, 1]) {
        assert!(grown >= least, "{name} has grown by {grown}");
    }
    let resolved = async {
        let request = ResolveBreakRequest {
            break_id: mesh.breaks(ListBreaksRequest::default()).await[0]
                .break_id
                .clone(),
            resolution: BreakResolution::WrittenOff.into(),
            note: "a test".to_owned(),
        };
        let request = with_token(request, &mesh.operator());
        let resolved = mesh.reconciliation().resolve_break(request).await;
        resolved.expect("the break is open");
    };
    let names = [
        r#"bursar_reconciliation_breaks_closed_total{reason="AMOUNT_MISMATCH",by="person"}"#,
        r#"bursar_reconciliation_breaks_closed_total{reason="MISSING_AT_PROVIDER",by="person"}"#,
    ];
    let grown = mesh.grown(names, resolved).await;
    assert!(grown.iter().sum::<u64>() >= 1, "{grown:?}");
}

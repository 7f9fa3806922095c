//! Settlement files against the books, on real databases.

use std::collections::{BTreeMap, BTreeSet};

use bursar_aip::id::TransactionId;
use bursar_contracts::transaction::v1::{
    Break, BreakReason, BreakResolution, BreakState, GetReconciliationReportRequest,
    ListBreaksRequest, ReconciliationReport, ResolveBreakRequest,
};
use bursar_status::StatusExt;
use bursar_testkit::with_token;
use tonic::Code;

use crate::support::Mesh;
use crate::support::settlement::{Booked, DAY, FileLine, settlement};

/// The day after [`DAY`].
const NEXT_DAY: &str = "2026-03-03";

/// Books, the lines of a file, and what is wrong between them.
#[derive(Default)]
struct Planted {
    books: Vec<Booked>,
    lines: Vec<FileLine>,
    /// What is wrong, by reason and reference.
    breaks: BTreeSet<(BreakReason, String)>,
    /// The lines that the file lacks.
    missing: Vec<FileLine>,
    /// The transaction whose outcome is not known.
    unknown: Vec<TransactionId>,
}

impl Planted {
    /// 10,000 lines, and 37 breaks of every reason.
    fn new() -> Self {
        let mut planted = Self::default();
        for number in 0..9_993_i64 {
            let amount_minor = 100 + number % 977;
            let mut booked = match number % 3 {
                0 => Booked::withdrawal(amount_minor),
                _ => Booked::deposit(amount_minor),
            };
            // Spread over the file, five or fewer of each kind.
            let reason = (number % 250 == 7).then_some(number / 250);
            if let Some(place @ 18..=21) = reason {
                booked.state = if place < 20 { "UNKNOWN" } else { "FAILED" };
            }
            let line = booked.line();
            match reason {
                Some(place) => planted.break_line(place, &booked, line),
                None => planted.lines.push(line),
            }
            planted.books.push(booked);
        }
        for number in 0..4 {
            let stranger = Booked::deposit(500 + number);
            planted.broken(BreakReason::MissingInLedger, stranger.line());
        }
        for number in 0..3 {
            let extra = FileLine {
                reference: format!("extra_{number}"),
                ..Booked::deposit(7).line()
            };
            planted.broken(BreakReason::UnknownReference, extra);
        }
        assert_eq!((planted.lines.len(), planted.breaks.len()), (10_000, 37));
        planted
    }

    fn break_line(&mut self, place: i64, booked: &Booked, line: FileLine) {
        match place {
            0..=4 => {
                self.note(BreakReason::MissingAtProvider, &line);
                self.missing.push(line);
            }
            5..=9 => self.broken(
                BreakReason::AmountMismatch,
                FileLine {
                    gross_minor: line.gross_minor + 1,
                    ..line
                },
            ),
            10..=13 => self.broken(
                BreakReason::CurrencyMismatch,
                FileLine {
                    currency: "USD",
                    ..line
                },
            ),
            14..=17 => self.broken(
                BreakReason::DateOutsideWindow,
                FileLine {
                    occurred_at: "2026-03-06T00:00:00Z".to_owned(),
                    ..line
                },
            ),
            18..=21 => {
                if place < 20 {
                    self.unknown.push(booked.id);
                }
                self.broken(BreakReason::StatusMismatch, line);
            }
            22..=24 => self.broken(
                BreakReason::TypeMismatch,
                FileLine {
                    kind: "refund",
                    ..line
                },
            ),
            25..=29 => {
                self.lines.push(line.clone());
                self.broken(BreakReason::DuplicateLine, line);
            }
            _ => self.lines.push(line),
        }
    }

    fn broken(&mut self, reason: BreakReason, line: FileLine) {
        self.note(reason, &line);
        self.lines.push(line);
    }

    fn note(&mut self, reason: BreakReason, line: &FileLine) {
        self.breaks.insert((reason, line.reference.clone()));
    }
}

/// What a break is about, as the planted ones are noted.
fn noted(told: &Break) -> (BreakReason, String) {
    let line = told.line.as_ref().map(|line| line.reference.clone());
    let transaction = told.transaction.as_ref();
    let transaction = transaction.map(|transaction| transaction.transaction_id.clone());
    let about = line.or(transaction).expect("a break has a side");
    (told.reason(), about)
}

async fn report(mesh: &Mesh, wanted: GetReconciliationReportRequest) -> ReconciliationReport {
    let request = with_token(wanted, &mesh.operator());
    let response = mesh
        .reconciliation()
        .get_reconciliation_report(request)
        .await;
    let report = response.expect("there is a report").into_inner().report;
    report.expect("a response has its report")
}

pub(crate) fn reason_of(status: &tonic::Status) -> (String, BTreeMap<String, String>) {
    let details = status.get_error_details();
    let info = details.error_info().expect("an error has its reason");
    let metadata = info.metadata.clone().into_iter().collect();
    (info.reason.clone(), metadata)
}

/// 10,000 lines with 37 planted breaks yield exactly those 37. The same content
/// again changes nothing; a later file with the missing lines closes their
/// breaks; and the transactions whose outcome is not known are looked at sooner.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_lines_yield_the_planted_breaks() {
    let mesh = Mesh::start().await;
    mesh.put_checks_off().await;
    let planted = Planted::new();
    mesh.book(&planted.books).await;
    for id in &planted.unknown {
        mesh.check(*id).await;
    }
    let text = settlement(&planted.lines);
    let file = mesh.reconcile(&text, DAY).await;
    assert_eq!(file.lines, 10_000);

    let open = ListBreaksRequest {
        state: BreakState::Open.into(),
        ..ListBreaksRequest::default()
    };
    let breaks = mesh.breaks(open.clone()).await;
    assert_eq!(breaks.len(), 37);
    let told: BTreeSet<_> = breaks.iter().map(noted).collect();
    assert_eq!(told, planted.breaks);
    for told in &breaks {
        let mut sums = BTreeMap::<_, i64>::new();
        for leg in &told.proposed_legs {
            *sums.entry(&leg.currency_code).or_default() += leg.amount_minor;
        }
        assert!(sums.values().all(|sum| *sum == 0), "{told:?}");
    }
    let nudged = "SELECT count(*) FROM transaction_checks WHERE nudges = 1";
    assert_eq!(mesh.count(nudged).await, 2);

    let of_file = GetReconciliationReportRequest {
        settlement_file_id: file.settlement_file_id.clone(),
        ..GetReconciliationReportRequest::default()
    };
    let first = report(&mesh, of_file.clone()).await;
    assert_eq!((first.lines, first.pending_lines), (10_000, 0));
    assert_eq!((first.matched_lines, first.broken_lines), (9_968, 32));
    assert_eq!(first.missing_transactions, 5);
    assert_eq!(first.matched_transactions, 9_968);
    assert_eq!(first.breaks.iter().map(|count| count.open).sum::<i64>(), 37);
    assert_eq!(first.ages.iter().map(|age| age.open).sum::<i64>(), 37);
    let of_day = GetReconciliationReportRequest {
        provider: "sandbox".to_owned(),
        settlement_date: DAY.to_owned(),
        ..GetReconciliationReportRequest::default()
    };
    assert_eq!(report(&mesh, of_day).await, first);

    let again = mesh.import(&text, DAY).await.expect("the file is whole");
    let again = again.into_inner();
    assert!(again.already_imported);
    assert_eq!(again.file, Some(file));
    let files = "SELECT count(*) FROM settlement_files WHERE source = 'FILE'";
    mesh.until(files, 1).await;
    let lines = "SELECT count(*) FROM settlement_lines";
    assert_eq!(mesh.count(lines).await, 10_000);
    assert_eq!(report(&mesh, of_file).await, first);

    mesh.reconcile(&settlement(&planted.missing), NEXT_DAY)
        .await;
    assert_eq!(mesh.breaks(open).await.len(), 32);
    let closed = mesh
        .breaks(ListBreaksRequest {
            reason: BreakReason::MissingAtProvider.into(),
            ..ListBreaksRequest::default()
        })
        .await;
    assert_eq!(closed.len(), 5);
    for told in closed {
        assert_eq!(told.resolution(), BreakResolution::MatchedLater);
        assert_eq!(told.resolved_by, "service:transaction");
    }
    mesh.verify_reconciliation().await;
}

/// A transaction that completes later explains its break when the next file
/// comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_later_state_closes_a_break() {
    let mesh = Mesh::start().await;
    let late = Booked {
        state: "FAILED",
        ..Booked::deposit(100)
    };
    mesh.book(std::slice::from_ref(&late)).await;
    mesh.reconcile(&settlement(&[late.line()]), DAY).await;
    let breaks = mesh.breaks(ListBreaksRequest::default()).await;
    assert_eq!(breaks.len(), 1);
    assert_eq!(breaks[0].reason(), BreakReason::StatusMismatch);
    assert_eq!(breaks[0].proposed_legs.len(), 2);

    sqlx::query(
        "UPDATE transactions
         SET state = 'COMPLETED', failure_reason = NULL, failure_message = NULL,
             posted_at = updated_at",
    )
    .execute(&mesh.database.owner)
    .await
    .expect("the owner may change transactions");
    mesh.reconcile(&settlement(&[]), NEXT_DAY).await;
    let breaks = mesh.breaks(ListBreaksRequest::default()).await;
    assert_eq!(breaks.len(), 1);
    assert_eq!(breaks[0].resolution(), BreakResolution::MatchedLater);
    mesh.verify_reconciliation().await;
}

/// A break is resolved once: the same again answers the same, another way is
/// refused, and it stays resolved when it is seen again.
#[tokio::test(flavor = "multi_thread")]
async fn a_break_is_resolved_once() {
    let mesh = Mesh::start().await;
    let stranger = Booked::deposit(100);
    mesh.reconcile(&settlement(&[stranger.line()]), DAY).await;
    let breaks = mesh.breaks(ListBreaksRequest::default()).await;
    let operator = mesh.operator();
    let resolve = async |resolution: BreakResolution| {
        let request = ResolveBreakRequest {
            break_id: breaks[0].break_id.clone(),
            resolution: resolution.into(),
            note: "a test of theirs".to_owned(),
        };
        let mut client = mesh.reconciliation();
        client.resolve_break(with_token(request, &operator)).await
    };
    let first = resolve(BreakResolution::WrittenOff).await;
    let first = first.expect("the break is open").into_inner();
    let again = resolve(BreakResolution::WrittenOff).await;
    assert_eq!(again.expect("the same again").into_inner(), first);
    let other = resolve(BreakResolution::Adjusted).await;
    let other = other.expect_err("it was written off");
    assert_eq!(other.code(), Code::FailedPrecondition);
    assert_eq!(reason_of(&other).0, "BREAK_ALREADY_RESOLVED");

    mesh.reconcile(&settlement(&[stranger.line()]), NEXT_DAY)
        .await;
    let seen = mesh.breaks(ListBreaksRequest::default()).await;
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].state(), BreakState::Resolved);
    mesh.verify_reconciliation().await;
}

//! The settings of reconciliation, and the nightly list.

use bursar_contracts::transaction::v1::{
    GetReconciliationReportRequest, GetReconciliationSettingsRequest, ListBreaksRequest,
    MatchCardinality, MatchKey, MatchingRule, ReconciliationSettings,
    SetReconciliationSettingsRequest, SettlementSource,
};
use bursar_testkit::with_token;
use tonic::{Code, Status};

use crate::support::Mesh;
use crate::support::settlement::{Booked, DAY, FileLine, settlement};

async fn settings(mesh: &Mesh) -> ReconciliationSettings {
    let request = GetReconciliationSettingsRequest {
        provider: "sandbox".to_owned(),
    };
    let request = with_token(request, &mesh.operator());
    let response = mesh
        .reconciliation()
        .get_reconciliation_settings(request)
        .await;
    let settings = response.expect("there are settings").into_inner().settings;
    settings.expect("a response has its settings")
}

async fn set(mesh: &Mesh, wanted: ReconciliationSettings) -> Result<i64, Status> {
    let request = SetReconciliationSettingsRequest {
        provider: wanted.provider,
        format: wanted.format,
        rules: wanted.rules,
        version: wanted.version,
    };
    let request = with_token(request, &mesh.operator());
    let response = mesh
        .reconciliation()
        .set_reconciliation_settings(request)
        .await?;
    let settings = response.into_inner().settings;
    Ok(settings.expect("a response has its settings").version)
}

/// Rules and columns are data: a file in another form is read, and a difference
/// within the tolerance is matched, once the settings say so.
#[tokio::test(flavor = "multi_thread")]
async fn rules_and_columns_are_data() {
    let mesh = Mesh::start().await;
    let booked = Booked::deposit(100);
    mesh.book(std::slice::from_ref(&booked)).await;
    let mut wanted = settings(&mesh).await;
    assert_eq!((wanted.version, wanted.rules.len()), (0, 5));
    wanted.rules = vec![MatchingRule {
        name: "near".to_owned(),
        key: MatchKey::Reference.into(),
        cardinality: MatchCardinality::OneToOne.into(),
        amount_tolerance_minor: 5,
        date_window_days: 3,
    }];
    let format = wanted.format.as_mut().expect("settings have their format");
    format.delimiter = ";".to_owned();
    format.reference_column = "merchant_ref".to_owned();
    assert_eq!(set(&mesh, wanted.clone()).await.expect("they are valid"), 1);
    let stale = set(&mesh, wanted.clone()).await.expect_err("they changed");
    assert_eq!(stale.code(), Code::Aborted);

    let near = FileLine {
        gross_minor: 105,
        occurred_at: "2026-03-05T00:00:00Z".to_owned(),
        ..booked.line()
    };
    let text = settlement(&[near])
        .replace(',', ";")
        .replace("our_reference", "merchant_ref");
    mesh.reconcile(&text, DAY).await;
    assert_eq!(mesh.breaks(ListBreaksRequest::default()).await, []);

    let mut twice = settings(&mesh).await;
    assert_eq!(twice.rules, wanted.rules);
    twice.rules.push(twice.rules[0].clone());
    let refused = set(&mesh, twice).await.expect_err("one name, two rules");
    assert_eq!(refused.code(), Code::InvalidArgument);
}

/// The provider's own list is matched like a file, a day that passed is caught
/// up, and what it tells is not told again by the next run.
#[tokio::test(flavor = "multi_thread")]
async fn the_nightly_list_is_matched() {
    let mut mesh = Mesh::start_with(&[
        ("BURSAR_RECONCILIATION_HOUR_UTC", "0"),
        ("BURSAR_RECONCILIATION_LOOKBACK_DAYS", "1"),
    ])
    .await;
    // Yesterday has nothing yet, and is listed as such.
    let listed = "SELECT count(*) FROM settlement_files WHERE source = 'LIST' \
                  AND state = 'RECONCILED'";
    mesh.until(listed, 1).await;
    let person = mesh.person();
    person.funded(1_000).await;
    person.funded(2_000).await;
    // Both were yesterday, and the provider remembers another amount of one.
    for (statement, pool) in [
        (
            "UPDATE transactions SET posted_at = posted_at - interval '1 day'",
            &mesh.database.owner,
        ),
        (
            "UPDATE movements SET created_at = created_at - interval '1 day',
                 finished_at = finished_at - interval '1 day',
                 amount_minor = CASE amount_minor WHEN 2000 THEN 2001 ELSE amount_minor END",
            &mesh.sandbox_database.owner,
        ),
        ("DELETE FROM settlement_files", &mesh.database.owner),
    ] {
        sqlx::query(statement)
            .execute(pool)
            .await
            .expect("owners may change what they own");
    }
    mesh.restart_service().await;
    mesh.until(listed, 1).await;
    let breaks = mesh.breaks(ListBreaksRequest::default()).await;
    assert_eq!(breaks.len(), 1);
    let legs = &breaks[0].proposed_legs;
    let amounts: Vec<_> = legs.iter().map(|leg| leg.amount_minor).collect();
    assert_eq!(amounts, [-1, 1]);

    let request = GetReconciliationReportRequest {
        provider: "sandbox".to_owned(),
        settlement_date: breaks[0].settlement_date.clone(),
        source: SettlementSource::List.into(),
        ..GetReconciliationReportRequest::default()
    };
    let request = with_token(request, &mesh.operator());
    let response = mesh
        .reconciliation()
        .get_reconciliation_report(request)
        .await;
    let report = response.expect("there is a report").into_inner().report;
    let report = report.expect("a response has its report");
    assert_eq!((report.matched_lines, report.broken_lines), (1, 1));

    mesh.restart_service().await;
    assert_eq!(mesh.count("SELECT count(*) FROM settlement_files").await, 1);
    mesh.verify().await;
}

//! How settlement files are brought, and by whom.

use bursar_aip::id::UserId;
use bursar_contracts::transaction::v1::{ListBreaksRequest, SettlementFileState};
use bursar_testkit::with_token;
use tonic::Code;

use crate::reconciliation::reason_of;
use crate::support::Mesh;
use crate::support::settlement::{Booked, DAY, parts, settlement};

/// A broken file is refused by line and column and recorded as FAILED, and
/// nothing of it counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_leaves_nothing() {
    let mesh = Mesh::start().await;
    let booked: Vec<_> = (0..3_000).map(Booked::deposit).skip(1).collect();
    let lines: Vec<_> = booked.iter().map(Booked::line).collect();
    let text = settlement(&lines).replace(",2999,1,2998,", ",2999,one,2998,");
    let refused = mesh
        .import(&text, DAY)
        .await
        .expect_err("the file is broken");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let (reason, metadata) = reason_of(&refused);
    assert_eq!(reason, "SETTLEMENT_FILE_INVALID");
    assert_eq!(metadata["line"], "3000");
    assert_eq!(metadata["column"], "fee_minor");
    assert_eq!(metadata["problem"], "not_a_number");
    let file = mesh.settlement_file(&metadata["settlement_file_id"]).await;
    assert_eq!(file.state(), SettlementFileState::Failed);
    let problem = file.problem.expect("a failed file has its problem");
    assert_eq!((problem.line, &*problem.column), (3_000, "fee_minor"));
    mesh.until("SELECT count(*) FROM settlement_lines", 0).await;
    assert_eq!(mesh.breaks(ListBreaksRequest::default()).await, []);
}

/// An import whose bringer leaves, and one whose process dies, leave nothing that
/// counts, and the file can be brought again.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_import_leaves_nothing() {
    let mesh = Mesh::start().await;
    let booked: Vec<_> = (1..3_000).map(Booked::deposit).collect();
    mesh.book(&booked).await;
    let lines: Vec<_> = booked.iter().map(Booked::line).collect();
    let text = settlement(&lines);
    let mut sent = parts(&text, DAY);
    sent.truncate(sent.len() - 1);

    // The bringer sends all but the end, waits until lines are written, and leaves.
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    for part in sent {
        sender.send(part).expect("the stream takes parts");
    }
    let stream = futures::stream::unfold(receiver, async |mut parts| {
        Some((parts.recv().await?, parts))
    });
    let request = with_token(stream, &mesh.operator());
    let mut client = mesh.reconciliation();
    let call = tokio::spawn(async move { client.import_settlement_file(request).await });
    mesh.until("SELECT least(count(*), 1) FROM settlement_lines", 1)
        .await;
    call.abort();
    drop(sender);
    let failed = "SELECT count(*) FROM settlement_files WHERE source = 'FILE' AND state = 'FAILED'";
    mesh.until(failed, 1).await;
    mesh.until("SELECT count(*) FROM settlement_lines", 0).await;

    // A process that died in the middle: what it left is given up once its lease
    // has lapsed.
    for statement in [
        "INSERT INTO settlement_lines (file_id, line, reference, provider_reference,
             batch_reference, type_word, line_type, currency_code, gross_minor, fee_minor,
             net_minor, occurred_at, group_key)
         VALUES ('01890a5d-ac96-774b-bcce-b302099a8057', 2, 'r', 'p', '', 'charge', 'CHARGE',
             'EUR', 1, 0, 1, now(), 'r:r')",
        "INSERT INTO settlement_files (file_id, tenant_id, provider, source, file_name,
             settlement_date, state, imported_by, lease_until)
         VALUES ('01890a5d-ac96-774b-bcce-b302099a8057', 'default', 'sandbox', 'FILE', 'dead',
             '2026-03-02', 'IMPORTING', 'test', now() - interval '1 second')",
    ] {
        sqlx::query(statement)
            .execute(&mesh.database.owner)
            .await
            .expect("the owner may write files");
    }
    mesh.until(failed, 2).await;
    mesh.until("SELECT count(*) FROM settlement_lines", 0).await;
    assert_eq!(mesh.breaks(ListBreaksRequest::default()).await, []);

    mesh.reconcile(&text, DAY).await;
    assert_eq!(mesh.breaks(ListBreaksRequest::default()).await, []);
    let matched = "SELECT count(*) FROM settlement_lines WHERE state = 'MATCHED'";
    assert_eq!(mesh.count(matched).await, 2_999);
}

/// The plain HTTP route takes a file with the same permission, the same checks
/// and the same errors.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_comes_by_plain_http() {
    let mesh = Mesh::start().await;
    let booked = Booked::deposit(100);
    mesh.book(std::slice::from_ref(&booked)).await;
    let text = settlement(&[booked.line()]);
    let address = format!(
        "http://{}/api/v1/transactions/settlement-files?provider=sandbox&settlement_date={DAY}",
        mesh.service.http_address
    );
    let post = async |token: &str, text: &str| {
        let sent = mesh
            .http
            .post(&address)
            .bearer_auth(token)
            .header("content-type", "text/csv")
            .body(text.to_owned())
            .send()
            .await
            .expect("the service answers");
        let status = sent.status().as_u16();
        let body: serde_json::Value = sent.json().await.expect("answers are JSON");
        (status, body)
    };
    assert_eq!(post("nonsense", &text).await.0, 401);
    let user = mesh.tokens.user(UserId::generate());
    assert_eq!(post(&user, &text).await.0, 403);
    let broken = post(&mesh.operator(), &text[..text.len() - 30]).await;
    assert_eq!(broken.0, 400);
    assert_eq!(broken.1["details"][0]["reason"], "SETTLEMENT_FILE_INVALID");
    let (status, body) = post(&mesh.operator(), &text).await;
    assert_eq!(status, 200);
    assert_eq!(body["file"]["lines"], "1");
    let id = body["file"]["settlement_file_id"].as_str();
    mesh.reconciled(id.expect("an id is text")).await;
    assert_eq!(mesh.breaks(ListBreaksRequest::default()).await, []);
}

/// Only those who may reconcile see or bring anything.
#[tokio::test(flavor = "multi_thread")]
async fn reconciliation_is_for_operators() {
    let mesh = Mesh::start().await;
    let user = mesh.tokens.user(UserId::generate());
    let mut client = mesh.reconciliation();
    let text = settlement(&[]);
    let stream = futures::stream::iter(parts(&text, DAY));
    let refused = client
        .import_settlement_file(with_token(stream, &user))
        .await
        .expect_err("a user imports nothing");
    assert_eq!(refused.code(), Code::PermissionDenied);
    let refused = client
        .list_breaks(with_token(ListBreaksRequest::default(), &user))
        .await
        .expect_err("a user sees no breaks");
    assert_eq!(refused.code(), Code::PermissionDenied);
}

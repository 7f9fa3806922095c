//! The ledger's proof, checked as anybody would: by `bursar-verify`, with
//! nothing but what the gateway answers.

use std::path::{Path, PathBuf};
use std::process::Output;

use bursar_contracts::wallet::v1::proof_service_client::ProofServiceClient;
use bursar_contracts::wallet::v1::{
    ExportLedgerRequest, GetCheckpointRequest, GetInclusionProofRequest,
};
use bursar_devmesh::Mesh;
use serde_json::Value;
use tokio::process::Command;
use tonic::Code;

use crate::grpc;
use crate::holds::reason;
use crate::support::{Edge, Person, eventually, minor, refused, send, text};

const CHECKPOINT: &str = "/api/v1/wallet/ledger/checkpoint";
const EXPORT: &str = "/api/v1/wallet/ledger/export.jsonl";
const ALTERED: i32 = 1;

/// A program of the mesh, which lies beside this test's own.
fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a path");
    let directory = own.parent().and_then(Path::parent);
    directory.expect("target/debug/deps").join(name)
}

/// A file that goes with the value.
struct Scrap(PathBuf);

impl Scrap {
    fn write(content: &[u8]) -> Self {
        let name = format!("proof-{}", uuid::Uuid::now_v7());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, content).expect("the file can be written");
        Self(path)
    }
}

impl Drop for Scrap {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

/// Runs `bursar-verify` with the public key on a file.
async fn verify(before: &[&str], key: &str, content: &[u8]) -> Output {
    let file = Scrap::write(content);
    let ran = Command::new(program("bursar-verify"))
        .args(before)
        .args(["--public-key", key])
        .arg(&file.0)
        .output();
    ran.await.expect("bursar-verify is built")
}

fn told(output: &Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8(text).expect("text")
}

/// A posting between two wallets of one person, and its signed proof.
async fn signed_posting(edge: &Edge, ada: &Person) -> (String, Value) {
    let from = edge.funded(ada, 1_000).await;
    let to = edge.wallet(ada, "EUR").await;
    edge.transfer(ada, &from, &to, 777).await.ok();
    let path = format!("/api/v1/wallet/wallets/{to}/entries");
    let listed = edge.get(&path, &ada.token).await.ok();
    let posting = text(&listed["entries"][0]["posting_id"]);
    let path = format!("/api/v1/wallet/ledger/postings/{posting}/proof");
    let proof = eventually("the signature", async || {
        let answer = edge.get(&path, &ada.token).await;
        if answer.status == 200 {
            return Some(answer.json);
        }
        refused(&answer, 400, "POSTING_NOT_SIGNED_YET");
        let retry = answer.detail("google.rpc.RetryInfo");
        assert!(retry["retry_delay"].is_string(), "{:#}", answer.json);
        None
    });
    (posting, proof.await)
}

async fn public_key(edge: &Edge, operator: &str) -> String {
    text(&edge.get(CHECKPOINT, operator).await.ok()["public_key"])
}

/// The proof of a posting convinces `bursar-verify`; with another amount it
/// does not, and others are not told that there is such a posting.
#[tokio::test]
async fn a_posting_is_proven() {
    let edge = Edge::shared();
    let (ada, bob, operator) = (edge.person().await, edge.person().await, edge.admin().await);
    let (posting, proof) = signed_posting(&edge, &ada).await;
    let key = public_key(&edge, &operator).await;
    let good = verify(&["inclusion"], &key, proof.to_string().as_bytes()).await;
    assert!(good.status.success(), "{}", told(&good));
    assert!(told(&good).contains(&posting), "{}", told(&good));

    let forged = proof.to_string().replacen("777", "778", 1);
    let bad = verify(&["inclusion"], &key, forged.as_bytes()).await;
    assert_eq!(bad.status.code(), Some(ALTERED), "{}", told(&bad));
    assert!(told(&bad).contains(&posting), "{}", told(&bad));

    let path = format!("/api/v1/wallet/ledger/postings/{posting}/proof");
    refused(&edge.get(&path, &bob.token).await, 404, "POSTING_NOT_FOUND");
    edge.get(&path, &operator).await.ok();
    refused(
        &send(edge.request("GET", &path)).await,
        401,
        "UNAUTHENTICATED",
    );
}

/// The export of the ledger passes; with one byte changed it fails, and the
/// row is named.
#[tokio::test]
async fn a_changed_byte_of_an_export_is_named() {
    let edge = Edge::shared();
    let (ada, operator) = (edge.person().await, edge.admin().await);
    let (posting, proof) = signed_posting(&edge, &ada).await;
    let key = public_key(&edge, &operator).await;
    let signed = minor(&proof["proof"]["checkpoint"]["height"]);
    let path = format!("{EXPORT}?to_height={signed}");
    let answer = edge.get(&path, &operator).await;
    assert_eq!(answer.status, 200, "{:#}", answer.json);
    assert_eq!(answer.headers["content-type"], "application/jsonl");
    let export = text(&answer.json);
    let good = verify(&["--require-signed"], &key, export.as_bytes()).await;
    assert!(good.status.success(), "{}", told(&good));

    // Every line has its end, so the row's number is that of its line.
    let row = export.lines().position(|line| line.contains(&posting));
    let row = row.expect("the posting is in the export");
    let changed: Vec<String> = export
        .lines()
        .enumerate()
        .map(|(index, line)| match index == row {
            true => line.replacen("777", "776", 1) + "\n",
            false => line.to_owned() + "\n",
        })
        .collect();
    let changed = changed.concat();
    let differences = changed.bytes().zip(export.bytes());
    let differences = differences.filter(|(left, right)| left != right).count();
    assert_eq!((changed.len(), differences), (export.len(), 1));
    let bad = verify(&[], &key, changed.as_bytes()).await;
    assert_eq!(bad.status.code(), Some(ALTERED), "{}", told(&bad));
    assert!(
        told(&bad).contains(&format!("line {}", row + 1)),
        "{}",
        told(&bad)
    );
    assert!(told(&bad).contains(&posting), "{}", told(&bad));

    let users = edge.get(&path, &ada.token).await;
    refused(&users, 403, "PERMISSION_DENIED");
    let beyond = edge
        .get(&format!("{EXPORT}?from_height=999999999"), &operator)
        .await;
    refused(&beyond, 404, "BLOCK_NOT_FOUND");
}

/// `bursar-wallet export` writes the same bytes as the RPC streams.
#[tokio::test]
async fn the_program_exports_what_the_rpc_streams() {
    let edge = Edge::shared();
    let (ada, operator) = (edge.person().await, edge.admin().await);
    let (posting, proof) = signed_posting(&edge, &ada).await;
    let height = minor(&proof["proof"]["block"]["height"]);
    let signed = minor(&proof["proof"]["checkpoint"]["height"]);
    let mut proofs = ProofServiceClient::new(edge.channel());
    let request = ExportLedgerRequest {
        from_height: height,
        to_height: signed,
    };
    let parts = proofs.export_ledger(grpc::with(request, &operator)).await;
    let mut parts = parts.expect("opened").into_inner();
    let mut streamed = Vec::new();
    while let Some(part) = parts.message().await.expect("a part") {
        streamed.extend(part.file.expect("a part").data);
    }
    let mesh = Mesh::from_environment().expect("a mesh");
    let databases = mesh.databases().expect("databases");
    let wallet = databases.iter().find(|one| one.service == "wallet");
    let written = Command::new(program("bursar-wallet"))
        .env(
            "BURSAR_DATABASE_URL",
            &wallet.expect("wallet's").application_url,
        )
        // It listens nowhere, but its configuration is that of the service.
        .env("BURSAR_HTTP_ADDRESS", "127.0.0.1:0")
        .args(["export", "--from-height", &height.to_string()])
        .args(["--to-height", &signed.to_string()])
        .output()
        .await
        .expect("bursar-wallet is built");
    assert!(written.status.success(), "{}", told(&written));
    assert_eq!(
        String::from_utf8(written.stdout),
        String::from_utf8(streamed)
    );

    // And by gRPC what it is proven by.
    let get = GetCheckpointRequest { height: signed };
    let checkpoint = proofs.get_checkpoint(grpc::with(get, &operator)).await;
    let checkpoint = checkpoint.expect("read").into_inner().checkpoint;
    assert_eq!(checkpoint.expect("a checkpoint").height, signed);
    let get = |posting_id: &str| GetInclusionProofRequest {
        posting_id: posting_id.to_owned(),
    };
    let proven = proofs
        .get_inclusion_proof(grpc::with(get(&posting), &ada.token))
        .await;
    let proven = proven.expect("proven").into_inner().proof.expect("a proof");
    assert_eq!(proven.posting.expect("a posting").posting_id, posting);
    let bob = edge.person().await;
    let status = proofs
        .get_inclusion_proof(grpc::with(get(&posting), &bob.token))
        .await
        .expect_err("another's");
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::NotFound, "POSTING_NOT_FOUND")
    );
}

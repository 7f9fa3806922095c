//! The ledger's proof: what is posted comes into blocks and under signatures,
//! exports and single proofs verify, and what was altered is named.

mod altered;
mod chain;
mod inclusion;
mod lists;

use std::io::Cursor;
use std::time::Duration;

use bursar_aip::id::UserId;
use bursar_contracts::wallet::v1::proof_service_client::ProofServiceClient;
use bursar_contracts::wallet::v1::{
    ExportLedgerRequest, GetCheckpointRequest, GetCheckpointResponse, Wallet,
};
use bursar_proof::verify::{Options, Summary, VerifyError, verify};
use bursar_proof::{Signer, VerifyingKey};
use bursar_testkit::with_token;
use bursar_wallet::jobs::sealer::Sealer;
use sqlx::{PgPool, Postgres, Transaction};
use tonic::Status;
use tonic::transport::Channel;

use crate::support::{Fixture, applied, eventually, transfer};

/// Signs about as soon as something is sealed.
const QUICK: [(&str, &str); 1] = [("BURSAR_LEDGER_CHECKPOINT_SECONDS", "1")];

/// An operator who looks at the proof.
struct Operator<'a> {
    fixture: &'a Fixture,
    token: String,
}

impl<'a> Operator<'a> {
    fn of(fixture: &'a Fixture) -> Self {
        let token = fixture.tokens.admin(UserId::generate());
        Self { fixture, token }
    }

    fn client(&self) -> ProofServiceClient<Channel> {
        ProofServiceClient::new(self.fixture.service.channel())
    }

    async fn checkpoint(&self, height: i64) -> Result<GetCheckpointResponse, Status> {
        let request = with_token(GetCheckpointRequest { height }, &self.token);
        let response = self.client().get_checkpoint(request).await?;
        Ok(response.into_inner())
    }

    /// The public key by which to verify.
    async fn options(&self) -> Options {
        let latest = self.checkpoint(0).await.expect("a checkpoint");
        let key: VerifyingKey = latest.public_key.parse().expect("a key");
        Options {
            keys: [key].into_iter().collect(),
            ..Options::default()
        }
    }

    /// An export by RPC.
    async fn export(&self, from_height: i64, to_height: i64) -> Result<Vec<u8>, Status> {
        let request = ExportLedgerRequest {
            from_height,
            to_height,
        };
        let request = with_token(request, &self.token);
        let mut parts = self.client().export_ledger(request).await?.into_inner();
        let mut export = Vec::new();
        while let Some(part) = parts.message().await? {
            let file = part.file.expect("a part of the file");
            assert_eq!(file.content_type, "application/jsonl");
            assert!(file.data.ends_with(b"\n"), "parts are of whole lines");
            export.extend(file.data);
        }
        Ok(export)
    }
}

fn check(export: &[u8], options: &Options) -> Result<Summary, VerifyError> {
    verify(Cursor::new(export), options)
}

/// A wallet of a user with money, and another of the same user.
async fn pair_of(fixture: &Fixture, user: UserId) -> [Wallet; 2] {
    let wallets = [
        fixture.open(user, "EUR").await,
        fixture.open(user, "EUR").await,
    ];
    let deposit = crate::support::deposit(&wallets[0], 1_000);
    applied(&fixture.ledger().post_one(deposit).await);
    wallets
}

/// Posts transfers back and forth, one after the other.
async fn traffic(fixture: &Fixture, wallets: &[Wallet; 2], count: i64) {
    let [one, other] = wallets;
    for number in 1..=count {
        let there = transfer(one, other, number);
        applied(&fixture.ledger().post_one(there).await);
        let back = transfer(other, one, number);
        applied(&fixture.ledger().post_one(back).await);
    }
}

async fn count(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query)
        .fetch_one(pool)
        .await
        .expect("it is counted")
}

/// Waits until everything that was posted is sealed and signed.
async fn signed(pool: &PgPool) {
    eventually("everything is signed", async || {
        count(
            pool,
            "SELECT (SELECT count(*) FROM ledger_unsealed)
                 + (SELECT count(*) FROM postings)
                 - coalesce((SELECT max(postings_total) FROM ledger_checkpoints), 0)::bigint",
        )
        .await
            == 0
    })
    .await;
}

/// Keeps every sealer from its turn until it is dropped.
async fn blocked(pool: &PgPool) -> Transaction<'static, Postgres> {
    let mut transaction = pool.begin().await.expect("a transaction");
    sqlx::query("UPDATE ledger_sealer SET has_older = has_older")
        .execute(&mut *transaction)
        .await
        .expect("the row is locked");
    transaction
}

/// A sealer that a test drives itself.
fn sealer(pool: &PgPool) -> Sealer {
    let key = Signer::from_seed(&[3; 32]);
    Sealer::new(pool.clone(), key, Duration::ZERO)
}

/// Lets everybody take the turn, as if the lease of who had it were over.
async fn lapse(pool: &PgPool) {
    sqlx::query("UPDATE ledger_sealer SET expires_at = '-infinity'")
        .execute(pool)
        .await
        .expect("the lease is over");
}

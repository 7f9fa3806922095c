//! Temporary measurement.
#![allow(missing_docs)]
use std::num::NonZeroI64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bursar_aip::id::{TenantId, TransactionId, UserId, WalletId};
use bursar_contracts::wallet::v1 as proto;
use bursar_contracts::wallet::v1::ledger_service_client::LedgerServiceClient;
use bursar_money::Currency;
use bursar_testkit::{TestDatabase, TestService, Tokens, with_token};
use bursar_wallet::domain::batch::Mode;
use bursar_wallet::domain::posting::{Account, Leg, Posting, PostingId, PostingKind};
use bursar_wallet::domain::wallet::Bucket;
use bursar_wallet::jobs::queue::{Order, queue};
use uuid::Uuid;

fn arg(n: usize, default: &str) -> String {
    std::env::args()
        .nth(n)
        .unwrap_or_else(|| default.to_owned())
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let mode = arg(1, "rpc");
    let callers: usize = arg(2, "256").parse().unwrap();
    let seconds: u64 = arg(3, "10").parse().unwrap();
    let wallets: usize = arg(4, "10000").parse().unwrap();
    let per_call: usize = arg(5, "1").parse().unwrap();
    let database = TestDatabase::create(&bursar_wallet::migrations()).await;
    sqlx::query("INSERT INTO wallets (id, tenant_id, owner_user_id, currency, status, available, held, bonus, min_available, version, event_version, created_at) SELECT gen_random_uuid(), 'default', gen_random_uuid(), 'EUR', 'active', 1000000000, 0,0,0,0,1,now() FROM generate_series(1,$1)")
        .bind(wallets as i64).execute(&database.owner).await.unwrap();
    sqlx::query("VACUUM ANALYZE")
        .execute(&database.owner)
        .await
        .ok();
    let ids: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM wallets")
        .fetch_all(&database.pool)
        .await
        .unwrap();
    let ids = Arc::new(ids);
    let done = Arc::new(AtomicU64::new(0));
    let latencies = Arc::new(Mutex::new(Vec::new()));
    let tokens = Tokens::start().await;
    let service = TestService::start(bursar_wallet::definition(), &database, &tokens, &[]).await;
    let (ledger, inbox) = queue(100_000);
    let pool = database.pool.clone();
    tokio::spawn(async move { bursar_wallet::jobs::writer::run(inbox, pool).await });
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut tasks = Vec::new();
    let channels: Vec<_> = (0..4).map(|_| service.channel()).collect();
    let started = Instant::now();
    for caller in 0..callers {
        let (ids, done, latencies, ledger) =
            (ids.clone(), done.clone(), latencies.clone(), ledger.clone());
        let channel = channels[caller % 4].clone();
        let token = tokens.service("transaction");
        let mode = mode.clone();
        tasks.push(tokio::spawn(async move {
            let mut seed: u64 =
                0x9E37_79B9_7F4A_7C15 ^ (caller as u64 + 1).wrapping_mul(0xD1B5_4A32_D192_ED03);
            let mut next = || {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                seed as usize
            };
            let mut client = LedgerServiceClient::new(channel);
            let mut own = Vec::new();
            while Instant::now() < end {
                let begin = Instant::now();
                if mode == "rpc" {
                    let postings = (0..per_call)
                        .map(|_| {
                            let a = next() % ids.len();
                            let mut b = next() % ids.len();
                            if a == b {
                                b = (a + 1) % ids.len()
                            }
                            let leg = |id: Uuid, amount| proto::Leg {
                                wallet_id: WalletId::from_uuid(id).to_string(),
                                system: None,
                                bucket: 1,
                                amount_minor: amount,
                                currency_code: "EUR".into(),
                                required_owner_user_id: String::new(),
                            };
                            proto::Posting {
                                posting_id: Uuid::now_v7().to_string(),
                                kind: 1,
                                transaction_id: TransactionId::generate().to_string(),
                                legs: vec![leg(ids[a], -1), leg(ids[b], 1)],
                                effective_at: None,
                                hold: None,
                            }
                        })
                        .collect();
                    let response = client
                        .post_batch(with_token(
                            proto::PostBatchRequest { postings, mode: 1 },
                            &token,
                        ))
                        .await
                        .unwrap();
                    for r in response.into_inner().results {
                        assert!(matches!(
                            r.outcome,
                            Some(proto::posting_result::Outcome::Applied(_))
                        ));
                    }
                } else {
                    let postings = (0..per_call)
                        .map(|_| {
                            let a = next() % ids.len();
                            let mut b = next() % ids.len();
                            if a == b {
                                b = (a + 1) % ids.len()
                            }
                            let leg = |id, amount| Leg {
                                account: Account::User(WalletId::from_uuid(id)),
                                bucket: Bucket::Available,
                                amount: NonZeroI64::new(amount).unwrap(),
                                currency: Currency::parse("EUR").unwrap(),
                                required_owner: None,
                            };
                            Posting {
                                id: PostingId::from_uuid(Uuid::now_v7()),
                                tenant: TenantId::default(),
                                transaction: TransactionId::generate(),
                                kind: PostingKind::Transfer,
                                legs: vec![leg(ids[a], -1), leg(ids[b], 1)],
                                effective_at: None,
                                hold: None,
                                fingerprint: [1; 32],
                            }
                        })
                        .collect();
                    ledger
                        .post(Order {
                            postings,
                            mode: Mode::Independent,
                            actor: "service:transaction".into(),
                            deadline: Instant::now() + Duration::from_secs(5),
                        })
                        .await
                        .unwrap();
                }
                own.push(begin.elapsed());
                done.fetch_add(per_call as u64, Ordering::Relaxed);
            }
            latencies.lock().unwrap().extend(own);
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let elapsed = started.elapsed().as_secs_f64();
    let mut all = latencies.lock().unwrap().clone();
    all.sort();
    let n = done.load(Ordering::Relaxed);
    let batches: i64 = sqlx::query_scalar("SELECT count(DISTINCT recorded_at) FROM postings")
        .fetch_one(&database.pool)
        .await
        .unwrap();
    println!(
        "{mode}: {:.0}/s, p50 {:?} p99 {:?}, {} per batch",
        n as f64 / elapsed,
        all[all.len() / 2],
        all[all.len() * 99 / 100],
        n as i64 / batches.max(1)
    );
    let _ = UserId::generate();
    service.stop().await;
}

//! The store and the two writers alone: batches of 100 postings, no gRPC.
//!
//! Two feeders, each with one order of 100 in the queue and the next one made,
//! so that both writers always find a batch of that size.

use std::num::NonZeroI64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use bursar_aip::id::{TenantId, TransactionId, WalletId};
use bursar_money::Currency;
use bursar_wallet::domain::batch::{Mode, Outcome};
use bursar_wallet::domain::book::SpendOrder;
use bursar_wallet::domain::posting::{Account, Leg, Posting, PostingId, PostingKind};
use bursar_wallet::domain::wallet::Bucket;
use bursar_wallet::jobs::queue::{self, queue};
use bursar_wallet::jobs::writer;
use serde_json::Value;
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::dice::Dice;
use crate::measured::{Measured, Window, collect};
use crate::order::{LedgerSql, span};
use crate::wallets::pair;

const FEEDERS: usize = 2;
const BATCH_POSTINGS: usize = 100;
const QUEUE_POSTINGS: u32 = 10_000;
const DEADLINE: Duration = Duration::from_secs(5);
/// One posting in so many asks for more than any wallet has.
const REFUSED_ONE_IN: usize = 100;
const TOO_MUCH_MINOR: NonZeroI64 = NonZeroI64::new(1_000_000_000_000_000).expect("not zero");
const LITTLE_MINOR: NonZeroI64 = NonZeroI64::new(1).expect("not zero");

pub(crate) async fn measure(order: &LedgerSql, wallets: &Arc<[Uuid]>) -> anyhow::Result<Value> {
    let pool = PgPoolOptions::new()
        .max_connections(4)
        .connect(&order.application_url)
        .await?;
    let (ledger, inbox) = queue(QUEUE_POSTINGS);
    let writers = tokio::spawn(writer::run(inbox, pool.clone(), SpendOrder::default()));
    let window = Window::starting_now(span(order.seconds));
    let mut feeders = JoinSet::new();
    for number in 0..FEEDERS {
        let ledger = ledger.clone();
        let wallets = Arc::clone(wallets);
        let mut dice = Dice::new(number);
        feeders.spawn(async move {
            let mut measured = Measured::new()?;
            let mut next = batch(&mut dice, &wallets)?;
            while window.is_open() {
                let begun = Instant::now();
                let posting = ledger.post(queue::Order {
                    postings: next,
                    mode: Mode::Independent,
                    actor: "service:transaction".to_owned(),
                    deadline: begun + DEADLINE,
                });
                let (outcomes, made) = tokio::join!(posting, async { batch(&mut dice, &wallets) });
                next = made?;
                let (mut applied, mut refused) = (0, 0);
                for outcome in outcomes? {
                    match outcome {
                        Outcome::Applied(_) => applied += 1,
                        Outcome::Rejected(_) => refused += 1,
                        Outcome::Replayed(_) => bail!("a new posting was taken for a known one"),
                    }
                }
                measured.note(window, begun, applied, refused);
            }
            Ok(measured)
        });
    }
    let measured = collect(window, feeders).await;
    drop(ledger);
    writers.await??;
    pool.close().await;
    measured
}

fn batch(dice: &mut Dice, wallets: &[Uuid]) -> anyhow::Result<Vec<Posting>> {
    let currency = Currency::parse("EUR")?;
    let postings = (0..BATCH_POSTINGS).map(|_| {
        let (from, to) = pair(dice, wallets);
        let amount = match dice.below(REFUSED_ONE_IN) {
            0 => TOO_MUCH_MINOR,
            _ => LITTLE_MINOR,
        };
        let leg = |wallet, amount| Leg {
            account: Account::User(WalletId::from_uuid(wallet)),
            bucket: Bucket::Available.into(),
            amount,
            currency,
            required_owner: None,
        };
        Posting {
            id: PostingId::from_uuid(Uuid::now_v7()),
            tenant: TenantId::default(),
            transaction: Some(TransactionId::generate()),
            kind: PostingKind::Transfer,
            legs: vec![leg(from, -amount), leg(to, amount)],
            effective_at: None,
            hold: None,
            bonus: None,
            fingerprint: [1; 32],
        }
    });
    Ok(postings.collect())
}

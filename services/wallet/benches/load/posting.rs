//! `PostBatch`, one posting a call, as a service account.

use std::sync::Arc;
use std::time::Instant;

use anyhow::bail;
use bursar_aip::id::{TransactionId, WalletId};
use bursar_contracts::wallet::v1::ledger_service_client::LedgerServiceClient;
use bursar_contracts::wallet::v1::posting_result::Outcome;
use bursar_contracts::wallet::v1::{
    BatchMode, Bucket, Leg, PostBatchRequest, Posting, PostingKind,
};
use bursar_testkit::{Tokens, with_token};
use serde_json::Value;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::channels;
use crate::dice::Dice;
use crate::measured::{Measured, Window, collect};
use crate::order::{Post, Shape, span};
use crate::wallets::pair;

/// One posting in so many asks for more than any wallet has.
const REFUSED_ONE_IN: usize = 100;
const TOO_MUCH_MINOR: i64 = 1_000_000_000_000_000;
/// How many pairs the opposed load has.
const PAIRS: usize = 8;

pub(crate) async fn measure(
    order: &Post,
    wallets: &Arc<[Uuid]>,
    tokens: &Tokens,
) -> anyhow::Result<Value> {
    let channels = channels::open(&order.address).await?;
    let token = tokens.service("transaction");
    let window = Window::starting_now(span(order.seconds));
    let mut callers = JoinSet::new();
    for number in 0..order.callers {
        let mut chooser = Chooser {
            shape: order.shape,
            caller: number,
            dice: Dice::new(number),
            wallets: Arc::clone(wallets),
        };
        let mut client = LedgerServiceClient::new(channels::of(&channels, number));
        let token = token.clone();
        callers.spawn(async move {
            let mut measured = Measured::new()?;
            while window.is_open() {
                let request = with_token(chooser.request(), &token);
                let begun = Instant::now();
                let response = client.post_batch(request).await?.into_inner();
                match response.results.first().and_then(|r| r.outcome.as_ref()) {
                    Some(Outcome::Applied(_)) => measured.note(window, begun, 1, 0),
                    Some(Outcome::Rejected(_)) => measured.note(window, begun, 0, 1),
                    other => bail!("a posting ended as {other:?}"),
                }
            }
            Ok(measured)
        });
    }
    collect(window, callers).await
}

/// Chooses what a caller posts.
struct Chooser {
    shape: Shape,
    caller: usize,
    dice: Dice,
    wallets: Arc<[Uuid]>,
}

impl Chooser {
    fn request(&mut self) -> PostBatchRequest {
        let (from, to) = self.pair();
        let amount_minor = match self.dice.below(REFUSED_ONE_IN) {
            0 => TOO_MUCH_MINOR,
            _ => 1,
        };
        PostBatchRequest {
            postings: vec![Posting {
                posting_id: Uuid::now_v7().to_string(),
                kind: PostingKind::Transfer.into(),
                transaction_id: TransactionId::generate().to_string(),
                legs: vec![leg(from, -amount_minor), leg(to, amount_minor)],
                ..Posting::default()
            }],
            mode: BatchMode::Independent.into(),
            origins: Vec::new(),
        }
    }

    fn pair(&mut self) -> (Uuid, Uuid) {
        match self.shape {
            Shape::Uniform => pair(&mut self.dice, &self.wallets),
            Shape::Hot => {
                let hot = self.wallets[0];
                let other = self.wallets[1 + self.dice.below(self.wallets.len() - 1)];
                if self.caller.is_multiple_of(2) {
                    (hot, other)
                } else {
                    (other, hot)
                }
            }
            Shape::Opposed => {
                let pair = 2 * ((self.caller / 2) % PAIRS);
                let (one, other) = (self.wallets[pair], self.wallets[pair + 1]);
                if self.caller.is_multiple_of(2) {
                    (one, other)
                } else {
                    (other, one)
                }
            }
        }
    }
}

fn leg(wallet: Uuid, amount_minor: i64) -> Leg {
    Leg {
        wallet_id: WalletId::from_uuid(wallet).to_string(),
        bucket: Bucket::Available.into(),
        amount_minor,
        currency_code: "EUR".to_owned(),
        ..Leg::default()
    }
}

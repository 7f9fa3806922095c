//! Random histories with holds, batches, and postings that count from other
//! times than that of their recording.

use bursar_aip::id::{HoldId, UserId};
use bursar_contracts::wallet::v1::posting_result::Outcome;
use bursar_contracts::wallet::v1::{BatchMode, Posting, Wallet};
use proptest::prelude::*;
use time::{Duration, OffsetDateTime};

use crate::bookkeeper::timestamp;
use crate::support::{Fixture, capture, deposit, place, transfer, void};

/// From when a posting counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum When {
    /// From its recording.
    Now,
    /// From another time, in seconds from now.
    Shifted(i64),
    /// From one of a few instants that several postings share.
    Shared(i64),
}

/// One posting.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deed {
    Deposit(i64),
    Spend(i64),
    Place(i64),
    Capture,
    Void,
}

/// Batches of postings.
pub(crate) type Story = Vec<Vec<(Deed, When)>>;

pub(crate) fn story() -> impl Strategy<Value = Story> {
    let when = prop_oneof![
        5 => Just(When::Now),
        2 => (-400_000_i64..200_000).prop_map(When::Shifted),
        1 => (-2_i64..2).prop_map(When::Shared),
    ];
    let amount = 1_i64..60;
    let deed = prop_oneof![
        4 => amount.clone().prop_map(Deed::Deposit),
        2 => amount.clone().prop_map(Deed::Spend),
        2 => amount.prop_map(Deed::Place),
        1 => Just(Deed::Capture),
        1 => Just(Deed::Void),
    ];
    prop::collection::vec(prop::collection::vec((deed, when), 1..9), 1..7)
}

/// A wallet whose story is told to the ledger bit by bit.
pub(crate) struct Teller<'a> {
    fixture: &'a Fixture,
    pub(crate) wallet: Wallet,
    payee: Wallet,
    holds: Vec<(HoldId, i64)>,
    /// What shared instants are counted from.
    noon: OffsetDateTime,
}

impl<'a> Teller<'a> {
    pub(crate) async fn start(fixture: &'a Fixture) -> Self {
        Self {
            fixture,
            wallet: fixture.open(UserId::generate(), "EUR").await,
            payee: fixture.open(UserId::generate(), "EUR").await,
            holds: Vec::new(),
            noon: bursar_server::now(),
        }
    }

    /// Posts one batch; what the ledger refuses did not happen.
    pub(crate) async fn tell(&mut self, batch: &[(Deed, When)]) {
        let mut placed = Vec::new();
        let mut postings = Vec::new();
        for (deed, when) in batch {
            let posting = match deed {
                Deed::Deposit(amount) => deposit(&self.wallet, *amount),
                Deed::Spend(amount) => transfer(&self.wallet, &self.payee, *amount),
                Deed::Place(amount) => {
                    let hold = HoldId::generate();
                    placed.push((postings.len(), hold, *amount));
                    place(hold, &self.wallet, *amount)
                }
                Deed::Capture => match self.holds.pop() {
                    Some((hold, amount)) => capture(hold, &self.wallet, amount),
                    None => continue,
                },
                Deed::Void => match self.holds.pop() {
                    Some((hold, amount)) => void(hold, &self.wallet, amount),
                    None => continue,
                },
            };
            postings.push(Posting {
                effective_at: self.effective(*when).map(timestamp),
                ..posting
            });
        }
        if postings.is_empty() {
            return;
        }
        let mut ledger = self.fixture.ledger();
        let results = ledger.post(postings, BatchMode::Independent).await;
        for (index, hold, amount) in placed {
            if matches!(results[index].outcome, Some(Outcome::Applied(_))) {
                self.holds.push((hold, amount));
            }
        }
    }

    fn effective(&self, when: When) -> Option<OffsetDateTime> {
        match when {
            When::Now => None,
            When::Shifted(seconds) => Some(bursar_server::now() + Duration::seconds(seconds)),
            When::Shared(days) => Some(self.noon + Duration::days(days)),
        }
    }
}

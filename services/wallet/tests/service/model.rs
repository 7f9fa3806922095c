//! Random histories against a real service, next to a model that knows nothing
//! of its code: every answer and every balance must agree, and afterwards every
//! invariant must hold.

use std::collections::HashMap;

use bursar_aip::id::{HoldId, UserId};
use bursar_contracts::wallet::v1::posting_result::Outcome;
use bursar_contracts::wallet::v1::{
    BatchMode, Posting, PostingResult, RejectionReason as Reason, Wallet,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::support::{Fixture, capture, deposit, place, rejected, transfer, void};

const WALLETS: usize = 4;
const HOLDS: usize = 3;
/// How many histories are tried; each is up to twelve calls on one database.
const CASES: u32 = 24;

/// One thing that somebody asks for.
#[derive(Debug, Clone)]
enum Ask {
    Deposit {
        to: usize,
        amount: i64,
    },
    Transfer {
        from: usize,
        to: usize,
        amount: i64,
    },
    Place {
        wallet: usize,
        hold: usize,
        amount: i64,
    },
    Capture {
        hold: usize,
        off_by: i64,
    },
    Void {
        hold: usize,
        off_by: i64,
    },
    Again {
        back: usize,
    },
}

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    Call { mode: BatchMode, asks: Vec<Ask> },
    Freeze { wallet: usize, frozen: bool },
}

fn ask() -> impl Strategy<Value = Ask> {
    let (wallet, hold, amount) = (0..WALLETS, 0..HOLDS, 1_i64..60);
    let off_by = prop_oneof![3 => Just(0_i64), 1 => Just(1), 1 => Just(-1)];
    prop_oneof![
        3 => (wallet.clone(), amount.clone())
            .prop_map(|(to, amount)| Ask::Deposit { to, amount }),
        4 => (wallet.clone(), wallet.clone(), amount.clone())
            .prop_map(|(from, to, amount)| Ask::Transfer { from, to, amount }),
        3 => (wallet, hold.clone(), amount)
            .prop_map(|(wallet, hold, amount)| Ask::Place { wallet, hold, amount }),
        2 => (hold.clone(), off_by.clone()).prop_map(|(hold, off_by)| Ask::Capture { hold, off_by }),
        2 => (hold, off_by).prop_map(|(hold, off_by)| Ask::Void { hold, off_by }),
        2 => (0_usize..8).prop_map(|back| Ask::Again { back }),
    ]
}

fn history() -> impl Strategy<Value = Vec<Step>> {
    let mode = prop_oneof![Just(BatchMode::Independent), Just(BatchMode::Atomic)];
    let call = (mode, prop::collection::vec(ask(), 1..7))
        .prop_map(|(mode, asks)| Step::Call { mode, asks });
    let freeze =
        (0..WALLETS, any::<bool>()).prop_map(|(wallet, frozen)| Step::Freeze { wallet, frozen });
    prop::collection::vec(prop_oneof![6 => call, 1 => freeze], 1..12)
}

#[derive(Debug, Clone)]
struct ModelHold {
    wallet: usize,
    remaining: i64,
    is_active: bool,
}

/// What the ledger should know.
#[derive(Debug, Clone, Default)]
struct Model {
    available: [i64; WALLETS],
    held: [i64; WALLETS],
    frozen: [bool; WALLETS],
    holds: HashMap<usize, ModelHold>,
    /// The postings that were applied, by id.
    applied: HashMap<String, PostingResult>,
}

/// A posting with what it asks for.
#[derive(Clone)]
struct Asked {
    posting: Posting,
    ask: Ask,
    /// The wallet and amount that an ending names.
    ending: Option<(usize, i64)>,
}

impl Model {
    fn take(&mut self, wallet: usize, amount: i64) -> Result<(), Reason> {
        if self.frozen[wallet] {
            return Err(Reason::WalletFrozen);
        }
        if self.available[wallet] < amount {
            return Err(Reason::InsufficientFunds);
        }
        self.available[wallet] -= amount;
        Ok(())
    }

    /// Takes what is named out of a hold: a part, where that is allowed, or all.
    fn take_held(
        &mut self,
        hold: usize,
        named: (usize, i64),
        may_be_part: bool,
    ) -> Result<(), Reason> {
        let known = self.holds.get_mut(&hold).ok_or(Reason::HoldNotFound)?;
        if named.0 != known.wallet {
            return Err(Reason::HoldNotFound);
        }
        if !known.is_active {
            return Err(Reason::HoldNotActive);
        }
        let is_part = may_be_part && named.1 < known.remaining;
        if named.1 != known.remaining && !is_part {
            return Err(Reason::HoldMismatch);
        }
        known.remaining -= named.1;
        known.is_active = is_part;
        self.held[known.wallet] -= named.1;
        Ok(())
    }

    fn apply(&mut self, asked: &Asked) -> Result<(), Reason> {
        match (&asked.ask, asked.ending) {
            (Ask::Deposit { to, amount }, _) => self.available[*to] += amount,
            (Ask::Transfer { from, to, amount }, _) => {
                self.take(*from, *amount)?;
                self.available[*to] += amount;
            }
            (
                Ask::Place {
                    wallet,
                    hold,
                    amount,
                },
                _,
            ) => {
                if !self.frozen[*wallet] && self.holds.contains_key(hold) {
                    return Err(Reason::HoldMismatch);
                }
                self.take(*wallet, *amount)?;
                self.held[*wallet] += amount;
                let placed = ModelHold {
                    wallet: *wallet,
                    remaining: *amount,
                    is_active: true,
                };
                self.holds.insert(*hold, placed);
            }
            (Ask::Capture { hold, .. }, Some(named)) => {
                self.take_held(*hold, named, true)?;
            }
            (Ask::Void { hold, .. }, Some(named)) => {
                self.take_held(*hold, named, false)?;
                self.available[named.0] += named.1;
            }
            (Ask::Capture { .. } | Ask::Void { .. } | Ask::Again { .. }, _) => {
                unreachable!("endings name their wallet, repetitions are what they repeat")
            }
        }
        Ok(())
    }
}

/// A running history: the service's side and the model's.
struct Run<'a> {
    fixture: &'a Fixture,
    wallets: Vec<Wallet>,
    holds: Vec<HoldId>,
    model: Model,
    asked: Vec<Asked>,
}

impl<'a> Run<'a> {
    async fn start(fixture: &'a Fixture) -> Self {
        let mut wallets = Vec::new();
        for _ in 0..WALLETS {
            wallets.push(fixture.open(UserId::generate(), "EUR").await);
        }
        Self {
            fixture,
            wallets,
            holds: (0..HOLDS).map(|_| HoldId::generate()).collect(),
            model: Model::default(),
            asked: Vec::new(),
        }
    }

    fn posting(&mut self, ask: &Ask) -> Asked {
        let wallets = &self.wallets;
        let ending = |hold: &usize, off_by: &i64| {
            let known = self.model.holds.get(hold);
            known.map_or((0, 10), |known| {
                (known.wallet, (known.remaining + off_by).max(1))
            })
        };
        let (posting, ending) = match ask {
            Ask::Again { back } => {
                let index = self.asked.len().checked_sub(back + 1);
                match index.map(|index| self.asked[index].clone()) {
                    Some(asked) => return asked,
                    None => return self.posting(&Ask::Deposit { to: 0, amount: 1 }),
                }
            }
            Ask::Deposit { to, amount } => (deposit(&wallets[*to], *amount), None),
            Ask::Transfer { from, to, amount } => {
                (transfer(&wallets[*from], &wallets[*to], *amount), None)
            }
            Ask::Place {
                wallet,
                hold,
                amount,
            } => (place(self.holds[*hold], &wallets[*wallet], *amount), None),
            Ask::Capture { hold, off_by } => {
                let (wallet, amount) = ending(hold, off_by);
                (
                    capture(self.holds[*hold], &wallets[wallet], amount),
                    Some((wallet, amount)),
                )
            }
            Ask::Void { hold, off_by } => {
                let (wallet, amount) = ending(hold, off_by);
                (
                    void(self.holds[*hold], &wallets[wallet], amount),
                    Some((wallet, amount)),
                )
            }
        };
        let asked = Asked {
            posting,
            ask: ask.clone(),
            ending,
        };
        self.asked.push(asked.clone());
        asked
    }

    async fn call(&mut self, mode: BatchMode, asks: &[Ask]) -> Result<(), TestCaseError> {
        let asked: Vec<Asked> = asks.iter().map(|ask| self.posting(ask)).collect();
        let before = self.model.clone();
        let mut expected = Vec::new();
        let mut new = Vec::new();
        for asked in &asked {
            let id = &asked.posting.posting_id;
            let is_known = self.model.applied.contains_key(id) || new.contains(id);
            let outcome = if is_known {
                Ok(())
            } else {
                self.model.apply(asked)
            };
            if outcome.is_ok() && !is_known {
                new.push(id.clone());
            }
            expected.push(outcome);
        }
        let refusal = expected.iter().position(Result::is_err);
        if let (BatchMode::Atomic, Some(culprit)) = (mode, refusal) {
            self.model = before;
            for (index, outcome) in expected.iter_mut().enumerate() {
                let is_known = self
                    .model
                    .applied
                    .contains_key(&asked[index].posting.posting_id);
                if index != culprit && !is_known {
                    *outcome = Err(Reason::BatchRejected);
                }
            }
        }
        let postings = asked.iter().map(|asked| asked.posting.clone()).collect();
        let results = self.fixture.ledger().post(postings, mode).await;
        for (result, outcome) in results.iter().zip(&expected) {
            self.compare(result, outcome)?;
        }
        Ok(())
    }

    fn compare(
        &mut self,
        result: &PostingResult,
        expected: &Result<(), Reason>,
    ) -> Result<(), TestCaseError> {
        match (&result.outcome, expected) {
            (Some(Outcome::Applied(_)), Ok(())) => {
                let known = self.model.applied.get(&result.posting_id);
                prop_assert_eq!(result.replayed, known.is_some());
                if let Some(known) = known {
                    prop_assert_eq!(&result.outcome, &known.outcome);
                }
                self.model
                    .applied
                    .insert(result.posting_id.clone(), result.clone());
            }
            (Some(Outcome::Rejected(_)), Err(reason)) => {
                prop_assert_eq!(rejected(result).0, *reason);
            }
            (outcome, expected) => {
                prop_assert!(false, "answered {outcome:?}, expected {expected:?}");
            }
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Call { mode, asks } => self.call(*mode, asks).await?,
            Step::Freeze { wallet, frozen } => {
                let status = if *frozen { "frozen" } else { "active" };
                self.fixture
                    .set_status(&self.wallets[*wallet], status)
                    .await;
                self.model.frozen[*wallet] = *frozen;
            }
        }
        let wallets = self.fixture.current_all(&self.wallets).await;
        for (index, wallet) in wallets.iter().enumerate() {
            let balance = wallet.balance.unwrap_or_default();
            prop_assert_eq!(balance.available_minor, self.model.available[index]);
            prop_assert_eq!(balance.held_minor, self.model.held[index]);
        }
        Ok(())
    }
}

/// Every history gives what the model gives, and leaves the books in order.
#[test]
fn histories_agree_with_the_model() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let fixture = runtime.block_on(Fixture::start());
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&history(), |steps| {
        runtime.block_on(async {
            let mut run = Run::start(&fixture).await;
            for step in &steps {
                run.step(step).await?;
            }
            Ok(())
        })
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    runtime.block_on(fixture.verify());
}

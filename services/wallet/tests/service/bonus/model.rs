//! Random histories of one campaign next to a model that knows nothing of the
//! service's code: every answer, every balance and every sum must agree, and
//! afterwards every invariant must hold.
//!
//! The service's own job may take back a grant whose time is over at any moment.
//! So the history takes such a grant back itself, through a writer and jobs of
//! its own, which is what another replica would do, before it goes on.

use bursar_aip::id::UserId;
use bursar_contracts::wallet::v1::{
    BonusGrant, BonusGrantStatus as Status, Campaign, CreateCampaignRequest, RejectionReason,
    Wallet,
};
use bursar_wallet::domain::book::SpendOrder;
use bursar_wallet::jobs::bonus::expiry::Expiry;
use bursar_wallet::jobs::bonus::refund::Refund;
use bursar_wallet::jobs::queue::{Ledger, queue};
use bursar_wallet::jobs::writer;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::office::{Office, at_once, plain};
use super::spending::spend;
use crate::support::{Fixture, applied, deposit, reason, rejected};

/// How many histories are tried, on one database.
const CASES: u32 = 16;
const BUDGET: i64 = 200;
const CAP: i64 = 120;
/// Two wallets of one user and one of another; the fourth is a shop's.
const WALLETS: usize = 3;
const SHOP: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Deposit { wallet: usize, amount: i64 },
    Grant { wallet: usize, amount: i64 },
    Spend { wallet: usize, amount: i64 },
    Convert { grant: usize },
    Expire { grant: usize },
    Fund { amount: i64 },
    End,
}

fn step() -> impl Strategy<Value = Step> {
    let (wallet, grant) = (0..WALLETS, 0_usize..8);
    prop_oneof![
        2 => (wallet.clone(), 1_i64..40)
            .prop_map(|(wallet, amount)| Step::Deposit { wallet, amount }),
        6 => (wallet.clone(), 1_i64..70)
            .prop_map(|(wallet, amount)| Step::Grant { wallet, amount }),
        6 => (wallet, 1_i64..50).prop_map(|(wallet, amount)| Step::Spend { wallet, amount }),
        2 => grant.clone().prop_map(|grant| Step::Convert { grant }),
        3 => grant.prop_map(|grant| Step::Expire { grant }),
        1 => (1_i64..60).prop_map(|amount| Step::Fund { amount }),
        1 => Just(Step::End),
    ]
}

#[derive(Debug, Clone)]
struct ModelGrant {
    wallet: usize,
    amount: i64,
    remaining: i64,
    returned: i64,
    status: Status,
}

/// What the service should know.
#[derive(Debug, Clone)]
struct Model {
    available: [i64; WALLETS + 1],
    budget: i64,
    funded: i64,
    ended: bool,
    grants: Vec<ModelGrant>,
}

impl Model {
    fn new() -> Self {
        Self {
            available: [0; WALLETS + 1],
            budget: BUDGET,
            funded: BUDGET,
            ended: false,
            grants: Vec::new(),
        }
    }

    fn user(wallet: usize) -> usize {
        wallet / 2
    }

    fn grant(&mut self, wallet: usize, amount: i64) -> Result<(), &'static str> {
        let own = self
            .grants
            .iter()
            .filter(|grant| Self::user(grant.wallet) == Self::user(wallet));
        let granted: i64 = own.map(|grant| grant.amount).sum();
        if self.ended {
            return Err("BONUS_CAMPAIGN_NOT_ACTIVE");
        }
        if granted + amount > CAP {
            return Err("BONUS_CAP_EXCEEDED");
        }
        if self.budget < amount {
            return Err("BONUS_BUDGET_EXHAUSTED");
        }
        self.budget -= amount;
        self.grants.push(ModelGrant {
            wallet,
            amount,
            remaining: amount,
            returned: 0,
            status: Status::Active,
        });
        Ok(())
    }

    fn bonus(&self, wallet: usize) -> i64 {
        let own = self.grants.iter().filter(|grant| grant.wallet == wallet);
        own.map(|grant| grant.remaining).sum()
    }

    /// Every grant lasts as long, so the oldest expires first.
    fn spend(&mut self, wallet: usize, amount: i64) -> bool {
        if self.bonus(wallet) + self.available[wallet] < amount {
            return false;
        }
        let mut left = amount;
        for grant in self
            .grants
            .iter_mut()
            .filter(|grant| grant.wallet == wallet)
        {
            let taken = left.min(grant.remaining);
            left -= taken;
            grant.remaining -= taken;
            if taken > 0 && grant.remaining == 0 {
                grant.status = Status::Spent;
            }
        }
        self.available[wallet] -= left;
        self.available[SHOP] += amount;
        true
    }

    fn end_grant(&mut self, grant: usize, status: Status) -> Option<i64> {
        let grant = self
            .grants
            .get_mut(grant)
            .filter(|grant| grant.status == Status::Active)?;
        let left = std::mem::take(&mut grant.remaining);
        grant.returned = left;
        grant.status = status;
        match status {
            Status::Converted => self.available[grant.wallet] += left,
            _ if self.ended => self.funded -= left,
            _ => self.budget += left,
        }
        Some(left)
    }

    fn returned(&self, status: Status) -> i64 {
        let ended = self.grants.iter().filter(|grant| grant.status == status);
        ended.map(|grant| grant.returned).sum()
    }
}

/// A running history: the service's side and the model's.
struct Run<'a> {
    office: &'a Office<'a>,
    ledger: &'a Ledger,
    campaign: Campaign,
    wallets: Vec<Wallet>,
    grants: Vec<BonusGrant>,
    model: Model,
}

impl<'a> Run<'a> {
    async fn start(office: &'a Office<'a>, ledger: &'a Ledger) -> Self {
        let request = CreateCampaignRequest {
            budget_minor: BUDGET,
            per_user_cap_minor: CAP,
            grant_ttl_seconds: 3_600,
            conversion: Some(at_once()),
            ..plain()
        };
        let users = [UserId::generate(), UserId::generate(), UserId::generate()];
        let mut wallets = Vec::new();
        for wallet in 0..=SHOP {
            let owner = users[if wallet == SHOP {
                2
            } else {
                Model::user(wallet)
            }];
            wallets.push(office.fixture.open(owner, "EUR").await);
        }
        Self {
            campaign: office.create(request).await,
            office,
            ledger,
            wallets,
            grants: Vec::new(),
            model: Model::new(),
        }
    }

    async fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let office = self.office;
        let mut poster = office.fixture.ledger();
        match step {
            Step::Deposit { wallet, amount } => {
                applied(
                    &poster
                        .post_one(deposit(&self.wallets[*wallet], *amount))
                        .await,
                );
                self.model.available[*wallet] += amount;
            }
            Step::Grant { wallet, amount } => {
                let answer = office
                    .grant(&self.wallets[*wallet], &self.campaign, *amount)
                    .await;
                match (answer, self.model.grant(*wallet, *amount)) {
                    (Ok(grant), Ok(())) => self.grants.push(grant),
                    (Err(refused), Err(why)) => prop_assert_eq!(reason(&refused), why),
                    (answer, expected) => {
                        prop_assert!(false, "answered {answer:?}, expected {expected:?}");
                    }
                }
            }
            Step::Spend { wallet, amount } => {
                let payment = spend(&self.wallets[*wallet], &self.wallets[SHOP], *amount);
                let result = poster.post_one(payment).await;
                if self.model.spend(*wallet, *amount) {
                    applied(&result);
                } else {
                    prop_assert_eq!(rejected(&result).0, RejectionReason::InsufficientFunds);
                }
            }
            Step::Convert { grant } => self.convert(*grant).await?,
            Step::Expire { grant } => self.expire(*grant).await?,
            Step::Fund { amount } => {
                let answer = office.fund(&self.campaign, *amount).await;
                prop_assert_eq!(answer.is_err(), self.model.ended);
                if !self.model.ended {
                    self.model.budget += amount;
                    self.model.funded += amount;
                }
            }
            Step::End => {
                let (_, returned) = office.end(&self.campaign).await;
                prop_assert_eq!(returned, self.model.budget);
                self.model.funded -= std::mem::take(&mut self.model.budget);
                self.model.ended = true;
            }
        }
        self.compare().await
    }

    async fn convert(&mut self, grant: usize) -> Result<(), TestCaseError> {
        let Some(known) = self.grants.get(grant) else {
            return Ok(());
        };
        let wallet = &self.wallets[self.model.grants[grant].wallet];
        let answer = self.office.convert(wallet, known).await;
        match (answer, self.model.end_grant(grant, Status::Converted)) {
            (Ok(converted), Some(left)) => prop_assert_eq!(converted, left),
            (Err(refused), None) => prop_assert_eq!(reason(&refused), "BONUS_GRANT_NOT_ACTIVE"),
            (answer, expected) => {
                prop_assert!(false, "answered {answer:?}, expected {expected:?}");
            }
        }
        Ok(())
    }

    /// Lets a grant's time pass and takes it back. The service's job may be
    /// quicker, with the money of an ended campaign too, but not different.
    async fn expire(&mut self, grant: usize) -> Result<(), TestCaseError> {
        let Some(known) = self.grants.get(grant) else {
            return Ok(());
        };
        self.office.age(known, 3_600).await;
        let pool = &self.office.fixture.database.pool;
        let turned = Expiry::default().turn(pool, self.ledger).await;
        prop_assert!(turned.is_ok(), "{turned:?}");
        let turned = Refund::default().turn(pool, self.ledger).await;
        prop_assert!(turned.is_ok(), "{turned:?}");
        self.model.end_grant(grant, Status::Expired);
        Ok(())
    }

    async fn compare(&self) -> Result<(), TestCaseError> {
        let wallets = self.office.fixture.current_all(&self.wallets).await;
        for (index, wallet) in wallets.iter().enumerate() {
            let balance = wallet.balance.unwrap_or_default();
            prop_assert_eq!(balance.available_minor, self.model.available[index]);
            prop_assert_eq!(balance.bonus_minor, self.model.bonus(index));
        }
        for (known, model) in self.grants.iter().zip(&self.model.grants) {
            let grant = self.office.current(known).await;
            prop_assert_eq!(grant.remaining_minor, model.remaining);
            prop_assert_eq!(grant.status(), model.status);
        }
        let totals = self.office.totals(&self.campaign).await;
        prop_assert_eq!(totals.left_minor, self.model.budget);
        prop_assert_eq!(totals.funded_minor, self.model.funded);
        let granted: i64 = self.model.grants.iter().map(|grant| grant.amount).sum();
        prop_assert_eq!(totals.granted_minor, granted);
        prop_assert_eq!(
            totals.converted_minor,
            self.model.returned(Status::Converted)
        );
        prop_assert_eq!(totals.expired_minor, self.model.returned(Status::Expired));
        prop_assert!(totals.spent_minor >= 0);
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
    let (ledger, inbox) = queue(1_000);
    let own_writer = writer::run(inbox, fixture.database.pool.clone(), SpendOrder::BonusFirst);
    let own_writer = runtime.spawn(own_writer);
    let office = runtime.block_on(async { Office::of(&fixture) });
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    });
    let histories = prop::collection::vec(step(), 1..25);
    let outcome = runner.run(&histories, |steps| {
        runtime.block_on(async {
            let mut run = Run::start(&office, &ledger).await;
            for step in &steps {
                run.step(step).await?;
            }
            office.fixture.verify().await;
            Ok(())
        })
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    drop(ledger);
    let ended = runtime.block_on(own_writer);
    ended.expect("no panic").expect("the writer ends by itself");
}

//! A running history: what is wished for becomes calls of the service and of
//! the model, and both must answer the same.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use bursar_aip::id::{HoldId, UserId};
use bursar_contracts::wallet::v1 as proto;
use bursar_contracts::wallet::v1::posting_result::Outcome as Told;
use bursar_contracts::wallet::v1::{
    BatchMode, Campaign, CreateCampaignRequest, PostingResult, Wallet,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use time::{Date, Duration, OffsetDateTime};
use uuid::Uuid;

use super::book::requests::Request;
use super::book::{
    Asked, BUDGET, Book, CAP, CURRENCY_OF, GrantState, HoldState, Order, Outcome, USER_OF, WALLETS,
    month_before,
};
use super::house::House;
use super::wire::Answer;
use super::wish::{Call, Posting, Step};
use crate::support::{applied, rejected, uuid_of};

const CURRENCIES: [&str; 2] = ["EUR", "USD"];
/// What most wallets begin with.
const FUNDS: i64 = 100;
/// How long a grant lasts.
const GRANT_SECONDS: i32 = 3_600;

/// A hold that somebody asked for, whether or not it was placed.
pub(super) struct Hoped {
    pub(super) id: HoldId,
    pub(super) wallet: usize,
    pub(super) amount: i64,
    /// Whether a posting asked for it, and not a call of its own.
    pub(super) by_posting: bool,
}

/// A call with its key, and what was answered.
struct Made {
    request: Request,
    key: String,
    answer: Answer,
}

pub(super) struct Run<'a> {
    pub(super) house: &'a House,
    pub(super) wallets: Vec<Wallet>,
    pub(super) campaign: Campaign,
    pub(super) book: Book,
    pub(super) holds: Vec<Hoped>,
    /// The grants' ids, in the order of the model's.
    pub(super) grants: Vec<String>,
    pub(super) asked: Vec<(Asked, proto::Posting)>,
    /// What was answered first, by posting.
    results: HashMap<String, PostingResult>,
    made: Vec<Made>,
    /// How often each thing came out in each way.
    pub(super) tally: Tally,
}

/// How often what came out.
pub(super) type Tally = BTreeMap<String, u32>;

impl<'a> Run<'a> {
    pub(super) async fn start(house: &'a House, order: Order, today: Date) -> Self {
        let users = [UserId::generate(), UserId::generate(), UserId::generate()];
        let mut wallets = Vec::new();
        for wallet in 0..WALLETS {
            let currency = CURRENCIES[CURRENCY_OF[wallet]];
            let opened = house.fixture.open(users[USER_OF[wallet]], currency).await;
            wallets.push(opened);
        }
        let request = CreateCampaignRequest {
            name: "spring".to_owned(),
            currency_code: CURRENCIES[0].to_owned(),
            budget_minor: BUDGET,
            per_user_cap_minor: CAP,
            grant_ttl_seconds: GRANT_SECONDS,
            conversion: Some(proto::ConversionRule::default()),
            ..CreateCampaignRequest::default()
        };
        let mut bonus = house.bonus.clone();
        let created = bonus.create_campaign(house.desk.call(request)).await;
        let created = created.expect("a campaign is created");
        let mut run = Self {
            house,
            wallets,
            campaign: created.into_inner().campaign.expect("a campaign"),
            book: Book::new(order, today),
            holds: Vec::new(),
            grants: Vec::new(),
            asked: Vec::new(),
            results: HashMap::new(),
            made: Vec::new(),
            tally: Tally::new(),
        };
        run.fund().await;
        run
    }

    /// Gives all wallets but the last something to begin with.
    async fn fund(&mut self) {
        let funds = (0..WALLETS - 1).map(|to| Posting::Deposit { to, amount: FUNDS });
        let funds: Vec<Posting> = funds.collect();
        self.post(true, &funds).await.expect("deposits are applied");
    }

    fn count(&mut self, what: &impl Debug, outcome: &str) {
        let what = format!("{what:?}");
        let name = what.split([' ', '(', '{']).next().unwrap_or_default();
        *self.tally.entry(format!("{name}: {outcome}")).or_default() += 1;
    }

    pub(super) async fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Post {
                is_atomic,
                postings,
            } => self.post(*is_atomic, postings).await?,
            Step::Call(call) => self.call(*call).await?,
            Step::Repeat { back } => self.repeat(*back).await?,
            Step::OtherCall { back } => self.other_call(*back).await?,
            Step::HoldIsDue { back } => self.hold_is_due(*back).await,
            Step::GrantIsDue { back } => self.grant_is_due(*back).await,
            Step::SweepHolds => {
                self.house.sweep_holds().await;
                self.book.sweep_holds();
            }
            Step::SweepGrants => {
                self.house.sweep_grants().await;
                self.book.sweep_grants();
            }
            Step::NextDay => {
                let before = |day: Date| day - Duration::DAY;
                self.shift("day", before, false).await;
            }
            Step::NextMonth => self.shift("month", month_before, true).await,
        }
        self.compare().await
    }

    /// The place of what came so long ago, if so much came.
    pub(super) fn place_of(count: usize, back: usize) -> Option<usize> {
        count.checked_sub(back + 1)
    }

    async fn post(&mut self, is_atomic: bool, wished: &[Posting]) -> Result<(), TestCaseError> {
        let asks: Vec<_> = wished.iter().map(|posting| self.make(*posting)).collect();
        let (asked, postings): (Vec<Asked>, Vec<_>) = asks.into_iter().unzip();
        let expected = self.book.call(is_atomic, &asked);
        let mode = if is_atomic {
            BatchMode::Atomic
        } else {
            BatchMode::Independent
        };
        let results = self.house.fixture.ledger().post(postings, mode).await;
        prop_assert_eq!(results.len(), expected.len());
        for (index, (result, expected)) in results.into_iter().zip(expected).enumerate() {
            match expected {
                Outcome::Refused(reason) => self.count(&asked[index].deed, reason),
                Outcome::Applied => self.count(&asked[index].deed, "done"),
                Outcome::Replayed => self.count(&asked[index].deed, "replayed"),
            }
            match (&result.outcome, expected) {
                (Some(Told::Applied(_)), Outcome::Applied) => {
                    prop_assert!(!result.replayed);
                    applied(&result);
                    self.results.insert(result.posting_id.clone(), result);
                }
                (Some(Told::Applied(_)), Outcome::Replayed) => {
                    prop_assert!(result.replayed);
                    let first = self.results.get(&result.posting_id);
                    prop_assert_eq!(first.map(|first| &first.outcome), Some(&result.outcome));
                }
                (Some(Told::Rejected(_)), Outcome::Refused(reason)) => {
                    let told = rejected(&result).0.as_str_name();
                    prop_assert_eq!(told, format!("REJECTION_REASON_{reason}"));
                }
                (told, expected) => {
                    prop_assert!(false, "answered {told:?}, expected {expected:?}");
                }
            }
        }
        Ok(())
    }

    async fn call(&mut self, wished: Call) -> Result<(), TestCaseError> {
        let Some(request) = self.request(wished) else {
            return Ok(());
        };
        let key = Uuid::now_v7().to_string();
        let answer = self.send(request, &key).await;
        let expected = self.book.ask(request).map_err(str::to_owned);
        prop_assert_eq!(&answer.outcome(), &expected, "{:?}", request);
        prop_assert!(!answer.is_replay);
        let outcome = expected.as_ref().err();
        self.count(&request, outcome.map_or("done", String::as_str));
        match (request, &answer.made) {
            (Request::PlaceHold { hold, .. }, Some(id)) => {
                self.holds[hold].id = id.parse().expect("a hold's id");
            }
            (Request::Grant { .. }, Some(id)) => self.grants.push(id.clone()),
            _ => {}
        }
        // What is not valid at this time is no answer for good.
        if answer.outcome() != Err("INVALID_FIELD".to_owned()) {
            self.made.push(Made {
                request,
                key,
                answer,
            });
        }
        Ok(())
    }

    /// Asks again what was asked: the first answer comes again, and nothing happens.
    async fn repeat(&mut self, back: usize) -> Result<(), TestCaseError> {
        let Some(place) = Self::place_of(self.made.len(), back) else {
            return Ok(());
        };
        let made = &self.made[place];
        let again = self.send(made.request, &made.key).await;
        prop_assert!(again.is_replay);
        prop_assert_eq!(&again.told, &made.answer.told);
        Ok(())
    }

    /// Asks for something else of the same kind with a key that was used.
    async fn other_call(&mut self, back: usize) -> Result<(), TestCaseError> {
        let Some(place) = Self::place_of(self.made.len(), back) else {
            return Ok(());
        };
        let made = &self.made[place];
        let other = match made.request {
            Request::Fund { amount } => Request::Fund { amount: amount + 1 },
            Request::Grant { wallet, amount } => Request::Grant {
                wallet,
                amount: amount + 1,
            },
            Request::PlaceHold {
                wallet,
                hold,
                amount,
            } => Request::PlaceHold {
                wallet,
                hold,
                amount: amount + 1,
            },
            Request::SetCredit { wallet, limit } => Request::SetCredit {
                wallet,
                limit: limit + 1,
            },
            _ => return Ok(()),
        };
        let answer = self.send(other, &made.key).await;
        let reused = Err("IDEMPOTENCY_KEY_REUSED".to_owned());
        prop_assert_eq!(answer.outcome(), reused);
        Ok(())
    }

    async fn hold_is_due(&mut self, back: usize) {
        let active = self.book.holds.iter();
        let active = active.filter(|(_, hold)| hold.state == HoldState::Active);
        let Some(hold) = active.map(|(hold, _)| *hold).nth_back(back) else {
            return;
        };
        self.edit("UPDATE holds SET expires_at = now() WHERE id = ANY($1)", {
            vec![self.holds[hold].id.uuid()]
        })
        .await;
        if let Some(known) = self.book.holds.get_mut(&hold) {
            known.is_due = true;
        }
    }

    async fn grant_is_due(&mut self, back: usize) {
        let is_active = |grant: &usize| self.book.grants[*grant].state == GrantState::Active;
        let Some(grant) = (0..self.grants.len()).filter(is_active).nth_back(back) else {
            return;
        };
        self.edit(
            "UPDATE bonus_grants SET granted_at = granted_at - interval '1 hour',
                 expires_at = expires_at - interval '1 hour'
             WHERE id = ANY($1)",
            vec![uuid_of(&self.grants[grant])],
        )
        .await;
        self.book.grants[grant].is_due = true;
    }

    /// Lets a day or a month pass: what remembers a time is moved back.
    async fn shift(&mut self, unit: &str, by: impl Fn(Date) -> Date, is_month: bool) {
        let holds: Vec<Uuid> = self.holds.iter().map(|hold| hold.id.uuid()).collect();
        // In days of UTC, whatever the session's own time zone.
        let sql = format!(
            "UPDATE holds
             SET placed_at = (placed_at AT TIME ZONE 'UTC' - interval '1 {unit}')
                 AT TIME ZONE 'UTC'
             WHERE id = ANY($1)"
        );
        self.edit(&sql, holds).await;
        let month = if is_month {
            ", month = (month - interval '1 month')::date"
        } else {
            ""
        };
        let sql = format!(
            "UPDATE wallet_limits SET day = (day - interval '1 {unit}')::date{month}
             WHERE wallet_id = ANY($1)"
        );
        let wallets = self.wallets.iter();
        let wallets = wallets.map(|wallet| uuid_of(&wallet.wallet_id)).collect();
        self.edit(&sql, wallets).await;
        self.book.shift(by, is_month);
    }

    /// Edits rows as the role that owns the tables; the service's may not.
    async fn edit(&self, sql: &str, ids: Vec<Uuid>) {
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(ids)
            .execute(&self.house.fixture.database.owner)
            .await
            .expect("the owner may");
    }
}

/// The day of UTC.
pub(super) fn today() -> Date {
    OffsetDateTime::now_utc().date()
}

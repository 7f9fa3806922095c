//! The clients: they ask for movements of money, with keys that they keep, and write
//! down every request with when it was made and what was answered.

use std::time::{Duration, Instant};

use bursar_contracts::transaction::v1::{CreateRefundRequest, Transaction, TransactionState};
use bursar_contracts::r#type::v1::Money;
use bursar_status::StatusExt;
use bursar_testkit::with_token;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use time::OffsetDateTime;
use tonic::{Code, Request, Status};
use uuid::Uuid;

use super::history::{Answer, Attempt, Call, Kind, Micros, Outcome, Wish};
use super::{Bank, Customer};
use crate::support::calls::{deposit, keyed, transfer, withdrawal};

/// How long a client waits for an answer while there are faults, and how long when
/// there are none any more.
const IMPATIENCE: Duration = Duration::from_millis(1_800);
const PATIENCE: Duration = Duration::from_secs(8);
/// How often a key is asked for while there are faults.
const TRIES: usize = 3;
/// The pause before a key is asked for again.
const PAUSE: Duration = Duration::from_millis(60);
/// The largest amount that is moved; some wallets have less than that.
const LARGEST: i64 = 300;

/// The present, as the services have it.
fn at() -> Micros {
    let nanoseconds = OffsetDateTime::now_utc().unix_timestamp_nanos();
    i64::try_from(nanoseconds / 1_000).expect("microseconds fit for 290,000 years")
}

/// A client at work.
pub(super) struct Client<'a> {
    bank: &'a Bank,
    dice: StdRng,
}

impl<'a> Client<'a> {
    pub(super) fn new(bank: &'a Bank, seed: u64) -> Self {
        let dice = StdRng::seed_from_u64(seed);
        Self { bank, dice }
    }

    /// Asks for one thing after another while there are faults; what it could not
    /// get to know it leaves for later.
    pub(super) async fn work(mut self, calls: usize, until: Instant) -> Vec<Call> {
        let mut done = Vec::new();
        while done.len() < calls && Instant::now() < until {
            let mut call = Call {
                key: Uuid::now_v7().to_string(),
                wish: self.wish(),
                attempts: Vec::new(),
            };
            self.try_often(&mut call).await;
            self.bank.remember(&call);
            done.push(call);
        }
        done
    }

    /// Asks until there is an answer, and now and then once more. Some ask twice at
    /// the same time.
    async fn try_often(&mut self, call: &mut Call) {
        for _ in 0..TRIES {
            if self.dice.random_ratio(1, 8) {
                let both = tokio::join!(
                    self.bank.ask(call, IMPATIENCE),
                    self.bank.ask(call, IMPATIENCE)
                );
                call.attempts.extend([both.0, both.1]);
            } else {
                let attempt = self.bank.ask(call, IMPATIENCE).await;
                call.attempts.push(attempt);
            }
            if call.answers().next().is_some() && self.dice.random_ratio(3, 4) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Something that somebody may want. Whether there is enough money is the
    /// bank's to know.
    fn wish(&mut self) -> Wish {
        let amount_minor = self.dice.random_range(1..=LARGEST);
        let who = self.bank.customers[self.dice.random_range(0..self.bank.customers.len())].clone();
        let wish = |kind, from, to| Wish {
            kind,
            from,
            to,
            currency: who.currency.to_owned(),
            amount_minor,
            original: None,
        };
        match self.dice.random_range(0..100) {
            0..50 => {
                let others = self.bank.others(&who);
                let other = others[self.dice.random_range(0..others.len())];
                wish(Kind::Transfer, Some(who.account), Some(other))
            }
            50..68 => wish(Kind::Deposit, None, Some(who.account)),
            68..86 => wish(Kind::Withdrawal, Some(who.account), None),
            _ => match self.bank.something_done(&mut self.dice) {
                Some((original, done)) => Wish {
                    kind: match done.kind {
                        Kind::Transfer => Kind::GiveBack,
                        _ => Kind::RefundDeposit,
                    },
                    from: done.to,
                    to: done.from,
                    // In parts, the last of which may be too large.
                    amount_minor: self.dice.random_range(1..=done.amount_minor),
                    original: Some(original),
                    ..done
                },
                None => wish(Kind::Deposit, None, Some(who.account)),
            },
        }
    }
}

impl Bank {
    /// Asks for a call until it is answered.
    pub(super) async fn insist(&self, call: &mut Call) {
        while call.answers().next().is_none() {
            let attempt = self.ask(call, PATIENCE).await;
            let is_answered = attempt.answer.is_some();
            call.attempts.push(attempt);
            if !is_answered {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Asks for a call once more, whatever was answered before.
    pub(super) async fn ask_again(&self, call: &mut Call) {
        let attempt = self.ask(call, PATIENCE).await;
        call.attempts.push(attempt);
    }

    async fn ask(&self, call: &Call, patience: Duration) -> Attempt {
        let asked_at = at();
        let answer = match self.send(call, patience).await {
            Ok(transaction) => Some(answered(&transaction)),
            Err(status) => refused(&status),
        };
        Attempt {
            asked_at,
            told_at: at(),
            answer,
        }
    }

    async fn send(&self, call: &Call, patience: Duration) -> Result<Transaction, Status> {
        let wish = &call.wish;
        let money = Some(Money {
            currency_code: wish.currency.clone(),
            minor_units: wish.amount_minor,
        });
        let wallet = |account: Option<Uuid>| account.map(|id| format!("wal_{id}"));
        let from = wallet(wish.from).unwrap_or_default();
        let to = wallet(wish.to).unwrap_or_default();
        let description = call.key.clone();
        let token = self.asker(wish);
        let mut client = self.mesh.client();
        let transaction = match wish.kind {
            Kind::Transfer => {
                let mut message = transfer(&from, &to, wish.amount_minor);
                (message.amount, message.description) = (money, description);
                let request = request(message, token, &call.key, patience);
                client
                    .create_transfer(request)
                    .await?
                    .into_inner()
                    .transaction
            }
            Kind::Deposit => {
                let mut message = deposit(&to, wish.amount_minor);
                (message.amount, message.description) = (money, description);
                let request = request(message, token, &call.key, patience);
                client
                    .create_deposit(request)
                    .await?
                    .into_inner()
                    .transaction
            }
            Kind::Withdrawal => {
                let mut message = withdrawal(&from, wish.amount_minor);
                (message.amount, message.description) = (money, description);
                let request = request(message, token, &call.key, patience);
                client
                    .create_withdrawal(request)
                    .await?
                    .into_inner()
                    .transaction
            }
            Kind::GiveBack | Kind::RefundDeposit => {
                let original = wish.original.expect("a refund has its original");
                let message = CreateRefundRequest {
                    transaction_id: format!("txn_{original}"),
                    amount: money,
                    description,
                };
                let request = request(message, token, &call.key, patience);
                client
                    .create_refund(request)
                    .await?
                    .into_inner()
                    .transaction
            }
        };
        Ok(transaction.expect("a response has its transaction"))
    }

    /// Who may ask for it.
    fn asker(&self, wish: &Wish) -> &str {
        let owner = match wish.kind {
            Kind::Transfer | Kind::Withdrawal | Kind::GiveBack => wish.from,
            Kind::Deposit => wish.to,
            Kind::RefundDeposit => return &self.operator,
        };
        let is_owner = |customer: &&Customer| Some(customer.account) == owner;
        let owner = self.customers.iter().find(is_owner);
        &owner.expect("every account is a customer's").token
    }
}

fn request<T>(message: T, token: &str, key: &str, patience: Duration) -> Request<T> {
    let mut request = keyed(with_token(message, token), key);
    request.set_timeout(patience);
    request
}

fn id_of(text: &str) -> Uuid {
    let id = text.trim_start_matches("txn_");
    id.parse().expect("a transaction's id has a UUID")
}

fn answered(transaction: &Transaction) -> Answer {
    Answer {
        transaction: Some(id_of(&transaction.transaction_id)),
        outcome: match transaction.state() {
            TransactionState::Completed => Outcome::Completed,
            TransactionState::Failed => Outcome::Failed,
            _ => Outcome::UnderWay,
        },
        said: format!("{transaction:?}"),
    }
}

/// What an error says; `None` when the client knows as little as before. Only what
/// is said for good counts.
fn refused(status: &Status) -> Option<Answer> {
    let is_final = matches!(
        status.code(),
        Code::FailedPrecondition | Code::NotFound | Code::InvalidArgument | Code::AlreadyExists
    );
    let details = status.get_error_details();
    let info = details.error_info().filter(|_| is_final)?;
    let id = info.metadata.get("transaction_id");
    Some(Answer {
        transaction: id.map(|id| id_of(id)),
        outcome: Outcome::Failed,
        said: format!("{:?} {} {}", status.code(), info.reason, status.message()),
    })
}

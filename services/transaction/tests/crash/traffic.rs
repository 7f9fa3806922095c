//! What callers ask for, again and again with the same key until they know.

use std::time::Duration;

use bursar_contracts::transaction::v1::back_office_service_client::BackOfficeServiceClient;
use bursar_contracts::transaction::v1::bulk_service_client::BulkServiceClient;
use bursar_contracts::transaction::v1::schedule_service_client::ScheduleServiceClient;
use bursar_contracts::transaction::v1::transaction_service_client::TransactionServiceClient;
use bursar_contracts::transaction::v1::{
    CreateAdjustmentRequest, CreateBonusGrantRequest, CreateBulkTransferRequest,
    CreateDepositRequest, CreateRefundRequest, CreateScheduleRequest, CreateTransferRequest,
    CreateWithdrawalRequest, ListScheduleRunsRequest, ScheduleRunState, Transaction,
    TransactionState,
};
use bursar_contracts::r#type::v1::Money;
use bursar_status::StatusExt;
use bursar_testkit::{TestProcess, with_token};
use prost_types::Timestamp;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use uuid::Uuid;

use crate::house::Person;
use crate::tasks::{Mark, Task};

/// How long a caller tries to get an answer, and how long it waits between.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);

/// A request of somebody's, and what was answered.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    key: String,
    token: String,
    wish: Wish,
    /// How long the caller waits, where it waits no longer than for so long.
    timeout: Option<Duration>,
    /// The reason of the error that is the right answer.
    refusal: Option<&'static str>,
    answer: Option<Answer>,
}

/// What somebody wants.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    Transfer(CreateTransferRequest),
    Deposit(CreateDepositRequest),
    Withdrawal(CreateWithdrawalRequest),
    Refund(CreateRefundRequest),
    Adjustment(CreateAdjustmentRequest),
    BonusGrant(CreateBonusGrantRequest),
    Bulk(CreateBulkTransferRequest),
    Planned(CreateScheduleRequest),
    Task(Task),
}

/// What was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Of transactions.
    pub(crate) told: Vec<Told>,
    /// Of anything else.
    pub(crate) said: String,
}

impl Told {
    pub(crate) fn of(transaction: &Transaction) -> Self {
        Self {
            id: transaction.transaction_id.clone(),
            state: transaction.state(),
        }
    }
}

impl Answer {
    pub(crate) fn of(told: Told) -> Self {
        Self {
            told: vec![told],
            said: String::new(),
        }
    }

    pub(crate) fn saying(said: impl Into<String>) -> Self {
        Self {
            told: Vec::new(),
            said: said.into(),
        }
    }
}

/// What was told of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) state: TransactionState,
}

impl Order {
    pub(crate) fn new(token: &str, wish: Wish) -> Self {
        Self {
            key: Uuid::now_v7().to_string(),
            token: token.to_owned(),
            wish,
            timeout: None,
            refusal: None,
            answer: None,
        }
    }

    /// The same of a caller who waits no longer.
    pub(crate) fn within(self, timeout: Duration) -> Self {
        Self {
            timeout: Some(timeout),
            ..self
        }
    }

    /// The same where an error for this reason is the right answer, and no other is.
    pub(crate) fn refused(self, reason: &'static str) -> Self {
        Self {
            refusal: Some(reason),
            ..self
        }
    }

    pub(crate) fn deposit(person: &Person, minor: i64) -> Self {
        let wish = Wish::Deposit(CreateDepositRequest {
            wallet_id: person.wallet.clone(),
            amount: euros(minor),
            provider: "sandbox".to_owned(),
            ..CreateDepositRequest::default()
        });
        Self::new(&person.token, wish)
    }

    /// Asks, for the first time or again. What was answered once is answered so
    /// again, be it that the transaction has failed.
    pub(crate) async fn ask(&mut self, process: &TestProcess) -> Result<(), Status> {
        let answer = match self.send(process).await {
            Ok(answer) => {
                assert_eq!(self.refusal, None, "{:?} was not refused", self.wish);
                answer
            }
            Err(status) => {
                self.plan_anew(&status);
                self.error(&status).ok_or(status)?
            }
        };
        match &self.answer {
            Some(before) => assert_eq!(*before, answer, "another answer to {:?}", self.wish),
            None => self.answer = Some(answer),
        }
        Ok(())
    }

    /// The answer that an error is, where it is one.
    fn error(&self, status: &Status) -> Option<Answer> {
        match (reason(status), self.refusal) {
            (Some(found), Some(wanted)) if found == wanted => Some(Answer::saying(wanted)),
            _ => failed(status).map(Answer::of),
        }
    }

    /// A start that passed before anything was recorded is told anew, with the same
    /// key: under that key there is nothing yet.
    fn plan_anew(&mut self, status: &Status) {
        if let Wish::Planned(wish) = &mut self.wish
            && has_passed(status)
        {
            wish.start_at = Some(now_stamp());
        }
    }

    /// Asks until there is an answer.
    pub(crate) async fn insist(&mut self, process: &TestProcess) {
        let asking = async {
            while let Err(status) = self.ask(process).await {
                assert!(is_to_be_tried_again(&status), "{status:?}");
                tokio::time::sleep(PAUSE).await;
            }
        };
        let answered = tokio::time::timeout(PATIENCE, asking).await;
        assert!(answered.is_ok(), "no answer in time:\n{}", process.log());
    }

    async fn send(&self, process: &TestProcess) -> Result<Answer, Status> {
        let mut client = TransactionServiceClient::new(process.channel());
        let transaction = match &self.wish {
            Wish::Transfer(wish) => {
                let response = client.create_transfer(self.request(wish)).await?;
                response.into_inner().transaction
            }
            Wish::Deposit(wish) => {
                let response = client.create_deposit(self.request(wish)).await?;
                response.into_inner().transaction
            }
            Wish::Withdrawal(wish) => {
                let response = client.create_withdrawal(self.request(wish)).await?;
                response.into_inner().transaction
            }
            Wish::Refund(wish) => {
                let response = client.create_refund(self.request(wish)).await?;
                response.into_inner().transaction
            }
            Wish::Adjustment(wish) => {
                let mut client = BackOfficeServiceClient::new(process.channel());
                let response = client.create_adjustment(self.request(wish)).await?;
                response.into_inner().transaction
            }
            Wish::BonusGrant(wish) => {
                let mut client = BackOfficeServiceClient::new(process.channel());
                let response = client.create_bonus_grant(self.request(wish)).await?;
                response.into_inner().transaction
            }
            Wish::Bulk(wish) => {
                let mut client = BulkServiceClient::new(process.channel());
                let response = client.create_bulk_transfer(self.request(wish)).await?;
                let items = response.into_inner().items.into_iter();
                let told = items.map(|item| Told {
                    state: item.state(),
                    id: item.transaction_id,
                });
                return Ok(Answer {
                    told: told.collect(),
                    said: String::new(),
                });
            }
            Wish::Task(task) => return task.carry_out(process, self).await,
            Wish::Planned(wish) => {
                let mut client = ScheduleServiceClient::new(process.channel());
                let response = client.create_schedule(self.request(wish)).await?;
                let schedule = response.into_inner().schedule;
                let id = schedule.expect("a response has its schedule").schedule_id;
                return self.planned(&mut client, &id).await;
            }
        };
        let transaction: Transaction = transaction.expect("a response has its transaction");
        Ok(Answer::of(Told::of(&transaction)))
    }

    /// What became of the one run of a schedule; to be asked again while it is not over.
    async fn planned(
        &self,
        client: &mut ScheduleServiceClient<Channel>,
        id: &str,
    ) -> Result<Answer, Status> {
        let request = ListScheduleRunsRequest {
            schedule_id: id.to_owned(),
            ..ListScheduleRunsRequest::default()
        };
        let request = with_token(request, &self.token);
        let runs = client.list_schedule_runs(request).await?.into_inner().runs;
        match runs.as_slice() {
            [run] if run.state() == ScheduleRunState::Completed => {
                let told = run.transaction_ids.iter().map(|id| Told {
                    id: id.clone(),
                    state: TransactionState::Completed,
                });
                Ok(Answer {
                    told: told.collect(),
                    said: String::new(),
                })
            }
            [] => Err(Status::unavailable("it has not begun")),
            [run] if run.ended_at.is_none() => Err(Status::unavailable("it is under way")),
            other => panic!("one run, which completes: {other:?}"),
        }
    }

    /// A request with the caller's token and key.
    pub(crate) fn request<T: Clone>(&self, wish: &T) -> Request<T> {
        let mut request = self.plain(wish.clone());
        if let Some(timeout) = self.timeout {
            request.set_timeout(timeout);
        }
        keyed(request, &self.key)
    }

    /// A request with the caller's token.
    pub(crate) fn plain<T>(&self, wish: T) -> Request<T> {
        with_token(wish, &self.token)
    }

    /// Takes in what the same order, asked elsewhere, was answered. Whoever answers,
    /// it is one answer.
    pub(crate) fn take_in(&mut self, elsewhere: &Self) {
        if let (Some(here), Some(there)) = (&self.answer, &elsewhere.answer) {
            assert_eq!(here, there, "two answers to {:?}", self.wish);
        }
        self.answer = self.answer.take().or_else(|| elsewhere.answer.clone());
    }

    /// What was answered.
    pub(crate) fn told(&self) -> &[Told] {
        self.answer.as_ref().map_or(&[], |answer| &answer.told)
    }

    /// What was answered of something else than transactions.
    pub(crate) fn said(&self) -> &str {
        self.answer.as_ref().map_or("", |answer| &answer.said)
    }

    /// What it must have left behind, besides transactions.
    pub(crate) fn marks(&self) -> Vec<Mark> {
        match &self.wish {
            Wish::Task(task) => task.marks(),
            Wish::Transfer(_)
            | Wish::Deposit(_)
            | Wish::Withdrawal(_)
            | Wish::Refund(_)
            | Wish::Adjustment(_)
            | Wish::BonusGrant(_)
            | Wish::Bulk(_)
            | Wish::Planned(_) => Vec::new(),
        }
    }

    /// The transactions of the answer.
    pub(crate) fn transactions(&self) -> impl Iterator<Item = String> {
        self.told().iter().map(|told| told.id.clone())
    }
}

/// Gives all orders at the same time, once each.
pub(crate) async fn ask_all(orders: Vec<Order>, process: &TestProcess) -> Vec<Order> {
    let asking = orders.into_iter().map(|mut order| async move {
        if let Err(status) = order.ask(process).await {
            assert!(is_to_be_tried_again(&status), "{status:?}");
        }
        order
    });
    futures::future::join_all(asking).await
}

/// The same with a process that is frozen meanwhile. When it goes on, PostgreSQL may
/// have ended its session in an open transaction; then, and only then, a caller may be
/// told of an internal error, by which it knows as little as by no answer.
pub(crate) async fn ask_all_interrupted(orders: Vec<Order>, process: &TestProcess) -> Vec<Order> {
    let asking = orders.into_iter().map(|mut order| async move {
        match order.ask(process).await {
            Err(status) if status.code() == Code::Internal => lost_session(&status, process).await,
            Err(status) => assert!(is_to_be_tried_again(&status), "{status:?}"),
            Ok(()) => {}
        }
        order
    });
    futures::future::join_all(asking).await
}

/// Waits for the process's own account of an internal error: a session that ended.
async fn lost_session(status: &Status, process: &TestProcess) {
    let telling = async {
        while !process.log().contains("idle-in-transaction timeout") {
            tokio::time::sleep(PAUSE).await;
        }
    };
    let told = tokio::time::timeout(PATIENCE, telling).await;
    assert!(told.is_ok(), "{status:?}:\n{}", process.log());
}

/// Gives all orders at the same time, until each has its answer.
pub(crate) async fn insist_all(orders: Vec<Order>, process: &TestProcess) -> Vec<Order> {
    let asking = orders.into_iter().map(|mut order| async move {
        order.insist(process).await;
        order
    });
    futures::future::join_all(asking).await
}

/// The transaction that an error says has failed, for the one reason that a kill may
/// bring about: the service died before it asked the provider, and could not know.
fn failed(status: &Status) -> Option<Told> {
    let details = status.get_error_details();
    let info = details.error_info()?;
    let is_expected = info.reason == "PROVIDER_NEVER_RECEIVED";
    let id = info.metadata.get("transaction_id")?;
    is_expected.then(|| Told {
        id: id.clone(),
        state: TransactionState::Failed,
    })
}

/// True when the caller does not know what became of its order: the service says
/// so, or is gone. Also when nothing was recorded before its start had passed.
fn is_to_be_tried_again(status: &Status) -> bool {
    let details = status.get_error_details();
    let is_gone = details.error_info().is_none()
        && matches!(
            status.code(),
            Code::Unavailable
                | Code::Unknown
                | Code::Cancelled
                | Code::DeadlineExceeded
                | Code::Internal
        );
    is_gone || details.retry_info().is_some() || has_passed(status) || broke_off(status)
}

/// True when a file was not read to its end, which its bringer may try again.
fn broke_off(status: &Status) -> bool {
    let details = status.get_error_details();
    let info = details.error_info();
    info.is_some_and(|info| {
        info.metadata
            .get("problem")
            .is_some_and(|it| it == "interrupted")
    })
}

/// True when a schedule was refused because its start has passed.
fn has_passed(status: &Status) -> bool {
    reason(status).is_some_and(|reason| reason == "SCHEDULE_START_PASSED")
}

/// The reason of an error that says one.
pub(crate) fn reason(status: &Status) -> Option<String> {
    let details = status.get_error_details();
    details.error_info().map(|info| info.reason.clone())
}

pub(crate) fn now_stamp() -> Timestamp {
    let now = bursar_server::now();
    Timestamp {
        seconds: now.unix_timestamp(),
        nanos: i32::try_from(now.nanosecond()).expect("fewer than 10^9"),
    }
}

/// An amount.
pub(crate) fn euros(minor_units: i64) -> Option<Money> {
    Some(Money {
        currency_code: "EUR".to_owned(),
        minor_units,
    })
}

/// Puts an idempotency key into a request.
pub(crate) fn keyed<T>(mut request: Request<T>, key: &str) -> Request<T> {
    let value = key.parse().expect("the tests' keys are visible ASCII");
    request.metadata_mut().insert("idempotency-key", value);
    request
}

//! What callers ask for, again and again with the same key until they know.

use std::time::Duration;

use bursar_contracts::transaction::v1::bulk_service_client::BulkServiceClient;
use bursar_contracts::transaction::v1::schedule_service_client::ScheduleServiceClient;
use bursar_contracts::transaction::v1::transaction_service_client::TransactionServiceClient;
use bursar_contracts::transaction::v1::{
    BulkTransferMode, BulkTransferOrder, CreateBulkTransferRequest, CreateDepositRequest,
    CreateRefundRequest, CreateScheduleRequest, CreateTransferRequest, CreateWithdrawalRequest,
    ListScheduleRunsRequest, ScheduleRunState, Transaction, TransactionState,
};
use bursar_contracts::r#type::v1::Money;
use bursar_status::StatusExt;
use bursar_testkit::{TestProcess, with_token};
use prost_types::Timestamp;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use uuid::Uuid;

use crate::house::{House, Person};

/// How many orders are given at the same time.
const ORDERS: i64 = 4;
/// How many transfers a bulk transfer has.
const IN_BULK: i64 = 3;
/// An amount that the sandbox accepts at once and charges two seconds later.
const LATER: i64 = 99_903;
/// How long a caller tries to get an answer, and how long it waits between.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Transfer,
    Deposit,
    /// A deposit that the provider finishes later.
    DepositLater,
    Withdrawal,
    /// A transfer, given back by who received it.
    GiveBack,
    /// A deposit, given back by the provider.
    RefundDeposit,
    Bulk,
    /// A transfer that is made a moment later, by the service itself.
    Planned,
}

/// A request of somebody's, and what was answered.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    key: String,
    token: String,
    wish: Wish,
    answer: Option<Vec<Told>>,
}

#[derive(Clone, Debug)]
enum Wish {
    Transfer(CreateTransferRequest),
    Deposit(CreateDepositRequest),
    Withdrawal(CreateWithdrawalRequest),
    Refund(CreateRefundRequest),
    Bulk(CreateBulkTransferRequest),
    Planned(CreateScheduleRequest),
}

/// What was told of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) state: TransactionState,
}

impl Flow {
    /// What must have happened before.
    pub(crate) fn originals(self, house: &House) -> Vec<Order> {
        match self {
            Self::GiveBack => Self::Transfer.orders(house, &[]),
            Self::RefundDeposit => Self::Deposit.orders(house, &[]),
            Self::Transfer
            | Self::Deposit
            | Self::DepositLater
            | Self::Withdrawal
            | Self::Bulk
            | Self::Planned => Vec::new(),
        }
    }

    /// Orders of different amounts, about these transactions where it has any.
    pub(crate) fn orders(self, house: &House, originals: &[String]) -> Vec<Order> {
        let [payer, payee] = &house.people;
        let refund = |original: &String| {
            Wish::Refund(CreateRefundRequest {
                transaction_id: original.clone(),
                ..CreateRefundRequest::default()
            })
        };
        let each = |order: &dyn Fn(i64) -> Order| (1..=ORDERS).map(order).collect();
        match self {
            Self::Transfer => each(&|minor| {
                let wish = Wish::Transfer(CreateTransferRequest {
                    from_wallet_id: payer.wallet.clone(),
                    to_wallet_id: payee.wallet.clone(),
                    amount: euros(minor),
                    ..CreateTransferRequest::default()
                });
                Order::new(&payer.token, wish)
            }),
            Self::Deposit => each(&|minor| Order::deposit(payer, minor)),
            Self::DepositLater => each(&|minor| Order::deposit(payer, minor * 100_000 + LATER)),
            Self::Withdrawal => each(&|minor| {
                let wish = Wish::Withdrawal(CreateWithdrawalRequest {
                    wallet_id: payer.wallet.clone(),
                    amount: euros(minor),
                    provider: "sandbox".to_owned(),
                    ..CreateWithdrawalRequest::default()
                });
                Order::new(&payer.token, wish)
            }),
            Self::GiveBack => {
                let orders = originals.iter().map(refund);
                orders.map(|wish| Order::new(&payee.token, wish)).collect()
            }
            Self::RefundDeposit => {
                let orders = originals.iter().map(refund);
                orders
                    .map(|wish| Order::new(&house.operator, wish))
                    .collect()
            }
            Self::Bulk => each(&|minor| Order::new(&payer.token, bulk(payer, payee, minor))),
            Self::Planned => each(&|minor| {
                let wish = Wish::Planned(CreateScheduleRequest {
                    from_wallet_id: payer.wallet.clone(),
                    to_wallet_id: payee.wallet.clone(),
                    amount: euros(minor),
                    start_at: Some(now_stamp()),
                    ..CreateScheduleRequest::default()
                });
                Order::new(&payer.token, wish)
            }),
        }
    }
}

fn bulk(payer: &Person, payee: &Person, minor: i64) -> Wish {
    let transfers = (1..=IN_BULK).map(|number| BulkTransferOrder {
        item_key: format!("item-{number}"),
        from_wallet_id: payer.wallet.clone(),
        to_wallet_id: payee.wallet.clone(),
        amount: euros(minor * 10 + number),
        ..BulkTransferOrder::default()
    });
    Wish::Bulk(CreateBulkTransferRequest {
        mode: BulkTransferMode::Independent.into(),
        transfers: transfers.collect(),
    })
}

impl Order {
    fn new(token: &str, wish: Wish) -> Self {
        Self {
            key: Uuid::now_v7().to_string(),
            token: token.to_owned(),
            wish,
            answer: None,
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
        let told = match self.send(process).await {
            Ok(told) => told,
            Err(status) => {
                self.plan_anew(&status);
                vec![failed(&status).ok_or(status)?]
            }
        };
        match &self.answer {
            Some(before) => assert_eq!(*before, told, "another answer to {:?}", self.wish),
            None => self.answer = Some(told),
        }
        Ok(())
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

    async fn send(&self, process: &TestProcess) -> Result<Vec<Told>, Status> {
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
            Wish::Bulk(wish) => {
                let mut client = BulkServiceClient::new(process.channel());
                let response = client.create_bulk_transfer(self.request(wish)).await?;
                let items = response.into_inner().items.into_iter();
                return Ok(items
                    .map(|item| Told {
                        state: item.state(),
                        id: item.transaction_id,
                    })
                    .collect());
            }
            Wish::Planned(wish) => {
                let mut client = ScheduleServiceClient::new(process.channel());
                let response = client.create_schedule(self.request(wish)).await?;
                let schedule = response.into_inner().schedule;
                let id = schedule.expect("a response has its schedule").schedule_id;
                return self.planned(&mut client, &id).await;
            }
        };
        let transaction: Transaction = transaction.expect("a response has its transaction");
        Ok(vec![Told {
            state: transaction.state(),
            id: transaction.transaction_id,
        }])
    }

    /// What became of the one run of a schedule; to be asked again while it is not over.
    async fn planned(
        &self,
        client: &mut ScheduleServiceClient<Channel>,
        id: &str,
    ) -> Result<Vec<Told>, Status> {
        let request = ListScheduleRunsRequest {
            schedule_id: id.to_owned(),
            ..ListScheduleRunsRequest::default()
        };
        let request = with_token(request, &self.token);
        let runs = client.list_schedule_runs(request).await?.into_inner().runs;
        match runs.as_slice() {
            [run] if run.state() == ScheduleRunState::Completed => {
                let ids = run.transaction_ids.iter();
                Ok(ids
                    .map(|id| Told {
                        id: id.clone(),
                        state: TransactionState::Completed,
                    })
                    .collect())
            }
            [] => Err(Status::unavailable("it has not begun")),
            [run] if run.ended_at.is_none() => Err(Status::unavailable("it is under way")),
            other => panic!("one run, which completes: {other:?}"),
        }
    }

    fn request<T: Clone>(&self, wish: &T) -> Request<T> {
        keyed(with_token(wish.clone(), &self.token), &self.key)
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
        self.answer.as_deref().unwrap_or_default()
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
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
        );
    is_gone || details.retry_info().is_some() || has_passed(status)
}

/// True when a schedule was refused because its start has passed.
fn has_passed(status: &Status) -> bool {
    let details = status.get_error_details();
    let info = details.error_info();
    info.is_some_and(|info| info.reason == "SCHEDULE_START_PASSED")
}

fn now_stamp() -> Timestamp {
    let now = bursar_server::now();
    Timestamp {
        seconds: now.unix_timestamp(),
        nanos: i32::try_from(now.nanosecond()).expect("fewer than 10^9"),
    }
}

fn euros(minor_units: i64) -> Option<Money> {
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

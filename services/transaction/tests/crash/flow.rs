//! What is asked for, and what must be there before it can be.

use std::time::Duration;

use bursar_contracts::transaction::v1::{
    AdjustmentDirection, AdjustmentReason, BulkTransferMode, BulkTransferOrder,
    CreateAdjustmentRequest, CreateBonusGrantRequest, CreateBulkTransferRequest,
    CreateRefundRequest, CreateScheduleRequest, CreateTransferRequest, CreateWithdrawalRequest,
};
use bursar_testkit::TestProcess;

use crate::house::{House, Person};
use crate::screening::{DENIED, STOPPED};
use crate::tasks;
use crate::traffic::{Order, Wish, euros, now_stamp};

/// How many orders are given at the same time.
pub(crate) const ORDERS: i64 = 4;
/// How many transfers a bulk transfer has.
const IN_BULK: i64 = 3;
/// An amount that the sandbox accepts at once and charges two seconds later.
const LATER: i64 = 99_903;
/// The most that the payer may send at once, where a limit is set.
pub(crate) const LIMIT: i64 = 500_000_000;
/// How long a caller waits who is told before the ledger has answered.
const HURRIED: Duration = Duration::from_secs(2);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Transfer,
    /// One transfer, whose events come when no others do.
    OneTransfer,
    Deposit,
    /// A deposit that the provider finishes later.
    DepositLater,
    Withdrawal,
    /// A transfer, given back by who received it.
    GiveBack,
    /// A deposit, given back by the provider.
    RefundDeposit,
    /// The same when its receiver has spent it.
    RefundSpent,
    /// What an operator takes from a wallet.
    Adjustment,
    /// Bonus money that an operator grants.
    BonusGrant,
    Bulk,
    /// A transfer that is made a moment later, by the service itself.
    Planned,
    /// A transfer, a bulk transfer and a planned one while the ledger does not answer.
    TransferHeldUp,
    BulkHeldUp,
    PlannedHeldUp,
    /// A withdrawal from somebody else's wallet, which is refused.
    Refused,
    /// A refund of nothing, which is refused.
    RefusedRefund,
    /// Bulk transfers that a fraud rule or a limit refuses.
    BulkDenied,
    BulkLimited,
    /// What people decide: about what a fraud rule has stopped, and about what a
    /// provider has forgotten.
    FraudDecision,
    Decision,
    /// What operators set up, and what they end.
    FraudRule,
    FraudRuleEnd,
    LimitRule,
    /// Limits of one wallet.
    WalletLimitRule,
    LimitRuleEnd,
    FeeRule,
    FeeRuleEnd,
    Rate,
    Quote,
    /// What is only looked at.
    Explanation,
    Watch,
    /// A settlement file, and one that is broken.
    Settlement,
    BrokenSettlement,
    /// What a person finds out about a break.
    BreakEnd,
    SettlementForm,
    /// The provider's list of a day, which nobody asks for; and while it does not answer.
    List,
    ListUnanswered,
    /// Transfers after Redis has lost its stream, or has got something that is no event.
    TransferAfterLoss,
    TransferAfterRubbish,
}

impl Flow {
    /// Whether the ledger stands still meanwhile.
    pub(crate) fn is_held_up(self) -> bool {
        matches!(
            self,
            Self::TransferHeldUp | Self::BulkHeldUp | Self::PlannedHeldUp
        )
    }

    /// Whether it is the nightly job's.
    pub(crate) fn is_nightly(self) -> bool {
        matches!(self, Self::List | Self::ListUnanswered)
    }

    /// Orders of different amounts, about these where it is about something.
    pub(crate) fn orders(self, house: &House, scene: &[String]) -> Vec<Order> {
        let [payer, payee] = &house.people;
        let operator = &house.operator;
        let each = |order: &dyn Fn(i64) -> Order| (1..=ORDERS).map(order).collect();
        let of_each = |order: &dyn Fn(&String) -> Order| scene.iter().map(order).collect();
        match self {
            Self::Transfer | Self::TransferAfterLoss | Self::TransferAfterRubbish => {
                each(&|minor| Order::new(&payer.token, transfer(payer, payee, minor)))
            }
            Self::OneTransfer => vec![Order::new(&payer.token, transfer(payer, payee, 1))],
            Self::TransferHeldUp => each(&|minor| {
                Order::new(&payer.token, transfer(payer, payee, minor)).within(HURRIED)
            }),
            Self::Deposit => each(&|minor| Order::deposit(payer, minor)),
            Self::DepositLater => each(&|minor| Order::deposit(payer, minor * 100_000 + LATER)),
            Self::Withdrawal => {
                each(&|minor| Order::new(&payer.token, withdrawal(&payer.wallet, minor)))
            }
            Self::Refused => each(&|minor| {
                let wish = withdrawal(&payee.wallet, minor);
                Order::new(&payer.token, wish).refused("WALLET_NOT_FOUND")
            }),
            Self::GiveBack => of_each(&|id| Order::new(&payee.token, refund(id))),
            Self::RefundDeposit | Self::RefundSpent => {
                of_each(&|id| Order::new(operator, refund(id)))
            }
            Self::Adjustment => each(&|minor| Order::new(operator, adjustment(payer, minor))),
            Self::BonusGrant => {
                let [campaign] = scene else {
                    panic!("there is one campaign");
                };
                each(&|minor| Order::new(operator, bonus_grant(campaign, payer, minor)))
            }
            Self::RefusedRefund => each(&|_| {
                let wish = refund(&bursar_aip::id::TransactionId::generate().to_string());
                Order::new(operator, wish).refused("TRANSACTION_NOT_FOUND")
            }),
            Self::Bulk => each(&|minor| Order::new(&payer.token, bulk(payer, payee, minor * 10))),
            Self::BulkHeldUp => each(&|minor| {
                Order::new(&payer.token, bulk(payer, payee, minor * 10)).within(HURRIED)
            }),
            Self::BulkDenied => each(&|minor| {
                let wish = bulk(payer, payee, DENIED + minor * 10);
                Order::new(&payer.token, wish).refused("FRAUD_DENIED")
            }),
            Self::BulkLimited => each(&|minor| {
                let wish = together(bulk(payer, payee, LIMIT + minor * 10));
                Order::new(&payer.token, wish).refused("TIER_SINGLE_LIMIT_EXCEEDED")
            }),
            Self::Planned | Self::PlannedHeldUp => {
                each(&|minor| Order::new(&payer.token, planned(payer, payee, minor)))
            }
            Self::FraudDecision
            | Self::Decision
            | Self::FraudRule
            | Self::FraudRuleEnd
            | Self::LimitRule
            | Self::WalletLimitRule
            | Self::LimitRuleEnd
            | Self::FeeRule
            | Self::FeeRuleEnd
            | Self::Rate
            | Self::Quote
            | Self::Explanation
            | Self::Watch
            | Self::Settlement
            | Self::BrokenSettlement
            | Self::BreakEnd
            | Self::SettlementForm => tasks::orders(self, house, scene),
            Self::List | Self::ListUnanswered => Vec::new(),
        }
    }

    /// What must have happened before, done in a calm process: what the orders are
    /// about.
    pub(crate) async fn scene(self, house: &House, process: &TestProcess) -> Vec<String> {
        match self {
            Self::GiveBack | Self::Explanation => {
                done(Self::Transfer.orders(house, &[]), process).await
            }
            Self::RefundDeposit => done(Self::Deposit.orders(house, &[]), process).await,
            Self::RefundSpent => house.spent(process).await,
            Self::BonusGrant => vec![house.campaign().await],
            Self::BulkDenied => {
                house.screens(process).await;
                Vec::new()
            }
            Self::BulkLimited => {
                house.limits(process).await;
                Vec::new()
            }
            Self::FraudDecision => {
                house.screens(process).await;
                let [payer, payee] = &house.people;
                let stopped = (1..=ORDERS)
                    .map(|minor| Order::new(&payer.token, transfer(payer, payee, STOPPED + minor)));
                let stopped = done(stopped.collect(), process).await;
                house.cases_of(&stopped).await
            }
            Self::Decision => house.forgotten(process).await,
            Self::FraudRuleEnd => said(Self::FraudRule.orders(house, &[]), process).await,
            Self::LimitRuleEnd => said(Self::LimitRule.orders(house, &[]), process).await,
            Self::FeeRuleEnd => said(Self::FeeRule.orders(house, &[]), process).await,
            Self::Settlement => house.settles_before(process).await,
            Self::BreakEnd => house.breaks(process).await,
            Self::TransferAfterLoss => {
                done(Self::Transfer.orders(house, &[]), process).await;
                house.is_published().await;
                Vec::new()
            }
            Self::Transfer
            | Self::OneTransfer
            | Self::Deposit
            | Self::DepositLater
            | Self::Withdrawal
            | Self::Adjustment
            | Self::Bulk
            | Self::Planned
            | Self::TransferHeldUp
            | Self::BulkHeldUp
            | Self::PlannedHeldUp
            | Self::Refused
            | Self::RefusedRefund
            | Self::FraudRule
            | Self::LimitRule
            | Self::WalletLimitRule
            | Self::FeeRule
            | Self::Rate
            | Self::Quote
            | Self::Watch
            | Self::BrokenSettlement
            | Self::SettlementForm
            | Self::List
            | Self::ListUnanswered
            | Self::TransferAfterRubbish => Vec::new(),
        }
    }

    /// Whether [`Flow::scene`] has anything to do.
    pub(crate) fn has_scene(self) -> bool {
        matches!(
            self,
            Self::GiveBack
                | Self::Explanation
                | Self::RefundDeposit
                | Self::RefundSpent
                | Self::BonusGrant
                | Self::BulkDenied
                | Self::BulkLimited
                | Self::FraudDecision
                | Self::Decision
                | Self::FraudRuleEnd
                | Self::LimitRuleEnd
                | Self::FeeRuleEnd
                | Self::Settlement
                | Self::BreakEnd
                | Self::TransferAfterLoss
        )
    }
}

/// The transactions of orders, which are given until they are answered.
pub(crate) async fn done(mut orders: Vec<Order>, process: &TestProcess) -> Vec<String> {
    let mut ids = Vec::new();
    for order in &mut orders {
        order.insist(process).await;
        ids.extend(order.transactions());
    }
    ids
}

/// What orders that are about no transaction were told.
async fn said(mut orders: Vec<Order>, process: &TestProcess) -> Vec<String> {
    let mut said = Vec::new();
    for order in &mut orders {
        order.insist(process).await;
        said.push(order.said().to_owned());
    }
    said
}

pub(crate) fn transfer(payer: &Person, payee: &Person, minor: i64) -> Wish {
    Wish::Transfer(CreateTransferRequest {
        from_wallet_id: payer.wallet.clone(),
        to_wallet_id: payee.wallet.clone(),
        amount: euros(minor),
        ..CreateTransferRequest::default()
    })
}

fn withdrawal(wallet: &str, minor: i64) -> Wish {
    Wish::Withdrawal(CreateWithdrawalRequest {
        wallet_id: wallet.to_owned(),
        amount: euros(minor),
        provider: "sandbox".to_owned(),
        ..CreateWithdrawalRequest::default()
    })
}

fn refund(original: &str) -> Wish {
    Wish::Refund(CreateRefundRequest {
        transaction_id: original.to_owned(),
        ..CreateRefundRequest::default()
    })
}

fn adjustment(person: &Person, minor: i64) -> Wish {
    Wish::Adjustment(CreateAdjustmentRequest {
        wallet_id: person.wallet.clone(),
        amount: euros(minor),
        direction: AdjustmentDirection::Debit.into(),
        reason: AdjustmentReason::Correction.into(),
        description: "booked twice".to_owned(),
        ..CreateAdjustmentRequest::default()
    })
}

fn bonus_grant(campaign: &str, person: &Person, minor: i64) -> Wish {
    Wish::BonusGrant(CreateBonusGrantRequest {
        campaign_id: campaign.to_owned(),
        wallet_id: person.wallet.clone(),
        amount: euros(minor),
        ..CreateBonusGrantRequest::default()
    })
}

fn planned(payer: &Person, payee: &Person, minor: i64) -> Wish {
    Wish::Planned(CreateScheduleRequest {
        from_wallet_id: payer.wallet.clone(),
        to_wallet_id: payee.wallet.clone(),
        amount: euros(minor),
        start_at: Some(now_stamp()),
        ..CreateScheduleRequest::default()
    })
}

fn bulk(payer: &Person, payee: &Person, minor: i64) -> Wish {
    let transfers = (1..=IN_BULK).map(|number| BulkTransferOrder {
        item_key: format!("item-{number}"),
        from_wallet_id: payer.wallet.clone(),
        to_wallet_id: payee.wallet.clone(),
        amount: euros(minor + number),
        ..BulkTransferOrder::default()
    });
    Wish::Bulk(CreateBulkTransferRequest {
        mode: BulkTransferMode::Independent.into(),
        transfers: transfers.collect(),
    })
}

/// The same, all or none.
fn together(wish: Wish) -> Wish {
    match wish {
        Wish::Bulk(wish) => Wish::Bulk(CreateBulkTransferRequest {
            mode: BulkTransferMode::Atomic.into(),
            ..wish
        }),
        other => other,
    }
}

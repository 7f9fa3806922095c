//! The ledger of the wallet service, as this service uses it.
//!
//! Posting is safe to repeat, so a call that is not answered is repeated until
//! the deadline. What was not answered is never taken for refused: the caller
//! is told whether an attempt may still be on its way.

mod batch;
mod grant;
mod shared;

use std::error::Error as _;
use std::time::{Duration, Instant};

use bursar_aip::id::{UserId, WalletId};
use bursar_contracts::wallet::v1::ledger_service_client::LedgerServiceClient;
use bursar_contracts::wallet::v1::posting_result::Outcome;
use bursar_contracts::wallet::v1::{
    self as contract, BatchGetWalletsRequest, HoldReference, PostingApplied, PostingRejected,
    PostingResult, RejectionReason, SystemAccount, SystemPurpose, WalletStatus,
};
use bursar_server::{Outbound, canary};
use tonic::{Code, Status};

use crate::contract::instant;
use crate::domain::{
    Account, Bucket, Hold, HoldAction, LedgerFault, Leg, Posted, Posting, PostingKind, Refusal,
    RefusalReason, Side,
};
use crate::group::Crowd;

pub(crate) use batch::{BatchReply, Together};
use shared::SharedCalls;

/// How long one attempt may take before it is repeated.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// The same for a call that carries others' postings, too: one such call may have to be
/// waited for first.
const SHARED_TIMEOUT: Duration = Duration::from_millis(4_500);
/// The shortest time in which an attempt makes sense.
const ATTEMPT_MIN: Duration = Duration::from_millis(20);
/// The pause between two attempts: doubles from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_millis(250);

/// The ledger's definite answer to a posting.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// It is in the ledger.
    Applied(Posted),
    /// It is not, and the reason is the customers'.
    Refused(Refusal),
    /// It is not, and the fault is ours.
    Faulted(LedgerFault),
}

/// What came of posting.
#[derive(Clone, Debug)]
pub(crate) struct Attempted {
    /// The definite answer; `None` when none came in time.
    pub(crate) reply: Option<Reply>,
    /// Whether an attempt was, or may have been, sent and not answered.
    pub(crate) loose_end: bool,
}

/// What a wallet is, as far as it matters before a transaction.
#[derive(Clone, Debug)]
pub(crate) struct WalletSummary {
    /// The user it belongs to; `None` for the platform's own.
    pub(crate) owner: Option<UserId>,
    /// The ISO 4217 code of its currency.
    pub(crate) currency_code: String,
    /// Whether it is closed.
    pub(crate) is_closed: bool,
    /// What it has available, in minor units; only a hint, for display and for
    /// attempts that the ledger may refuse.
    pub(crate) available_minor: i64,
}

/// The client.
#[derive(Clone)]
pub(crate) struct Ledger {
    client: LedgerServiceClient<Outbound>,
    shared: SharedCalls,
}

impl Ledger {
    /// A client, and the work that carries its callers' postings, which ends when
    /// the last clone of the client is gone.
    pub(crate) fn new(
        channel: Outbound,
        crowd: &Crowd,
    ) -> (
        Self,
        impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let client = LedgerServiceClient::new(channel);
        let (shared, carrying) = shared::calls(client.clone(), crowd);
        (Self { client, shared }, carrying)
    }

    /// Posts in somebody's name until there is a definite answer or the deadline
    /// passes. The postings of many callers travel together.
    #[tracing::instrument(name = "ledger.post", skip_all)]
    pub(crate) async fn post(
        &self,
        posting: &Posting,
        actor: &str,
        deadline: Instant,
    ) -> Attempted {
        if posting.kind == PostingKind::BonusGrant {
            return self.grant(posting, actor, deadline).await;
        }
        let attempt = || {
            let (shared, message) = (self.shared.clone(), message(posting));
            let actor = actor.to_owned();
            async move { shared.post(message, actor).await }
        };
        let posted = until_answered(deadline, SHARED_TIMEOUT, attempt).await;
        Attempted {
            reply: posted.answer.map(|result| read(posting, result)),
            loose_end: posted.loose_end,
        }
    }

    /// Reads a wallet; `Ok(None)` when there is none of that id. Fails with the
    /// last status when there was no answer before the deadline.
    #[tracing::instrument(name = "ledger.wallet", skip_all)]
    pub(crate) async fn wallet(
        &self,
        id: WalletId,
        deadline: Instant,
    ) -> Result<Option<WalletSummary>, Status> {
        let request = BatchGetWalletsRequest {
            wallet_ids: vec![id.to_string()],
        };
        let mut last = Status::deadline_exceeded("no time was left to ask the ledger");
        let mut pauses = Pauses::until(deadline);
        while let Some(left) = pauses.left() {
            let mut client = self.client.clone();
            let call = client.batch_get_wallets(request.clone());
            last = match tokio::time::timeout(left.min(ATTEMPT_TIMEOUT), call).await {
                Ok(Ok(response)) => {
                    let wallet = response.into_inner().wallets.into_iter().next();
                    return Ok(wallet.map(summary));
                }
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("the ledger did not answer in time"),
            };
            pauses.pause().await;
        }
        Err(last)
    }
}

fn summary(wallet: contract::Wallet) -> WalletSummary {
    let is_closed = wallet.status() == WalletStatus::Closed;
    WalletSummary {
        owner: wallet.owner_user_id.parse().ok(),
        currency_code: wallet.currency_code,
        is_closed,
        available_minor: wallet.balance.map_or(0, |balance| balance.available_minor),
    }
}

/// True when nothing can have reached the ledger: no connection was made.
fn was_not_sent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return status.code() == Code::Unavailable;
        }
        source = error.source();
    }
    false
}

/// What came of calling until there was an answer.
struct Answered<T> {
    /// The answer; `None` when none came in time.
    answer: Option<T>,
    /// Whether an attempt was, or may have been, sent and not answered.
    loose_end: bool,
}

/// Calls until there is an answer or the deadline passes. An attempt may take no
/// longer than `longest`. A call that is refused for its form, which no repetition
/// changes, is answered with nothing.
async fn until_answered<T: Default, F>(
    deadline: Instant,
    longest: Duration,
    attempt: impl Fn() -> F,
) -> Answered<T>
where
    F: Future<Output = Result<T, Status>>,
{
    let mut loose_end = false;
    let mut pauses = Pauses::until(deadline);
    while let Some(left) = pauses.left() {
        match tokio::time::timeout(left.min(longest), attempt()).await {
            Ok(Ok(answer)) => {
                let answer = Some(answer);
                return Answered { answer, loose_end };
            }
            Ok(Err(status)) => {
                tracing::warn!(
                    code = ?status.code(),
                    message = status.message(),
                    "the ledger has not answered"
                );
                if status.code() == Code::InvalidArgument {
                    let answer = Some(T::default());
                    return Answered { answer, loose_end };
                }
                loose_end |= !was_not_sent(&status);
            }
            Err(_) => {
                tracing::warn!("the ledger is slow to answer");
                loose_end = true;
            }
        }
        pauses.pause().await;
    }
    Answered {
        answer: None,
        loose_end,
    }
}

/// The pace of repeated attempts.
struct Pauses {
    deadline: Instant,
    next: Duration,
}

impl Pauses {
    fn until(deadline: Instant) -> Self {
        Self {
            deadline,
            next: FIRST_PAUSE,
        }
    }

    /// How long is left for another attempt; `None` when it is too short.
    fn left(&self) -> Option<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        (left >= ATTEMPT_MIN).then_some(left)
    }

    async fn pause(&mut self) {
        let left = self.deadline.saturating_duration_since(Instant::now());
        // Those whose attempts failed together shall not meet again.
        let jittered = self.next.mul_f64(rand::random_range(0.5..1.0));
        tokio::time::sleep(jittered.min(left)).await;
        self.next = self.next.saturating_mul(2).min(LAST_PAUSE);
    }
}

fn message(posting: &Posting) -> contract::Posting {
    let kind = match posting.kind {
        PostingKind::Transfer | PostingKind::GiveBack => contract::PostingKind::Transfer,
        PostingKind::Deposit => contract::PostingKind::Deposit,
        PostingKind::Place => contract::PostingKind::Hold,
        PostingKind::Capture => contract::PostingKind::HoldCapture,
        PostingKind::Void => contract::PostingKind::HoldVoid,
        PostingKind::Bar | PostingKind::Cover | PostingKind::Adjustment => {
            contract::PostingKind::Adjustment
        }
        PostingKind::BonusGrant => contract::PostingKind::BonusGrant,
    };
    contract::Posting {
        posting_id: posting.id.to_string(),
        kind: kind.into(),
        transaction_id: posting.transaction.to_string(),
        legs: posting
            .legs
            .iter()
            .map(|leg| leg_message(posting.kind, leg))
            .collect(),
        // A repeated posting must be the same to the last byte.
        effective_at: None,
        hold: posting.hold.map(hold_message),
    }
}

fn leg_message(kind: PostingKind, leg: &Leg) -> contract::Leg {
    let currency_code = leg.currency.code();
    let is_of_user = matches!(leg.account, Account::Wallet { .. });
    let bucket = match leg.bucket {
        // A transfer may be paid with bonus money, a withdrawal and a refund may not.
        Bucket::Available if kind == PostingKind::Transfer && is_of_user => {
            contract::Bucket::Spendable
        }
        Bucket::Available => contract::Bucket::Available,
        Bucket::Held => contract::Bucket::Held,
        Bucket::Bonus => contract::Bucket::Bonus,
    };
    let mut message = contract::Leg {
        bucket: bucket.into(),
        amount_minor: leg.amount_minor,
        currency_code: currency_code.to_owned(),
        ..contract::Leg::default()
    };
    let platform = |purpose: SystemPurpose, name: String| {
        Some(SystemAccount {
            purpose: purpose.into(),
            name,
            currency_code: currency_code.to_owned(),
        })
    };
    match &leg.account {
        Account::Wallet { id, required_owner } => {
            message.wallet_id = id.to_string();
            if !canary!("posting.owner_unchecked") {
                message.required_owner_user_id = crate::contract::text(*required_owner);
            }
        }
        Account::Settlement(provider) => {
            message.system = platform(SystemPurpose::Settlement, provider.to_string());
        }
        Account::Receivable(wallet) => {
            // 32 characters, which is what a name may have.
            let name = wallet.uuid().simple().to_string();
            message.system = platform(SystemPurpose::Receivable, name);
        }
        Account::Fees => message.system = platform(SystemPurpose::Fees, String::new()),
        Account::Liquidity => message.system = platform(SystemPurpose::Liquidity, String::new()),
        Account::Budget(campaign) => {
            message.system = platform(
                SystemPurpose::BonusPool,
                campaign.uuid().simple().to_string(),
            );
        }
        Account::Suspense => message.system = platform(SystemPurpose::Suspense, String::new()),
    }
    message
}

fn hold_message(hold: Hold) -> HoldReference {
    let action = match hold.action {
        HoldAction::Place => contract::HoldAction::Place,
        HoldAction::Capture => contract::HoldAction::Capture,
        HoldAction::Void => contract::HoldAction::Void,
    };
    HoldReference {
        hold_id: hold.id.to_string(),
        action: action.into(),
        ..HoldReference::default()
    }
}

/// A result as the domain takes it. An answer without a result, which the
/// ledger never gives, is nothing that can be acted on by itself.
fn read(posting: &Posting, result: Option<PostingResult>) -> Reply {
    match result.and_then(|result| result.outcome) {
        Some(Outcome::Applied(applied)) => match posted(&applied) {
            Some(posted) => Reply::Applied(posted),
            None => Reply::Faulted(LedgerFault::Unexplained),
        },
        Some(Outcome::Rejected(rejected)) => rejection(posting, &rejected),
        None => Reply::Faulted(LedgerFault::Unexplained),
    }
}

fn posted(applied: &PostingApplied) -> Option<Posted> {
    // The last entry is the side that the money reaches.
    let reached = applied.legs.last()?;
    Some(Posted {
        recorded_at: instant(applied.recorded_at.as_ref()?)?,
        beneficiary: reached.owner_user_id.parse().ok(),
    })
}

fn rejection(posting: &Posting, rejected: &PostingRejected) -> Reply {
    // The last leg is the payee's; both legs of a hold are the payer's.
    let is_last =
        usize::try_from(rejected.leg_index).is_ok_and(|leg| leg + 1 == posting.legs.len());
    let side = match posting.kind {
        PostingKind::Transfer
        | PostingKind::GiveBack
        | PostingKind::Deposit
        | PostingKind::Adjustment
        | PostingKind::BonusGrant
            if is_last =>
        {
            Side::Payee
        }
        _ => Side::Payer,
    };
    let refused = |reason| Reply::Refused(Refusal { reason, side });
    match rejected.reason() {
        RejectionReason::WalletNotFound => refused(RefusalReason::WalletNotFound),
        // Of a grant only the budget pays.
        RejectionReason::InsufficientFunds if posting.kind == PostingKind::BonusGrant => {
            refused(RefusalReason::BonusBudgetExhausted)
        }
        RejectionReason::InsufficientFunds => refused(RefusalReason::InsufficientFunds),
        RejectionReason::CurrencyMismatch => refused(RefusalReason::CurrencyMismatch),
        RejectionReason::WalletFrozen => refused(RefusalReason::WalletFrozen),
        RejectionReason::WalletClosed => refused(RefusalReason::WalletClosed),
        RejectionReason::BalanceOverflow => refused(RefusalReason::BalanceOverflow),
        RejectionReason::SingleLimitExceeded => refused(RefusalReason::SingleLimitExceeded),
        RejectionReason::DailyLimitExceeded => refused(RefusalReason::DailyLimitExceeded),
        RejectionReason::MonthlyLimitExceeded => refused(RefusalReason::MonthlyLimitExceeded),
        RejectionReason::CampaignNotFound => refused(RefusalReason::BonusCampaignNotFound),
        RejectionReason::CampaignNotActive => refused(RefusalReason::BonusCampaignNotActive),
        RejectionReason::GrantCapExceeded => refused(RefusalReason::BonusCapExceeded),
        RejectionReason::Unbalanced => Reply::Faulted(LedgerFault::Unbalanced),
        RejectionReason::PostingIdReused => Reply::Faulted(LedgerFault::PostingIdReused),
        RejectionReason::HoldNotFound => Reply::Faulted(LedgerFault::HoldNotFound),
        RejectionReason::HoldNotActive => Reply::Faulted(LedgerFault::HoldNotActive),
        RejectionReason::HoldMismatch => Reply::Faulted(LedgerFault::HoldMismatch),
        RejectionReason::HoldManaged => Reply::Faulted(LedgerFault::HoldMismatch),
        // Its holds do not expire, and of bonus money it only grants some.
        RejectionReason::HoldExpired
        | RejectionReason::GrantNotFound
        | RejectionReason::GrantNotActive
        | RejectionReason::GrantMismatch
        | RejectionReason::BatchRejected
        | RejectionReason::Unspecified => Reply::Faulted(LedgerFault::Unexplained),
    }
}

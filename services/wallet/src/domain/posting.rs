//! A posting: one balanced movement of money, and what may become of it.

use std::fmt;
use std::num::NonZeroI64;

use bursar_aip::id::{HoldId, TenantId, TransactionId, UserId, WalletId};
use bursar_money::Currency;
use time::OffsetDateTime;
use uuid::Uuid;

use super::bonus::BonusStep;
use super::hold::HoldAction;
use super::wallet::{Bucket, SystemAccount};

/// The caller's operation id, unique for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PostingId(Uuid);

impl PostingId {
    /// The operation id with this UUID.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The id as the database has it.
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for PostingId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(formatter)
    }
}

/// SHA-256 of a posting as its caller sent it: two postings with one id are
/// the same posting exactly when their fingerprints are.
pub type Fingerprint = [u8; 32];

/// What a posting is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PostingKind {
    /// Money from one user's wallet to another's.
    Transfer,
    /// Money that a provider took in.
    Deposit,
    /// Money set aside.
    Hold,
    /// Money set aside before, now paid out.
    HoldCapture,
    /// Money set aside before, now given back.
    HoldVoid,
    /// Money set aside before, given back because its time is over.
    HoldExpiry,
    /// A correction by an operator.
    Adjustment,
    /// Money for a bonus campaign, or what was left of it.
    BonusFunding,
    /// Bonus money for a user.
    BonusGrant,
    /// Bonus money that became money that may be spent on anything.
    BonusConversion,
    /// Bonus money that went back because its time is over.
    BonusExpiry,
}

/// Whose money a leg changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// A user's wallet, named by its id. A wallet of the platform cannot be
    /// named so: users choose these ids, and it counts as not found.
    User(WalletId),
    /// A wallet of the platform.
    System {
        /// Its id, derived from the account and the tenant.
        id: WalletId,
        /// What it is for.
        account: SystemAccount,
    },
}

impl Account {
    /// The platform's wallet for an account of a tenant.
    pub fn system(account: SystemAccount, tenant: &TenantId) -> Self {
        Self::System {
            id: account.wallet_id(tenant),
            account,
        }
    }

    /// The wallet.
    pub fn wallet_id(&self) -> WalletId {
        match self {
            Self::User(id) | Self::System { id, .. } => *id,
        }
    }
}

/// Which part of a wallet's money a leg changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LegBucket {
    /// This bucket.
    Of(Bucket),
    /// Whatever may be spent: what is taken comes from available and bonus money
    /// in the order of the book and is recorded as one or two entries; what is
    /// given goes to available.
    Spendable,
}

impl From<Bucket> for LegBucket {
    fn from(bucket: Bucket) -> Self {
        Self::Of(bucket)
    }
}

/// One side of a posting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    /// Whose money changes.
    pub account: Account,
    /// The part of its money that changes.
    pub bucket: LegBucket,
    /// The change in minor units: positive into the bucket.
    pub amount: NonZeroI64,
    /// The currency that the wallet must have.
    pub currency: Currency,
    /// The user to whom the wallet must belong, if any is required.
    pub required_owner: Option<UserId>,
}

/// The hold that a posting opens or changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldStep {
    /// The hold.
    pub hold: HoldId,
    /// What is done to it.
    pub action: HoldAction,
    /// Until when it may be captured; only for a hold that is placed.
    pub expires_at: Option<OffsetDateTime>,
    /// What it is for, in words; only for a hold that is placed.
    pub description: String,
}

impl HoldStep {
    /// A step that changes or ends a hold.
    pub fn on(hold: HoldId, action: HoldAction) -> Self {
        Self {
            hold,
            action,
            expires_at: None,
            description: String::new(),
        }
    }
}

/// A movement of money that somebody asks for. Nothing about it is certain
/// before it is decided; its legs need not even be balanced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting {
    /// The operation id.
    pub id: PostingId,
    /// The tenant in whose ledger it belongs.
    pub tenant: TenantId,
    /// The transaction it belongs to; `None` for wallet's own operations.
    pub transaction: Option<TransactionId>,
    /// What it is for.
    pub kind: PostingKind,
    /// Its sides; they are applied in this order.
    pub legs: Vec<Leg>,
    /// When it counts from; the time of recording when absent.
    pub effective_at: Option<OffsetDateTime>,
    /// The hold it opens or changes.
    pub hold: Option<HoldStep>,
    /// The bonus money that it grants, converts or takes back.
    pub bonus: Option<BonusStep>,
    /// What tells it from another posting with its id.
    pub fingerprint: Fingerprint,
}

/// Why a posting was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectionReason {
    /// No such wallet in the tenant, or not the required owner's.
    WalletNotFound,
    /// A bucket would fall below its floor.
    InsufficientFunds,
    /// The wallet has another currency than the leg.
    CurrencyMismatch,
    /// The wallet is frozen and the leg takes money that may be spent.
    WalletFrozen,
    /// The wallet is closed.
    WalletClosed,
    /// The legs are fewer than two or do not sum to zero in each currency.
    Unbalanced,
    /// A balance would leave the range of `i64`.
    BalanceOverflow,
    /// The id belongs to another posting.
    PostingIdReused,
    /// No such hold, or another wallet's.
    HoldNotFound,
    /// The hold has ended.
    HoldNotActive,
    /// The legs are not what the hold's action says, or touch held money
    /// without naming a hold, or the hold to be placed exists already.
    HoldMismatch,
    /// The hold may no longer be captured.
    HoldExpired,
    /// The hold belongs to a transaction, and the posting does not.
    HoldManaged,
    /// The wallet may not spend so much at once.
    SingleLimitExceeded,
    /// The wallet may not spend so much in a day.
    DailyLimitExceeded,
    /// The wallet may not spend so much in a month.
    MonthlyLimitExceeded,
    /// No such grant, or another wallet's.
    GrantNotFound,
    /// The grant is spent, converted or expired.
    GrantNotActive,
    /// The legs are not what the bonus step says, or touch bonus money without
    /// one, or the grant to be made exists already.
    GrantMismatch,
    /// The user would have more of the campaign than one may.
    GrantCapExceeded,
    /// Another posting of the same atomic call was refused.
    BatchRejected,
}

impl RejectionReason {
    /// A refusal for which one leg is at fault.
    pub fn at(self, leg: usize) -> Rejected {
        Rejected {
            reason: self,
            leg: Some(leg),
        }
    }

    /// A refusal for which no single leg is at fault.
    pub fn whole(self) -> Rejected {
        Rejected {
            reason: self,
            leg: None,
        }
    }
}

/// A posting that was refused: nothing of it is in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rejected {
    /// Why.
    pub reason: RejectionReason,
    /// The index of the leg at fault.
    pub leg: Option<usize>,
}

/// A posting that is in the ledger, as its caller is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The operation id.
    pub id: PostingId,
    /// The tenant in whose ledger it is.
    pub tenant: TenantId,
    /// What tells it from another posting with its id.
    pub fingerprint: Fingerprint,
    /// When the ledger recorded it.
    pub recorded_at: OffsetDateTime,
    /// Its entries in the order of the request's legs, of which one that takes
    /// spendable money may have two.
    pub legs: Vec<RecordedLeg>,
}

impl Recorded {
    /// Whether this is `posting`, not another one with its id.
    pub fn is(&self, posting: &Posting) -> bool {
        self.fingerprint == posting.fingerprint && self.tenant == posting.tenant
    }
}

/// One entry of a posting that is in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordedLeg {
    /// The wallet.
    pub wallet: WalletId,
    /// The user it belongs to; `None` for the platform's own.
    pub owner: Option<UserId>,
    /// The bucket that changed.
    pub bucket: Bucket,
    /// The change in minor units.
    pub amount: i64,
    /// The wallet's version after it.
    pub version: i64,
    /// The bucket's balance after it, in minor units.
    pub balance_after: i64,
}

//! A posting: one balanced movement of money, and what may become of it.

use std::fmt;
use std::num::NonZeroI64;

use bursar_aip::id::{HoldId, TenantId, TransactionId, UserId, WalletId};
use bursar_money::Currency;
use time::OffsetDateTime;
use uuid::Uuid;

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
    /// A correction by an operator.
    Adjustment,
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

/// One side of a posting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    /// Whose money changes.
    pub account: Account,
    /// The bucket that changes.
    pub bucket: Bucket,
    /// The change in minor units: positive into the bucket.
    pub amount: NonZeroI64,
    /// The currency that the wallet must have.
    pub currency: Currency,
    /// The user to whom the wallet must belong, if any is required.
    pub required_owner: Option<UserId>,
}

/// The hold that a posting opens or ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldStep {
    /// The hold.
    pub hold: HoldId,
    /// What is done to it.
    pub action: HoldAction,
}

/// A movement of money that somebody asks for. Nothing about it is certain
/// before it is decided; its legs need not even be balanced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting {
    /// The operation id.
    pub id: PostingId,
    /// The tenant in whose ledger it belongs.
    pub tenant: TenantId,
    /// The transaction it belongs to.
    pub transaction: TransactionId,
    /// What it is for.
    pub kind: PostingKind,
    /// Its sides; they are applied in this order.
    pub legs: Vec<Leg>,
    /// When it counts from; the time of recording when absent.
    pub effective_at: Option<OffsetDateTime>,
    /// The hold it opens or ends.
    pub hold: Option<HoldStep>,
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
    /// Its sides, in the order of the request.
    pub legs: Vec<RecordedLeg>,
}

impl Recorded {
    /// Whether this is `posting`, not another one with its id.
    pub fn is(&self, posting: &Posting) -> bool {
        self.fingerprint == posting.fingerprint && self.tenant == posting.tenant
    }
}

/// One side of a posting that is in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordedLeg {
    /// The wallet.
    pub wallet: WalletId,
    /// The user it belongs to; `None` for the platform's own.
    pub owner: Option<UserId>,
    /// The wallet's version after the leg.
    pub version: i64,
    /// The bucket's balance after the leg, in minor units.
    pub balance_after: i64,
}

//! A wallet: three buckets of one currency, a floor, a status and a version.

use bursar_aip::id::{TenantId, UserId, WalletId};
use bursar_money::Currency;
use time::OffsetDateTime;
use uuid::{Uuid, uuid};

/// The namespace of ids that are derived from what a wallet is for.
const DERIVED_IDS: Uuid = uuid!("6f0b9a0e-5a53-4b0e-9d0e-3c1f6f6a7b21");

/// A part of a wallet's money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// Money that may be spent; it may go down to the wallet's floor.
    Available,
    /// Money set aside by holds; never negative, always the sum of the active holds.
    Held,
    /// Money that was granted; never negative.
    Bonus,
}

impl Bucket {
    /// Every bucket.
    pub const ALL: [Self; 3] = [Self::Available, Self::Held, Self::Bonus];
}

/// What may be done with a wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WalletStatus {
    /// Money may come and go.
    Active,
    /// Money may come; available and bonus money may not go. Money that was
    /// already held may still be captured or given back.
    Frozen,
    /// Nothing may change.
    Closed,
}

/// The money of a wallet by bucket, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Balance {
    /// Money that may be spent.
    pub available: i64,
    /// Money that is set aside.
    pub held: i64,
    /// Money that was granted.
    pub bonus: i64,
}

impl Balance {
    /// What a bucket holds.
    pub fn of(&self, bucket: Bucket) -> i64 {
        match bucket {
            Bucket::Available => self.available,
            Bucket::Held => self.held,
            Bucket::Bonus => self.bonus,
        }
    }

    /// What may be spent in one way or another.
    pub fn spendable(&self) -> i128 {
        i128::from(self.available) + i128::from(self.bonus)
    }

    /// The place of a bucket, to change it.
    pub fn of_mut(&mut self, bucket: Bucket) -> &mut i64 {
        match bucket {
            Bucket::Available => &mut self.available,
            Bucket::Held => &mut self.held,
            Bucket::Bonus => &mut self.bonus,
        }
    }
}

/// A wallet as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wallet {
    /// The id.
    pub id: WalletId,
    /// The tenant it belongs to; a posting of another tenant cannot see it.
    pub tenant: TenantId,
    /// The user it belongs to; `None` for the platform's own wallets.
    pub owner: Option<UserId>,
    /// The currency of all its buckets.
    pub currency: Currency,
    /// What may be done with it.
    pub status: WalletStatus,
    /// Its money.
    pub balance: Balance,
    /// The least that `available` may be, in minor units: 0 for a user without
    /// credit, the lowest `i64` for the platform's own wallets.
    pub min_available: i64,
    /// How many entries it has had.
    pub version: i64,
    /// How many events it has had. The platform's own wallets have none.
    pub event_version: i64,
    /// When it was opened.
    pub created_at: OffsetDateTime,
    /// When its last posting was recorded. The next is recorded no earlier, so
    /// its entries are in the order of their times.
    pub posted_at: Option<OffsetDateTime>,
    /// Whether there are limits on what it spends.
    pub has_limits: bool,
}

impl Wallet {
    /// A user's new wallet. Its first event, `wallet.created`, has version 1.
    pub fn open(
        id: WalletId,
        tenant: TenantId,
        owner: UserId,
        currency: Currency,
        now: OffsetDateTime,
    ) -> Self {
        Self {
            id,
            tenant,
            owner: Some(owner),
            currency,
            status: WalletStatus::Active,
            balance: Balance::default(),
            min_available: 0,
            version: 0,
            event_version: 1,
            created_at: now,
            posted_at: None,
            has_limits: false,
        }
    }

    /// The least that a bucket may hold.
    pub fn floor(&self, bucket: Bucket) -> i64 {
        match bucket {
            Bucket::Available => self.min_available,
            Bucket::Held | Bucket::Bonus => 0,
        }
    }
}

/// The id of a user's first wallet. It follows from the user's id, so opening
/// it twice opens it once, whatever happened to the first answer.
pub fn first_wallet_id(user: UserId) -> WalletId {
    WalletId::from_uuid(Uuid::new_v5(
        &DERIVED_IDS,
        format!("first/{user}").as_bytes(),
    ))
}

/// What a wallet of the platform itself is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SystemPurpose {
    /// What a provider owes the platform, or is owed.
    Settlement,
    /// Fees taken.
    Fees,
    /// The source of bonus money.
    BonusPool,
    /// Money whose place is not yet known.
    Suspense,
    /// What the owner of a user's wallet owes the platform.
    Receivable,
    /// What the platform has taken or given of a currency in exchange for another.
    Liquidity,
}

impl SystemPurpose {
    /// The purpose as the database spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Settlement => "settlement",
            Self::Fees => "fees",
            Self::BonusPool => "bonus_pool",
            Self::Suspense => "suspense",
            Self::Receivable => "receivable",
            Self::Liquidity => "liquidity",
        }
    }
}

/// A wallet of the platform itself: there is one for each purpose, name and
/// currency of a tenant, opened when it is first used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SystemAccount {
    /// What it is for.
    pub purpose: SystemPurpose,
    /// Which one, such as a provider's name; empty where there is only one.
    pub name: String,
    /// Its currency.
    pub currency: Currency,
}

impl SystemAccount {
    /// The id of the tenant's wallet for this account. It follows from the
    /// account, so finding it needs no lookup and two writers open the same one.
    pub fn wallet_id(&self, tenant: &TenantId) -> WalletId {
        // `/` occurs in none of the parts.
        let text = format!(
            "system/{tenant}/{}/{}/{}",
            self.purpose.name(),
            self.name,
            self.currency
        );
        WalletId::from_uuid(Uuid::new_v5(&DERIVED_IDS, text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(purpose: SystemPurpose, name: &str, currency: &str) -> SystemAccount {
        SystemAccount {
            purpose,
            name: name.to_owned(),
            currency: Currency::parse(currency).expect("the test names a real currency"),
        }
    }

    /// Derived ids are stored, so they may never change; this pins the derivation.
    #[test]
    fn derived_ids_are_stable_and_distinct() {
        let tenant = TenantId::default();
        let sandbox = account(SystemPurpose::Settlement, "sandbox", "EUR");
        assert_eq!(
            sandbox.wallet_id(&tenant).to_string(),
            "wal_ebb2e513-424a-5f41-b84d-6937748969b8"
        );
        let user = UserId::from_uuid(Uuid::nil());
        assert_eq!(
            first_wallet_id(user).to_string(),
            "wal_1c60fbcd-91a9-504d-9587-46e19a6e7058"
        );
        let other_tenant: TenantId = "acme".parse().expect("a tenant");
        let ids = [
            sandbox.wallet_id(&tenant),
            sandbox.wallet_id(&other_tenant),
            account(SystemPurpose::Settlement, "sandbox", "USD").wallet_id(&tenant),
            account(SystemPurpose::Settlement, "", "EUR").wallet_id(&tenant),
            account(SystemPurpose::Fees, "sandbox", "EUR").wallet_id(&tenant),
            first_wallet_id(user),
        ];
        for (index, id) in ids.iter().enumerate() {
            assert!(!ids[..index].contains(id), "{id} occurs twice");
        }
    }
}

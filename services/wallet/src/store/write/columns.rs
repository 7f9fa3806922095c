//! The rows of a batch as one array a column, the form in which the statement
//! takes them.

use std::collections::BTreeMap;

use bursar_aip::id::{GrantId, HoldId, TransactionId, WalletId};
use bursar_server::canary;
use time::OffsetDateTime;
use uuid::Uuid;

use super::proof;
use crate::domain::bonus::{BonusGrant, GrantChange};
use crate::domain::decide::Applied;
use crate::domain::hold::{Hold, HoldChange};
use crate::domain::limit::Allowance;
use crate::domain::posting::Posting;
use crate::domain::wallet::Wallet;
use crate::store::names::Named;

/// Everything that one batch writes, save its events.
#[derive(Default)]
pub struct Batch<'a> {
    pub(super) postings: Postings<'a>,
    pub(super) entries: Entries<'a>,
    pub(super) unsealed: Unsealed,
    wallets: BTreeMap<WalletId, WalletAfter<'a>>,
    pub(super) holds: BTreeMap<HoldId, HoldAfter<'a>>,
    pub(super) grants: BTreeMap<GrantId, GrantAfter<'a>>,
    pub(super) allowances: BTreeMap<WalletId, &'a Allowance>,
}

/// What the proof chain is told of the batch: its postings in the order in
/// which they were decided, which is the order of each wallet's versions.
#[derive(Default)]
pub(super) struct Unsealed {
    pub(super) posting_ids: Vec<Uuid>,
    pub(super) leaf_hashes: Vec<u8>,
}

#[derive(Default)]
pub(super) struct Postings<'a> {
    pub(super) id: Vec<Uuid>,
    pub(super) tenant_id: Vec<&'a str>,
    pub(super) transaction_id: Vec<Option<Uuid>>,
    pub(super) kind: Vec<&'static str>,
    pub(super) fingerprint: Vec<&'a [u8]>,
    pub(super) hold_id: Vec<Option<Uuid>>,
    pub(super) hold_action: Vec<Option<&'static str>>,
    pub(super) effective_at: Vec<OffsetDateTime>,
    pub(super) recorded_at: Vec<OffsetDateTime>,
    /// Where the posting's legs begin and end among all entries, from 1.
    pub(super) first_leg: Vec<i32>,
    pub(super) last_leg: Vec<i32>,
}

#[derive(Default)]
pub(super) struct Entries<'a> {
    pub(super) wallet_id: Vec<Uuid>,
    pub(super) version: Vec<i64>,
    pub(super) posting_id: Vec<Uuid>,
    pub(super) amount: Vec<i64>,
    pub(super) balance_after: Vec<i64>,
    pub(super) bucket: Vec<&'static str>,
    pub(super) currency: Vec<&'static str>,
    pub(super) tenant_id: Vec<&'a str>,
}

/// A wallet after the batch, and the version at which it was locked.
struct WalletAfter<'a> {
    wallet: &'a Wallet,
    locked_version: i64,
}

/// A hold after the batch, and before it unless the batch opened it.
pub(super) struct HoldAfter<'a> {
    pub(super) hold: &'a Hold,
    pub(super) tenant: &'a str,
    pub(super) before: Option<&'a Hold>,
}

/// A grant after the batch, and before it unless the batch made it.
pub(super) struct GrantAfter<'a> {
    pub(super) grant: &'a BonusGrant,
    pub(super) tenant: &'a str,
    pub(super) before: Option<&'a BonusGrant>,
}

impl<'a> Batch<'a> {
    /// The rows of these decisions, which come in the order in which they were
    /// made: a wallet's later state replaces its earlier one.
    pub fn of(decisions: &[(&'a Posting, &'a Applied)]) -> Self {
        let mut batch = Self::default();
        for (posting, applied) in decisions {
            for wallet in &applied.wallets {
                batch.change_wallet(wallet, applied);
            }
            if let Some(change) = &applied.hold {
                batch.change_hold(posting, change);
            }
            for change in &applied.grants {
                batch.change_grant(posting, change);
            }
            for allowance in &applied.allowances {
                batch.allowances.insert(allowance.wallet, allowance);
            }
            batch.unsealed.posting_ids.push(posting.id.uuid());
            let leaf = proof::leaf(posting, applied);
            batch
                .unsealed
                .leaf_hashes
                .extend_from_slice(leaf.as_bytes());
        }
        // The order of insertion is the order of the ids; see the parent module.
        let mut by_id = decisions.to_vec();
        by_id.sort_by_key(|(posting, _)| posting.id);
        for (posting, applied) in by_id {
            batch.insert_posting(posting, applied);
        }
        batch
    }

    /// The wallets as they are after the batch.
    pub fn wallets_after(&self) -> impl Iterator<Item = &'a Wallet> {
        self.wallets.values().map(|after| after.wallet)
    }

    fn change_wallet(&mut self, wallet: &'a Wallet, applied: &Applied) {
        self.wallets
            .entry(wallet.id)
            .and_modify(|after| after.wallet = wallet)
            .or_insert_with(|| {
                let own = applied
                    .entries
                    .iter()
                    .filter(|entry| entry.wallet == wallet.id);
                let first = own.map(|entry| entry.version).min();
                WalletAfter {
                    wallet,
                    locked_version: first.map_or(wallet.version, |version| version - 1),
                }
            });
    }

    fn change_hold(&mut self, posting: &'a Posting, change: &'a HoldChange) {
        self.holds
            .entry(change.after.id)
            .and_modify(|after| after.hold = &change.after)
            .or_insert_with(|| HoldAfter {
                hold: &change.after,
                tenant: posting.tenant.as_str(),
                before: change.before.as_ref(),
            });
    }

    fn change_grant(&mut self, posting: &'a Posting, change: &'a GrantChange) {
        self.grants
            .entry(change.after.id)
            .and_modify(|after| after.grant = &change.after)
            .or_insert_with(|| GrantAfter {
                grant: &change.after,
                tenant: posting.tenant.as_str(),
                before: change.before.as_ref(),
            });
    }

    fn insert_posting(&mut self, posting: &'a Posting, applied: &'a Applied) {
        let rows = &mut self.postings;
        // A batch has at most 1,000 postings of 32 legs.
        let before = i32::try_from(self.entries.wallet_id.len()).unwrap_or(i32::MAX);
        let count = i32::try_from(applied.entries.len()).unwrap_or(i32::MAX);
        rows.id.push(posting.id.uuid());
        rows.tenant_id.push(posting.tenant.as_str());
        rows.transaction_id
            .push(posting.transaction.map(TransactionId::uuid));
        rows.kind.push(posting.kind.word());
        rows.fingerprint.push(&posting.fingerprint);
        let hold = posting.hold.as_ref();
        rows.hold_id.push(hold.map(|step| step.hold.uuid()));
        rows.hold_action.push(hold.map(|step| step.action.word()));
        let recorded_at = applied.recorded.recorded_at;
        rows.effective_at
            .push(posting.effective_at.unwrap_or(recorded_at));
        rows.recorded_at.push(recorded_at);
        rows.first_leg.push(before + 1);
        rows.last_leg.push(before.saturating_add(count));
        for entry in &applied.entries {
            let rows = &mut self.entries;
            rows.wallet_id.push(entry.wallet.uuid());
            rows.version.push(entry.version);
            rows.posting_id.push(posting.id.uuid());
            rows.amount.push(entry.amount);
            let misstated = i64::from(canary!("ledger.balance_misstated"));
            rows.balance_after.push(entry.balance_after + misstated);
            rows.bucket.push(entry.bucket.word());
            rows.currency.push(entry.currency.code());
            rows.tenant_id.push(posting.tenant.as_str());
        }
    }
}

#[derive(Default)]
pub(super) struct WalletColumns {
    pub(super) id: Vec<Uuid>,
    pub(super) locked_version: Vec<i64>,
    pub(super) available: Vec<i64>,
    pub(super) held: Vec<i64>,
    pub(super) bonus: Vec<i64>,
    pub(super) version: Vec<i64>,
    pub(super) event_version: Vec<i64>,
    pub(super) posted_at: Vec<Option<OffsetDateTime>>,
}

impl WalletColumns {
    pub(super) fn of(batch: &Batch<'_>) -> Self {
        let mut columns = Self::default();
        for after in batch.wallets.values() {
            let wallet = after.wallet;
            columns.id.push(wallet.id.uuid());
            columns.locked_version.push(after.locked_version);
            columns.available.push(wallet.balance.available);
            columns.held.push(wallet.balance.held);
            columns.bonus.push(wallet.balance.bonus);
            columns.version.push(wallet.version);
            columns.event_version.push(wallet.event_version);
            columns.posted_at.push(wallet.posted_at);
        }
        columns
    }
}

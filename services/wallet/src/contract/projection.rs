//! Trial balances, differences and rebuilds as the contract has them.

use bursar_aip::id::WalletId;
use bursar_contracts::wallet::v1 as proto;

use super::timestamp;
use crate::domain::drift::{Drift, DriftKind};
use crate::domain::trial_balance::{AccountClass, TrialBalance};
use crate::domain::wallet::{Bucket, SystemPurpose};
use crate::store::rebuilds::{Rebuild, RebuildStatus};

/// The trial balance of a currency.
pub(crate) fn trial_balance(currency_code: &str, balance: &TrialBalance) -> proto::TrialBalance {
    let (debit, credit) = balance.totals();
    let lines = balance.lines.iter().map(|(class, columns)| {
        let account = account_class(*class);
        proto::TrialBalanceLine {
            account: account.into(),
            wallets: columns.wallets,
            debit_minor: columns.debit,
            credit_minor: columns.credit,
        }
    });
    proto::TrialBalance {
        currency_code: currency_code.to_owned(),
        lines: lines.collect(),
        debit_minor: clamped(debit),
        credit_minor: clamped(credit),
        balanced: balance.is_balanced(),
    }
}

fn clamped(sum: i128) -> i64 {
    i64::try_from(sum).unwrap_or(i64::MAX)
}

fn account_class(class: AccountClass) -> proto::AccountClass {
    match class {
        AccountClass::Users(Bucket::Available) => proto::AccountClass::UsersAvailable,
        AccountClass::Users(Bucket::Held) => proto::AccountClass::UsersHeld,
        AccountClass::Users(Bucket::Bonus) => proto::AccountClass::UsersBonus,
        AccountClass::Platform(SystemPurpose::Settlement) => proto::AccountClass::Settlement,
        AccountClass::Platform(SystemPurpose::Fees) => proto::AccountClass::Fees,
        AccountClass::Platform(SystemPurpose::BonusPool) => proto::AccountClass::BonusPool,
        AccountClass::Platform(SystemPurpose::Suspense) => proto::AccountClass::Suspense,
        AccountClass::Platform(SystemPurpose::Receivable) => proto::AccountClass::Receivable,
        AccountClass::Platform(SystemPurpose::Liquidity) => proto::AccountClass::Liquidity,
    }
}

/// A difference.
pub(crate) fn drift(drift: &Drift) -> proto::Drift {
    proto::Drift {
        wallet_id: drift.wallet.to_string(),
        kind: drift_kind(drift.kind).into(),
        place: drift.place.clone(),
        expected: drift.expected.clone(),
        found: drift.found.clone(),
    }
}

fn drift_kind(kind: DriftKind) -> proto::DriftKind {
    match kind {
        DriftKind::Balance => proto::DriftKind::Balance,
        DriftKind::Cursor => proto::DriftKind::Cursor,
        DriftKind::Day => proto::DriftKind::Day,
        DriftKind::Snapshot => proto::DriftKind::Snapshot,
        DriftKind::DisplacedEntry => proto::DriftKind::DisplacedEntry,
    }
}

/// A rebuild.
pub(crate) fn rebuild(rebuild: &Rebuild) -> proto::ProjectionRebuild {
    proto::ProjectionRebuild {
        rebuild_id: rebuild.id.to_string(),
        wallet_id: rebuild
            .wallet
            .map(|wallet: WalletId| wallet.to_string())
            .unwrap_or_default(),
        dry_run: rebuild.dry_run,
        status: rebuild_status(rebuild.status).into(),
        requested_by: rebuild.requested_by.clone(),
        wallets_total: rebuild.total,
        wallets_checked: rebuild.counts.checked,
        wallets_differing: rebuild.counts.differing,
        wallets_rebuilt: rebuild.counts.rebuilt,
        differences: rebuild.counts.differences,
        balance_differences: rebuild.counts.balance_differences,
        created_at: Some(timestamp(rebuild.created_at)),
        started_at: rebuild.started_at.map(timestamp),
        finished_at: rebuild.finished_at.map(timestamp),
    }
}

fn rebuild_status(status: RebuildStatus) -> proto::RebuildStatus {
    match status {
        RebuildStatus::Pending => proto::RebuildStatus::Pending,
        RebuildStatus::Running => proto::RebuildStatus::Running,
        RebuildStatus::Completed => proto::RebuildStatus::Completed,
    }
}

//! Comparing one wallet with its entries, and mending its projections.
//!
//! The entries up to the cursor are folded from the first one on, slice by
//! slice. Snapshots and displaced entries are compared within each slice, days
//! and cursor at the end, and the wallet's own balance after folding on to its
//! version. Entries never change, so nothing is locked while they are read; only
//! the replacement of days and cursor holds the wallet's cursor, for as long as
//! folding takes what was projected meanwhile.

use bursar_aip::id::WalletId;
use bursar_server::{crash_point, database};
use sqlx::PgPool;

use super::watch::Watch;
use crate::domain::drift::{self, Drift, DriftKind, Drifts, Words};
use crate::domain::fold::Fold;
use crate::jobs::projector;
use crate::store::drift::{self as kept_rows, Kept};
use crate::store::projections::{self, Span};

/// How many entries a slice has.
const SLICE_ENTRIES: i64 = 5_000;

/// Whether what differs is mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It is only told.
    Look,
    /// Projections are mended and brought up to the wallet's version.
    Mend,
}

/// What became of a wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compared {
    /// How many differences there are in projections.
    pub(crate) projections: i64,
    /// Whether the wallet's own balance is not the sum of its entries.
    pub(crate) is_balance_wrong: bool,
    /// The first differences.
    pub(crate) kept: Vec<Drift>,
    /// Whether projections were mended.
    pub(crate) is_rebuilt: bool,
}

/// Why a wallet was not compared to the end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stopped {
    /// The watch said to stop.
    #[error("there is no more time for it")]
    Told,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Compares a wallet, and mends it if asked to. A wallet that is not there
/// differs in nothing.
pub(crate) async fn compare(
    pool: &PgPool,
    wallet: WalletId,
    mode: Mode,
    watch: &mut Watch,
) -> Result<Compared, Stopped> {
    let mut run = Run {
        pool,
        wallet,
        mode,
        drifts: Drifts::of(wallet),
        is_rebuilt: false,
    };
    let mut connection = pool.acquire().await?;
    let kept = kept_rows::kept(&mut connection, wallet).await?;
    drop(connection);
    if let Some(kept) = kept {
        run.all(&kept, watch).await?;
    }
    if run.drifts.is_balance_wrong {
        tracing::error!(%wallet, "a balance is not the sum of its entries; verify the ledger");
    }
    Ok(Compared {
        projections: run.drifts.projections,
        is_balance_wrong: run.drifts.is_balance_wrong,
        kept: run.drifts.kept,
        is_rebuilt: run.is_rebuilt,
    })
}

struct Run<'a> {
    pool: &'a PgPool,
    wallet: WalletId,
    mode: Mode,
    drifts: Drifts,
    is_rebuilt: bool,
}

impl Run<'_> {
    async fn all(&mut self, kept: &Kept, watch: &mut Watch) -> Result<(), Stopped> {
        let (version, balance) = kept.cursor.unwrap_or_default();
        // A cursor beyond the wallet is wrong whatever it says.
        let target = version.min(kept.wallet_version).max(0);
        let mut fold = Fold::default();
        if !self.fold_and_compare(&mut fold, target, watch).await? {
            return Ok(());
        }
        let before = self.drifts.projections;
        if version != target || balance != fold.balance {
            self.drifts.add(
                DriftKind::Cursor,
                version.to_string(),
                format!("version {target}, {}", fold.balance.words()),
                format!("version {version}, {}", balance.words()),
            );
        }
        self.drifts.compare(DriftKind::Day, &fold.days, &kept.days);
        let is_wrong = self.drifts.projections > before;
        if !self.check_balance(&fold, kept, watch).await? {
            return Ok(());
        }
        if self.mode == Mode::Look {
            return Ok(());
        }
        if is_wrong {
            self.replace(fold, watch).await?;
        }
        while !projector::fold_wallet(self.pool, self.wallet).await? {
            watch.breathe().await?;
        }
        Ok(())
    }

    /// Folds up to a version and compares what belongs to single versions. False
    /// when the entries themselves are broken, which was then noted.
    async fn fold_and_compare(
        &mut self,
        fold: &mut Fold,
        target: i64,
        watch: &mut Watch,
    ) -> Result<bool, Stopped> {
        while fold.version < target {
            let after = fold.version;
            if !self.fold_slice(fold, target).await? {
                return Ok(false);
            }
            let through = fold.version;
            let mut connection = self.pool.acquire().await?;
            let kept = kept_rows::snapshots(&mut connection, self.wallet, after, through).await?;
            let expected = drift::snapshots(fold);
            let snapshots = self.drifts.compare(DriftKind::Snapshot, &expected, &kept);
            let kept = kept_rows::displaced(&mut connection, self.wallet, after, through).await?;
            let expected = drift::displaced(fold);
            let displaced = self
                .drifts
                .compare(DriftKind::DisplacedEntry, &expected, &kept);
            if self.mode == Mode::Mend && !(snapshots.is_none() && displaced.is_none()) {
                crash_point!("rebuild.before_mend");
                kept_rows::mend_snapshots(&mut connection, self.wallet, &snapshots).await?;
                crash_point!("rebuild.between_mends");
                kept_rows::mend_displaced(&mut connection, self.wallet, &displaced).await?;
                crash_point!("rebuild.after_mend");
                self.is_rebuilt = true;
            }
            fold.snapshots.clear();
            fold.displaced.clear();
            drop(connection);
            watch.breathe().await?;
        }
        Ok(true)
    }

    /// Folds the next slice up to a version. False when an entry is missing or out
    /// of range, which was then noted: the wallet cannot be right.
    async fn fold_slice(&mut self, fold: &mut Fold, target: i64) -> Result<bool, sqlx::Error> {
        let span = Span {
            wallet: self.wallet,
            after: fold.version,
            through: target.min(fold.version + SLICE_ENTRIES),
        };
        let mut connection = self.pool.acquire().await?;
        let entries = projections::entries(&mut connection, &[span]).await?;
        let outcome = entries.iter().try_for_each(|(_, entry)| fold.add(entry));
        let outcome = outcome.and_then(|()| fold.reaches(span.through));
        match outcome {
            Ok(()) => Ok(true),
            Err(error) => {
                let place = (fold.version + 1).to_string();
                self.drifts
                    .add(DriftKind::Balance, place, String::new(), error.to_string());
                Ok(false)
            }
        }
    }

    /// Folds on to the version that the wallet had and compares its balance.
    async fn check_balance(
        &mut self,
        fold: &Fold,
        kept: &Kept,
        watch: &mut Watch,
    ) -> Result<bool, Stopped> {
        let mut fold = Fold::resume(fold.version, fold.balance);
        while fold.version < kept.wallet_version {
            if !self.fold_slice(&mut fold, kept.wallet_version).await? {
                return Ok(false);
            }
            fold = Fold::resume(fold.version, fold.balance);
            watch.breathe().await?;
        }
        if fold.balance != kept.wallet_balance {
            self.drifts.add(
                DriftKind::Balance,
                kept.wallet_version.to_string(),
                fold.balance.words(),
                kept.wallet_balance.words(),
            );
        }
        Ok(true)
    }

    /// Folds on until no more than a slice is left to where the projector has come
    /// meanwhile, so that the cursor is locked but briefly. False when the entries
    /// are broken there.
    async fn approach(&mut self, fold: &mut Fold, watch: &mut Watch) -> Result<bool, Stopped> {
        loop {
            let mut connection = self.pool.acquire().await?;
            let kept = kept_rows::kept(&mut connection, self.wallet).await?;
            drop(connection);
            let target = kept.map_or(0, |kept| {
                let (version, _) = kept.cursor.unwrap_or_default();
                version.min(kept.wallet_version)
            });
            if target - fold.version <= SLICE_ENTRIES {
                return Ok(true);
            }
            if !self.fold_slice(fold, target).await? {
                return Ok(false);
            }
            watch.breathe().await?;
        }
    }

    /// Replaces days and cursor by a fold of all entries, folded on to where the
    /// projector has come meanwhile.
    async fn replace(&mut self, mut fold: Fold, watch: &mut Watch) -> Result<(), Stopped> {
        if !self.approach(&mut fold, watch).await? {
            return Ok(());
        }
        let mut transaction = database::begin(self.pool).await?;
        // A wallet that was never projected has no cursor to lock.
        projections::lock_cursors(&mut transaction, &[self.wallet.uuid()]).await?;
        let cursor = kept_rows::lock_cursor(&mut transaction, self.wallet).await?;
        let target = cursor.version.min(cursor.wallet_version);
        while fold.version < target {
            let span = Span {
                wallet: self.wallet,
                after: fold.version,
                through: target.min(fold.version + SLICE_ENTRIES),
            };
            let entries = projections::entries(&mut transaction, &[span]).await?;
            let outcome = entries.iter().try_for_each(|(_, entry)| fold.add(entry));
            if outcome.is_err() || fold.version != span.through {
                return Err(Stopped::Database(sqlx::Error::RowNotFound));
            }
            watch.check()?;
        }
        kept_rows::replace(&mut transaction, &cursor, &fold).await?;
        crash_point!("rebuild.before_replace_commit");
        transaction.commit().await?;
        crash_point!("rebuild.after_replace_commit");
        self.is_rebuilt = true;
        Ok(())
    }
}

//! Drift: finding it, counting it, mending it.

use crate::bookkeeper::{Bookkeeper, fresh_projections_of, projections_of, without_projector};
use crate::drift_desk::{drift, edit, projected_wallet};
use crate::support::uuid_of;
use bursar_contracts::wallet::v1::{Drift, DriftKind, RebuildStatus};

/// Each way to tamper with what is kept is found and named; a dry run counts it
/// and changes nothing; a rebuild mends it to the last row.
#[tokio::test]
async fn drift_is_found_and_mended() {
    let fixture = without_projector().await;
    let (pool, books) = (&fixture.database.pool, Bookkeeper::of(&fixture));
    let wallet = projected_wallet(&fixture).await;
    let id = uuid_of(&wallet.wallet_id);
    let none = drift(&books, &wallet).await;
    assert_eq!((none.wallets_checked, none.differences), (1, 0), "{none:?}");
    let superuser = fixture.database.superuser().await;
    let days = "SELECT min(day) FROM wallet_days WHERE wallet_id = $id";
    let cases: [(&str, &[DriftKind]); 12] = [
        (
            "UPDATE wallet_days SET available_in = available_in + 1 WHERE wallet_id = $id
                 AND day = ($days)",
            &[DriftKind::Day],
        ),
        (
            "UPDATE wallet_days SET entries = 0, held_out = 99999999999999999999999
             WHERE wallet_id = $id AND day = ($days)",
            &[DriftKind::Day],
        ),
        (
            "DELETE FROM wallet_days WHERE wallet_id = $id AND day = ($days)",
            &[DriftKind::Day],
        ),
        (
            "INSERT INTO wallet_days SELECT wallet_id, day - 400, tenant_id, currency, 1, 0, 0, 0,
                 0, 0, 1, 1, 1 FROM wallet_days WHERE wallet_id = $id AND day = ($days)",
            &[DriftKind::Day],
        ),
        (
            "UPDATE wallet_snapshots SET held = held + 1 WHERE wallet_id = $id",
            &[DriftKind::Snapshot],
        ),
        (
            "DELETE FROM wallet_snapshots WHERE wallet_id = $id",
            &[DriftKind::Snapshot],
        ),
        (
            "INSERT INTO wallet_snapshots VALUES ($id, 7, 1, 1, 1)",
            &[DriftKind::Snapshot],
        ),
        (
            "UPDATE displaced_entries SET amount = amount + 1 WHERE wallet_id = $id AND version = 1",
            &[DriftKind::DisplacedEntry],
        ),
        (
            "DELETE FROM displaced_entries WHERE wallet_id = $id",
            &[DriftKind::DisplacedEntry, DriftKind::DisplacedEntry],
        ),
        (
            "INSERT INTO displaced_entries VALUES ($id, 900, now(), 'held', 4)",
            &[DriftKind::DisplacedEntry],
        ),
        (
            "UPDATE projection_cursors SET bonus = bonus - 1 WHERE wallet_id = $id",
            &[DriftKind::Cursor],
        ),
        (
            "UPDATE projection_cursors SET version = version + 5 WHERE wallet_id = $id",
            &[DriftKind::Cursor],
        ),
    ];
    let right = projections_of(pool, id).await;
    assert_eq!(right, fresh_projections_of(pool, id).await);
    for (statement, kinds) in cases {
        let statement = statement
            .replace("$days", days)
            .replace("$id", &format!("'{id}'"));
        edit(&superuser, &statement).await;
        let found = drift(&books, &wallet).await;
        let found_kinds: Vec<DriftKind> = found.drifts.iter().map(Drift::kind).collect();
        assert_eq!(found_kinds, kinds, "{statement}: {found:?}");
        let tampered = projections_of(pool, id).await;
        let dry = books.rebuild(Some(&wallet), true).await.expect("a dry run");
        let count = i64::try_from(kinds.len()).expect("few");
        assert_eq!(dry.status(), RebuildStatus::Completed);
        assert_eq!(
            (dry.differences, dry.wallets_differing, dry.wallets_rebuilt),
            (count, 1, 0)
        );
        assert_eq!(projections_of(pool, id).await, tampered, "{statement}");
        let wet = books
            .rebuild(Some(&wallet), false)
            .await
            .expect("a rebuild");
        assert_eq!(
            (wet.differences, wet.wallets_rebuilt),
            (count, 1),
            "{statement}"
        );
        assert_eq!(projections_of(pool, id).await, right, "{statement}");
        assert_eq!(drift(&books, &wallet).await.differences, 0, "{statement}");
    }
    superuser.close().await;
    fixture.verify().await;
}

/// A cursor that was moved back makes the days count entries twice; that is found
/// and mended, too, and so is a cursor that is gone.
#[tokio::test]
async fn a_cursor_that_was_moved_is_mended() {
    let fixture = without_projector().await;
    let (pool, books) = (&fixture.database.pool, Bookkeeper::of(&fixture));
    let wallet = projected_wallet(&fixture).await;
    let id = uuid_of(&wallet.wallet_id);
    let right = projections_of(pool, id).await;
    let superuser = fixture.database.superuser().await;
    for statement in [
        "UPDATE projection_cursors SET version = 500 WHERE wallet_id = $id",
        "UPDATE projection_cursors SET version = 0, available = 0, held = 0 WHERE wallet_id = $id",
        "DELETE FROM projection_cursors WHERE wallet_id = $id",
    ] {
        let statement = statement.replace("$id", &format!("'{id}'"));
        edit(&superuser, &statement).await;
        let found = drift(&books, &wallet).await;
        assert!(found.differences > 0, "{statement}");
        let wet = books
            .rebuild(Some(&wallet), false)
            .await
            .expect("a rebuild");
        assert_eq!(wet.wallets_rebuilt, 1);
        assert_eq!(projections_of(pool, id).await, right, "{statement}");
    }
    superuser.close().await;
}

/// A balance that is not the sum of its entries is told, and no rebuild touches it
/// or gives up on account of it.
#[tokio::test]
async fn balances_are_told_and_left_alone() {
    let fixture = without_projector().await;
    let (pool, books) = (&fixture.database.pool, Bookkeeper::of(&fixture));
    let wallet = projected_wallet(&fixture).await;
    let superuser = fixture.database.superuser().await;
    let id = uuid_of(&wallet.wallet_id);
    edit(
        &superuser,
        &format!("UPDATE wallets SET available = available + 1 WHERE id = '{id}'"),
    )
    .await;
    edit(
        &superuser,
        &format!("UPDATE wallet_days SET entries = 0 WHERE wallet_id = '{id}'"),
    )
    .await;
    let found = drift(&books, &wallet).await;
    let kinds: Vec<DriftKind> = found.drifts.iter().map(Drift::kind).collect();
    assert!(
        kinds.contains(&DriftKind::Balance) && kinds.contains(&DriftKind::Day),
        "{found:?}"
    );
    let wet = books
        .rebuild(Some(&wallet), false)
        .await
        .expect("a rebuild");
    assert_eq!((wet.balance_differences, wet.wallets_rebuilt), (1, 1));
    let found = drift(&books, &wallet).await;
    let kinds: Vec<DriftKind> = found.drifts.iter().map(Drift::kind).collect();
    assert_eq!(kinds, [DriftKind::Balance]);
    assert_eq!(
        projections_of(pool, id).await,
        fresh_projections_of(pool, id).await
    );
    superuser.close().await;
}

//! The steps at which the tests kill.

use std::path::Path;

use bursar_testkit::crash_points;

/// The points of the write path that every batch meets, in its order.
pub(crate) const POINTS: [&str; 8] = [
    "ledger.after_take",
    "ledger.after_begin",
    "ledger.after_lock",
    "ledger.after_decide",
    "ledger.after_write",
    "ledger.after_commit",
    "ledger.after_cache",
    "ledger.after_answer",
];

/// All others: before and after each commit, and each call of the provider.
pub(crate) const ERRANDS: [&str; 48] = [
    "bonus_count.after_keep",
    "bonus_count.before_keep",
    "bonus_job.after_post",
    "bonus_job.before_post",
    "campaign.after_commit",
    "campaign.before_commit",
    "cleanup.after_delete",
    "cleanup.before_delete",
    "creation.after_commit",
    "creation.after_keyed_commit",
    "creation.after_unkeyed_commit",
    "creation.before_commit",
    "creation.before_keyed_commit",
    "creation.before_unkeyed_commit",
    "hold_expiry.after_post",
    "hold_expiry.before_post",
    "ledger.after_open_system",
    "ledger.before_open_system",
    "once.after_commit",
    "once.after_unkeyed_commit",
    "once.before_commit",
    "once.before_unkeyed_commit",
    "projector.after_slice_commit",
    "projector.after_wallet_commit",
    "projector.before_slice_commit",
    "projector.before_wallet_commit",
    "provider_account.after_claim",
    "provider_account.after_fail_commit",
    "provider_account.after_forget",
    "provider_account.after_look",
    "provider_account.after_note",
    "provider_account.after_open_commit",
    "provider_account.after_release",
    "provider_account.after_send",
    "provider_account.before_fail_commit",
    "provider_account.before_look",
    "provider_account.before_note",
    "provider_account.before_open_commit",
    "rebuild.after_claim",
    "rebuild.after_mend",
    "rebuild.after_progress",
    "rebuild.after_replace_commit",
    "rebuild.before_mend",
    "rebuild.before_progress",
    "rebuild.before_replace_commit",
    "rebuild.between_mends",
    "sealer.after_commit",
    "sealer.before_commit",
];

/// The code has these points and no others, each in one place.
#[test]
fn every_point_in_the_code_is_killed_at() {
    let listed = POINTS.iter().chain(&ERRANDS);
    let mut listed: Vec<String> = listed.copied().map(str::to_owned).collect();
    listed.sort();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    assert_eq!(crash_points(&sources), listed);
}

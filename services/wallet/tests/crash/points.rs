//! The steps of the write path at which the tests kill.

use std::path::Path;

use bursar_testkit::crash_points;

/// Every crash point of the service, in the order in which a batch meets them.
pub(crate) const POINTS: [&str; 7] = [
    "ledger.after_take",
    "ledger.after_begin",
    "ledger.after_lock",
    "ledger.after_decide",
    "ledger.after_write",
    "ledger.after_commit",
    "ledger.after_answer",
];

/// The code has these points and no others, each in one place.
#[test]
fn every_point_in_the_code_is_killed_at() {
    let mut listed = POINTS.map(str::to_owned).to_vec();
    listed.sort();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    assert_eq!(crash_points(&sources), listed);
}

//! The points, and what must be going on for each to be reached.

use std::path::Path;

use bursar_testkit::crash_points;

use crate::traffic::Flow;

/// One kill.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) point: &'static str,
    pub(crate) flow: Flow,
    pub(crate) way: Way,
}

/// How the point is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By the callers' requests: at the second of them.
    Asking,
    /// By recovery, after the callers' process was killed at this point.
    Recovering(&'static str),
    /// By callers who ask again, after recovery has finished what was killed there.
    AskingAgain(&'static str),
}

/// Where every flow passes.
const ALWAYS: [&str; 2] = ["advance.before_post", "advance.after_post"];
/// Where whatever is no transfer passes besides.
const ALONE: [&str; 4] = [
    "creation.before_intent_commit",
    "creation.after_intent_commit",
    "advance.before_commit_last",
    "advance.after_commit_last",
];
/// Where a transfer passes instead.
const TOGETHER: [&str; 4] = [
    "intents.before_commit",
    "intents.after_commit",
    "endings.before_commit",
    "endings.after_commit",
];
/// Where a flow with a provider passes besides.
const WITH_PROVIDER: [&str; 4] = [
    "advance.before_ask",
    "advance.after_ask",
    "advance.before_commit_between",
    "advance.after_commit_between",
];
/// Where recovery passes.
const RECOVERING: [&str; 3] = [
    "recovery.after_claim",
    "recovery.before_resume",
    "recovery.after_resume",
];
/// Where recovery passes when a provider may have been asked.
const LOOKING: [&str; 2] = ["advance.before_look", "advance.after_look"];
/// Where a key is answered whose transaction somebody else has finished.
const ANSWERING_LATE: [&str; 2] = [
    "creation.before_answer_commit",
    "creation.after_answer_commit",
];
/// Where a callback passes.
const CALLED_BACK: [&str; 3] = [
    "callback.after_receive",
    "callback.before_commit",
    "callback.after_commit",
];
/// Where bulk transfers pass.
const IN_BULK: [&str; 3] = [
    "bulk.after_intent_commit",
    "bulk.after_post",
    "bulk.after_outcome_commit",
];
/// Where planned transfers pass.
const PLANNED: [&str; 11] = [
    "schedule.before_create_commit",
    "schedule.after_create_commit",
    "schedule.after_claim",
    "schedule.before_begin_commit",
    "schedule.after_begin_commit",
    "schedule.before_attempt",
    "schedule.after_attempt",
    "schedule.before_end_commit",
    "schedule.after_end_commit",
    "schedule.before_put_off_commit",
    "schedule.after_put_off_commit",
];
/// Where events pass on their way out.
const PUBLISHING: [&str; 3] = ["relay.before_add", "relay.after_add", "relay.after_delete"];
/// Where the jobs pass that have their turn every now and then.
const NOW_AND_THEN: [&str; 2] = [
    "callbacks.before_match_commit",
    "callbacks.after_match_commit",
];
/// Where the job passes that has its turn every minute.
const EVERY_MINUTE: [&str; 2] = ["cleanup.before_delete", "cleanup.after_delete"];

/// Every kill but those that take a minute to come.
pub(crate) fn all() -> Vec<Case> {
    use Flow::{
        Bulk, Deposit, DepositLater, GiveBack, Planned, RefundDeposit, Transfer, Withdrawal,
    };
    let mut cases = Vec::new();
    let mut add = |points: &[&'static str], flows: &[Flow], way: Way| {
        for &point in points {
            let new = |&flow| Case { point, flow, way };
            cases.extend(flows.iter().map(new));
        }
    };
    let with_provider = [Deposit, Withdrawal, RefundDeposit];
    let single = [Transfer, Deposit, Withdrawal, GiveBack, RefundDeposit];
    add(&ALWAYS, &single, Way::Asking);
    add(&ALONE, &single[1..], Way::Asking);
    add(&TOGETHER, &single[..1], Way::Asking);
    add(&WITH_PROVIDER, &with_provider, Way::Asking);
    add(&RECOVERING, &single, Way::Recovering("advance.after_post"));
    add(
        &LOOKING,
        &with_provider,
        Way::Recovering("advance.after_ask"),
    );
    let interrupted = Way::AskingAgain("intents.after_commit");
    add(&ANSWERING_LATE, &[Transfer], interrupted);
    let interrupted = Way::AskingAgain("creation.after_intent_commit");
    add(&ANSWERING_LATE, &[Withdrawal], interrupted);
    add(&CALLED_BACK, &[DepositLater], Way::Asking);
    add(&IN_BULK, &[Bulk], Way::Asking);
    add(&PLANNED, &[Planned], Way::Asking);
    add(&PUBLISHING, &[Transfer], Way::Asking);
    add(&NOW_AND_THEN, &[Transfer], Way::Asking);
    cases
}

/// The kills that take a minute to come.
pub(crate) fn every_minute() -> [Case; 2] {
    let (flow, way) = (Flow::Transfer, Way::Asking);
    EVERY_MINUTE.map(|point| Case { point, flow, way })
}

/// The code has these points and no others, each in one place.
#[test]
fn every_point_in_the_code_is_killed_at() {
    let mut listed: Vec<&str> = all().iter().map(|case| case.point).collect();
    listed.extend(EVERY_MINUTE);
    listed.sort_unstable();
    listed.dedup();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = crash_points(&here.join("src"));
    named.extend(crash_points(&here.join("../../shared/events/src")));
    named.sort();
    assert_eq!(named, listed);
}

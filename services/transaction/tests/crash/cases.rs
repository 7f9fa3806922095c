//! The points, and what must be going on for each to be reached.

use std::path::Path;

use bursar_testkit::crash_points;

use crate::flow::Flow;
use crate::passages::{EVENTS, EVERY_MINUTE, MANY, MOVEMENTS, PEOPLE, Passage, RECONCILIATION};

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
    /// By callers who ask again before recovery finds what was killed there.
    TakingOver(&'static str),
    /// By what the process does as it starts.
    Starting,
    /// By that, after another process was killed at this point.
    StartingAfter(&'static str),
}

/// Every kill but those that take a minute to come.
pub(crate) fn all() -> Vec<Case> {
    let groups: [&[Passage]; 5] = [&MOVEMENTS, &MANY, &PEOPLE, &RECONCILIATION, &EVENTS];
    let mut cases = Vec::new();
    for passage in groups.into_iter().flatten() {
        let way = passage.way;
        for &point in passage.points {
            let new = |&flow| Case { point, flow, way };
            cases.extend(passage.flows.iter().map(new));
        }
    }
    cases
}

impl Case {
    /// Whether most of it is waiting: for a job's turn, or for a call that is not
    /// answered.
    pub(crate) fn waits(&self) -> bool {
        let jobs = ["relay.before_", "relay.after_", "callbacks.", "nightly."];
        let is_job = jobs.iter().any(|part| self.point.starts_with(part));
        is_job || self.flow.is_held_up() || self.flow == Flow::Decision
    }
}

/// The kills that take a minute to come.
pub(crate) fn every_minute() -> [Case; EVERY_MINUTE.len()] {
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

//! The service's process is killed at every step outside the write path.

use std::fs;

use bursar_testkit::side_by_side;
use uuid::Uuid;

use crate::day::Day;
use crate::points::ERRANDS;

/// How many points are tried at the same time: most of a day is waiting.
const LANES: usize = 6;

/// A day in which the process is killed, at whatever point, ends as one in which
/// it is not: nothing is lost, and nothing happens twice.
#[test]
fn a_kill_changes_no_day() {
    side_by_side((0..LANES).map(|first| move || lane(first)));
}

/// Every sixth point, from one of the first on.
async fn lane(first: usize) {
    for point in ERRANDS.iter().skip(first).step_by(LANES) {
        let mut day = Day::begin(&[("BURSAR_CRASH_POINT", point)]).await;
        day.run_errands().await;
        assert_eq!(day.kills(), 1, "{point} was not reached");
        day.ends_well().await;
    }
}

/// A day that nobody cuts off comes by every point: the kills above are kills
/// where they say.
#[tokio::test]
async fn every_errand_comes_by_its_points() {
    let reached = std::env::temp_dir().join(format!("bursar-points-{}", Uuid::now_v7()));
    let path = reached.to_str().expect("a temporary path is text");
    let mut day = Day::begin(&[("BURSAR_CRASH_POINTS_LOG", path)]).await;
    day.run_errands().await;
    assert_eq!(day.kills(), 0);
    day.ends_well().await;
    let names = fs::read_to_string(&reached).expect("points were reached");
    fs::remove_file(&reached).expect("the file is ours");
    let names: Vec<&str> = names.lines().collect();
    let missing = ERRANDS.iter().filter(|point| !names.contains(point));
    let missing: Vec<_> = missing.collect();
    assert!(missing.is_empty(), "never reached: {missing:?}");
}

//! Points in a process of their own: this test program, started again.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bursar_crash::{CANARY_VARIABLE, LOG_VARIABLE, PLAN_VARIABLE, canary, crash_point};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use uuid::Uuid;

const OUTPUT: &str = "BURSAR_CRASH_TEST_OUTPUT";

/// What the started program runs; does nothing in the program that starts it.
#[test]
fn body() {
    let Some(output) = std::env::var_os(OUTPUT).map(PathBuf::from) else {
        return;
    };
    for turn in 1..=3 {
        crash_point!("test.before");
        let turn = if canary!("test.broken") { -turn } else { turn };
        fs::write(&output, format!("{turn}")).unwrap();
        crash_point!("test.after");
    }
}

/// A directory that is removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("bursar-crash-{}", Uuid::now_v7()));
        fs::create_dir(&path).expect("a directory is made");
        Self(path)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn start(directory: &Path, plan: Option<&str>) -> Child {
    let mut command = prepare(directory);
    if let Some(plan) = plan {
        command.env(PLAN_VARIABLE, plan);
    }
    command.spawn().expect("it starts")
}

fn prepare(directory: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a program"));
    command
        .args(["--exact", "body"])
        .env(OUTPUT, directory.join("output"))
        .env(LOG_VARIABLE, directory.join("log"))
        .env_remove(PLAN_VARIABLE)
        .env_remove(CANARY_VARIABLE)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// A rule is broken in the process whose environment names it, and in no other.
#[test]
fn a_rule_is_broken_by_name() {
    for (canary, turns) in [("test.broken", "-3"), ("test.other", "3"), ("", "3")] {
        let directory = Directory::new();
        let mut command = prepare(&directory.0);
        let status = command.env(CANARY_VARIABLE, canary).status().unwrap();
        assert!(status.success());
        assert_eq!(directory.read("output"), turns, "{canary}");
    }
}

/// Without a plan nothing happens but that the points are noted, once each.
#[test]
fn without_a_plan_points_are_only_noted() {
    let directory = Directory::new();
    let status = start(&directory.0, None).wait().unwrap();
    assert!(status.success());
    assert_eq!(directory.read("output"), "3");
    assert_eq!(directory.read("log"), "test.before\ntest.after\n");
}

/// The process is killed at the nth time: what comes before the point has
/// happened, what comes after has not.
#[test]
fn the_nth_time_kills() {
    for (plan, turns, log) in [
        ("test.before", "", "test.before\n"),
        ("test.after", "1", "test.before\ntest.after\n"),
        ("test.before:3", "2", "test.before\ntest.after\n"),
        ("test.after:2:kill", "2", "test.before\ntest.after\n"),
    ] {
        let directory = Directory::new();
        let status = start(&directory.0, Some(plan)).wait().unwrap();
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{plan}");
        assert_eq!(directory.read("output"), turns, "{plan}");
        assert_eq!(directory.read("log"), log, "{plan}");
    }
}

/// A point that is not reached so often changes nothing, and nor does a panic
/// elsewhere: only the panic's own thread ends.
#[test]
fn other_plans_are_seen_from_outside() {
    let directory = Directory::new();
    let status = start(&directory.0, Some("test.after:4")).wait().unwrap();
    assert!(status.success());
    let status = start(&directory.0, Some("test.after:2:panic"))
        .wait()
        .unwrap();
    assert_eq!(status.signal(), None);
    assert!(!status.success());
    assert_eq!(directory.read("output"), "2");
}

/// A plan that cannot be read is an error at the first point.
#[test]
fn a_plan_that_cannot_be_read_is_an_error() {
    let directory = Directory::new();
    let status = start(&directory.0, Some("test.after:soon")).wait().unwrap();
    assert!(!status.success());
    assert_eq!(directory.read("output"), "");
}

/// A stopped process waits at the point, and goes on from there.
#[expect(clippy::zombie_processes, reason = "waitpid waits for it")]
#[test]
fn a_stopped_process_goes_on() {
    let directory = Directory::new();
    let child = start(&directory.0, Some("test.after:2:stop"));
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let stopped = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
    assert_eq!(stopped, WaitStatus::Stopped(pid, Signal::SIGSTOP));
    assert_eq!(directory.read("output"), "2");
    kill(pid, Signal::SIGCONT).unwrap();
    let ended = waitpid(pid, None).unwrap();
    assert_eq!(ended, WaitStatus::Exited(pid, 0));
    assert_eq!(directory.read("output"), "3");
}

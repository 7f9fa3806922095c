//! How much CPU a tree of processes used, from `/proc`.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// The kernel counts in ticks of a hundredth of a second on every Linux that
/// Rust runs on (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// The CPU time of a process and of all its descendants, those included that
/// have ended and were waited for.
pub(super) fn used_by_tree(root: i32) -> Duration {
    let processes = processes();
    let mut ticks = 0;
    let mut open = vec![root];
    while let Some(pid) = open.pop() {
        if let Some(process) = processes.get(&pid) {
            ticks += process.own_ticks + process.waited_ticks;
        }
        open.extend(
            processes
                .iter()
                .filter(|(_, process)| process.parent == pid)
                .map(|(&pid, _)| pid),
        );
    }
    TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
}

struct Process {
    parent: i32,
    own_ticks: u64,
    waited_ticks: u64,
}

fn processes() -> HashMap<i32, Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return HashMap::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, parse(&stat)?))
        })
        .collect()
}

/// Fields 4 and 14 to 17; the name in parentheses may hold anything.
fn parse(stat: &str) -> Option<Process> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let mut fields = fields.skip(9).map(str::parse::<u64>);
    let mut next = || fields.next()?.ok();
    Some(Process {
        parent,
        own_ticks: next()? + next()?,
        waited_ticks: next()? + next()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields are counted from the end of the name, whatever it holds.
    #[test]
    fn a_line_is_read() {
        let line = "7 (a) b) S 3 7 7 0 -1 4194560 1 0 0 0 11 12 13 14 20 0 1 0 777 1 1";
        let process = parse(line).unwrap();
        assert_eq!(
            (process.parent, process.own_ticks, process.waited_ticks),
            (3, 23, 27)
        );
        assert!(parse("7 (a").is_none());
    }
}

//! Other processes, as `/proc` shows them.

use std::fs;
use std::path::Path;

use nix::unistd::Pid;

/// The processes whose parent is `parent`.
pub(crate) fn children_of(parent: Pid) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").expect("processes can be listed");
    let pids = entries.filter_map(|entry| {
        let name = entry.ok()?.file_name();
        name.to_str()?.parse().ok().map(Pid::from_raw)
    });
    pids.filter(|pid| stat(*pid).is_some_and(|stat| stat.parent == parent))
        .collect()
}

/// True when a process has ended, also when nobody has waited for it yet.
pub(crate) fn is_gone(pid: Pid) -> bool {
    stat(pid).is_none_or(|stat| matches!(stat.state, 'Z' | 'X'))
}

/// True while a process is stopped by a signal.
pub(crate) fn is_stopped(pid: Pid) -> bool {
    stat(pid).is_some_and(|stat| stat.state == 'T')
}

struct Stat {
    state: char,
    parent: Pid,
}

fn stat(pid: Pid) -> Option<Stat> {
    let text = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    // The name, in parentheses, may contain anything.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some(Stat {
        state: fields.next()?.chars().next()?,
        parent: Pid::from_raw(fields.next()?.parse().ok()?),
    })
}

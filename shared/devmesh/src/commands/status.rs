//! `status`: what runs, where, and how to reach each database.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::home::Home;
use crate::process::launch::Record;
use crate::servers::databases::DatabaseUrls;
use crate::supervisor::observed::{Observed, State};
use crate::{guardian, supervisor};

/// The mesh as `status --format json` prints it.
#[derive(Debug, Default, Serialize)]
pub struct Status {
    /// Every process, the supervisor and the guardian included.
    pub processes: Vec<ProcessStatus>,
    /// Every database.
    pub databases: Vec<DatabaseUrls>,
}

/// One process.
#[derive(Debug, Serialize)]
pub struct ProcessStatus {
    /// Its name in the mesh.
    pub name: String,
    /// Its pid, while it runs.
    pub pid: Option<i32>,
    /// `host:port`; empty for one that listens nowhere.
    pub address: String,
    /// Where its health and metrics are served, when that is another port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_address: Option<String>,
    /// Its state in a word.
    pub state: &'static str,
}

/// Reads the state of a mesh. A mesh that was never started has no processes.
///
/// # Errors
/// When the home cannot be read.
pub fn status(path: &Path) -> anyhow::Result<Status> {
    let Some(home) = Home::open(path)? else {
        return Ok(Status::default());
    };
    let Some(observed) = Observed::load(&home)? else {
        return Ok(Status::default());
    };
    let mut processes = vec![
        daemon(&home, guardian::NAME),
        daemon(&home, supervisor::NAME),
    ];
    for process in observed.processes {
        // What was observed may be old: the record and the kernel decide.
        let record = Record::read_alive(&home, &process.name);
        let is_same = record.as_ref().map(|record| &record.process) == process.process.as_ref();
        let state = match (&record, is_same) {
            (None, _) if process.process.is_none() && process.state == State::Waiting => {
                State::Waiting
            }
            (None, _) => State::Stopped,
            (Some(_), true) => process.state,
            (Some(_), false) => State::Starting,
        };
        processes.push(ProcessStatus {
            pid: record.map(|record| record.process.pid),
            name: process.name,
            address: process.address,
            http_address: process.http_address,
            state: state.as_str(),
        });
    }
    Ok(Status {
        processes,
        databases: observed.databases,
    })
}

fn daemon(home: &Home, name: &str) -> ProcessStatus {
    let record = Record::read_alive(home, name);
    let state = if record.is_some() {
        State::Healthy
    } else {
        State::Stopped
    };
    ProcessStatus {
        name: name.to_owned(),
        pid: record.map(|record| record.process.pid),
        address: String::new(),
        http_address: None,
        state: state.as_str(),
    }
}

impl Status {
    /// The table for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        if self.processes.is_empty() {
            return "no mesh here; start one with `make up`\n".to_owned();
        }
        let mut text = String::new();
        let mut line = |name: &str, pid: &str, address: &str, state: &str| {
            let row = format!("{name:<12} {pid:>8}  {address:<22} {state}");
            let _ = writeln!(text, "{}", row.trim_end());
        };
        line("PROCESS", "PID", "ADDRESS", "STATE");
        for process in &self.processes {
            let pid = process
                .pid
                .map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            let address = if process.address.is_empty() {
                "-"
            } else {
                &process.address
            };
            line(&process.name, &pid, address, process.state);
        }
        if !self.databases.is_empty() {
            let _ = writeln!(text, "\n{:<12} URL", "DATABASE");
        }
        for database in &self.databases {
            let _ = writeln!(
                text,
                "{:<12} {}  (owner)",
                database.service, database.owner_url
            );
            let _ = writeln!(
                text,
                "{:<12} {}  (application)",
                "", database.application_url
            );
        }
        text
    }
}

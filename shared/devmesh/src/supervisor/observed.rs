//! What the supervisor saw last, for `up`, `status` and tests to read.

use std::io;

use serde::{Deserialize, Serialize};

use crate::home::{Home, json};
use crate::process::identity::ProcessId;
use crate::servers::databases::DatabaseUrls;

/// The whole mesh at one moment.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Observed {
    /// The generation of the intent this mesh carries out.
    pub generation: u64,
    /// Why there is no plan, if there is none.
    pub error: Option<String>,
    /// Every process of the plan, in start order.
    pub processes: Vec<ObservedProcess>,
    /// Every database.
    pub databases: Vec<DatabaseUrls>,
    /// PostgreSQL as its superuser.
    pub superuser_url: String,
}

/// One process at one moment.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ObservedProcess {
    /// Its name in the mesh.
    pub name: String,
    /// The process, while there is one.
    pub process: Option<ProcessId>,
    /// `host:port`.
    pub address: String,
    /// Where its health and metrics are served, when that is another port.
    pub http_address: Option<String>,
    /// Its state.
    pub state: State,
    /// How often it was started in this supervisor's time after the first start.
    pub restarts: u32,
    /// Failures since it was last healthy for a while.
    pub failures: u32,
    /// The last thing that went wrong.
    pub last_error: Option<String>,
}

/// The states of a process.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not running yet: what it needs is not healthy, or it pauses after a death.
    Waiting,
    /// Running, not healthy yet.
    Starting,
    /// Running and answering.
    Healthy,
    /// Running, was healthy, and does not answer as it should.
    Unhealthy,
    /// Ending, to be replaced by a newer one.
    Stopping,
    /// Not running, and not meant to.
    Stopped,
}

impl State {
    /// The word shown to people and programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

impl Observed {
    /// What was seen last in this home, if anything.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load(home: &Home) -> io::Result<Option<Self>> {
        json::read(&home.observed())
    }

    /// Writes it for the others.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, home: &Home) -> io::Result<()> {
        json::write(&home.observed(), self)
    }

    /// Whether every process answers.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        !self.processes.is_empty()
            && self
                .processes
                .iter()
                .all(|process| process.state == State::Healthy)
    }

    /// The process of that name.
    #[must_use]
    pub fn process(&self, name: &str) -> Option<&ObservedProcess> {
        self.processes.iter().find(|process| process.name == name)
    }
}

//! What a Redis is for. Each purpose has its own address and its own prefix, so
//! that a cache can be flushed or evicted without touching a counter, and two
//! purposes on one server (in development) do not meet.

use std::fmt;

/// What a Redis is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Copies for display; losing any of them costs a read.
    Cache,
    /// Counters, codes and revocations; losing one opens a door.
    State,
    /// Sessions; losing one logs somebody out, or back in.
    Sessions,
    /// The event bus.
    Events,
}

impl Purpose {
    /// The name, as it appears in keys and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::State => "state",
            Self::Sessions => "sessions",
            Self::Events => "events",
        }
    }

    /// The variable that holds the address.
    #[must_use]
    pub fn variable(self) -> &'static str {
        match self {
            Self::Cache => "BURSAR_REDIS_CACHE_URL",
            Self::State => "BURSAR_REDIS_STATE_URL",
            Self::Sessions => "BURSAR_REDIS_SESSIONS_URL",
            Self::Events => "BURSAR_REDIS_EVENTS_URL",
        }
    }

    /// Whether the server may drop keys when its memory is full.
    #[must_use]
    pub fn may_evict(self) -> bool {
        match self {
            Self::Cache => true,
            Self::State | Self::Sessions | Self::Events => false,
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What all keys of one service for one purpose begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyspace {
    prefix: String,
}

impl Keyspace {
    /// `bursar:<purpose>:<service>:`.
    #[must_use]
    pub fn new(purpose: Purpose, service: &str) -> Self {
        Self {
            prefix: format!("bursar:{purpose}:{service}:"),
        }
    }

    /// The same behind another prefix, so that tests can share a server.
    #[must_use]
    pub fn within(&self, outer: &str) -> Self {
        Self {
            prefix: format!("{outer}{}", self.prefix),
        }
    }

    /// A part of the keyspace: `<prefix><name>:`.
    #[must_use]
    pub fn part(&self, name: &str) -> Self {
        Self {
            prefix: format!("{}{name}:", self.prefix),
        }
    }

    /// The whole key.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// What the keys begin with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys of two purposes, services or parts never meet.
    #[test]
    fn keys_name_purpose_and_service() {
        let keys = Keyspace::new(Purpose::State, "identity").part("codes");
        assert_eq!(keys.key("usr_1"), "bursar:state:identity:codes:usr_1");
        assert_eq!(
            keys.within("t1:").key("usr_1"),
            "t1:bursar:state:identity:codes:usr_1"
        );
    }
}

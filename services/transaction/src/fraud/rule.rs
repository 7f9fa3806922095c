//! A rule as it is stored.

use std::cmp::Reverse;

use uuid::Uuid;

/// What becomes of what a rule matches. The order is that of strictness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// It goes on, and no later rule is heard.
    Allow,
    /// A person decides.
    Review,
    /// It is refused.
    Deny,
}

/// Whether a rule counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It is not tried.
    Off,
    /// It is tried and counted, and decides nothing.
    Shadow,
    /// It decides.
    Active,
}

/// When a rule is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Before the transaction is recorded.
    Before,
    /// When it is COMPLETED.
    After,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// What its counts belong to. A rule of the same name that is made later has
    /// another one.
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) version: i64,
    pub(crate) expression: String,
    pub(crate) outcome: Outcome,
    pub(crate) mode: Mode,
    pub(crate) stage: Stage,
    pub(crate) priority: i32,
}

impl Rule {
    /// By what rules are heard: the priority, of two the stricter, of two the name.
    pub(crate) fn place(&self) -> (i32, Reverse<Outcome>, &str) {
        (self.priority, Reverse(self.outcome), &self.name)
    }
}

impl Outcome {
    pub(crate) const ALL: [Self; 3] = [Self::Allow, Self::Review, Self::Deny];

    /// The name in the database and in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Allow => "ALLOW",
            Self::Review => "REVIEW",
            Self::Deny => "DENY",
        }
    }

    /// The outcome of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

impl Mode {
    pub(crate) const ALL: [Self; 3] = [Self::Off, Self::Shadow, Self::Active];

    /// The name in the database and in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Off => "OFF",
            Self::Shadow => "SHADOW",
            Self::Active => "ACTIVE",
        }
    }

    /// The mode of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

impl Stage {
    pub(crate) const ALL: [Self; 2] = [Self::Before, Self::After];

    /// The name in the database and in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Before => "BEFORE",
            Self::After => "AFTER",
        }
    }

    /// The stage of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

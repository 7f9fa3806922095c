//! Rules of matching: data that operators set, a list for each provider.

use std::collections::BTreeSet;

use thiserror::Error;

/// The most rules that a provider has.
pub const MAX_RULES: usize = 16;
/// The widest tolerance, in minor units.
pub const MAX_TOLERANCE_MINOR: i64 = 1_000_000;
/// The widest window, in days.
pub const MAX_WINDOW_DAYS: u32 = 90;

/// By what a rule joins lines with transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// The line's reference is the transaction's id.
    Reference,
    /// The provider's reference of both.
    ProviderReference,
    /// The line's batch reference is the transaction's provider reference.
    BatchReference,
}

/// How many a rule joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cardinality {
    /// One line with one transaction.
    OneToOne,
    /// The sum of several lines with one transaction.
    ManyToOne,
    /// One line with the sum of several transactions.
    OneToMany,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// A name for people, unique among a provider's.
    pub name: String,
    /// By what it joins.
    pub key: Key,
    /// How many it joins.
    pub cardinality: Cardinality,
    /// By how much the sums may differ, in minor units.
    pub tolerance_minor: i64,
    /// By how many days the dates may differ.
    pub window_days: u32,
}

/// Why a list of rules is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RulesInvalid {
    /// There is none, or there are too many.
    #[error("a provider has 1 to 16 rules")]
    Count,
    /// Two rules have the same name.
    #[error("two rules are called {name}")]
    NameTwice {
        /// The name.
        name: String,
    },
    /// A number is out of bounds.
    #[error("the tolerance or the window of {name} is out of bounds")]
    Bounds {
        /// The rule.
        name: String,
    },
    /// A transaction's id is one transaction's, so no rule finds several by it.
    #[error("{name} looks for several transactions by the id of one")]
    ManyByReference {
        /// The rule.
        name: String,
    },
    /// A rule that can never join anything, since an earlier one joins it all.
    #[error("{name} comes after {earlier}, which is as wide or wider")]
    Unreachable {
        /// The rule.
        name: String,
        /// The earlier one.
        earlier: String,
    },
}

impl Rule {
    /// The rules that every provider begins with.
    pub fn initial() -> Vec<Self> {
        let rule = |name: &str, key, cardinality| Self {
            name: name.to_owned(),
            key,
            cardinality,
            tolerance_minor: 0,
            window_days: 1,
        };
        vec![
            rule("reference", Key::Reference, Cardinality::OneToOne),
            rule(
                "provider_reference",
                Key::ProviderReference,
                Cardinality::OneToOne,
            ),
            rule("parts_of_one", Key::Reference, Cardinality::ManyToOne),
            rule("batch", Key::BatchReference, Cardinality::ManyToOne),
            rule("collective", Key::ProviderReference, Cardinality::OneToMany),
        ]
    }

    /// Checks a whole list.
    pub fn validate(rules: &[Self]) -> Result<(), RulesInvalid> {
        if rules.is_empty() || rules.len() > MAX_RULES {
            return Err(RulesInvalid::Count);
        }
        let mut names = BTreeSet::new();
        for (place, rule) in rules.iter().enumerate() {
            let name = rule.name.clone();
            if !names.insert(&*rule.name) {
                return Err(RulesInvalid::NameTwice { name });
            }
            if !(0..=MAX_TOLERANCE_MINOR).contains(&rule.tolerance_minor)
                || rule.window_days > MAX_WINDOW_DAYS
            {
                return Err(RulesInvalid::Bounds { name });
            }
            if rule.key == Key::Reference && rule.cardinality == Cardinality::OneToMany {
                return Err(RulesInvalid::ManyByReference { name });
            }
            if let Some(earlier) = rules.iter().take(place).find(|wide| wide.covers(rule)) {
                let earlier = earlier.name.clone();
                return Err(RulesInvalid::Unreachable { name, earlier });
            }
        }
        Ok(())
    }

    /// Whether this rule joins everything that the other one would.
    fn covers(&self, other: &Self) -> bool {
        self.key == other.key
            && self.cardinality == other.cardinality
            && self.tolerance_minor >= other.tolerance_minor
            && self.window_days >= other.window_days
    }
}

impl Key {
    /// Every key.
    pub const ALL: [Self; 3] = [
        Self::Reference,
        Self::ProviderReference,
        Self::BatchReference,
    ];

    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reference => "REFERENCE",
            Self::ProviderReference => "PROVIDER_REFERENCE",
            Self::BatchReference => "BATCH_REFERENCE",
        }
    }

    /// The key of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }
}

impl Cardinality {
    /// Every cardinality.
    pub const ALL: [Self; 3] = [Self::OneToOne, Self::ManyToOne, Self::OneToMany];

    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::OneToOne => "ONE_TO_ONE",
            Self::ManyToOne => "MANY_TO_ONE",
            Self::OneToMany => "ONE_TO_MANY",
        }
    }

    /// The cardinality of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|many| many.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, key: Key, cardinality: Cardinality) -> Rule {
        Rule {
            name: name.to_owned(),
            key,
            cardinality,
            tolerance_minor: 0,
            window_days: 1,
        }
    }

    /// The first rules of every provider keep the rules for rules.
    #[test]
    fn the_initial_rules_are_valid() {
        assert_eq!(Rule::validate(&Rule::initial()), Ok(()));
    }

    /// Each contradiction in a list is refused by its own name.
    #[test]
    fn contradictions_are_refused() {
        let one = rule("one", Key::Reference, Cardinality::OneToOne);
        assert_eq!(Rule::validate(&[]), Err(RulesInvalid::Count));
        let name = "one".to_owned();
        assert_eq!(
            Rule::validate(&[one.clone(), one.clone()]),
            Err(RulesInvalid::NameTwice { name: name.clone() })
        );
        let wide = Rule {
            window_days: MAX_WINDOW_DAYS + 1,
            ..one.clone()
        };
        assert_eq!(Rule::validate(&[wide]), Err(RulesInvalid::Bounds { name }));
        let many = rule("many", Key::Reference, Cardinality::OneToMany);
        assert_eq!(
            Rule::validate(&[many]),
            Err(RulesInvalid::ManyByReference {
                name: "many".to_owned()
            })
        );
        let again = rule("again", Key::Reference, Cardinality::OneToOne);
        assert_eq!(
            Rule::validate(&[one.clone(), again.clone()]),
            Err(RulesInvalid::Unreachable {
                name: "again".to_owned(),
                earlier: "one".to_owned()
            })
        );
        let wider = Rule {
            tolerance_minor: 5,
            ..again
        };
        assert_eq!(Rule::validate(&[one, wider]), Ok(()));
    }
}

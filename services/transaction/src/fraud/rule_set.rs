//! A tenant's rules, compiled, and what they say of a subject.
//!
//! Active rules are heard in their order, and the first that matches decides. One
//! that cannot be evaluated makes sure that a person looks: no rule behind it can
//! allow any more, one that denies still does. Shadow rules are heard too and decide
//! nothing. All matches are kept as findings, whatever decided.

use super::expression::{Expression, Problem};
use super::rule::{Mode, Outcome, Rule, Stage};
use super::variables::Variables;

/// What the rules say of a subject. The order is that of strictness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// It goes on.
    Allow,
    /// A person decides.
    Review,
    /// It is refused.
    Deny,
}

impl From<Outcome> for Verdict {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Allow => Self::Allow,
            Outcome::Review => Self::Review,
            Outcome::Deny => Self::Deny,
        }
    }
}

impl Verdict {
    /// The name in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Allow => "ALLOW",
            Self::Review => "REVIEW",
            Self::Deny => "DENY",
        }
    }
}

/// A rule that matched, or that could not be evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) rule: Rule,
    /// True when it could not be evaluated.
    pub(crate) is_error: bool,
}

/// The rule by which the verdict is what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) rule_name: String,
    pub(crate) rule_version: i64,
    pub(crate) is_error: bool,
}

impl From<&Finding> for Decision {
    fn from(finding: &Finding) -> Self {
        Self {
            rule_name: finding.rule.name.clone(),
            rule_version: finding.rule.version,
            is_error: finding.is_error,
        }
    }
}

/// What the rules say of one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Screening {
    pub(crate) verdict: Verdict,
    /// What decided; `None` when no rule did, and the verdict is to allow.
    pub(crate) decision: Option<Decision>,
    /// Every rule that matched or could not be evaluated.
    pub(crate) findings: Vec<Finding>,
    /// What the rules saw; `None` when there are no rules.
    pub(crate) variables: Option<Variables>,
}

impl Screening {
    /// What no rule looked at goes on.
    pub(crate) fn unseen() -> Self {
        Self {
            verdict: Verdict::Allow,
            decision: None,
            findings: Vec::new(),
            variables: None,
        }
    }
}

struct Compiled {
    rule: Rule,
    /// A stored expression that this version cannot compile is a rule that cannot be
    /// evaluated.
    expression: Result<Expression, Problem>,
}

/// A tenant's rules, compiled and in their order.
pub(crate) struct RuleSet {
    /// Which state of the tenant's rules this is.
    pub(crate) revision: i64,
    rules: Vec<Compiled>,
}

impl RuleSet {
    /// Compiles the rules; those that are off are left out.
    pub(crate) fn compile(revision: i64, mut rules: Vec<Rule>) -> Self {
        rules.retain(|rule| rule.mode != Mode::Off);
        rules.sort_by(|left, right| left.place().cmp(&right.place()));
        let rules = rules
            .into_iter()
            .map(|rule| Compiled {
                expression: Expression::compile(&rule.expression),
                rule,
            })
            .collect();
        Self { revision, rules }
    }

    /// Whether any rule is tried at a stage.
    pub(crate) fn has_any(&self, stage: Stage) -> bool {
        self.rules
            .iter()
            .any(|compiled| compiled.rule.stage == stage)
    }

    /// What the rules of a stage say.
    pub(crate) fn screen(&self, stage: Stage, variables: Variables) -> Screening {
        let context = variables.context();
        let mut findings = Vec::new();
        for compiled in &self.rules {
            if compiled.rule.stage != stage {
                continue;
            }
            let is_true = match &compiled.expression {
                Ok(expression) => expression.is_true(&context).map_err(|it| it.to_string()),
                Err(problem) => Err(problem.to_string()),
            };
            if let Err(cause) = &is_true {
                tracing::warn!(rule = compiled.rule.name, cause, "a fraud rule failed");
            }
            if is_true != Ok(false) {
                findings.push(Finding {
                    rule: compiled.rule.clone(),
                    is_error: is_true.is_err(),
                });
            }
        }
        let (verdict, decision) = verdict(&findings);
        Screening {
            verdict,
            decision,
            findings,
            variables: Some(variables),
        }
    }
}

/// What follows from the findings, which are in the order of their rules.
fn verdict(findings: &[Finding]) -> (Verdict, Option<Decision>) {
    let mut failed = None;
    for finding in findings {
        if finding.rule.mode != Mode::Active {
            continue;
        }
        if finding.is_error {
            failed = failed.or(Some(finding));
            continue;
        }
        let verdict = Verdict::from(finding.rule.outcome);
        if failed.is_none() || verdict > Verdict::Review {
            return (verdict, Some(finding.into()));
        }
        // It allows, which it may not any more, or a person looks anyway.
        break;
    }
    match failed {
        Some(failed) => (Verdict::Review, Some(failed.into())),
        None => (Verdict::Allow, None),
    }
}

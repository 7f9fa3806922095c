//! What rules come to together.

use proptest::prelude::*;
use uuid::Uuid;

use super::{subject, variables};
use crate::domain::MovementKind;
use crate::fraud::{History, Mode, Outcome, Rule, RuleSet, Screening, Stage, Verdict};

const YES: &str = "true";
const NO: &str = "false";
/// Nothing was paid in 30 days.
const FAILS: &str = "1 / user.payments_30_days > 0";
/// As an earlier version may have stored it.
const UNKNOWN: &str = "user.forgotten > 0";

fn rule(name: &str, expression: &str, outcome: Outcome, priority: i32) -> Rule {
    Rule {
        id: Uuid::now_v7(),
        name: name.to_owned(),
        version: 1,
        expression: expression.to_owned(),
        outcome,
        mode: Mode::Active,
        stage: Stage::Before,
        priority,
    }
}

fn screen(rules: Vec<Rule>) -> Screening {
    let variables = variables(&subject(MovementKind::Transfer, 700), History::default());
    RuleSet::compile(1, rules).screen(Stage::Before, variables)
}

fn decided(screening: &Screening) -> (Verdict, Option<&str>) {
    let decision = screening.decision.as_ref();
    (
        screening.verdict,
        decision.map(|decision| decision.rule_name.as_str()),
    )
}

/// Without a rule that matches, everything goes on.
#[test]
fn nothing_matched_goes_on() {
    let quiet = screen(vec![rule("a", NO, Outcome::Deny, 1)]);
    assert_eq!(decided(&quiet), (Verdict::Allow, None));
    assert_eq!(quiet.findings, []);
}

/// The first that matches decides, and of two with one priority the stricter.
#[test]
fn the_first_match_decides() {
    let first = screen(vec![
        rule("deny", YES, Outcome::Deny, 2),
        rule("allow", YES, Outcome::Allow, 1),
    ]);
    assert_eq!(decided(&first), (Verdict::Allow, Some("allow")));
    assert_eq!(first.findings.len(), 2);
    let strict = screen(vec![
        rule("allow", YES, Outcome::Allow, 1),
        rule("review", YES, Outcome::Review, 1),
        rule("deny", YES, Outcome::Deny, 1),
    ]);
    assert_eq!(decided(&strict), (Verdict::Deny, Some("deny")));
}

/// A shadow rule is found and decides nothing; one that is off, or of the other stage,
/// is not heard.
#[test]
fn modes_and_stages() {
    let of = |mode, stage| {
        let rule = Rule {
            mode,
            stage,
            ..rule("a", YES, Outcome::Deny, 1)
        };
        let screening = screen(vec![rule]);
        (screening.verdict, screening.findings.len())
    };
    assert_eq!(of(Mode::Active, Stage::Before), (Verdict::Deny, 1));
    assert_eq!(of(Mode::Shadow, Stage::Before), (Verdict::Allow, 1));
    assert_eq!(of(Mode::Off, Stage::Before), (Verdict::Allow, 0));
    assert_eq!(of(Mode::Active, Stage::After), (Verdict::Allow, 0));
}

/// A rule that fails asks for a person, whatever it would have said; a later one may
/// deny and none may allow.
#[test]
fn a_rule_that_fails_asks_for_a_person() {
    for expression in [FAILS, UNKNOWN] {
        for outcome in Outcome::ALL {
            let failed = screen(vec![rule("a", expression, outcome, 1)]);
            assert_eq!(decided(&failed), (Verdict::Review, Some("a")));
            assert!(failed.findings[0].is_error);
        }
        let denied = screen(vec![
            rule("a", expression, Outcome::Allow, 1),
            rule("b", YES, Outcome::Deny, 2),
        ]);
        assert_eq!(decided(&denied), (Verdict::Deny, Some("b")));
        let not_allowed = screen(vec![
            rule("a", expression, Outcome::Deny, 1),
            rule("b", YES, Outcome::Allow, 2),
        ]);
        assert_eq!(decided(&not_allowed), (Verdict::Review, Some("a")));
    }
}

fn any_rule() -> impl Strategy<Value = Rule> {
    (
        prop::sample::select(vec![YES, NO, FAILS, UNKNOWN]),
        prop::sample::select(Outcome::ALL.to_vec()),
        prop::sample::select(Mode::ALL.to_vec()),
        0..4i32,
    )
        .prop_map(|(expression, outcome, mode, priority)| Rule {
            mode,
            ..rule("a", expression, outcome, priority)
        })
}

proptest! {
    /// A rule that fails never lets anything pass, unless a rule heard before it had
    /// allowed it; and without one the first match decides.
    #[test]
    fn a_failing_rule_never_allows(rules in prop::collection::vec(any_rule(), 0..8)) {
        let screening = screen(rules.clone());
        let mut heard: Vec<Rule> = rules
            .into_iter()
            .filter(|rule| rule.mode == Mode::Active)
            .collect();
        heard.sort_by_key(|rule| (rule.priority, std::cmp::Reverse(rule.outcome)));
        let first = heard.iter().find(|rule| rule.expression != NO);
        match first {
            None => prop_assert_eq!(screening.verdict, Verdict::Allow),
            Some(rule) if rule.expression == YES => {
                prop_assert_eq!(screening.verdict, Verdict::from(rule.outcome));
            }
            Some(_) => prop_assert!(screening.verdict >= Verdict::Review),
        }
    }

    /// Shadow rules change no verdict, whatever they are.
    #[test]
    fn shadow_rules_decide_nothing(rules in prop::collection::vec(any_rule(), 0..8)) {
        let verdict = screen(rules.clone()).verdict;
        let mut without = rules;
        without.retain(|rule| rule.mode != Mode::Shadow);
        prop_assert_eq!(screen(without).verdict, verdict);
    }
}

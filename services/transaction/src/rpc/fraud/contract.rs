//! Between the values of fraud screening and the contract's messages.

use bursar_contracts::transaction::v1 as proto;

use crate::contract::timestamp;
use crate::fraud::{Mode, Outcome, Stage};
use crate::store::fraud::cases::{Case, CaseState};
use crate::store::fraud::hits::Counts;
use crate::store::fraud::rules::StoredRule;

pub(super) fn told_stage(stage: Stage) -> proto::FraudStage {
    match stage {
        Stage::Before => proto::FraudStage::Before,
        Stage::After => proto::FraudStage::After,
    }
}

/// `None` for a value that validation refuses.
pub(super) fn stage(told: proto::FraudStage) -> Option<Stage> {
    Stage::ALL.into_iter().find(|one| told_stage(*one) == told)
}

pub(super) fn told_mode(mode: Mode) -> proto::FraudRuleMode {
    match mode {
        Mode::Off => proto::FraudRuleMode::Off,
        Mode::Shadow => proto::FraudRuleMode::Shadow,
        Mode::Active => proto::FraudRuleMode::Active,
    }
}

/// `None` for a value that validation refuses.
pub(super) fn mode(told: proto::FraudRuleMode) -> Option<Mode> {
    Mode::ALL.into_iter().find(|one| told_mode(*one) == told)
}

pub(super) fn told_outcome(outcome: Outcome) -> proto::FraudOutcome {
    match outcome {
        Outcome::Allow => proto::FraudOutcome::Allow,
        Outcome::Review => proto::FraudOutcome::Review,
        Outcome::Deny => proto::FraudOutcome::Deny,
    }
}

/// `None` for a value that validation refuses.
pub(super) fn outcome(told: proto::FraudOutcome) -> Option<Outcome> {
    Outcome::ALL
        .into_iter()
        .find(|one| told_outcome(*one) == told)
}

/// `None` for every state.
pub(super) fn case_state(told: proto::FraudCaseState) -> Option<CaseState> {
    match told {
        proto::FraudCaseState::Unspecified => None,
        proto::FraudCaseState::Open => Some(CaseState::Open),
        proto::FraudCaseState::Approved => Some(CaseState::Approved),
        proto::FraudCaseState::Rejected => Some(CaseState::Rejected),
    }
}

fn told_case_state(state: CaseState) -> proto::FraudCaseState {
    match state {
        CaseState::Open => proto::FraudCaseState::Open,
        CaseState::Approved => proto::FraudCaseState::Approved,
        CaseState::Rejected => proto::FraudCaseState::Rejected,
    }
}

/// A rule, with its counts where they are known.
pub(super) fn told_rule(stored: &StoredRule, counts: Option<Counts>) -> proto::FraudRule {
    let rule = &stored.rule;
    proto::FraudRule {
        name: rule.name.clone(),
        expression: rule.expression.clone(),
        outcome: told_outcome(rule.outcome).into(),
        mode: told_mode(rule.mode).into(),
        stage: told_stage(rule.stage).into(),
        priority: rule.priority,
        description: stored.description.clone(),
        version: rule.version,
        updated_by: stored.updated_by.clone(),
        updated_at: Some(timestamp(stored.updated_at)),
        counts: counts.map(|counts| proto::FraudRuleCounts {
            active_last_day: counts.active_last_day,
            active_total: counts.active_total,
            shadow_last_day: counts.shadow_last_day,
            shadow_total: counts.shadow_total,
            errors_last_day: counts.errors_last_day,
            errors_total: counts.errors_total,
        }),
    }
}

pub(super) fn told_variables(
    variables: impl IntoIterator<Item = (String, String)>,
) -> Vec<proto::FraudVariable> {
    variables
        .into_iter()
        .map(|(name, value)| proto::FraudVariable { name, value })
        .collect()
}

pub(super) fn told_case(case: &Case) -> proto::FraudCase {
    let end = case.end.as_ref();
    proto::FraudCase {
        case_id: case.id.to_string(),
        state: told_case_state(case.state()).into(),
        stage: told_stage(case.stage).into(),
        transaction_id: case.transaction.to_string(),
        user_id: case.user.to_string(),
        rule_name: case.decision.rule_name.clone(),
        rule_version: case.decision.rule_version,
        is_rule_error: case.decision.is_error,
        variables: told_variables(case.variables.iter().cloned()),
        opened_at: Some(timestamp(case.opened_at)),
        decided_by: end.map(|end| end.by.clone()).unwrap_or_default(),
        decided_at: end.map(|end| timestamp(end.at)),
        reason: end.map(|end| end.reason.clone()).unwrap_or_default(),
    }
}

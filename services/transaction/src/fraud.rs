//! Fraud screening: rules as data that every transfer, deposit and withdrawal is
//! held against.
//!
//! | what | is |
//! |---|---|
//! | [`Subject`] | the transaction that is looked at |
//! | [`Features`] | what its user did before, as it was at one moment |
//! | [`Variables`] | both, under the names that expressions use |
//! | [`Expression`] | a condition over them, compiled and type-checked |
//! | [`Rule`] | an expression with its outcome, mode, stage and place |
//! | [`RuleSet`] | a tenant's rules, compiled |
//! | [`Screening`] | what the rules say of one subject |
//!
//! All of these are values: they are computed without any input or output, and the
//! same values always lead to the same verdict. Live screening, the worker and the
//! back-test read the features by one statement and evaluate them by this code, so
//! a back-test says what the live rule said.
//!
//! A rule that cannot be evaluated never lets anything pass: it asks for a person.
//! [`screener`] is the shell that reads the rules and the features.

mod check;
mod expression;
mod features;
mod rule;
mod rule_set;
pub(crate) mod screener;
mod subject;
mod variables;

use bursar_server::Invariant;

pub(crate) use expression::{Expression, Problem};
pub(crate) use features::{Features, History, SMALL_MINOR};
pub(crate) use rule::{Mode, Outcome, Rule, Stage};
pub(crate) use rule_set::{Decision, RuleSet, Screening, Verdict};
pub(crate) use subject::Subject;
pub(crate) use variables::Variables;

/// The rules about cases that `bursar-transaction verify` checks.
pub(crate) const INVARIANTS: [Invariant; 1] = [Invariant {
    number: 15,
    name: "what fraud screening stopped waits for its case, and what a case rejected has failed",
    sql: "SELECT coalesce(transactions.transaction_id, cases.transaction_id)
          FROM (
              SELECT transaction_id, state, failure_reason
              FROM transactions
              WHERE review_cause = 'screening' OR failure_reason = 'FRAUD_REJECTED'
          ) AS transactions
          FULL JOIN (
              SELECT transaction_id, state
              FROM fraud_cases
              WHERE stage = 'BEFORE' AND state <> 'APPROVED'
          ) AS cases ON cases.transaction_id = transactions.transaction_id
          WHERE cases.state IS DISTINCT FROM CASE transactions.state
              WHEN 'MANUAL_REVIEW' THEN 'OPEN'
              WHEN 'FAILED' THEN 'REJECTED'
          END",
}];

#[cfg(test)]
mod tests;

//! Joins lines with transactions, and explains what cannot be joined.
//!
//! The rules are tried in their order; what one has joined, no later one sees.
//! Everything is done in an order that follows from what lines say, so the order
//! in which they came does not matter. A whole group must fit: there is no search
//! for some of its lines that happen to sum up.
//!
//! A line that has a reference is joined by that one or by its batch, and never
//! by the provider's: a provider that names a transaction by a reference that we
//! did not give has mixed something up.
//!
//! What is not joined is explained against the transaction that the line names:
//! by our reference if it is one, or else by the provider's or the batch's. The
//! first line about a transaction tells the difference; further ones are
//! duplicates.

use std::collections::{BTreeMap, BTreeSet};

use bursar_aip::id::TransactionId;

use super::breaks::{Reason, Subject};
use super::line::{Line, LineId, Recorded, Standing, days_between};
use super::rule::{Cardinality, Key, Rule};

/// Lines and transactions that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The rule's name.
    pub rule: String,
    /// The lines, at least one.
    pub lines: Vec<LineId>,
    /// The transactions, at least one.
    pub transactions: Vec<TransactionId>,
}

/// A line that belongs to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The line.
    pub line: LineId,
    /// Why.
    pub reason: Reason,
    /// What it is about.
    pub subject: Subject,
    /// The transaction that it names.
    pub transaction: Option<TransactionId>,
}

/// What became of the lines: each is in one match or one break.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What belongs together.
    pub matches: Vec<Match>,
    /// What does not.
    pub breaks: Vec<Found>,
}

/// Reconciles lines with the transactions that they may mean.
pub fn reconcile(rules: &[Rule], lines: &[Line], recorded: &[Recorded]) -> Outcome {
    let mut table = Table::new(rules, lines, recorded);
    for rule in rules {
        table.apply(rule);
    }
    table.explain();
    table.outcome
}

struct Table<'a> {
    rules: &'a [Rule],
    /// By what they say.
    lines: Vec<&'a Line>,
    is_joined: Vec<bool>,
    /// By id.
    recorded: Vec<&'a Recorded>,
    is_taken: Vec<bool>,
    by_id: BTreeMap<TransactionId, usize>,
    by_provider_reference: BTreeMap<&'a str, Vec<usize>>,
    outcome: Outcome,
}

impl<'a> Table<'a> {
    fn new(rules: &'a [Rule], lines: &'a [Line], recorded: &'a [Recorded]) -> Self {
        let mut lines: Vec<_> = lines.iter().collect();
        lines.sort_by(|one, other| one.order().cmp(&other.order()));
        let mut recorded: Vec<_> = recorded.iter().collect();
        recorded.sort_by_key(|recorded| recorded.id);
        recorded.dedup_by_key(|recorded| recorded.id);
        let by_id = (0..).zip(&recorded).map(|(at, one)| (one.id, at)).collect();
        let mut by_provider_reference: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (at, one) in recorded.iter().enumerate() {
            if let Some(reference) = &one.provider_reference {
                by_provider_reference
                    .entry(&**reference)
                    .or_default()
                    .push(at);
            }
        }
        Self {
            rules,
            is_joined: vec![false; lines.len()],
            is_taken: recorded.iter().map(|recorded| recorded.is_taken).collect(),
            lines,
            recorded,
            by_id,
            by_provider_reference,
            outcome: Outcome::default(),
        }
    }

    fn apply(&mut self, rule: &Rule) {
        let mut groups: BTreeMap<&'a str, Vec<usize>> = BTreeMap::new();
        for (at, line) in self.lines.iter().enumerate() {
            let key = key_of(line, rule.key);
            let is_named = rule.key != Key::ProviderReference || !is_misnamed(line);
            if !self.is_joined[at] && !key.is_empty() && is_named {
                groups.entry(key).or_default().push(at);
            }
        }
        for lines in groups.into_values() {
            match rule.cardinality {
                Cardinality::OneToOne => {
                    // What agrees to the last unit is not taken by what only nearly does.
                    for tolerance in [0, rule.tolerance_minor] {
                        self.one_to_one(rule, &lines, tolerance);
                    }
                }
                Cardinality::ManyToOne => self.many_to_one(rule, &lines),
                Cardinality::OneToMany => self.one_to_many(rule, &lines),
            }
        }
    }

    fn one_to_one(&mut self, rule: &Rule, lines: &[usize], tolerance_minor: i64) {
        for &at in lines {
            if self.is_joined[at] {
                continue;
            }
            let line = self.lines[at];
            let found = self.free(line, rule.key).into_iter().find(|&candidate| {
                let recorded = self.recorded[candidate];
                is_like(line, recorded, rule.window_days)
                    && is_near(
                        line.moved_minor().into(),
                        recorded.amount_minor.into(),
                        tolerance_minor,
                    )
            });
            if let Some(found) = found {
                self.join(rule, &[at], &[found]);
            }
        }
    }

    fn many_to_one(&mut self, rule: &Rule, lines: &[usize]) {
        let [first, _, ..] = lines else { return };
        let sum: i128 = lines
            .iter()
            .map(|&at| i128::from(self.lines[at].moved_minor()))
            .sum();
        let found = self
            .free(self.lines[*first], rule.key)
            .into_iter()
            .find(|&candidate| {
                let recorded = self.recorded[candidate];
                is_near(sum, recorded.amount_minor.into(), rule.tolerance_minor)
                    && lines
                        .iter()
                        .all(|&at| is_like(self.lines[at], recorded, rule.window_days))
            });
        if let Some(found) = found {
            self.join(rule, lines, &[found]);
        }
    }

    fn one_to_many(&mut self, rule: &Rule, lines: &[usize]) {
        let [at] = *lines else { return };
        let line = self.lines[at];
        let candidates = self.free(line, rule.key);
        let sum: i128 = candidates
            .iter()
            .map(|&candidate| i128::from(self.recorded[candidate].amount_minor))
            .sum();
        let fits = candidates.len() >= 2
            && is_near(line.moved_minor().into(), sum, rule.tolerance_minor)
            && candidates
                .iter()
                .all(|&candidate| is_like(line, self.recorded[candidate], rule.window_days));
        if fits {
            self.join(rule, &[at], &candidates);
        }
    }

    fn join(&mut self, rule: &Rule, lines: &[usize], recorded: &[usize]) {
        for &at in lines {
            self.is_joined[at] = true;
        }
        for &at in recorded {
            self.is_taken[at] = true;
        }
        self.outcome.matches.push(Match {
            rule: rule.name.clone(),
            lines: lines.iter().map(|&at| self.lines[at].id).collect(),
            transactions: recorded.iter().map(|&at| self.recorded[at].id).collect(),
        });
    }

    /// The transactions that a line names by a key and that nothing stands for yet.
    fn free(&self, line: &Line, key: Key) -> Vec<usize> {
        let mut named = self.named(line, key);
        named.retain(|&at| !self.is_taken[at]);
        named
    }

    fn named(&self, line: &Line, key: Key) -> Vec<usize> {
        match key {
            Key::Reference => {
                let id = line.transaction();
                let found = id.and_then(|id| self.by_id.get(&id).copied());
                found.into_iter().collect()
            }
            Key::ProviderReference | Key::BatchReference => self
                .by_provider_reference
                .get(key_of(line, key))
                .cloned()
                .unwrap_or_default(),
        }
    }

    /// Explains every line that is left.
    fn explain(&mut self) {
        let mut told: BTreeSet<Subject> = BTreeSet::new();
        for (at, &line) in self.lines.iter().enumerate() {
            if self.is_joined[at] {
                continue;
            }
            let meant = self.meant(line);
            let reason = match meant {
                Some(candidate) if self.is_taken[candidate] => Reason::DuplicateLine,
                Some(candidate) => difference(self.rules, line, self.recorded[candidate]),
                None if line.transaction().is_some() => Reason::MissingInLedger,
                None => Reason::UnknownReference,
            };
            let transaction = meant.map(|candidate| self.recorded[candidate].id);
            let subject = subject(line, reason, transaction);
            let found = if told.insert(subject.clone()) {
                Found {
                    line: line.id,
                    reason,
                    subject,
                    transaction,
                }
            } else {
                Found {
                    line: line.id,
                    reason: Reason::DuplicateLine,
                    subject: Subject::Line(line.id),
                    transaction,
                }
            };
            self.outcome.breaks.push(found);
        }
    }

    /// The transaction that a line means, one that is free if there is a choice.
    fn meant(&self, line: &Line) -> Option<usize> {
        if line.transaction().is_some() {
            return self.named(line, Key::Reference).first().copied();
        }
        let named = |key| {
            let named = self.named(line, key);
            let free = named.iter().find(|&&at| !self.is_taken[at]);
            free.or(named.first()).copied()
        };
        named(Key::ProviderReference).or_else(|| named(Key::BatchReference))
    }
}

/// The text by which a rule groups a line; empty when the line has none.
fn key_of(line: &Line, key: Key) -> &str {
    match key {
        Key::Reference => &line.reference,
        Key::ProviderReference => &line.provider_reference,
        Key::BatchReference => &line.batch_reference,
    }
}

/// Whether a line has a reference that is none of ours.
fn is_misnamed(line: &Line) -> bool {
    !line.reference.is_empty() && line.reference != line.provider_reference
}

/// Whether all but the amount fits.
fn is_like(line: &Line, recorded: &Recorded, window_days: u32) -> bool {
    recorded.standing == Standing::Completed
        && line.kind == recorded.kind
        && line.currency == recorded.currency
        && days_between(line.day(), recorded.day) <= window_days
}

fn is_near(one: i128, other: i128, tolerance_minor: i64) -> bool {
    one.abs_diff(other) <= u128::from(tolerance_minor.unsigned_abs())
}

/// In what a line differs from the transaction that it means.
fn difference(rules: &[Rule], line: &Line, recorded: &Recorded) -> Reason {
    let tolerance = rules.iter().map(|rule| rule.tolerance_minor).max();
    let window = rules.iter().map(|rule| rule.window_days).max();
    let (moved, amount) = (line.moved_minor().into(), recorded.amount_minor.into());
    let days = days_between(line.day(), recorded.day);
    let is_other = line.transaction() != Some(recorded.id);
    if is_other && is_misnamed(line) && line.batch_reference.is_empty() {
        Reason::UnknownReference
    } else if line.currency != recorded.currency {
        Reason::CurrencyMismatch
    } else if line.kind != recorded.kind {
        Reason::TypeMismatch
    } else if recorded.standing != Standing::Completed {
        Reason::StatusMismatch
    } else if !is_near(moved, amount, tolerance.unwrap_or(0)) {
        Reason::AmountMismatch
    } else if days > window.unwrap_or(0) {
        Reason::DateOutsideWindow
    } else if moved != amount {
        // One rule's tolerance and another's window: no rule allows both.
        Reason::AmountMismatch
    } else if days > 0 {
        Reason::DateOutsideWindow
    } else {
        // It agrees, but by a name by which no rule joins.
        Reason::UnknownReference
    }
}

fn subject(line: &Line, reason: Reason, transaction: Option<TransactionId>) -> Subject {
    match (reason, transaction.or(line.transaction())) {
        (Reason::DuplicateLine, _) => Subject::Line(line.id),
        (_, Some(transaction)) => Subject::Transaction(transaction),
        (_, None) if !line.provider_reference.is_empty() => {
            Subject::ProviderReference(line.kind, line.provider_reference.clone())
        }
        (_, None) => Subject::Line(line.id),
    }
}

#[cfg(test)]
mod tests;

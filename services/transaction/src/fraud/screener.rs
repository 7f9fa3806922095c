//! The shell of screening: reads the rules and the features, and says what follows.
//! What was found is written by whoever knows that the transaction is recorded or
//! denied (`store::fraud::hits`).
//!
//! Rules are kept compiled, with the revision of the tenant's rules that they are.
//! Every screening reads the revision in its own database transaction and compiles
//! anew when it differs, so a change counts from its commit on, on every instance.
//! Nothing here has a fallback: what cannot be read fails the call, and nothing is
//! recorded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bursar_aip::id::{TenantId, UserId};
use sqlx::PgConnection;

use super::{Features, History, RuleSet, Screening, Stage, Subject, Variables, Verdict};
use crate::store::fraud::history::{self, Moment};
use crate::store::fraud::rules;
use crate::watch;

type Sets = HashMap<TenantId, Arc<RuleSet>>;

/// Screens transactions by their tenants' rules.
#[derive(Clone, Default)]
pub(crate) struct Screener {
    /// As many as there are tenants with rules.
    compiled: Arc<Mutex<Sets>>,
}

impl Screener {
    /// What the rules of the stage BEFORE say of transactions that are about to be
    /// recorded in this database transaction, in the order of the subjects. Their
    /// users wait for each other from here to its end, where there are rules. One that
    /// comes behind another of the same user counts that too.
    pub(crate) async fn screen(
        &self,
        conn: &mut PgConnection,
        subjects: &[Subject],
    ) -> Result<Vec<Screening>, sqlx::Error> {
        self.screen_at(conn, Stage::Before, subjects).await
    }

    /// What the rules of the stage AFTER say of transactions that are COMPLETED.
    pub(crate) async fn look_back(
        &self,
        conn: &mut PgConnection,
        subjects: &[Subject],
    ) -> Result<Vec<Screening>, sqlx::Error> {
        self.screen_at(conn, Stage::After, subjects).await
    }

    /// Whether any of the tenants has rules of the stage AFTER.
    pub(crate) async fn looks_back(
        &self,
        conn: &mut PgConnection,
        tenants: impl Iterator<Item = &TenantId>,
    ) -> Result<bool, sqlx::Error> {
        let sets = self.rule_sets(conn, tenants).await?;
        Ok(sets.values().any(|set| set.has_any(Stage::After)))
    }

    async fn screen_at(
        &self,
        conn: &mut PgConnection,
        stage: Stage,
        subjects: &[Subject],
    ) -> Result<Vec<Screening>, sqlx::Error> {
        let tenants = subjects.iter().map(|subject| &subject.tenant);
        let sets = self.rule_sets(conn, tenants).await?;
        let has_rules = |subject: &&Subject| {
            let set = sets.get(&subject.tenant);
            set.is_some_and(|set| set.has_any(stage))
        };
        let seen: Vec<&Subject> = subjects.iter().filter(has_rules).collect();
        if seen.is_empty() {
            return Ok(vec![Screening::unseen(); subjects.len()]);
        }
        let seen: Vec<Subject> = seen.into_iter().cloned().collect();
        let moment = match stage {
            Stage::Before => {
                let users: Vec<UserId> = seen.iter().map(|subject| subject.user).collect();
                history::lock_users(conn, &users).await?;
                Moment::Present
            }
            Stage::After => Moment::OfSubject,
        };
        let mut histories = history::read(conn, &seen, moment).await?.into_iter();
        let mut screenings: Vec<Screening> = Vec::with_capacity(subjects.len());
        for subject in subjects {
            let set = sets.get(&subject.tenant).filter(|set| set.has_any(stage));
            let read = set.and_then(|set| Some((set, histories.next()?)));
            let Some((set, mut history)) = read else {
                screenings.push(Screening::unseen());
                continue;
            };
            if stage == Stage::Before {
                count_earlier(&mut history, subject, subjects, &screenings);
            }
            let variables = Variables::of(subject, &Features::of(subject, history));
            let screening = set.screen(stage, variables);
            watch::screened(stage, &screening);
            screenings.push(screening);
        }
        Ok(screenings)
    }

    /// The compiled rules of tenants, as they are now.
    async fn rule_sets(
        &self,
        conn: &mut PgConnection,
        tenants: impl Iterator<Item = &TenantId>,
    ) -> Result<Sets, sqlx::Error> {
        let mut tenants: Vec<&str> = tenants.map(TenantId::as_str).collect();
        tenants.sort_unstable();
        tenants.dedup();
        let mut sets = Sets::new();
        for (tenant, revision) in rules::revisions(conn, &tenants).await? {
            let known = self.known(&tenant, revision);
            let set = match known {
                Some(set) => set,
                None => self.compile(conn, &tenant).await?,
            };
            sets.insert(tenant, set);
        }
        Ok(sets)
    }

    fn known(&self, tenant: &TenantId, revision: i64) -> Option<Arc<RuleSet>> {
        let known = self.lock().get(tenant).cloned();
        known.filter(|set| set.revision == revision)
    }

    async fn compile(
        &self,
        conn: &mut PgConnection,
        tenant: &TenantId,
    ) -> Result<Arc<RuleSet>, sqlx::Error> {
        let (revision, rules) = rules::load(conn, tenant).await?;
        let set = Arc::new(RuleSet::compile(revision, rules));
        self.lock().insert(tenant.clone(), Arc::clone(&set));
        Ok(set)
    }

    fn lock(&self) -> MutexGuard<'_, Sets> {
        // Nothing panics while it is held, and what it holds is whole at any moment.
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes in what stands before a subject and is recorded with it: those of the same
/// user that are screened already and not denied.
fn count_earlier(
    history: &mut History,
    subject: &Subject,
    subjects: &[Subject],
    screened: &[Screening],
) {
    for (earlier, screening) in subjects.iter().zip(screened) {
        let is_own = earlier.user == subject.user && earlier.tenant == subject.tenant;
        if is_own && screening.verdict != Verdict::Deny {
            history.take_in(earlier, subject);
        }
    }
}

/// The variables of subjects as they were when each was asked for, in their order.
pub(crate) async fn past_variables(
    conn: &mut PgConnection,
    subjects: &[Subject],
) -> Result<Vec<Variables>, sqlx::Error> {
    let histories = history::read(conn, subjects, Moment::OfSubject).await?;
    let of = |(subject, history)| Variables::of(subject, &Features::of(subject, history));
    Ok(subjects.iter().zip(histories).map(of).collect())
}

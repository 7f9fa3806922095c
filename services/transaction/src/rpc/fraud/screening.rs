//! What the Create calls do about fraud screening.
//!
//! The rules are heard in the database transaction of the intent, behind the key and
//! before anything that is used up by it. What is denied leaves its hits and the answer
//! of the key, and no transaction; what is stopped is recorded with its case.

use bursar_aip::id::TenantId;
use sqlx::PgConnection;

use crate::advance::Engine;
use crate::error::Error;
use crate::fraud::{Screening, Stage, Subject, Verdict};
use crate::store::fraud::cases::{self, Case};
use crate::store::fraud::hits;

/// Subjects of one tenant with what the rules say of each.
pub(in super::super) struct Screened {
    tenant: TenantId,
    found: Vec<(Subject, Screening)>,
}

impl Screened {
    /// Hears the rules. Nobody else asks for something for these users until the
    /// database transaction ends, where there are rules. When any of them is denied, all
    /// are: what was found is written, and the caller keeps the error.
    pub(in super::super) async fn hear(
        engine: &Engine,
        database: &mut PgConnection,
        tenant: &TenantId,
        subjects: Vec<Subject>,
    ) -> Result<Self, Error> {
        let screenings = engine.fraud.screen(database, &subjects).await;
        let screenings = screenings.map_err(Error::FraudUnread)?;
        let screened = Self {
            tenant: tenant.clone(),
            found: subjects.into_iter().zip(screenings).collect(),
        };
        let is_denied = |(_, screening): &(_, Screening)| screening.verdict == Verdict::Deny;
        if screened.found.iter().any(is_denied) {
            screened.note(database).await?;
            return Err(Error::FraudDenied);
        }
        Ok(screened)
    }

    /// The same for what stands together: when a person is to decide about any of them,
    /// nothing is recorded either.
    pub(in super::super) async fn hear_together(
        engine: &Engine,
        database: &mut PgConnection,
        tenant: &TenantId,
        subjects: Vec<Subject>,
    ) -> Result<(), Error> {
        let screened = Self::hear(engine, database, tenant, subjects).await?;
        screened.note(database).await?;
        match screened.stopped() {
            positions if positions.is_empty() => Ok(()),
            positions => Err(Error::FraudReviewNeeded { positions }),
        }
    }

    /// The positions of those that a person is to decide about.
    pub(in super::super) fn stopped(&self) -> Vec<usize> {
        let is_stopped = |(_, screening): &(_, Screening)| screening.verdict == Verdict::Review;
        let found = self.found.iter().enumerate();
        found
            .filter(|(_, one)| is_stopped(one))
            .map(|(position, _)| position)
            .collect()
    }

    /// Writes what was found.
    async fn note(&self, database: &mut PgConnection) -> Result<(), Error> {
        let found: Vec<_> = self
            .found
            .iter()
            .map(|(subject, it)| (subject, it))
            .collect();
        Ok(hits::record(database, &found).await?)
    }

    /// Writes what was found, and opens the cases of those that a person is to decide
    /// about. They are recorded in this database transaction.
    pub(in super::super) async fn keep(
        &self,
        database: &mut PgConnection,
        actor: &str,
    ) -> Result<(), Error> {
        self.note(database).await?;
        let opened: Vec<Case> = self
            .stopped()
            .into_iter()
            .filter_map(|position| {
                let (subject, screening) = &self.found[position];
                Case::of(Stage::Before, subject, screening, subject.at)
            })
            .collect();
        cases::open(database, &self.tenant, &opened, actor).await?;
        Ok(())
    }
}

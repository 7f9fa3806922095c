//! Matches one file.
//!
//! Lines are taken in pages of whole groups, each page in one database
//! transaction that is bound to the lease, so a run that dies anywhere is taken
//! up where it was. After the lines come the transactions of the day that no
//! line speaks of, and then the older breaks, which a later line or a later
//! state of a transaction may have explained.

use std::time::Duration;

use bursar_aip::id::BreakId;
use bursar_server::{crash_point, database};
use sqlx::PgPool;
use time::{Date, OffsetDateTime};
use tokio_util::sync::CancellationToken;

use super::LEASE;
use super::page::Page;
use crate::reconciliation::{Line, Reason, Rule, Subject};
use crate::store::reconciliation::candidates::{self, Books};
use crate::store::reconciliation::files::{self, StoredFile};
use crate::store::reconciliation::outcome::{self, Changed, Told};
use crate::store::reconciliation::{FileState, Lease, lines, settings, work};
use crate::watch::reconciliation as watch;

/// How many lines are matched at once. A group that is larger is matched in
/// parts of this size, so no rule sums up more lines.
const PAGE: usize = 2_000;
/// How many transactions without a line are told at once.
const MISSING_PAGE: i64 = 500;
/// How many older breaks are looked at at once.
const BREAKS_PAGE: i64 = 500;
/// How long a page may take to get a lock or an answer before the lease is in danger.
const _: () = assert!(LEASE.as_secs() > Duration::from_secs(30).as_secs());

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The file is done.
    Reconciled,
    /// The process ends; the rest is done later.
    Stopped,
    /// Somebody else has the file.
    Superseded,
}

struct Run<'a> {
    pool: &'a PgPool,
    lease: Lease,
    file: StoredFile,
    rules: Vec<Rule>,
}

/// Matches a file that was claimed.
#[tracing::instrument(name = "reconciliation.run", skip_all)]
pub(super) async fn reconcile_file(
    pool: &PgPool,
    lease: Lease,
    shutdown: &CancellationToken,
) -> Result<Ended, sqlx::Error> {
    let mut conn = pool.acquire().await?;
    let file = files::find(&mut conn, lease.file).await?;
    let Some(file) = file.filter(|file| file.state == FileState::Reconciling) else {
        return Ok(Ended::Superseded);
    };
    let settings = settings::find(&mut conn, &file.tenant, &file.provider).await?;
    drop(conn);
    let mut run = Run {
        pool,
        lease,
        file,
        rules: settings.rules,
    };
    let steps = async {
        while let Some(step) = run.match_lines().await? {
            if step == Ended::Superseded || shutdown.is_cancelled() {
                return Ok(step);
            }
        }
        while let Some(step) = run.tell_missing().await? {
            if step == Ended::Superseded || shutdown.is_cancelled() {
                return Ok(step);
            }
        }
        let mut after = None;
        while let Some(step) = run.look_again(&mut after).await? {
            if step == Ended::Superseded || shutdown.is_cancelled() {
                return Ok(step);
            }
        }
        run.finish().await
    };
    steps.await
}

impl Run<'_> {
    fn books(&self) -> Books<'_> {
        Books {
            tenant: &self.file.tenant,
            provider: &self.file.provider,
            source: self.file.source,
        }
    }

    /// Matches the next page; `None` when there is none.
    async fn match_lines(&mut self) -> Result<Option<Ended>, sqlx::Error> {
        let mut transaction = database::begin(self.pool).await?;
        let after = self.file.matched_through.clone();
        let limit = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
        let mut page = lines::pending(&mut transaction, self.lease.file, &after, limit).await?;
        if page.is_empty() {
            return Ok(None);
        }
        let through = cut(&mut page, after);
        if !work::advance(&mut transaction, self.lease, &through, LEASE).await? {
            return Ok(Some(Ended::Superseded));
        }
        let date = self.file.settlement_date;
        let dated = page.iter().map(|line| (line, date)).collect();
        let page = Page::new(self.books(), &self.rules, dated);
        let changed = page.settle(&mut transaction).await?;
        crash_point!("matching.before_lines_commit");
        transaction.commit().await?;
        crash_point!("matching.after_lines_commit");
        watch::matched(self.file.source, &changed);
        self.file.matched_through = through;
        Ok(Some(Ended::Stopped))
    }

    /// Tells the next transactions that no line speaks of; `None` when there are
    /// none.
    async fn tell_missing(&mut self) -> Result<Option<Ended>, sqlx::Error> {
        let Some((from, to)) = day_of(self.file.settlement_date) else {
            return Ok(None);
        };
        let mut transaction = database::begin(self.pool).await?;
        if !files::keep(&mut transaction, self.lease, LEASE).await? {
            return Ok(Some(Ended::Superseded));
        }
        let books = self.books();
        let missing = candidates::missing(&mut transaction, books, from, to, MISSING_PAGE).await?;
        if missing.is_empty() {
            return Ok(None);
        }
        let mut changed = Changed::default();
        for recorded in &missing {
            let told = Told {
                reason: Reason::MissingAtProvider,
                subject: Subject::Transaction(recorded.id).to_string(),
                settlement_date: self.file.settlement_date,
                file: self.lease.file.uuid(),
                line: None,
                recorded: Some(recorded),
            };
            if outcome::tell(&mut transaction, books, &told)
                .await?
                .is_opened
            {
                changed.opened.push(told.reason);
            }
        }
        crash_point!("matching.before_missing_commit");
        transaction.commit().await?;
        crash_point!("matching.after_missing_commit");
        watch::matched(self.file.source, &changed);
        Ok(Some(Ended::Stopped))
    }

    /// Looks at the next older breaks; `None` when there are none.
    async fn look_again(
        &mut self,
        after: &mut Option<BreakId>,
    ) -> Result<Option<Ended>, sqlx::Error> {
        let mut transaction = database::begin(self.pool).await?;
        if !files::keep(&mut transaction, self.lease, LEASE).await? {
            return Ok(Some(Ended::Superseded));
        }
        let (books, file) = (self.books(), self.lease.file);
        let broken = lines::broken(&mut transaction, books, file, *after, BREAKS_PAGE).await?;
        let Some(last) = broken.last() else {
            return Ok(None);
        };
        *after = Some(last.break_id);
        let dated = broken
            .iter()
            .map(|broken| (&broken.line, broken.settlement_date))
            .collect();
        let page = Page::new(books, &self.rules, dated);
        let mut changed = page.settle(&mut transaction).await?;
        crash_point!("matching.before_again_commit");
        transaction.commit().await?;
        crash_point!("matching.after_again_commit");
        // Those that are broken still were counted when they were first.
        changed.broken_lines = 0;
        watch::matched(self.file.source, &changed);
        Ok(Some(Ended::Stopped))
    }

    async fn finish(&self) -> Result<Ended, sqlx::Error> {
        let mut conn = self.pool.acquire().await?;
        crash_point!("matching.before_finish");
        let is_ours = work::finish(&mut conn, self.lease).await?;
        crash_point!("matching.after_finish");
        match is_ours {
            true => {
                watch::file(self.file.source, "reconciled");
                Ok(Ended::Reconciled)
            }
            false => Ok(Ended::Superseded),
        }
    }
}

/// Cuts a page that may have more lines behind it so that it ends with a group,
/// unless it is all one group. Returns the last group that is whole.
fn cut(page: &mut Vec<Line>, after: String) -> String {
    let Some(last) = page.last().map(Line::group_key) else {
        return after;
    };
    if page.len() <= PAGE {
        return last;
    }
    let whole = page
        .iter()
        .position(|line| line.group_key() == last)
        .unwrap_or(0);
    if whole == 0 {
        page.truncate(PAGE);
        return after;
    }
    page.truncate(whole);
    page.last().map_or(after, Line::group_key)
}

/// A day of UTC as a span of time.
fn day_of(date: Date) -> Option<(OffsetDateTime, OffsetDateTime)> {
    let from = date.midnight().assume_utc();
    Some((from, date.next_day()?.midnight().assume_utc()))
}

#[cfg(test)]
mod tests;

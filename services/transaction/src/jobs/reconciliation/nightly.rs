//! Reads the providers' lists of movements, a day at a time.
//!
//! From the configured hour of UTC on, the day before is due, and with it each
//! day of the look-back for which there is no list yet: so days that passed while
//! nothing ran are caught up. A day's row is unique among lists that did not
//! fail, which is how one of all instances reads it; should that one die, its
//! lease lapses, the row is given up as any file's, and the day is due again.

use std::sync::Arc;
use std::time::Duration;

use bursar_aip::id::{SettlementFileId, TenantId};
use bursar_server::{Start, crash_point, database, now};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use time::{Date, OffsetDateTime};
use tokio_util::sync::CancellationToken;

use super::{LEASE, Wake};
use crate::domain::ProviderName;
use crate::jobs::next_turn;
use crate::reconciliation::line::day;
use crate::reconciliation::listing::{ListFailed, MovementList};
use crate::reconciliation::{Line, Problem, ProblemCode};
use crate::store::reconciliation::files::{self, Completed, Content, NewFile};
use crate::store::reconciliation::{Lease, Source, lines};
use crate::watch::reconciliation as watch;

/// How often it is looked for days that are due.
const INTERVAL: Duration = Duration::from_secs(30);
/// How long after a list that failed it is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(15 * 60);
/// Who is told to have imported a list.
const IMPORTER: &str = "service:transaction";

/// The providers that list what they did, by their names.
pub(crate) type Lists = Vec<(ProviderName, Arc<dyn MovementList>)>;

/// What is read from `BURSAR_RECONCILIATION_*`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Settings {
    /// The hour of UTC, 0 to 23, from which on the day before is due.
    #[serde(rename = "reconciliation_hour_utc", default = "default_hour")]
    hour: u8,
    /// How many days are caught up at most; 0 for no lists at all.
    #[serde(rename = "reconciliation_lookback_days", default = "default_days")]
    days: u8,
}

fn default_hour() -> u8 {
    2
}
fn default_days() -> u8 {
    7
}

impl Settings {
    /// Reads and checks the settings.
    pub(crate) fn read(start: &Start) -> anyhow::Result<Self> {
        let settings: Self = start.settings()?;
        anyhow::ensure!(
            settings.hour <= 23,
            "BURSAR_RECONCILIATION_HOUR_UTC must be 0 to 23"
        );
        anyhow::ensure!(
            settings.days <= 90,
            "BURSAR_RECONCILIATION_LOOKBACK_DAYS must be 0 to 90"
        );
        Ok(settings)
    }

    /// The days that are due, the oldest first.
    fn due(self, now: OffsetDateTime) -> Vec<Date> {
        let is_early = now.to_offset(time::UtcOffset::UTC).hour() < self.hour;
        let last = i64::from(is_early) + 1;
        let first = last + i64::from(self.days) - 1;
        (last..=first)
            .rev()
            .filter_map(|back| day(now).checked_sub(time::Duration::days(back)))
            .collect()
    }
}

/// Runs until the process ends.
pub(crate) async fn run(
    pool: PgPool,
    lists: Lists,
    settings: Settings,
    wake: Wake,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        for (provider, list) in &lists {
            let night = Night {
                pool: &pool,
                provider,
                list: &**list,
                shutdown: &shutdown,
            };
            match night.catch_up(&settings.due(now())).await {
                Ok(0) => {}
                Ok(_) => wake.wake(),
                Err(error) => tracing::warn!(%provider, %error, "no list can be read now"),
            }
        }
        if !next_turn(INTERVAL, &shutdown).await {
            return Ok(());
        }
    }
}

struct Night<'a> {
    pool: &'a PgPool,
    provider: &'a ProviderName,
    list: &'a dyn MovementList,
    shutdown: &'a CancellationToken,
}

/// Why a list is given up.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error(transparent)]
    List(#[from] ListFailed),
    #[error("the process ends, or another one has given the list up")]
    Interrupted,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl Night<'_> {
    /// Reads the lists of the days that have none. Returns how many.
    async fn catch_up(&self, due: &[Date]) -> Result<usize, sqlx::Error> {
        let mut read = 0;
        // Each day is tried once a turn, so this ends.
        for _ in due {
            if self.shutdown.is_cancelled() {
                break;
            }
            let tenant = TenantId::default();
            let mut transaction = database::begin(self.pool).await?;
            let day =
                files::unlisted(&mut transaction, &tenant, self.provider, due, RETRY_AFTER).await?;
            let Some(day) = day else { break };
            let new = NewFile {
                id: SettlementFileId::generate(),
                tenant,
                provider: self.provider.clone(),
                source: Source::List,
                name: format!("movements of {day}"),
                settlement_date: day,
                imported_by: IMPORTER.to_owned(),
            };
            let lease = files::begin(&mut transaction, &new, LEASE).await?;
            crash_point!("nightly.before_begin_commit");
            transaction.commit().await?;
            crash_point!("nightly.after_begin_commit");
            // Another instance was faster.
            let Some(lease) = lease else { continue };
            match self.read(lease, day).await {
                Ok(count) => {
                    read += 1;
                    tracing::info!(provider = %self.provider, %day, lines = count, "a list was read");
                }
                Err(stop) => self.give_up(lease, &stop).await?,
            }
        }
        Ok(read)
    }

    async fn read(&self, lease: Lease, day: Date) -> Result<i64, Stop> {
        let next = day.next_day().ok_or(ListFailed::Malformed)?;
        let (from, to) = (day.midnight().assume_utc(), next.midnight().assume_utc());
        let mut cursor: Option<String> = None;
        let (mut count, mut hash) = (0, Sha256::new());
        loop {
            if self.shutdown.is_cancelled() {
                return Err(Stop::Interrupted);
            }
            crash_point!("nightly.before_page");
            let page = self.list.page(from, to, cursor.as_deref()).await?;
            crash_point!("nightly.after_page");
            let mut batch = Vec::with_capacity(page.movements.len());
            for movement in page.movements {
                count += 1;
                let line = movement.line(lease.file, count);
                let line = line.ok_or(ListFailed::Malformed)?;
                hash.update(fingerprint(&line));
                batch.push(line);
            }
            self.write(lease, &batch).await?;
            match page.next {
                None => break,
                // A page that leads to itself would never end.
                same if same == cursor => return Err(ListFailed::Malformed.into()),
                next => cursor = next,
            }
        }
        let content = Content {
            sha256: hash.finalize().into(),
            bytes: 0,
            lines: count,
        };
        let mut transaction = database::begin(self.pool).await?;
        let completed = files::complete(&mut transaction, lease, &content).await?;
        if completed != Completed::Yes {
            return Err(Stop::Interrupted);
        }
        crash_point!("nightly.before_complete_commit");
        transaction.commit().await?;
        crash_point!("nightly.after_complete_commit");
        watch::imported(Source::List, count);
        Ok(count)
    }

    async fn write(&self, lease: Lease, batch: &[Line]) -> Result<(), Stop> {
        let mut transaction = database::begin(self.pool).await?;
        if !files::keep(&mut transaction, lease, LEASE).await? {
            return Err(Stop::Interrupted);
        }
        lines::insert(&mut transaction, lease.file, batch).await?;
        crash_point!("nightly.before_lines_commit");
        transaction.commit().await?;
        crash_point!("nightly.after_lines_commit");
        Ok(())
    }

    async fn give_up(&self, lease: Lease, stop: &Stop) -> Result<(), sqlx::Error> {
        tracing::warn!(provider = %self.provider, error = %stop, "a list is given up");
        let code = match stop {
            Stop::List(ListFailed::Malformed) => ProblemCode::ListMalformed,
            Stop::List(ListFailed::Unanswered(_) | ListFailed::Status(_))
            | Stop::Interrupted
            | Stop::Database(_) => ProblemCode::Interrupted,
        };
        let problem = Problem::of_file(code);
        let mut transaction = database::begin(self.pool).await?;
        files::fail(&mut transaction, lease, &(&problem).into(), 0).await?;
        crash_point!("nightly.before_give_up_commit");
        transaction.commit().await?;
        crash_point!("nightly.after_give_up_commit");
        watch::file(Source::List, "refused");
        Ok(())
    }
}

/// What tells one line from another.
fn fingerprint(line: &Line) -> String {
    format!(
        "{}\n{}\n{}\n{}\n{}\n{}\n{}\n",
        line.reference,
        line.provider_reference,
        line.type_word,
        line.currency.code(),
        line.gross_minor,
        line.fee_minor,
        line.occurred_at.unix_timestamp_nanos(),
    )
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};

    use super::*;

    /// Before the hour the day before yesterday is the last one that is due, and
    /// the days of the look-back come with it.
    #[test]
    fn days_are_due_from_the_hour_on() {
        let settings = Settings { hour: 3, days: 2 };
        let early = settings.due(datetime!(2026-03-05 02:59 UTC));
        assert_eq!(early, [date!(2026 - 03 - 02), date!(2026 - 03 - 03)]);
        let late = settings.due(datetime!(2026-03-05 03:00 UTC));
        assert_eq!(late, [date!(2026 - 03 - 03), date!(2026 - 03 - 04)]);
        let off = Settings { hour: 3, days: 0 };
        assert_eq!(off.due(datetime!(2026-03-05 03:00 UTC)), []);
    }
}

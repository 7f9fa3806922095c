//! Reads settlement files as they come.
//!
//! What brings the bytes (a gRPC call, an HTTP request) and what reads them are
//! two tasks with a short queue between them: the bringer waits while the reader
//! writes. So an import takes the memory of [`QUEUE`] parts, one record and one
//! batch of lines, whatever the file's size. A bringer that leaves without
//! saying that this is the end makes the reader give the file up; a reader that
//! dies leaves a lease that lapses. Nothing of a file counts before the one
//! commit that completes it.

use std::sync::Arc;
use std::time::Duration;

use bursar_server::{crash_point, database};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use thiserror::Error;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tracing::Instrument;

use super::{LEASE, Wake};
use crate::reconciliation::{Line, Problem, ProblemCode, Reader};
use crate::store::reconciliation::files::{self, Completed, Content, NewFile, StoredFile};
use crate::store::reconciliation::{Lease, StoredProblem, lines, settings};
use crate::watch::reconciliation as watch;

/// How many parts wait for the reader.
pub(crate) const QUEUE: usize = 4;
/// The largest part, in bytes.
pub(crate) const MAX_PART: usize = 1024 * 1024;
/// The largest file, in bytes: 16 GiB.
const MAX_BYTES: i64 = 16 << 30;
/// How many lines are written at once.
const BATCH: usize = 1_000;
/// How many files one process reads at once.
const CONCURRENT: usize = 4;
/// How often a reader that gets nothing shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What reads files.
#[derive(Clone)]
pub(crate) struct Intake {
    pool: PgPool,
    wake: Wake,
    permits: Arc<Semaphore>,
}

/// A file that is being read.
pub(crate) struct Reading {
    parts: Sender<Part>,
    reader: JoinHandle<Result<Imported, Refused>>,
}

enum Part {
    Bytes(Vec<u8>),
    End,
}

/// A file whose lines count.
#[derive(Clone, Debug)]
pub(crate) struct Imported {
    /// The file.
    pub(crate) file: StoredFile,
    /// Whether the same content had counted before.
    pub(crate) was_there: bool,
}

/// Why a file is not taken.
#[derive(Debug, Error)]
pub(crate) enum Refused {
    /// It is broken.
    #[error("{problem}")]
    Broken {
        /// The file.
        file: bursar_aip::id::SettlementFileId,
        /// Where.
        problem: Problem,
    },
    /// As many files are being read as can be.
    #[error("as many settlement files are being read as can be")]
    Busy,
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl Intake {
    pub(crate) fn new(pool: PgPool, wake: Wake) -> Self {
        Self {
            pool,
            wake,
            permits: Arc::new(Semaphore::new(CONCURRENT)),
        }
    }

    /// The database.
    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Begins to read a file.
    pub(crate) fn begin(&self, file: NewFile) -> Result<Reading, Refused> {
        let permit = Arc::clone(&self.permits)
            .try_acquire_owned()
            .map_err(|_| Refused::Busy)?;
        let (parts, receiver) = mpsc::channel(QUEUE);
        let reading = read(self.clone(), file, receiver, permit);
        Ok(Reading {
            parts,
            reader: tokio::spawn(reading.in_current_span()),
        })
    }
}

impl Reading {
    /// Hands on the next bytes; false when the reader wants no more, and then
    /// [`Reading::finish`] says why.
    pub(crate) async fn push(&self, bytes: &[u8]) -> bool {
        for part in bytes.chunks(MAX_PART) {
            if self.parts.send(Part::Bytes(part.to_vec())).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Says that this was all, and waits for what became of it.
    pub(crate) async fn finish(self) -> Result<Imported, Refused> {
        // A reader that has stopped already says why below.
        let _ = self.parts.send(Part::End).await;
        drop(self.parts);
        match self.reader.await {
            Ok(read) => read,
            Err(_) => Err(Refused::Database(sqlx::Error::WorkerCrashed)),
        }
    }
}

/// A file under way in the reader.
struct File {
    pool: PgPool,
    new: NewFile,
    lease: Lease,
    reader: Reader,
    hash: Sha256,
    bytes: i64,
    batch: Vec<Line>,
}

/// Why a reader stops before the end.
#[derive(Debug, Error)]
enum Stop {
    #[error(transparent)]
    Problem(#[from] Problem),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

async fn read(
    intake: Intake,
    new: NewFile,
    mut parts: Receiver<Part>,
    _permit: OwnedSemaphorePermit,
) -> Result<Imported, Refused> {
    let mut transaction = database::begin(&intake.pool).await?;
    let settings = settings::find(&mut transaction, &new.tenant, &new.provider).await?;
    let lease = files::begin(&mut transaction, &new, LEASE).await?;
    crash_point!("intake.before_begin_commit");
    transaction.commit().await?;
    crash_point!("intake.after_begin_commit");
    // Files that somebody brings have no day of their own, so one can always begin.
    let lease = lease.ok_or(sqlx::Error::RowNotFound)?;
    let mut file = File {
        pool: intake.pool.clone(),
        reader: Reader::new(new.id, settings.format),
        new,
        lease,
        hash: Sha256::new(),
        bytes: 0,
        batch: Vec::with_capacity(BATCH),
    };
    match file.take_all(&mut parts).await {
        Ok(()) => {
            let imported = file.complete().await?;
            intake.wake.wake();
            Ok(imported)
        }
        Err(Stop::Problem(problem)) => {
            drop(parts);
            file.fail(&(&problem).into()).await?;
            watch::file(file.new.source, "refused");
            intake.wake.wake();
            let file = file.new.id;
            Err(Refused::Broken { file, problem })
        }
        Err(Stop::Database(error)) => {
            drop(parts);
            // If this fails as well, the lease lapses.
            if let Err(error) = file.fail(&StoredProblem::interrupted()).await {
                tracing::warn!(%error, "a settlement file cannot be given up now");
            }
            Err(error.into())
        }
    }
}

impl File {
    async fn take_all(&mut self, parts: &mut Receiver<Part>) -> Result<(), Stop> {
        loop {
            match tokio::time::timeout(HEARTBEAT, parts.recv()).await {
                Err(_) => self.keep().await?,
                Ok(None) => return Err(Problem::of_file(ProblemCode::Interrupted).into()),
                Ok(Some(Part::Bytes(bytes))) => self.take(&bytes).await?,
                Ok(Some(Part::End)) => break,
            }
        }
        while let Some(line) = self.reader.finish()? {
            self.batch.push(line);
        }
        self.flush().await
    }

    async fn take(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.hash.update(bytes);
        self.bytes = self
            .bytes
            .saturating_add(i64::try_from(bytes.len()).unwrap_or(i64::MAX));
        if self.bytes > MAX_BYTES {
            return Err(Problem::of_file(ProblemCode::TooLong).into());
        }
        let mut rest = bytes;
        while let Some(line) = self.reader.next(&mut rest)? {
            self.batch.push(line);
            if self.batch.len() >= BATCH {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Writes the lines at hand. They do not count yet.
    async fn flush(&mut self) -> Result<(), Stop> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let mut transaction = database::begin(&self.pool).await?;
        if !files::keep(&mut transaction, self.lease, LEASE).await? {
            return Err(Problem::of_file(ProblemCode::Interrupted).into());
        }
        lines::insert(&mut transaction, self.new.id, &self.batch).await?;
        crash_point!("intake.before_lines_commit");
        transaction.commit().await?;
        crash_point!("intake.after_lines_commit");
        self.batch.clear();
        Ok(())
    }

    async fn keep(&self) -> Result<(), Stop> {
        let mut conn = self.pool.acquire().await?;
        match files::keep(&mut conn, self.lease, LEASE).await? {
            true => Ok(()),
            false => Err(Problem::of_file(ProblemCode::Interrupted).into()),
        }
    }

    /// Lets the file count, unless the same content does already.
    async fn complete(&mut self) -> Result<Imported, Refused> {
        let content = Content {
            sha256: std::mem::take(&mut self.hash).finalize().into(),
            bytes: self.bytes,
            lines: self.reader.totals().lines(),
        };
        let mut transaction = database::begin(&self.pool).await?;
        let completed = files::complete(&mut transaction, self.lease, &content).await?;
        match completed {
            Completed::Yes => {
                crash_point!("intake.before_complete_commit");
                transaction.commit().await?;
                crash_point!("intake.after_complete_commit");
                watch::imported(self.new.source, content.lines);
            }
            Completed::AlreadyImported | Completed::Superseded => transaction.rollback().await?,
        }
        let mut conn = self.pool.acquire().await?;
        let found = match completed {
            Completed::Yes => files::find(&mut conn, self.new.id).await?,
            Completed::AlreadyImported => {
                drop(conn);
                let again = Problem::of_file(ProblemCode::AlreadyImported);
                self.fail(&(&again).into()).await?;
                watch::file(self.new.source, "repeated");
                conn = self.pool.acquire().await?;
                let (tenant, provider) = (&self.new.tenant, &self.new.provider);
                files::find_content(&mut conn, tenant, provider, &content.sha256).await?
            }
            Completed::Superseded => {
                let problem = Problem::of_file(ProblemCode::Interrupted);
                let file = self.new.id;
                return Err(Refused::Broken { file, problem });
            }
        };
        Ok(Imported {
            file: found.ok_or(sqlx::Error::RowNotFound)?,
            was_there: completed == Completed::AlreadyImported,
        })
    }

    async fn fail(&self, problem: &StoredProblem) -> Result<(), sqlx::Error> {
        let mut transaction = database::begin(&self.pool).await?;
        files::fail(&mut transaction, self.lease, problem, self.bytes).await?;
        crash_point!("intake.before_fail_commit");
        transaction.commit().await?;
        crash_point!("intake.after_fail_commit");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::*;

    /// A bringer waits once as many parts are there as may wait for the reader, and
    /// a part is never larger than one may be: so memory does not grow with a file.
    #[tokio::test]
    async fn a_bringer_waits_for_the_reader() {
        let (parts, mut receiver) = mpsc::channel(QUEUE);
        let reading = Reading {
            parts,
            reader: tokio::spawn(async { Err(Refused::Busy) }),
        };
        let large = vec![0; QUEUE * MAX_PART];
        assert!(reading.push(&large).await);
        let mut more = Box::pin(reading.push(b"more"));
        assert!(poll!(&mut more).is_pending());
        assert!(
            matches!(receiver.recv().await, Some(Part::Bytes(bytes)) if bytes.len() == MAX_PART)
        );
        assert!(more.await);
        // A reader that stopped wants no more.
        drop(receiver);
        assert!(!reading.push(b"too late").await);
    }
}

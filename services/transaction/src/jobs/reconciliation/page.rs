//! One page of lines, held against the transactions that they name.

use std::collections::{BTreeSet, HashMap};

use bursar_aip::id::TransactionId;
use sqlx::PgConnection;
use time::Date;

use crate::reconciliation::{Found, Line, LineId, Reason, Recorded, Rule, Standing, reconcile};
use crate::store::checks;
use crate::store::reconciliation::candidates::{self, Books};
use crate::store::reconciliation::outcome::{self, Changed};

/// Lines with the days whose settlement they belong to.
pub(super) struct Page<'a> {
    books: Books<'a>,
    rules: &'a [Rule],
    lines: HashMap<LineId, (&'a Line, Date)>,
}

impl<'a> Page<'a> {
    pub(super) fn new(books: Books<'a>, rules: &'a [Rule], lines: Vec<(&'a Line, Date)>) -> Self {
        let lines = lines
            .into_iter()
            .map(|(line, date)| (line.id, (line, date)))
            .collect();
        Self {
            books,
            rules,
            lines,
        }
    }

    /// Matches the lines and writes what was found, in the transaction at hand. What
    /// has changed by that is returned.
    pub(super) async fn settle(&self, conn: &mut PgConnection) -> Result<Changed, sqlx::Error> {
        let lines: Vec<Line> = self
            .lines
            .values()
            .map(|(line, _)| (*line).clone())
            .collect();
        let recorded = candidates::named(&mut *conn, self.books, &lines).await?;
        let found = reconcile(self.rules, &lines, &recorded);
        let recorded: HashMap<TransactionId, &Recorded> =
            recorded.iter().map(|one| (one.id, one)).collect();
        let mut changed = Changed::default();
        outcome::matched(
            &mut *conn,
            self.books,
            &found.matches,
            &recorded,
            &mut changed,
        )
        .await?;
        outcome::broken(
            &mut *conn,
            self.books,
            &found.breaks,
            &self.lines,
            &recorded,
            &mut changed,
        )
        .await?;
        // The provider says that it happened: no more than a reason to ask it soon.
        for transaction in hints(&found.breaks, &recorded) {
            checks::nudge(&mut *conn, transaction).await?;
        }
        Ok(changed)
    }
}

/// The transactions under way of which a line says that they happened, in the
/// order in which their checks are locked.
fn hints(
    breaks: &[Found],
    recorded: &HashMap<TransactionId, &Recorded>,
) -> BTreeSet<TransactionId> {
    breaks
        .iter()
        .filter(|found| found.reason == Reason::StatusMismatch)
        .filter_map(|found| found.transaction)
        .filter(|id| {
            recorded
                .get(id)
                .is_some_and(|recorded| recorded.standing == Standing::UnderWay)
        })
        .collect()
}

//! Reading a statement part by part, for pages and for files.
//!
//! A statement is of the wallet's entries up to the version that its first
//! reader saw, so all its parts fit together whatever is posted meanwhile. The
//! money before a part and the money after it are not carried over from part to
//! part but read by themselves, and the lines must lead from the one to the
//! other: a statement that does not close is never shown.

use bursar_aip::page;
use bursar_contracts::r#type::v1::ErrorReason;
use sqlx::PgConnection;
use tonic::Status;

use crate::contract::history::{Period, StatementHead};
use crate::domain::history::{BalancedLine, Position, TimeBasis, close};
use crate::domain::wallet::{Balance, Wallet};
use crate::error::Error;
use crate::store::history;
use crate::store::statements::{self, Section};

/// A statement that is being read.
pub(super) struct Reading {
    /// What it is about.
    pub(super) head: StatementHead,
}

/// Some of its lines, in order.
pub(super) struct Part {
    /// The lines.
    pub(super) lines: Vec<BalancedLine>,
    /// Where the next part begins; `None` after the last.
    pub(super) next: Option<Position>,
}

impl Reading {
    /// Begins to read a wallet's statement, of its entries up to `as_of`.
    pub(super) async fn begin(
        conn: &mut PgConnection,
        wallet: &Wallet,
        as_of: i64,
        basis: TimeBasis,
        period: Period,
    ) -> Result<Self, Status> {
        let id = wallet.id;
        let (from, to) = (Position::before(period.from), Position::before(period.to));
        let opening = history::balance(conn, id, as_of, basis, from)
            .await
            .map_err(Error::from)?;
        let closing = history::balance(conn, id, as_of, basis, to)
            .await
            .map_err(Error::from)?;
        let head = StatementHead {
            wallet: id,
            currency: wallet.currency,
            basis,
            period,
            as_of,
            opening,
            closing,
        };
        Ok(Self { head })
    }

    /// The place before its first line.
    pub(super) fn start(&self) -> Position {
        Position::before(self.head.period.from)
    }

    /// The section after a place.
    pub(super) fn section(&self, after: Position) -> Section {
        let head = &self.head;
        Section {
            wallet: head.wallet,
            as_of: head.as_of,
            basis: head.basis,
            after,
            before: head.period.to,
        }
    }

    /// Up to `size` lines after a place.
    pub(super) async fn part(
        &self,
        conn: &mut PgConnection,
        after: Position,
        size: i64,
    ) -> Result<Part, Status> {
        let head = &self.head;
        // One more than the part, to know whether another one follows.
        let mut lines = statements::lines(conn, &self.section(after), size + 1)
            .await
            .map_err(Error::from)?;
        let next = page::cut(&mut lines, size).map(|last| last.position(head.basis));
        let before = if after == self.start() {
            head.opening
        } else {
            self.balance(conn, after).await?
        };
        let end = match next {
            Some(next) => self.balance(conn, next).await?,
            None => head.closing,
        };
        let lines = close(before, lines, end)
            .map_err(|error| bursar_status::internal(ErrorReason::Internal, &error))?;
        Ok(Part { lines, next })
    }

    async fn balance(&self, conn: &mut PgConnection, at: Position) -> Result<Balance, Error> {
        let head = &self.head;
        Ok(history::balance(conn, head.wallet, head.as_of, head.basis, at).await?)
    }
}

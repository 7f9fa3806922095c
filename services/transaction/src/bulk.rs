//! Bulk transfers: many transfers, one call of the ledger.
//!
//! Every transfer is a transaction of its own, with the events, the invariants and
//! the states of any other. What differs is who moves it on: not its own check but
//! the bulk transfer's, so that the transfers of an atomic one always travel
//! together.
//!
//! 1. One database transaction records the key, the bulk transfer with its check,
//!    and the intents of all transfers ([`run`]).
//! 2. One `PostBatch` carries all of them, under the transactions' own ids. In an
//!    atomic bulk transfer it is atomic, and it is only ever repeated as the same
//!    whole: after a crash as well, because each run sends all that is PENDING and
//!    the transfers of an atomic one leave PENDING in one commit.
//! 3. One database transaction records all outcomes and the answer ([`decide`]
//!    says which, without any input or output).
//!
//! A refusal is final at once only while no earlier attempt can still arrive. Else
//! it is noted and the postings' ids are taken by postings that move nothing: one
//! by one when the transfers are independent, all in one atomic call when they are
//! not, so that the ids are taken all by the transfers or all by the bars.

pub(crate) mod decide;
pub(crate) mod error;
pub(crate) mod invariants;
pub(crate) mod run;

use bursar_aip::id::{BulkTransferId, TenantId, TransactionId, UserId};
use bursar_contracts::transaction::v1::{
    self as contract, BulkTransferMode, BulkTransferState, CreateBulkTransferResponse,
    TransactionFailure,
};
use time::OffsetDateTime;

use crate::contract as translate;
use crate::domain::{Failure, Refusal, State};
use crate::store::transactions::Stored;
use error::Error;

/// How many refused transfers an error names: it travels in a header.
const MAX_TOLD: usize = 10;

/// Whether the transfers stand or fall together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// All complete, or none does.
    Atomic,
    /// Each completes or fails on its own.
    Independent,
}

impl Mode {
    /// The name in the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Atomic => "ATOMIC",
            Self::Independent => "INDEPENDENT",
        }
    }

    /// The mode of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Atomic, Self::Independent]
            .into_iter()
            .find(|mode| mode.name() == name)
    }
}

/// How many transfers ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) completed: i32,
    pub(crate) failed: i32,
    pub(crate) review: i32,
}

impl Counts {
    /// Counts one more transfer, if it is at rest.
    pub(crate) fn add(&mut self, state: State) {
        match state {
            State::Completed => self.completed += 1,
            State::Failed => self.failed += 1,
            State::ManualReview => self.review += 1,
            State::Pending
            | State::Held
            | State::Processing
            | State::Unknown
            | State::Settling
            | State::Releasing => {}
        }
    }

    /// How many are at rest.
    pub(crate) fn total(self) -> i32 {
        self.completed + self.failed + self.review
    }
}

/// A bulk transfer without its transfers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bulk {
    pub(crate) id: BulkTransferId,
    pub(crate) tenant: TenantId,
    pub(crate) mode: Mode,
    pub(crate) initiator: UserId,
    /// How many transfers it has.
    pub(crate) transfers: i32,
    pub(crate) counts: Counts,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) updated_at: OffsetDateTime,
}

impl Bulk {
    /// How far it is.
    pub(crate) fn state(&self) -> BulkTransferState {
        let counts = self.counts;
        if counts.total() < self.transfers {
            BulkTransferState::Running
        } else if counts.review > 0 {
            BulkTransferState::ManualReview
        } else if counts.completed == self.transfers {
            BulkTransferState::Completed
        } else if counts.failed == self.transfers {
            BulkTransferState::Failed
        } else {
            BulkTransferState::PartlyCompleted
        }
    }

    /// Whether nothing is under way any more.
    pub(crate) fn is_over(&self) -> bool {
        self.counts.total() >= self.transfers
    }

    /// The bulk transfer as the contract writes it.
    pub(crate) fn message(&self) -> contract::BulkTransfer {
        let mode = match self.mode {
            Mode::Atomic => BulkTransferMode::Atomic,
            Mode::Independent => BulkTransferMode::Independent,
        };
        contract::BulkTransfer {
            bulk_transfer_id: self.id.to_string(),
            mode: mode.into(),
            state: self.state().into(),
            transfer_count: self.transfers,
            completed_count: self.counts.completed,
            failed_count: self.counts.failed,
            review_count: self.counts.review,
            initiator_user_id: self.initiator.to_string(),
            created_at: Some(translate::timestamp(self.created_at)),
            updated_at: Some(translate::timestamp(self.updated_at)),
        }
    }
}

/// A transfer that is under way in a bulk transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// Its index among the request's transfers.
    pub(crate) position: i32,
    /// The caller's own name of it.
    pub(crate) key: String,
    /// The transaction.
    pub(crate) stored: Stored,
    /// The ledger's refusal of an attempt. While the transfer is under way, its
    /// posting's id is to be barred.
    pub(crate) refusal: Option<Refusal>,
}

/// What a caller is told of a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ItemResult {
    pub(crate) position: i32,
    pub(crate) key: String,
    pub(crate) transaction: TransactionId,
    pub(crate) state: State,
    pub(crate) failure: Option<Failure>,
    /// Whether the ledger refused this very transfer, and not another one with
    /// which it stands or falls.
    pub(crate) is_refused: bool,
}

impl ItemResult {
    /// The result of a transfer as it stands.
    pub(crate) fn of(item: &Item) -> Self {
        let transaction = &item.stored.transaction;
        Self {
            position: item.position,
            key: item.key.clone(),
            transaction: transaction.id,
            state: transaction.state,
            failure: transaction.failure.clone(),
            is_refused: item.refusal.is_some(),
        }
    }

    /// The result as the contract writes it.
    pub(crate) fn message(&self) -> contract::BulkTransferItem {
        contract::BulkTransferItem {
            position: self.position,
            item_key: self.key.clone(),
            transaction_id: self.transaction.to_string(),
            state: translate::transaction_state(self.state).into(),
            failure: self.failure.as_ref().map(|failure| TransactionFailure {
                reason: failure.reason.name().to_owned(),
                message: failure.message.clone(),
            }),
        }
    }
}

/// The answer to the call that asked for a bulk transfer, with its results in
/// order. While it is under way there is none: the ledger has not spoken, and the
/// same key tried again goes on.
pub(crate) fn answer(
    bulk: &Bulk,
    results: &[ItemResult],
) -> Result<CreateBulkTransferResponse, Error> {
    match (bulk.mode, bulk.state()) {
        (_, BulkTransferState::Running) => Err(Error::LedgerUnavailable { bulk: bulk.id }),
        (Mode::Atomic, BulkTransferState::Failed) => Err(Error::Refused {
            bulk: bulk.id,
            refused: results
                .iter()
                .filter(|result| result.is_refused)
                .filter_map(|result| Some((result.position, result.failure.clone()?)))
                .take(MAX_TOLD)
                .collect(),
        }),
        (_, _) => Ok(CreateBulkTransferResponse {
            bulk_transfer: Some(bulk.message()),
            items: results.iter().map(ItemResult::message).collect(),
        }),
    }
}

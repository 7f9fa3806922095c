//! What a transaction is and how it moves, without any input or output.
//!
//! [`Transaction`] is the fold of its [`Event`]s. [`step`] takes a transaction
//! and what has just been learnt about it and says which events that makes and
//! which [`Command`] comes next. The shell commits the events before it runs
//! the command, so whatever dies, the next process finds how far it came.
//!
//! | state         | waits for                                   | goes on to                        |
//! |---------------|---------------------------------------------|-----------------------------------|
//! | PENDING       | the ledger (transfer, adjustment, bonus grant, hold) | COMPLETED, HELD, PROCESSING, FAILED |
//! | HELD          | the request to the provider                 | PROCESSING, FAILED                |
//! | PROCESSING    | the provider                                | SETTLING, RELEASING, UNKNOWN, FAILED |
//! | UNKNOWN       | the provider's word, however long it takes  | PROCESSING, SETTLING, RELEASING, FAILED |
//! | SETTLING      | the ledger (credit, capture)                | COMPLETED                         |
//! | RELEASING     | the ledger (void)                           | FAILED                            |
//! | COMPLETED     | nothing: final                              |                                   |
//! | FAILED        | nothing: final                              |                                   |
//! | MANUAL_REVIEW | a person                                    | where it stopped, SETTLING, RELEASING |
//!
//! Every state but the final ones may go to MANUAL_REVIEW. What a person may
//! decide is in the module `review`; refunds have their doctrine in `refund`.
//!
//! The rules that everything else rests on:
//!
//! - A remote call happens only after the event or the intent that announces it
//!   is committed, under an id that is the same however often it is repeated.
//! - No answer is never taken for a refusal, neither the ledger's nor the
//!   provider's.
//! - A refusal of the ledger is final only when no earlier attempt of the same
//!   posting can still arrive; otherwise the posting id is barred first.
//! - Money that a provider has taken is never forgotten: what cannot be posted
//!   goes to MANUAL_REVIEW.

mod adjustment;
mod backoff;
mod event;
mod failure;
mod fee;
mod fx;
pub mod limit;
mod movement;
mod posting;
mod quote;
mod refund;
mod review;
mod step;
mod transaction;

pub use adjustment::{Adjustment, AdjustmentDirection, AdjustmentReason};
pub use backoff::next_check_in;
pub use event::{Event, Initiated, Resolved};
pub use failure::{Failure, FailureReason, LedgerFault, Refusal, RefusalReason, Side, Verdict};
pub use fee::{
    Fee, FeePayer, FeeRule, FeeRuleInvalid, MAX_AMOUNT_MINOR, Rounding, choose as choose_fee_rule,
};
pub use fx::{Conversion, ConvertError, ExchangeRate, Rate, RateInvalid};
pub use movement::{Back, Flow, Movement, MovementKind, ProviderName, ProviderNameInvalid, Refund};
pub use posting::{Account, Bucket, Hold, HoldAction, Leg, Posting, PostingKind};
pub use quote::{Price, Quote, QuoteError};
pub use refund::{Asker, MAX_SHARES, RefundError, plan as plan_refund};
pub use review::{Resolution, ResolveError, decide_screened, resolve};
pub use step::{Answer, Asked, Command, Input, Looked, Note, Posted, Step, StepError, Terms, step};
pub use transaction::{Share, State, Transaction, TransitionError};

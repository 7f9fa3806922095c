//! The edge cases of moving money, as a table: what is asked for, what goes wrong,
//! what the caller is told at first, how it ends, and what stands in the ledger and
//! at the provider then.
//!
//! Everybody starts with 1,000 in a wallet and moves 400. However a case goes, there
//! is one transaction of it, its key gets its first answer again, and every rule of
//! every database holds. The cases in which the process dies are in the crash tests.

mod scene;

use bursar_contracts::transaction::v1::TransactionState;

use crate::support::wire::Mode;
use scene::hold_true;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    Transfer,
    Deposit,
    Withdrawal,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The provider is told to misbehave so.
    AtProvider(&'static [&'static str]),
    /// Its callback comes while the request is still at work.
    EarlyCallback,
    /// Its callback comes twice.
    CallbackTwice,
    /// Its last callback comes before one that says something else.
    CallbacksReversed,
    /// Callbacks come that are about nothing we know.
    StrangersCallbacks,
    /// The request reaches the provider after it was asked about and not known.
    LateArrival,
    /// The same key comes fifty times at once.
    Duplicates,
    /// The key comes again with another amount.
    OtherBody,
    /// Recovery takes over while the provider is being asked.
    Overtaken,
    /// The wallet is closed while the provider is at work.
    WalletCloses,
    /// The ledger's wire is like this until the caller gives up.
    Ledger(Mode),
}

/// What the caller is told at first.
#[derive(Clone, Copy, Debug)]
enum Told {
    State(TransactionState),
    Refused(&'static str),
    /// That depends on who comes first.
    EitherWay,
}

/// How it ends.
#[derive(Clone, Copy, Debug)]
enum Ends {
    Completed,
    Failed(&'static str),
    InReview,
}

/// A case.
#[derive(Clone, Copy, Debug)]
struct Row {
    asks: Asks,
    fault: Fault,
    told: Told,
    /// What the wallet has then, available and held, where that is certain.
    meanwhile: Option<(i64, i64)>,
    ends: Ends,
    /// The kinds of its postings, in their order.
    postings: &'static [&'static str],
    /// What the provider's books say of it.
    provider: &'static [&'static str],
    /// What the wallet has in the end.
    balance: (i64, i64),
}

const COMPLETED: Told = Told::State(TransactionState::Completed);
const PROCESSING: Told = Told::State(TransactionState::Processing);
const UNKNOWN: Told = Told::State(TransactionState::Unknown);

/// One test a row, so that they run beside each other.
macro_rules! edge_cases {
    ($($(#[$doc:meta])* $name:ident { $($column:ident: $value:expr,)* })*) => {
        $($(#[$doc])*
        #[tokio::test]
        async fn $name() {
            hold_true(Row { $($column: $value,)* }).await;
        })*
    };
}

edge_cases! {
    /// The provider says SUCCESS while we say PROCESSING: COMPLETED by itself.
    success_comes_while_we_say_processing {
        asks: Asks::Deposit,
        fault: Fault::AtProvider(&[r#"{"operation": "charge", "kind": "pending", "delay_ms": 300}"#]),
        told: PROCESSING,
        meanwhile: None,
        ends: Ends::Completed,
        postings: &["deposit"],
        provider: &["charge succeeded 400"],
        balance: (1_400, 0),
    }

    /// The provider says FAILED while we say PROCESSING: FAILED, and nothing moved.
    failure_comes_while_we_say_processing {
        asks: Asks::Deposit,
        fault: Fault::AtProvider(&[r#"{"operation": "charge", "kind": "pending_decline", "delay_ms": 300}"#]),
        told: PROCESSING,
        meanwhile: None,
        ends: Ends::Failed("PROVIDER_DECLINED"),
        postings: &[],
        provider: &["charge declined 400"],
        balance: (1_000, 0),
    }

    /// The same with money that is set aside: it is given back.
    a_payout_that_fails_later_gives_back {
        asks: Asks::Withdrawal,
        fault: Fault::AtProvider(&[r#"{"operation": "payout", "kind": "pending_decline", "delay_ms": 300}"#]),
        told: PROCESSING,
        meanwhile: None,
        ends: Ends::Failed("PROVIDER_DECLINED"),
        postings: &["hold", "hold_void"],
        provider: &["payout declined 400"],
        balance: (1_000, 0),
    }

    /// The callback comes before our commit: it is kept, and nothing happens twice.
    a_callback_comes_before_our_commit {
        asks: Asks::Withdrawal,
        fault: Fault::EarlyCallback,
        told: COMPLETED,
        meanwhile: None,
        ends: Ends::Completed,
        postings: &["hold", "hold_capture"],
        provider: &["payout succeeded 400"],
        balance: (600, 0),
    }

    /// The callback brings the check forward, and comes again: it counts once.
    a_callback_comes_twice {
        asks: Asks::Deposit,
        fault: Fault::CallbackTwice,
        told: PROCESSING,
        meanwhile: None,
        ends: Ends::Completed,
        postings: &["deposit"],
        provider: &["charge succeeded 400"],
        balance: (1_400, 0),
    }

    /// Callbacks come in the wrong order: the provider's word counts, not theirs.
    callbacks_come_out_of_order {
        asks: Asks::Deposit,
        fault: Fault::CallbacksReversed,
        told: PROCESSING,
        meanwhile: None,
        ends: Ends::Completed,
        postings: &["deposit"],
        provider: &["charge succeeded 400"],
        balance: (1_400, 0),
    }

    /// Callbacks about unknown references are kept, and disturb nobody.
    callbacks_come_about_unknown_references {
        asks: Asks::Deposit,
        fault: Fault::StrangersCallbacks,
        told: COMPLETED,
        meanwhile: None,
        ends: Ends::Completed,
        postings: &["deposit"],
        provider: &["charge succeeded 400"],
        balance: (1_400, 0),
    }

    /// The provider does not know a payout yet, and gets to know it within its window:
    /// the hold stays, and the withdrawal succeeds late.
    an_absence_is_not_believed_at_once {
        asks: Asks::Withdrawal,
        fault: Fault::LateArrival,
        told: UNKNOWN,
        meanwhile: Some((600, 400)),
        ends: Ends::Completed,
        postings: &["hold", "hold_capture"],
        provider: &["payout succeeded 400"],
        balance: (600, 0),
    }

    /// The payout happened and its answer was lost: the hold stays while nobody can
    /// know, and it is captured once.
    a_lost_answer_of_a_payout_that_happened {
        asks: Asks::Withdrawal,
        fault: Fault::AtProvider(&[
            r#"{"operation": "payout", "kind": "lost_response"}"#,
            r#"{"operation": "status", "kind": "error_500", "times": 2}"#,
        ]),
        told: UNKNOWN,
        meanwhile: Some((600, 400)),
        ends: Ends::Completed,
        postings: &["hold", "hold_capture"],
        provider: &["payout succeeded 400"],
        balance: (600, 0),
    }

    /// The payout never arrived: FAILED after the window, with the hold given back.
    a_lost_answer_of_a_payout_that_did_not_happen {
        asks: Asks::Withdrawal,
        fault: Fault::AtProvider(&[r#"{"operation": "payout", "kind": "timeout"}"#]),
        told: UNKNOWN,
        meanwhile: Some((600, 400)),
        ends: Ends::Failed("PROVIDER_NEVER_RECEIVED"),
        postings: &["hold", "hold_void"],
        provider: &[],
        balance: (1_000, 0),
    }

    /// Fifty duplicates at once: one effect, and each gets the one answer or is told
    /// to try again.
    a_request_comes_fifty_times_at_once {
        asks: Asks::Transfer,
        fault: Fault::Duplicates,
        told: COMPLETED,
        meanwhile: None,
        ends: Ends::Completed,
        postings: &["transfer"],
        provider: &[],
        balance: (600, 0),
    }

    /// The key with another body: refused, and the first one stays what it is.
    a_key_comes_with_another_body {
        asks: Asks::Withdrawal,
        fault: Fault::OtherBody,
        told: COMPLETED,
        meanwhile: None,
        ends: Ends::Completed,
        postings: &["hold", "hold_capture"],
        provider: &["payout succeeded 400"],
        balance: (600, 0),
    }

    /// Recovery takes over while the provider is being asked: whoever comes first
    /// decides, the provider is asked to act once, and the other one cannot write.
    recovery_races_the_live_request {
        asks: Asks::Withdrawal,
        fault: Fault::Overtaken,
        told: Told::EitherWay,
        meanwhile: None,
        ends: Ends::Completed,
        postings: &["hold", "hold_capture"],
        provider: &["payout succeeded 400"],
        balance: (600, 0),
    }

    /// The ledger refuses what the provider has done, because the wallet was closed
    /// meanwhile: a person decides, and nothing is dropped.
    the_ledger_refuses_after_the_providers_success {
        asks: Asks::Deposit,
        fault: Fault::WalletCloses,
        told: PROCESSING,
        meanwhile: None,
        ends: Ends::InReview,
        postings: &[],
        provider: &["charge succeeded 400"],
        balance: (1_000, 0),
    }

    /// The ledger is away, and nobody asks again: recovery ends it.
    the_ledger_is_away {
        asks: Asks::Transfer,
        fault: Fault::Ledger(Mode::Cut),
        told: Told::Refused("UNAVAILABLE"),
        meanwhile: Some((1_000, 0)),
        ends: Ends::Completed,
        postings: &["transfer"],
        provider: &[],
        balance: (600, 0),
    }

    /// The ledger posts and its answer is lost, and nobody asks again: it counts once.
    the_ledgers_answer_is_lost {
        asks: Asks::Transfer,
        fault: Fault::Ledger(Mode::LosesAnswers),
        told: Told::Refused("UNAVAILABLE"),
        meanwhile: Some((600, 0)),
        ends: Ends::Completed,
        postings: &["transfer"],
        provider: &[],
        balance: (600, 0),
    }
}

//! What was asked for, what was told, and what the books say: values only, so that
//! the [`check`](super::check) of them can be tested without a mesh.

use uuid::Uuid;

/// A time in microseconds.
pub(super) type Micros = i64;

/// What a client may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Transfer,
    Deposit,
    Withdrawal,
    /// A transfer that its receiver sends back.
    GiveBack,
    /// A deposit that an operator has given back by the provider.
    RefundDeposit,
}

impl Kind {
    /// What the service calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Transfer => "transfer",
            Self::Deposit => "deposit",
            Self::Withdrawal => "withdrawal",
            Self::GiveBack | Self::RefundDeposit => "refund",
        }
    }

    /// What the provider calls its part; `None` where it has none.
    pub(super) fn at_provider(self) -> Option<&'static str> {
        match self {
            Self::Transfer | Self::GiveBack => None,
            Self::Deposit => Some("charge"),
            Self::Withdrawal => Some("payout"),
            Self::RefundDeposit => Some("refund"),
        }
    }
}

/// A movement of money that is wanted.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) kind: Kind,
    /// The users' accounts on both sides; the provider's side has none.
    pub(super) from: Option<Uuid>,
    pub(super) to: Option<Uuid>,
    pub(super) currency: String,
    pub(super) amount_minor: i64,
    /// The transaction that is given back.
    pub(super) original: Option<Uuid>,
}

impl Wish {
    /// What it does to users' accounts when it comes to its good end.
    pub(super) fn effect(&self) -> Vec<(Uuid, i64)> {
        let out = self.from.map(|account| (account, -self.amount_minor));
        let into = self.to.map(|account| (account, self.amount_minor));
        out.into_iter().chain(into).collect()
    }
}

/// A wish under one key, asked for as often as it took.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) key: String,
    pub(super) wish: Wish,
    pub(super) attempts: Vec<Attempt>,
}

/// One request of a call.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) asked_at: Micros,
    pub(super) told_at: Micros,
    /// `None` when the client cannot know what became of it.
    pub(super) answer: Option<Answer>,
}

/// An answer that counts.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// What it is about; `None` when nothing was recorded.
    pub(super) transaction: Option<Uuid>,
    pub(super) outcome: Outcome,
    /// All of it, as text.
    pub(super) said: String,
}

/// What an answer says of the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Completed,
    Failed,
    UnderWay,
}

impl Call {
    /// The answers that count, in the order in which they came.
    pub(super) fn answers(&self) -> impl Iterator<Item = &Answer> {
        let answers = self.attempts.iter();
        answers.filter_map(|attempt| attempt.answer.as_ref())
    }

    /// When it was first asked for.
    pub(super) fn asked_at(&self) -> Option<Micros> {
        self.attempts.iter().map(|attempt| attempt.asked_at).min()
    }

    /// When the client first knew that it was done.
    pub(super) fn done_at(&self) -> Option<Micros> {
        let done = self.attempts.iter().filter(|attempt| {
            let outcome = attempt.answer.as_ref().map(|answer| answer.outcome);
            outcome == Some(Outcome::Completed)
        });
        done.map(|attempt| attempt.told_at).min()
    }
}

/// A row of the transaction service.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    pub(super) id: Uuid,
    /// The key of the call, which the clients put into the description.
    pub(super) key: String,
    pub(super) kind: String,
    pub(super) state: String,
    pub(super) currency: String,
    pub(super) amount_minor: i64,
    pub(super) created_at: Micros,
}

/// A line of the ledger.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) wallet: Uuid,
    pub(super) version: i64,
    pub(super) transaction: Uuid,
    pub(super) currency: String,
    pub(super) bucket: String,
    pub(super) amount: i64,
    pub(super) balance_after: i64,
    pub(super) recorded_at: Micros,
}

/// A wallet as it is in the end.
#[derive(Clone, Debug)]
pub(super) struct Wallet {
    pub(super) id: Uuid,
    /// The user's account that it belongs to: a user's wallet is its own, and what
    /// the user owes belongs to it; other wallets of the platform have none.
    pub(super) account: Option<Uuid>,
    pub(super) available: i64,
    pub(super) held: i64,
    pub(super) version: i64,
}

/// A line of the provider's books.
#[derive(Clone, Debug)]
pub(super) struct Movement {
    pub(super) kind: String,
    /// The transaction, as the provider was told.
    pub(super) reference: String,
    pub(super) currency: String,
    pub(super) amount_minor: i64,
    pub(super) status: String,
}

/// Everything that is known when it is over.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    pub(super) calls: Vec<Call>,
    pub(super) transactions: Vec<Transaction>,
    pub(super) entries: Vec<Entry>,
    pub(super) wallets: Vec<Wallet>,
    pub(super) movements: Vec<Movement>,
}

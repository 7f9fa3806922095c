//! The shipped state machine, asked as the service asks it.
//!
//! The checker meets the same question in a great many states of the world. The
//! machine is a pure function, so each question is put to it once and its answer
//! is kept; and each transaction that it makes is kept once and known by number.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bursar_money::Money;
use bursar_transaction::domain::{
    Answer, Asked, Command, Input, LedgerFault, Looked, Note, Posted, Refusal, RefusalReason, Side,
    State, Transaction, Verdict, step,
};

use crate::cast::{Scene, TERMS, amount, at, clock_at, owner};
use crate::ledger::Slip;
use crate::provider::Said;

/// The only reason that this world's ledger has.
const REFUSAL: Refusal = Refusal {
    reason: RefusalReason::InsufficientFunds,
    side: Side::Payer,
};

/// A transaction as some run or the database knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Known {
    number: u16,
    /// How far it is.
    pub(crate) state: State,
    /// How often the provider was asked.
    pub(crate) requests: u32,
    /// What the clock showed when it was last asked.
    pub(crate) requested: Option<u8>,
}

/// The note that is kept with the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Noted {
    Unsent,
    Refused,
}

/// What a run has learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Learnt {
    Resume(Option<Noted>),
    Posted,
    Refused { sole_attempt: bool },
    IdReused,
    HoldNotActive,
    Unposted,
    Barred,
    BarredTooLate,
    Answered(Said),
    NotSent,
    Lost,
    Found(Said),
    NotFound,
    Unanswered,
    Measured(Option<i8>),
}

/// What a run is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Task {
    Post(Slip),
    Bar(Slip),
    Ask,
    Look,
    /// See what is available on A, which is the only one that is measured.
    Measure,
}

/// A step of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) after: Known,
    pub(crate) has_events: bool,
    pub(crate) note: Option<Noted>,
    pub(crate) task: Option<Task>,
}

/// The machine, and what it was asked so far.
pub(crate) struct Machine {
    scene: Scene,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    numbers: HashMap<String, u16>,
    transactions: Vec<Transaction>,
    turns: HashMap<(u16, Learnt, u8), Turn>,
}

/// The number says everything else.
impl Ord for Known {
    fn cmp(&self, other: &Self) -> Ordering {
        self.number.cmp(&other.number)
    }
}

impl PartialOrd for Known {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Machine {
    pub(crate) fn new(scene: Scene) -> Self {
        Self {
            scene,
            memory: Mutex::default(),
        }
    }

    /// The transaction of an intent that was just made.
    pub(crate) fn initiate(&self, tx: usize, clock: u8) -> Known {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.know(self.scene.initiate(tx, clock))
    }

    /// What the machine makes of something learnt at a time.
    pub(crate) fn turn(&self, known: Known, learnt: Learnt, clock: u8) -> Turn {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let question = (known.number, learnt, clock);
        if let Some(turn) = memory.turns.get(&question) {
            return *turn;
        }
        let before = memory.transactions[usize::from(known.number)].clone();
        let step = step(&before, input(learnt), &TERMS, at(clock))
            .expect("what was learnt follows from what was to be done");
        let turn = Turn {
            after: memory.know(step.transaction),
            has_events: !step.events.is_empty(),
            note: step.note.map(noted),
            task: step.command.as_ref().map(task),
        };
        memory.turns.insert(question, turn);
        turn
    }
}

impl Memory {
    /// The number of a transaction, whose every field counts.
    fn know(&mut self, transaction: Transaction) -> Known {
        let next = u16::try_from(self.transactions.len()).expect("there are not so many");
        let number = *self
            .numbers
            .entry(format!("{transaction:?}"))
            .or_insert(next);
        let known = Known {
            number,
            state: transaction.state,
            requests: transaction.provider_requests,
            requested: transaction.provider_requested_at.map(clock_at),
        };
        if number == next {
            self.transactions.push(transaction);
        }
        known
    }
}

fn input(learnt: Learnt) -> Input {
    match learnt {
        Learnt::Resume(note) => Input::Resume(note.map(|note| match note {
            Noted::Unsent => Note::Unsent,
            Noted::Refused => Note::Refused(REFUSAL),
        })),
        Learnt::Posted => Input::Posted(Posted {
            // The ledger's own time, which it says the same however often it is asked.
            recorded_at: at(0),
            beneficiary: Some(owner()),
        }),
        Learnt::Refused { sole_attempt } => Input::Refused {
            refusal: REFUSAL,
            sole_attempt,
        },
        Learnt::IdReused => Input::Faulted(LedgerFault::PostingIdReused),
        Learnt::HoldNotActive => Input::Faulted(LedgerFault::HoldNotActive),
        Learnt::Unposted => Input::Unposted,
        Learnt::Barred => Input::Barred(Verdict::Refused(REFUSAL)),
        Learnt::BarredTooLate => Input::BarredTooLate,
        Learnt::Answered(said) => Input::Asked(Asked::Answered(answer(said))),
        Learnt::NotSent => Input::Asked(Asked::NotSent),
        Learnt::Lost => Input::Asked(Asked::Lost {
            cause: "timeout".to_owned(),
        }),
        Learnt::Found(said) => Input::Looked(Looked::Found(answer(said))),
        Learnt::NotFound => Input::Looked(Looked::NotFound),
        Learnt::Unanswered => Input::Looked(Looked::Unanswered),
        Learnt::Measured(available) => Input::Measured(available.map(i64::from)),
    }
}

fn answer(said: Said) -> Answer {
    let reference = "order".to_owned();
    match said {
        Said::Accepted => Answer::Accepted { reference },
        Said::Succeeded => Answer::Succeeded {
            reference,
            amount: Money::from(amount()),
        },
        Said::Declined => Answer::Declined {
            reference: Some(reference),
            decline_code: "do_not_honor".to_owned(),
        },
    }
}

fn noted(note: Note) -> Noted {
    match note {
        Note::Unsent => Noted::Unsent,
        Note::Refused(refusal) => {
            assert_eq!(refusal, REFUSAL, "the machine notes what it was told");
            Noted::Refused
        }
    }
}

fn task(command: &Command) -> Task {
    match command {
        Command::Post(posting) => Task::Post(Slip::of(posting)),
        Command::Bar { posting, verdict } => {
            assert_eq!(*verdict, Verdict::Refused(REFUSAL), "nobody decides here");
            Task::Bar(Slip::of(posting))
        }
        Command::Ask => Task::Ask,
        Command::Look => Task::Look,
        Command::Measure(_) => Task::Measure,
    }
}

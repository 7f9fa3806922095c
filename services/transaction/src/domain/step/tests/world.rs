//! A ledger, a provider and a shell that stumbles, for the property tests.

use std::collections::HashMap;
use std::time::Duration;

use bursar_aip::id::WalletId;
use time::OffsetDateTime;
use uuid::Uuid;

use super::super::super::{
    Account, AdjustmentDirection, Answer, Asked, Bucket, Command, Event, Flow, HoldAction,
    Initiated, Input, LedgerFault, Looked, Movement, Note, Posted, Posting, Refusal, RefusalReason,
    Resolution, Resolved, Side, State, Step, Transaction, resolve, step,
};
use super::{TERMS, payee, payer, transaction_id, user};

/// The durable log and note, the remote books, and the messages under way.
pub(super) struct World {
    log: Vec<(Event, OffsetDateTime)>,
    note: Option<Note>,
    now: OffsetDateTime,
    balances: HashMap<(WalletId, Bucket), i64>,
    put_in: i64,
    settlement: i64,
    suspense: i64,
    /// The change of the campaign's budget, and what it began with.
    budget: i64,
    budget_funds: i64,
    receivable: i64,
    fees: i64,
    /// Of all currencies: what each posting does to each is looked at by itself.
    liquidity: i64,
    applied: HashMap<Uuid, Posting>,
    hold_active: bool,
    delayed: Vec<Posting>,
    /// The ids of postings of which an attempt may have been sent unanswered.
    uncertain: Vec<Uuid>,
    provider: Provider,
    /// What the live run is about to carry out.
    command: Option<Command>,
}

/// What the provider did.
#[derive(Clone, Copy, PartialEq)]
enum Provider {
    Nothing,
    Accepted,
    Done,
    Declined,
}

impl World {
    pub(super) fn new(transaction: Transaction, funds: i64) -> Self {
        let initiated = Initiated {
            movement: transaction.movement,
            amount: transaction.amount,
            price: transaction.price,
            initiator: transaction.initiator,
        };
        let now = OffsetDateTime::UNIX_EPOCH;
        let mut world = Self {
            log: vec![(Event::Initiated(initiated), now)],
            note: None,
            now,
            balances: HashMap::from([((payer(), Bucket::Available), funds)]),
            put_in: funds,
            settlement: 0,
            suspense: 0,
            budget: 0,
            budget_funds: funds,
            receivable: 0,
            fees: 0,
            liquidity: 0,
            applied: HashMap::new(),
            hold_active: false,
            delayed: Vec::new(),
            uncertain: Vec::new(),
            provider: Provider::Nothing,
            command: None,
        };
        world.feed(Input::Resume(None));
        world
    }

    /// What the log says.
    pub(super) fn transaction(&self) -> Transaction {
        Transaction::fold(transaction_id(), self.log.iter().cloned()).expect("the log is whole")
    }

    pub(super) fn log(&self) -> &[(Event, OffsetDateTime)] {
        &self.log
    }

    /// One thing happens, chosen by a byte; mostly bad ones.
    pub(super) fn stumble(&mut self, choice: u8) {
        self.now += Duration::from_secs(1 + u64::from(choice));
        match choice % 18 {
            16 => self.operate(choice),
            17 => {
                let available = self.balance(payer(), Bucket::Available);
                let spent = (*available).min(70);
                *available -= spent;
                self.put_in -= spent;
            }
            0 => self.crash(),
            1 => self.deliver_one(),
            2 => {
                self.put_in += 50;
                *self.balance(payer(), Bucket::Available) += 50;
            }
            3 => self.provider_finishes(),
            way => self.carry_out(way),
        }
    }

    /// Everything under way arrives, then every call is answered.
    pub(super) fn recover(&mut self) {
        while !self.delayed.is_empty() {
            self.deliver_one();
        }
        self.provider_finishes();
        for turn in 0..50 {
            let state = self.transaction().state;
            if state.is_terminal() {
                return;
            }
            self.now += TERMS.lookup_window;
            if state == State::ManualReview {
                // Trying again comes first; what comes back needs a decision.
                let may_help = turn < 10;
                self.operate(if may_help { 0 } else { 1 });
            } else {
                self.carry_out(15);
            }
        }
        panic!("still {:?} after 50 good steps", self.transaction().state);
    }

    /// An operator who knows what the provider did decides, if there is anything
    /// to decide; whoever was at work is overtaken.
    fn operate(&mut self, choice: u8) {
        let resolution = match (self.provider, choice % 5) {
            (_, 0) => Resolution::Retry,
            (Provider::Done, _) => Resolution::Complete,
            (Provider::Nothing | Provider::Declined, _) => Resolution::Fail,
            (Provider::Accepted, _) => Resolution::Retry,
        };
        self.decide(resolution);
    }

    fn decide(&mut self, resolution: Resolution) {
        let resolved = Resolved {
            resolution,
            reason: "the provider was asked by telephone".to_owned(),
            operator: user(),
        };
        let before = self.transaction();
        let Ok(step) = resolve(&before, resolved, &TERMS, self.now) else {
            return;
        };
        self.crash();
        let now = self.now;
        self.log
            .extend(step.events.into_iter().map(|event| (event, now)));
        self.note = None;
        assert_eq!(self.transaction(), step.transaction);
        assert_eq!(step.command, None, "the decision is carried out by a run");
    }

    fn deliver_one(&mut self) {
        if let Some(posting) = self.delayed.pop() {
            self.ledger(&posting);
        }
    }

    fn provider_finishes(&mut self) {
        if self.provider == Provider::Accepted {
            self.provider = Provider::Done;
        }
    }

    /// The run is cut off, perhaps just after it sent something.
    fn crash(&mut self) {
        match self.command.take() {
            Some(Command::Post(posting) | Command::Bar { posting, .. }) => {
                self.uncertain.push(posting.id);
                self.delayed.push(posting);
            }
            Some(Command::Ask) => self.provider = Provider::Done,
            Some(Command::Look | Command::Measure(_)) | None => {}
        }
    }

    /// Carries the command out in some way, or resumes when there is none.
    fn carry_out(&mut self, way: u8) {
        let Some(command) = self.command.take() else {
            self.feed(Input::Resume(self.note));
            return;
        };
        let input = match command {
            Command::Post(posting) => self.post(posting, way),
            Command::Bar { posting, verdict } => match self.post(posting, way) {
                Input::Posted(_) => Input::Barred(verdict),
                Input::Faulted(LedgerFault::PostingIdReused) => Input::BarredTooLate,
                other => other,
            },
            Command::Measure(wallet) => Input::Measured(match way {
                4 => None,
                // Only a hint: more has gone or come since.
                8 => Some(*self.balance(wallet, Bucket::Available) + 30),
                _ => Some(*self.balance(wallet, Bucket::Available)),
            }),
            Command::Ask => Input::Asked(self.ask(way)),
            Command::Look => Input::Looked(self.look(way)),
        };
        self.feed(input);
    }

    fn feed(&mut self, input: Input) {
        let before = self.transaction();
        let step: Step = step(&before, input, &TERMS, self.now).expect("a reply of the world fits");
        if !step.events.is_empty() || step.note.is_some() {
            self.note = step.note;
        }
        let now = self.now;
        self.log
            .extend(step.events.into_iter().map(|event| (event, now)));
        assert_eq!(
            self.transaction(),
            step.transaction,
            "the log folds to the state"
        );
        self.command = step.command;
    }

    fn post(&mut self, posting: Posting, way: u8) -> Input {
        let sole_attempt = !self.uncertain.contains(&posting.id);
        match way {
            4 => Input::Unposted,
            5 => {
                self.uncertain.push(posting.id);
                self.delayed.push(posting);
                Input::Unposted
            }
            6 => {
                self.uncertain.push(posting.id);
                self.ledger(&posting);
                Input::Unposted
            }
            9 if !self.applied.contains_key(&posting.id) => {
                Input::Faulted(LedgerFault::Unexplained)
            }
            _ => match self.ledger(&posting) {
                Input::Refused { refusal, .. } => Input::Refused {
                    refusal,
                    sole_attempt,
                },
                other => other,
            },
        }
    }

    fn ask(&mut self, way: u8) -> Asked {
        let (provider, answered) = match way {
            4 => return Asked::NotSent,
            5 => (Provider::Nothing, false),
            6 => (Provider::Done, false),
            7 => (Provider::Declined, false),
            8 => (Provider::Declined, true),
            9 => (Provider::Accepted, true),
            10 => (Provider::Accepted, false),
            _ => (Provider::Done, true),
        };
        self.provider = provider;
        if answered {
            Asked::Answered(self.answer())
        } else {
            Asked::Lost {
                cause: "timeout".to_owned(),
            }
        }
    }

    fn look(&mut self, way: u8) -> Looked {
        match (self.provider, way) {
            (_, 4) => Looked::Unanswered,
            (Provider::Nothing, _) => Looked::NotFound,
            (Provider::Accepted | Provider::Done | Provider::Declined, _) => {
                Looked::Found(self.answer())
            }
        }
    }

    fn answer(&self) -> Answer {
        let reference = "ch_1".to_owned();
        match self.provider {
            Provider::Nothing => unreachable!("only asked for when there is something"),
            Provider::Accepted => Answer::Accepted { reference },
            Provider::Done => Answer::Succeeded {
                reference,
                amount: self.transaction().amount.money(),
            },
            Provider::Declined => Answer::Declined {
                reference: Some(reference),
                decline_code: "do_not_honor".to_owned(),
            },
        }
    }

    /// What the suspense wallet and the campaign's budget have got.
    fn operated(&self) -> (i64, i64) {
        (self.suspense, self.budget)
    }

    fn balance(&mut self, wallet: WalletId, bucket: Bucket) -> &mut i64 {
        self.balances.entry((wallet, bucket)).or_default()
    }

    /// The ledger: one posting an id, no bucket below zero, a hold ends once.
    fn ledger(&mut self, posting: &Posting) -> Input {
        let posted = Input::Posted(Posted {
            recorded_at: self.now,
            beneficiary: Some(user()),
        });
        if let Some(first) = self.applied.get(&posting.id) {
            return if first == posting {
                posted
            } else {
                Input::Faulted(LedgerFault::PostingIdReused)
            };
        }
        let action = posting.hold.map(|hold| hold.action);
        if matches!(action, Some(HoldAction::Capture | HoldAction::Void)) && !self.hold_active {
            return Input::Faulted(LedgerFault::HoldNotActive);
        }
        for leg in &posting.legs {
            if matches!(leg.account, Account::Budget(_))
                && self.budget_funds + self.budget + leg.amount_minor < 0
            {
                return Input::Refused {
                    refusal: Refusal {
                        reason: RefusalReason::BonusBudgetExhausted,
                        side: Side::Payer,
                    },
                    sole_attempt: true,
                };
            }
            if let Account::Wallet { id, .. } = leg.account
                && *self.balance(id, leg.bucket) + leg.amount_minor < 0
            {
                return Input::Refused {
                    refusal: Refusal {
                        reason: RefusalReason::InsufficientFunds,
                        side: Side::Payer,
                    },
                    sole_attempt: true,
                };
            }
        }
        for leg in &posting.legs {
            match &leg.account {
                Account::Wallet { id, .. } => *self.balance(*id, leg.bucket) += leg.amount_minor,
                Account::Settlement(_) => self.settlement += leg.amount_minor,
                Account::Receivable(wallet) => {
                    assert_eq!(*wallet, payer());
                    self.receivable += leg.amount_minor;
                }
                Account::Fees => self.fees += leg.amount_minor,
                Account::Liquidity => self.liquidity += leg.amount_minor,
                Account::Suspense => self.suspense += leg.amount_minor,
                Account::Budget(_) => self.budget += leg.amount_minor,
            }
        }
        if let Some(action) = action {
            self.hold_active = action == HoldAction::Place;
        }
        self.applied.insert(posting.id, posting.clone());
        posted
    }

    /// No bucket is below zero, and no money was made or lost.
    pub(super) fn check_always(&self) {
        assert!(self.balances.values().all(|balance| *balance >= 0));
        let users: i64 = self.balances.values().sum();
        let platform = self.settlement
            + self.suspense
            + self.budget
            + self.receivable
            + self.fees
            + self.liquidity;
        assert!(self.budget_funds + self.budget >= 0);
        assert_eq!(users + platform, self.put_in);
        assert!(self.receivable <= 0, "a claim on the user, never a debt");
        for posting in self.applied.values() {
            let mut sums: HashMap<_, i64> = HashMap::new();
            for leg in &posting.legs {
                *sums.entry(leg.currency).or_default() += leg.amount_minor;
            }
            assert!(sums.values().all(|sum| *sum == 0), "{sums:?}");
        }
    }

    /// The books say what the state says.
    pub(super) fn check_at_rest(&mut self) {
        let transaction = self.transaction();
        let moved = transaction.amount.minor();
        let credited = transaction.price.credited(transaction.amount).minor();
        let fee = transaction.price.fee_minor();
        let received =
            *self.balance(payee(), Bucket::Available) + *self.balance(payee(), Bucket::Bonus);
        let held = *self.balance(payer(), Bucket::Held);
        let has_provider = transaction.movement.flow() != Flow::Between;
        let provider_done = self.provider == Provider::Done;
        assert_eq!(held, 0);
        match transaction.state {
            State::Completed => {
                assert_eq!(provider_done, has_provider);
                let reaches_payee = transaction.movement.to_wallet().is_some();
                assert_eq!(received, if reaches_payee { credited } else { 0 });
                assert_eq!(self.fees, fee);
                assert_eq!(self.operated(), operated_by(&transaction.movement, moved));
                assert_eq!(self.settlement.abs(), if has_provider { moved } else { 0 });
                assert_eq!(-self.receivable, transaction.receivable());
                assert!(self.receivable == 0 || transaction.covers_shortfall());
            }
            State::Failed => {
                assert!(!provider_done, "failed, and the provider has moved money");
                assert_eq!((received, self.settlement, self.receivable), (0, 0, 0));
                assert_eq!((self.fees, self.liquidity), (0, 0));
                assert_eq!(self.operated(), (0, 0));
            }
            other => panic!("came to rest as {other:?}"),
        }
    }
}

/// What suspense and a campaign's budget must have got by a movement that is done.
fn operated_by(movement: &Movement, moved: i64) -> (i64, i64) {
    let suspense = match movement.adjustment().map(|one| one.direction) {
        Some(AdjustmentDirection::Credit) => -moved,
        Some(AdjustmentDirection::Debit { .. }) => moved,
        None => 0,
    };
    let is_granted = movement.campaign().is_some();
    (suspense, if is_granted { -moved } else { 0 })
}

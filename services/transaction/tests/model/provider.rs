//! A provider as honest as its terms: it acts once for a reference, and an order
//! that comes too late has no effect.

/// What the provider has done about a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Desk {
    pub(crate) status: Status,
    /// How often it has moved money.
    pub(crate) effects: u8,
}

/// How far the provider is with an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Status {
    #[default]
    Nothing,
    Accepted,
    Done,
    Declined,
}

/// What the provider makes of a new order, which is its own affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Will {
    Do,
    Accept,
    Decline,
}

/// The provider's word on an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Word {
    /// It knows the order.
    Known(Said),
    /// It does not.
    NotFound,
    /// The order came too late.
    Gone,
}

/// What it says of an order that it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Said {
    Accepted,
    Succeeded,
    Declined,
}

impl Desk {
    /// Takes an order. Without `remembers` it does not notice that it has it.
    pub(crate) fn order(&mut self, will: Will, is_in_time: bool, remembers: bool) -> Word {
        let is_new = self.status == Status::Nothing || !remembers;
        if is_new && !is_in_time {
            return Word::Gone;
        }
        if is_new {
            self.turn(will);
        }
        self.look()
    }

    /// Finishes what it had accepted.
    pub(crate) fn turn(&mut self, will: Will) {
        self.status = match will {
            Will::Do => Status::Done,
            Will::Accept => Status::Accepted,
            Will::Decline => Status::Declined,
        };
        if self.status == Status::Done {
            self.effects = self.effects.saturating_add(1).min(2);
        }
    }

    /// What it says when it is asked about the order.
    pub(crate) fn look(&self) -> Word {
        match self.status {
            Status::Nothing => Word::NotFound,
            Status::Accepted => Word::Known(Said::Accepted),
            Status::Done => Word::Known(Said::Succeeded),
            Status::Declined => Word::Known(Said::Declined),
        }
    }
}

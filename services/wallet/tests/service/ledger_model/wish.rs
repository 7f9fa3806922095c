//! What a random history is made of. Holds, grants and earlier calls are named
//! by how long ago they came, so that a part of a history is one as well.

use proptest::prelude::*;

use super::book::{Order, WALLETS};

/// A posting that somebody would like.
#[derive(Debug, Clone, Copy)]
pub(super) enum Posting {
    Deposit {
        to: usize,
        amount: i64,
    },
    Transfer {
        from: usize,
        to: usize,
        amount: i64,
        spendable: bool,
    },
    Exchange {
        from: usize,
        amount: i64,
    },
    Place {
        wallet: usize,
        amount: i64,
    },
    /// Places a hold that was asked for before.
    PlaceAgain {
        back: usize,
    },
    /// Captures so much less than all of what remains; gives it back if final.
    Capture {
        back: usize,
        less: i64,
        is_final: bool,
    },
    /// Names so much more than what remains.
    Void {
        back: usize,
        off_by: i64,
    },
    /// The very posting from before.
    Again {
        back: usize,
    },
    /// Another posting with an id from before.
    SameId {
        back: usize,
        amount: i64,
    },
}

/// A call with a key that somebody would like.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call {
    PlaceHold {
        wallet: usize,
        amount: i64,
    },
    CaptureHold {
        back: usize,
        amount: Option<i64>,
        is_final: bool,
        to: usize,
    },
    VoidHold {
        back: usize,
    },
    Freeze {
        wallet: usize,
    },
    Unfreeze {
        wallet: usize,
    },
    Close {
        wallet: usize,
    },
    SetCredit {
        wallet: usize,
        limit: i64,
    },
    SetLimits {
        wallet: usize,
        caps: [Option<i64>; 3],
    },
    Grant {
        wallet: usize,
        amount: i64,
    },
    Convert {
        back: usize,
    },
    Fund {
        amount: i64,
    },
    EndCampaign,
}

/// One step of a history.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Post {
        is_atomic: bool,
        postings: Vec<Posting>,
    },
    Call(Call),
    /// An earlier call with its key.
    Repeat {
        back: usize,
    },
    /// Another call with the key of an earlier one.
    OtherCall {
        back: usize,
    },
    /// The time of a hold or a grant is over.
    HoldIsDue {
        back: usize,
    },
    GrantIsDue {
        back: usize,
    },
    /// The jobs come round.
    SweepHolds,
    SweepGrants,
    NextDay,
    NextMonth,
}

/// A deployment and what happens to it.
#[derive(Debug, Clone)]
pub(super) struct History {
    pub(super) order: Order,
    pub(super) steps: Vec<Step>,
}

/// A wallet; the first two are everybody's favourites, so that much meets there.
fn any_wallet() -> impl Strategy<Value = usize> {
    prop_oneof![2 => 0..2_usize, 3 => 0..WALLETS]
}

/// From here on back, what somebody else made is meant as well.
pub(super) const FAR_BACK: usize = 5;

/// How long ago: mostly not long.
fn any_back() -> impl Strategy<Value = usize> {
    prop_oneof![3 => 0..2_usize, 2 => 0..FAR_BACK + 2]
}

fn posting() -> impl Strategy<Value = Posting> {
    let (wallet, amount, back) = (any_wallet, || 1_i64..60, any_back);
    let off_by = prop_oneof![3 => Just(0_i64), 1 => Just(1), 1 => Just(-1)];
    prop_oneof![
        3 => (wallet(), amount()).prop_map(|(to, amount)| Posting::Deposit { to, amount }),
        6 => (wallet(), wallet(), amount(), any::<bool>()).prop_map(
            |(from, to, amount, spendable)| Posting::Transfer { from, to, amount, spendable }
        ),
        1 => (wallet(), amount()).prop_map(|(from, amount)| Posting::Exchange { from, amount }),
        4 => (wallet(), 1_i64..40).prop_map(|(wallet, amount)| Posting::Place { wallet, amount }),
        1 => back().prop_map(|back| Posting::PlaceAgain { back }),
        6 => (back(), -1_i64..20, any::<bool>())
            .prop_map(|(back, less, is_final)| Posting::Capture { back, less, is_final }),
        3 => (back(), off_by).prop_map(|(back, off_by)| Posting::Void { back, off_by }),
        2 => (0_usize..8).prop_map(|back| Posting::Again { back }),
        1 => (0_usize..8, amount()).prop_map(|(back, amount)| Posting::SameId { back, amount }),
    ]
}

fn cap() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![1 => Just(None), 1 => (5_i64..60).prop_map(Some)]
}

fn call() -> impl Strategy<Value = Call> {
    let (wallet, back) = (any_wallet, any_back);
    let amount = || prop::option::of(1_i64..40);
    prop_oneof![
        5 => (wallet(), 1_i64..40).prop_map(|(wallet, amount)| Call::PlaceHold { wallet, amount }),
        10 => (back(), amount(), any::<bool>(), wallet()).prop_map(
            |(back, amount, is_final, to)| Call::CaptureHold { back, amount, is_final, to }
        ),
        3 => back().prop_map(|back| Call::VoidHold { back }),
        1 => wallet().prop_map(|wallet| Call::Freeze { wallet }),
        3 => wallet().prop_map(|wallet| Call::Unfreeze { wallet }),
        1 => wallet().prop_map(|wallet| Call::Close { wallet }),
        2 => (wallet(), prop_oneof![Just(0_i64), 1_i64..50])
            .prop_map(|(wallet, limit)| Call::SetCredit { wallet, limit }),
        4 => (wallet(), any::<u8>(), [cap(), cap(), cap()]).prop_map(
            |(wallet, chance, [single, daily, monthly])| {
                // Too low a limit for one posting would leave little to the others.
                let single = single.filter(|_| chance % 3 == 0);
                Call::SetLimits { wallet, caps: [single, daily, monthly] }
            }
        ),
        6 => (wallet(), 1_i64..60).prop_map(|(wallet, amount)| Call::Grant { wallet, amount }),
        3 => back().prop_map(|back| Call::Convert { back }),
        1 => (1_i64..60).prop_map(|amount| Call::Fund { amount }),
        1 => Just(Call::EndCampaign),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let back = any_back;
    let is_atomic = prop_oneof![3 => Just(false), 1 => Just(true)];
    let batch =
        (is_atomic, prop::collection::vec(posting(), 1..6)).prop_map(|(is_atomic, postings)| {
            Step::Post {
                is_atomic,
                postings,
            }
        });
    prop_oneof![
        12 => batch,
        16 => call().prop_map(Step::Call),
        2 => back().prop_map(|back| Step::Repeat { back }),
        1 => back().prop_map(|back| Step::OtherCall { back }),
        4 => back().prop_map(|back| Step::HoldIsDue { back }),
        2 => back().prop_map(|back| Step::GrantIsDue { back }),
        2 => Just(Step::SweepHolds),
        2 => Just(Step::SweepGrants),
        1 => Just(Step::NextDay),
        1 => Just(Step::NextMonth),
    ]
}

pub(super) fn history() -> impl Strategy<Value = History> {
    let order = prop_oneof![
        Just(Order::BonusFirst),
        Just(Order::AvailableFirst),
        Just(Order::Never),
    ];
    (order, prop::collection::vec(step(), 1..50))
        .prop_map(|(order, steps)| History { order, steps })
}

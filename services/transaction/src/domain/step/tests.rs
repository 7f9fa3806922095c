//! The state machine against a small world that loses, delays and repeats
//! everything: what the machine does must come out right in all of it.

mod back_office;
mod cases;
mod prices;
mod refunds;
mod reviews;
mod world;

use std::time::Duration;

use bursar_aip::id::{CampaignId, TransactionId, UserId, WalletId};
use bursar_money::{Currency, PositiveMoney};
use proptest::prelude::*;
use time::OffsetDateTime;
use uuid::Uuid;

use super::super::{
    Adjustment, AdjustmentDirection, AdjustmentReason, Back, Initiated, Movement, Price, Refund,
    State, Transaction,
};
use super::Terms;
use world::World;

const TERMS: Terms = Terms {
    lookup_window: Duration::from_secs(60),
    give_up_after: Duration::from_secs(900),
};

fn transaction_id() -> TransactionId {
    TransactionId::from_uuid(Uuid::from_u128(99))
}

fn wallet(number: u128) -> WalletId {
    WalletId::from_uuid(Uuid::from_u128(number))
}

fn payer() -> WalletId {
    wallet(1)
}

fn payee() -> WalletId {
    wallet(2)
}

fn user() -> UserId {
    UserId::from_uuid(Uuid::from_u128(7))
}

fn amount(minor: i64) -> PositiveMoney {
    let euro = Currency::parse("EUR").expect("EUR is a currency");
    PositiveMoney::new(euro, minor).expect("the tests move positive amounts")
}

fn transfer() -> Movement {
    Movement::Transfer {
        from: payer(),
        to: payee(),
    }
}

fn deposit() -> Movement {
    Movement::Deposit {
        to: payee(),
        provider: "sandbox".parse().expect("a valid name"),
    }
}

fn withdrawal() -> Movement {
    Movement::Withdrawal {
        from: payer(),
        provider: "sandbox".parse().expect("a valid name"),
        payout_account: None,
    }
}

fn refund(back: Back) -> Movement {
    Movement::Refund(Refund {
        original: TransactionId::from_uuid(Uuid::from_u128(98)),
        payer: user(),
        from: payer(),
        back,
    })
}

fn refund_of_transfer() -> Movement {
    refund(Back::Wallet(payee()))
}

fn refund_of_deposit(covers_shortfall: bool) -> Movement {
    refund(Back::Provider {
        provider: "sandbox".parse().expect("a valid name"),
        covers_shortfall,
    })
}

/// An operator gives the payee money, or takes some from the payer.
fn adjustment(is_credit: bool) -> Movement {
    let (wallet, direction) = if is_credit {
        (payee(), AdjustmentDirection::Credit)
    } else {
        (payer(), AdjustmentDirection::Debit { owner: user() })
    };
    Movement::Adjustment(Adjustment {
        wallet,
        direction,
        reason: AdjustmentReason::Correction,
        corrects: None,
    })
}

fn bonus_grant() -> Movement {
    Movement::BonusGrant {
        campaign: CampaignId::from_uuid(Uuid::from_u128(55)),
        to: payee(),
    }
}

fn initiated(movement: Movement) -> Transaction {
    initiated_with(movement, 100)
}

fn initiated_with(movement: Movement, minor: i64) -> Transaction {
    initiated_at(movement, minor, Price::default())
}

fn initiated_at(movement: Movement, minor: i64, price: Price) -> Transaction {
    let initiated = Initiated {
        movement,
        amount: amount(minor),
        price,
        initiator: user(),
    };
    Transaction::initiate(transaction_id(), initiated, OffsetDateTime::UNIX_EPOCH)
}

fn any_movement() -> impl Strategy<Value = Movement> {
    prop_oneof![
        Just(transfer()),
        Just(deposit()),
        Just(withdrawal()),
        Just(refund_of_transfer()),
        Just(refund_of_deposit(false)),
        Just(refund_of_deposit(true)),
        Just(adjustment(true)),
        Just(adjustment(false)),
        Just(bonus_grant()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    /// Whatever is lost, delayed or cut off in between: once the world answers
    /// again the transaction comes to rest, its log folds to it, and the books
    /// of ledger and provider are what its state says.
    #[test]
    fn every_course_ends_right(
        movement in any_movement(),
        price in any::<u8>(),
        funds in prop_oneof![Just(0_i64), Just(99), Just(100), Just(104), Just(105), Just(1000)],
        choices in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let price = prices::some(&movement, price);
        let mut world = World::new(initiated_at(movement, 100, price), funds);
        for choice in choices {
            world.stumble(choice);
            world.check_always();
        }
        world.recover();
        world.check_always();
        world.check_at_rest();
    }

    /// Nothing can follow a final state.
    #[test]
    fn final_states_are_final(
        movement in any_movement(),
        choices in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut world = World::new(initiated(movement), 1000);
        for choice in choices {
            world.stumble(choice);
        }
        world.recover();
        let ended = world.transaction();
        prop_assume!(ended.state.is_terminal());
        for (event, at) in world.log() {
            let mut again = ended.clone();
            prop_assert!(again.apply(event, *at).is_err(), "{} after the end", event.kind());
        }
    }
}

/// The names of states are read back.
#[test]
fn state_names_are_read_back() {
    for state in State::ALL {
        assert_eq!(State::parse(state.name()), Some(state));
    }
    assert_eq!(State::parse("DONE"), None);
}

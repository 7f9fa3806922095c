//! What must hold in every state of the world, and what must come up in some,
//! so that the first says something.

use bursar_transaction::domain::{Account, Bucket, State};
use stateright::Property;

use crate::cast::{AMOUNT, Scene};
use crate::ledger::{
    ACCOUNTS, BUDGET, BUDGETED, Deltas, RECEIVABLE, SETTLEMENT, SUSPENSE, account,
};
use crate::moves::Bank;
use crate::world::{Row, World};

pub(crate) const CONSERVED: &str = "money is neither made nor lost";
pub(crate) const COVERED: &str = "no wallet has less than nothing";
pub(crate) const COMPLETED_ONCE: &str = "what is completed has had its effect, once";
pub(crate) const FAILED_NEVER: &str = "what has failed has no effect, then or later";
pub(crate) const END_IS_END: &str = "no event follows a final one";
pub(crate) const PROVIDER_ONCE: &str = "a provider acts once for a reference at most";
pub(crate) const NO_OVERWRITING: &str = "no run writes over what it does not know";
pub(crate) const NO_PERSON: &str = "no transaction needs a person";
pub(crate) const ALL_ENDS: &str = "from every state on a calm course leads to an end";

type Bound = Property<Bank>;

pub(crate) fn all(scene: Scene) -> Vec<Bound> {
    let mut all: Vec<Bound> = vec![
        Property::always(CONSERVED, is_conserved),
        Property::always(COVERED, is_covered),
        Property::always(COMPLETED_ONCE, |bank: &Bank, world: &World| {
            ended(world, State::Completed).all(|tx| had_its_effect(bank, world, tx))
        }),
        Property::always(FAILED_NEVER, |_, world: &World| {
            ended(world, State::Failed).all(|tx| had_no_effect(world, tx))
        }),
        Property::always(END_IS_END, |_, world: &World| {
            rows(world).all(|row| !row.went_on_after_the_end)
        }),
        Property::always(PROVIDER_ONCE, |_, world: &World| {
            world.desks.iter().all(|desk| desk.effects <= 1)
        }),
        Property::always(NO_OVERWRITING, |_, world: &World| {
            rows(world).all(|row| !row.was_overwritten)
        }),
        Property::always(NO_PERSON, |_, world: &World| {
            rows(world).all(|row| row.known.state != State::ManualReview)
        }),
        Property::always(ALL_ENDS, |bank: &Bank, world: &World| {
            bank.calm.ends(bank, world)
        }),
        Property::sometimes(
            "as many are completed as can be",
            |bank: &Bank, world: &World| {
                let can_be = match bank.scene {
                    Scene::Grants => 1,
                    scene => scene.transactions(),
                };
                ended(world, State::Completed).count() == can_be
            },
        ),
        Property::sometimes("one has failed", |_, world: &World| {
            ended(world, State::Failed).count() == 1
        }),
    ];
    if scene != Scene::Withdrawal {
        all.push(Property::sometimes(
            "a posting is barred",
            |_, world: &World| (0..2).any(|tx| world.ledger.of(tx).any(|slip| slip.moves_nothing)),
        ));
    }
    if scene.keeps_overtaken() {
        all.push(Property::sometimes(
            "a run is overtaken",
            |_, world: &World| world.workers.iter().flatten().any(|run| !run.holds_lease),
        ));
    }
    if scene.last_hour() > 0 {
        all.extend(of_providers());
    }
    if scene == Scene::Refund {
        all.push(Property::sometimes(
            "the platform helps to pay",
            |_, world: &World| world.ledger.effect(0)[RECEIVABLE] < 0,
        ));
    }
    all
}

fn of_providers() -> [Bound; 3] {
    [
        Property::sometimes("an outcome is unknown", |_, world: &World| {
            rows(world).any(|row| row.known.state == State::Unknown)
        }),
        Property::sometimes("a hold is given back", |_, world: &World| {
            rows(world).any(|row| row.known.state == State::Releasing)
        }),
        Property::sometimes("a provider is asked again", |_, world: &World| {
            rows(world).any(|row| row.known.requests > 1)
        }),
    ]
}

fn rows(world: &World) -> impl Iterator<Item = &Row> {
    world.rows.iter().flatten()
}

/// The transactions that ended so.
fn ended(world: &World, state: State) -> impl Iterator<Item = usize> {
    (0..2).filter(move |tx| {
        world.rows[*tx]
            .as_ref()
            .is_some_and(|row| row.known.state == state)
    })
}

fn is_conserved(bank: &Bank, world: &World) -> bool {
    let funds = bank.scene.funds();
    let all: i8 = world.ledger.balances(funds).iter().sum();
    all == funds.iter().sum::<i8>() + BUDGETED
}

fn is_covered(bank: &Bank, world: &World) -> bool {
    world.ledger.is_covered(bank.scene.funds())
}

/// The whole amount has left one side and reached the other, once, and the
/// provider has done its part.
fn had_its_effect(bank: &Bank, world: &World, tx: usize) -> bool {
    let movement = bank.scene.movement(tx);
    let side = |wallet, outside: i8| match wallet {
        Some(id) => {
            let required_owner = None;
            (
                account(&Account::Wallet { id, required_owner }, Bucket::Available),
                outside,
            )
        }
        None if movement.adjustment().is_some() => (SUSPENSE, outside),
        None if movement.campaign().is_some() => (BUDGET, outside),
        None => (SETTLEMENT, outside),
    };
    let mut expected: Deltas = [0; ACCOUNTS];
    for (account, amount) in [
        side(movement.from_wallet(), -AMOUNT),
        side(movement.to_wallet(), AMOUNT),
    ] {
        expected[account] += amount;
    }
    let mut effect = world.ledger.effect(tx);
    // What the platform pays for a wallet is claimed from its owner.
    let claimed = effect[RECEIVABLE];
    if movement.refund().is_some() && claimed <= 0 {
        effect[RECEIVABLE] = 0;
        effect[0] += claimed;
    }
    let provider = u8::from(movement.provider().is_some());
    effect == expected && world.desks[tx].effects == provider
}

fn had_no_effect(world: &World, tx: usize) -> bool {
    world.ledger.effect(tx) == [0; ACCOUNTS] && world.desks[tx].effects == 0
}

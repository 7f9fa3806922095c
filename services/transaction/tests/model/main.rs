//! The shipped state machine in every state that two transactions, two workers,
//! a ledger and a provider can get into, by exhaustive search.
//!
//! The model is what surrounds `step`: the loop that commits and then sends, the
//! lease with its epoch, messages that are lost, late, repeated and overtake each
//! other, processes that die at any point and as often as they like, and the other
//! sides, which keep their promises. `step` itself is the shipped one.
//!
//! What is assumed: a connection delivers a request once. What arrives again was
//! sent again by us, after no answer came, and that is in the model. And two runs
//! of one worker share nothing, so a worker does one thing at a time.
//!
//! The counts of states are exact. A change of the machine changes them: look
//! whether it was meant to, and write the new ones down.

mod calm;
mod cast;
mod ledger;
mod machine;
mod moves;
mod properties;
mod provider;
mod rules;
mod world;

use stateright::{Checker, HasDiscoveries, Model};

use cast::Scene;
use moves::Bank;
use rules::Rules;

/// Every course of two opposed transfers ends right.
#[test]
fn transfers_end_right() {
    assert_eq!(check(Scene::Transfers), 757);
}

/// Every course of a withdrawal and a deposit of the money for it ends right.
#[test]
fn provider_movements_end_right() {
    assert_eq!(check(Scene::Provider), 178_506);
}

/// Every course of a refund and a transfer that takes its money away ends right.
#[test]
fn refunds_end_right() {
    assert_eq!(check(Scene::Refund), 108_276);
}

/// Every course of a withdrawal ends right, with runs that do not know that they
/// were overtaken.
#[test]
fn withdrawals_end_right() {
    assert_eq!(check(Scene::Withdrawal), 28_230);
}

/// Every course of two opposed adjustments of a wallet ends right.
#[test]
fn adjustments_end_right() {
    assert_eq!(check(Scene::Adjustments), 757);
}

/// Every course of two grants of bonus money, of which there is enough for one, ends
/// right.
#[test]
fn grants_end_right() {
    assert_eq!(check(Scene::Grants), 608);
}

/// Checks a scene under all rules, and says how many states it has.
fn check(scene: Scene) -> usize {
    let checker = Bank::new(scene, Rules::ALL).checker();
    let checked = checker.threads(2).spawn_bfs().join();
    checked.assert_properties();
    checked.unique_state_count()
}

/// Without one of the rules a property fails: it can fail, and the rule is needed.
fn is_needed(scene: Scene, rules: Rules, property: &'static str) {
    let found = HasDiscoveries::AnyOf([property].into());
    let checker = Bank::new(scene, rules).checker().finish_when(found);
    let checked = checker.threads(2).spawn_bfs().join();
    checked.assert_any_discovery(property);
}

/// A ledger that posts an id twice moves money twice.
#[test]
fn the_ledger_must_remember() {
    let ledger_remembers = false;
    let rules = Rules {
        ledger_remembers,
        ..Rules::ALL
    };
    is_needed(Scene::Transfers, rules, properties::COMPLETED_ONCE);
}

/// A ledger that posts an id twice adjusts a wallet twice.
#[test]
fn the_ledger_must_remember_adjustments() {
    let ledger_remembers = false;
    let rules = Rules {
        ledger_remembers,
        ..Rules::ALL
    };
    is_needed(Scene::Adjustments, rules, properties::COMPLETED_ONCE);
}

/// A provider that takes a reference twice acts twice.
#[test]
fn the_provider_must_remember() {
    let provider_remembers = false;
    let rules = Rules {
        provider_remembers,
        ..Rules::ALL
    };
    is_needed(Scene::Provider, rules, properties::PROVIDER_ONCE);
}

/// A provider that takes an order after its window pays what has failed.
#[test]
fn orders_must_expire() {
    let orders_expire = false;
    let rules = Rules {
        orders_expire,
        ..Rules::ALL
    };
    is_needed(Scene::Provider, rules, properties::FAILED_NEVER);
}

/// "Not found" that is heard long after it was said is no proof.
#[test]
fn looks_must_expire() {
    let looks_expire = false;
    let rules = Rules {
        looks_expire,
        ..Rules::ALL
    };
    is_needed(Scene::Provider, rules, properties::FAILED_NEVER);
}

/// Without the epoch and the version, a run that was overtaken writes on.
#[test]
fn runs_must_be_fenced() {
    let fenced = false;
    let rules = Rules {
        fenced,
        ..Rules::ALL
    };
    is_needed(Scene::Transfers, rules, properties::END_IS_END);
}

/// A refusal is taken for final although another attempt is under way.
#[test]
fn loose_ends_must_be_seen() {
    let sees_loose_ends = false;
    let rules = Rules {
        sees_loose_ends,
        ..Rules::ALL
    };
    is_needed(Scene::Transfers, rules, properties::FAILED_NEVER);
}

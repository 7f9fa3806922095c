//! The canaries, and who must notice each.

/// A rule that is broken on purpose.
#[derive(Clone, Copy, Debug)]
pub struct Canary {
    /// Its name in the code.
    pub name: &'static str,
    /// What a program does that breaks the rule.
    pub breaks: &'static str,
    /// The test that must fail then.
    pub caught_by: Test,
}

/// One test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Test {
    /// The crate's directory in the workspace.
    pub directory: &'static str,
    /// The test target, or the library for its unit tests.
    pub target: &'static str,
    /// The test's full name in it.
    pub name: &'static str,
}

const fn canary(name: &'static str, breaks: &'static str, caught_by: Test) -> Canary {
    Canary {
        name,
        breaks,
        caught_by,
    }
}

/// A test of the transaction service in a mesh of its own.
const fn mesh(name: &'static str) -> Test {
    Test {
        directory: "services/transaction",
        target: "mesh",
        name,
    }
}

/// A unit test of the transaction service.
const fn transaction(name: &'static str) -> Test {
    Test {
        directory: "services/transaction",
        target: "bursar_transaction",
        name,
    }
}

/// A test of the wallet service.
const fn wallet(name: &'static str) -> Test {
    Test {
        directory: "services/wallet",
        target: "service",
        name,
    }
}

/// A test of idempotency keys.
const fn idempotency(name: &'static str) -> Test {
    Test {
        directory: "shared/aip",
        target: "idempotency",
        name,
    }
}

/// A test of the event log.
const fn events(name: &'static str) -> Test {
    Test {
        directory: "shared/events",
        target: "events",
        name,
    }
}

/// A test of the cache, on servers that fail.
const fn cache(name: &'static str) -> Test {
    Test {
        directory: "shared/cache",
        target: "faults",
        name,
    }
}

/// A test of what is around every service.
const fn server(name: &'static str) -> Test {
    Test {
        directory: "shared/server",
        target: "server",
        name,
    }
}

/// A test of the identity service.
const fn identity(name: &'static str) -> Test {
    Test {
        directory: "services/identity",
        target: "identity",
        name,
    }
}

/// Every canary in the code, in the order of the names.
pub const CANARIES: [Canary; 28] = [
    canary(
        "answer.not_kept",
        "commits an outcome without the answer that its key shall get again",
        mesh("transfers::a_key_means_one_transfer"),
    ),
    canary(
        "cache.evicting_store_taken",
        "keeps what must not be lost on a store that evicts",
        cache("eviction::what_must_not_be_lost_is_not_put_where_it_may_be"),
    ),
    canary(
        "cache.older_admitted",
        "lets an older value take the place of a newer one",
        cache("outage::an_older_value_in_redis_is_not_shown"),
    ),
    canary(
        "callback.early_forgotten",
        "forgets a callback that comes before what it is about is committed",
        transaction("store::tests::callbacks_are_matched_later"),
    ),
    canary(
        "callback.signature_ignored",
        "believes a callback whoever signed it",
        mesh("callbacks::forged_callbacks_are_refused"),
    ),
    canary(
        "handler.not_detached",
        "drops a mutation in the middle when its caller leaves",
        server("callers_that_leave_cut_nothing_off"),
    ),
    canary(
        "hold.end_forgotten",
        "captures and voids a hold that has ended",
        wallet("hold_rpc::a_hold_ends_once"),
    ),
    canary(
        "idempotency.body_ignored",
        "answers a key with the answer to another request",
        idempotency("another_body_is_refused"),
    ),
    canary(
        "idempotency.claim_ignored",
        "acts again on a key that came before",
        idempotency("contention::one_of_fifty_duplicates_runs"),
    ),
    canary(
        "idempotency.claims_ignored",
        "acts again on keys that came before, when they come with others",
        idempotency("together::keys_that_came_before_hear_what_became_of_them"),
    ),
    canary(
        "inbox.ignored",
        "handles an event each time that it is delivered",
        events("consumer::a_second_delivery_has_no_effect"),
    ),
    canary(
        "inbox.together_ignored",
        "handles events that came together each time that they are delivered",
        events("together::what_came_together_takes_effect_together"),
    ),
    canary(
        "lease.epoch_ignored",
        "writes under a lease that somebody else has taken over",
        transaction("store::tests::a_lapsed_lease_fences_once_it_is_taken_over"),
    ),
    canary(
        "ledger.balance_misstated",
        "states another balance than the entries sum to",
        wallet("batches::postings_move_money"),
    ),
    canary(
        "ledger.floor_lowered",
        "lets a wallet pay what it has not",
        wallet("rejections::funds_are_insufficient"),
    ),
    canary(
        "ledger.locks_unordered",
        "locks wallets in the order in which postings name them",
        wallet("contention::opposed_transfers_wait_for_each_other"),
    ),
    canary(
        "ledger.replay_posted",
        "posts again what is asked for again after a lost answer",
        wallet("duplicates::a_replay_is_the_first_result"),
    ),
    canary(
        "posting.owner_unchecked",
        "takes money out of whoever's wallet is named",
        mesh("transfers::foreign_and_missing_wallets_are_not_found"),
    ),
    canary(
        "posting.refusal_believed",
        "fails on a refusal while an earlier attempt may still arrive",
        mesh("lost_answers::an_uncertain_refusal_is_barred"),
    ),
    canary(
        "provider.absence_believed",
        "fails as soon as the provider does not know a request",
        mesh("edge_cases::an_absence_is_not_believed_at_once"),
    ),
    canary(
        "provider.silence_is_failure",
        "takes a missing answer for a decline",
        mesh("edge_cases::a_lost_answer_of_a_payout_that_happened"),
    ),
    canary(
        "refresh.retry_punished",
        "ends the session of a client whose answer was lost",
        identity("refresh::a_lost_response_is_forgiven"),
    ),
    canary(
        "refresh.reuse_tolerated",
        "refuses a stolen token and leaves the thief's session alone",
        identity("refresh::reuse_revokes_the_family"),
    ),
    canary(
        "refund.reserve_skipped",
        "refunds without reserving what is refunded",
        mesh("refunds::concurrent_refunds_never_exceed_the_original"),
    ),
    canary(
        "relay.gap_ignored",
        "publishes a version before the one that comes before it",
        events("relay::a_version_waits_for_the_one_before_it"),
    ),
    canary(
        "relay.owner_ignored",
        "publishes what another relay is publishing",
        events("relay::a_partition_is_published_by_one_relay"),
    ),
    canary(
        "relay.pending_overtaken",
        "publishes a version before one that waits beside it",
        events("relay::versions_are_published_against_their_numbers"),
    ),
    canary(
        "state.version_ignored",
        "writes over what somebody else has written meanwhile",
        transaction("store::tests::rows_turn_by_compare_and_set"),
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::checkout::Checkout;
    use crate::workspace::rust_files;

    /// The names of the canaries in a file, which the formatter leaves on the line of
    /// the call; not those in comments.
    fn named(code: &str) -> Vec<String> {
        let lines = code.lines();
        let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
        lines
            .flat_map(|line| line.split("canary!(\"").skip(1))
            .filter_map(|call| Some(call.split_once("\")")?.0.to_owned()))
            .collect()
    }

    fn directories(root: &Path, group: &str) -> Vec<std::path::PathBuf> {
        let entries = fs::read_dir(root.join(group)).unwrap();
        let sources = entries.map(|entry| entry.unwrap().path().join("src"));
        sources.filter(|sources| sources.is_dir()).collect()
    }

    #[test]
    fn every_canary_in_the_code_is_listed_and_the_other_way_round() {
        // A canary that is not listed would never sing; one that is only listed
        // would be a promise about nothing. Each stands in one place.
        let checkout = Checkout::find().unwrap();
        let mut found = Vec::new();
        for group in ["services", "shared"] {
            for directory in directories(checkout.root(), group) {
                if directory.starts_with(checkout.root().join("shared/devmesh")) {
                    continue;
                }
                for file in rust_files(&directory).unwrap() {
                    found.extend(named(&fs::read_to_string(file).unwrap()));
                }
            }
        }
        found.sort();
        let listed: Vec<&str> = CANARIES.iter().map(|canary| canary.name).collect();
        assert_eq!(found, listed);
    }

    #[test]
    fn every_test_that_is_named_is_there() {
        // A file of its crate has a function or a row of a table of its name.
        let checkout = Checkout::find().unwrap();
        let tests: BTreeSet<_> = CANARIES
            .iter()
            .map(|canary| (canary.caught_by.directory, canary.caught_by.name))
            .collect();
        for (directory, name) in tests {
            let function = name.rsplit("::").next().unwrap();
            let written = [format!("fn {function}("), format!("    {function} {{")];
            let files = rust_files(&checkout.root().join(directory)).unwrap();
            let has_it = |file: &&std::path::PathBuf| {
                let code = fs::read_to_string(file).unwrap_or_default();
                written.iter().any(|written| code.contains(written))
            };
            assert!(files.iter().find(has_it).is_some(), "{directory}: {name}");
        }
    }
}

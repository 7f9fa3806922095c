//! Who passes which points: every local commit and every call to the ledger, the
//! provider and Redis has one before it and one after it.

use crate::cases::Way;
use crate::flow::Flow;

/// Points that a flow passes in a way.
pub(crate) struct Passage {
    pub(crate) points: &'static [&'static str],
    pub(crate) flows: &'static [Flow],
    pub(crate) way: Way,
}

const fn asking(points: &'static [&'static str], flows: &'static [Flow]) -> Passage {
    let way = Way::Asking;
    Passage { points, flows, way }
}

const fn starting(points: &'static [&'static str], flows: &'static [Flow]) -> Passage {
    let way = Way::Starting;
    Passage { points, flows, way }
}

const WITH_PROVIDER: [Flow; 3] = [Flow::Deposit, Flow::Withdrawal, Flow::RefundDeposit];
/// What is no transfer, which is recorded and ended by itself.
const ALONE: [Flow; 6] = [
    Flow::Deposit,
    Flow::Withdrawal,
    Flow::GiveBack,
    Flow::RefundDeposit,
    Flow::Adjustment,
    Flow::BonusGrant,
];
const SINGLE: [Flow; 7] = [
    Flow::Transfer,
    Flow::Deposit,
    Flow::Withdrawal,
    Flow::GiveBack,
    Flow::RefundDeposit,
    Flow::Adjustment,
    Flow::BonusGrant,
];

/// Where movements pass.
pub(crate) const MOVEMENTS: [Passage; 17] = [
    asking(&["advance.before_post", "advance.after_post"], &SINGLE),
    asking(
        &[
            "creation.before_intent_commit",
            "creation.after_intent_commit",
            "advance.before_commit_last",
            "advance.after_commit_last",
        ],
        &ALONE,
    ),
    asking(
        &[
            "intents.before_commit",
            "intents.after_commit",
            "endings.before_commit",
            "endings.after_commit",
        ],
        &[Flow::Transfer],
    ),
    asking(
        &[
            "advance.before_ask",
            "advance.after_ask",
            "advance.before_commit_between",
            "advance.after_commit_between",
        ],
        &WITH_PROVIDER,
    ),
    asking(
        &["rpc.before_wallet_look", "rpc.after_wallet_look"],
        &[
            Flow::Deposit,
            Flow::Withdrawal,
            Flow::Adjustment,
            Flow::BonusGrant,
            Flow::Planned,
            Flow::Quote,
            Flow::WalletLimitRule,
        ],
    ),
    asking(
        &[
            "creation.before_refusal_commit",
            "creation.after_refusal_commit",
        ],
        &[Flow::Refused],
    ),
    asking(
        &[
            "creation.before_denial_commit",
            "creation.after_denial_commit",
        ],
        &[Flow::RefusedRefund],
    ),
    asking(
        &["advance.before_measure", "advance.after_measure"],
        &[Flow::RefundSpent],
    ),
    // What the ledger does not answer is put off.
    asking(
        &["advance.before_commit_last", "advance.after_commit_last"],
        &[Flow::TransferHeldUp],
    ),
    asking(
        &[
            "callback.after_receive",
            "callback.before_commit",
            "callback.after_commit",
        ],
        &[Flow::DepositLater],
    ),
    Passage {
        points: &[
            "recovery.after_claim",
            "recovery.before_resume",
            "recovery.after_resume",
        ],
        flows: &SINGLE,
        way: Way::Recovering("advance.after_post"),
    },
    Passage {
        points: &["advance.before_look", "advance.after_look"],
        flows: &WITH_PROVIDER,
        way: Way::Recovering("advance.after_ask"),
    },
    Passage {
        points: &["recovery.before_claim"],
        flows: &[Flow::Transfer, Flow::Withdrawal],
        way: Way::StartingAfter("advance.after_post"),
    },
    Passage {
        points: &[
            "creation.before_answer_commit",
            "creation.after_answer_commit",
        ],
        flows: &[Flow::Transfer],
        way: Way::AskingAgain("intents.after_commit"),
    },
    Passage {
        points: &[
            "creation.before_answer_commit",
            "creation.after_answer_commit",
        ],
        flows: &[Flow::Withdrawal],
        way: Way::AskingAgain("creation.after_intent_commit"),
    },
    Passage {
        points: &["creation.before_take_over", "creation.after_take_over"],
        flows: &[Flow::Transfer],
        way: Way::TakingOver("intents.after_commit"),
    },
    Passage {
        points: &["creation.before_take_over", "creation.after_take_over"],
        flows: &[Flow::Withdrawal],
        way: Way::TakingOver("advance.after_post"),
    },
];

/// Where bulk transfers and planned ones pass.
pub(crate) const MANY: [Passage; 10] = [
    asking(
        &[
            "bulk.before_intent_commit",
            "bulk.after_intent_commit",
            "bulk.before_post",
            "bulk.after_post",
            "bulk.before_outcome_commit",
            "bulk.after_outcome_commit",
        ],
        &[Flow::Bulk],
    ),
    asking(
        &["bulk.before_denial_commit", "bulk.after_denial_commit"],
        &[Flow::BulkDenied],
    ),
    asking(
        &["bulk.before_refusal_commit", "bulk.after_refusal_commit"],
        &[Flow::BulkLimited],
    ),
    asking(
        &["bulk.before_give_back", "bulk.after_give_back"],
        &[Flow::BulkHeldUp],
    ),
    Passage {
        points: &[
            "bulk.before_claim",
            "bulk.after_claim",
            "bulk.before_resume",
            "bulk.after_resume",
        ],
        flows: &[Flow::Bulk],
        way: Way::StartingAfter("bulk.after_intent_commit"),
    },
    Passage {
        points: &["bulk.before_take_over", "bulk.after_take_over"],
        flows: &[Flow::Bulk],
        way: Way::TakingOver("bulk.after_post"),
    },
    Passage {
        points: &["bulk.before_answer_commit", "bulk.after_answer_commit"],
        flows: &[Flow::Bulk],
        way: Way::AskingAgain("bulk.after_intent_commit"),
    },
    asking(
        &[
            "schedule.before_create_commit",
            "schedule.after_create_commit",
            "schedule.after_claim",
            "schedule.before_begin_commit",
            "schedule.after_begin_commit",
            "schedule.before_fence_commit",
            "schedule.after_fence_commit",
            "schedule.before_attempt",
            "schedule.after_attempt",
            "schedule.before_end_commit",
            "schedule.after_end_commit",
            "schedule.before_put_off_commit",
            "schedule.after_put_off_commit",
        ],
        &[Flow::Planned],
    ),
    asking(
        &["schedule.before_give_back", "schedule.after_give_back"],
        &[Flow::PlannedHeldUp],
    ),
    Passage {
        points: &["schedule.before_claim"],
        flows: &[Flow::Planned],
        way: Way::StartingAfter("schedule.after_begin_commit"),
    },
];

/// Where people and operators pass.
pub(crate) const PEOPLE: [Passage; 10] = [
    asking(
        &["explain.before_entries", "explain.after_entries"],
        &[Flow::Explanation],
    ),
    asking(
        &["watch.before_wallets", "watch.after_wallets"],
        &[Flow::Watch],
    ),
    asking(
        &["once.before_commit", "once.after_commit"],
        &[Flow::Quote, Flow::FeeRule, Flow::Rate],
    ),
    asking(
        &["fees.before_archive_commit", "fees.after_archive_commit"],
        &[Flow::FeeRuleEnd],
    ),
    asking(
        &["limits.before_put_commit", "limits.after_put_commit"],
        &[Flow::LimitRule],
    ),
    asking(
        &[
            "limits.before_archive_commit",
            "limits.after_archive_commit",
        ],
        &[Flow::LimitRuleEnd],
    ),
    asking(
        &["fraud.before_rule_commit", "fraud.after_rule_commit"],
        &[Flow::FraudRule],
    ),
    asking(
        &[
            "fraud.before_rule_deletion_commit",
            "fraud.after_rule_deletion_commit",
        ],
        &[Flow::FraudRuleEnd],
    ),
    asking(
        &[
            "fraud.before_decision_commit",
            "fraud.after_decision_commit",
        ],
        &[Flow::FraudDecision],
    ),
    asking(
        &[
            "review.before_decision_commit",
            "review.after_decision_commit",
        ],
        &[Flow::Decision],
    ),
];

/// Where reconciliation passes.
pub(crate) const RECONCILIATION: [Passage; 10] = [
    asking(
        &[
            "intake.before_begin_commit",
            "intake.after_begin_commit",
            "intake.before_lines_commit",
            "intake.after_lines_commit",
            "intake.before_complete_commit",
            "intake.after_complete_commit",
            "matching.before_claim_commit",
            "matching.after_claim_commit",
            "matching.before_lines_commit",
            "matching.after_lines_commit",
            "matching.before_missing_commit",
            "matching.after_missing_commit",
            "matching.before_again_commit",
            "matching.after_again_commit",
            "matching.before_finish",
            "matching.after_finish",
        ],
        &[Flow::Settlement],
    ),
    asking(
        &[
            "intake.before_fail_commit",
            "intake.after_fail_commit",
            "matching.before_purge_commit",
            "matching.after_purge_commit",
        ],
        &[Flow::BrokenSettlement],
    ),
    Passage {
        points: &[
            "matching.before_lapse_commit",
            "matching.after_lapse_commit",
        ],
        flows: &[Flow::Settlement],
        way: Way::StartingAfter("intake.after_lines_commit"),
    },
    Passage {
        points: &[
            "matching.before_claim_commit",
            "matching.after_claim_commit",
        ],
        flows: &[Flow::Settlement],
        way: Way::StartingAfter("intake.after_complete_commit"),
    },
    starting(
        &[
            "nightly.before_begin_commit",
            "nightly.after_begin_commit",
            "nightly.before_page",
            "nightly.after_page",
            "nightly.before_lines_commit",
            "nightly.after_lines_commit",
            "nightly.before_complete_commit",
            "nightly.after_complete_commit",
        ],
        &[Flow::List],
    ),
    starting(
        &[
            "nightly.before_give_up_commit",
            "nightly.after_give_up_commit",
        ],
        &[Flow::ListUnanswered],
    ),
    asking(
        &[
            "reconciliation.before_resolve_commit",
            "reconciliation.after_resolve_commit",
        ],
        &[Flow::BreakEnd],
    ),
    asking(
        &[
            "reconciliation.before_settings_commit",
            "reconciliation.after_settings_commit",
        ],
        &[Flow::SettlementForm],
    ),
    // Callbacks that came too early are looked at every now and then.
    asking(
        &[
            "callbacks.before_match_commit",
            "callbacks.after_match_commit",
        ],
        &[Flow::Transfer],
    ),
    // So is what fraud screening no longer needs, first of all at the start.
    starting(
        &[
            "fraud.before_fold",
            "fraud.after_fold",
            "fraud.after_days_delete",
        ],
        &[Flow::Transfer],
    ),
];

/// Where events pass on their way out, and in again.
pub(crate) const EVENTS: [Passage; 8] = [
    asking(
        &[
            "consumer.before_commit_together",
            "consumer.after_commit_together",
        ],
        &[Flow::Bulk],
    ),
    // Events of several transfers would be taken in together.
    asking(
        &["consumer.before_commit", "consumer.after_commit"],
        &[Flow::OneTransfer],
    ),
    asking(
        &[
            "relay.before_add",
            "relay.after_add",
            "relay.before_batches_delete",
            "relay.after_delete",
            "relay.before_settle",
            "relay.after_settle",
            "relay.before_trim",
            "relay.after_trim",
            "consumer.after_read",
            "consumer.before_acknowledge",
            "consumer.after_acknowledge",
        ],
        &[Flow::Transfer],
    ),
    starting(
        &[
            "relay.before_lease",
            "relay.after_lease",
            "consumer.before_lease",
            "consumer.after_lease",
            "consumer.before_read",
        ],
        &[Flow::Transfer],
    ),
    asking(
        &[
            "relay.before_republish_commit",
            "relay.after_republish_commit",
        ],
        &[Flow::TransferAfterLoss],
    ),
    // The events of rules are rows.
    asking(&["relay.before_delete"], &[Flow::FraudRuleEnd]),
    asking(
        &["consumer.before_skip", "consumer.after_skip"],
        // First events are passed over without a look.
        &[Flow::FraudRuleEnd],
    ),
    asking(
        &["consumer.before_park_commit", "consumer.after_park_commit"],
        &[Flow::TransferAfterRubbish],
    ),
];

/// Where the job passes that has its turn every minute.
pub(crate) const EVERY_MINUTE: [&str; 6] = [
    "cleanup.before_delete",
    "cleanup.after_delete",
    "cleanup.before_usage_delete",
    "cleanup.after_usage_delete",
    "cleanup.before_quotes_delete",
    "cleanup.after_quotes_delete",
];

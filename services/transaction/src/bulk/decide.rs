//! What the ledger's answers make of the transfers of a bulk transfer. Pure.

use super::{Item, Mode};
use crate::domain::{Failure, LedgerFault, Posted, Refusal};
use crate::ledger::{BatchReply, Reply};

/// What is told of the transfers of an atomic bulk transfer beside the one that
/// has to be looked at.
const COMPANION_CAUSE: &str =
    "another transfer of the same atomic bulk transfer needs a person; none of them was made";
/// What is told when the ledger answers an atomic call as none can be answered.
const MIXED_CAUSE: &str = "the ledger answered an atomic bulk transfer in parts";

/// What is asked of the ledger next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// To make the transfers.
    Post,
    /// To take the ids of refused transfers with postings that move nothing.
    Bar,
}

/// What becomes of one transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It is done.
    Complete(Posted),
    /// It is refused, and no attempt of it can still arrive.
    Fail {
        /// Why it failed.
        failure: Failure,
        /// The ledger's refusal of it; none for a companion of the refused one.
        refusal: Option<Refusal>,
    },
    /// It needs a person.
    Review(String),
    /// It was refused while another attempt may still arrive: to be barred. With
    /// the refusal that is to be noted; none for a companion of the refused one.
    Bar(Option<Refusal>),
    /// The bar came too late: the transfer was made, and is asked for again.
    PostAgain,
}

impl Next {
    fn refused(refusal: Refusal) -> Self {
        Self::Fail {
            failure: refusal.failure(),
            refusal: Some(refusal),
        }
    }

    /// The failure of a transfer that was not itself refused. The reason is that
    /// of the one that was.
    fn companion(position: i32, refusal: Refusal) -> Self {
        let failure = refusal.failure();
        Self::Fail {
            failure: Failure {
                message: format!(
                    "transfers[{position}] of the same atomic bulk transfer was refused: {}",
                    failure.message
                ),
                reason: failure.reason,
            },
            refusal: None,
        }
    }
}

/// The transfers that are asked for next, as indices into `items`, and what is
/// asked. What was refused is barred before anything else is sent.
pub(crate) fn next_call(mode: Mode, items: &[Item]) -> (Stage, Vec<usize>) {
    let is_pending = |item: &Item| !item.stored.transaction.state.is_at_rest();
    let all = || (0..items.len()).filter(|index| is_pending(&items[*index]));
    let refused: Vec<usize> = all()
        .filter(|index| items[*index].refusal.is_some())
        .collect();
    if refused.is_empty() {
        return (Stage::Post, all().collect());
    }
    match mode {
        Mode::Atomic => (Stage::Bar, all().collect()),
        Mode::Independent => (Stage::Bar, refused),
    }
}

/// What the answers to a call make of its transfers, one for each in their order.
/// `sole_attempt` says that no earlier attempt can still arrive.
pub(crate) fn decide(
    mode: Mode,
    stage: Stage,
    items: &[&Item],
    replies: &[BatchReply],
    sole_attempt: bool,
) -> Vec<Next> {
    debug_assert_eq!(items.len(), replies.len(), "every posting has its answer");
    match (mode, stage) {
        (Mode::Independent, Stage::Post) => replies
            .iter()
            .map(|reply| alone(reply, sole_attempt))
            .collect(),
        (Mode::Independent, Stage::Bar) => items
            .iter()
            .zip(replies)
            .map(|(item, reply)| barred_alone(item, reply))
            .collect(),
        (Mode::Atomic, Stage::Post) => together(items, replies, sole_attempt),
        (Mode::Atomic, Stage::Bar) => barred_together(items, replies),
    }
}

fn alone(reply: &BatchReply, sole_attempt: bool) -> Next {
    match reply {
        BatchReply::Own(Reply::Applied(posted)) => Next::Complete(*posted),
        BatchReply::Own(Reply::Refused(refusal)) if sole_attempt => Next::refused(*refusal),
        BatchReply::Own(Reply::Refused(refusal)) => Next::Bar(Some(*refusal)),
        BatchReply::Own(Reply::Faulted(fault)) => review(*fault),
        // No independent posting is refused for another's sake.
        BatchReply::Companion => review(LedgerFault::Unexplained),
    }
}

fn barred_alone(item: &Item, reply: &BatchReply) -> Next {
    match (reply, item.refusal) {
        (BatchReply::Own(Reply::Applied(_)), Some(refusal)) => Next::refused(refusal),
        (BatchReply::Own(Reply::Faulted(LedgerFault::PostingIdReused)), _) => Next::PostAgain,
        (BatchReply::Own(Reply::Faulted(fault)), _) => review(*fault),
        // The platform's own wallet is refused nothing, and only what was refused
        // is barred.
        (BatchReply::Own(Reply::Applied(_) | Reply::Refused(_)) | BatchReply::Companion, _) => {
            review(LedgerFault::Unexplained)
        }
    }
}

fn together(items: &[&Item], replies: &[BatchReply], sole_attempt: bool) -> Vec<Next> {
    let posted: Vec<Posted> = replies.iter().filter_map(applied).collect();
    if posted.len() == replies.len() {
        return posted.into_iter().map(Next::Complete).collect();
    }
    if !posted.is_empty() || replies.iter().any(|reply| fault(reply).is_some()) {
        return look_at_all(replies);
    }
    let culprit = items.iter().zip(replies).find_map(|(item, reply)| {
        let refusal = refused(reply)?;
        Some((item.position, refusal))
    });
    let Some((position, first)) = culprit else {
        return look_at_all(replies);
    };
    let next = |reply: &BatchReply| match (refused(reply), sole_attempt) {
        (Some(refusal), true) => Next::refused(refusal),
        (None, true) => Next::companion(position, first),
        (refusal, false) => Next::Bar(refusal),
    };
    replies.iter().map(next).collect()
}

fn barred_together(items: &[&Item], replies: &[BatchReply]) -> Vec<Next> {
    let culprit = items
        .iter()
        .find_map(|item| item.refusal.map(|refusal| (item.position, refusal)));
    let is_barred = replies.iter().all(|reply| applied(reply).is_some());
    if let (true, Some((position, first))) = (is_barred, culprit) {
        let next = |item: &&Item| match item.refusal {
            Some(refusal) => Next::refused(refusal),
            None => Next::companion(position, first),
        };
        return items.iter().map(next).collect();
    }
    let was_made = |reply: &BatchReply| match reply {
        BatchReply::Own(Reply::Faulted(LedgerFault::PostingIdReused)) => Some(true),
        BatchReply::Companion => Some(false),
        BatchReply::Own(Reply::Applied(_) | Reply::Refused(_) | Reply::Faulted(_)) => None,
    };
    let made: Option<Vec<bool>> = replies.iter().map(was_made).collect();
    // The first transfer is made already, so the whole call was.
    if made.is_some_and(|made| made.contains(&true)) {
        return replies.iter().map(|_| Next::PostAgain).collect();
    }
    look_at_all(replies)
}

/// All go to a person, each with the cause that is its own.
fn look_at_all(replies: &[BatchReply]) -> Vec<Next> {
    replies
        .iter()
        .map(|reply| match (fault(reply), reply) {
            (Some(fault), _) => review(fault),
            (None, BatchReply::Companion) => Next::Review(COMPANION_CAUSE.to_owned()),
            (None, BatchReply::Own(_)) => Next::Review(MIXED_CAUSE.to_owned()),
        })
        .collect()
}

fn applied(reply: &BatchReply) -> Option<Posted> {
    match reply {
        BatchReply::Own(Reply::Applied(posted)) => Some(*posted),
        BatchReply::Own(Reply::Refused(_) | Reply::Faulted(_)) | BatchReply::Companion => None,
    }
}

fn refused(reply: &BatchReply) -> Option<Refusal> {
    match reply {
        BatchReply::Own(Reply::Refused(refusal)) => Some(*refusal),
        BatchReply::Own(Reply::Applied(_) | Reply::Faulted(_)) | BatchReply::Companion => None,
    }
}

fn fault(reply: &BatchReply) -> Option<LedgerFault> {
    match reply {
        BatchReply::Own(Reply::Faulted(fault)) => Some(*fault),
        BatchReply::Own(Reply::Applied(_) | Reply::Refused(_)) | BatchReply::Companion => None,
    }
}

fn review(fault: LedgerFault) -> Next {
    Next::Review(fault.cause().to_owned())
}

//! Calls of the ledger with what must become of them, whenever and however often
//! they are asked.

use bursar_aip::id::{HoldId, TransactionId};
use bursar_contracts::wallet::v1::posting_result::Outcome;
use bursar_contracts::wallet::v1::{
    BatchMode, Bucket, HoldAction, HoldReference, Leg, Posting, PostingKind, PostingResult,
    RejectionReason, SystemAccount, SystemPurpose, Wallet,
};
use uuid::Uuid;

/// More than any wallet has.
const TOO_MUCH: i64 = 1_000_000_000_000;

/// A call of the ledger.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) postings: Vec<Posting>,
    pub(crate) mode: BatchMode,
    /// What must become of each posting.
    expected: Vec<Expected>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Applied,
    Rejected(RejectionReason),
}

impl Call {
    /// A call of which everything is applied.
    pub(crate) fn good(postings: Vec<Posting>, mode: BatchMode) -> Self {
        let expected = vec![Expected::Applied; postings.len()];
        Self {
            postings,
            mode,
            expected,
        }
    }

    /// A call with one more posting at its end, which is refused; in an atomic
    /// call all others are with it.
    pub(crate) fn with_refused(mut self, from: &Wallet, to: &Wallet) -> Self {
        if self.mode == BatchMode::Atomic {
            let refused = Expected::Rejected(RejectionReason::BatchRejected);
            self.expected.fill(refused);
        }
        self.postings.push(transfer(from, to, TOO_MUCH));
        let culprit = Expected::Rejected(RejectionReason::InsufficientFunds);
        self.expected.push(culprit);
        self
    }

    /// The postings that are in the ledger once the call is answered.
    pub(crate) fn applied(&self) -> impl Iterator<Item = &Posting> {
        let pairs = self.postings.iter().zip(&self.expected);
        pairs
            .filter(|(_, expected)| **expected == Expected::Applied)
            .map(|(posting, _)| posting)
    }

    /// Fails the test unless the results are what they must be, and the same as
    /// those that were answered before.
    pub(crate) fn check(&self, results: &[PostingResult], before: Option<&[PostingResult]>) {
        assert_eq!(results.len(), self.postings.len());
        for (index, (result, expected)) in results.iter().zip(&self.expected).enumerate() {
            assert_eq!(result.posting_id, self.postings[index].posting_id);
            let outcome = match &result.outcome {
                Some(Outcome::Applied(_)) => Expected::Applied,
                Some(Outcome::Rejected(rejected)) => Expected::Rejected(rejected.reason()),
                None => panic!("no outcome: {result:?}"),
            };
            assert_eq!(outcome, *expected, "{result:?}");
            if let Some(before) = before {
                assert_eq!(result.outcome, before[index].outcome);
                let is_applied = *expected == Expected::Applied;
                assert_eq!(result.replayed, is_applied, "{result:?}");
            }
        }
    }
}

fn leg(wallet: &Wallet, bucket: Bucket, amount_minor: i64) -> Leg {
    Leg {
        wallet_id: wallet.wallet_id.clone(),
        bucket: bucket.into(),
        amount_minor,
        currency_code: wallet.currency_code.clone(),
        ..Leg::default()
    }
}

fn settlement(currency_code: &str, amount_minor: i64) -> Leg {
    Leg {
        system: Some(SystemAccount {
            purpose: SystemPurpose::Settlement.into(),
            name: "sandbox".to_owned(),
            currency_code: currency_code.to_owned(),
        }),
        bucket: Bucket::Available.into(),
        amount_minor,
        currency_code: currency_code.to_owned(),
        ..Leg::default()
    }
}

fn posting(kind: PostingKind, legs: Vec<Leg>) -> Posting {
    Posting {
        posting_id: Uuid::now_v7().to_string(),
        kind: kind.into(),
        transaction_id: TransactionId::generate().to_string(),
        legs,
        ..Posting::default()
    }
}

pub(crate) fn deposit(to: &Wallet, amount_minor: i64) -> Posting {
    let legs = vec![
        settlement(&to.currency_code, -amount_minor),
        leg(to, Bucket::Available, amount_minor),
    ];
    posting(PostingKind::Deposit, legs)
}

pub(crate) fn transfer(from: &Wallet, to: &Wallet, amount_minor: i64) -> Posting {
    let legs = vec![
        leg(from, Bucket::Available, -amount_minor),
        leg(to, Bucket::Available, amount_minor),
    ];
    posting(PostingKind::Transfer, legs)
}

/// A hold of 9 and what follows: a capture of 4, and then its end.
#[derive(Debug, Clone)]
pub(crate) struct Hold {
    id: HoldId,
    transaction: TransactionId,
    wallet: Wallet,
}

impl Hold {
    pub(crate) fn on(wallet: &Wallet) -> Self {
        Self {
            id: HoldId::generate(),
            transaction: TransactionId::generate(),
            wallet: wallet.clone(),
        }
    }

    pub(crate) fn place(&self) -> Posting {
        let legs = vec![self.leg(Bucket::Available, -9), self.leg(Bucket::Held, 9)];
        self.posting(PostingKind::Hold, HoldAction::Place, legs)
    }

    pub(crate) fn capture(&self) -> Posting {
        let legs = vec![self.leg(Bucket::Held, -4), self.settlement(4)];
        self.posting(PostingKind::HoldCapture, HoldAction::Capture, legs)
    }

    /// Takes 3 of the 5 that remain and gives 2 back.
    pub(crate) fn capture_final(&self) -> Posting {
        let legs = vec![
            self.leg(Bucket::Held, -5),
            self.leg(Bucket::Available, 2),
            self.settlement(3),
        ];
        self.posting(PostingKind::HoldCapture, HoldAction::CaptureFinal, legs)
    }

    pub(crate) fn void(&self) -> Posting {
        let legs = vec![self.leg(Bucket::Held, -5), self.leg(Bucket::Available, 5)];
        self.posting(PostingKind::HoldVoid, HoldAction::Void, legs)
    }

    fn leg(&self, bucket: Bucket, amount_minor: i64) -> Leg {
        leg(&self.wallet, bucket, amount_minor)
    }

    fn settlement(&self, amount_minor: i64) -> Leg {
        settlement(&self.wallet.currency_code, amount_minor)
    }

    fn posting(&self, kind: PostingKind, action: HoldAction, legs: Vec<Leg>) -> Posting {
        Posting {
            transaction_id: self.transaction.to_string(),
            hold: Some(HoldReference {
                hold_id: self.id.to_string(),
                action: action.into(),
                ..HoldReference::default()
            }),
            ..posting(kind, legs)
        }
    }
}

//! What is wished for, made out of what there is: which hold, grant or posting
//! is meant, and the posting or call that is about it.

use bursar_aip::id::HoldId;
use bursar_contracts::wallet::v1 as proto;
use bursar_contracts::wallet::v1::{HoldAction, PostingKind};

use super::book::requests::Request;
use super::book::{Asked, CURRENCY_OF, Deed, WALLETS};
use super::run::{Hoped, Run};
use super::wish::{Call, FAR_BACK, Posting};
use crate::bonus::spending::spend;
use crate::support::{
    capture, deposit, leg, leg_in, liquidity, place, posting, settlement, transfer, void, with_hold,
};

impl Run<'_> {
    /// A posting as it was wished for; a plain deposit where there is nothing yet
    /// that it could be about.
    pub(super) fn make(&mut self, wished: Posting) -> (Asked, proto::Posting) {
        if let Posting::Again { back } = wished
            && let Some(place) = Self::place_of(self.asked.len(), back)
        {
            return self.asked[place].clone();
        }
        let deed = self
            .deed(wished)
            .unwrap_or(Deed::Deposit { to: 0, amount: 1 });
        let mut posting = self.posting(deed);
        if let Posting::SameId { back, .. } = wished
            && let Some(place) = Self::place_of(self.asked.len(), back)
        {
            posting.posting_id.clone_from(&self.asked[place].0.id);
        }
        let asked = Asked {
            id: posting.posting_id.clone(),
            serial: self.asked.len(),
            deed,
        };
        self.asked.push((asked.clone(), posting.clone()));
        (asked, posting)
    }

    fn deed(&mut self, wished: Posting) -> Option<Deed> {
        Some(match wished {
            Posting::Deposit { to, amount } => Deed::Deposit { to, amount },
            Posting::Transfer {
                from,
                to,
                amount,
                spendable,
            } => Deed::Transfer {
                from,
                to: payee(from, to, amount),
                amount,
                spendable,
            },
            Posting::Exchange { from, amount } => {
                let to = (0..WALLETS).find(|to| CURRENCY_OF[*to] != CURRENCY_OF[from])?;
                Deed::Exchange { from, to, amount }
            }
            Posting::Place { wallet, amount } => {
                let hold = self.hope(wallet, amount, true);
                Deed::Place {
                    wallet,
                    hold,
                    amount,
                }
            }
            Posting::PlaceAgain { back } => {
                let hold = self.hold_meant(back, true)?;
                let Hoped { wallet, amount, .. } = self.holds[hold];
                Deed::Place {
                    wallet,
                    hold,
                    amount,
                }
            }
            Posting::Capture {
                back,
                less,
                is_final,
            } => {
                let hold = self.hold_meant(back, true)?;
                let remaining = self.remaining(hold);
                let taken = (remaining - less).max(1);
                Deed::Capture {
                    wallet: self.holds[hold].wallet,
                    hold,
                    taken,
                    back: is_final.then(|| (remaining - taken).max(0)),
                }
            }
            Posting::Void { back, off_by } => {
                let hold = self.hold_meant(back, true)?;
                Deed::Void {
                    wallet: self.holds[hold].wallet,
                    hold,
                    amount: (self.remaining(hold) + off_by).max(1),
                }
            }
            Posting::Again { .. } => return None,
            Posting::SameId { amount, .. } => Deed::Deposit { to: 1, amount },
        })
    }

    /// A hold that may or may not come to be; its number.
    fn hope(&mut self, wallet: usize, amount: i64, by_posting: bool) -> usize {
        self.holds.push(Hoped {
            id: HoldId::generate(),
            wallet,
            amount,
            by_posting,
        });
        self.holds.len() - 1
    }

    /// The hold that is meant: one that was placed in the same way or is about to
    /// be, or any at all when it is far back.
    fn hold_meant(&self, back: usize, by_posting: bool) -> Option<usize> {
        if let Some(back) = back.checked_sub(FAR_BACK) {
            return Self::place_of(self.holds.len(), back);
        }
        let of_its_kind = |hold: &usize| self.holds[*hold].by_posting == by_posting;
        (0..self.holds.len()).filter(of_its_kind).nth_back(back)
    }

    /// The wallet that a hold is, or would be, of.
    pub(super) fn wallet_of(&self, hold: usize) -> usize {
        self.holds[hold].wallet
    }

    /// What a hold has, or would have once it is placed.
    fn remaining(&self, hold: usize) -> i64 {
        let known = self.book.holds.get(&hold);
        known.map_or(self.holds[hold].amount, |known| known.remaining())
    }

    /// The posting of a deed, with ids of its own.
    fn posting(&self, deed: Deed) -> proto::Posting {
        let wallets = &self.wallets;
        match deed {
            Deed::Deposit { to, amount } => deposit(&wallets[to], amount),
            Deed::Transfer {
                from,
                to,
                amount,
                spendable,
            } => {
                let make = if spendable { spend } else { transfer };
                let mut posting = make(&wallets[from], &wallets[to], amount);
                let currency = &wallets[from].currency_code;
                posting.legs[1].currency_code.clone_from(currency);
                posting
            }
            Deed::Exchange { from, to, amount } => {
                let (from, to) = (&wallets[from], &wallets[to]);
                let legs = vec![
                    leg(from, -amount),
                    liquidity(&from.currency_code, amount),
                    liquidity(&to.currency_code, -2 * amount),
                    leg(to, 2 * amount),
                ];
                posting(PostingKind::Transfer, legs)
            }
            Deed::Place {
                wallet,
                hold,
                amount,
            } => place(self.holds[hold].id, &wallets[wallet], amount),
            Deed::Capture {
                wallet,
                hold,
                taken,
                back,
            } => {
                let (hold, wallet) = (self.holds[hold].id, &wallets[wallet]);
                let Some(back) = back else {
                    return capture(hold, wallet, taken);
                };
                let mut legs = vec![leg_in(proto::Bucket::Held, wallet, -taken - back)];
                if back > 0 {
                    legs.push(leg(wallet, back));
                }
                legs.push(settlement(&wallet.currency_code, taken));
                let posting = posting(PostingKind::HoldCapture, legs);
                with_hold(hold, HoldAction::CaptureFinal, posting)
            }
            Deed::Void {
                wallet,
                hold,
                amount,
            } => void(self.holds[hold].id, &wallets[wallet], amount),
        }
    }

    /// A call as it was wished for, if there is what it is about.
    pub(super) fn request(&mut self, wished: Call) -> Option<Request> {
        Some(match wished {
            Call::PlaceHold { wallet, amount } => {
                let hold = self.hope(wallet, amount, false);
                Request::PlaceHold {
                    wallet,
                    hold,
                    amount,
                }
            }
            Call::CaptureHold {
                back,
                amount,
                is_final,
                to,
            } => Request::CaptureHold {
                hold: self.hold_meant(back, false)?,
                amount,
                is_final,
                to,
            },
            Call::VoidHold { back } => Request::VoidHold {
                hold: self.hold_meant(back, false)?,
            },
            Call::Freeze { wallet } => Request::Freeze { wallet },
            Call::Unfreeze { wallet } => Request::Unfreeze { wallet },
            Call::Close { wallet } => Request::Close { wallet },
            Call::SetCredit { wallet, limit } => Request::SetCredit { wallet, limit },
            Call::SetLimits { wallet, caps } => Request::SetLimits { wallet, caps },
            Call::Grant { wallet, amount } => Request::Grant { wallet, amount },
            Call::Convert { back } => Request::Convert {
                grant: Self::place_of(self.grants.len(), back)?,
            },
            Call::Fund { amount } => Request::Fund { amount },
            Call::EndCampaign => Request::EndCampaign,
        })
    }
}

/// Who is paid: mostly somebody with the payer's currency.
fn payee(from: usize, to: usize, amount: i64) -> usize {
    if CURRENCY_OF[from] == CURRENCY_OF[to] || amount % 8 == 0 {
        return to;
    }
    let same = |other: &usize| CURRENCY_OF[*other] == CURRENCY_OF[from];
    (0..WALLETS).rfind(same).unwrap_or(to)
}

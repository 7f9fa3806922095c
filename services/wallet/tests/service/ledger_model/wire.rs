//! The model's calls on the wire, and what the service answers.

use std::fmt::Debug;

use bursar_contracts::r#type::v1::Money;
use bursar_contracts::wallet::v1 as proto;
use tonic::{Response, Status};

use super::book::requests::Request;
use super::run::Run;
use crate::desk::{is_replay, keyed, money};
use crate::support::reason;

/// What was answered.
pub(super) struct Answer {
    /// The whole message, or the reason of a refusal.
    pub(super) told: Result<String, String>,
    /// The id of what was made.
    pub(super) made: Option<String>,
    pub(super) is_replay: bool,
}

impl Answer {
    fn of<T: Debug>(
        answer: Result<Response<T>, Status>,
        made: impl FnOnce(&T) -> Option<String>,
    ) -> Self {
        let is_replay = is_replay(&answer);
        match answer {
            Ok(response) => Self {
                made: made(response.get_ref()),
                told: Ok(format!("{:?}", response.into_inner())),
                is_replay,
            },
            Err(status) => Self {
                told: Err(reason(&status)),
                made: None,
                is_replay,
            },
        }
    }

    /// Whether it was done, or why not.
    pub(super) fn outcome(&self) -> Result<(), String> {
        self.told.as_ref().map(|_| ()).map_err(Clone::clone)
    }
}

impl Run<'_> {
    /// Asks the service with a key.
    pub(super) async fn send(&self, request: Request, key: &str) -> Answer {
        match request {
            Request::PlaceHold { .. } | Request::CaptureHold { .. } | Request::VoidHold { .. } => {
                self.send_about_hold(request, key).await
            }
            Request::Grant { .. }
            | Request::Convert { .. }
            | Request::Fund { .. }
            | Request::EndCampaign => self.send_about_bonus(request, key).await,
            Request::Freeze { wallet }
            | Request::Unfreeze { wallet }
            | Request::Close { wallet }
            | Request::SetCredit { wallet, .. }
            | Request::SetLimits { wallet, .. } => {
                self.send_about_wallet(request, wallet, key).await
            }
        }
    }

    async fn send_about_hold(&self, request: Request, key: &str) -> Answer {
        let token = &self.house.desk.token;
        let mut client = self.house.desk.holds.clone();
        let hold_id = |hold: usize| self.holds[hold].id.to_string();
        match request {
            Request::PlaceHold { wallet, amount, .. } => {
                let request = crate::desk::place(&self.wallets[wallet], amount);
                let answer = client.place_hold(keyed(request, token, key)).await;
                Answer::of(answer, |placed| {
                    placed.hold.as_ref().map(|hold| hold.hold_id.clone())
                })
            }
            Request::CaptureHold {
                hold,
                amount,
                is_final,
                to,
            } => {
                let wallet = &self.wallets[self.wallet_of(hold)];
                let request = proto::CaptureHoldRequest {
                    hold_id: hold_id(hold),
                    amount: amount.map(|amount| money(&wallet.currency_code, amount)),
                    r#final: is_final,
                    to_wallet_id: self.wallets[to].wallet_id.clone(),
                    to_system: None,
                };
                let answer = client.capture_hold(keyed(request, token, key)).await;
                Answer::of(answer, |_| None)
            }
            Request::VoidHold { hold } => {
                let request = proto::VoidHoldRequest {
                    hold_id: hold_id(hold),
                };
                let answer = client.void_hold(keyed(request, token, key)).await;
                Answer::of(answer, |_| None)
            }
            other => unreachable!("{other:?} is not about a hold"),
        }
    }

    async fn send_about_wallet(&self, request: Request, wallet: usize, key: &str) -> Answer {
        let token = &self.house.desk.token;
        let mut client = self.house.desk.wallets.clone();
        let wallet_id = self.wallets[wallet].wallet_id.clone();
        let reason = "a court order".to_owned();
        match request {
            Request::Freeze { .. } => {
                let request = proto::FreezeWalletRequest { wallet_id, reason };
                let answer = client.freeze_wallet(keyed(request, token, key)).await;
                Answer::of(answer, |_| None)
            }
            Request::Unfreeze { .. } => {
                let request = proto::UnfreezeWalletRequest { wallet_id, reason };
                let answer = client.unfreeze_wallet(keyed(request, token, key)).await;
                Answer::of(answer, |_| None)
            }
            Request::Close { .. } => {
                let request = proto::CloseWalletRequest { wallet_id };
                let answer = client.close_wallet(keyed(request, token, key)).await;
                Answer::of(answer, |_| None)
            }
            Request::SetCredit { limit, .. } => {
                let request = proto::SetCreditLimitRequest {
                    wallet_id,
                    credit_limit_minor: limit,
                };
                let answer = client.set_credit_limit(keyed(request, token, key)).await;
                Answer::of(answer, |_| None)
            }
            Request::SetLimits { caps, .. } => {
                let [single_minor, daily_minor, monthly_minor] = caps;
                let request = proto::SetSpendingLimitsRequest {
                    wallet_id,
                    single_minor,
                    daily_minor,
                    monthly_minor,
                };
                let answer = client.set_spending_limits(keyed(request, token, key)).await;
                Answer::of(answer, |_| None)
            }
            other => unreachable!("{other:?} is not about a wallet"),
        }
    }

    async fn send_about_bonus(&self, request: Request, key: &str) -> Answer {
        let token = &self.house.desk.token;
        let mut client = self.house.bonus.clone();
        let campaign_id = self.campaign.campaign_id.clone();
        let amount_of = |minor_units: i64| {
            Some(Money {
                currency_code: self.campaign.currency_code.clone(),
                minor_units,
            })
        };
        match request {
            Request::Grant { wallet, amount } => {
                let request = proto::GrantBonusRequest {
                    wallet_id: self.wallets[wallet].wallet_id.clone(),
                    campaign_id,
                    amount: amount_of(amount),
                };
                let answer = client.grant_bonus(keyed(request, token, key)).await;
                Answer::of(answer, |granted| {
                    granted.grant.as_ref().map(|grant| grant.grant_id.clone())
                })
            }
            Request::Convert { grant } => {
                let request = proto::ConvertBonusRequest {
                    grant_id: self.grants[grant].clone(),
                };
                let answer = client.convert_bonus(keyed(request, token, key)).await;
                Answer::of(answer, |_| None)
            }
            Request::Fund { amount } => {
                let request = proto::FundCampaignRequest {
                    campaign_id,
                    amount: amount_of(amount),
                };
                let answer = client.fund_campaign(keyed(request, token, key)).await;
                Answer::of(answer, |_| None)
            }
            Request::EndCampaign => {
                let request = proto::EndCampaignRequest { campaign_id };
                let answer = client.end_campaign(keyed(request, token, key)).await;
                Answer::of(answer, |_| None)
            }
            other => unreachable!("{other:?} is not about bonus money"),
        }
    }
}

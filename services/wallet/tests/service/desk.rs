//! An operator at a desk: who places holds and decides about wallets' lives,
//! with short words for the calls.

use bursar_aip::id::UserId;
use bursar_contracts::r#type::v1::Money;
use bursar_contracts::wallet::v1::hold_service_client::HoldServiceClient;
use bursar_contracts::wallet::v1::wallet_service_client::WalletServiceClient;
use bursar_contracts::wallet::v1::{
    CaptureHoldRequest, CloseWalletRequest, FreezeWalletRequest, GetHoldRequest,
    GetSpendingLimitsRequest, Hold, PlaceHoldRequest, SetCreditLimitRequest,
    SetSpendingLimitsRequest, SpendingLimits, SystemAccount, SystemPurpose, UnfreezeWalletRequest,
    VoidHoldRequest, Wallet,
};
use bursar_testkit::{Tokens, with_token};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::support::Fixture;

/// Clients with an operator's token.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) holds: HoldServiceClient<Channel>,
    pub(crate) wallets: WalletServiceClient<Channel>,
    pub(crate) token: String,
}

impl Desk {
    /// A desk at the fixture's service.
    pub(crate) fn of(fixture: &Fixture) -> Self {
        Self::at(fixture, fixture.service.channel())
    }

    /// A desk at another replica.
    pub(crate) fn at(fixture: &Fixture, channel: Channel) -> Self {
        Self {
            holds: HoldServiceClient::new(channel.clone()),
            wallets: WalletServiceClient::new(channel),
            token: operator(&fixture.tokens),
        }
    }

    /// A call with a key of its own.
    pub(crate) fn call<T>(&self, message: T) -> Request<T> {
        self.keyed(message, &Uuid::now_v7().to_string())
    }

    /// A call with this key.
    pub(crate) fn keyed<T>(&self, message: T, key: &str) -> Request<T> {
        keyed(message, &self.token, key)
    }

    pub(crate) async fn place(&self, request: PlaceHoldRequest) -> Result<Hold, Status> {
        let answer = self.holds.clone().place_hold(self.call(request)).await?;
        Ok(answer.into_inner().hold.expect("a hold"))
    }

    pub(crate) async fn capture(&self, request: CaptureHoldRequest) -> Result<Hold, Status> {
        let answer = self.holds.clone().capture_hold(self.call(request)).await?;
        Ok(answer.into_inner().hold.expect("a hold"))
    }

    pub(crate) async fn void(&self, hold: &Hold) -> Result<Hold, Status> {
        let request = self.call(void(hold));
        let answer = self.holds.clone().void_hold(request).await?;
        Ok(answer.into_inner().hold.expect("a hold"))
    }

    pub(crate) async fn hold(&self, hold: &Hold) -> Hold {
        let request = GetHoldRequest {
            hold_id: hold.hold_id.clone(),
        };
        let request = with_token(request, &self.token);
        let answer = self.holds.clone().get_hold(request).await;
        let answer = answer.expect("an operator reads every hold");
        answer.into_inner().hold.expect("a hold")
    }

    pub(crate) async fn freeze(&self, wallet: &Wallet) -> Result<Wallet, Status> {
        let request = self.call(FreezeWalletRequest {
            wallet_id: wallet.wallet_id.clone(),
            reason: "a court order".to_owned(),
        });
        let answer = self.wallets.clone().freeze_wallet(request).await?;
        Ok(answer.into_inner().wallet.expect("a wallet"))
    }

    pub(crate) async fn unfreeze(&self, wallet: &Wallet) -> Result<Wallet, Status> {
        let request = self.call(UnfreezeWalletRequest {
            wallet_id: wallet.wallet_id.clone(),
            reason: "the order was lifted".to_owned(),
        });
        let answer = self.wallets.clone().unfreeze_wallet(request).await?;
        Ok(answer.into_inner().wallet.expect("a wallet"))
    }

    pub(crate) async fn set_credit(&self, wallet: &Wallet, limit: i64) -> Result<Wallet, Status> {
        let request = self.call(SetCreditLimitRequest {
            wallet_id: wallet.wallet_id.clone(),
            credit_limit_minor: limit,
        });
        let answer = self.wallets.clone().set_credit_limit(request).await?;
        Ok(answer.into_inner().wallet.expect("a wallet"))
    }

    pub(crate) async fn set_limits(
        &self,
        wallet: &Wallet,
        [single, daily, monthly]: [Option<i64>; 3],
    ) -> Result<SpendingLimits, Status> {
        let request = self.call(SetSpendingLimitsRequest {
            wallet_id: wallet.wallet_id.clone(),
            single_minor: single,
            daily_minor: daily,
            monthly_minor: monthly,
        });
        let answer = self.wallets.clone().set_spending_limits(request).await?;
        Ok(answer.into_inner().limits.expect("limits"))
    }

    pub(crate) async fn limits(&self, wallet: &Wallet) -> SpendingLimits {
        let request = GetSpendingLimitsRequest {
            wallet_id: wallet.wallet_id.clone(),
        };
        let request = with_token(request, &self.token);
        let answer = self.wallets.clone().get_spending_limits(request).await;
        let answer = answer.expect("an operator reads all limits");
        answer.into_inner().limits.expect("limits")
    }
}

/// A token of an operator who may place holds and decide about wallets.
pub(crate) fn operator(tokens: &Tokens) -> String {
    let mut claims = Tokens::user_claims(UserId::generate());
    claims.permissions = ["*:read:any", "hold:*:any", "wallet:*:any"]
        .map(str::to_owned)
        .to_vec();
    tokens.mint(claims)
}

/// A token of a user with one permission besides every user's.
pub(crate) fn user_with(tokens: &Tokens, user: UserId, permission: &str) -> String {
    let mut claims = Tokens::user_claims(user);
    claims.permissions.push(permission.to_owned());
    tokens.mint(claims)
}

/// Closes a wallet as its owner.
pub(crate) async fn close(fixture: &Fixture, wallet: &Wallet) -> Result<Wallet, Status> {
    let owner: UserId = wallet.owner_user_id.parse().expect("a user");
    let request = CloseWalletRequest {
        wallet_id: wallet.wallet_id.clone(),
    };
    let request = with_token(request, &fixture.tokens.user(owner));
    let answer = fixture.wallets().close_wallet(request).await?;
    Ok(answer.into_inner().wallet.expect("a wallet"))
}

/// A call with a token and a key.
pub(crate) fn keyed<T>(message: T, token: &str, key: &str) -> Request<T> {
    let mut request = with_token(message, token);
    let value = key.parse().expect("a key is visible ASCII");
    request.metadata_mut().insert("idempotency-key", value);
    request
}

/// Whether an answer is a repetition.
pub(crate) fn is_replay<T>(result: &Result<Response<T>, Status>) -> bool {
    let metadata = match result {
        Ok(response) => response.metadata(),
        Err(status) => status.metadata(),
    };
    metadata.contains_key("idempotency-replayed")
}

pub(crate) fn money(currency: &str, minor_units: i64) -> Money {
    Money {
        currency_code: currency.to_owned(),
        minor_units,
    }
}

/// A hold of this much on a wallet, without an expiry.
pub(crate) fn place(wallet: &Wallet, amount: i64) -> PlaceHoldRequest {
    PlaceHoldRequest {
        wallet_id: wallet.wallet_id.clone(),
        amount: Some(money(&wallet.currency_code, amount)),
        description: "room 12".to_owned(),
        ..PlaceHoldRequest::default()
    }
}

/// A capture of this much, or of all that remains, into a wallet.
pub(crate) fn capture(hold: &Hold, amount: Option<i64>, to: &Wallet) -> CaptureHoldRequest {
    CaptureHoldRequest {
        hold_id: hold.hold_id.clone(),
        amount: amount.map(|amount| money(&hold.currency_code, amount)),
        r#final: false,
        to_wallet_id: to.wallet_id.clone(),
        to_system: None,
    }
}

/// The same, and what is left goes back.
pub(crate) fn final_capture(hold: &Hold, amount: Option<i64>, to: &Wallet) -> CaptureHoldRequest {
    CaptureHoldRequest {
        r#final: true,
        ..capture(hold, amount, to)
    }
}

/// A capture into the platform's wallet of fees.
pub(crate) fn capture_fee(hold: &Hold, amount: Option<i64>) -> CaptureHoldRequest {
    CaptureHoldRequest {
        hold_id: hold.hold_id.clone(),
        amount: amount.map(|amount| money(&hold.currency_code, amount)),
        r#final: false,
        to_wallet_id: String::new(),
        to_system: Some(SystemAccount {
            purpose: SystemPurpose::Fees.into(),
            name: String::new(),
            currency_code: hold.currency_code.clone(),
        }),
    }
}

pub(crate) fn void(hold: &Hold) -> VoidHoldRequest {
    VoidHoldRequest {
        hold_id: hold.hold_id.clone(),
    }
}

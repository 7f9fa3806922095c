//! The JSON of the Xpress Wallet API, as far as it matters here. Balances come
//! along in naira; they are not read.

use serde::{Deserialize, Serialize};

use super::super::http::plausible;
use super::super::{AccountHolder, OpenedAccount};

/// The bank where an answer names none.
const BANK: &str = "Providus Bank";

/// `POST /wallet`: a customer and a wallet at once.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateForm<'a> {
    bvn: &'a str,
    first_name: &'a str,
    last_name: &'a str,
    date_of_birth: &'a str,
    phone_number: &'a str,
    email: &'a str,
    address: &'a str,
    metadata: &'a Metadata,
}

impl<'a> CreateForm<'a> {
    pub(super) fn of(holder: &'a AccountHolder, metadata: &'a Metadata) -> Self {
        Self {
            bvn: &holder.bvn,
            first_name: &holder.first_name,
            last_name: &holder.last_name,
            date_of_birth: &holder.date_of_birth,
            phone_number: &holder.phone_number,
            email: &holder.email,
            address: &holder.address,
            metadata,
        }
    }
}

/// What we attach to a customer, and are shown again.
#[derive(Serialize, Deserialize)]
pub(super) struct Metadata {
    /// Our reference of the request.
    #[serde(default)]
    pub(super) reference: String,
    /// The wallet that the account is for.
    #[serde(default)]
    pub(super) wallet_id: String,
}

/// The answer to `POST /wallet`.
#[derive(Deserialize)]
pub(super) struct OpenedForm {
    pub(super) wallet: Wallet,
}

/// The answer to a question about a customer.
#[derive(Deserialize)]
pub(super) struct CustomerForm {
    pub(super) customer: Customer,
}

/// A customer. The search by phone number shows fewer fields than the customer
/// itself.
#[derive(Default, Deserialize)]
pub(super) struct Customer {
    pub(super) id: String,
    pub(super) email: Option<String>,
    pub(super) metadata: Option<Metadata>,
}

/// The answer to a question about a customer's wallet.
#[derive(Deserialize)]
pub(super) struct WalletForm {
    pub(super) wallet: Wallet,
}

/// A wallet of the provider's, which has the account.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wallet {
    account_number: String,
    #[serde(default)]
    account_name: String,
    bank_name: Option<String>,
    bank_code: Option<String>,
}

impl Wallet {
    /// Its account, if that is one.
    pub(super) fn account(self) -> Option<OpenedAccount> {
        plausible(OpenedAccount {
            number: self.account_number,
            name: self.account_name,
            bank_name: self.bank_name.unwrap_or_else(|| BANK.to_owned()),
            bank_code: self.bank_code.unwrap_or_default(),
        })
    }
}

/// A refusal: `status` is false.
#[derive(Deserialize)]
pub(super) struct RefusalForm {
    pub(super) status: bool,
}

//! The JSON of the Xpress Wallet API, as far as it matters here.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::naira;

/// The longest name of an account, in bytes.
const MAX_NAME: usize = 200;
/// The longest reference of the provider's, in bytes.
const MAX_REFERENCE: usize = 128;

/// `POST /transfer/bank`: out of the merchant's own wallet to a bank account.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TransferForm<'a> {
    /// In naira.
    pub(super) amount: Box<RawValue>,
    pub(super) sort_code: &'a str,
    pub(super) account_number: &'a str,
    pub(super) account_name: &'a str,
    /// What the payee reads.
    pub(super) narration: String,
    pub(super) metadata: Metadata<'a>,
}

/// What we attach to a transfer, and are shown again.
#[derive(Serialize, Deserialize)]
pub(super) struct Metadata<'a> {
    /// Our name for it.
    #[serde(borrow)]
    pub(super) reference: Cow<'a, str>,
}

/// The answer to a transfer.
#[derive(Deserialize)]
pub(super) struct TransferredForm {
    status: bool,
    transfer: Transferred,
}

#[derive(Deserialize)]
struct Transferred {
    /// In naira; charges are told apart from it.
    amount: Box<RawValue>,
    reference: String,
    metadata: Option<TransferredMetadata>,
}

#[derive(Deserialize)]
struct TransferredMetadata {
    reference: Option<String>,
}

/// A transfer that was made.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Made {
    /// The provider's own id for it.
    pub(super) reference: String,
    /// How much was paid, in kobo.
    pub(super) amount_minor: i64,
}

impl TransferredForm {
    /// What was made; `None` when it does not say so, or is about something else.
    pub(super) fn made(self, ours: &str) -> Option<Made> {
        let transfer = self.transfer;
        let told = transfer.metadata.and_then(|metadata| metadata.reference);
        let is_ours = told.is_none_or(|told| told == ours);
        let is_reference = (1..=MAX_REFERENCE).contains(&transfer.reference.len())
            && transfer
                .reference
                .bytes()
                .all(|byte| byte.is_ascii_graphic());
        if !self.status || !is_ours || !is_reference {
            return None;
        }
        Some(Made {
            amount_minor: naira::to_minor(&transfer.amount)?,
            reference: transfer.reference,
        })
    }
}

/// The answer to a name enquiry.
#[derive(Deserialize)]
pub(super) struct DetailsForm {
    account: Details,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    account_name: String,
    account_number: String,
}

impl DetailsForm {
    /// The name; `None` when it is none, or another account's.
    pub(super) fn name_of(self, number: &str) -> Option<String> {
        let name = self.account.account_name.trim();
        let is_name = (1..=MAX_NAME).contains(&name.len()) && !name.contains('\0');
        (is_name && self.account.account_number == number).then(|| name.to_owned())
    }
}

/// A refusal: `status` is false.
#[derive(Deserialize)]
pub(super) struct RefusalForm {
    pub(super) status: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn made(answer: &Value) -> Option<Made> {
        let form: TransferredForm = serde_json::from_str(&answer.to_string()).ok()?;
        form.made("txn_1")
    }

    fn answer() -> Value {
        json!({
            "status": true,
            "message": "Transaction successfully completed.",
            "transfer": {
                "amount": 100.5, "charges": 10.5, "vat": 0.7875, "total": 111.7875,
                "reference": "Lf9PAUXREbIyUM2tKU1nGJP2W3vxpLV5s18R",
                "metadata": {"reference": "txn_1"}, "sessionId": "965755343713",
                "destination": "0167421242/000013", "transactionReference": "0496626196169490",
                "description": "Transfer of NGN 100.5",
            },
        })
    }

    /// A transfer as the provider tells it is read, with or without what we attached.
    #[test]
    fn transfers_are_read() {
        let expected = Made {
            reference: "Lf9PAUXREbIyUM2tKU1nGJP2W3vxpLV5s18R".to_owned(),
            amount_minor: 10_050,
        };
        assert_eq!(made(&answer()), Some(expected));
        for metadata in [json!(null), json!({})] {
            let mut answer = answer();
            answer["transfer"]["metadata"] = metadata;
            assert!(made(&answer).is_some());
        }
    }

    /// Whatever does not say that our transfer was made is not taken for that.
    #[test]
    fn other_answers_say_nothing() {
        let wrong = [
            ("/status", json!(false)),
            ("/transfer/metadata/reference", json!("txn_2")),
            ("/transfer/reference", json!("")),
            ("/transfer/reference", json!("a b")),
            ("/transfer/reference", json!("x".repeat(129))),
            ("/transfer/amount", json!(null)),
            ("/transfer/amount", json!(100.505)),
            ("/transfer/amount", json!(-100)),
            ("/transfer", json!({})),
        ];
        for (path, value) in wrong {
            let mut answer = answer();
            *answer.pointer_mut(path).expect("a field") = value.clone();
            assert_eq!(made(&answer), None, "{path} {value}");
        }
    }

    /// A name is that of the account that was asked for.
    #[test]
    fn names_are_read() {
        let name = |name: &str, number: &str| {
            let answer = json!({"status": true, "account": {
                "bankCode": "000013", "accountName": name, "accountNumber": number,
            }});
            let form: DetailsForm = serde_json::from_str(&answer.to_string()).expect("the form");
            form.name_of("0167421242")
        };
        assert_eq!(name(" ADA OBI ", "0167421242").as_deref(), Some("ADA OBI"));
        assert_eq!(name("ADA OBI", "0167421243"), None);
        assert_eq!(name(" ", "0167421242"), None);
        assert_eq!(name(&"A".repeat(201), "0167421242"), None);
    }
}

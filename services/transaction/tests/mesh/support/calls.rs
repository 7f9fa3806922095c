//! Requests and what is read from errors.

use bursar_contracts::transaction::v1::{
    CreateDepositRequest, CreateTransferRequest, CreateWithdrawalRequest,
};
use bursar_contracts::r#type::v1::Money;
use bursar_status::StatusExt;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};

pub(crate) fn euros(minor_units: i64) -> Option<Money> {
    Some(Money {
        currency_code: "EUR".to_owned(),
        minor_units,
    })
}

pub(crate) fn transfer(from: &str, to: &str, minor_units: i64) -> CreateTransferRequest {
    CreateTransferRequest {
        from_wallet_id: from.to_owned(),
        to_wallet_id: to.to_owned(),
        amount: euros(minor_units),
        description: "lunch".to_owned(),
        quote_id: String::new(),
    }
}

pub(crate) fn deposit(wallet: &str, minor_units: i64) -> CreateDepositRequest {
    CreateDepositRequest {
        wallet_id: wallet.to_owned(),
        amount: euros(minor_units),
        provider: "sandbox".to_owned(),
        description: String::new(),
        quote_id: String::new(),
        payment_method: String::new(),
    }
}

pub(crate) fn withdrawal(wallet: &str, minor_units: i64) -> CreateWithdrawalRequest {
    CreateWithdrawalRequest {
        wallet_id: wallet.to_owned(),
        amount: euros(minor_units),
        provider: "sandbox".to_owned(),
        description: String::new(),
        quote_id: String::new(),
        payout_account_id: String::new(),
    }
}

/// Puts an idempotency key into a request.
pub(crate) fn keyed<T>(mut request: Request<T>, key: &str) -> Request<T> {
    let value = key.parse().expect("the tests' keys are visible ASCII");
    request.metadata_mut().insert("idempotency-key", value);
    request
}

pub(crate) fn is_replayed(metadata: &MetadataMap) -> bool {
    metadata
        .get("idempotency-replayed")
        .is_some_and(|value| value == "true")
}

/// What a test asks of an error.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) code: Code,
    pub(crate) reason: String,
    pub(crate) transaction_id: Option<String>,
    pub(crate) decline_code: Option<String>,
    pub(crate) fields: Vec<String>,
    pub(crate) preconditions: Vec<String>,
    pub(crate) retries: bool,
}

pub(crate) fn told(status: &Status) -> Told {
    let details = status.get_error_details();
    let info = details.error_info().expect("every error has an ErrorInfo");
    let fields = details.bad_request().map(|bad| {
        let fields = bad.field_violations.iter();
        fields.map(|violation| violation.field.clone()).collect()
    });
    let preconditions = details.precondition_failure().map(|failure| {
        let kinds = failure.violations.iter();
        kinds.map(|violation| violation.r#type.clone()).collect()
    });
    Told {
        code: status.code(),
        reason: info.reason.clone(),
        transaction_id: info.metadata.get("transaction_id").cloned(),
        decline_code: info.metadata.get("decline_code").cloned(),
        fields: fields.unwrap_or_default(),
        preconditions: preconditions.unwrap_or_default(),
        retries: details.retry_info().is_some(),
    }
}

/// The code and the reason of an error, the two things every test looks at.
pub(crate) fn refusal(status: &Status) -> (Code, String) {
    let told = told(status);
    (told.code, told.reason)
}

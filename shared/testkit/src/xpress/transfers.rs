//! Transfers to banks, and whose an account there is.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{BANK, Fault, Xpress, refuse};

/// The answer to a transfer, in which the amount stands as it was sent.
fn made(form: &Value, amount: &str, number: usize) -> Response {
    let answer = json!({
        "status": true,
        "message": "Transaction successfully completed.",
        "transfer": {
            "amount": 0, "charges": 10.5, "vat": 0.7875,
            "reference": format!("XPW{number:09}"),
            "metadata": form["metadata"], "sessionId": "965755343713226737061061390325",
            "transactionReference": format!("{number:016}"),
        },
    });
    let text = answer
        .to_string()
        .replace("\"amount\":0", &format!("\"amount\":{amount}"));
    ([("content-type", "application/json")], text).into_response()
}

pub(super) async fn transfer(
    State(xpress): State<Xpress>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let form: Value = serde_json::from_str(&body).expect("JSON is sent");
    let (fault, number) = {
        let mut books = match xpress.enter("transfer", &headers) {
            Ok(books) => books,
            Err(refused) => return refused,
        };
        let fault = books.faults.pop_front();
        if fault != Some(Fault::Busy) {
            books.asked.push(form.clone());
        }
        if let Some(refused) = fault.and_then(|fault| fault.refusal("Insufficient balance")) {
            return refused;
        }
        books.paid.push(body.clone());
        (fault, books.paid.len())
    };
    if let Some(fault) = fault
        && let Some(garbled) = fault.garbled().await
    {
        return garbled;
    }
    // As text, so that no number of naira is rounded here.
    let (_, rest) = body.split_once("\"amount\":").expect("an amount is sent");
    let end = rest.find([',', '}']).expect("the amount ends");
    match fault {
        Some(Fault::OtherAmount) => made(&form, "1.01", number),
        _ => made(&form, &rest[..end], number),
    }
}

pub(super) async fn details(
    State(xpress): State<Xpress>,
    headers: HeaderMap,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let books = match xpress.enter("details", &headers) {
        Ok(books) => books,
        Err(refused) => return refused,
    };
    if books.enquiries_fail {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let of = |name: &str| query.get(name).cloned().unwrap_or_default();
    if of("sortCode") != BANK {
        return refuse(StatusCode::NOT_FOUND, "Account not found");
    }
    Json(json!({"status": true, "account": {
        "bankCode": BANK, "accountName": "OBIORAH ADAEZE", "accountNumber": of("accountNumber"),
    }}))
    .into_response()
}

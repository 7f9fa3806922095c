//! Customers and the wallet that each of them has.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Books, Xpress, refuse};

fn shown_wallet(index: usize, form: &Value) -> Value {
    let name = |field: &str| form[field].as_str().unwrap_or_default().to_uppercase();
    json!({
        "id": format!("w-{index}"), "status": "ACTIVE", "walletType": "CUSTOMER",
        "bankName": "Providus Bank", "bankCode": "101",
        "accountNumber": format!("{:010}", 9_900_000_000_u64 + index as u64),
        "accountName": format!("{} {}", name("lastName"), name("firstName")),
        "bookedBalance": 0.0, "availableBalance": 0.0, "accountReference": "",
    })
}

fn shown_customer(index: usize, form: &Value, hides_metadata: bool) -> Value {
    let mut shown = json!({"id": format!("c-{index}"), "walletId": format!("w-{index}")});
    for field in ["firstName", "lastName", "phoneNumber", "email", "metadata"] {
        shown[field] = form[field].clone();
    }
    if hides_metadata {
        shown["metadata"] = Value::Null;
    }
    shown
}

pub(super) async fn open(
    State(xpress): State<Xpress>,
    headers: HeaderMap,
    Json(form): Json<Value>,
) -> Response {
    let (fault, answer) = {
        let mut books = match xpress.enter("open", &headers) {
            Ok(books) => books,
            Err(refused) => return refused,
        };
        let fault = books.faults.pop_front();
        if let Some(refused) = fault.and_then(|fault| fault.refusal("BVN does not match")) {
            return refused;
        }
        let is_known = |known: &Value| known["phoneNumber"] == form["phoneNumber"];
        if books.customers.iter().any(is_known) {
            return refuse(StatusCode::BAD_REQUEST, "Customer already exist.");
        }
        books.customers.push(form.clone());
        let index = books.customers.len() - 1;
        let answer = json!({
            "status": true,
            "customer": shown_customer(index, &form, books.hides_metadata),
            "wallet": shown_wallet(index, &form),
        });
        (fault, answer)
    };
    if let Some(fault) = fault
        && let Some(garbled) = fault.garbled().await
    {
        return garbled;
    }
    Json(answer).into_response()
}

pub(super) async fn by_phone(
    State(xpress): State<Xpress>,
    headers: HeaderMap,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let books = match xpress.enter("by_phone", &headers) {
        Ok(books) => books,
        Err(refused) => return refused,
    };
    let phone = query.get("phoneNumber").cloned().unwrap_or_default();
    let found = books
        .customers
        .iter()
        .position(|form| form["phoneNumber"] == phone);
    let Some(index) = found else {
        return refuse(StatusCode::NOT_FOUND, "Customer not found");
    };
    let form = &books.customers[index];
    // The search shows less than the customer itself.
    Json(json!({"status": true, "customer": {
        "id": format!("c-{index}"), "firstName": form["firstName"], "lastName": form["lastName"],
        "walletId": format!("w-{index}"),
    }}))
    .into_response()
}

/// The customer of an id, by its place.
fn place(books: &Books, id: &str) -> Option<usize> {
    let index = id.strip_prefix("c-")?.parse().ok()?;
    (index < books.customers.len()).then_some(index)
}

pub(super) async fn customer(
    State(xpress): State<Xpress>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let books = match xpress.enter("customer", &headers) {
        Ok(books) => books,
        Err(refused) => return refused,
    };
    match place(&books, &id) {
        Some(index) => {
            let shown = shown_customer(index, &books.customers[index], books.hides_metadata);
            Json(json!({"status": true, "customer": shown})).into_response()
        }
        None => refuse(StatusCode::NOT_FOUND, "Customer not found"),
    }
}

pub(super) async fn wallet(
    State(xpress): State<Xpress>,
    headers: HeaderMap,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let books = match xpress.enter("wallet", &headers) {
        Ok(books) => books,
        Err(refused) => return refused,
    };
    let id = query.get("customerId").cloned().unwrap_or_default();
    match place(&books, &id) {
        Some(index) => {
            let shown = shown_wallet(index, &books.customers[index]);
            Json(json!({"status": true, "wallet": shown})).into_response()
        }
        None => refuse(StatusCode::NOT_FOUND, "Wallet not found"),
    }
}

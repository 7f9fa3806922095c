//! A server that answers as the documentation of Xpress Wallet shows, with the
//! failures that a provider has. It listens on a real port.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(super) const EMAIL: &str = "merchant@example.com";
pub(super) const PASSWORD: &str = "open sesame, merchant";

/// What happens to a request to open a wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is opened, and no answer comes.
    SilentAfter,
    /// Nothing is opened, and the answer is 500.
    ErrorBefore,
    /// It is opened, and the answer is 502.
    ErrorAfter,
    /// It is opened, and the answer is no JSON.
    Malformed,
    /// Nothing is opened: 400.
    Decline,
}

#[derive(Default)]
pub(super) struct Books {
    /// The body of each customer's opening request.
    pub(super) customers: Vec<Value>,
    /// How often each call was made.
    pub(super) calls: BTreeMap<&'static str, u32>,
    /// What happens to the next openings.
    pub(super) faults: VecDeque<Fault>,
    /// How often tokens were got; they are numbered by it.
    session: u32,
    /// The number of the last tokens that have run out; every sign-in has tokens
    /// of its own, and those of another one stay good.
    expired_through: u32,
    /// Whether tokens can be renewed without signing in again.
    pub(super) cannot_renew: bool,
    /// Whether customers are shown without their metadata.
    pub(super) hides_metadata: bool,
}

/// The server.
#[derive(Clone, Default)]
pub(super) struct Xpress(Arc<Mutex<Books>>);

impl Xpress {
    /// Starts it; its address.
    pub(super) async fn start() -> (Self, String) {
        let xpress = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new()
            .route("/auth/login", post(login))
            .route("/auth/refresh/token", post(refresh))
            .route("/wallet", post(open))
            .route("/wallet/customer", get(wallet))
            .route("/customer/phone", get(by_phone))
            .route("/customer/{id}", get(customer))
            .with_state(xpress.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (xpress, url)
    }

    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().expect("no panic while it is held")
    }

    /// How often a call was made.
    pub(super) fn calls(&self, name: &'static str) -> u32 {
        self.books().calls.get(name).copied().unwrap_or_default()
    }

    /// Lets the tokens run out.
    pub(super) fn expire(&self) {
        let mut books = self.books();
        books.expired_through = books.session;
    }

    /// Counts a call, and refuses it without the tokens of a sign-in.
    #[expect(
        clippy::result_large_err,
        reason = "the refusal is the answer, which the caller passes on"
    )]
    fn enter(
        &self,
        name: &'static str,
        headers: &HeaderMap,
    ) -> Result<MutexGuard<'_, Books>, Response> {
        let mut books = self.books();
        *books.calls.entry(name).or_default() += 1;
        let number = |header: &str, kind: &str| -> Option<u32> {
            let text = headers.get(header)?.to_str().ok()?;
            text.strip_prefix(kind)?.parse().ok()
        };
        let good = books.expired_through + 1..=books.session;
        let access = number("x-access-token", "access-");
        if access.is_some_and(|access| good.contains(&access))
            && access == number("x-refresh-token", "refresh-")
        {
            Ok(books)
        } else {
            Err(refuse(StatusCode::UNAUTHORIZED, "Unauthorized"))
        }
    }
}

fn refuse(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"status": false, "message": message}))).into_response()
}

/// New tokens, in the headers.
fn tokens(books: &mut Books) -> Response {
    books.session += 1;
    let headers = [
        ("X-Access-Token", format!("access-{}", books.session)),
        ("X-Refresh-Token", format!("refresh-{}", books.session)),
    ];
    (headers, Json(json!({"status": true}))).into_response()
}

async fn login(State(xpress): State<Xpress>, Json(form): Json<Value>) -> Response {
    let mut books = xpress.books();
    *books.calls.entry("login").or_default() += 1;
    if form == json!({"email": EMAIL, "password": PASSWORD}) {
        tokens(&mut books)
    } else {
        refuse(StatusCode::BAD_REQUEST, "Invalid credentials")
    }
}

async fn refresh(State(xpress): State<Xpress>, headers: HeaderMap) -> Response {
    let mut books = xpress.books();
    *books.calls.entry("refresh").or_default() += 1;
    if books.cannot_renew || !headers.contains_key("x-refresh-token") {
        refuse(StatusCode::UNAUTHORIZED, "Unauthorized")
    } else {
        tokens(&mut books)
    }
}

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

async fn open(
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
        match fault {
            Some(Fault::ErrorBefore) => {
                return refuse(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong");
            }
            Some(Fault::Decline) => return refuse(StatusCode::BAD_REQUEST, "BVN does not match"),
            _ => {}
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
    match fault {
        Some(Fault::SilentAfter) => std::future::pending().await,
        Some(Fault::ErrorAfter) => StatusCode::BAD_GATEWAY.into_response(),
        Some(Fault::Malformed) => (StatusCode::OK, "<html>ok</html>").into_response(),
        Some(Fault::ErrorBefore | Fault::Decline) | None => Json(answer).into_response(),
    }
}

async fn by_phone(
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

async fn customer(
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

async fn wallet(
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

//! A server that answers as the documentation of Xpress Wallet shows, with the failures
//! that a provider has. It listens on a real port, and keeps books of what it paid.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(crate) const EMAIL: &str = "merchant@example.com";
pub(crate) const PASSWORD: &str = "open sesame, merchant";
/// The bank that has accounts; of others none is known.
pub(crate) const BANK: &str = "000013";

/// What happens to a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is made, and no answer comes.
    SilentAfter,
    /// It is made, and the answer is 502.
    ErrorAfter,
    /// It is made, and the answer is no JSON.
    Malformed,
    /// It is made of one kobo more.
    OtherAmount,
    /// It is not made, and the answer is 500.
    ErrorBefore,
    /// It is refused: 400.
    Decline,
    /// It is turned away: 429.
    Busy,
    /// Something in between refuses it: 400, in other words than the provider's.
    Foreign,
}

#[derive(Default)]
pub(crate) struct Books {
    /// The body of each transfer that was made, as it came.
    pub(crate) paid: Vec<String>,
    /// The bodies of all transfers that were let in, in the order in which they came.
    pub(crate) asked: Vec<Value>,
    /// How often each call was made.
    calls: BTreeMap<&'static str, u32>,
    /// What happens to the next transfers.
    pub(crate) faults: VecDeque<Fault>,
    /// Whether name enquiries are answered with 503.
    pub(crate) enquiries_fail: bool,
    /// How often tokens were got; they are numbered by it.
    session: u32,
    /// The number of the last tokens that have run out.
    expired_through: u32,
    /// Whether tokens can be renewed without signing in again.
    pub(crate) cannot_renew: bool,
}

/// The server.
#[derive(Clone, Default)]
pub(crate) struct Xpress(Arc<Mutex<Books>>);

impl Xpress {
    /// Starts it; its address.
    pub(crate) async fn start() -> (Self, String) {
        let xpress = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new()
            .route("/auth/login", post(login))
            .route("/auth/refresh/token", post(refresh))
            .route("/transfer/bank", post(transfer))
            .route("/transfer/account/details", get(details))
            .with_state(xpress.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (xpress, url)
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().expect("no panic while it is held")
    }

    /// Arranges what happens to the next transfer.
    pub(crate) fn fault(&self, fault: Fault) {
        self.books().faults.push_back(fault);
    }

    /// How often a call was made.
    pub(crate) fn calls(&self, name: &'static str) -> u32 {
        self.books().calls.get(name).copied().unwrap_or_default()
    }

    /// Lets the tokens run out.
    pub(crate) fn expire(&self) {
        let mut books = self.books();
        books.expired_through = books.session;
    }

    /// How often a transaction was paid.
    pub(crate) fn paid(&self, reference: &str) -> usize {
        let books = self.books();
        let paid = books.paid.iter();
        paid.filter(|body| body.contains(reference)).count()
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

async fn transfer(State(xpress): State<Xpress>, headers: HeaderMap, body: String) -> Response {
    let (fault, number) = {
        let mut books = match xpress.enter("transfer", &headers) {
            Ok(books) => books,
            Err(refused) => return refused,
        };
        let fault = books.faults.pop_front();
        if fault != Some(Fault::Busy) {
            let form = serde_json::from_str(&body).expect("JSON is sent");
            books.asked.push(form);
        }
        match fault {
            Some(Fault::ErrorBefore) => {
                return refuse(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong");
            }
            Some(Fault::Decline) => return refuse(StatusCode::BAD_REQUEST, "Insufficient balance"),
            Some(Fault::Busy) => return refuse(StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
            Some(Fault::Foreign) => {
                return (StatusCode::BAD_REQUEST, "<html>no</html>").into_response();
            }
            _ => {}
        }
        books.paid.push(body.clone());
        (fault, books.paid.len())
    };
    let form: Value = serde_json::from_str(&body).expect("JSON is sent");
    // As text, so that no number of naira is rounded here.
    let (_, rest) = body.split_once("\"amount\":").expect("an amount is sent");
    let end = rest.find([',', '}']).expect("the amount ends");
    let amount = &rest[..end];
    match fault {
        Some(Fault::SilentAfter) => std::future::pending().await,
        Some(Fault::ErrorAfter) => StatusCode::BAD_GATEWAY.into_response(),
        Some(Fault::Malformed) => (StatusCode::OK, "<html>ok</html>").into_response(),
        Some(Fault::OtherAmount) => made(&form, "1.01", number),
        _ => made(&form, amount, number),
    }
}

async fn details(
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

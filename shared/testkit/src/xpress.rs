//! A server that answers as the documentation of Xpress Wallet shows, with the failures
//! that a provider has. It listens on a real port, and keeps books of what it did.

mod transfers;
mod wallets;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// As whom the merchant signs in.
pub const EMAIL: &str = "merchant@example.com";
/// With what.
pub const PASSWORD: &str = "open sesame, merchant";
/// The bank that has accounts; of others none is known.
pub const BANK: &str = "000013";

/// What happens to a request to open a wallet, or to a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is done, and no answer comes.
    SilentAfter,
    /// It is done, and the answer is 502.
    ErrorAfter,
    /// It is done, and the answer is no JSON.
    Malformed,
    /// It is a transfer and is made of one kobo more.
    OtherAmount,
    /// It is not done, and the answer is 500.
    ErrorBefore,
    /// It is refused: 400.
    Decline,
    /// It is turned away: 429.
    Busy,
    /// Something in between refuses it: 400, in other words than the provider's.
    Foreign,
}

/// What the server knows.
#[derive(Default)]
pub struct Books {
    /// The body of each customer's opening request.
    pub customers: Vec<Value>,
    /// Whether customers are shown without their metadata.
    pub hides_metadata: bool,
    /// The body of each transfer that was made, as it came.
    pub paid: Vec<String>,
    /// The bodies of all transfers that were let in, in the order in which they came.
    pub asked: Vec<Value>,
    /// Whether name enquiries are answered with 503.
    pub enquiries_fail: bool,
    /// What happens to the next openings and transfers.
    pub faults: VecDeque<Fault>,
    /// Whether tokens can be renewed without signing in again.
    pub cannot_renew: bool,
    /// How often each call was made.
    calls: BTreeMap<&'static str, u32>,
    /// How often tokens were got; they are numbered by it.
    session: u32,
    /// The number of the last tokens that have run out; every sign-in has tokens of its
    /// own, and those of another one stay good.
    expired_through: u32,
}

/// The server.
#[derive(Clone, Default)]
pub struct Xpress(Arc<Mutex<Books>>);

impl Xpress {
    /// Starts it; its address.
    pub async fn start() -> (Self, String) {
        let xpress = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new()
            .route("/auth/login", post(login))
            .route("/auth/refresh/token", post(refresh))
            .route("/wallet", post(wallets::open))
            .route("/wallet/customer", get(wallets::wallet))
            .route("/customer/phone", get(wallets::by_phone))
            .route("/customer/{id}", get(wallets::customer))
            .route("/transfer/bank", post(transfers::transfer))
            .route("/transfer/account/details", get(transfers::details))
            .with_state(xpress.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (xpress, url)
    }

    /// What it knows, which stands still as long as somebody reads it.
    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().expect("no panic while it is held")
    }

    /// Arranges what happens to the next opening or transfer.
    pub fn fault(&self, fault: Fault) {
        self.books().faults.push_back(fault);
    }

    /// How often a call was made.
    pub fn calls(&self, name: &'static str) -> u32 {
        self.books().calls.get(name).copied().unwrap_or_default()
    }

    /// How often a transfer was made whose body has this text.
    pub fn paid(&self, reference: &str) -> usize {
        let books = self.books();
        let paid = books.paid.iter();
        paid.filter(|body| body.contains(reference)).count()
    }

    /// Lets the tokens run out.
    pub fn expire(&self) {
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

impl Fault {
    /// The answer when nothing is done; `None` when it is done all the same.
    fn refusal(self, declined: &str) -> Option<Response> {
        match self {
            Self::ErrorBefore => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Some(refuse(status, "Something went wrong"))
            }
            Self::Decline => Some(refuse(StatusCode::BAD_REQUEST, declined)),
            Self::Busy => Some(refuse(StatusCode::TOO_MANY_REQUESTS, "Too many requests")),
            Self::Foreign => Some((StatusCode::BAD_REQUEST, "<html>no</html>").into_response()),
            Self::SilentAfter | Self::ErrorAfter | Self::Malformed | Self::OtherAmount => None,
        }
    }

    /// The answer when it is done; `None` when it is the right one.
    async fn garbled(self) -> Option<Response> {
        match self {
            Self::SilentAfter => std::future::pending().await,
            Self::ErrorAfter => Some(StatusCode::BAD_GATEWAY.into_response()),
            Self::Malformed => Some((StatusCode::OK, "<html>ok</html>").into_response()),
            Self::OtherAmount | Self::ErrorBefore | Self::Decline | Self::Busy | Self::Foreign => {
                None
            }
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

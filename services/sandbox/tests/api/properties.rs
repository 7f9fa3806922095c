//! Properties of the books, for stories of random requests.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Value, json};

use crate::support::{Provider, authorization, capture, charge};

/// How many stories are told.
const CASES: u32 = 24;
/// How many sources each story has.
const SOURCES: usize = 3;
const CURRENCIES: [&str; 2] = ["EUR", "NGN"];

/// A request in a story. Sources are named by their numbers.
#[derive(Clone, Debug)]
enum Act {
    Charge {
        currency: usize,
        amount_minor: i64,
    },
    Payout {
        currency: usize,
        amount_minor: i64,
    },
    Refund {
        source: usize,
        amount_minor: i64,
        fails: bool,
    },
    Capture {
        source: usize,
        amount_minor: i64,
        fails: bool,
    },
    RefundCapture {
        source: usize,
        amount_minor: i64,
    },
    Void {
        source: usize,
    },
}

impl Act {
    fn amount_minor(&self) -> i64 {
        match self {
            Self::Charge { amount_minor, .. }
            | Self::Payout { amount_minor, .. }
            | Self::Refund { amount_minor, .. }
            | Self::Capture { amount_minor, .. }
            | Self::RefundCapture { amount_minor, .. } => *amount_minor,
            Self::Void { .. } => 0,
        }
    }
}

fn act() -> impl Strategy<Value = Act> {
    let (source, currency) = (0..SOURCES, 0..CURRENCIES.len());
    let amount = 1..500_i64;
    let fails = prop::bool::weighted(0.2);
    prop_oneof![
        (currency.clone(), amount.clone()).prop_map(|(currency, amount_minor)| Act::Charge {
            currency,
            amount_minor
        }),
        (currency, amount.clone()).prop_map(|(currency, amount_minor)| Act::Payout {
            currency,
            amount_minor
        }),
        (source.clone(), amount.clone(), fails).prop_map(|(source, amount_minor, fails)| {
            Act::Refund {
                source,
                amount_minor,
                fails,
            }
        }),
        (source.clone(), amount.clone(), fails).prop_map(|(source, amount_minor, fails)| {
            Act::Capture {
                source,
                amount_minor,
                fails,
            }
        }),
        (source.clone(), amount).prop_map(|(source, amount_minor)| Act::RefundCapture {
            source,
            amount_minor
        }),
        source.prop_map(|source| Act::Void { source }),
    ]
}

/// Requests that are sent at once, batch after batch.
fn story() -> impl Strategy<Value = Vec<Vec<Act>>> {
    prop::collection::vec(prop::collection::vec(act(), 1..8), 1..6)
}

/// What a story takes part in.
struct Teller<'a> {
    provider: &'a Provider,
    /// Starts every reference of the story.
    story: u32,
}

/// What succeeded: type, source, currency, amount.
type Done = (&'static str, String, String, i64);

/// What became of a request.
enum Told {
    Done(Done),
    /// It would have exceeded its source: source, amount.
    Exceeds(String, i64),
    /// It was declined on demand, or its source had been voided.
    Nothing,
}

impl Teller<'_> {
    fn name(&self, kind: &str, number: impl std::fmt::Display) -> String {
        format!("{kind}-{}-{number}", self.story)
    }

    /// The charges, authorisations and captures that the story draws on.
    async fn begin(&self) -> Vec<Done> {
        let mut done = Vec::new();
        for source in 0..SOURCES {
            let made = charge(&self.name("source", source), 1_000);
            self.provider.done("/v1/charges", made).await;
            done.push(("charge", String::new(), "EUR".to_owned(), 1_000));
            let made = authorization(&self.name("card", source), "tok_visa", 1_000);
            self.provider.done("/v1/authorizations", made).await;
            let taken = capture(&self.name("first", source), 300);
            let path = format!("/v1/authorizations/{}/captures", self.name("card", source));
            self.provider.done(&path, taken).await;
            done.push(("capture", self.name("card", source), "EUR".to_owned(), 300));
        }
        done
    }

    /// Sends a request, and tells what it did.
    async fn tell(&self, number: usize, act: &Act) -> Told {
        let reference = self.name("act", number);
        let sourced = |field: &str, source: &str, amount_minor: i64| {
            let mut body = json!({"reference": reference, "amount_minor": amount_minor});
            body[field] = json!(source);
            body
        };
        let (kind, path, source, body, fails) = match act {
            Act::Charge {
                currency,
                amount_minor,
            }
            | Act::Payout {
                currency,
                amount_minor,
            } => {
                let mut body = charge(&reference, *amount_minor);
                body["currency"] = json!(CURRENCIES[*currency]);
                match act {
                    Act::Charge { .. } => (
                        "charge",
                        "/v1/charges".to_owned(),
                        String::new(),
                        body,
                        false,
                    ),
                    _ => (
                        "payout",
                        "/v1/payouts".to_owned(),
                        String::new(),
                        body,
                        false,
                    ),
                }
            }
            Act::Refund {
                source,
                amount_minor,
                fails,
            } => {
                let source = self.name("source", source);
                let body = sourced("charge_reference", &source, *amount_minor);
                ("refund", "/v1/refunds".to_owned(), source, body, *fails)
            }
            Act::RefundCapture {
                source,
                amount_minor,
            } => {
                let source = self.name("first", source);
                let body = sourced("capture_reference", &source, *amount_minor);
                ("refund", "/v1/refunds".to_owned(), source, body, false)
            }
            Act::Capture {
                source,
                amount_minor,
                fails,
            } => {
                let source = self.name("card", source);
                let path = format!("/v1/authorizations/{source}/captures");
                (
                    "capture",
                    path,
                    source,
                    capture(&reference, *amount_minor),
                    *fails,
                )
            }
            Act::Void { source } => {
                let path = format!("/v1/authorizations/{}/void", self.name("card", source));
                let (status, _) = self.provider.post(&path, json!({})).await;
                assert!(matches!(status, 200 | 409), "{status}");
                return Told::Nothing;
            }
        };
        if fails {
            let fault = json!({"operation": kind, "kind": "decline", "reference": reference});
            self.provider.fault(fault).await;
        }
        let (status, made) = self.provider.post(&path, body).await;
        let code = made["error"]["code"].as_str();
        match (status, code) {
            (201, _) if fails => {
                assert_eq!(made["status"], "declined");
                Told::Nothing
            }
            (201, _) => {
                let currency = made["currency"].as_str().expect("a currency").to_owned();
                Told::Done((kind, source, currency, act.amount_minor()))
            }
            (409, Some("refund_exceeds_charge" | "capture_exceeds_authorization")) => {
                Told::Exceeds(source, act.amount_minor())
            }
            (409, Some("authorization_voided")) => Told::Nothing,
            _ => panic!("{status} {made}"),
        }
    }
}

fn number(row: &[String], column: usize) -> i128 {
    row[column].parse().expect("a number")
}

/// Balances by currency.
async fn balances(provider: &Provider) -> BTreeMap<String, i128> {
    let (_, balances) = provider.get("/v1/balances").await;
    let data = balances["data"].as_array().expect("a list").iter();
    let number = |value: &Value| i128::from(value.as_i64().expect("a number"));
    data.map(|one| {
        let currency = one["currency"].as_str().expect("a code").to_owned();
        (currency, number(&one["balance_minor"]))
    })
    .collect()
}

/// Whatever is asked for at once and in whatever order, refunds and captures
/// never exceed what they draw on, and the day's file has each success once,
/// trailers that are the sums of its lines, and exactly what the books gained.
#[test]
fn files_and_books_agree_and_draws_never_exceed() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let provider = runtime.block_on(Provider::start(&[
        ("BURSAR_SANDBOX_FEE_BASIS_POINTS", "275"),
        ("BURSAR_SANDBOX_FEE_FIXED_MINOR", "3"),
    ]));
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 20,
        ..Config::default()
    });
    let told = std::cell::Cell::new(0_u32);
    let outcome = runner.run(&story(), |story| {
        told.set(told.get() + 1);
        runtime.block_on(one_story(&provider, told.get(), &story));
        Ok::<_, TestCaseError>(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    runtime.block_on(provider.verify());
}

async fn one_story(provider: &Provider, story: u32, batches: &[Vec<Act>]) {
    // Each story has a day of its own.
    let day = time::macros::date!(2040 - 01 - 01) + time::Duration::days(i64::from(story));
    provider
        .clock(json!({"now": format!("{day}T12:00:00Z"), "frozen": true}))
        .await;
    let before = balances(provider).await;
    let teller = Teller { provider, story };
    let mut done = teller.begin().await;
    let mut exceeding = Vec::new();
    let mut number_of_act = 0;
    for batch in batches {
        let first = number_of_act;
        number_of_act += batch.len();
        let acts = batch.iter().enumerate();
        let calls = acts.map(|(index, act)| teller.tell(first + index, act));
        for told in futures::future::join_all(calls).await {
            match told {
                Told::Done(one) => done.push(one),
                Told::Exceeds(source, amount_minor) => exceeding.push((source, amount_minor)),
                Told::Nothing => {}
            }
        }
    }
    assert_within_sources(&teller, &done, &exceeding);

    let file = provider.file(&day.to_string()).await;
    let rows: Vec<Vec<String>> = file
        .lines()
        .skip(1)
        .map(|row| row.split(',').map(str::to_owned).collect())
        .collect();
    let (lines, totals): (Vec<_>, Vec<_>) = rows
        .iter()
        .partition(|row| !matches!(row[2].as_str(), "total" | "end"));
    let mut in_file: Vec<_> = lines
        .iter()
        .map(|row| (row[2].clone(), row[3].clone(), number(row, 4).abs()))
        .collect();
    let mut in_story: Vec<_> = done
        .iter()
        .map(|(kind, _, currency, amount)| {
            ((*kind).to_owned(), currency.clone(), i128::from(*amount))
        })
        .collect();
    in_file.sort();
    in_story.sort();
    assert_eq!(in_file, in_story);

    let after = balances(provider).await;
    for currency in CURRENCIES {
        let of_it: Vec<_> = lines.iter().filter(|row| row[3] == currency).collect();
        let sum = |column| of_it.iter().map(|row| number(row, column)).sum::<i128>();
        let trailer = totals
            .iter()
            .find(|row| row[3] == currency && row[2] == "total");
        assert_eq!(trailer.is_some(), !of_it.is_empty());
        if let Some(trailer) = trailer {
            assert_eq!(trailer[1], of_it.len().to_string());
            assert_eq!(
                [4, 5, 6].map(sum),
                [4, 5, 6].map(|column| number(trailer, column))
            );
        }
        let balance = |at: &BTreeMap<String, i128>| at.get(currency).copied().unwrap_or(0);
        assert_eq!(balance(&after) - balance(&before), sum(6), "{currency}");
    }
    assert_eq!(
        rows.last().map(|row| row[1].clone()),
        Some(lines.len().to_string())
    );
}

/// No source gave more than it has, and what was refused was more than was left:
/// at most as much is left in the end.
fn assert_within_sources(teller: &Teller<'_>, done: &[Done], exceeding: &[(String, i64)]) {
    let mut left: BTreeMap<String, i64> = BTreeMap::new();
    for source in 0..SOURCES {
        left.insert(teller.name("source", source), 1_000);
        left.insert(teller.name("card", source), 1_000);
        left.insert(teller.name("first", source), 300);
    }
    for (_, source, _, amount_minor) in done {
        if let Some(left) = left.get_mut(source) {
            *left -= amount_minor;
            assert!(*left >= 0, "{source}: {left}");
        }
    }
    for (source, amount_minor) in exceeding {
        assert!(left[source] < *amount_minor, "{source}: {amount_minor}");
    }
}

//! The guards around the real connector, against a real HTTP server.

mod scripted;
mod server;

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bursar_aip::id::TransactionId;
use bursar_money::{Currency, PositiveMoney};
use reqwest::Url;

use super::super::sandbox::Sandbox;
use super::super::{Access, Direction, Phase};
use super::*;
use server::{Mode, Server};
use tokio::task::JoinSet;

/// What the provider may take; short, because tests wait for it.
const DEADLINE: Duration = Duration::from_millis(250);
/// How long a breaker stays open.
const OPEN_FOR: Duration = Duration::from_millis(800);

/// Settings under which four calls are enough to judge by.
fn settings() -> GuardSettings {
    GuardSettings {
        retry: RetryPolicy::Fast,
        breaker: BreakerSettings {
            window: Duration::from_secs(60),
            minimum_calls: 4,
            failure_percent: 50,
            open_for: OPEN_FOR,
            probes: 2,
        },
        ..GuardSettings::default()
    }
}

/// Settings under which the breaker never opens.
fn unbreakable() -> GuardSettings {
    let mut settings = settings();
    settings.breaker.minimum_calls = u32::MAX;
    settings
}

/// The connector, with a count of the attempts that have ended.
struct Counted {
    connector: Sandbox,
    ended: Arc<AtomicUsize>,
}

#[async_trait]
impl PaymentProvider for Counted {
    fn terms(&self) -> Terms {
        self.connector.terms()
    }

    fn deadline(&self) -> Duration {
        self.connector.deadline()
    }

    async fn act(&self, order: &Order, timeout: Duration) -> Heard<Asked> {
        let heard = self.connector.act(order, timeout).await;
        self.ended.fetch_add(1, Ordering::SeqCst);
        heard
    }

    async fn look(&self, order: &Order, timeout: Duration) -> Heard<Looked> {
        let heard = self.connector.look(order, timeout).await;
        self.ended.fetch_add(1, Ordering::SeqCst);
        heard
    }

    fn read_callback(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: OffsetDateTime,
    ) -> Result<Callback, CallbackRefused> {
        self.connector.read_callback(headers, body, now)
    }
}

/// A provider under test.
struct Subject {
    guarded: Guarded,
    ended: Arc<AtomicUsize>,
}

impl Subject {
    /// How many attempts have ended.
    fn attempts(&self) -> usize {
        self.ended.load(Ordering::SeqCst)
    }
}

impl Deref for Subject {
    type Target = Guarded;

    fn deref(&self) -> &Guarded {
        &self.guarded
    }
}

fn guarded(server: &Server, settings: GuardSettings) -> Subject {
    let connector = Sandbox::new(Access {
        url: Url::parse(&server.url()).expect("an address"),
        api_key: "key".to_owned().into(),
        callback_secret: "secret".to_owned().into(),
        deadline: DEADLINE,
        terms: Terms {
            lookup_window: Duration::from_secs(60),
            give_up_after: Duration::from_secs(60),
        },
    });
    let ended = Arc::new(AtomicUsize::new(0));
    let counted = Counted {
        connector: connector.expect("a client"),
        ended: Arc::clone(&ended),
    };
    let name = "alpha".parse().expect("a name");
    Subject {
        guarded: Guarded::new(name, Box::new(counted), settings),
        ended,
    }
}

fn order() -> Order {
    let euro = Currency::parse("EUR").expect("a currency");
    Order {
        reference: TransactionId::generate(),
        direction: Direction::Charge,
        original: None,
        amount: PositiveMoney::new(euro, 100).expect("positive"),
        valid_until: now() + Duration::from_secs(30),
        wanted_until: now() + Duration::from_secs(60),
        payment_method: None,
        payee: None,
    }
}

fn phase(guarded: &Guarded) -> Phase {
    guarded.with_breaker(|breaker| breaker.phase())
}

async fn act(guarded: &Guarded) -> (Order, Asked) {
    let order = order();
    let asked = guarded.act(&order, DEADLINE).await;
    (order, asked)
}

/// Waits until the breaker lets a call through again; all it takes is time.
async fn until_choosable(guarded: &Guarded) {
    while !guarded.is_choosable() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Brings the breaker to open by a server that does not answer.
async fn open(guarded: &Guarded, server: &Server, mode: Mode) {
    server.set(mode).await;
    while phase(guarded) != Phase::Open {
        let (order, asked) = act(guarded).await;
        assert!(!matches!(asked, Asked::Answered(_)), "{asked:?}");
        assert!(server.posted(&order) <= 1, "sent twice");
    }
}

/// A provider that hangs, fails or is gone opens its breaker; then nothing is
/// sent, not even a question; after its time a few calls try, and close it.
#[tokio::test]
async fn a_breaker_opens_and_closes_again() {
    for mode in [Mode::Hangs, Mode::Fails(503), Mode::HangsUp, Mode::Refuses] {
        let server = Server::start().await;
        let guarded = guarded(&server, settings());
        assert!(matches!(act(&guarded).await.1, Asked::Answered(_)));
        open(&guarded, &server, mode).await;
        assert!(!guarded.is_choosable());

        server.set(Mode::Answers).await;
        let seen = server.requests();
        let (refused, asked) = act(&guarded).await;
        assert_eq!(asked, Asked::NotSent, "{mode:?}");
        assert_eq!(guarded.look(&refused, DEADLINE).await, Looked::Unanswered);
        assert_eq!(
            server.requests(),
            seen,
            "{mode:?}: an open breaker sends nothing"
        );

        until_choosable(&guarded).await;
        assert!(matches!(act(&guarded).await.1, Asked::Answered(_)));
        assert_eq!(phase(&guarded), Phase::HalfOpen, "{mode:?}");
        assert!(matches!(act(&guarded).await.1, Asked::Answered(_)));
        assert_eq!(phase(&guarded), Phase::Closed, "{mode:?}");
    }
}

/// A provider that is still unwell when it is tried is left alone again.
#[tokio::test]
async fn a_failing_probe_opens_it_again() {
    let server = Server::start().await;
    let guarded = guarded(&server, settings());
    open(&guarded, &server, Mode::Fails(500)).await;
    until_choosable(&guarded).await;
    let (_, asked) = act(&guarded).await;
    assert!(matches!(asked, Asked::Lost { .. }), "{asked:?}");
    assert_eq!(phase(&guarded), Phase::Open);
    assert_eq!(act(&guarded).await.1, Asked::NotSent);
}

/// Half-open, no more calls are let through at once than there are probes. A
/// question that is given up half-way leaves its place to the next one.
#[tokio::test]
async fn probes_are_bounded() {
    let server = Server::start().await;
    let guarded = guarded(&server, settings());
    open(&guarded, &server, Mode::Fails(500)).await;
    until_choosable(&guarded).await;
    server.set(Mode::Hangs).await;
    let before = server.requests();
    let orders = [order(), order(), order()];
    {
        let [first, second, third] = &orders;
        let hanging = async {
            tokio::join!(
                guarded.look(first, DEADLINE * 20),
                guarded.look(second, DEADLINE * 20)
            )
        };
        let refused = async {
            server.until_requests(before + 2).await;
            guarded.look(third, DEADLINE).await
        };
        tokio::select! {
            _ = hanging => panic!("nothing is answered"),
            looked = refused => assert_eq!(looked, Looked::Unanswered),
        }
    }
    assert_eq!(server.requests(), before + 2, "the third one was not sent");
    assert_eq!(phase(&guarded), Phase::HalfOpen);
    server.set(Mode::Answers).await;
    for order in &orders[..2] {
        assert_eq!(guarded.look(order, DEADLINE).await, Looked::NotFound);
    }
    assert_eq!(phase(&guarded), Phase::Closed);
}

/// Declines and other answers of 4xx never open a breaker, however many: they
/// say nothing about the provider's health.
#[tokio::test]
async fn declines_never_open_it() {
    let server = Server::start().await;
    let guarded = guarded(&server, settings());
    for status in [400, 401, 404, 409, 410, 422, 429] {
        server.set(Mode::Fails(status)).await;
        for _ in 0..5 {
            let (order, _) = act(&guarded).await;
            assert_eq!(server.posted(&order), 1, "{status} is not tried again");
        }
        assert_eq!(phase(&guarded), Phase::Closed, "{status}");
    }
}

/// Callers in a hurry do not open a breaker for everybody: a provider that was
/// not given the time it may take has not failed.
#[tokio::test]
async fn hurry_does_not_open_it() {
    let server = Server::start().await;
    let guarded = guarded(&server, settings());
    server.set(Mode::Hangs).await;
    for _ in 0..8 {
        let asked = guarded.act(&order(), DEADLINE / 10).await;
        assert!(matches!(asked, Asked::Lost { .. }), "{asked:?}");
    }
    assert_eq!(phase(&guarded), Phase::Closed);
}

/// While connections are refused the call itself tries again, so a provider that
/// comes back in time is reached; and the request arrives once.
#[tokio::test]
async fn refused_connections_are_tried_again() {
    let server = Server::start().await;
    let mut settings = unbreakable();
    settings.retry = RetryPolicy::Slow;
    let guarded = guarded(&server, settings);
    server.set(Mode::Refuses).await;
    let order = order();
    let comes_back = async {
        // The first attempt has failed once it is counted.
        while guarded.attempts() < 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.set(Mode::Answers).await;
    };
    let (asked, ()) = tokio::join!(guarded.act(&order, Duration::from_secs(5)), comes_back);
    assert!(matches!(asked, Asked::Answered(_)), "{asked:?}");
    assert_eq!(server.posted(&order), 1);
    assert_eq!(guarded.attempts(), 2);
}

/// A question is asked again when it was not answered, and the policy's attempts
/// are all that are made.
#[tokio::test]
async fn questions_are_asked_again() {
    let server = Server::start().await;
    let guarded = guarded(&server, unbreakable());
    server.set(Mode::Fails(502)).await;
    let looked = guarded.look(&order(), Duration::from_secs(5)).await;
    assert_eq!(looked, Looked::Unanswered);
    assert_eq!(server.requests(), 4);
}

/// A server that changes its mind all the time, and callers who never wait: what
/// is told as not sent never arrived, and nothing arrived twice.
#[tokio::test]
async fn nothing_is_sent_twice() {
    let server = Server::start().await;
    let guarded = Arc::new(guarded(&server, unbreakable()));
    let flapping = async {
        // The long time is longer than all attempts of a call take.
        let modes = [
            (Mode::Answers, 30),
            (Mode::Refuses, 30),
            (Mode::HangsUp, 30),
            (Mode::Refuses, 60),
            (Mode::Fails(500), 30),
            (Mode::Refuses, 400),
            (Mode::Hangs, 30),
            (Mode::Fails(429), 30),
        ];
        for (mode, ms) in modes.into_iter().cycle() {
            server.set(mode).await;
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
    };
    let calling = async {
        let mut told = Vec::new();
        while !everything_happened(&told, guarded.attempts()) {
            let mut calls = JoinSet::new();
            for _ in 0..20 {
                let guarded = Arc::clone(&guarded);
                calls.spawn(async move { act(&guarded).await });
            }
            told.extend(calls.join_all().await);
        }
        told
    };
    let told = tokio::select! {
        () = flapping => panic!("it flaps for ever"),
        told = calling => told,
    };
    let turned_away = server.turned_away();
    for (order, asked) in &told {
        let posted = server.posted(order);
        match asked {
            Asked::Answered(_) => assert_eq!(posted, 1),
            Asked::NotSent if turned_away.contains(&order.reference.to_string()) => {
                assert_eq!(posted, 1);
            }
            Asked::NotSent => assert_eq!(posted, 0, "told as not sent, and it arrived"),
            Asked::Lost { .. } => assert!(posted <= 1, "sent twice"),
        }
    }
}

/// Whether enough calls of every outcome were told, and some were tried again.
fn everything_happened(told: &[(Order, Asked)], attempts: usize) -> bool {
    let enough = |is: fn(&Asked) -> bool| told.iter().filter(|(_, asked)| is(asked)).count() >= 20;
    enough(|asked| matches!(asked, Asked::Answered(_)))
        && enough(|asked| matches!(asked, Asked::NotSent))
        && enough(|asked| matches!(asked, Asked::Lost { .. }))
        && attempts > told.len()
}

/// Requests that hang fill their own places and no others: a further one is not
/// sent, at once, and questions are still answered.
#[tokio::test]
async fn a_bulkhead_is_full_at_once() {
    let server = Server::start().await;
    let mut settings = unbreakable();
    settings.bulkhead = BulkheadSettings {
        acting: 2,
        looking: 1,
    };
    let guarded = guarded(&server, settings);
    server.set(Mode::HangsActing).await;
    let orders = [order(), order(), order()];
    let [first, second, third] = &orders;
    let hanging = async {
        tokio::join!(
            guarded.act(first, DEADLINE * 40),
            guarded.act(second, DEADLINE * 40)
        )
    };
    let others = async {
        server.until_requests(2).await;
        assert_eq!(guarded.act(third, DEADLINE).await, Asked::NotSent);
        assert_eq!(server.posted(third), 0);
        assert_eq!(guarded.look(third, DEADLINE).await, Looked::NotFound);
    };
    tokio::select! {
        _ = hanging => panic!("nothing is answered"),
        () = others => {}
    }
    server.set(Mode::Answers).await;
    let (_, asked) = act(&guarded).await;
    assert!(
        matches!(asked, Asked::Answered(_)),
        "the places are free again"
    );
}

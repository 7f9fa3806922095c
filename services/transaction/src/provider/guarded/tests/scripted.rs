//! Which outcomes are tried again, over every sequence of them that there is.

use std::sync::Mutex;

use super::super::super::CallbackRefused;
use super::*;
use crate::domain::Answer;

/// The attempts of the policy under test.
const ATTEMPTS: usize = 4;

/// A connector that tells what it is told to, one thing an attempt.
struct Scripted {
    script: Mutex<Vec<Heard<Asked>>>,
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl PaymentProvider for Scripted {
    fn terms(&self) -> Terms {
        Terms {
            lookup_window: Duration::from_secs(60),
            give_up_after: Duration::from_secs(60),
        }
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    async fn act(&self, _: &Order, _: Duration) -> Heard<Asked> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut script = self.script.lock().expect("nobody panics with it");
        script.pop().expect("no more attempts than the policy has")
    }

    async fn look(&self, _: &Order, _: Duration) -> Heard<Looked> {
        unreachable!("nobody looks")
    }

    fn read_callback(
        &self,
        _: &HeaderMap,
        _: &[u8],
        _: OffsetDateTime,
    ) -> Result<Callback, CallbackRefused> {
        Err(CallbackRefused::Body)
    }
}

fn subject(mut script: Vec<Heard<Asked>>, settings: GuardSettings) -> Subject {
    script.reverse();
    let ended = Arc::new(AtomicUsize::new(0));
    let connector = Scripted {
        script: Mutex::new(script),
        asked: Arc::clone(&ended),
    };
    let name = "alpha".parse().expect("a name");
    Subject {
        guarded: Guarded::new(name, Box::new(connector), settings),
        ended,
    }
}

/// Everything that an attempt can come to.
fn outcomes() -> [Heard<Asked>; 6] {
    let heard = |outcome, sign| Heard { outcome, sign };
    let answered = Asked::Answered(Answer::Accepted {
        reference: "ch_1".to_owned(),
    });
    let lost = || Asked::Lost {
        cause: "timeout".to_owned(),
    };
    [
        heard(answered, Sign::Well),
        heard(Asked::NotSent, Sign::Well),
        heard(Asked::NotSent, Sign::Nothing),
        no_connection(),
        heard(lost(), Sign::Failing),
        heard(lost(), Sign::Nothing),
    ]
}

fn no_connection() -> Heard<Asked> {
    Heard {
        outcome: Asked::NotSent,
        sign: Sign::Failing,
    }
}

/// Every sequence of outcomes that is as long as the policy.
fn scripts() -> Vec<Vec<Heard<Asked>>> {
    let mut scripts = vec![Vec::new()];
    for _ in 0..ATTEMPTS {
        let longer = |script: Vec<Heard<Asked>>| {
            outcomes().map(|outcome| [script.clone(), vec![outcome]].concat())
        };
        scripts = scripts.into_iter().flat_map(longer).collect();
    }
    scripts
}

/// Only a missing connection is tried again. The first outcome that is anything
/// else is the call's, and after it the provider is not asked again.
#[tokio::test]
async fn only_a_missing_connection_is_tried_again() {
    let mut calls = JoinSet::new();
    for script in scripts() {
        calls.spawn(async move {
            let subject = subject(script.clone(), unbreakable());
            let asked = subject.act(&order(), Duration::from_secs(20)).await;
            let missing = script.iter().take_while(|heard| **heard == no_connection());
            let expected = (missing.count() + 1).min(ATTEMPTS);
            assert_eq!(subject.attempts(), expected, "{script:?}");
            assert_eq!(asked, script[expected - 1].outcome, "{script:?}");
        });
    }
    assert_eq!(calls.len(), 1296);
    calls.join_all().await;
}

/// An order that must not be taken any more is not tried again, although there
/// was no connection.
#[tokio::test]
async fn nothing_is_tried_after_its_time() {
    let mut settings = unbreakable();
    settings.retry = RetryPolicy::Slow;
    let subject = subject(vec![no_connection()], settings);
    let order = Order {
        valid_until: now() + Duration::from_millis(10),
        ..order()
    };
    let asked = subject.act(&order, Duration::from_secs(20)).await;
    assert_eq!(asked, Asked::NotSent);
    assert_eq!(subject.attempts(), 1);
}

/// A breaker that opens meanwhile ends the attempts: nothing was sent.
#[tokio::test]
async fn a_breaker_that_opens_ends_the_attempts() {
    let mut settings = settings();
    settings.breaker.minimum_calls = 2;
    let subject = subject(vec![no_connection(); 2], settings);
    let asked = subject.act(&order(), Duration::from_secs(20)).await;
    assert_eq!(asked, Asked::NotSent);
    assert_eq!(subject.attempts(), 2);
    assert_eq!(phase(&subject), Phase::Open);
}

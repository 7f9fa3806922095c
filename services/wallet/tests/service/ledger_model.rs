//! The whole ledger next to a model: random histories of postings, batches,
//! holds, bonus money, freezes, limits and repeated calls, all mixed, over wallets
//! of three users in two currencies. After each step every answer, balance, hold,
//! grant and count of what was spent must be the model's, and after each history
//! every invariant must hold.
//!
//! A failure names the seed. `BURSAR_MODEL_SEED` runs it again and
//! `BURSAR_MODEL_CASES` says how many histories there are: many more than by
//! default, where there is time.

mod book;
mod compare;
mod house;
mod make;
mod run;
mod wire;
mod wish;

use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use tokio::runtime::Runtime;

use self::book::Order;
use self::house::House;
use self::run::{Run, Tally, today};
use self::wish::{History, history};

/// How many histories there are by default, and how many share a database: the
/// invariants read all of it after each.
const CASES: u32 = 45;
const CASES_A_HOUSE: u32 = 15;
/// How many smaller histories are tried to find the smallest that fails.
const SHRINKS: u32 = 400;

/// What so many histories must have brought about, or they show too little.
const OFTEN: [&str; 16] = [
    "Capture: HOLD_NOT_ACTIVE",
    "Capture: done",
    "Deposit: BATCH_REJECTED",
    "Deposit: POSTING_ID_REUSED",
    "Deposit: replayed",
    "Exchange: done",
    "Grant: done",
    "Place: HOLD_MISMATCH",
    "Place: done",
    "PlaceHold: done",
    "SetCredit: done",
    "SetLimits: done",
    "Transfer: INSUFFICIENT_FUNDS",
    "Transfer: done",
    "Unfreeze: done",
    "Void: done",
];

/// The same of ten times as many.
const SELDOM: [&str; 24] = [
    "Capture: HOLD_EXPIRED",
    "Capture: HOLD_MANAGED",
    "Capture: HOLD_MISMATCH",
    "CaptureHold: CAPTURE_EXCEEDS_HOLD",
    "CaptureHold: CURRENCY_MISMATCH",
    "CaptureHold: HOLD_EXPIRED",
    "CaptureHold: HOLD_MANAGED",
    "CaptureHold: HOLD_NOT_ACTIVE",
    "CaptureHold: done",
    "Close: WALLET_NOT_EMPTY",
    "Close: done",
    "Convert: BONUS_GRANT_NOT_ACTIVE",
    "Convert: done",
    "Grant: BONUS_CAMPAIGN_NOT_ACTIVE",
    "Grant: BONUS_CAP_EXCEEDED",
    "Place: WALLET_FROZEN",
    "PlaceHold: INSUFFICIENT_FUNDS",
    "Transfer: CURRENCY_MISMATCH",
    "Transfer: DAILY_LIMIT_EXCEEDED",
    "Transfer: MONTHLY_LIMIT_EXCEEDED",
    "Transfer: SINGLE_LIMIT_EXCEEDED",
    "Transfer: WALLET_FROZEN",
    "VoidHold: HOLD_NOT_ACTIVE",
    "VoidHold: done",
];

/// The services on which histories happen, by their order of spending. A history
/// that fails takes its house along, so that a smaller one begins on a clean one.
#[derive(Default)]
struct Street(Mutex<Vec<(Order, House)>>);

impl Street {
    async fn house(&self, order: Order) -> House {
        let found = {
            let mut houses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let place = houses.iter().position(|(of, _)| *of == order);
            place.map(|place| houses.swap_remove(place).1)
        };
        match found {
            Some(house) => house,
            None => House::open(order).await,
        }
    }

    fn keep(&self, order: Order, house: House) {
        let mut houses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        houses.push((order, house));
    }
}

/// Every mixed history gives what the model gives, and leaves the books in order.
#[test]
fn mixed_histories_agree_with_the_model() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let cases = number("BURSAR_MODEL_CASES").map_or(CASES, |cases| {
        u32::try_from(cases).expect("a number of histories")
    });
    let first = number("BURSAR_MODEL_SEED").unwrap_or_else(rand::random);
    let rounds = cases.div_ceil(CASES_A_HOUSE);
    let tally = RefCell::new(Tally::new());
    for round in 0..rounds {
        let seed = first.wrapping_add(u64::from(round));
        let cases = CASES_A_HOUSE.min(cases - round * CASES_A_HOUSE);
        if let Err(failure) = explore(&runtime, seed, cases, &tally) {
            panic!("BURSAR_MODEL_SEED={seed} BURSAR_MODEL_CASES={cases}: {failure}");
        }
    }
    let tally = tally.into_inner();
    println!("{cases} histories from seed {first}: {tally:#?}");
    let often = OFTEN.iter().filter(|_| cases >= CASES);
    let seldom = SELDOM.iter().filter(|_| cases >= 10 * CASES);
    let missing = often
        .chain(seldom)
        .filter(|what| !tally.contains_key(**what));
    let missing: Vec<_> = missing.collect();
    assert!(missing.is_empty(), "never came up: {missing:?}");
}

/// Tries so many histories of a seed.
fn explore(
    runtime: &Runtime,
    seed: u64,
    cases: u32,
    tally: &RefCell<Tally>,
) -> Result<(), TestError<History>> {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: SHRINKS,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let street = Street::default();
    TestRunner::new_with_rng(config, random).run(&history(), |history| {
        runtime.block_on(async {
            let house = street.house(history.order).await;
            let day = today();
            let outcome = happens(&house, &history).await;
            if today() != day {
                // What was before midnight may have met what was after it.
                return Ok(());
            }
            for (what, count) in outcome? {
                *tally.borrow_mut().entry(what).or_default() += count;
            }
            street.keep(history.order, house);
            Ok(())
        })
    })
}

async fn happens(house: &House, history: &History) -> Result<Tally, TestCaseError> {
    let mut run = Run::start(house, history.order, today()).await;
    for step in &history.steps {
        run.step(step).await?;
    }
    house.verify().await.map_err(TestCaseError::fail)?;
    Ok(run.tally)
}

/// A number in the environment.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

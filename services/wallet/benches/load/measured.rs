//! What many callers measured, put together.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Latencies are kept to three digits, up to a minute.
const DIGITS: u8 = 3;
const LONGEST: Duration = Duration::from_secs(60);
/// The load lasts this long before it is measured, so that connections are
/// open, statements are prepared and caches are warm.
pub(crate) const WARM_UP: Duration = Duration::from_secs(2);

/// What one caller did, and later what all did.
pub(crate) struct Measured {
    latencies_us: Histogram<u64>,
    done: u64,
    /// What was done, what was done outside of the window included.
    done_with_warm_up: u64,
    refused: u64,
    /// What was done in the first and in the last minute, for the soak.
    first_minute: u64,
    last_minute: u64,
}

/// When a measurement counts.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    from: Instant,
    until: Instant,
}

impl Window {
    /// From after the warm-up, for so long.
    pub(crate) fn starting_now(length: Duration) -> Self {
        let from = Instant::now() + WARM_UP;
        Self {
            from,
            until: from + length,
        }
    }

    /// Whether callers still call.
    pub(crate) fn is_open(self) -> bool {
        Instant::now() < self.until
    }

    fn seconds(self) -> f64 {
        (self.until - self.from).as_secs_f64()
    }
}

impl Measured {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let longest = u64::try_from(LONGEST.as_micros()).unwrap_or(u64::MAX);
        Ok(Self {
            latencies_us: Histogram::new_with_max(longest, DIGITS)?,
            done: 0,
            done_with_warm_up: 0,
            refused: 0,
            first_minute: 0,
            last_minute: 0,
        })
    }

    /// Notes an answer that came now to a call made at `begun`: how much it did
    /// and how much was refused. Only what falls into the window counts.
    pub(crate) fn note(&mut self, window: Window, begun: Instant, done: u64, refused: u64) {
        const MINUTE: Duration = Duration::from_secs(60);
        let now = Instant::now();
        self.done_with_warm_up += done;
        if now < window.from || now >= window.until {
            return;
        }
        let latency = u64::try_from((now - begun).as_micros()).unwrap_or(u64::MAX);
        self.latencies_us.saturating_record(latency);
        self.done += done;
        self.refused += refused;
        if now < window.from + MINUTE {
            self.first_minute += done;
        }
        if now + MINUTE >= window.until {
            self.last_minute += done;
        }
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.latencies_us.add(&other.latencies_us)?;
        self.done += other.done;
        self.done_with_warm_up += other.done_with_warm_up;
        self.refused += other.refused;
        self.first_minute += other.first_minute;
        self.last_minute += other.last_minute;
        Ok(())
    }

    fn at_quantile_ms(&self, quantile: f64) -> f64 {
        Duration::from_micros(self.latencies_us.value_at_quantile(quantile)).as_secs_f64() * 1e3
    }
}

/// Waits for all callers and writes down what they measured together.
pub(crate) async fn collect(
    window: Window,
    mut callers: JoinSet<anyhow::Result<Measured>>,
) -> anyhow::Result<Value> {
    let mut all = Measured::new()?;
    while let Some(caller) = callers.join_next().await {
        all.add(&caller?.context("a caller failed")?)?;
    }
    Ok(json!({
        "done": all.done,
        "done_with_warm_up": all.done_with_warm_up,
        "refused": all.refused,
        "per_s": per_second(all.done, window.seconds()),
        "p50_ms": all.at_quantile_ms(0.50),
        "p95_ms": all.at_quantile_ms(0.95),
        "p99_ms": all.at_quantile_ms(0.99),
        "max_ms": all.at_quantile_ms(1.0),
        "first_minute_per_s": per_second(all.first_minute, window.seconds().min(60.0)),
        "last_minute_per_s": per_second(all.last_minute, window.seconds().min(60.0)),
    }))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a few minutes are far below 2^53"
)]
fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds
}

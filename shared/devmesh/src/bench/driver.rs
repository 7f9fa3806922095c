//! A load generator, as its orders are given.

use std::path::Path;
use std::process::Stdio;

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A load generator at work; it ends with this value.
pub(super) struct Driver {
    /// Where the issuer of its tokens is.
    pub(super) issuer: Issuer,
    process: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// Where the service finds what the tokens are checked with.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Issuer {
    pub(super) jwks_url: String,
    pub(super) identity_address: String,
}

/// What a load measured.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Load {
    /// What was done, what was done before the measurement began included.
    pub(super) done_with_warm_up: u64,
    pub(super) per_s: f64,
    pub(super) p50_ms: f64,
    pub(super) p95_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) first_minute_per_s: f64,
    pub(super) last_minute_per_s: f64,
}

impl Driver {
    pub(super) async fn start(program: &Path) -> anyhow::Result<Self> {
        let mut process = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        let orders = process.stdin.take().context("it has an input")?;
        let answers = process.stdout.take().context("it has an output")?;
        let mut answers = BufReader::new(answers).lines();
        let first = answers.next_line().await?.context("the load ended")?;
        Ok(Self {
            issuer: serde_json::from_str(&first)?,
            process,
            orders,
            answers,
        })
    }

    /// Gives an order and waits until it is carried out.
    pub(super) async fn carry_out(&mut self, order: &Value) -> anyhow::Result<Load> {
        self.orders
            .write_all(format!("{order}\n").as_bytes())
            .await?;
        let answer = self.answers.next_line().await?;
        let answer = answer.with_context(|| format!("the load failed at {order}"))?;
        Ok(serde_json::from_str(&answer)?)
    }

    /// Ends it and waits for that.
    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        drop(self.orders);
        self.process.wait().await?;
        Ok(())
    }
}

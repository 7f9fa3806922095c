//! The faults: the provider's, the wires', leases that lapse under their holders, and
//! callbacks that come twice and out of order.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::Bank;
use crate::support::API_KEY;
use crate::support::inbox::Notice;
use crate::support::wire::{Mode, Wire};

/// What is asked of the provider, and how that may go.
const OPERATIONS: [&str; 3] = ["charge", "payout", "refund"];
const KINDS: [&str; 9] = [
    "lost_response",
    "lost_response",
    "error_500",
    "slow",
    "timeout",
    "no_answer",
    "connection_reset",
    "decline",
    "pending",
];
/// How late a slow answer comes: after the deadline of the call.
const SLOW_MS: u64 = 1_300;
/// How many callbacks wait until they are passed on in another order.
const SHUFFLED: usize = 3;
/// How often a callback is passed on while the service has no answer to it, and the
/// pause between.
const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_millis(100);

impl Bank {
    /// One fault after another, until then. Afterwards there is none any more.
    pub(super) async fn trouble(&self, seed: u64, until: Instant) {
        let mut dice = StdRng::seed_from_u64(seed);
        while Instant::now() < until {
            match dice.random_range(0..10) {
                0..5 => self.at_provider(&mut dice).await,
                5..8 => disturb(&self.mesh.to_wallet, &mut dice).await,
                8 => disturb(&self.mesh.to_sandbox, &mut dice).await,
                // Recovery and repeated requests take over what is being worked on.
                _ => self.mesh.let_leases_lapse().await,
            }
            let pause = dice.random_range(20..150);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        self.forget_faults().await;
    }

    async fn at_provider(&self, dice: &mut StdRng) {
        let operation = OPERATIONS[dice.random_range(0..OPERATIONS.len())];
        let kind = KINDS[dice.random_range(0..KINDS.len())];
        let times = dice.random_range(1..=3);
        let fault = json!({
            "operation": operation, "kind": kind, "times": times, "delay_ms": SLOW_MS,
        });
        self.mesh.fault(fault).await;
        if dice.random_ratio(1, 4) {
            let fault = json!({"operation": "status", "kind": "error_500", "times": times});
            self.mesh.fault(fault).await;
        }
    }

    async fn forget_faults(&self) {
        let address = self.mesh.sandbox.http_address;
        let forgotten = self
            .mesh
            .http
            .delete(format!("http://{address}/v1/faults"))
            .bearer_auth(API_KEY)
            .send()
            .await
            .expect("the sandbox answers");
        assert!(forgotten.status().is_success(), "{forgotten:?}");
    }

    /// Passes the provider's callbacks on, for ever: in groups, the last one first,
    /// and that one twice.
    pub(super) async fn pass_callbacks_on(&self) {
        let mut waiting = VecDeque::new();
        loop {
            waiting.push_front(self.mesh.inbox.next().await);
            if waiting.len() < SHUFFLED {
                continue;
            }
            let again = waiting[0].clone();
            for notice in waiting.drain(..).chain([again]) {
                self.pass_on(&notice).await;
            }
        }
    }

    /// As the provider does: an answer of the kind 5xx means to come again.
    async fn pass_on(&self, notice: &Notice) {
        let path = "/api/v1/transactions/callbacks/sandbox";
        for _ in 0..TRIES {
            let taken = self.mesh.call_back(path, notice).await;
            if !taken.status().is_server_error() {
                assert_eq!(taken.status(), 204);
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("a callback was not taken in {TRIES} tries");
    }
}

/// Breaks a wire for a moment.
async fn disturb(wire: &Wire, dice: &mut StdRng) {
    let modes = [
        Mode::LosesAnswers,
        Mode::LosesAnswers,
        Mode::Cut,
        Mode::Refused,
    ];
    wire.set(modes[dice.random_range(0..modes.len())]);
    let moment = dice.random_range(50..400);
    tokio::time::sleep(Duration::from_millis(moment)).await;
    wire.set(Mode::Whole);
}

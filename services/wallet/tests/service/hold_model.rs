//! Random histories of holds against a real service, next to a model that knows
//! nothing of its code: every answer, every hold and every balance must agree,
//! and after each history every invariant must hold.

use bursar_contracts::wallet::v1::{Hold, HoldStatus, Wallet};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tonic::Status;

use crate::desk::{Desk, capture, final_capture, place};
use crate::support::{Fixture, eventually, reason, uuid_of};

const FUNDS: i64 = 100;
/// How many histories are tried on one database.
const CASES: u32 = 24;

/// One step of a history. Holds are named by how long ago they were placed.
#[derive(Debug, Clone)]
enum Step {
    Place {
        amount: i64,
    },
    Capture {
        back: usize,
        amount: Option<i64>,
        is_final: bool,
    },
    Void {
        back: usize,
    },
    Expire {
        back: usize,
    },
    Freeze {
        frozen: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let back = || 0_usize..4;
    prop_oneof![
        4 => (1_i64..70).prop_map(|amount| Step::Place { amount }),
        6 => (back(), prop::option::of(1_i64..40), any::<bool>())
            .prop_map(|(back, amount, is_final)| Step::Capture { back, amount, is_final }),
        2 => back().prop_map(|back| Step::Void { back }),
        2 => back().prop_map(|back| Step::Expire { back }),
        1 => any::<bool>().prop_map(|frozen| Step::Freeze { frozen }),
    ]
}

/// What a hold should be.
#[derive(Debug, Clone, Copy)]
struct Expected {
    amount: i64,
    captured: i64,
    status: HoldStatus,
}

impl Expected {
    fn remaining(&self) -> i64 {
        if self.status == HoldStatus::Active {
            self.amount - self.captured
        } else {
            0
        }
    }
}

/// What the ledger should know.
#[derive(Debug, Default)]
struct Model {
    available: i64,
    paid: i64,
    frozen: bool,
    holds: Vec<Expected>,
}

impl Model {
    fn place(&mut self, amount: i64) -> Result<(), &'static str> {
        if self.frozen {
            return Err("WALLET_FROZEN");
        }
        if amount > self.available {
            return Err("INSUFFICIENT_FUNDS");
        }
        self.available -= amount;
        self.holds.push(Expected {
            amount,
            captured: 0,
            status: HoldStatus::Active,
        });
        Ok(())
    }

    fn capture(
        &mut self,
        hold: usize,
        amount: Option<i64>,
        is_final: bool,
    ) -> Result<(), &'static str> {
        let hold = &mut self.holds[hold];
        match hold.status {
            HoldStatus::Active => {}
            HoldStatus::Expired => return Err("HOLD_EXPIRED"),
            _ => return Err("HOLD_NOT_ACTIVE"),
        }
        let remaining = hold.remaining();
        let taken = amount.unwrap_or(remaining);
        if taken > remaining {
            return Err("CAPTURE_EXCEEDS_HOLD");
        }
        hold.captured += taken;
        self.paid += taken;
        if is_final || taken == remaining {
            hold.status = HoldStatus::Captured;
            self.available += remaining - taken;
        }
        Ok(())
    }

    fn give_back(&mut self, hold: usize, status: HoldStatus) -> Result<(), &'static str> {
        let hold = &mut self.holds[hold];
        if hold.status != HoldStatus::Active {
            return Err("HOLD_NOT_ACTIVE");
        }
        self.available += hold.remaining();
        hold.status = status;
        Ok(())
    }
}

/// A running history: the service's side and the model's.
struct Run<'a> {
    fixture: &'a Fixture,
    desk: Desk,
    guest: Wallet,
    hotel: Wallet,
    holds: Vec<Hold>,
    model: Model,
}

impl<'a> Run<'a> {
    async fn start(fixture: &'a Fixture) -> Self {
        Self {
            desk: Desk::of(fixture),
            guest: fixture.funded("EUR", FUNDS).await,
            hotel: fixture.funded("EUR", 0).await,
            fixture,
            holds: Vec::new(),
            model: Model {
                available: FUNDS,
                ..Model::default()
            },
        }
    }

    /// The place of a hold, if so many were placed.
    fn index(&self, back: usize) -> Option<usize> {
        self.holds.len().checked_sub(back + 1)
    }

    async fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Place { amount } => {
                let placed = self.desk.place(place(&self.guest, amount)).await;
                let expected = self.model.place(amount);
                if let Ok(hold) = &placed {
                    self.holds.push(hold.clone());
                }
                agree(placed, expected)?;
            }
            Step::Capture {
                back,
                amount,
                is_final,
            } => {
                let Some(index) = self.index(back) else {
                    return Ok(());
                };
                let make = if is_final { final_capture } else { capture };
                let request = make(&self.holds[index], amount, &self.hotel);
                let captured = self.desk.capture(request).await;
                agree(captured, self.model.capture(index, amount, is_final))?;
            }
            Step::Void { back } => {
                let Some(index) = self.index(back) else {
                    return Ok(());
                };
                let voided = self.desk.void(&self.holds[index]).await;
                let expected = self.model.give_back(index, HoldStatus::Voided);
                agree(voided, expected)?;
            }
            Step::Expire { back } => {
                let Some(index) = self.index(back) else {
                    return Ok(());
                };
                self.expire(index).await;
            }
            Step::Freeze { frozen } => {
                let changed = if frozen {
                    self.desk.freeze(&self.guest).await
                } else {
                    self.desk.unfreeze(&self.guest).await
                };
                prop_assert!(changed.is_ok());
                self.model.frozen = frozen;
            }
        }
        self.compare().await
    }

    /// Makes a hold's time be over and waits for the job to come round.
    async fn expire(&mut self, index: usize) {
        let hold = &self.holds[index];
        sqlx::query("UPDATE holds SET expires_at = now() WHERE id = $1 AND status = 'active'")
            .bind(uuid_of(&hold.hold_id))
            .execute(&self.fixture.database.owner)
            .await
            .expect("the owner may");
        eventually("the hold ends", async || {
            self.desk.hold(hold).await.status() != HoldStatus::Active
        })
        .await;
        // One that has ended stays as it ended.
        let _ = self.model.give_back(index, HoldStatus::Expired);
    }

    async fn compare(&self) -> Result<(), TestCaseError> {
        for (hold, expected) in self.holds.iter().zip(&self.model.holds) {
            let hold = self.desk.hold(hold).await;
            prop_assert_eq!(hold.status(), expected.status);
            prop_assert_eq!(hold.captured_minor, expected.captured);
            prop_assert_eq!(hold.remaining_minor, expected.remaining());
        }
        let held: i64 = self.model.holds.iter().map(Expected::remaining).sum();
        let guest = self.fixture.balance(&self.guest).await;
        prop_assert_eq!(guest.available_minor, self.model.available);
        prop_assert_eq!(guest.held_minor, held);
        let hotel = self.fixture.balance(&self.hotel).await;
        prop_assert_eq!(hotel.available_minor, self.model.paid);
        prop_assert_eq!(self.model.available + held + self.model.paid, FUNDS);
        Ok(())
    }
}

fn agree(
    answer: Result<Hold, Status>,
    expected: Result<(), &'static str>,
) -> Result<(), TestCaseError> {
    let answer = answer.map(|_| ()).map_err(|status| reason(&status));
    prop_assert_eq!(answer, expected.map_err(str::to_owned));
    Ok(())
}

/// Every history gives what the model gives, and leaves the books in order.
#[test]
fn histories_of_holds_agree_with_the_model() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let eager = [("BURSAR_HOLD_EXPIRY_INTERVAL_MS", "10")];
    let fixture = runtime.block_on(Fixture::start_with(&eager));
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    });
    let histories = prop::collection::vec(step(), 1..16);
    let outcome = runner.run(&histories, |steps| {
        runtime.block_on(async {
            let mut run = Run::start(&fixture).await;
            for step in &steps {
                run.step(step).await?;
            }
            fixture.verify().await;
            Ok(())
        })
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

//! Deposits from cards under kills. The acquirer is the sandbox, which holds requests so
//! that the process can be killed exactly while it waits for one.

use std::time::Instant;

use bursar_contracts::transaction::v1::CreateDepositRequest;
use bursar_contracts::r#type::v1::Money;
use serde_json::json;

use crate::house::House;
use crate::killed::{A_MINUTE_AND_MORE, LOOK_AGAIN};
use crate::traffic::{Order, Wish};

/// What is taken from the card.
const AMOUNT: i64 = 4_050;
/// The token of a good card.
const TOKEN: &str = "tok_visa";

impl House {
    /// Lets the acquirer hold the next request of an operation: `timeout` as if it never
    /// came, `no_answer` when it has done what was asked.
    async fn hold(&self, operation: &'static str, kind: &'static str) {
        sqlx::query(
            "INSERT INTO faults (operation, kind, remaining, delay_ms) VALUES ($1, $2, 1, 0)",
        )
        .bind(operation)
        .bind(kind)
        .execute(&self.sandbox_database.owner)
        .await
        .expect("the owner may arrange faults");
    }

    /// Waits until the request is held, and what was asked for so far is in the
    /// acquirer's books: so many authorisations and captures.
    async fn until_held(&self, books: (i64, i64)) {
        let give_up = Instant::now() + A_MINUTE_AND_MORE;
        let sql = "SELECT count(*) FROM faults WHERE remaining > 0";
        while self.at_acquirer(sql).await > 0 || self.books().await != books {
            assert!(Instant::now() < give_up, "the request never comes");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// How many authorisations and captures the acquirer has.
    async fn books(&self) -> (i64, i64) {
        let captures = "SELECT count(*) FROM movements WHERE kind = 'capture'";
        (
            self.at_acquirer("SELECT count(*) FROM card_authorizations")
                .await,
            self.at_acquirer(captures).await,
        )
    }

    async fn at_acquirer(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql)
            .fetch_one(&self.sandbox_database.owner)
            .await
            .expect("it is counted")
    }

    /// How the one deposit from a card stands, and whether its token is kept.
    async fn card_deposit(&self) -> (String, bool) {
        sqlx::query_as(
            "SELECT state, payment_method IS NOT NULL FROM transactions WHERE amount_minor = $1",
        )
        .bind(AMOUNT)
        .fetch_one(&self.database.pool)
        .await
        .expect("one is recorded")
    }
}

/// Killed while it waits for the authorisation, for the capture, or for the answer of
/// either, the deposit is completed by whoever takes it up: with one authorisation, one
/// capture, and without the token. One whose authorisation never arrived fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_is_charged_once_whatever_dies() {
    let providers = json!([{"name": "sandbox", "kind": "cards", "deadline_ms": 20_000}]);
    let providers = providers.to_string();
    let as_acquirer = [("BURSAR_PROVIDERS", providers.as_str())];
    for (operation, kind, before, state, made) in [
        ("authorization", "timeout", (0, 0), "FAILED", 0),
        ("authorization", "no_answer", (1, 0), "COMPLETED", 1),
        ("capture", "timeout", (1, 0), "COMPLETED", 1),
        ("capture", "no_answer", (1, 1), "COMPLETED", 1),
    ] {
        let house = House::open().await;
        house.hold(operation, kind).await;
        let process = house.start(&as_acquirer).await;
        let mut order = Order::new(
            &house.people[0].token,
            Wish::Deposit(CreateDepositRequest {
                wallet_id: house.people[0].wallet.clone(),
                amount: Some(Money {
                    currency_code: "EUR".to_owned(),
                    minor_units: AMOUNT,
                }),
                provider: "sandbox".to_owned(),
                payment_method: TOKEN.to_owned(),
                ..CreateDepositRequest::default()
            }),
        );
        tokio::select! {
            _ = order.ask(&process) => panic!("{operation} {kind}: it is answered"),
            () = house.until_held(before) => {}
        }
        assert!(!process.log().contains(TOKEN), "{}", process.log());
        process.kill().await;
        assert!(
            house.card_deposit().await.1,
            "it may have to be asked again"
        );
        house.let_leases_lapse().await;
        let process = house.start(&as_acquirer).await;
        let give_up = Instant::now() + A_MINUTE_AND_MORE;
        while house.card_deposit().await.0 != state {
            let found = house.card_deposit().await.0;
            assert!(Instant::now() < give_up, "{operation} {kind}: {found}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        assert!(!house.card_deposit().await.1, "the token is kept");
        let sql = "SELECT count(*) FROM card_authorizations
                   WHERE status = 'authorized' AND captured_minor = amount_minor";
        assert_eq!(house.at_acquirer(sql).await, made, "{operation} {kind}");
        assert_eq!(house.books().await, (made, made), "{operation} {kind}");
        assert!(!process.log().contains(TOKEN), "{}", process.log());
        process.stop().await;
    }
}

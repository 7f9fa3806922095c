//! Which provider a movement goes to when its caller names none, over the real
//! ledger and the real sandbox, and providers that nobody answers for.

use bursar_contracts::transaction::v1::{
    CreateDepositRequest, CreateWithdrawalRequest, TransactionState,
};
use bursar_contracts::r#type::v1::Money;
use bursar_status::StatusExt;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::support::Mesh;
use crate::support::calls::{deposit, is_replayed, refusal, told, withdrawal};

/// The secrets of the provider `alpha`.
const ALPHA: [(&str, &str); 2] = [
    ("BURSAR_PROVIDER_ALPHA_API_KEY", "the-api-key-of-alpha"),
    (
        "BURSAR_PROVIDER_ALPHA_CALLBACK_SECRET",
        "the-secret-of-alpha",
    ),
];
/// Nobody listens on this port.
const NOWHERE: &str = "http://127.0.0.1:1";

/// A mesh with these providers; the entry `sandbox` is the one that works.
async fn mesh_with(providers: Value) -> Mesh {
    let providers = providers.to_string();
    let [key, secret] = ALPHA;
    Mesh::start_with(&[("BURSAR_PROVIDERS", &providers), key, secret]).await
}

/// `alpha` is cheaper than the sandbox, and nobody answers for it. One failure
/// opens its breaker, for longer than a test takes.
fn alpha_is_cheap_and_away() -> Value {
    json!([
        {
            "name": "alpha",
            "url": NOWHERE,
            "breaker": {"minimum_calls": 1, "open_ms": 3_600_000},
            "directions": ["charge"],
            "currencies": {"EUR": {"max_minor": 5_000, "cost_basis_points": 10}}
        },
        {"name": "sandbox", "currencies": {"EUR": {"max_minor": 9_000, "cost_basis_points": 20}}}
    ])
}

fn deposit_anywhere(wallet: &str, minor_units: i64) -> CreateDepositRequest {
    CreateDepositRequest {
        provider: String::new(),
        ..deposit(wallet, minor_units)
    }
}

fn withdrawal_anywhere(wallet: &str, minor_units: i64) -> CreateWithdrawalRequest {
    CreateWithdrawalRequest {
        provider: String::new(),
        ..withdrawal(wallet, minor_units)
    }
}

fn cause(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info().expect("every error has an ErrorInfo");
    info.metadata.get("cause").cloned().unwrap_or_default()
}

/// The cheapest provider that takes part is chosen, and told: by amount, and by
/// direction. A caller who names one gets that one.
#[tokio::test]
async fn the_cheapest_provider_that_fits_is_chosen() {
    let mesh = mesh_with(alpha_is_cheap_and_away()).await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;

    let named = alice.deposit(deposit(&wallet, 1_000)).await.expect("taken");
    assert_eq!(named.provider, "sandbox");
    let large = alice.deposit(deposit_anywhere(&wallet, 6_000)).await;
    assert_eq!(large.expect("taken").provider, "sandbox");
    let out = alice.withdraw(withdrawal_anywhere(&wallet, 500)).await;
    let out = out.expect("paid out");
    assert_eq!(out.provider, "sandbox");
    assert_eq!(out.state(), TransactionState::Completed);

    let cheap = alice.deposit(deposit_anywhere(&wallet, 1_000)).await;
    let cheap = cheap.expect("recorded");
    assert_eq!(cheap.provider, "alpha");
    assert_eq!(cheap.state(), TransactionState::Processing);
    mesh.verify().await;
}

/// A provider in bad health is passed over, and what was recorded before keeps
/// its provider: nothing is sent to another one for it.
#[tokio::test]
async fn a_provider_in_bad_health_is_passed_over() {
    let mesh = mesh_with(alpha_is_cheap_and_away()).await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;

    let first = alice
        .deposit_with(deposit_anywhere(&wallet, 1_000), "k")
        .await;
    let first = first
        .expect("recorded")
        .into_inner()
        .transaction
        .expect("set");
    assert_eq!(first.provider, "alpha");
    let second = alice.deposit(deposit_anywhere(&wallet, 1_000)).await;
    let second = second.expect("taken");
    assert_eq!(second.provider, "sandbox");
    assert_eq!(second.state(), TransactionState::Completed);

    let again = alice
        .deposit_with(deposit_anywhere(&wallet, 1_000), "k")
        .await;
    let again = again.expect("as before");
    assert!(is_replayed(again.metadata()));
    assert_eq!(again.into_inner().transaction, Some(first.clone()));
    let kept = mesh.transaction(&first.transaction_id).await;
    assert_eq!(kept.provider, "alpha");
    assert_eq!(
        mesh.at_provider("charges", &first.transaction_id).await,
        None
    );
    assert_eq!(alice.balance(&wallet).await, (1_000, 0));
    mesh.verify().await;
}

/// When no provider takes part, the error names why, and nothing is recorded;
/// also when the caller names a provider that does not.
#[tokio::test]
async fn without_a_provider_the_cause_is_told() {
    let mesh = mesh_with(alpha_is_cheap_and_away()).await;
    let alice = mesh.person();
    let euros = alice.funded(1_000).await;
    let dollars = alice.wallet_in("USD").await;
    let recorded = mesh.count("SELECT count(*) FROM transactions").await;

    let mut in_dollars = deposit_anywhere(&dollars, 100);
    in_dollars.amount = Some(Money {
        currency_code: "USD".to_owned(),
        minor_units: 100,
    });
    let mut to_alpha = withdrawal(&euros, 100);
    to_alpha.provider = "alpha".to_owned();
    let refused = [
        (alice.deposit(in_dollars).await, "currency"),
        (
            alice.deposit(deposit_anywhere(&euros, 9_001)).await,
            "amount",
        ),
        (alice.deposit(deposit(&euros, 9_001)).await, "amount"),
        (alice.withdraw(to_alpha).await, "direction"),
    ];
    for (refused, expected) in refused {
        let refused = refused.expect_err(expected);
        let unavailable = "PROVIDER_UNAVAILABLE".to_owned();
        assert_eq!(refusal(&refused), (Code::FailedPrecondition, unavailable));
        assert_eq!(cause(&refused), expected);
        assert_eq!(told(&refused).preconditions, ["PROVIDER_UNAVAILABLE"]);
    }
    assert_eq!(
        mesh.count("SELECT count(*) FROM transactions").await,
        recorded
    );
}

/// When all that fit are in bad health the caller is told to come back, nothing
/// is recorded, and the key is free for another try.
#[tokio::test]
async fn bad_health_is_told_as_passing() {
    let alpha = json!([{
        "name": "alpha", "url": NOWHERE, "breaker": {"minimum_calls": 1, "open_ms": 3_600_000},
        "currencies": {"EUR": {}}
    }, {"name": "sandbox", "currencies": {"USD": {}}}]);
    let mesh = mesh_with(alpha).await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    let first = alice.deposit(deposit_anywhere(&wallet, 100)).await;
    assert_eq!(first.expect("recorded").provider, "alpha");
    for _ in 0..2 {
        let away = alice
            .deposit_with(deposit_anywhere(&wallet, 100), "k")
            .await;
        let away = away.expect_err("nobody is well");
        assert!(!is_replayed(away.metadata()));
        assert_eq!(cause(&away), "health");
        let away = told(&away);
        assert_eq!(
            (away.code, &*away.reason),
            (Code::Unavailable, "PROVIDER_UNAVAILABLE")
        );
        assert!(away.retries);
    }
    assert_eq!(mesh.count("SELECT count(*) FROM transactions").await, 1);
}

/// Operators see the breaker, what was refused by it, and where movements went.
/// The metrics are the whole process's, so the provider has a name of its own.
#[tokio::test]
async fn operators_see_what_happens() {
    let providers = json!([{
        "name": "gamma", "url": NOWHERE, "breaker": {"minimum_calls": 1, "open_ms": 3_600_000}
    }]);
    let mesh = Mesh::start_with(&[
        ("BURSAR_PROVIDERS", &providers.to_string()),
        ("BURSAR_PROVIDER_GAMMA_API_KEY", "the-api-key-of-gamma"),
        (
            "BURSAR_PROVIDER_GAMMA_CALLBACK_SECRET",
            "the-secret-of-gamma",
        ),
    ])
    .await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    let mut to_gamma = deposit(&wallet, 100);
    to_gamma.provider = "gamma".to_owned();
    let waits = alice.deposit(to_gamma).await.expect("recorded");
    assert_eq!(waits.state(), TransactionState::Processing);

    let address = mesh.service.http_address;
    let response = mesh
        .http
        .get(format!("http://{address}/metrics"))
        .send()
        .await;
    let metrics = response.expect("it answers").text().await.expect("text");
    for line in [
        r#"bursar_provider_breaker_state{provider="gamma"} 2"#,
        r#"bursar_provider_breaker_transitions_total{provider="gamma",to="open"} 1"#,
        r#"bursar_provider_bulkhead_in_use{provider="gamma",kind="acting"} 0"#,
        r#"bursar_provider_refusals_total{provider="gamma",operation="charge",by="breaker"}"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

//! The steps of the demo.

mod bonus;
mod books;
mod hold;

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bursar_money::{Currency, Money};
use serde_json::{Value, json};

use super::Teller;
use super::rest::{Call, Rest};
use crate::mesh::Mesh;

/// How long something that happens by itself may take: an event, a callback, a
/// recovery after a kill.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(200);

const DEPOSIT_MINOR: i64 = 10_000;
const TRANSFER_MINOR: i64 = 2_500;
const OVERDRAFT_MINOR: i64 = 100_000;
const WITHDRAWAL_MINOR: i64 = 1_000;
/// What an operator sets aside of Ada's money, as an inn does for a stay, and
/// what the inn then takes of it: some at the arrival, some at the end.
const HOLD_MINOR: i64 = 3_000;
const CAPTURES_MINOR: [i64; 2] = [1_200, 800];
/// What Ada is granted, and what she spends of it.
const BONUS_MINOR: i64 = 500;
const BONUS_SPENT_MINOR: i64 = 400;

/// Somebody with a wallet.
struct Person {
    name: &'static str,
    token: String,
    wallet_id: String,
    currency: Currency,
}

/// Where operators work.
struct Office<'a> {
    rest: &'a Rest,
    operator: String,
}

impl Office<'_> {
    /// What an operator does, once.
    async fn ask(&self, path: String, body: Value, what: &str) -> anyhow::Result<Value> {
        let call = Call::post(path, body).by(&self.operator);
        self.rest.send(&call).await?.ok(what)
    }
}

/// Tells it all.
pub(super) async fn tell(
    mesh: &Mesh,
    rest: &Rest,
    teller: &mut Teller<'_, impl Write>,
) -> anyhow::Result<()> {
    teller.step("Two people register and log in")?;
    let ada_token = register(rest, "Ada", teller).await?;
    let ben_token = register(rest, "Ben", teller).await?;

    teller.step("Each gets a first wallet, opened when identity's event arrives")?;
    let ada = first_wallet(rest, "Ada", ada_token, teller).await?;
    let ben = first_wallet(rest, "Ben", ben_token, teller).await?;

    teller.step("Ada opens a second wallet, to save")?;
    let savings = open_wallet(rest, &ada, teller).await?;

    teller.step("Ada deposits by the payment provider")?;
    deposit(rest, &ada, teller).await?;

    teller.step("Ada pays Ben, and saves some")?;
    let (transfer, id) = pay(rest, &ada, &ben.wallet_id, TRANSFER_MINOR, "lunch", teller).await?;
    pay(rest, &ada, &savings, WITHDRAWAL_MINOR, "for later", teller).await?;
    balances(rest, &[&ada, &ben], teller).await?;

    teller.step("The same request arrives again, with the same idempotency key")?;
    replay(rest, &transfer, &id, teller).await?;
    balances(rest, &[&ada, &ben], teller).await?;

    teller.step("Ben spends what he does not have")?;
    overdraw(rest, &ben, &ada, teller).await?;

    teller.step("Ben withdraws by the payment provider")?;
    withdraw(rest, &ben, teller).await?;

    let admin = mesh.admin()?;
    let operator = login(rest, &admin.email, &admin.password).await?;
    let office = Office { rest, operator };

    teller.step("Some of Ada's money is set aside, and Ben gets what it comes to")?;
    hold::stay(&office, &ada, &ben, teller).await?;
    balances(rest, &[&ada, &ben], teller).await?;

    teller.step("Ada is granted bonus money, and pays Ben with it")?;
    bonus::welcome(&office, &ada, teller).await?;
    pay(
        rest,
        &ada,
        &ben.wallet_id,
        BONUS_SPENT_MINOR,
        "coffee",
        teller,
    )
    .await?;
    bonus::left(rest, &ada, teller).await?;

    teller.step("What the ledger says")?;
    for person in [&ada, &ben] {
        books::entries(rest, person, teller).await?;
    }

    teller.step("What the audit trail says about Ada's payment to Ben")?;
    books::audit(&office, &id, teller).await?;

    teller.step("Every invariant, on everything this mesh ever did")?;
    books::invariants(mesh, teller).await
}

/// Registers somebody and returns an access token.
async fn register(
    rest: &Rest,
    name: &str,
    teller: &mut Teller<'_, impl Write>,
) -> anyhow::Result<String> {
    let tag = hex::encode(rand::random::<[u8; 5]>());
    let email = format!("{}-{tag}@example.com", name.to_lowercase());
    let password = hex::encode(rand::random::<[u8; 12]>());
    let body = json!({"email": email, "password": password, "display_name": name});
    let answer = rest
        .send(&Call::post("/api/v1/identity/register", body))
        .await?;
    let registered = answer.ok("the registration")?;
    let user_id = text(&registered, "/user/user_id")?;
    let token = login(rest, &email, &password).await?;
    teller.note(&format!("{name}  {user_id}  {email}"))?;
    Ok(token)
}

async fn login(rest: &Rest, email: &str, password: &str) -> anyhow::Result<String> {
    let body = json!({"email": email, "password": password});
    let call = Call::post("/api/v1/identity/login", body).without_key();
    text(&rest.send(&call).await?.ok("the login")?, "/access_token")
}

async fn first_wallet(
    rest: &Rest,
    name: &'static str,
    token: String,
    teller: &mut Teller<'_, impl Write>,
) -> anyhow::Result<Person> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let call = Call::get("/api/v1/wallet/wallets").by(&token);
        let listed = rest.send(&call).await?.ok("the list of wallets")?;
        if let Some(wallet) = listed.pointer("/wallets/0") {
            let wallet_id = text(wallet, "/wallet_id")?;
            let currency = Currency::parse(&text(wallet, "/currency_code")?)?;
            teller.note(&format!("{name}  {wallet_id}  {currency}"))?;
            return Ok(Person {
                name,
                token,
                wallet_id,
                currency,
            });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    bail!(
        "no wallet was opened for {name} within {} s",
        PATIENCE.as_secs()
    )
}

async fn open_wallet(
    rest: &Rest,
    person: &Person,
    teller: &mut Teller<'_, impl Write>,
) -> anyhow::Result<String> {
    let body = json!({"currency_code": person.currency.code()});
    let call = Call::post("/api/v1/wallet/wallets", body).by(&person.token);
    let opened = rest.send(&call).await?.ok("opening a wallet")?;
    let wallet_id = text(&opened, "/wallet/wallet_id")?;
    teller.note(&format!(
        "{}  {wallet_id}  {}",
        person.name, person.currency
    ))?;
    Ok(wallet_id)
}

async fn deposit(
    rest: &Rest,
    person: &Person,
    teller: &mut Teller<'_, impl Write>,
) -> anyhow::Result<()> {
    let body = json!({
        "wallet_id": person.wallet_id,
        "amount": amount(person, DEPOSIT_MINOR),
        "provider": "sandbox",
    });
    let call = Call::post("/api/v1/transactions/deposits", body).by(&person.token);
    let answered = rest.send(&call).await?.ok("the deposit")?;
    let transaction = completed(rest, person, answered).await?;
    tell_transaction(person, &transaction, teller)
}

/// A transfer; returns the call, to be repeated, and the transaction's id.
async fn pay(
    rest: &Rest,
    from: &Person,
    to_wallet_id: &str,
    minor: i64,
    description: &str,
    teller: &mut Teller<'_, impl Write>,
) -> anyhow::Result<(Call, String)> {
    let call = transfer(from, to_wallet_id, minor, description);
    let answered = rest.send(&call).await?.ok("the transfer")?;
    let transaction = completed(rest, from, answered).await?;
    tell_transaction(from, &transaction, teller)?;
    Ok((call, text(&transaction, "/transaction_id")?))
}

async fn replay(
    rest: &Rest,
    call: &Call,
    id: &str,
    teller: &mut Teller<'_, impl Write>,
) -> anyhow::Result<()> {
    let answer = rest.send(call).await?;
    ensure!(
        answer.replayed,
        "the repeated request was not answered as a replay"
    );
    let again = text(&answer.ok("the replay")?, "/transaction/transaction_id")?;
    ensure!(
        again == id,
        "the repeated request made another transaction, {again}"
    );
    teller.note(&format!("idempotency-key: {}", call.key()))?;
    teller.note(&format!("idempotency-replayed: true, and the same {again}"))?;
    Ok(())
}

async fn overdraw(
    rest: &Rest,
    from: &Person,
    to: &Person,
    teller: &mut Teller<'_, impl Write>,
) -> anyhow::Result<()> {
    let call = transfer(from, &to.wallet_id, OVERDRAFT_MINOR, "too much");
    let answer = rest.send(&call).await?;
    let reason = answer.reason().unwrap_or_default();
    ensure!(
        reason == "INSUFFICIENT_FUNDS",
        "the overdraft was answered with {}: {}",
        answer.status,
        answer.body
    );
    let id = answer
        .metadata("transaction_id")
        .unwrap_or("no transaction");
    teller.note(&format!(
        "{} is refused: {reason}",
        Money::new(from.currency, OVERDRAFT_MINOR)
    ))?;
    teller.note(&format!("{id} is FAILED and moved nothing"))?;
    Ok(())
}

async fn withdraw(
    rest: &Rest,
    person: &Person,
    teller: &mut Teller<'_, impl Write>,
) -> anyhow::Result<()> {
    let body = json!({
        "wallet_id": person.wallet_id,
        "amount": amount(person, WITHDRAWAL_MINOR),
        "provider": "sandbox",
    });
    let call = Call::post("/api/v1/transactions/withdrawals", body).by(&person.token);
    let answered = rest.send(&call).await?.ok("the withdrawal")?;
    let transaction = completed(rest, person, answered).await?;
    tell_transaction(person, &transaction, teller)
}

fn transfer(from: &Person, to_wallet_id: &str, minor: i64, description: &str) -> Call {
    let body = json!({
        "from_wallet_id": from.wallet_id,
        "to_wallet_id": to_wallet_id,
        "amount": amount(from, minor),
        "description": description,
    });
    Call::post("/api/v1/transactions/transfers", body).by(&from.token)
}

/// Waits until the transaction of an answer is COMPLETED. A state that is not
/// final says "not known yet", never "failed".
async fn completed(rest: &Rest, person: &Person, answered: Value) -> anyhow::Result<Value> {
    let mut transaction = answered["transaction"].clone();
    let id = text(&transaction, "/transaction_id")?;
    let start = Instant::now();
    loop {
        match text(&transaction, "/state")?.as_str() {
            "TRANSACTION_STATE_COMPLETED" => return Ok(transaction),
            state @ ("TRANSACTION_STATE_FAILED" | "TRANSACTION_STATE_MANUAL_REVIEW") => {
                bail!("{id} ended as {state}: {transaction}")
            }
            state if start.elapsed() >= PATIENCE => {
                bail!("{id} is still {state} after {} s", PATIENCE.as_secs())
            }
            _ => {}
        }
        tokio::time::sleep(POLL_INTERVAL).await;
        let call = Call::get(format!("/api/v1/transactions/{id}")).by(&person.token);
        transaction = rest.send(&call).await?.ok("the transaction")?["transaction"].take();
    }
}

async fn balances(
    rest: &Rest,
    people: &[&Person],
    teller: &mut Teller<'_, impl Write>,
) -> anyhow::Result<()> {
    for person in people {
        let call =
            Call::get(format!("/api/v1/wallet/wallets/{}", person.wallet_id)).by(&person.token);
        let wallet = rest.send(&call).await?.ok("the wallet")?;
        let available = number(&wallet, "/wallet/balance/available_minor")?;
        let name = person.name;
        teller.note(&format!(
            "{name} has {:>12}",
            Money::new(person.currency, available).to_string()
        ))?;
    }
    Ok(())
}

fn tell_transaction(
    person: &Person,
    transaction: &Value,
    teller: &mut Teller<'_, impl Write>,
) -> anyhow::Result<()> {
    let minor = number(transaction, "/amount/minor_units")?;
    let state = text(transaction, "/state")?;
    teller.note(&format!(
        "{:>12}  {:<9}  {}",
        Money::new(person.currency, minor).to_string(),
        state.trim_start_matches("TRANSACTION_STATE_"),
        text(transaction, "/transaction_id")?,
    ))?;
    Ok(())
}

fn amount(person: &Person, minor: i64) -> Value {
    json!({"currency_code": person.currency.code(), "minor_units": minor.to_string()})
}

fn text(value: &Value, pointer: &str) -> anyhow::Result<String> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    Ok(found
        .with_context(|| format!("no {pointer} in {value}"))?
        .to_owned())
}

/// A 64-bit integer, which JSON carries as a string.
fn number(value: &Value, pointer: &str) -> anyhow::Result<i64> {
    text(value, pointer)?
        .parse()
        .with_context(|| format!("{pointer} is no number in {value}"))
}

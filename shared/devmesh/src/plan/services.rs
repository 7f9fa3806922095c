//! The services and the simulated payment provider: their environment.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;

use super::{NamedPort, Probe, ProcessSpec, SERVICE_STOP_DEADLINE, base_environment};
use crate::intent::Intent;
use crate::ports;
use crate::ports::{NoFreePort, Ports};
use crate::secrets::Secrets;
use crate::servers::databases::Databases;
use crate::servers::valkey;

/// The gRPC services, in the order they start, and what each waits for.
const SERVICES: [(&str, &[&str]); 4] = [
    ("identity", &["postgres", "valkey"]),
    ("wallet", &["postgres", "valkey", "identity"]),
    (
        "transaction",
        &["postgres", "valkey", "identity", "wallet", "sandbox"],
    ),
    (
        "admin",
        &["postgres", "valkey", "identity", "wallet", "transaction"],
    ),
];

/// The service accounts that identity creates: each service calls the others
/// with its own.
const SERVICE_ACCOUNTS: [&str; 3] = ["transaction", "admin", "wallet"];

/// The addresses of everything a service may talk to.
struct Addresses {
    ports: BTreeMap<String, u16>,
    events_url: String,
}

/// The names of the gRPC services.
#[must_use]
pub fn names() -> Vec<&'static str> {
    SERVICES.iter().map(|(name, _)| *name).collect()
}

/// The specs of the four services and of the provider, in start order.
///
/// # Errors
/// When no port is free.
pub fn specs(
    intent: &Intent,
    databases: &Databases,
    ports: &mut Ports,
    secrets: &mut Secrets,
) -> Result<Vec<ProcessSpec>, NoFreePort> {
    let addresses = Addresses::choose(ports, secrets)?;
    let mut specs = vec![sandbox(intent, databases, &addresses, secrets)];
    for (name, needs) in SERVICES {
        let mut environment = service_environment(name, intent, databases, &addresses, secrets);
        environment.extend(own_environment(name, intent, &addresses, secrets));
        specs.push(ProcessSpec {
            name,
            command: vec![binary(intent, name), "serve".to_owned()],
            directory: intent.binaries.clone(),
            environment,
            user: None,
            ports: vec![
                addresses.port(&format!("{name}.grpc")),
                addresses.port(&format!("{name}.http")),
            ],
            address: addresses.grpc(name),
            http_address: Some(addresses.http(name)),
            needs: needs.to_vec(),
            probe: readiness(&addresses.http(name)),
            stop_signal: Signal::SIGTERM,
            stop_deadline: SERVICE_STOP_DEADLINE,
            inputs: String::new(),
        });
    }
    Ok(specs)
}

impl Addresses {
    fn choose(ports: &mut Ports, secrets: &mut Secrets) -> Result<Self, NoFreePort> {
        let services = SERVICES
            .iter()
            .flat_map(|(name, _)| [format!("{name}.grpc"), format!("{name}.http")]);
        let names = services.chain(["sandbox.http".to_owned(), "gateway".to_owned()]);
        let events_url = valkey::url(ports.get_or_choose("valkey")?, &secrets.password("valkey"));
        let ports = names
            .map(|name| Ok((name.clone(), ports.get_or_choose(&name)?)))
            .collect::<Result<_, NoFreePort>>()?;
        Ok(Self { ports, events_url })
    }

    fn port(&self, name: &str) -> NamedPort {
        NamedPort {
            name: name.to_owned(),
            port: self.ports[name],
        }
    }

    fn address(&self, name: &str) -> String {
        ports::loopback(self.ports[name]).to_string()
    }

    fn grpc(&self, service: &str) -> String {
        self.address(&format!("{service}.grpc"))
    }

    fn http(&self, service: &str) -> String {
        self.address(&format!("{service}.http"))
    }
}

/// What every service is told.
fn service_environment(
    name: &str,
    intent: &Intent,
    databases: &Databases,
    addresses: &Addresses,
    secrets: &mut Secrets,
) -> BTreeMap<String, String> {
    let mut environment = base_environment(intent);
    let mut set = |name: &str, value: String| environment.insert(name.to_owned(), value);
    set("BURSAR_ENVIRONMENT", "development".to_owned());
    set("BURSAR_GRPC_ADDRESS", addresses.grpc(name));
    set("BURSAR_HTTP_ADDRESS", addresses.http(name));
    set("BURSAR_DATABASE_URL", databases.application_url(name));
    set("BURSAR_DATABASE_OWNER_URL", databases.owner_url(name));
    set("BURSAR_REDIS_EVENTS_URL", addresses.events_url.clone());
    set("BURSAR_REDIS_CACHE_URL", addresses.events_url.clone());
    set(
        "BURSAR_JWKS_URL",
        format!(
            "http://{}/.well-known/jwks.json",
            addresses.http("identity")
        ),
    );
    for (peer, _) in SERVICES {
        let address = addresses.grpc(peer);
        set(
            &format!("BURSAR_{}_ADDRESS", peer.to_uppercase()),
            format!("http://{address}"),
        );
    }
    // Shorter than what the supervisor waits before it kills.
    set("BURSAR_SHUTDOWN_GRACE_SECONDS", "10".to_owned());
    set("BURSAR_SERVICE_CLIENT_ID", name.to_owned());
    set("BURSAR_SERVICE_CLIENT_SECRET", client_secret(secrets, name));
    environment
}

/// What only this service is told.
fn own_environment(
    name: &str,
    intent: &Intent,
    addresses: &Addresses,
    secrets: &mut Secrets,
) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    let mut set = |name: &str, value: String| environment.insert(name.to_owned(), value);
    match name {
        "identity" => {
            let accounts = SERVICE_ACCOUNTS
                .map(|id| format!("{id}={}", client_secret(secrets, id)))
                .join(",");
            set("BURSAR_SERVICE_ACCOUNTS", accounts);
            set("BURSAR_BOOTSTRAP_ADMIN_EMAIL", intent.admin.email.clone());
            set(
                "BURSAR_BOOTSTRAP_ADMIN_PASSWORD",
                intent.admin.password.clone(),
            );
            set(
                "BURSAR_KEY_ENCRYPTION_KEY",
                secrets.key("identity.key_encryption_key"),
            );
        }
        "wallet" => {
            let told = intent.environment.get("BURSAR_DEFAULT_CURRENCY");
            set(
                "BURSAR_DEFAULT_CURRENCY",
                told.map_or("EUR", String::as_str).to_owned(),
            );
            set(
                "BURSAR_KEY_ENCRYPTION_KEY",
                secrets.key("wallet.key_encryption_key"),
            );
            set("BURSAR_PROVIDER_ACCOUNTS", "sandbox".to_owned());
            set(
                "BURSAR_SANDBOX_URL",
                format!("http://{}", addresses.http("sandbox")),
            );
            set(
                "BURSAR_SANDBOX_API_KEY",
                secrets.password("sandbox.api_key"),
            );
            set(
                "BURSAR_LEDGER_SIGNING_KEY",
                secrets.key("wallet.ledger_signing_key"),
            );
            // Whoever tries the mesh does not wait a minute for a proof.
            set("BURSAR_LEDGER_CHECKPOINT_SECONDS", "5".to_owned());
        }
        "transaction" => {
            set(
                "BURSAR_SANDBOX_URL",
                format!("http://{}", addresses.http("sandbox")),
            );
            set(
                "BURSAR_SANDBOX_API_KEY",
                secrets.password("sandbox.api_key"),
            );
            set(
                "BURSAR_SANDBOX_CALLBACK_SECRET",
                secrets.password("sandbox.callback_secret"),
            );
            // The sandbox a second time, as a card acquirer.
            set(
                "BURSAR_PROVIDERS",
                format!(
                    r#"[{{"name":"sandbox"}},{{"name":"cards","kind":"cards","url":"http://{}"}}]"#,
                    addresses.http("sandbox")
                ),
            );
            set(
                "BURSAR_PROVIDER_CARDS_API_KEY",
                secrets.password("sandbox.api_key"),
            );
            set(
                "BURSAR_PROVIDER_CARDS_CALLBACK_SECRET",
                secrets.password("sandbox.callback_secret"),
            );
        }
        _ => {}
    }
    environment
}

fn sandbox(
    intent: &Intent,
    databases: &Databases,
    addresses: &Addresses,
    secrets: &mut Secrets,
) -> ProcessSpec {
    let mut environment = base_environment(intent);
    let mut set = |name: &str, value: String| environment.insert(name.to_owned(), value);
    set("BURSAR_ENVIRONMENT", "development".to_owned());
    set("BURSAR_HTTP_ADDRESS", addresses.http("sandbox"));
    set("BURSAR_DATABASE_URL", databases.application_url("sandbox"));
    set("BURSAR_DATABASE_OWNER_URL", databases.owner_url("sandbox"));
    set(
        "BURSAR_SANDBOX_API_KEY",
        secrets.password("sandbox.api_key"),
    );
    set(
        "BURSAR_SANDBOX_CALLBACK_SECRET",
        secrets.password("sandbox.callback_secret"),
    );
    for (variable, provider) in [
        ("BURSAR_SANDBOX_CALLBACK_URL", "sandbox"),
        ("BURSAR_SANDBOX_CARD_CALLBACK_URL", "cards"),
    ] {
        let gateway = addresses.address("gateway");
        let url = format!("http://{gateway}/api/v1/transactions/callbacks/{provider}");
        set(variable, url);
    }
    ProcessSpec {
        name: "sandbox",
        command: vec![binary(intent, "sandbox"), "serve".to_owned()],
        directory: intent.binaries.clone(),
        environment,
        user: None,
        ports: vec![addresses.port("sandbox.http")],
        address: addresses.http("sandbox"),
        http_address: None,
        needs: vec!["postgres"],
        probe: readiness(&addresses.http("sandbox")),
        stop_signal: Signal::SIGTERM,
        stop_deadline: SERVICE_STOP_DEADLINE,
        inputs: String::new(),
    }
}

fn readiness(address: &str) -> Probe {
    Probe::Http {
        urls: vec![format!("http://{address}/readyz")],
    }
}

fn client_secret(secrets: &mut Secrets, service: &str) -> String {
    secrets.password(&format!("service_account.{service}"))
}

fn binary(intent: &Intent, service: &str) -> String {
    intent
        .binaries
        .join(format!("bursar-{service}"))
        .display()
        .to_string()
}

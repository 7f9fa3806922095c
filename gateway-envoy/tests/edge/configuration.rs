//! What is generated, before it runs.

use std::fs;
use std::path::Path;
use std::process::Command;

use bursar_gateway::{AccessLogFormat, Address, Settings};

use crate::support::envoy_binary;

fn example() -> Settings {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/settings.toml");
    Settings::read(&path).unwrap()
}

/// Asks Envoy whether it would start with these settings.
fn validate(name: &str, settings: &Settings) {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("validate-{name}"));
    let config = bursar_gateway::generate(settings, &directory).unwrap();
    let output = Command::new(envoy_binary())
        .args([
            "--mode",
            "validate",
            "--log-level",
            "warning",
            "--config-path",
        ])
        .arg(&config)
        .output()
        .expect("the Envoy binary can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {said}");
    // A warning would be a deprecated field.
    assert!(!said.contains("[warning]"), "{name}: {said}");
    fs::remove_dir_all(directory).unwrap();
}

/// Envoy accepts the configuration for every kind of settings.
#[test]
fn envoy_accepts_the_configuration() {
    validate("example", &example());

    let mut bare = example();
    bare.admin = None;
    bare.reflection = false;
    bare.cors.origins.clear();
    bare.rate_limits.enabled = false;
    bare.access_log.format = AccessLogFormat::Off;
    validate("bare", &bare);

    let mut cluster = example();
    cluster.trusted_proxy_hops = 2;
    cluster.rate_limits.scale = u32::MAX.try_into().unwrap();
    cluster.access_log.format = AccessLogFormat::Text;
    cluster.listen = Address::try_from("[::1]:8080".to_owned()).unwrap();
    for (name, upstream) in &mut cluster.services {
        let address = Address::try_from(format!("{name}.bursar.svc:50051")).unwrap();
        upstream.grpc = address.clone();
        upstream.http = Some(address);
    }
    validate("cluster", &cluster);
}

/// The routes are the ones people have read. After a change of the contract:
/// `cargo run -p bursar-gateway -- routes > gateway-envoy/tests/golden/routes.txt`
#[test]
fn the_route_table_is_as_it_was_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/routes.txt");
    let golden = fs::read_to_string(&path).unwrap();
    assert_eq!(golden, bursar_gateway::route_table().unwrap());
}

/// The program writes what the library generates, and explains what it cannot.
#[test]
fn the_program_generates() {
    let program = env!("CARGO_BIN_EXE_bursar-gateway");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("program");
    let generate = |settings: &Path| {
        Command::new(program)
            .args(["generate", "--settings"])
            .arg(settings)
            .arg("--output-dir")
            .arg(&directory)
            .output()
            .unwrap()
    };
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/settings.toml");
    let output = generate(&example);
    assert!(output.status.success(), "{output:?}");
    let config = String::from_utf8(output.stdout).unwrap();
    let config = fs::canonicalize(config.trim()).unwrap();
    assert_eq!(
        config,
        fs::canonicalize(&directory).unwrap().join("envoy.json")
    );
    let descriptors = fs::read(directory.join("descriptors.binpb")).unwrap();
    assert_eq!(descriptors, bursar_contracts::policy::DESCRIPTOR_SET);

    let wrong = directory.join("wrong.json");
    fs::write(&wrong, r#"{"services":{},"listne":"x"}"#).unwrap();
    let output = generate(&wrong);
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("wrong.json") && said.contains("listne"),
        "{said}"
    );
    fs::remove_dir_all(directory).unwrap();
}

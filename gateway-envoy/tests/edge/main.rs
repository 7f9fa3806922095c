//! The gateway at work: a real Envoy with the generated configuration, before
//! services that this test plays. Each test has its own of everything.

mod answers;
mod body;
mod cors;
mod grpc;
mod headers;
mod limits;
mod outage;
mod routing;
mod support;
mod tokens;

/// Where `make tools` puts Envoy, or where `BURSAR_TOOLS_DIR` says.
fn envoy_binary() -> std::path::PathBuf {
    let tools = std::env::var_os("BURSAR_TOOLS_DIR").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools"),
        std::path::PathBuf::from,
    );
    let binary = tools.join("bin/envoy");
    assert!(
        binary.exists(),
        "{} is missing; `make tools` fetches it",
        binary.display()
    );
    binary
}

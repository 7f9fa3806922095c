//! Users, credentials, sessions and tokens.

use std::process::ExitCode;

fn main() -> ExitCode {
    bursar_server::main(bursar_identity::definition())
}

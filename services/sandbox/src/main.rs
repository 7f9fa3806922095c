//! The process of the simulated payment provider.

use std::process::ExitCode;

fn main() -> ExitCode {
    bursar_server::main(bursar_sandbox::definition())
}

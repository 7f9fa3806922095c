//! The process of the transaction service.

use std::process::ExitCode;

fn main() -> ExitCode {
    bursar_server::main(bursar_transaction::definition())
}

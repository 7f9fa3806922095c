//! The wallet process; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    bursar_server::main(bursar_wallet::definition())
}

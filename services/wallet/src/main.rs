//! The wallet process; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    bursar_server::main_with(bursar_wallet::definition(), bursar_wallet::extras())
}

//! Tickets, the audit trail and the state of the mesh.

use std::process::ExitCode;

fn main() -> ExitCode {
    bursar_server::main(bursar_admin::definition())
}

//! `sim`: runs the coordinator in simulated worlds, from the command line. `sim --help` says how.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    if cli::run() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

//! The binary `jobmanager` for the tests of this package: cargo gives them only binaries of their own.

use std::process::ExitCode;

fn main() -> ExitCode {
    jobmanager::main()
}

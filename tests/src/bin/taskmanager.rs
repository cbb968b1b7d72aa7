//! The binary `taskmanager` for the tests of this package: cargo gives them only binaries of their own.

use std::process::ExitCode;

fn main() -> ExitCode {
    taskmanager::main()
}

//! The binary `jobmanager`: see the library's `main`.

use std::process::ExitCode;

fn main() -> ExitCode {
    jobmanager::main()
}

//! The binary `taskmanager`: see the library's `main`.

use std::process::ExitCode;

fn main() -> ExitCode {
    taskmanager::main()
}

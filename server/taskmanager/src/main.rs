//! The binary `taskmanager`: the library with the built-in operators.

use clap::Parser;
use std::process::ExitCode;
use taskmanager::{Args, main_with, operators};

fn main() -> ExitCode {
    main_with(Args::parse(), operators::builtin())
}

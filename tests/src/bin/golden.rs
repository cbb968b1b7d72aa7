//! `golden FILE`: compares the core's formulas with the vectors of a file, see [`jobmanager_tests::golden`].
//!
//! Prints every line that differs or is malformed, and how many there are. The exit code is 0 if all vectors
//! agree, 1 if one differs, and 2 if the file cannot be read or a line is malformed.

use jobmanager_tests::golden;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(file), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: golden FILE");
        return ExitCode::from(2);
    };
    let bytes = match std::fs::read(&file) {
        Ok(bytes) => bytes,
        Err(problem) => {
            eprintln!("{}: {problem}", file.display());
            return ExitCode::from(2);
        }
    };
    let report = golden::check(&String::from_utf8_lossy(&bytes));
    println!("{report}");
    ExitCode::from(if report.malformed() > 0 {
        2
    } else {
        u8::from(report.differing() > 0)
    })
}

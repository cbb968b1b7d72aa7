//! `sim replay FILE`: runs what a tape says and compares with what it expects.

use super::one::summary;
use clap::Args;
use jobmanager_sim::Tape;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// A tape, as `sim shrink` writes it.
    file: PathBuf,
    /// Print everything that happens.
    #[arg(long)]
    trace: bool,
}

pub(super) fn run(arguments: &Replay) -> bool {
    let tape = match read(&arguments.file) {
        Ok(tape) => tape,
        Err(problem) => {
            eprintln!("{problem}");
            return false;
        }
    };
    let run = tape.run();
    let report = if arguments.trace {
        run.logged().run()
    } else {
        run.run()
    };
    print!("{}", report.options);
    for entry in &report.log {
        println!("{entry}");
    }
    println!("about        {}", tape.about);
    summary(&report);
    let surprise = tape.surprise(&report);
    match &surprise {
        None => println!("expected     yes"),
        Some(surprise) => println!("expected     no: {surprise}"),
    }
    surprise.is_none()
}

/// A tape from a file.
pub(super) fn read(file: &Path) -> Result<Tape, String> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|problem| format!("{name}: {problem}"))?;
    text.parse().map_err(|problem| format!("{name}, {problem}"))
}

//! `sim replay FILE`: runs what a tape says and compares with what it expects, or keeps the tape of what
//! once broke a promise and no longer does; or tells a coordinator once more what a flight recording says.

use super::html;
use super::one::{shown, summary};
use super::recording::{self, Sequel};
use clap::Args;
use jobmanager_sim::{Expectation, Mark, Page, Report, Tape};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// A tape, as `sim shrink` writes it, or a flight recording of a JobManager.
    file: PathBuf,
    /// Print everything that happens.
    #[arg(long)]
    trace: bool,
    /// If nothing is wrong any more, keep the tape in this folder, with what it reaches.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Write a page on which to look at everything that happens.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    sequel: Sequel,
}

pub(super) fn run(arguments: &Replay) -> bool {
    let (html, trace) = (arguments.html.as_deref(), arguments.trace);
    if let Some(bytes) = recording::read(&arguments.file) {
        return recording::run(&arguments.file, &bytes, trace, html, &arguments.sequel);
    }
    if arguments.sequel.is_wanted() {
        eprintln!("only a flight recording goes on with --then and --for; a tape has its own end");
        return false;
    }
    let tape = match read(&arguments.file) {
        Ok(tape) => tape,
        Err(problem) => {
            eprintln!("{problem}");
            return false;
        }
    };
    let report = shown(tape.run(), arguments.trace, arguments.html.is_some());
    println!("about        {}", tape.about);
    summary(&report);
    let page = Page {
        view: (&report).into(),
        name: &tape.about,
        command: &format!("sim replay {}", arguments.file.display()),
    };
    if !html::write(html, page) {
        return false;
    }
    if let Some(folder) = &arguments.keep {
        return match keep(tape, &report, &arguments.file, folder) {
            Ok(kept) => {
                println!("kept         {kept}");
                true
            }
            Err(problem) => {
                eprintln!("{problem}");
                false
            }
        };
    }
    let surprise = tape.surprise(&report);
    match &surprise {
        None => println!("expected     yes"),
        Some(surprise) => println!("expected     no: {surprise}"),
    }
    surprise.is_none()
}

/// Keeps a tape whose run passes, under its own name.
fn keep(tape: Tape, report: &Report, file: &Path, folder: &Path) -> Result<String, String> {
    if let Some(failure) = &report.failure {
        let name = failure.name;
        return Err(format!("it breaks {name}: only a run that passes is kept"));
    }
    let reached = Mark::ALL.into_iter();
    let kept = Tape {
        expect: Expectation::Passes,
        marks: reached
            .filter(|mark| report.marks.count(*mark) > 0)
            .collect(),
        ..tape
    };
    let name = file.file_name().ok_or("the tape has no name")?;
    let file = folder.join(name);
    let shown = file.display().to_string();
    let written = std::fs::write(&file, kept.to_string());
    written.map_err(|problem| format!("{shown}: {problem}"))?;
    Ok(shown)
}

/// A tape from a file.
pub(super) fn read(file: &Path) -> Result<Tape, String> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|problem| format!("{name}: {problem}"))?;
    text.parse().map_err(|problem| format!("{name}, {problem}"))
}

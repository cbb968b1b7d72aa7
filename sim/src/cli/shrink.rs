//! `sim shrink --seed N`: the smallest run that fails as this one does, told and kept as a tape.

use super::TierArguments;
use clap::Args;
use jobmanager_sim::{Budget, Goal, Run, Shrunk, Tape, Tier, shrink, transcript};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct Shrink {
    /// Shrink the run of this seed.
    #[arg(long, required_unless_present = "tape")]
    seed: Option<u64>,
    #[command(flatten)]
    tier: TierArguments,
    /// Shrink the run of this tape.
    #[arg(long, conflicts_with_all = ["seed", "tier"])]
    tape: Option<PathBuf>,
    /// The folder for what is left of it.
    #[arg(long, default_value = super::OUT)]
    out: PathBuf,
}

pub(super) fn run(arguments: &Shrink) -> bool {
    match shrunk(arguments) {
        Ok(told) => println!("{told}"),
        Err(problem) => eprintln!("{problem}"),
    }
    // Something failed, or could not be done: both are no success.
    false
}

fn shrunk(arguments: &Shrink) -> Result<String, String> {
    let (run, tier, name) = match (&arguments.tape, arguments.seed) {
        (Some(file), _) => {
            let tape = super::replay::read(file)?;
            let stem = file.file_stem().unwrap_or_default();
            (tape.run(), tape.tier, stem.to_string_lossy().into_owned())
        }
        (None, seed) => {
            let seed = seed.unwrap_or(0);
            let tier = arguments.tier.of(seed);
            (Run::seed(tier, seed), tier, seed.to_string())
        }
    };
    let report = run.run();
    let failure = report.failure.clone();
    let failure = failure.ok_or("nothing is wrong with this run: there is nothing to shrink")?;
    let shrunk = shrink(tier, &report, Goal::Breaks(failure), Budget::default())
        .expect("a run breaks what it breaks");
    let file = save(tier, &shrunk, &name, &arguments.out)?;
    Ok(told(&shrunk, &file))
}

/// Writes a tape named after the broken invariant and the run.
pub(super) fn save(tier: Tier, shrunk: &Shrunk, name: &str, out: &Path) -> Result<PathBuf, String> {
    let tape = Tape::of(tier, &shrunk.report, format!("shrunk from {name}"));
    let broken = shrunk.report.failure.as_ref();
    let broken = broken.map_or("nothing", |failure| failure.name);
    let file = out.join(format!("{broken}-{name}.tape"));
    let problem = |problem| format!("{}: {problem}", file.display());
    std::fs::create_dir_all(out).map_err(problem)?;
    std::fs::write(&file, tape.to_string()).map_err(problem)?;
    Ok(file)
}

/// What is left of a run, in words.
pub(super) fn told(shrunk: &Shrunk, file: &Path) -> String {
    let Shrunk {
        decisions, runs, ..
    } = shrunk;
    let least = if shrunk.minimal {
        "none of which can be left out"
    } else {
        "before the budget was used up"
    };
    let file = file.display();
    let transcript = transcript(&shrunk.report);
    format!(
        "{decisions} decisions are left after {runs} runs, {least}: sim replay {file}\n\n{transcript}"
    )
}

//! `sim --seed N`: what the run is like, what came of it, and, if asked for, everything that happens.

use super::html;
use clap::Args;
use jobmanager_sim::{Entry, Page, Report, Run, Tier};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct One {
    /// With --seed: print everything that happens.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// With --seed: write a page on which to look at everything that happens.
    #[arg(long, requires = "seed", value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Who judges.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Judges {
    /// Let the named checks alone judge, without the reference model.
    #[arg(long)]
    pub(super) without_model: bool,
}

impl Judges {
    /// The run of a seed before them.
    pub(super) fn run(self, tier: Tier, seed: u64) -> Run {
        let run = Run::seed(tier, seed);
        if self.without_model {
            run.without_model()
        } else {
            run
        }
    }
}

pub(super) fn run(tier: Tier, seed: u64, judges: Judges, arguments: &One) -> bool {
    let report = shown(
        judges.run(tier, seed),
        arguments.trace,
        arguments.html.is_some(),
    );
    println!("seed         {seed} --tier {tier}");
    summary(&report);
    let page = Page {
        view: (&report).into(),
        name: &format!("seed {seed}, {tier}"),
        command: &format!("sim --seed {seed} --tier {tier}"),
    };
    html::write(arguments.html.as_deref(), page) && report.failure.is_none()
}

/// Runs it and prints what it is like and, if asked for, everything that happens; what a page needs is kept
/// for one.
pub(super) fn shown(run: Run, trace: bool, page: bool) -> Report {
    let run = if trace || page { run.logged() } else { run };
    let report = run.run();
    print!("{}", report.options);
    if trace {
        print_log(&report.log);
    }
    report
}

pub(super) fn print_log(log: &[Entry]) {
    for entry in log {
        println!("{entry}");
    }
}

/// What came of a run.
pub(super) fn summary(report: &Report) {
    println!("digest       {:016x}", report.digest);
    let (seconds, millis) = (
        report.simulated / 1_000_000,
        report.simulated / 1_000 % 1_000,
    );
    println!("simulated    {seconds}.{millis:03} s");
    println!("events       {}", report.events);
    println!("decisions    {}", report.tape.len());
    match &report.failure {
        None => println!("verdict      all is well"),
        Some(failure) => println!("verdict      {}: {}", failure.name, failure.detail),
    }
}

//! `sim --seed N`: what the run is like, what came of it, and, if asked for, everything that happens.

use clap::Args;
use jobmanager_sim::{Report, Run, Tier};

#[derive(Debug, Args)]
pub(super) struct One {
    /// With --seed: print everything that happens.
    #[arg(long, requires = "seed")]
    trace: bool,
}

pub(super) fn run(tier: Tier, seed: u64, arguments: &One) -> bool {
    let run = Run::seed(tier, seed);
    let report = if arguments.trace {
        run.logged().run()
    } else {
        run.run()
    };
    print!("{}", report.options);
    for entry in &report.log {
        println!("{entry}");
    }
    println!("seed         {seed} --tier {tier}");
    summary(&report);
    report.failure.is_none()
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

//! `sim`: runs seeds from the command line.
//!
//! `sim --seed N [--trace]` runs one and tells what it was like and what came of it; `sim --seeds A..B`
//! runs many and lists those that fail, each with the command that repeats it. Exit code 1 on failure.

use clap::{Parser, ValueEnum};
use jobmanager_sim::{Mark, Marks, Report, Run, Tier};
use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;

/// Runs the coordinator in a simulated world, where everything that can break does.
#[derive(Debug, Parser)]
#[command(name = "sim", version)]
struct Arguments {
    /// Run this one seed.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// How much of a cluster is simulated.
    #[arg(long, value_enum, default_value_t = TierArgument::Dataflow)]
    tier: TierArgument,
    /// With --seed: print everything that happens.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Run these seeds, the last one excluded: `0..1000`.
    #[arg(long, value_parser = parse_range)]
    seeds: Option<Range<u64>>,
    /// With --seeds: on how many threads.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=256))]
    threads: u64,
    /// With --seeds: print how often each mark was hit.
    #[arg(long)]
    marks: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TierArgument {
    /// Tasks only start, snapshot and end.
    ControlPlane,
    /// Tasks exchange records, and their output is checked.
    Dataflow,
}

impl From<TierArgument> for Tier {
    fn from(argument: TierArgument) -> Tier {
        match argument {
            TierArgument::ControlPlane => Tier::ControlPlane,
            TierArgument::Dataflow => Tier::Dataflow,
        }
    }
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| text.parse::<u64>().ok();
    let ends = text.split_once("..");
    let range = ends.and_then(|(first, end)| Some(number(first)?..number(end)?));
    range
        .filter(|range| !range.is_empty())
        .ok_or_else(|| "two numbers, the smaller one first, are expected: 0..1000".to_owned())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let tier = Tier::from(arguments.tier);
    let well = match (arguments.seed, arguments.seeds) {
        (Some(seed), _) => one(tier, seed, arguments.trace),
        (None, Some(seeds)) => many(tier, seeds, arguments.threads, arguments.marks),
        (None, None) => many(tier, 0..1000, arguments.threads, arguments.marks),
    };
    if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs one seed; tells whether all was well.
fn one(tier: Tier, seed: u64, trace: bool) -> bool {
    let run = Run::seed(tier, seed);
    let report = if trace { run.logged().run() } else { run.run() };
    print!("{}", report.options);
    for entry in &report.log {
        println!("{entry}");
    }
    println!("seed         {seed}");
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
    report.failure.is_none()
}

/// Runs many seeds; tells whether all was well.
fn many(tier: Tier, seeds: Range<u64>, threads: u64, with_marks: bool) -> bool {
    let total = seeds.end - seeds.start;
    let started = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let (sender, reports) = mpsc::channel();
    let mut marks = Marks::default();
    let mut failures = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next, end) = (sender.clone(), &next, seeds.end);
            scope.spawn(move || work(tier, next, end, &sender));
        }
        drop(sender);
        for (done, (seed, report)) in (1..).zip(&reports) {
            marks.add(&report.marks);
            if let Some(failure) = report.failure {
                // At once, too: whoever stops the run early still knows the seed.
                eprintln!("seed {seed} failed: {}", failure.name);
                failures.push((seed, failure));
            }
            progress(done, total, failures.len(), started);
        }
    });
    failures.sort_by(|a, b| (a.1.name, a.0).cmp(&(b.1.name, b.0)));
    for (seed, failure) in &failures {
        println!("{}: {}", failure.name, failure.detail);
        println!("    repeat with: sim --seed {seed} --trace");
    }
    if with_marks {
        for mark in Mark::ALL {
            println!("{:>8} {mark:?}", marks.count(mark));
        }
    }
    let rate = per_second(total, started);
    println!("{total} seeds, {} failed, {rate} seeds/s", failures.len());
    failures.is_empty()
}

fn work(tier: Tier, next: &AtomicU64, end: u64, reports: &mpsc::Sender<(u64, Report)>) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return;
        }
        let mut report = Run::seed(tier, seed).run();
        report.tape = Vec::new();
        if reports.send((seed, report)).is_err() {
            return;
        }
    }
}

fn per_second(count: u64, since: Instant) -> u64 {
    let millis = since.elapsed().as_millis().max(1);
    u64::try_from(u128::from(count) * 1_000 / millis).unwrap_or(u64::MAX)
}

/// One line that is written over on a terminal, and now and then one elsewhere.
fn progress(done: u64, total: u64, failed: usize, started: Instant) {
    let terminal = std::io::stderr().is_terminal();
    if !terminal && !done.is_multiple_of(1_000) {
        return;
    }
    let rate = per_second(done, started);
    let (before, after) = if terminal { ("\r", "") } else { ("", "\n") };
    eprint!("{before}{done}/{total} seeds, {failed} failed, {rate} seeds/s {after}");
    // Nothing depends on the progress being seen.
    let _ = std::io::stderr().flush();
    if terminal && done == total {
        eprintln!();
    }
}

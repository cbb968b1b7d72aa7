//! `sim --seeds A..B`: runs many seeds on several threads and lists those that fail.

use super::TierArguments;
use clap::Args;
use jobmanager_sim::{Failure, Mark, Marks, Report, Run, Tier};
use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

#[derive(Debug, Args)]
pub(super) struct Many {
    /// With --seeds: on how many threads.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=256))]
    threads: u64,
    /// With --seeds: start no more seeds after this many minutes.
    #[arg(long)]
    minutes: Option<u64>,
    /// With --seeds: print how often each mark was hit.
    #[arg(long)]
    marks: bool,
}

/// A run that is over.
struct Ended {
    seed: u64,
    tier: Tier,
    report: Report,
}

/// What all threads take seeds from.
struct Seeds {
    tier: TierArguments,
    next: AtomicU64,
    end: u64,
    until: Option<Instant>,
}

pub(super) fn run(tier: TierArguments, range: Range<u64>, arguments: &Many) -> bool {
    let total = range.end - range.start;
    let started = Instant::now();
    let minutes = arguments
        .minutes
        .map(|minutes| Duration::from_secs(60 * minutes));
    let seeds = Seeds {
        tier,
        next: AtomicU64::new(range.start),
        end: range.end,
        until: minutes.and_then(|time| started.checked_add(time)),
    };
    let (sender, reports) = mpsc::channel();
    let mut marks = Marks::default();
    let mut failures = Vec::new();
    let mut ran = 0;
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads {
            let (sender, seeds) = (sender.clone(), &seeds);
            scope.spawn(move || work(seeds, &sender));
        }
        drop(sender);
        for ended in reports {
            ran += 1;
            marks.add(&ended.report.marks);
            if let Some(failure) = ended.report.failure {
                let Ended { seed, tier, .. } = ended;
                // At once, too: whoever stops the run early still knows the seed.
                eprintln!("seed {seed} --tier {tier} failed: {}", failure.name);
                failures.push((seed, tier, failure));
            }
            progress(ran, total, failures.len(), started);
        }
    });
    list(&mut failures);
    if arguments.marks {
        for mark in Mark::ALL {
            println!("{:>8} {mark:?}", marks.count(mark));
        }
    }
    let rate = per_second(ran, started);
    println!("{ran} seeds, {} failed, {rate} seeds/s", failures.len());
    failures.is_empty()
}

fn work(seeds: &Seeds, reports: &mpsc::Sender<Ended>) {
    while seeds.until.is_none_or(|until| Instant::now() < until) {
        let seed = seeds.next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds.end {
            return;
        }
        let tier = seeds.tier.of(seed);
        let mut report = Run::seed(tier, seed).run();
        report.tape = Vec::new();
        if reports.send(Ended { seed, tier, report }).is_err() {
            return;
        }
    }
}

fn list(failures: &mut [(u64, Tier, Failure)]) {
    failures.sort_by(|a, b| (a.2.name, a.0).cmp(&(b.2.name, b.0)));
    for (seed, tier, failure) in failures {
        println!("{}: {}", failure.name, failure.detail);
        println!("    repeat with: sim --seed {seed} --tier {tier} --trace");
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

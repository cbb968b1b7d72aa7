//! Seeds: the coordinator and the worker in a simulated world, where everything that can break does.
//!
//! `SEED=N cargo test --test seeds` runs just that one seed.

#![allow(clippy::unwrap_used)]

use jobmanager_sim::{Mark, Marks, Report, Run, Tier};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

/// How many seeds every test run tries.
const SEEDS: u64 = 500;
/// A fixed number, so that what is tested does not depend on the machine.
const THREADS: usize = 2;

/// Marks that so few seeds reach that a batch of this size may miss them.
const RARE: [Mark; 2] = [Mark::StaleAcknowledgement, Mark::StalledConnectionBroke];

fn run(seed: u64) -> Report {
    Run::seed(Tier::Dataflow, seed).run()
}

fn run_logged(seed: u64) -> Report {
    Run::seed(Tier::Dataflow, seed).logged().run()
}

/// The one seed that the caller wants, if any.
fn wanted() -> Option<u64> {
    let text = std::env::var("SEED").ok()?;
    Some(text.parse().expect("SEED is a number"))
}

/// Runs seeds on several threads; the failures with their commands, and what was reached.
fn batch(seeds: std::ops::Range<u64>) -> (Vec<String>, Marks) {
    let next = AtomicU64::new(seeds.start);
    let (sender, reports) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let report = run(seed);
                    sender.send((seed, report.failure, report.marks)).unwrap();
                }
            });
        }
    });
    drop(sender);
    let mut failures = Vec::new();
    let mut marks = Marks::default();
    for (seed, failure, reached) in reports {
        marks.add(&reached);
        if let Some(failure) = failure {
            let (name, detail) = (failure.name, failure.detail);
            let command = format!("cargo run --bin sim -- --seed {seed} --trace");
            failures.push(format!("{name}: {detail}\n    repeat with: {command}"));
        }
    }
    failures.sort();
    (failures, marks)
}

#[test]
fn every_promise_holds_whatever_breaks() {
    if let Some(seed) = wanted() {
        let report = run_logged(seed);
        println!("{}", report.options);
        for entry in &report.log {
            println!("{entry}");
        }
        assert_eq!(report.failure, None, "seed {seed}");
        return;
    }
    let (failures, marks) = batch(0..SEEDS);
    let count = failures.len();
    assert!(
        failures.is_empty(),
        "{count} of {SEEDS} seeds failed:\n{}",
        failures.join("\n")
    );
    let missing = |mark: &Mark| marks.count(*mark) == 0 && !RARE.contains(mark);
    let missed: Vec<_> = Mark::ALL.into_iter().filter(missing).collect();
    assert!(
        missed.is_empty(),
        "no seed reached {missed:?}: the faults are too tame"
    );
}

#[test]
fn the_same_seed_is_the_same_run_byte_for_byte() {
    for seed in wanted().map_or(0..5, |seed| seed..seed + 1) {
        let (first, second) = (run_logged(seed), run_logged(seed));
        assert!(first.log == second.log, "seed {seed}: the logs differ");
        assert_eq!(first.digest, second.digest, "seed {seed}");
        assert!(!first.log.is_empty(), "seed {seed}: nothing happened");
    }
}

#[test]
fn a_run_depends_neither_on_its_thread_nor_on_being_watched() {
    let digest = |seed| std::thread::spawn(move || run(seed).digest).join().unwrap();
    for seed in wanted().map_or(5..10, |seed| seed..seed + 1) {
        assert_eq!(digest(seed), run_logged(seed).digest, "seed {seed}");
    }
}

#[test]
fn the_decisions_of_a_run_played_back_give_the_same_run() {
    for seed in wanted().map_or(0..5, |seed| seed..seed + 1) {
        let first = run(seed);
        let again = Run::tape(Tier::Dataflow, first.tape.clone()).run();
        assert_eq!(again.digest, first.digest, "seed {seed}");
        assert_eq!(again.options, first.options, "seed {seed}");
    }
}

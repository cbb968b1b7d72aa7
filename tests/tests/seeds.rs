//! Seeds: the coordinator and the worker in a simulated world, where everything that can break does.
//!
//! `SEED=N [TIER=t] cargo test --test seeds` runs just that one seed and tells what is left of it, shrunk, if
//! it fails. `tests/seeds/` holds tapes of what once broke a promise, each named after the promise.

#![allow(clippy::unwrap_used)]

use jobmanager_sim::{
    Batch, Budget, Ended, Expectation, Goal, Mark, Marks, Report, Run, Tape, Tier,
    golden_differences, golden_digests, golden_line, promise, shrink, transcript,
};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How many seeds every test run tries, of both tiers in their mix: 2,100 and 300.
const SEEDS: u64 = 2_400;
/// A fixed number, so that what is tested does not depend on the machine.
const THREADS: usize = 2;

/// The one seed that the caller wants, if any, with its tier.
fn wanted() -> Option<(u64, Tier)> {
    let text = std::env::var("SEED").ok()?;
    let seed = text.parse().expect("SEED is a number");
    let tier = std::env::var("TIER").ok();
    let tier = tier.map(|tier| tier.parse().expect("TIER is a tier"));
    Some((seed, tier.unwrap_or_else(|| Tier::of_seed(seed))))
}

/// The wanted seed, or a few of each tier.
fn some() -> Vec<(u64, Tier)> {
    let few = |tier| (0..3).map(move |seed| (seed, tier));
    match wanted() {
        Some(wanted) => vec![wanted],
        None => Tier::ALL.into_iter().flat_map(few).collect(),
    }
}

fn run(seed: u64, tier: Tier) -> Report {
    Run::seed(tier, seed).run()
}

fn run_logged(seed: u64, tier: Tier) -> Report {
    Run::seed(tier, seed).logged().run()
}

/// What is left of a failed run when it is shrunk, in words.
fn told(seed: u64, tier: Tier, report: &Report) -> String {
    let failure = report.failure.clone().unwrap();
    let promise = promise(failure.name);
    let shrunk = shrink(tier, report, Goal::Breaks(failure), Budget::default()).unwrap();
    let transcript = transcript(&shrunk.report);
    let command = format!("cargo run --bin sim -- --seed {seed} --tier {tier} --trace");
    format!("{promise}\n    repeat with: {command}\n{transcript}")
}

/// The failures of a batch, with their commands, and what was reached.
fn batch() -> (Vec<String>, Marks) {
    let batch = Batch {
        seeds: 0..SEEDS,
        tier: None,
        threads: THREADS,
        without_model: false,
    };
    let (mut failures, mut marks) = (Vec::new(), Marks::default());
    batch.run(&|| true, |ended| {
        let Ended { seed, tier, report } = ended;
        marks.add(&report.marks);
        if let Some(failure) = report.failure {
            let (name, detail) = (failure.name, failure.detail);
            let command = format!("SEED={seed} TIER={tier} cargo test --test seeds");
            failures.push(format!("{name}: {detail}\n    repeat with: {command}"));
        }
    });
    failures.sort();
    (failures, marks)
}

#[test]
fn every_promise_holds_whatever_breaks() {
    if let Some((seed, tier)) = wanted() {
        let report = run(seed, tier);
        println!("{}", report.options);
        assert!(
            report.failure.is_none(),
            "seed {seed}: {}",
            told(seed, tier, &report)
        );
        return;
    }
    let (failures, marks) = batch();
    let count = failures.len();
    assert!(
        failures.is_empty(),
        "{count} of {SEEDS} seeds failed:\n{}",
        failures.join("\n")
    );
    let missing = |mark: &Mark| marks.count(*mark) == 0;
    let missed: Vec<_> = Mark::ALL.into_iter().filter(missing).collect();
    assert!(
        missed.is_empty(),
        "no seed reached {missed:?}: the faults are too tame"
    );
}

#[test]
fn the_same_seed_is_the_same_run_byte_for_byte() {
    for (seed, tier) in some() {
        let (first, second) = (run_logged(seed, tier), run_logged(seed, tier));
        assert!(first == second, "seed {seed} --tier {tier}");
        assert!(!first.log.is_empty(), "seed {seed}: nothing happened");
    }
}

#[test]
fn a_run_depends_neither_on_its_thread_nor_on_being_watched() {
    let digest = |seed, tier| {
        let elsewhere = std::thread::spawn(move || run(seed, tier).digest);
        elsewhere.join().unwrap()
    };
    for (seed, tier) in some() {
        let watched = run_logged(seed, tier).digest;
        assert_eq!(digest(seed, tier), watched, "seed {seed} --tier {tier}");
    }
}

#[test]
fn the_decisions_of_a_run_written_and_played_back_give_the_same_run() {
    for (seed, tier) in some() {
        let first = run(seed, tier);
        let tape = Tape::of(tier, &first, format!("seed {seed}"));
        let again: Tape = tape.to_string().parse().unwrap();
        let again = again.run().run();
        assert_eq!(again.digest, first.digest, "seed {seed} --tier {tier}");
        assert_eq!(again.options, first.options, "seed {seed} --tier {tier}");
    }
}

/// Digests do not depend on the threads, the batch, the order, or on how the code was compiled. If they are
/// not those of the golden file, the code behaves in another way: `sim golden --write` if that is meant.
#[test]
fn the_golden_runs_are_what_they_were_in_any_batch_and_build() {
    let golden = std::fs::read_to_string(root().join("sim/golden/digests.txt")).unwrap();
    let alone = golden_digests();
    assert_eq!(golden_differences(&golden, &alone), None);
    for threads in [1, 4] {
        for tier in Tier::ALL {
            let batch = Batch {
                seeds: 0..6,
                tier: Some(tier),
                threads,
                without_model: false,
            };
            batch.run(&|| true, |ended| {
                let line = golden_line(tier, ended.seed, ended.report.digest);
                assert!(alone.contains(&line), "{line} on {threads} threads");
            });
        }
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &alone).unwrap();
    let released = Command::new(env!("CARGO"))
        .args([
            "run",
            "--release",
            "-q",
            "-p",
            "jobmanager-sim",
            "--bin",
            "sim",
        ])
        .args(["--", "golden", "--file"])
        .arg(file.path())
        .current_dir(root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&released.stderr);
    assert!(released.status.success(), "in release: {said}");
}

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.unwrap().to_owned()
}

/// The kept tapes, with their names.
fn corpus() -> Vec<(String, Tape)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let tapes = files.filter(|file| file.extension().is_some_and(|end| end == "tape"));
    let mut tapes: Vec<_> = tapes
        .map(|file| {
            let name = file.file_stem().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&file).unwrap();
            let tape = text
                .parse()
                .unwrap_or_else(|wrong| panic!("{name}, {wrong}"));
            (name, tape)
        })
        .collect();
    tapes.sort_by(|a, b| a.0.cmp(&b.0));
    tapes
}

#[test]
fn what_once_broke_a_promise_does_so_no_more_and_still_gets_that_far() {
    let surprises = corpus().into_iter().filter_map(|(name, tape)| {
        let surprise = tape.surprise(&tape.run().run())?;
        Some(format!("tests/seeds/{name}.tape: {surprise}"))
    });
    let surprises: Vec<_> = surprises.collect();
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

#[test]
fn every_kept_tape_says_what_it_is_kept_for() {
    for (name, tape) in corpus() {
        assert_eq!(tape.expect, Expectation::Passes, "{name}");
        assert!(
            !tape.marks.is_empty(),
            "{name} names no mark: see `sim replay --keep`"
        );
        assert!(!tape.about.is_empty(), "{name} is kept for nothing");
    }
}

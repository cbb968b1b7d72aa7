//! What a cluster of real processes reaches on this machine: how soon it answers and runs a job, how
//! soon it recovers, how much memory the JobManager takes, how many words it counts.
//!
//! `cargo bench -p jobmanager-tests --bench figures [-- --quick]`
//!
//! Each figure is measured several times and shown with the goal for a machine with two free cores;
//! nothing fails when a goal is missed. Durations end when REST shows it, asked every [`POLL`].
//!
//! [`POLL`]: measure::POLL

#![allow(clippy::unwrap_used)]

#[path = "../../tests/process/cluster.rs"]
#[allow(dead_code, reason = "the tests of processes use the rest")]
mod cluster;
mod coordination;
mod measure;
#[path = "../../tests/process/process.rs"]
#[allow(dead_code, reason = "the tests of processes use the rest")]
mod process;
#[path = "../../tests/process/rest.rs"]
#[allow(dead_code, reason = "the tests of processes use the rest")]
mod rest;
#[path = "../../tests/process/text.rs"]
#[allow(dead_code, reason = "the tests of processes use the rest")]
mod text;
mod words;

use measure::Table;

/// How often and how long to measure.
struct Effort {
    /// Runs of what takes less than a second.
    short_runs: usize,
    /// Runs of the rest.
    long_runs: usize,
    /// How many words one run counts; a multiple of the number of files.
    words: u64,
}

const FULL: Effort = Effort {
    short_runs: 15,
    long_runs: 3,
    words: 100_000_000,
};
const QUICK: Effort = Effort {
    short_runs: 3,
    long_runs: 1,
    words: 10_000_000,
};

fn main() {
    let effort = match std::env::args().any(|argument| argument == "--quick") {
        true => QUICK,
        false => FULL,
    };
    measure::stop_when_told();
    let table = Table::begin();
    coordination::cold_start(&table, &effort);
    coordination::submission(&table, &effort, 10, "50");
    coordination::submission(&table, &effort, 200, "500");
    coordination::recovery(&table, &effort);
    words::of_text(&table, &effort);
    words::of_datagen(&table, &effort);
    table.end();
}

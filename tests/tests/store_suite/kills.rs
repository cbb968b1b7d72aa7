//! Writers that are killed at any moment: this test program again, as a child.

use crate::contract::{commit, load};
use crate::records::{generation, number_of, put};
use jobmanager::store::Store;
use jobmanager_core::id::Epoch;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// What a child is told by.
pub(crate) type Environment = Vec<(&'static str, OsString)>;

/// Commits without end, and says so after each commit: what a child does.
pub(crate) async fn write_until_killed(store: impl Store) {
    let leader = load(&store).await;
    let last = leader.records.iter().map(number_of).max().unwrap_or(0);
    for number in last + 1.. {
        let ops = generation(number).into_iter().map(put).collect();
        commit(&store, leader.epoch, ops).await;
        println!("\ncommitted {number} in {}", leader.epoch.0);
    }
}

/// Starts this test alone, in a process of its own.
fn spawn_child(test: &str, environment: &Environment) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .envs(environment.iter().cloned())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Lets a child write, kills it some time after this many acknowledged commits, and returns the number
/// and the epoch of the last one that it acknowledged.
fn last_commit_before_the_kill(mut child: Child, commits: u64, spins: u64) -> (u64, u64) {
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut acknowledged = output.lines().map_while(Result::ok).filter_map(|line| {
        let (number, epoch) = line.strip_prefix("committed ")?.split_once(" in ")?;
        Some((number.parse().unwrap(), epoch.parse().unwrap()))
    });
    let last = acknowledged.nth(commits as usize).unwrap();
    // To somewhere within the commits that follow.
    for _ in 0..spins {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    acknowledged.last().unwrap_or(last)
}

/// Kills children that write, and looks at what they leave.
pub(crate) async fn no_kill_loses_a_commit_or_leaves_half_of_one<S: Store>(
    test: &'static str,
    environment: Environment,
    times: usize,
    open: impl AsyncFn() -> S,
) {
    let mut random = ChaCha8Rng::seed_from_u64(42);
    for _ in 0..times {
        let (commits, spins) = (random.next_u64() % 20, random.next_u64() % 400_000);
        let child = spawn_child(test, &environment);
        let killed = move || last_commit_before_the_kill(child, commits, spins);
        let (acknowledged, epoch) = tokio::task::spawn_blocking(killed).await.unwrap();

        let store = open().await;
        let found = load(&store).await;
        store.close().await;
        assert!(found.epoch > Epoch(epoch));
        let number = number_of(&found.records[0]);
        assert!(number >= acknowledged, "commit {acknowledged} was lost");
        assert_eq!(found.records, generation(number), "a half commit");
    }
}

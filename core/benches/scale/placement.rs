//! Slots for one region of 20,000 slots on TaskManagers with four each: the step that places it, which
//! also deploys it.

use crate::cluster::{Chain, Cluster, deployed, reports};
use jobmanager_core::graph::{JobGraph, Partitioning};
use jobmanager_core::id::{AttemptId, SessionId};
use jobmanager_core::jobmanager::Input;
use jobmanager_core::message::{FromTaskManager, TaskReport};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A tenth of the full size, and the full size.
const SLOTS: [u32; 2] = [2_000, 20_000];
const EACH: u32 = 4;

/// One region: all subtasks of the first vertex send to the one of the second.
fn graph(slots: u32) -> Arc<JobGraph> {
    let chain = Chain {
        id: 1,
        parallelism: &[slots, 1],
        partitioning: Partitioning::Global,
        options: &[
            ("restart-strategy.type", "fixed-delay"),
            ("restart-strategy.fixed-delay.attempts", "1000"),
            ("restart-strategy.fixed-delay.delay", "0"),
        ],
    };
    chain.graph()
}

fn counter(slots: u32) -> divan::counter::ItemsCount {
    divan::counter::ItemsCount::new(slots)
}

/// Nobody has been anywhere: the TaskManager with the most free slots is next.
#[divan::bench(args = SLOTS, sample_count = 10, sample_size = 1)]
fn place_for_the_first_time(bencher: divan::Bencher, slots: u32) {
    let mut cluster = Cluster::start(&[]);
    cluster.register(slots / EACH, EACH);
    let commit = cluster.submit(graph(slots)).expect("no write is under way");
    bencher
        .counter(counter(slots))
        .with_inputs(|| cluster.clone())
        .bench_local_values(|mut cluster| {
            let effects = cluster.stored(commit);
            (cluster, effects)
        });
}

/// Every slot comes back to where it was.
#[divan::bench(args = SLOTS, sample_count = 10, sample_size = 1)]
fn place_where_they_were(bencher: divan::Bencher, slots: u32) {
    let (cluster, last) = before_the_restart(slots, 0);
    restart(bencher, slots, &cluster, &last);
}

/// Half of the TaskManagers have been replaced by others.
#[divan::bench(args = SLOTS, sample_count = 10, sample_size = 1)]
fn place_half_elsewhere(bencher: divan::Bencher, slots: u32) {
    let (cluster, last) = before_the_restart(slots, slots / EACH / 2);
    restart(bencher, slots, &cluster, &last);
}

fn restart(
    bencher: divan::Bencher,
    slots: u32,
    cluster: &Cluster,
    last: &(SessionId, FromTaskManager),
) {
    bencher
        .counter(counter(slots))
        .with_inputs(|| (cluster.clone(), last.clone()))
        .bench_local_values(|(mut cluster, (session, message))| {
            let effects = cluster.say(session, message);
            (cluster, effects)
        });
}

/// A job that is about to be placed again: it has failed, so many of its TaskManagers are replaced, and
/// with this message its last task ends.
fn before_the_restart(slots: u32, replaced: u32) -> (Cluster, (SessionId, FromTaskManager)) {
    let mut cluster = Cluster::start(&[]);
    cluster.register(slots / EACH, EACH);
    let attempts = cluster.deploy(graph(slots));
    cluster.report(&attempts, &TaskReport::Running);
    let mut left: BTreeMap<SessionId, Vec<AttemptId>> = attempts.into_iter().collect();
    let (first, failed) = left.iter_mut().next().expect("something is deployed");
    let failed = failed.pop().expect("it has tasks");
    let cause = String::from("disk full");
    cluster.say(*first, reports(&[failed], &TaskReport::Failed { cause }));
    for _ in 0..replaced {
        let (session, _) = left.pop_last().expect("half of them are replaced");
        cluster.take(Input::Disconnected { session });
        cluster.register(1, EACH);
    }
    let (last, attempts) = left.pop_first().expect("half of them stay");
    for (session, attempts) in left {
        cluster.say(session, reports(&attempts, &TaskReport::Canceled));
    }
    let message = reports(&attempts, &TaskReport::Canceled);
    let effects = cluster.clone().say(last, message.clone());
    let tasks: usize = deployed(&effects)
        .iter()
        .map(|(_, tasks)| tasks.len())
        .sum();
    assert_eq!(
        tasks,
        slots as usize + 1,
        "the last task's end restarts the job"
    );
    (cluster, (last, message))
}

/// TaskManagers register one by one while a job waits for all of them.
#[divan::bench(args = SLOTS, sample_count = 3, sample_size = 1)]
fn register_while_a_job_waits(bencher: divan::Bencher, slots: u32) {
    let mut cluster = Cluster::start(&[]);
    let commit = cluster.submit(graph(slots)).expect("no write is under way");
    cluster.stored(commit);
    bencher
        .counter(divan::counter::ItemsCount::new(slots / EACH))
        .with_inputs(|| cluster.clone())
        .bench_local_values(|mut cluster| {
            cluster.register(slots / EACH, EACH);
            cluster
        });
}

//! The ExecutionGraph of a million subtasks: 31 vertices of 32,768, each connected to the next one.

use crate::allocated::allocated;
use crate::cluster::{Chain, Cluster};
use jobmanager_core::graph::{JobGraph, Partitioning, Regions, regions};
use jobmanager_core::id::{AttemptId, SessionId, TaskId};
use jobmanager_core::jobmanager::Input;
use jobmanager_core::message::TaskReport;
use std::sync::Arc;

/// A tenth of the full size, and the full size.
const PARALLELISM: [u32; 2] = [3_277, 32_768];
const VERTICES: usize = 31;
/// Of a TaskManager.
const SLOTS_EACH: u32 = 32;
const RESTARTS: [(&str, &str); 3] = [
    ("restart-strategy.type", "fixed-delay"),
    ("restart-strategy.fixed-delay.attempts", "1000"),
    ("restart-strategy.fixed-delay.delay", "0"),
];

pub(crate) fn graph(parallelism: u32, partitioning: Partitioning) -> Arc<JobGraph> {
    let parallelism = &[parallelism; VERTICES];
    let (id, options) = (1, &RESTARTS);
    let chain = Chain {
        id,
        parallelism,
        partitioning,
        options,
    };
    chain.graph()
}

fn counter(parallelism: u32) -> divan::counter::ItemsCount {
    divan::counter::ItemsCount::new(parallelism as usize * VERTICES)
}

/// The step that takes a submission: the ExecutionGraph with its regions, states and counts.
#[divan::bench(args = PARALLELISM, sample_count = 20, sample_size = 1)]
fn build_all_to_all(bencher: divan::Bencher, parallelism: u32) {
    build(bencher, parallelism, Partitioning::Rebalance);
}

/// The same with as many regions as a vertex has subtasks.
#[divan::bench(args = PARALLELISM, sample_count = 20, sample_size = 1)]
fn build_pointwise(bencher: divan::Bencher, parallelism: u32) {
    build(bencher, parallelism, Partitioning::Forward);
}

fn build(bencher: divan::Bencher, parallelism: u32, partitioning: Partitioning) {
    let graph = graph(parallelism, partitioning);
    bencher
        .counter(counter(parallelism))
        .with_inputs(|| (Cluster::start(&[]), graph.clone()))
        .bench_local_values(|(mut cluster, graph)| {
            cluster.submit(graph);
            cluster
        });
}

/// The pipelined regions alone.
#[divan::bench(args = PARALLELISM, sample_count = 20, sample_size = 1)]
fn regions_all_to_all(bencher: divan::Bencher, parallelism: u32) {
    let graph = graph(parallelism, Partitioning::Rebalance);
    bencher
        .counter(counter(parallelism))
        .bench_local(|| regions(&graph));
}

/// Which tasks restart after one has failed: every one of them is looked at.
#[divan::bench(args = PARALLELISM, sample_count = 20, sample_size = 1)]
fn tasks_to_restart(bencher: divan::Bencher, parallelism: u32) {
    let regions = regions(&graph(parallelism, Partitioning::Rebalance));
    let failed = regions.task(regions.subtasks() / 2);
    bencher
        .counter(counter(parallelism))
        .bench_local(|| to_restart(&regions, failed));
}

fn to_restart(regions: &Regions, failed: TaskId) -> u32 {
    let failed = regions.position(failed).expect("the task exists");
    let members = regions.members(regions.of(failed));
    members.iter().fold(0, |sum, at| divan::black_box(sum ^ at))
}

/// The step that takes a failure in a job that runs: the state of every task changes, and every TaskManager
/// is told which tasks to stop.
#[divan::bench(args = PARALLELISM, sample_count = 5, sample_size = 1)]
fn stop_after_a_failure(bencher: divan::Bencher, parallelism: u32) {
    let (cluster, attempts) = running(parallelism);
    let (session, failed) = (attempts[0].0, attempts[0].1[0]);
    let cause = String::from("disk full");
    let failed = crate::cluster::reports(&[failed], &TaskReport::Failed { cause });
    bencher
        .counter(counter(parallelism))
        .with_inputs(|| (cluster.clone(), failed.clone()))
        .bench_local_values(|(mut cluster, failed)| {
            let effects = cluster.say(session, failed);
            (cluster, effects)
        });
}

/// The step that takes the loss of one of the TaskManagers: its tasks fail, the others are told to stop.
#[divan::bench(args = PARALLELISM, sample_count = 5, sample_size = 1)]
fn stop_after_a_loss(bencher: divan::Bencher, parallelism: u32) {
    let (cluster, attempts) = running(parallelism);
    let session = attempts[0].0;
    bencher
        .counter(counter(parallelism))
        .with_inputs(|| cluster.clone())
        .bench_local_values(|mut cluster| {
            let effects = cluster.take(Input::Disconnected { session });
            (cluster, effects)
        });
}

/// The step that places the job on as many slots as it needs, and deploys it.
#[divan::bench(args = PARALLELISM, sample_count = 5, sample_size = 1)]
fn deploy(bencher: divan::Bencher, parallelism: u32) {
    let mut cluster = Cluster::start(&[]);
    cluster.register(parallelism.div_ceil(SLOTS_EACH), SLOTS_EACH);
    let commit = cluster.submit(graph(parallelism, Partitioning::Rebalance));
    let commit = commit.expect("no write is under way");
    bencher
        .counter(counter(parallelism))
        .with_inputs(|| cluster.clone())
        .bench_local_values(|mut cluster| {
            let effects = cluster.stored(commit);
            (cluster, effects)
        });
}

/// All tasks of a TaskManager say in one message that they run.
#[divan::bench(args = PARALLELISM, sample_count = 5, sample_size = 1)]
fn tasks_of_a_taskmanager_run(bencher: divan::Bencher, parallelism: u32) {
    let mut cluster = Cluster::start(&[]);
    cluster.register(parallelism.div_ceil(SLOTS_EACH), SLOTS_EACH);
    let attempts = cluster.deploy(graph(parallelism, Partitioning::Rebalance));
    bencher
        .counter(divan::counter::ItemsCount::new(attempts[0].1.len()))
        .with_inputs(|| cluster.clone())
        .bench_local_values(|mut cluster| {
            cluster.report(&attempts[..1], &TaskReport::Running);
            cluster
        });
}

type Attempts = Vec<(SessionId, Vec<AttemptId>)>;

/// The job at work.
fn running(parallelism: u32) -> (Cluster, Attempts) {
    let mut cluster = Cluster::start(&[]);
    cluster.register(parallelism.div_ceil(SLOTS_EACH), SLOTS_EACH);
    let attempts = cluster.deploy(graph(parallelism, Partitioning::Rebalance));
    cluster.report(&attempts, &TaskReport::Running);
    (cluster, attempts)
}

/// Prints how many bytes each subtask occupies while the job waits, and while it runs.
pub(crate) fn print_bytes() {
    for parallelism in PARALLELISM {
        for (name, partitioning) in [
            ("all-to-all", Partitioning::Rebalance),
            ("pointwise", Partitioning::Forward),
        ] {
            let (graph, mut cluster) = (graph(parallelism, partitioning), Cluster::start(&[]));
            let before = allocated();
            cluster.submit(graph);
            let bytes = allocated() - before;
            let subtasks = VERTICES * parallelism as usize;
            let (whole, tenths) = (bytes / subtasks, bytes * 10 / subtasks % 10);
            println!("{subtasks} subtasks {name}: {whole}.{tenths} bytes each resident");
        }
    }
}

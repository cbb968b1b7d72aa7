//! Many jobs in one coordinator: submitting them durably, and looking at them.

use crate::cluster::{Chain, Cluster, store_in};
use jobmanager_core::graph::{JobGraph, Partitioning};
use jobmanager_core::id::CommitId;
use std::sync::Arc;

/// A tenth of the full size, and the full size.
const JOBS: [u32; 2] = [1_000, 10_000];
/// How many submissions come until the store has answered: at 50,000 in a second, within 2 ms.
const PER_COMMIT: usize = 100;

fn graphs(jobs: u32) -> Vec<Arc<JobGraph>> {
    let graph = |id: u32| {
        let chain = Chain {
            id: u128::from(id) + 1,
            parallelism: &[1, 1],
            partitioning: Partitioning::Forward,
            options: &[("execution.checkpointing.interval", "10 s")],
        };
        chain.graph()
    };
    (0..jobs).map(graph).collect()
}

/// Until the last job is durable.
fn submit_all(cluster: &mut Cluster, graphs: &[Arc<JobGraph>], per_commit: usize) {
    let mut under_way: Option<CommitId> = None;
    for graphs in graphs.chunks(per_commit) {
        for graph in graphs {
            under_way = cluster.submit(graph.clone()).or(under_way);
        }
        let commit = under_way.expect("submissions are written");
        under_way = store_in(&cluster.stored(commit));
    }
    while let Some(commit) = under_way {
        under_way = store_in(&cluster.stored(commit));
    }
}

fn submit(bencher: divan::Bencher, cluster: &Cluster, jobs: u32, per_commit: usize) {
    let graphs = graphs(jobs);
    bencher
        .counter(divan::counter::ItemsCount::new(jobs))
        .with_inputs(|| cluster.clone())
        .bench_local_values(|mut cluster| {
            submit_all(&mut cluster, &graphs, per_commit);
            cluster
        });
}

/// Each is deployed at once.
#[divan::bench(args = JOBS, sample_count = 5, sample_size = 1)]
fn submit_jobs_that_run(bencher: divan::Bencher, jobs: u32) {
    let mut cluster = Cluster::start(&[]);
    cluster.register(jobs / 10, 10);
    submit(bencher, &cluster, jobs, PER_COMMIT);
}

/// There is no TaskManager: all of them wait.
#[divan::bench(args = JOBS, sample_count = 5, sample_size = 1)]
fn submit_jobs_that_wait(bencher: divan::Bencher, jobs: u32) {
    submit(bencher, &Cluster::start(&[]), jobs, PER_COMMIT);
}

/// The same, one by one: the store answers each before the next one comes.
#[divan::bench(args = JOBS, sample_count = 3, sample_size = 1)]
fn submit_jobs_that_wait_one_by_one(bencher: divan::Bencher, jobs: u32) {
    submit(bencher, &Cluster::start(&[]), jobs, 1);
}

/// A cluster with so many jobs, and as many TaskManagers.
fn crowd(jobs: u32) -> Cluster {
    let mut cluster = Cluster::start(&[]);
    cluster.register(jobs, 1);
    submit_all(&mut cluster, &graphs(jobs), PER_COMMIT);
    cluster
}

/// What a client asks for most often.
#[divan::bench(args = JOBS)]
fn look_at_the_overview(bencher: divan::Bencher, jobs: u32) {
    let cluster = crowd(jobs);
    bencher.bench_local(|| cluster.coordinator.overview());
}

/// One job of all.
#[divan::bench(args = JOBS)]
fn look_at_one_job(bencher: divan::Bencher, jobs: u32) {
    let cluster = crowd(jobs);
    let id = jobmanager_core::id::JobId(u128::from(jobs / 2));
    bencher.bench_local(|| cluster.coordinator.job(id));
}

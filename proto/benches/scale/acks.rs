//! A checkpoint of a job: its acknowledgements as they arrive, until the last one leads to the write; and the
//! step that learns that this is durable and announces it.

use crate::cluster::{Chain, Cluster, store_in};
use crate::{bytes_of, decoded};
use jobmanager_core::graph::{JobGraph, Partitioning};
use jobmanager_core::id::{AttemptId, CheckpointId, CommitId, SessionId};
use jobmanager_core::jobmanager::{Effect, Input};
use jobmanager_core::message::{
    Acknowledgement, FromTaskManager, StateHandle, StateLocation, TaskReport, ToTaskManager,
};
use jobmanager_core::record::{Record, RecordOp};
use jobmanager_proto::encode_record;
use std::sync::Arc;
use std::time::Duration;

/// A tenth of the full size, and the full size.
const SUBTASKS: [u32; 2] = [800, 8_000];
const SLOTS_EACH: u32 = 40;
const INTERVAL: Duration = Duration::from_secs(1);

/// Half of the subtasks send to the other half.
fn graph(subtasks: u32, partitioning: Partitioning) -> Arc<JobGraph> {
    let half = subtasks / 2;
    let chain = Chain {
        id: 1,
        parallelism: &[half, half],
        partitioning,
        options: &[("execution.checkpointing.interval", "1 s")],
    };
    chain.graph()
}

/// As many regions as subtasks.
fn apart(subtasks: u32) -> Arc<JobGraph> {
    let chain = Chain {
        id: 1,
        parallelism: &[subtasks],
        partitioning: Partitioning::Forward,
        options: &[("execution.checkpointing.interval", "1 s")],
    };
    chain.graph()
}

/// A job whose checkpoint is under way: what its tasks will say, as bytes.
fn triggered(graph: Arc<JobGraph>) -> (Cluster, Vec<(SessionId, Vec<u8>)>) {
    let mut cluster = Cluster::start(&[]);
    cluster.register(graph.slots().div_ceil(SLOTS_EACH), SLOTS_EACH);
    let attempts = cluster.deploy(graph);
    let effects = cluster.report(&attempts, &TaskReport::Running);
    assert!(
        store_in(&effects).is_none(),
        "the first ids are durable with the job"
    );
    let (checkpoint, acks) = trigger(&mut cluster, &attempts);
    // Once through: the next one has one before it.
    let effects: Vec<Effect> = acks
        .iter()
        .flat_map(|(session, bytes)| cluster.take(decoded(*session, bytes)))
        .collect();
    let mut commit = store_in(&effects);
    while let Some(under_way) = commit {
        commit = store_in(&cluster.stored(under_way));
    }
    let details = cluster
        .coordinator
        .checkpoints(jobmanager_core::id::JobId(1));
    let details = details.expect("the job is known");
    let latest = details.latest_completed.expect("one has completed");
    assert_eq!((latest.id, details.in_progress), (checkpoint, 0));
    let (_, acks) = trigger(&mut cluster, &attempts);
    (cluster, acks)
}

/// Time passes until the next checkpoint is due.
fn trigger(
    cluster: &mut Cluster,
    attempts: &[(SessionId, Vec<AttemptId>)],
) -> (CheckpointId, Vec<(SessionId, Vec<u8>)>) {
    cluster.now = cluster.now + INTERVAL;
    let effects = cluster.take(Input::Wake);
    let checkpoint = effects.iter().find_map(|effect| {
        let Effect::Send { message, .. } = effect else {
            return None;
        };
        let ToTaskManager::TriggerCheckpoint { checkpoint, .. } = message.message else {
            return None;
        };
        Some(checkpoint)
    });
    let checkpoint = checkpoint.expect("a checkpoint is due");
    let mut acks = Vec::new();
    for (session, attempts) in attempts {
        let bytes = |attempt: &AttemptId| bytes_of(&acknowledgement(*attempt, checkpoint));
        acks.extend(attempts.iter().map(|attempt| (*session, bytes(attempt))));
    }
    (checkpoint, acks)
}

fn acknowledgement(attempt: AttemptId, checkpoint: CheckpointId) -> FromTaskManager {
    let (vertex, subtask) = (attempt.task.vertex.0, attempt.task.subtask.0);
    FromTaskManager::Acknowledge(Acknowledgement {
        attempt,
        checkpoint,
        state: StateHandle::whole(
            StateLocation::File(format!("{}/{vertex}-{subtask}", checkpoint.0)),
            1 << 20,
        ),
    })
}

/// Takes all of them; the store answers `at_once`, or not until the end. The last write.
fn acknowledge(
    cluster: &mut Cluster,
    acks: &[(SessionId, Vec<u8>)],
    at_once: bool,
) -> (CommitId, Vec<Effect>) {
    let mut last = None;
    for (session, bytes) in acks {
        let effects = cluster.take(decoded(*session, bytes));
        let Some(commit) = store_in(&effects) else {
            continue;
        };
        last = Some((commit, effects));
        if at_once {
            let effects = cluster.stored(commit);
            assert!(
                store_in(&effects).is_none(),
                "one write at a time is enough"
            );
        }
    }
    last.expect("what is complete is written")
}

fn acks(bencher: divan::Bencher, graph: Arc<JobGraph>, at_once: bool) {
    let (cluster, acks) = triggered(graph);
    bencher
        .counter(divan::counter::ItemsCount::new(acks.len()))
        .with_inputs(|| cluster.clone())
        .bench_local_values(|mut cluster| {
            let last = acknowledge(&mut cluster, &acks, at_once);
            (cluster, last)
        });
}

/// One region: the last acknowledgement completes it.
#[divan::bench(args = SUBTASKS, sample_count = 20, sample_size = 1)]
fn acks_of_one_region(bencher: divan::Bencher, subtasks: u32) {
    acks(bencher, graph(subtasks, Partitioning::Hash), false);
}

/// A region for each two of them, all of which complete while one write is under way.
#[divan::bench(args = SUBTASKS, sample_count = 20, sample_size = 1)]
fn acks_of_many_regions(bencher: divan::Bencher, subtasks: u32) {
    acks(bencher, graph(subtasks, Partitioning::Forward), false);
}

/// A region for each of them, and a store that is so fast that each completes by a write of its own.
#[divan::bench(args = SUBTASKS, sample_count = 2, sample_size = 1)]
fn acks_of_regions_that_are_stored_one_by_one(bencher: divan::Bencher, subtasks: u32) {
    acks(bencher, apart(subtasks), true);
}

/// The same regions, when the next checkpoint is due already: each of them waits for it.
#[divan::bench(args = SUBTASKS, sample_count = 2, sample_size = 1)]
fn acks_of_many_regions_that_are_late(bencher: divan::Bencher, subtasks: u32) {
    let (mut cluster, acks) = triggered(graph(subtasks, Partitioning::Forward));
    cluster.now = cluster.now + INTERVAL;
    cluster.take(Input::Wake);
    bencher
        .counter(divan::counter::ItemsCount::new(acks.len()))
        .with_inputs(|| cluster.clone())
        .bench_local_values(|mut cluster| {
            let last = acknowledge(&mut cluster, &acks, false);
            (cluster, last)
        });
}

fn finalise(bencher: divan::Bencher, graph: Arc<JobGraph>) {
    let (mut cluster, acks) = triggered(graph);
    let (first, _) = acknowledge(&mut cluster, &acks, false);
    bencher
        .with_inputs(|| cluster.clone())
        .bench_local_values(|mut cluster| {
            let mut commit = Some(first);
            while let Some(under_way) = commit {
                commit = store_in(&cluster.stored(under_way));
            }
            cluster
        });
}

/// From the answer of the store to the announcement.
#[divan::bench(args = SUBTASKS, sample_count = 20, sample_size = 1)]
fn finalise_one_region(bencher: divan::Bencher, subtasks: u32) {
    finalise(bencher, graph(subtasks, Partitioning::Hash));
}

/// The same with what completed while the first write was under way.
#[divan::bench(args = SUBTASKS, sample_count = 20, sample_size = 1)]
fn finalise_many_regions(bencher: divan::Bencher, subtasks: u32) {
    finalise(bencher, apart(subtasks));
}

/// The record of a checkpoint becomes the bytes that are stored.
#[divan::bench(args = SUBTASKS, sample_count = 20, sample_size = 1)]
fn encode_the_record(bencher: divan::Bencher, subtasks: u32) {
    let (mut cluster, acks) = triggered(graph(subtasks, Partitioning::Hash));
    let (_, effects) = acknowledge(&mut cluster, &acks, false);
    let record = effects.into_iter().find_map(|effect| {
        let Effect::Store { ops, .. } = effect else {
            return None;
        };
        ops.into_iter().find_map(checkpoint_record)
    });
    let record = record.expect("the checkpoint is written");
    bencher.bench_local(|| encode_record(&record));
}

fn checkpoint_record(op: RecordOp) -> Option<Record> {
    match op {
        RecordOp::Put(record @ Record::Checkpoint(_)) => Some(record),
        RecordOp::Put(_) | RecordOp::Delete(_) => None,
    }
}

//! Savepoints, and jobs that stop with one.

use super::operators::{TURNS, registry};
use super::pipeline::{COUNT, expected, finish, sorted, sums};
use super::*;
use crate::channel::Barrier;
use crate::sdk::{KeyGroups, State};
use jobmanager_core::message::{AfterSavepoint, SavepointOrder, StateLocation};
use serde_json::json;
use std::path::Path;

/// Where the sources hold if the savepoint is not triggered before: their end comes after it.
const HELD: u64 = COUNT / 3;

fn barrier(after: AfterSavepoint, folder: &Path) -> Barrier {
    let location = format!("file://{}", folder.display());
    Barrier {
        checkpoint: CheckpointId(1),
        savepoint: Some(SavepointOrder { location, after }.into()),
    }
}

/// Has every task of a job take part in savepoint 1.
fn savepoint(cluster: &mut Cluster, attempts: &[AttemptId], barrier: Barrier) -> States {
    let checkpoint = barrier.checkpoint;
    cluster.order(attempts, &Order::Trigger(barrier));
    cluster.snapshots(attempts, checkpoint)
}

/// Waits until these attempts have snapshotted and these have come to the end of their data, in any order.
fn snapshots_and_ends(
    cluster: &mut Cluster,
    snapshotting: &[AttemptId],
    ending: &[AttemptId],
) -> States {
    let (mut states, mut ended) = (States::new(), 0);
    while states.len() < snapshotting.len() || ended < ending.len() {
        match cluster.next() {
            (_, TaskEvent::EndOfData) => ended += 1,
            (attempt, TaskEvent::Snapshotted { state, .. }) => {
                states.insert(attempt.task, state);
            }
            other => panic!("{other:?}"),
        }
    }
    states
}

/// The sums per key of the numbers that come before the positions of the sources, or of those after.
fn sums_of(states: &States, before: bool) -> Vec<String> {
    let position = |subtask| {
        let handle = &states[&task(0, subtask)];
        let StateLocation::Inline(bytes) = &handle.location else {
            panic!("{handle:?} is not inlined");
        };
        let mut state = State::new(KeyGroups::new(128, 2, subtask));
        state.take(bytes, handle.parts.as_deref()).unwrap();
        let [turn] = state.list(TURNS) else {
            // It has come to its end.
            return COUNT;
        };
        let (position, _): (u64, u64) = serde_json::from_slice(turn).unwrap();
        position
    };
    let positions = [position(0), position(1)];
    let mut sums = BTreeMap::new();
    for number in 0..COUNT {
        let is_before = number < positions[usize::from(number % 2 == 1)];
        if is_before == before {
            *sums.entry(number % 10).or_default() += number;
        }
    }
    let line = |(key, sum): (u64, u64)| format!("{key}={sum}");
    sums.into_iter().map(line).collect()
}

/// A job whose sources hold at [`HELD`], with all of its tasks running.
fn held(cluster: &mut Cluster, inline_threshold: u64) -> (Job, Vec<AttemptId>) {
    let config = json!({"count": COUNT, "holdAt": HELD});
    let job = sums(config, exactly_once(inline_threshold));
    let attempts = cluster.deploy(&job);
    cluster.all(&attempts, &TaskEvent::Running);
    (job, attempts)
}

/// The same, suspended with savepoint 1.
fn suspended(cluster: &mut Cluster) -> (Job, Vec<AttemptId>, States) {
    let (job, attempts) = held(cluster, 100_000);
    let barrier = barrier(AfterSavepoint::Suspend, Path::new("/unused"));
    let states = savepoint(cluster, &attempts, barrier);
    assert!(states.values().all(|state| !state.end_of_data));
    (job, attempts, states)
}

/// What the sources say their position is, as a checkpoint that only they take part in.
fn positions(cluster: &mut Cluster, attempts: &[AttemptId], checkpoint: u64) -> States {
    let checkpoint = CheckpointId(checkpoint);
    cluster.order(attempts, &Order::Trigger(checkpoint.into()));
    cluster.snapshots(&attempts[..2], checkpoint)
}

fn of_sources(states: &States) -> States {
    let sources = states.iter().filter(|(task, _)| task.vertex.0 == 0);
    sources.map(|(task, it)| (*task, it.clone())).collect()
}

#[test]
fn a_savepoint_of_a_job_that_goes_on_is_in_its_own_folder_and_can_be_moved() {
    let folder = tempfile::tempdir().unwrap();
    let (first, moved) = (folder.path().join("first"), folder.path().join("moved"));
    let (registry, committed) = registry();
    let mut cluster = Cluster::new(2, registry);
    let (job, attempts) = held(&mut cluster, 0);
    let barrier = barrier(AfterSavepoint::GoOn, &first);
    cluster.order(&attempts, &Order::Trigger(barrier));
    let mut states = snapshots_and_ends(&mut cluster, &attempts, &attempts);
    // The job has gone on, and its checkpoints are where they always are.
    cluster.store_in(&folder.path().join("checkpoints"));
    cluster.checkpoint(&attempts, 2);
    cluster.complete(&attempts, 2, true);
    cluster.all(&attempts, &TaskEvent::Finished);
    assert_eq!(sorted(&committed), expected());
    assert_eq!(std::fs::read_dir(&first).unwrap().count(), attempts.len());

    std::fs::rename(&first, &moved).unwrap();
    for (task, state) in &mut states {
        let name = format!("{}-{}-1.0", task.vertex.0, task.subtask.0);
        let StateLocation::Url(url) = &mut state.location else {
            panic!("{state:?} is not a file of the savepoint");
        };
        assert_eq!(*url, format!("file://{}/{name}", first.display()));
        *url = format!("{}/{name}", moved.display());
    }
    committed.lock().unwrap().clear();
    finish(&mut cluster, &job.restored(states));
    assert_eq!(sorted(&committed), expected());
}

#[test]
fn a_small_snapshot_of_a_savepoint_is_inlined() {
    let (registry, _) = registry();
    let mut cluster = Cluster::new(1, registry);
    let (_, _, states) = suspended(&mut cluster);
    let inline = |state: &StateHandle| matches!(state.location, StateLocation::Inline(_));
    assert!(states.values().all(inline));
}

#[test]
fn a_savepoint_that_cannot_be_written_is_declined_with_its_place() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (registry, _) = registry();
    let mut cluster = Cluster::new(1, registry);
    let (_, attempts) = held(&mut cluster, 0);
    let barrier = barrier(AfterSavepoint::GoOn, &file.path().join("below"));
    cluster.order(&attempts, &Order::Trigger(barrier));
    let messages = cluster.each(&attempts, |event| {
        let TaskEvent::Declined { message, .. } = event else {
            return None;
        };
        Some(message.clone())
    });
    for message in messages.values() {
        assert!(message.contains("Not a directory"), "{message}");
        assert!(message.contains("below"), "{message}");
    }
}

#[test]
fn a_suspended_job_reads_nothing_and_goes_on_without_loss_when_the_savepoint_is_given_up() {
    let given_up = [
        Order::Abort(CheckpointId(1)),
        Order::AbortBelow(CheckpointId(2)),
    ];
    for (taskmanagers, order) in (1..).zip(given_up) {
        let (registry, committed) = registry();
        let mut cluster = Cluster::new(taskmanagers, registry);
        let (_, attempts, states) = suspended(&mut cluster);
        let still = positions(&mut cluster, &attempts, 2);
        assert_eq!(still, of_sources(&states));
        cluster.order(&attempts, &order);
        // The barrier of checkpoint 2 has waited for this.
        snapshots_and_ends(&mut cluster, &attempts[2..], &attempts);
        cluster.checkpoint(&attempts, 3);
        cluster.complete(&attempts, 3, true);
        cluster.all(&attempts, &TaskEvent::Finished);
        assert_eq!(sorted(&committed), expected());
    }
}

#[test]
fn a_suspended_job_finishes_as_it_is_and_its_savepoint_has_the_rest() {
    for taskmanagers in [1, 2] {
        let (registry, committed) = registry();
        let mut cluster = Cluster::new(taskmanagers, registry);
        let (job, attempts, states) = suspended(&mut cluster);
        // Producers first: their channels end before their consumers do, without an end of data.
        for some in [&attempts[..2], &attempts[2..5], &attempts[5..]] {
            cluster.complete(some, 1, true);
            cluster.all(some, &TaskEvent::Finished);
        }
        assert_eq!(sorted(&committed), Vec::<String>::new(), "nothing ended");
        finish(&mut cluster, &job.restored(states));
        assert_eq!(sorted(&committed), expected());
    }
}

#[test]
fn a_suspended_job_whose_savepoint_is_durable_does_not_go_on() {
    let (registry, committed) = registry();
    let mut cluster = Cluster::new(2, registry);
    let (_, attempts, states) = suspended(&mut cluster);
    cluster.complete(&attempts, 1, false);
    cluster.order(&attempts, &Order::AbortBelow(CheckpointId(7)));
    // Orders come before records: time to read is between the answers.
    for checkpoint in 8..12 {
        let still = positions(&mut cluster, &attempts, checkpoint);
        assert_eq!(still, of_sources(&states));
    }
    cluster.complete(&attempts, 1, true);
    cluster.all(&attempts, &TaskEvent::Finished);
    assert_eq!(sorted(&committed), Vec::<String>::new(), "nothing ended");
}

#[test]
fn a_drained_job_ends_its_data_before_the_savepoint_and_publishes_everything() {
    for taskmanagers in [1, 2] {
        let (registry, committed) = registry();
        let mut cluster = Cluster::new(taskmanagers, registry);
        let (job, attempts) = held(&mut cluster, 100_000);
        let barrier = barrier(AfterSavepoint::Drain, Path::new("/unused"));
        cluster.order(&attempts, &Order::Trigger(barrier));
        let states = snapshots_and_ends(&mut cluster, &attempts, &attempts);
        assert!(states.values().all(|state| state.end_of_data));
        assert_eq!(sorted(&committed), Vec::<String>::new());
        cluster.complete(&attempts, 1, true);
        cluster.all(&attempts, &TaskEvent::Finished);
        let drained = sums_of(&states, true);
        assert_eq!(sorted(&committed), drained);
        // Nothing of it is done again.
        finish(&mut cluster, &job.restored(states));
        assert_eq!(sorted(&committed), drained);
    }
}

#[test]
fn a_job_at_its_end_only_snapshots_when_it_is_drained() {
    let (registry, committed) = registry();
    let mut cluster = Cluster::new(1, registry);
    let job = sums(json!({"count": COUNT}), exactly_once(100_000));
    let attempts = cluster.deploy(&job);
    cluster.all(&attempts, &TaskEvent::EndOfData);
    let barrier = barrier(AfterSavepoint::Drain, Path::new("/unused"));
    let states = savepoint(&mut cluster, &attempts, barrier);
    assert!(states.values().all(|state| state.end_of_data));
    cluster.complete(&attempts, 1, true);
    cluster.all(&attempts, &TaskEvent::Finished);
    assert_eq!(sorted(&committed), expected());
}

#[test]
fn a_task_that_is_started_to_finish_publishes_what_it_restores_and_reads_nothing() {
    let (registry, committed) = registry();
    let mut cluster = Cluster::new(1, registry);
    let (job, attempts) = held(&mut cluster, 100_000);
    let barrier = barrier(AfterSavepoint::Drain, Path::new("/unused"));
    cluster.order(&attempts, &Order::Trigger(barrier));
    let states = snapshots_and_ends(&mut cluster, &attempts, &attempts);
    let drained = sums_of(&states, true);
    for attempt in &attempts {
        cluster.cancel(*attempt);
    }
    cluster.all(&attempts, &TaskEvent::Canceled);
    assert_eq!(sorted(&committed), Vec::<String>::new());
    let mut job = job.restored(states);
    job.finish = true;
    let attempts = cluster.deploy(&job);
    let told: Vec<_> = attempts
        .iter()
        .flat_map(|_| [cluster.next().1, cluster.next().1])
        .collect();
    let running = told.iter().filter(|event| **event == TaskEvent::Running);
    let finished = told.iter().filter(|event| **event == TaskEvent::Finished);
    assert_eq!(running.count(), attempts.len());
    assert_eq!(finished.count(), attempts.len());
    assert_eq!(sorted(&committed), drained);
}

#[test]
fn a_task_of_which_the_restored_checkpoint_has_nothing_starts_from_the_beginning() {
    let (registry, committed) = registry();
    let mut cluster = Cluster::new(1, registry);
    let (job, attempts, mut states) = suspended(&mut cluster);
    cluster.complete(&attempts, 1, true);
    cluster.all(&attempts, &TaskEvent::Finished);
    // The operator is new: all that comes to it is the rest of the numbers.
    let rest = sums_of(&states, false);
    states.retain(|task, _| task.vertex.0 != 1);
    finish(&mut cluster, &job.restored(states));
    assert_eq!(sorted(&committed), rest);
}

//! Records, barriers and ends of data through several tasks.

use super::super::Snapshots;
use super::operators::{Committed, registry};
use super::*;
use crate::sdk::KeyGroups;
use jobmanager_core::message::StateLocation;
use serde_json::json;

pub(super) const COUNT: u64 = 20_000;

/// What `numbers` → `sum` → `collect` must yield.
pub(super) fn expected() -> Vec<String> {
    let sum = |key| (0..COUNT).filter(|n| n % 10 == key).sum::<u64>();
    (0..10).map(|key| format!("{key}={}", sum(key))).collect()
}

pub(super) fn sums(config: serde_json::Value, checkpoints: Option<TableCheckpoints>) -> Job {
    let vertices = [
        ("numbers", 2, config),
        ("sum", 3, json!({})),
        ("collect", 1, json!({})),
    ];
    let edges = [Partitioning::Hash, Partitioning::Rebalance];
    Job::new(&vertices, &edges, checkpoints)
}

pub(super) fn sorted(committed: &Committed) -> Vec<String> {
    let mut lines = committed.lock().unwrap().clone();
    lines.sort();
    lines
}

#[test]
fn without_checkpoints_tasks_finish_by_themselves() {
    for taskmanagers in [1, 2] {
        let (registry, committed) = registry();
        let mut cluster = Cluster::new(taskmanagers, registry);
        let attempts = cluster.deploy(&sums(json!({"count": COUNT}), None));
        cluster.all(&attempts, &TaskEvent::Finished);
        assert_eq!(sorted(&committed), expected(), "{taskmanagers}");
    }
}

#[test]
fn with_checkpoints_tasks_finish_with_the_final_one_and_not_before() {
    let (registry, committed) = registry();
    let mut cluster = Cluster::new(2, registry);
    let attempts = cluster.deploy(&sums(json!({"count": COUNT}), exactly_once(1_000)));
    cluster.all(&attempts, &TaskEvent::EndOfData);
    assert_eq!(sorted(&committed), Vec::<String>::new());
    let states = cluster.checkpoint(&attempts, 1);
    assert!(states.values().all(|state| state.end_of_data));
    cluster.complete(&attempts, 1, true);
    cluster.all(&attempts, &TaskEvent::Finished);
    assert_eq!(sorted(&committed), expected());
}

/// Runs until the sources pause, takes checkpoint 1 there, and gives its states back.
fn interrupted(cluster: &mut Cluster, job: &Job) -> States {
    let attempts = cluster.deploy(job);
    cluster.all(&attempts, &TaskEvent::Running);
    let states = cluster.checkpoint(&attempts, 1);
    assert!(states.values().all(|state| !state.end_of_data));
    for attempt in &attempts {
        cluster.cancel(*attempt);
    }
    cluster.all(&attempts, &TaskEvent::Canceled);
    states
}

pub(super) fn finish(cluster: &mut Cluster, job: &Job) {
    let attempts = cluster.deploy(job);
    cluster.all(&attempts, &TaskEvent::EndOfData);
    cluster.checkpoint(&attempts, 2);
    cluster.complete(&attempts, 2, true);
    cluster.all(&attempts, &TaskEvent::Finished);
}

#[test]
fn a_restored_job_goes_on_where_its_snapshots_were_taken() {
    for inline_threshold in [0, 100_000] {
        let folder = tempfile::tempdir().unwrap();
        let (registry, committed) = registry();
        let mut cluster = Cluster::new(2, registry);
        cluster.store_in(folder.path());
        let config = json!({"count": COUNT, "pauseAt": COUNT / 3});
        let job = sums(config, exactly_once(inline_threshold));
        let states = interrupted(&mut cluster, &job);
        for (task, state) in &states {
            let is_file = matches!(state.location, StateLocation::File(_));
            assert_eq!(is_file, inline_threshold == 0, "{task:?}");
        }
        finish(&mut cluster, &job.restored(states));
        assert_eq!(sorted(&committed), expected());
    }
}

#[test]
fn a_job_goes_on_with_another_parallelism_of_each_vertex() {
    for (inline_threshold, parallelisms) in [(0, [3, 1, 2]), (100_000, [1, 5, 3]), (0, [5, 7, 1])] {
        let folder = tempfile::tempdir().unwrap();
        let (registry, committed) = registry();
        let mut cluster = Cluster::new(2, registry);
        cluster.store_in(folder.path());
        let config = json!({"count": COUNT, "pauseAt": COUNT / 3});
        let job = sums(config, exactly_once(inline_threshold));
        let states = interrupted(&mut cluster, &job);
        finish(&mut cluster, &job.rescaled(&states, &parallelisms));
        assert_eq!(sorted(&committed), expected(), "{parallelisms:?}");
    }
}

#[test]
fn a_snapshot_that_lacks_what_the_deployment_names_fails_the_task() {
    let (registry, _) = registry();
    let mut cluster = Cluster::new(1, registry);
    let config = json!({"count": COUNT, "pauseAt": COUNT / 3});
    let job = sums(config, exactly_once(100_000));
    let mut states = interrupted(&mut cluster, &job);
    let source = states.get_mut(&task(0, 1)).unwrap();
    let mut parts = source.parts.as_deref().unwrap().clone();
    parts.lists[0].partitions = 1..2;
    *source = source.narrowed(parts);
    cluster.deploy(&job.restored(states));
    let (failed, cause) = cluster.failure();
    assert_eq!(failed, task(0, 1));
    let expected =
        "restore: an inline snapshot: restored state: it lacks partitions 1..2 of list `turns`";
    assert_eq!(cause, expected);
}

#[test]
fn what_was_restored_from_after_its_end_of_data_does_not_end_twice() {
    let (registry, committed) = registry();
    let mut cluster = Cluster::new(1, registry);
    let job = sums(json!({"count": COUNT}), exactly_once(100_000));
    let attempts = cluster.deploy(&job);
    cluster.all(&attempts, &TaskEvent::EndOfData);
    let states = cluster.checkpoint(&attempts, 1);
    for attempt in &attempts {
        cluster.cancel(*attempt);
    }
    cluster.all(&attempts, &TaskEvent::Canceled);
    // The checkpoint completed, so the sink publishes what its state describes: everything.
    finish(&mut cluster, &job.restored(states));
    assert_eq!(sorted(&committed), expected());
}

#[test]
fn a_task_ends_only_when_its_snapshots_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, _) = registry();
    let cluster = Cluster::new(1, registry);
    cluster.store_in(folder.path());
    let job = sums(json!({"count": COUNT}), exactly_once(0));
    let attempt = job.attempt(task(0, 0));
    for id in 1..=8 {
        let (key_groups, shared) = (KeyGroups::new(128, 2, 0), cluster.shared[0].clone());
        let snapshots = Snapshots::new(attempt, key_groups, &job.table, shared);
        snapshots.take(&CheckpointId(id).into(), false, |state| {
            state.put_key_group(0, vec![7; 4_000_000])
        });
        drop(snapshots);
        let file = folder.path().join(JobId(7).to_string());
        let file = file.join(format!("chk-{id}/0-0-1.0"));
        let size = std::fs::metadata(&file).map_or(0, |it| it.len());
        assert!(size > 4_000_000, "{} is not stored", file.display());
    }
}

#[test]
fn a_snapshot_that_is_gone_fails_the_task_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, _) = registry();
    let mut cluster = Cluster::new(1, registry);
    cluster.store_in(folder.path());
    let config = json!({"count": COUNT, "pauseAt": COUNT / 3});
    let job = sums(config, exactly_once(0));
    let states = interrupted(&mut cluster, &job);
    let lost = folder
        .path()
        .join(JobId(7).to_string())
        .join("chk-1/1-2-1.0");
    std::fs::remove_file(&lost).unwrap();
    cluster.deploy(&job.restored(states));
    let (failed, cause) = cluster.failure();
    assert_eq!(failed, task(1, 2));
    assert!(cause.contains(&*lost.to_string_lossy()), "{cause}");
    assert!(cause.contains("No such file"), "{cause}");
}

#[test]
fn a_damaged_snapshot_fails_the_task_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, _) = registry();
    let mut cluster = Cluster::new(1, registry);
    cluster.store_in(folder.path());
    let config = json!({"count": COUNT, "pauseAt": COUNT / 3});
    let mut job = sums(config, exactly_once(0));
    let states = interrupted(&mut cluster, &job);
    let file = folder
        .path()
        .join(JobId(7).to_string())
        .join("chk-1/1-2-1.0");
    let whole = std::fs::read(&file).unwrap();
    // The version, the first of the index, the operator's last byte, the checksum's first and last one.
    let end = whole.len();
    for at in [0, 1, 2, end - 9, end - 8, end - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&file, damaged).unwrap();
        job = job.restored(states.clone());
        let attempts = cluster.deploy(&job);
        // Its peers of the attempt before may still be failing.
        let cause = loop {
            let (failed, cause) = cluster.failure();
            if failed == task(1, 2) {
                break cause;
            }
        };
        let expected = format!("restore: {}: the file is damaged", file.display());
        assert_eq!(cause, expected, "byte {at}");
        for attempt in attempts {
            cluster.cancel(attempt);
        }
    }
}

#[test]
fn a_snapshot_that_cannot_be_stored_or_taken_declines_the_checkpoint() {
    let (registry, _) = registry();
    let mut cluster = Cluster::new(1, registry);
    let vertices = [("stuck", 1, json!({})), ("collect", 1, json!({}))];
    let job = Job::new(&vertices, &[Partitioning::Forward], exactly_once(0));
    let attempts = cluster.deploy(&job);
    cluster.order(&attempts, &Order::Trigger(CheckpointId(1).into()));
    let messages = cluster.each(&attempts, |event| {
        let TaskEvent::Declined { message, .. } = event else {
            return None;
        };
        Some(message.clone())
    });
    assert_eq!(messages[&task(0, 0)], "will not");
    assert!(messages[&task(1, 0)].contains("no checkpoint storage is known"));
}

#[test]
fn an_operator_without_state_has_nothing_to_snapshot_before_its_end() {
    for (config, at_end) in [(json!({"pauseAt": 0}), false), (json!({"count": 0}), true)] {
        let (registry, _) = registry();
        let mut cluster = Cluster::new(1, registry);
        // No record comes, so it does not panic.
        let vertices = [
            ("numbers", 1, config),
            ("panic", 1, json!({})),
            ("collect", 1, json!({})),
        ];
        let edges = [Partitioning::Forward, Partitioning::Forward];
        let attempts = cluster.deploy(&Job::new(&vertices, &edges, exactly_once(100_000)));
        let event = if at_end {
            TaskEvent::EndOfData
        } else {
            TaskEvent::Running
        };
        cluster.all(&attempts, &event);
        let states = cluster.checkpoint(&attempts, 1);
        let nothing = states.values().map(StateHandle::is_nothing);
        assert!(nothing.eq([false, !at_end, false]));
    }
}

#[test]
fn two_hundred_tasks_exchange_all_to_all() {
    let (registry, committed) = registry();
    let mut cluster = Cluster::new(2, registry);
    let vertices = [
        ("numbers", 100, json!({"count": COUNT})),
        ("sum", 100, json!({})),
        ("collect", 1, json!({})),
    ];
    let edges = [Partitioning::Hash, Partitioning::Rebalance];
    let attempts = cluster.deploy(&Job::new(&vertices, &edges, None));
    cluster.all(&attempts, &TaskEvent::Finished);
    assert_eq!(sorted(&committed), expected());
}

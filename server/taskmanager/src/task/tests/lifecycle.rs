//! How tasks end other than by themselves.

use super::operators::registry;
use super::*;
use serde_json::json;

fn two(first: (&str, serde_json::Value), second: &str) -> Job {
    let vertices = [(first.0, 1, first.1), (second, 1, json!({}))];
    Job::new(&vertices, &[Partitioning::Forward], exactly_once(0))
}

#[test]
fn cancel_ends_a_task_that_waits_for_input_or_is_idle() {
    let (registry, _) = registry();
    let mut cluster = Cluster::new(2, registry);
    let attempts = cluster.deploy(&two(("stuck", json!({})), "collect"));
    cluster.all(&attempts, &TaskEvent::Running);
    for attempt in &attempts {
        cluster.cancel(*attempt);
    }
    cluster.all(&attempts, &TaskEvent::Canceled);
}

#[test]
fn cancel_ends_a_task_that_waits_for_a_slow_consumer() {
    for taskmanagers in [1, 2] {
        let (registry, _) = registry();
        let mut cluster = Cluster::new(taskmanagers, registry);
        let job = two(("numbers", json!({})), "collect");
        // Only the producer is deployed: nobody takes its endless output.
        let producer = job.attempt(task(0, 0));
        let attempts = cluster.deploy(&job);
        cluster.cancel(attempts[1]);
        cluster.all(&attempts[1..], &TaskEvent::Canceled);
        cluster.cancel(producer);
        cluster.all(&attempts[..1], &TaskEvent::Canceled);
    }
}

#[test]
fn a_panic_is_the_failure_of_one_task_with_its_message() {
    let (registry, _) = registry();
    let mut cluster = Cluster::new(1, registry);
    let config = json!({"count": 5});
    let vertices = [("numbers", 1, config), ("panic", 1, json!({}))];
    let job = Job::new(&vertices, &[Partitioning::Forward], None);
    cluster.deploy(&job);
    let (failed, cause) = cluster.failure();
    assert_eq!(failed, task(1, 0));
    assert_eq!(cause, "panic: cannot bear 0");
    // The TaskManager lives on, and the next attempt is a new one.
    let next = Job { attempt: 1, ..job };
    cluster.deploy(&next);
    assert_eq!(cluster.failure().1, "panic: cannot bear 0");
}

#[test]
fn an_operator_in_the_wrong_place_is_named() {
    for (first, second, expected) in [
        (
            "collect",
            "collect",
            "collect is not a source, but its vertex has no inputs",
        ),
        (
            "stuck",
            "numbers",
            "numbers is a source, but its vertex has inputs",
        ),
        (
            "nowhere",
            "collect",
            "nowhere: this TaskManager has no such operator",
        ),
    ] {
        let (registry, _) = registry();
        let mut cluster = Cluster::new(1, registry);
        cluster.deploy(&two((first, json!({})), second));
        let cause = cluster.failure().1;
        let misplaced = cause.contains(expected) || cause.contains("collect is a sink");
        assert!(misplaced, "{cause}");
    }
}

#[test]
fn a_lost_taskmanager_fails_the_consumers_of_its_tasks_with_its_address() {
    let (registry, _) = registry();
    let mut cluster = Cluster::new(2, registry);
    let attempts = cluster.deploy(&two(("stuck", json!({})), "collect"));
    cluster.all(&attempts, &TaskEvent::Running);
    // A checkpoint that was aligned has crossed the connection: it is open.
    cluster.order(&attempts, &Order::Trigger(CheckpointId(1).into()));
    cluster.each(&attempts, |event| {
        matches!(event, TaskEvent::Declined { .. }).then_some(())
    });
    let (running, _) = watch::channel(());
    drop(std::mem::replace(&mut cluster._running, running));
    let (failed, cause) = cluster.failure();
    assert_eq!(failed, task(1, 0));
    assert!(cause.contains(&cluster.addresses[0]), "{cause}");
}

#[test]
fn an_operator_is_told_since_when_the_job_has_its_parallelism() {
    let (registry, _) = registry();
    let mut cluster = Cluster::new(1, registry);
    let mut job = two(("stuck", json!({})), "since");
    for (attempt, since) in [(0, None), (1, Some(job.attempt(task(0, 0)).attempt))] {
        (job.attempt, job.table.vertices[1].since) = (attempt, since);
        cluster.deploy(&job);
        let (failed, cause) = cluster.failure();
        assert_eq!(failed, task(1, 0));
        assert_eq!(cause, format!("since {since:?}"));
    }
}

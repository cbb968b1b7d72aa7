//! What Prometheus is told while processes are killed.

use crate::cluster::Cluster;
use crate::jobs::endless;
use crate::process::wait_for;

/// The sum of the samples of this name.
fn sum(cluster: &Cluster, name: &str) -> f64 {
    let text = cluster.rest.text("/metrics");
    let of_name = |line: &&str| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
    };
    let samples = text.lines().filter(of_name);
    let values = samples.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
    values.sum()
}

#[test]
fn attempts_that_a_new_leader_adopts_and_taskmanagers_that_it_loses_are_counted() {
    let mut cluster = Cluster::start(2, 2, &[]);
    let job = cluster.rest.submit(&endless("metered"));
    cluster.rest.wait_for_all_running(&job);
    assert_eq!(sum(&cluster, "jobmanager_job_adopted_attempts"), 0.0);
    cluster.kill_and_restart_jobmanager();
    cluster.rest.wait_for_all_running(&job);
    assert_eq!(sum(&cluster, "jobmanager_job_adopted_attempts"), 4.0);
    assert_eq!(sum(&cluster, "jobmanager_epoch"), 2.0);
    assert_eq!(sum(&cluster, "flink_jobmanager_job_numRestarts"), 0.0);
    assert_eq!(sum(&cluster, "jobmanager_detection_seconds_count"), 0.0);
    for taskmanager in &mut cluster.taskmanagers {
        taskmanager.kill();
    }
    wait_for("the loss of the TaskManagers", || {
        (sum(&cluster, "jobmanager_detection_seconds_count") == 2.0).then_some(())
    });
    // Those that are waited for are others.
    wait_for_slots_to_be_missing(&cluster);
    assert_eq!(sum(&cluster, "jobmanager_job_adopted_attempts"), 0.0);
}

/// Waits until every task of the job waits for a slot, of which there are none.
fn wait_for_slots_to_be_missing(cluster: &Cluster) {
    wait_for("all tasks to wait for slots", || {
        (sum(cluster, r#"jobmanager_tasks{state="SCHEDULED"}"#) == 4.0).then_some(())
    });
}

#[test]
fn a_new_leader_to_which_no_attempt_is_reported_has_adopted_none() {
    let options = [("jobmanager.failover.reconciliation-timeout", "200 ms")];
    let mut cluster = Cluster::start(1, 2, &options);
    let job = cluster.rest.submit(&endless("metered"));
    // The latest checkpoint says which attempts took it.
    cluster.rest.wait_for_new_checkpoint(&job);
    cluster.kill_everything();
    cluster.start_jobmanager();
    wait_for_slots_to_be_missing(&cluster);
    assert_eq!(sum(&cluster, "jobmanager_job_adopted_attempts"), 0.0);
}

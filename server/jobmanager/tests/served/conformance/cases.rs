//! What is compared: paths of ours, and the recorded answers whose shape theirs has to be.

use super::cluster::Cluster;

/// A path, in which words in capitals stand for ids; what the whole answer is called where [`super::shape`] looks for
/// words of a fixed set; and the recorded answers.
pub(super) struct Case {
    pub(super) path: &'static str,
    pub(super) name: &'static str,
    pub(super) recorded: &'static [&'static str],
}

const fn case(path: &'static str, name: &'static str, recorded: &'static [&'static str]) -> Case {
    Case {
        path,
        name,
        recorded,
    }
}

#[rustfmt::skip]
pub(super) const CASES: [Case; 59] = [
    case("/config", "", &["config"]),
    case("/overview", "", &["overview"]),
    case("/datasets", "", &["datasets"]),
    case("/jars", "", &["jars"]),
    case("/taskmanagers", "", &["taskmanagers"]),
    case("/taskmanagers/metrics", "", &["taskmanagers-metrics"]),
    case("/taskmanagers/TM", "", &["taskmanager"]),
    case("/taskmanagers/TM/logs", "", &["taskmanager-logs"]),
    case("/taskmanagers/TM/metrics", "", &["taskmanager-metrics"]),
    case("/jobmanager/config", "", &["jobmanager-config"]),
    case("/jobmanager/environment", "", &["jobmanager-environment"]),
    case("/jobmanager/logs", "", &["jobmanager-logs"]),
    case("/jobmanager/metrics", "", &["jobmanager-metrics"]),
    case("/jobmanager/metrics?get=numRunningJobs,taskSlotsTotal", "", &["jobmanager-metrics-get"]),
    case("/applications/overview", "", &["applications-overview"]),
    case("/applications/JOB", "application", &["application"]),
    case("/applications/JOB/exceptions", "", &["application-exceptions"]),
    case("/applications/JOB/jobmanager/config", "", &["jobmanager-config"]),
    case("/jobs", "", &["jobs"]),
    case("/jobs/overview", "", &["jobs-overview"]),
    case("/jobs/metrics", "", &["jobs-metrics"]),
    case("/jobs/metrics?get=numberOfCompletedCheckpoints,uptime&agg=min,max,avg,sum", "", &["jobs-metrics-get"]),
    case("/jobs/ANY", "job", &[
        "job", "job-waiting-for-slots", "job-canceled", "job-canceled-waiting", "job-failed", "job-finished",
        "job-restored", "job-stopped",
    ]),
    case("/jobs/ANY/status", "job", &["job-status"]),
    case("/jobs/ANY/config", "", &["job-config", "job-finished-config"]),
    case("/jobs/ANY/plan", "", &["job-plan"]),
    case("/jobs/ANY/accumulators", "", &["job-accumulators"]),
    case("/jobs/ANY/exceptions", "", &["job-exceptions-empty", "job-failed-exceptions"]),
    case("/jobs/FAILED/exceptions?maxExceptions=1", "", &["job-failed-exceptions-max1"]),
    case("/jobs/JOB/execution-result", "", &["job-execution-result-inprogress"]),
    case("/jobs/ENDED/execution-result", "", &[
        "job-finished-execution-result", "job-canceled-execution-result", "job-failed-execution-result",
    ]),
    case("/jobs/ANY/metrics", "", &["job-metrics"]),
    case("/jobs/ANY/metrics?get=uptime,lastCheckpointExternalPath", "", &["job-metrics-get"]),
    case("/jobs/JOB/jobmanager/config", "", &["jobmanager-config"]),
    case("/jobs/JOB/jobmanager/environment", "", &["jobmanager-environment"]),
    case("/jobs/ANY/checkpoints", "", &[
        "job-checkpoints", "job-checkpoints-after-savepoint", "job-finished-checkpoints", "job-restored-checkpoints",
        "job-stopped-checkpoints",
    ]),
    case("/jobs/JOB/checkpoints/config", "", &["job-checkpoints-config"]),
    case("/jobs/JOB/checkpoints/details/CHECKPOINT", "checkpoint", &["job-checkpoint-details"]),
    case("/jobs/JOB/checkpoints/details/CHECKPOINT/subtasks/VERTEX", "checkpoint", &[
        "job-checkpoint-subtasks-v0", "job-checkpoint-subtasks-v1",
    ]),
    case("/jobs/JOB/savepoints/SAVEPOINT", "", &["trigger-savepoint-status"]),
    case("/jobs/WAITING/savepoints/REFUSED", "", &["trigger-savepoint-waiting-status"]),
    case("/jobs/JOB/vertices/VERTEX", "vertex", &["vertex0", "vertex1", "job-finished-vertex"]),
    case("/jobs/JOB/vertices/VERTEX/taskmanagers", "vertex", &["vertex0-taskmanagers", "vertex1-taskmanagers"]),
    case("/jobs/JOB/vertices/VERTEX/subtasktimes", "", &["subtasktimes"]),
    case("/jobs/JOB/vertices/VERTEX/accumulators", "", &["vertex0-accumulators"]),
    case("/jobs/JOB/vertices/VERTEX/backpressure", "", &["job-finished-backpressure"]),
    case("/jobs/JOB/vertices/VERTEX/flamegraph", "", &["flamegraph"]),
    case("/jobs/JOB/vertices/VERTEX/watermarks", "", &["watermarks"]),
    case("/jobs/JOB/vertices/VERTEX/jm-operator-metrics", "", &["vertex0-jm-operator-metrics"]),
    case("/jobs/JOB/vertices/VERTEX/metrics", "", &["vertex0-metrics"]),
    case("/jobs/JOB/vertices/VERTEX/metrics?get=0.numRecordsOut", "", &["vertex0-metrics-get"]),
    case("/jobs/JOB/vertices/VERTEX/subtasks/metrics", "", &["vertex0-subtasks-metrics"]),
    case("/jobs/JOB/vertices/VERTEX/subtasks/metrics?get=numRecordsIn,numRecordsOut", "", &[
        "vertex0-subtasks-metrics-get",
    ]),
    case("/jobs/JOB/vertices/VERTEX/subtasks/metrics?get=numRecordsOut&agg=max,sum&subtasks=0", "", &[
        "vertex0-subtasks-metrics-get-agg",
    ]),
    case("/jobs/JOB/vertices/VERTEX/subtasks/accumulators", "", &["vertex0-subtasks-accumulators"]),
    case("/jobs/JOB/vertices/VERTEX/subtasks/0", "subtask", &["vertex0-subtask0"]),
    case("/jobs/JOB/vertices/VERTEX/subtasks/0/metrics", "", &["vertex0-subtask0-metrics"]),
    case("/jobs/JOB/vertices/VERTEX/subtasks/0/attempts/1", "subtask", &["vertex0-subtask0-attempt0"]),
    case("/jobs/JOB/vertices/VERTEX/subtasks/0/attempts/1/accumulators", "", &[
        "vertex0-subtask0-attempt0-accumulators",
    ]),
];

/// The paths that one stands for: one of each thing of the cluster that has this name.
pub(super) fn paths(path: &str, cluster: &Cluster) -> Vec<String> {
    let Cluster {
        job,
        finished,
        failed,
        stopped,
        waiting,
        canceled,
        ..
    } = cluster;
    let ended = [finished, failed, canceled].map(String::as_str);
    let any = [job, finished, failed, stopped, waiting, canceled].map(String::as_str);
    let vertices: Vec<&str> = cluster.vertices.iter().map(String::as_str).collect();
    let checkpoint = cluster.checkpoint.to_string();
    let names: [(&str, &[&str]); 9] = [
        ("ANY", &any),
        ("ENDED", &ended),
        ("FAILED", &[failed]),
        ("WAITING", &[waiting]),
        ("JOB", &[job]),
        ("VERTEX", &vertices),
        ("CHECKPOINT", &[&checkpoint]),
        ("SAVEPOINT", &[&cluster.savepoint]),
        ("REFUSED", &[&cluster.refused]),
    ];
    let mut paths = vec![path.replace("TM", &cluster.taskmanager)];
    for (name, ids) in names {
        paths = paths
            .iter()
            .flat_map(|path| ids.iter().map(move |id| path.replace(name, id)))
            .collect();
        paths.dedup();
    }
    paths
}

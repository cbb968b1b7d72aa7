//! Jobs.

use super::{Route, get, patch, post, put, recorded};
use crate::rest::openapi::{
    AGG, BOUNDS, CHOSEN_JOBS, GET, GRAPH, LIMIT, MAX_EXCEPTIONS, MODE, OFFSET,
};
use crate::rest::{attempts, commands, job, metrics, parallelism, plan, result, settings, why};
use crate::security::Role::{Operator, Viewer};

const SUBMITTED: &str = r#"{"jobUrl": "/jobs/7f33cc341a0ccd8f1312e04dd86817c3", "jobid": "7f33cc341a0ccd8f1312e04dd86817c3"}"#;
const WHY: &str = r#"{"job": "7f33cc341a0ccd8f1312e04dd86817c3", "status": "RUNNING", "causes": [
  {"kind": "waits-for-slots", "text": "2 tasks wait for 2 slots", "unblock": "Start TaskManagers with 2 more slots", "because": []}],
 "next-checkpoint": null}"#;
const PARALLELISM: &str = r#"{"changing": false, "problem": null, "vertices": [
  {"id": "0123456789abcdef0123456789abcdef", "graph-id": "count", "name": "count", "parallelism": 2,
   "maxParallelism": 128, "lowerBound": 1, "upperBound": 4}]}"#;
const ATTEMPTS: &str = r#"{"now": 1700000005000, "since": 1700000000000, "too-many": false, "subtasks": [
  {"vertex": "0123456789abcdef0123456789abcdef", "subtask": 0, "attempts": [
    {"epoch": 3, "attempt": 1, "taskmanager-id": "tm-0", "older": false, "end-time": -1,
     "states": [{"state": "DEPLOYING", "timestamp": 1700000001000}, {"state": "RUNNING", "timestamp": 1700000001050}]},
    {"epoch": 3, "attempt": 2, "taskmanager-id": null, "older": false, "end-time": -1,
     "states": [{"state": "SCHEDULED", "timestamp": 1700000002000}]}]}]}"#;

#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    vec![
        get(Viewer, "/jobs", job::ids, "The ids of all jobs, with their states")
            .asks(&[OFFSET, LIMIT]).gives(recorded!("jobs")),
        post(Operator, "/jobs", commands::submit, "Submit a job: a graph of operators")
            .takes(GRAPH).with(202).gives(SUBMITTED),
        get(Viewer, "/jobs/overview", job::overview, "All jobs, each in a line")
            .asks(&[OFFSET, LIMIT]).gives(recorded!("jobs-overview")),
        get(Viewer, "/jobs/metrics", metrics::jobs, "Metrics of jobs: their names, or aggregates of some")
            .asks(&[GET, AGG, CHOSEN_JOBS]).gives(recorded!("jobs-metrics")),
        get(Viewer, "/jobs/{job}", job::details, "One job: its vertices, states and times").gives(recorded!("job")),
        patch(Operator, "/jobs/{job}", commands::cancel, "Cancel a job").asks(&[MODE]).with(202),
        get(Viewer, "/jobs/{job}/status", job::status, "Its state alone").gives(recorded!("job-status")),
        get(Viewer, "/jobs/{job}/why", why::why, "What it waits for, and what would help").gives(WHY),
        get(Viewer, "/jobs/{job}/parallelism", parallelism::shown, "How many subtasks its vertices have, and are to have")
            .gives(PARALLELISM),
        get(Viewer, "/jobs/{job}/attempts", attempts::attempts, "The attempts of its subtasks that this leader has seen, with their states")
            .asks(&[OFFSET, LIMIT]).gives(ATTEMPTS),
        get(Viewer, "/jobs/{job}/resource-requirements", parallelism::requirements, "The bounds of its parallelism").gives(BOUNDS.example),
        put(Operator, "/jobs/{job}/resource-requirements", parallelism::set, "Change the bounds of its parallelism, of every vertex")
            .takes(BOUNDS),
        patch(Operator, "/jobs/{job}/resource-requirements", parallelism::change, "Change the bounds of its parallelism, of some vertices")
            .takes(BOUNDS),
        get(Viewer, "/jobs/{job}/config", settings::job, "Its options").gives(recorded!("job-config")),
        get(Viewer, "/jobs/{job}/plan", plan::plan, "Its graph").gives(recorded!("job-plan")),
        get(Viewer, "/jobs/{job}/exceptions", job::exceptions, "Its failures, the latest first")
            .asks(&[MAX_EXCEPTIONS]).gives(recorded!("job-failed-exceptions-max1")),
        get(Viewer, "/jobs/{job}/execution-result", result::execution_result, "How it ended")
            .gives(recorded!("job-finished-execution-result")),
        get(Viewer, "/jobs/{job}/accumulators", result::accumulators, "Its accumulators: none")
            .gives(recorded!("job-accumulators")),
        get(Viewer, "/jobs/{job}/metrics", metrics::job, "Its metrics: their names, or the values of some")
            .asks(&[GET]).gives(recorded!("job-metrics")),
        get(Operator, "/jobs/{job}/yarn-cancel", commands::yarn_cancel, "Cancel a job, for clients that can only read").with(202),
        get(Viewer, "/jobs/{job}/jobmanager/config", settings::cluster_of_job, "The options of its JobManager")
            .gives(recorded!("jobmanager-config")),
        get(Viewer, "/jobs/{job}/jobmanager/environment", settings::environment_of_job, "What its JobManager runs on")
            .gives(recorded!("jobmanager-environment")),
    ]
}

//! Our answers beside those of a real Flink 2.3.0: the same fields, of the same types, with the same words.
//!
//! What differs is in [`DIFFERENCES`], each with the reason, and nothing else does.

mod cases;
mod cluster;
mod routes;
mod shape;

use cases::{CASES, paths};
use cluster::Cluster;
use serde_json::Value;
use shape::Shape;
use std::collections::BTreeSet;
use std::path::Path;

fn recorded(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flink-2.3.0");
    let text = std::fs::read_to_string(folder.join(format!("{name}.json")));
    serde_json::from_str(&text.unwrap()).unwrap()
}

/// `route path: what`, and why that is so.
const DIFFERENCES: [(&str, &str); 20] = [
    (
        "/jobs/ANY .failure-cause: ours alone",
        "why the job failed, without another request",
    ),
    (
        "/jobs/ANY .restarts: ours alone",
        "how often a region was restarted",
    ),
    (
        "/jobs/ANY .vertices[].operator: ours alone",
        "which operator of the TaskManagers it is",
    ),
    (
        "/jobs/ANY .waiting-for: ours alone",
        "what the job waits for",
    ),
    (
        "/jobs/ANY/checkpoints .latest.completed: Null, not {Object}",
        "a job that waits has none, which was not recorded",
    ),
    (
        "/jobs/ANY/checkpoints .history[].first_ack_timestamp: ours alone",
        "when the first subtask acknowledged",
    ),
    (
        "/jobs/ANY/checkpoints .history[].slowest: ours alone",
        "which subtask acknowledged last",
    ),
    (
        "/jobs/ANY/checkpoints .latest.completed.first_ack_timestamp: ours alone",
        "when the first subtask acknowledged",
    ),
    (
        "/jobs/ANY/checkpoints .latest.completed.slowest: ours alone",
        "which subtask acknowledged last",
    ),
    (
        "/jobs/ANY/checkpoints .latest.savepoint.first_ack_timestamp: ours alone",
        "when the first subtask acknowledged",
    ),
    (
        "/jobs/ANY/checkpoints .latest.savepoint.slowest: ours alone",
        "which subtask acknowledged last",
    ),
    (
        "/jobs/ANY/checkpoints .retained: ours alone",
        "what outlives the job, and whether it is already there",
    ),
    (
        "/jobs/JOB/checkpoints/details/CHECKPOINT .first_ack_timestamp: ours alone",
        "when the first subtask acknowledged",
    ),
    (
        "/jobs/JOB/checkpoints/details/CHECKPOINT .slowest: ours alone",
        "which subtask acknowledged last",
    ),
    (
        "/overview .store-problem: ours alone",
        "why nothing can be made durable",
    ),
    (
        "/taskmanagers .taskmanagers[].answering: ours alone",
        "whether tasks are given to it",
    ),
    (
        "/taskmanagers .taskmanagers[].incarnation: ours alone",
        "which life of the process it is",
    ),
    (
        "/taskmanagers/TM .allocatedSlots[].slot: ours alone",
        "slots have numbers here",
    ),
    (
        "/taskmanagers/TM .answering: ours alone",
        "whether tasks are given to it",
    ),
    (
        "/taskmanagers/TM .incarnation: ours alone",
        "which life of the process it is",
    ),
];

/// The same of a checkpoint that has failed. Whether one has by then, nobody decides.
const SOMETIMES: [&str; 2] = [
    "/jobs/ANY/checkpoints .latest.failed.first_ack_timestamp: ours alone",
    "/jobs/ANY/checkpoints .latest.failed.slowest: ours alone",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_have_the_shapes_of_flinks() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(folder.path()).await;
    let mut found = BTreeSet::new();
    for case in CASES {
        let values: Vec<Value> = case.recorded.iter().map(|name| recorded(name)).collect();
        let shape = Shape::of(&values);
        for path in paths(case.path, &cluster) {
            for prefix in ["", "/v1"] {
                let ours = cluster.running.get(&format!("{prefix}{path}")).await;
                let differences = shape.differences(&ours, case.name);
                found.extend(differences.iter().map(|it| format!("{} {it}", case.path)));
            }
        }
    }
    routes::check_mistakes(&cluster).await;
    routes::check_triggers(&cluster).await;
    routes::check_document(&cluster).await;
    routes::check(&cluster).await;
    cluster.stop().await;
    found.retain(|it| !SOMETIMES.contains(&it.as_str()));
    let known: BTreeSet<String> = DIFFERENCES.iter().map(|(it, _)| (*it).to_owned()).collect();
    let unknown: Vec<_> = found.difference(&known).collect();
    assert!(unknown.is_empty(), "not said to differ:\n{unknown:#?}");
    let gone: Vec<_> = known.difference(&found).collect();
    assert!(gone.is_empty(), "said to differ, and does not:\n{gone:#?}");
}

//! Tasks and TaskManagers that fail, and what they fail on: the job follows its restart strategy, and
//! says what happened.

use crate::cluster::{Cluster, jobmanager};
use crate::jobs::{WordJob, endless};
use crate::process::{Process, wait_for};
use crate::text::{assert_same, committed, counted, words, write_files};
use serde_json::json;

#[test]
fn a_task_that_throws_is_restarted_and_the_result_is_right() {
    let cluster = Cluster::start(2, 2, &[]);
    let text = write_files(&cluster.path("input"), 51, 1_000);
    let (input, out, copy) = (
        cluster.path("input"),
        cluster.path("out"),
        cluster.path("copy"),
    );
    let mut job = WordJob::new(&input, &out, &copy);
    job.rate = Some(250);
    job.between = ("fail-once", json!({"afterRecords": 125, "subtask": 1}));
    let job = cluster.rest.submit(&job.json());
    cluster.rest.wait_for_state(&job, "FINISHED");
    assert_same(&committed(&out), &counted(&text));
    let mut all: Vec<_> = words(&text).collect();
    all.sort();
    assert_same(&committed(&copy), &all);
    let failures = cluster.rest.failures(&job);
    assert!(
        failures.contains("between (2/4) - execution #0"),
        "{failures}"
    );
    let restarts = cluster.rest.get(&format!("/jobs/{job}"))["restarts"].clone();
    assert_eq!(restarts, 1);
}

#[test]
fn without_a_restart_strategy_the_first_failure_is_the_end() {
    let cluster = Cluster::start(1, 4, &[]);
    write_files(&cluster.path("input"), 52, 100);
    let (input, out, copy) = (
        cluster.path("input"),
        cluster.path("out"),
        cluster.path("copy"),
    );
    let mut job = WordJob::new(&input, &out, &copy);
    job.between = ("fail-once", json!({"afterRecords": 1, "subtask": 0}));
    let mut job = job.json();
    job["configuration"] = json!({"restart-strategy.type": "none"});
    let file = cluster.path("job.json");
    std::fs::write(&file, job.to_string()).unwrap();

    let mut run = jobmanager();
    run.arg("run").arg(&file);
    run.args(["--jobmanager", &cluster.rest.address]);
    let mut run = Process::start(&mut run, &cluster.path("run.log"));
    assert_eq!(run.end().code(), Some(1), "{}", run.output());
    assert!(run.output().contains("between"), "{}", run.output());

    let jobs = cluster.rest.get("/jobs/overview");
    let id = jobs["jobs"][0]["jid"].as_str().unwrap();
    assert_eq!(cluster.rest.state(id), "FAILED");
    assert!(
        cluster
            .rest
            .failures(id)
            .contains("between (1/4) - execution #0")
    );
    assert!(
        committed(&out).is_empty(),
        "a failed job has published something"
    );
}

/// A job that cannot work, and what its failures must name.
fn fails_with(cluster: &Cluster, job: &serde_json::Value, words: &[&str]) {
    let id = cluster.rest.submit(job);
    cluster.rest.wait_for_state(&id, "FAILED");
    let failures = cluster.rest.failures(&id);
    for word in words {
        assert!(failures.contains(word), "`{word}` is not in {failures}");
    }
}

#[test]
fn a_failure_names_the_path_and_says_what_the_system_said() {
    let cluster = Cluster::start(1, 4, &[]);
    write_files(&cluster.path("input"), 53, 100);
    let (input, out, copy) = (
        cluster.path("input"),
        cluster.path("out"),
        cluster.path("copy"),
    );
    let no_restart = json!({"restart-strategy.type": "none"});

    let missing = cluster.path("nothing-here");
    let mut job = WordJob::new(&missing, &out, &copy).json();
    job["configuration"] = no_restart.clone();
    fails_with(
        &cluster,
        &job,
        &["nothing-here", "No such file or directory"],
    );

    // A folder below a file cannot be made, not even by root.
    let unwritable = cluster.path("input").join("empty").join("out");
    let mut job = WordJob::new(&input, &unwritable, &copy).json();
    job["configuration"] = no_restart;
    fails_with(&cluster, &job, &["input/empty/out", "Not a directory"]);
}

#[test]
fn checkpoints_that_cannot_be_written_fail_and_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = folder.path().join("checkpoints");
    let storage = format!("file://{}", checkpoints.display());
    let cluster = Cluster::start(1, 2, &[("execution.checkpointing.dir", &storage)]);
    // It could be written when the JobManager started, and no more after that, not even by root.
    std::fs::remove_dir(&checkpoints).unwrap();
    std::fs::write(&checkpoints, "in the way").unwrap();
    let mut job = endless("no-storage");
    job["configuration"] = json!({
        "execution.checkpointing.interval": "50 ms",
        "execution.checkpointing.data-inline-threshold": "0 b",
        "restart-strategy.type": "none"});
    fails_with(&cluster, &job, &["Not a directory", "checkpoints"]);
}

#[test]
fn an_operator_that_nobody_offers_is_waited_for() {
    let cluster = Cluster::start(1, 2, &[]);
    let mut job = endless("waits");
    job["vertices"][1]["operator"] = json!("my-own-sink");
    let id = cluster.rest.submit(&job);
    wait_for("the status to say what is missing", || {
        let job = cluster.rest.get(&format!("/jobs/{id}"));
        let waiting = job["waiting-for"].as_str()?;
        waiting.contains("my-own-sink").then_some(())
    });
    let (status, _) = cluster
        .rest
        .ask("PATCH", &format!("/jobs/{id}?mode=cancel"), b"")
        .unwrap();
    assert_eq!(status, 202);
    cluster.rest.wait_for_state(&id, "CANCELED");
}

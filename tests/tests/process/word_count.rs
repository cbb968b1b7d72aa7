//! A word count that nothing disturbs.

use crate::cluster::Cluster;
use crate::jobs::WordJob;
use crate::text::{assert_same, committed, counted, words, write_files};

#[test]
fn words_are_counted_right_by_four_subtasks_on_three_taskmanagers() {
    let cluster = Cluster::start(3, 2, &[]);
    let text = write_files(&cluster.path("input"), 1, 3_000);
    let (input, out, copy) = (
        cluster.path("input"),
        cluster.path("out"),
        cluster.path("copy"),
    );
    let job = cluster
        .rest
        .submit(&WordJob::new(&input, &out, &copy).json());
    cluster.rest.wait_for_state(&job, "FINISHED");
    assert_same(&committed(&out), &counted(&text));
    let mut all: Vec<_> = words(&text).collect();
    all.sort();
    assert_same(&committed(&copy), &all);
    let restarts = cluster.rest.get(&format!("/jobs/{job}"))["restarts"].clone();
    assert_eq!(restarts, 0);
}

#[test]
fn a_job_without_checkpoints_publishes_at_the_end() {
    let cluster = Cluster::start(1, 4, &[]);
    let text = write_files(&cluster.path("input"), 2, 500);
    let (input, out, copy) = (
        cluster.path("input"),
        cluster.path("out"),
        cluster.path("copy"),
    );
    let mut job = WordJob::new(&input, &out, &copy).json();
    job["configuration"] = serde_json::json!({});
    let job = cluster.rest.submit(&job);
    cluster.rest.wait_for_state(&job, "FINISHED");
    assert_eq!(cluster.rest.checkpoint_count(&job, "completed"), 0);
    assert_same(&committed(&out), &counted(&text));
}

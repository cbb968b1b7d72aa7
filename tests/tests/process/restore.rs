//! Jobs that start from a savepoint: what they publish together with the job that was stopped is published once.

use crate::clients::client;
use crate::process::wait_for;
use crate::savepoints::{Numbers, folder};
use serde_json::{Value, json};
use std::path::PathBuf;

/// A job that was stopped with a savepoint, which was moved since.
struct Stopped {
    run: Numbers,
    moved: PathBuf,
}

impl Stopped {
    fn new(inline_threshold: &str) -> Self {
        let run = Numbers::start(2, inline_threshold);
        let savepoint = run.stop();
        run.assert_stopped(&savepoint);
        let location = run.cluster.rest.outcome(&savepoint).unwrap();
        let moved = run.cluster.path("moved");
        std::fs::rename(folder(&location), &moved).unwrap();
        Stopped { run, moved }
    }

    /// Runs `run --from-savepoint` with this job.
    fn start(&self, graph: &Value, more: &[&str]) -> (i32, String, String) {
        self.start_from(self.moved.to_str().unwrap(), graph, more)
    }

    fn start_from(&self, path: &str, graph: &Value, more: &[&str]) -> (i32, String, String) {
        let file = self.run.cluster.path("job.json");
        std::fs::write(&file, graph.to_string()).unwrap();
        let mut arguments = vec!["run", file.to_str().unwrap(), "--detached"];
        arguments.extend(["--from-savepoint", path]);
        arguments.extend(more);
        client(&self.run.cluster.rest.address, &arguments)
    }

    /// The job with this id goes on for a while, and is stopped.
    fn goes_on(&mut self, started: &(i32, String, String)) {
        let (code, out, error) = started;
        assert_eq!(*code, 0, "{error}");
        let id = out.trim().rsplit(' ').next().unwrap();
        id.clone_into(&mut self.run.job);
        let before = self.run.assert_prefix();
        wait_for("the job to publish more", || {
            (self.run.assert_prefix() > before).then_some(())
        });
        self.run.assert_stopped(&self.run.stop());
    }
}

#[test]
fn a_job_goes_on_where_another_one_stopped() {
    for inline_threshold in ["20 kb", "0 b"] {
        let mut stopped = Stopped::new(inline_threshold);
        let graph = stopped.run.graph.clone();
        let started = stopped.start(&graph, &[]);
        stopped.goes_on(&started);
        stopped.run.assert_prefix();
        // The savepoint was not the job's.
        assert!(stopped.moved.join("_metadata").exists());
    }
}

#[test]
fn a_job_goes_on_although_everything_is_killed_before_its_first_checkpoint() {
    let mut stopped = Stopped::new("0 b");
    let mut graph = stopped.run.graph.clone();
    graph["configuration"]["execution.checkpointing.interval"] = json!("2 s");
    let started = stopped.start(&graph, &[]);
    stopped.run.cluster.kill_everything();
    stopped.run.cluster.start_everything();
    stopped.goes_on(&started);
    stopped.run.assert_prefix();
}

#[test]
fn a_job_that_cannot_take_the_state_is_refused_with_every_reason() {
    let mut stopped = Stopped::new("20 kb");
    let mut graph = stopped.run.graph.clone();
    for vertex in graph["vertices"].as_array_mut().unwrap() {
        vertex["parallelism"] = json!(1);
    }
    let (code, _, error) = stopped.start(&graph, &[]);
    assert_eq!(code, 4, "{error}");
    for vertex in ["`numbers`", "`out`"] {
        let reason = format!("vertex {vertex} has parallelism 1, and had 2");
        assert!(error.contains(&reason), "{error}");
    }

    // A source of another name would begin anew, and what the first one had counted would be lost.
    let mut graph = stopped.run.graph.clone();
    graph["vertices"][0]["id"] = json!("other");
    graph["edges"][0]["source"] = json!("other");
    graph["vertices"][1]["config"]["path"] = json!(stopped.run.cluster.path("other"));
    let (code, _, error) = stopped.start(&graph, &[]);
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("the state of `numbers`"), "{error}");
    let (code, _, error) = stopped.start(&graph, &["--allow-non-restored-state"]);
    assert_eq!(code, 0, "{error}");

    for (path, words) in [
        ("/nowhere/at/all", "no file `_metadata`"),
        ("savepoints/1", "absolute path"),
        ("s3://bucket/savepoint", "s3://bucket/savepoint"),
    ] {
        let (code, _, error) = stopped.start_from(path, &stopped.run.graph, &[]);
        assert_eq!(code, 4, "{error}");
        assert!(error.contains(words), "{error}");
    }
    let graph = stopped.run.graph.clone();
    let started = stopped.start(&graph, &[]);
    stopped.goes_on(&started);
}

#[test]
fn a_vertex_without_state_may_come_and_go() {
    let mut stopped = Stopped::new("20 kb");
    let graph = stopped.run.graph.clone();
    let mut with_throttle = graph.clone();
    with_throttle["vertices"].as_array_mut().unwrap().push(
        json!({"id": "slow", "operator": "throttle", "parallelism": 2, "config": {"rate": 10_000}}),
    );
    with_throttle["edges"] = json!([
        {"source": "numbers", "target": "slow", "partitioning": "hash"},
        {"source": "slow", "target": "out", "partitioning": "forward"}]);
    let started = stopped.start(&with_throttle, &[]);
    stopped.goes_on(&started);
    let folders = std::fs::read_dir(&stopped.run.savepoints).unwrap();
    let [savepoint] = folders.collect::<Vec<_>>().try_into().unwrap();
    stopped.moved = savepoint.unwrap().path();
    let started = stopped.start(&graph, &[]);
    stopped.goes_on(&started);
    stopped.run.assert_prefix();
}

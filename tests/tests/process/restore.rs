//! Jobs that start from a savepoint: what they publish together with the job that was stopped is published once.

use crate::clients::client;
use crate::cluster::Cluster;
use crate::jobs::recovering;
use crate::process::wait_for;
use crate::savepoints::{Numbers, folder};
use crate::text::{assert_same, committed, write_files};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

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
        self.run.goes_on(started);
        self.run.assert_stopped(&self.run.stop());
        self.run.assert_prefix();
    }
}

#[test]
fn a_job_goes_on_where_another_one_stopped() {
    for inline_threshold in ["20 kb", "0 b"] {
        let mut stopped = Stopped::new(inline_threshold);
        let graph = stopped.run.graph.clone();
        let started = stopped.start(&graph, &[]);
        stopped.goes_on(&started);
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
}

#[test]
fn a_job_that_cannot_take_the_state_is_refused_with_every_reason() {
    let mut stopped = Stopped::new("20 kb");
    let mut graph = stopped.run.graph.clone();
    for vertex in graph["vertices"].as_array_mut().unwrap() {
        vertex["maxParallelism"] = json!(64);
    }
    let (code, _, error) = stopped.start(&graph, &[]);
    assert_eq!(code, 4, "{error}");
    for vertex in ["`numbers`", "`out`"] {
        let reason = format!("vertex {vertex}: the max parallelism is set to 64");
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
        ("hdfs://host/savepoint", "hdfs://host/savepoint"),
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
}

/// A source, an operator and a sink, connected by hash edges.
struct Row<'a> {
    source: (&'a str, Value),
    between: (&'a str, Value),
    inline_threshold: &'a str,
}

impl Row<'_> {
    /// With so many subtasks each, and maybe with this rate of the source.
    fn graph(&self, parallelism: [u32; 3], rate: Option<u32>, out: &Path) -> Value {
        let [source, between, sink] = parallelism;
        let mut input = self.source.1.clone();
        if let Some(rate) = rate {
            input["rate"] = json!(rate);
        }
        let mut configuration = recovering();
        configuration["execution.checkpointing.data-inline-threshold"] =
            self.inline_threshold.into();
        json!({
            "name": "row",
            "vertices": [
                {"id": "in", "operator": self.source.0, "parallelism": source, "config": input},
                {"id": "between", "operator": self.between.0, "parallelism": between,
                 "config": self.between.1},
                {"id": "out", "operator": "file-sink", "parallelism": sink, "config": {"path": out}}],
            "edges": [
                {"source": "in", "target": "between", "partitioning": "hash"},
                {"source": "between", "target": "out", "partitioning": "hash"}],
            "configuration": configuration})
    }

    /// What it publishes if nobody stops it.
    fn undisturbed(&self, cluster: &Cluster) -> Vec<String> {
        let out = cluster.path("undisturbed");
        let job = cluster.rest.submit(&self.graph([1, 1, 1], None, &out));
        cluster.rest.wait_for_state(&job, "FINISHED");
        committed(&out)
    }

    /// What it publishes in several lives, of which each but the last is stopped amid its input.
    fn in_several_lives(&self, cluster: &Cluster, lives: &[[u32; 3]]) -> Vec<String> {
        let (out, rest) = (cluster.path("out"), &cluster.rest);
        let [lives @ .., last] = lives else {
            panic!("there is a last one");
        };
        let published = || {
            let lines = out.exists().then(|| committed(&out).len());
            lines.unwrap_or(0)
        };
        let mut savepoint = None;
        for parallelism in lives {
            let before = published();
            let job = start(
                cluster,
                self.graph(*parallelism, Some(500), &out),
                savepoint,
            );
            wait_for("the job to publish more", || {
                (published() > before).then_some(())
            });
            let directory = json!({"targetDirectory": cluster.path("savepoints")});
            let stopped = rest.outcome(&rest.trigger(&job, "stop", &directory));
            rest.wait_for_state(&job, "FINISHED");
            savepoint = Some(stopped.unwrap());
        }
        let job = start(cluster, self.graph(*last, None, &out), savepoint);
        rest.wait_for_state(&job, "FINISHED");
        committed(&out)
    }
}

/// Submits a job that starts from this savepoint, if there is one.
fn start(cluster: &Cluster, mut graph: Value, savepoint: Option<String>) -> String {
    if let Some(savepoint) = savepoint {
        graph["configuration"]["execution.state-recovery.path"] = savepoint.into();
    }
    cluster.rest.submit(&graph)
}

#[test]
fn a_job_goes_on_with_another_parallelism_of_each_vertex() {
    let lines = tempfile::tempdir().unwrap();
    write_files(lines.path(), 11, 20_000);
    let numbers = ("datagen-source", json!({"count": 20_000, "keys": 40}));
    let count = ("count", json!({"emit": "updates"}));
    let windows = ("tumbling-window-count", json!({"size": "50 ms"}));
    let files = ("file-source", json!({"path": lines.path()}));
    for (source, between, inline_threshold) in [
        (&numbers, &count, "0 b"),
        (&numbers, &windows, "20 kb"),
        (&files, &count, "0 b"),
    ] {
        let cluster = Cluster::start(2, 2, &[]);
        let row = Row {
            source: source.clone(),
            between: between.clone(),
            inline_threshold,
        };
        let wanted = row.undisturbed(&cluster);
        let lives = [[2, 3, 2], [4, 1, 3], [3, 4, 1], [1, 2, 4]];
        let found = row.in_several_lives(&cluster, &lives);
        assert_same(&found, &wanted);
    }
}

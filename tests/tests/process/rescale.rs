//! Another parallelism for jobs that run: the committed output must be that of a run that nothing disturbs, and a wish
//! that was accepted is fulfilled, whoever leads then.

use crate::clients::client;
use crate::cluster::{Cluster, jobmanager};
use crate::jobs::{endless, recovering};
use crate::process::{Process, Signal, let_run, wait_for};
use crate::run::{Run, Setting, USUAL};
use crate::text::committed;
use serde_json::{Value, json};
use std::time::Duration;

/// A word count with two subtasks of each vertex.
const TWO_OF_EACH: Setting = Setting {
    seed: 71,
    seconds: 10,
    parallelism: 2,
    taskmanagers: 2,
    options: &[("jobmanager.failover.reconciliation-timeout", "200 ms")],
    ..USUAL
};
/// The vertices of a word count that get another parallelism, each by a name that a user may choose.
const VERTICES: [&str; 5] = ["lines", "between", "words", "count", "copied"];

impl Run {
    /// What the command says that asks for this parallelism.
    fn ask(&self, parallelism: u32, more: &[&str]) -> String {
        let wishes = VERTICES.map(|vertex| format!("{vertex}={parallelism}"));
        let mut command = vec!["rescale", &self.job];
        command.extend(wishes.iter().map(String::as_str));
        command.extend(more);
        let (code, out, error) = client(&self.cluster.rest.address, &command);
        assert_eq!(code, 0, "{out}{error}");
        out
    }

    /// Waits until whoever leads has changed it.
    fn assert_changes(&self, parallelism: u32) {
        wait_for("the next leader to change it", || {
            let now = rescaled(&self.cluster, &self.job);
            now.iter().all(|it| *it == parallelism).then_some(())
        });
        self.assert_goes_on(parallelism);
    }

    /// Waits until a checkpoint has completed with this parallelism.
    fn assert_goes_on(&self, parallelism: u32) {
        self.wait_for_progress();
        self.assert_still_reading();
        let now = VERTICES.map(|_| parallelism).to_vec();
        assert_eq!(rescaled(&self.cluster, &self.job), now);
    }

    /// As [`Run::finish`]; besides, no file may be left that is not committed.
    fn finish_with_nothing_left(&self) {
        self.finish();
        for folder in [&self.out, &self.copy] {
            let left = std::fs::read_dir(folder).unwrap().filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.to_string_lossy().starts_with('.')
            });
            assert_eq!(left.count(), 0, "files were left over");
        }
    }
}

fn parallelism(cluster: &Cluster, job: &str) -> Value {
    cluster.rest.get(&format!("/jobs/{job}/parallelism"))
}

/// How many subtasks those of the vertices have that are in [`VERTICES`].
fn rescaled(cluster: &Cluster, job: &str) -> Vec<u32> {
    let shown = parallelism(cluster, job);
    let vertices = shown["vertices"].as_array().unwrap().iter();
    let named = vertices.filter(|it| VERTICES.contains(&it["graph-id"].as_str().unwrap()));
    let number = |vertex: &Value| serde_json::from_value(vertex["parallelism"].clone()).unwrap();
    named.map(number).collect()
}

#[test]
fn no_record_is_lost_or_doubled_while_a_job_is_rescaled() {
    let mut run = Run::start(&TWO_OF_EACH);
    let out = run.ask(3, &["--wait"]);
    assert!(out.contains("as it is to be"), "{out}");
    run.assert_goes_on(3);
    // As Flink's clients do: all of them, as they were read.
    let path = format!("/jobs/{}/resource-requirements", run.job);
    let mut bounds = run.cluster.rest.get(&path);
    for vertex in parallelism(&run.cluster, &run.job)["vertices"]
        .as_array()
        .unwrap()
    {
        let id = vertex["id"].as_str().unwrap();
        bounds[id] = json!({"parallelism": {"lowerBound": 1, "upperBound": 1}});
    }
    let body = bounds.to_string();
    let answer = run.cluster.rest.ask("PUT", &path, body.as_bytes());
    assert_eq!(answer, Some((200, json!({}))));
    run.cluster.kill_and_restart_jobmanager();
    assert_eq!(run.cluster.rest.get(&path), bounds, "it was durable");
    run.assert_changes(1);
    run.ask(4, &["--wait"]);
    run.finish_with_nothing_left();
    let job = run.cluster.rest.get(&format!("/jobs/{}", run.job));
    assert_eq!(job["restarts"], 0, "a change is not a failure");
}

#[test]
fn no_record_is_lost_or_doubled_when_everything_is_killed_while_a_job_is_rescaled() {
    let mut run = Run::start(&TWO_OF_EACH);
    // A change takes some milliseconds, of which a checkpoint is the most.
    for (moment, parallelism) in [(0, 3), (10, 1), (20, 4), (40, 2)] {
        run.ask(parallelism, &[]);
        let_run(Duration::from_millis(moment));
        run.cluster.kill_everything();
        run.cluster.start_everything();
        run.assert_changes(parallelism);
    }
    run.finish_with_nothing_left();
}

#[test]
fn whoever_asks_for_a_parallelism_that_cannot_be_is_told_why() {
    let cluster = Cluster::start(1, 2, &[]);
    let mut job = endless("numbers");
    job["vertices"][1]["name"] = json!("the end");
    let job_id = cluster.rest.submit(&job);
    job["name"] = json!("without checkpoints");
    job["configuration"] = json!({});
    let without = cluster.rest.submit(&job);
    let unknown = "00000000000000000000000000000001";
    for (id, wish, code, words) in [
        (
            job_id.as_str(),
            "nobody=2",
            4,
            "no vertex `nobody`; it has `numbers`, `out`",
        ),
        (&job_id, "out=0", 4, "at least 1"),
        (&job_id, "the end=3..2", 4, "not 3..2"),
        (
            &job_id,
            "out=129",
            4,
            "129 is more than the vertex's maxParallelism",
        ),
        (&job_id, "out", 64, "VERTEX=N"),
        (&job_id, "out=many", 64, "VERTEX=N"),
        (&without, "out=1", 4, "takes no checkpoints"),
        (unknown, "out=1", 4, "not found"),
        ("job", "out=1", 4, "32 hex digits"),
    ] {
        let found = client(&cluster.rest.address, &["rescale", id, wish]);
        assert_eq!(found.0, code, "{wish}: {found:?}");
        assert!(found.2.contains(words), "{wish}: {found:?}");
    }
    client(&cluster.rest.address, &["cancel", &job_id]);
    cluster.rest.wait_for_state(&job_id, "CANCELED");
    let (code, _, error) = client(&cluster.rest.address, &["rescale", &job_id, "out=1"]);
    assert_eq!(code, 4);
    assert!(error.contains("CANCELED"), "{error}");
}

#[test]
fn a_wish_for_which_slots_are_missing_stays_and_so_does_the_job_as_it_is() {
    let cluster = Cluster::start(1, 2, &[]);
    let address = cluster.rest.address.as_str();
    let job_id = cluster.rest.submit(&endless("numbers"));
    cluster.rest.wait_for_all_running(&job_id);
    let (code, out, error) = client(address, &["rescale", &job_id, "out=9"]);
    assert_eq!(code, 0, "{error}");
    assert!(
        out.contains(&format!("`jobmanager rescale {job_id}`")),
        "{out}"
    );
    let shown = wait_for("the reason", || {
        let (code, shown, error) = client(address, &["rescale", &job_id]);
        assert_eq!(code, 0, "{error}");
        shown.contains("cannot change now").then_some(shown)
    });
    assert!(shown.contains("at least 9 slots are needed"), "{shown}");
    let mut command = jobmanager();
    command.args([
        "rescale",
        &job_id,
        "out=9",
        "--wait",
        "--jobmanager",
        address,
    ]);
    let mut waits = Process::start(&mut command, &cluster.path("rescale.log"));
    wait_for("the reason", || {
        let told = waits.output();
        told.contains("cannot change now").then_some(())
    });
    waits.signal(Signal::Interrupt);
    assert_eq!(waits.end().code(), Some(130), "{}", waits.output());
    assert!(
        waits.output().contains("the wish stays"),
        "{}",
        waits.output()
    );
    cluster.rest.wait_for_new_checkpoint(&job_id);
}

#[test]
fn with_the_adaptive_scheduler_a_job_runs_on_the_slots_that_there_are() {
    let mut cluster = Cluster::start(1, 2, &[]);
    let out = cluster.path("out");
    let mut configuration = recovering();
    configuration["jobmanager.scheduler"] = json!("adaptive");
    for (option, value) in [
        ("submission.resource-stabilization-timeout", "200 ms"),
        ("executing.cooldown-after-rescaling", "0 s"),
    ] {
        configuration[format!("jobmanager.adaptive-scheduler.{option}")] = json!(value);
    }
    let job = cluster.rest.submit(&json!({
        "name": "elastic",
        "vertices": [
            {"id": "numbers", "operator": "datagen-source", "parallelism": 4,
             "config": {"rate": 200, "count": 8_000}},
            {"id": "out", "operator": "file-sink", "parallelism": 4, "config": {"path": out}}],
        "edges": [{"source": "numbers", "target": "out", "partitioning": "hash"}],
        "configuration": configuration}));
    let runs_with = |cluster: &Cluster, wanted: u32| {
        wait_for("as many subtasks as there are slots for", || {
            let shown = parallelism(cluster, &job);
            let mut vertices = shown["vertices"].as_array().unwrap().iter();
            vertices.all(|it| it["parallelism"] == wanted).then_some(())
        });
        cluster.rest.wait_for_all_running(&job);
        cluster.rest.wait_for_new_checkpoint(&job);
    };
    runs_with(&cluster, 2);
    cluster.add_taskmanager();
    runs_with(&cluster, 4);
    cluster.rest.wait_for_state(&job, "FINISHED");
    let mut numbers: Vec<u64> = committed(&out)
        .iter()
        .map(|line| line.parse().unwrap())
        .collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..8_000), "lost or doubled");
}

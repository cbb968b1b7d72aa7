//! Savepoints, and jobs that are stopped with one, whatever is killed meanwhile: a savepoint that was accepted
//! is taken, a stop that was accepted is carried out, and what was published is what the savepoint has.

use crate::clients::client;
use crate::cluster::{Cluster, jobmanager};
use crate::jobs::recovering;
use crate::process::{Process, Signal, let_run, wait_for};
use crate::text::committed;
use jobmanager_core::savepoint::Savepoint;
use jobmanager_proto::decode_savepoint;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many numbers a window has.
const WINDOW: u64 = 100;

/// A job without an end that writes its numbers.
pub(crate) struct Numbers {
    pub(crate) cluster: Cluster,
    pub(crate) graph: Value,
    pub(crate) job: String,
    pub(crate) out: PathBuf,
    pub(crate) savepoints: PathBuf,
}

impl Numbers {
    /// With snapshots of files or inlined ones, on TaskManagers of two slots.
    pub(crate) fn start(taskmanagers: usize, inline_threshold: &str) -> Self {
        let options = [("jobmanager.failover.reconciliation-timeout", "200 ms")];
        Numbers::on(Cluster::start(taskmanagers, 2, &options), inline_threshold)
    }

    /// The same on this cluster.
    pub(crate) fn on(cluster: Cluster, inline_threshold: &str) -> Self {
        Numbers::with(cluster, inline_threshold, recovering())
    }

    /// The same with these options.
    pub(crate) fn with(cluster: Cluster, inline_threshold: &str, mut configuration: Value) -> Self {
        let out = cluster.path("out");
        configuration["execution.checkpointing.data-inline-threshold"] = inline_threshold.into();
        let graph = json!({
            "name": "numbers",
            "vertices": [
                {"id": "numbers", "operator": "datagen-source", "parallelism": 2, "config": {"rate": 500}},
                {"id": "out", "operator": "file-sink", "parallelism": 2, "config": {"path": out}}],
            "edges": [{"source": "numbers", "target": "out", "partitioning": "hash"}],
            "configuration": configuration});
        let job = cluster.rest.submit(&graph);
        cluster.rest.wait_for_all_running(&job);
        cluster.rest.wait_for_new_checkpoint(&job);
        Numbers {
            graph,
            savepoints: cluster.path("savepoints"),
            cluster,
            job,
            out,
        }
    }

    fn ask(&self, how: &str, body: &Value) -> String {
        self.cluster.rest.trigger(&self.job, how, body)
    }

    /// No savepoint becomes complete before what is in the way is gone.
    fn hold_metadata_back(&self) {
        std::fs::write(&self.savepoints, "in the way").unwrap();
    }

    /// Waits until a savepoint lacks nothing but its metadata.
    fn wait_for_snapshots(&self) {
        wait_for("all tasks to have snapshotted", || {
            let shown = self.cluster.rest.checkpoints(&self.job);
            let mut history = shown["history"].as_array().unwrap().iter();
            let pending = history.find(|it| it["is_savepoint"] == true)?;
            let all = pending["num_acknowledged_subtasks"] == pending["num_subtasks"];
            all.then_some(())
        });
    }

    pub(crate) fn stop(&self) -> String {
        self.ask("stop", &json!({"targetDirectory": self.savepoints}))
    }

    /// How many numbers the sources have sent since they were deployed.
    fn sent(&self) -> u64 {
        sent(&self.cluster, &self.job)
    }

    /// Of each of the two sources, what was published is all that it made up to some time; tells how many
    /// numbers that is.
    pub(crate) fn assert_prefix(&self) -> u64 {
        let lines = committed(&self.out);
        let mut numbers: Vec<u64> = lines.iter().map(|line| line.parse().unwrap()).collect();
        numbers.sort_unstable();
        for subtask in [0, 1] {
            let of_subtask = numbers.iter().filter(|number| **number % 2 == subtask);
            for (wanted, found) in (subtask..).step_by(2).zip(of_subtask) {
                assert_eq!(*found, wanted, "lost or doubled");
            }
        }
        assert!(!numbers.is_empty());
        numbers.len() as u64
    }

    /// A client has started the job, or another one in its place, which goes on for a while.
    pub(crate) fn goes_on(&mut self, started: &(i32, String, String)) {
        let (code, out, error) = started;
        assert_eq!(*code, 0, "{error}");
        let id = out.trim().rsplit(' ').next().unwrap();
        id.clone_into(&mut self.job);
        // Its sinks publish one after the other: until it has stopped, numbers may lack.
        let published = || committed(&self.out).len();
        let before = published();
        wait_for("the job to publish more", || {
            (published() > before).then_some(())
        });
    }

    pub(crate) fn assert_stopped(&self, savepoint: &str) {
        let location = self.cluster.rest.outcome(savepoint).unwrap();
        self.cluster.rest.wait_for_state(&self.job, "FINISHED");
        let metadata = metadata(&location);
        assert_eq!(metadata.job.to_string(), self.job);
        let mut operators = metadata.operators.iter();
        assert!(operators.all(|operator| operator.subtasks.len() == 2));
        assert!(ended(&metadata).all(|ended| !ended));
    }
}

fn sent(cluster: &Cluster, job: &str) -> u64 {
    let job = cluster.rest.get(&format!("/jobs/{job}"));
    let metrics = &job["vertices"][0]["metrics"];
    metrics["write-records"].as_u64().unwrap()
}

pub(crate) fn folder(location: &str) -> &Path {
    Path::new(location.strip_prefix("file://").unwrap())
}

fn metadata(location: &str) -> Savepoint {
    let bytes = std::fs::read(folder(location).join("_metadata")).unwrap();
    decode_savepoint(&bytes, location).unwrap()
}

/// Of every subtask, whether it is not to be run again.
fn ended(savepoint: &Savepoint) -> impl Iterator<Item = bool> {
    let subtasks = savepoint.operators.iter().flat_map(|it| &it.subtasks);
    subtasks.map(|subtask| subtask.ended)
}

#[test]
fn a_job_goes_on_after_a_savepoint_that_is_whole_until_it_is_disposed_of() {
    // Nothing is inlined: four snapshots and the metadata.
    let run = Numbers::start(2, "0 b");
    let (rest, job) = (&run.cluster.rest, &run.job);
    let body = json!({"target-directory": run.savepoints, "formatType": "NATIVE"});
    let location = rest.outcome(&run.ask("savepoints", &body)).unwrap();
    assert_eq!(folder(&location).parent(), Some(&*run.savepoints));
    assert_eq!(std::fs::read_dir(folder(&location)).unwrap().count(), 5);
    let shown = rest.checkpoints(job)["latest"]["savepoint"].clone();
    assert_eq!(shown["external_path"], location.as_str());
    assert_eq!(shown["id"], metadata(&location).checkpoint.0);

    rest.wait_for_new_checkpoint(job);
    let sent = run.sent();
    wait_for("more records", || (run.sent() > sent).then_some(()));
    assert_eq!(rest.get(&format!("/jobs/{job}"))["restarts"], 0);
    run.assert_prefix();
    // Nobody but whoever asked for it deletes it.
    let cancel = format!("/jobs/{job}?mode=cancel");
    rest.ask("PATCH", &cancel, b"").unwrap();
    rest.wait_for_state(job, "CANCELED");
    assert_eq!(std::fs::read_dir(folder(&location)).unwrap().count(), 5);
    for (code, words) in [
        (0, format!("Savepoint {location} disposed.")),
        (5, "no file `_metadata`".to_owned()),
    ] {
        let (found, out, error) = client(&rest.address, &["savepoint", "--dispose", &location]);
        assert_eq!(found, code, "{error}");
        assert!(format!("{out}{error}").contains(&words), "{out}{error}");
    }
    assert!(!folder(&location).exists());
}

#[test]
fn a_stopped_job_has_published_exactly_what_its_sources_sent() {
    let run = Numbers::start(2, "20 kb");
    let (code, out, error) = client(
        &run.cluster.rest.address,
        &[
            "stop",
            &run.job,
            "--savepoint-path",
            run.savepoints.to_str().unwrap(),
        ],
    );
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("is FINISHED"), "{out}");
    let location = out
        .lines()
        .find_map(|line| line.strip_prefix("Savepoint completed. Path: "));
    metadata(location.unwrap());
    let published = run.assert_prefix();
    assert_eq!(published, run.sent());
    let (code, _, error) = client(
        &run.cluster.rest.address,
        &["stop", &run.job, "--savepoint-path", "/unused"],
    );
    assert_eq!(code, 4);
    assert!(error.contains("FINISHED"), "{error}");
}

/// The counts of the windows that a job has published when it is stopped, and how many numbers there were.
fn windows(drain: bool) -> (Vec<u64>, u64) {
    let cluster = Cluster::start(2, 2, &[]);
    let (out, savepoints) = (cluster.path("out"), cluster.path("savepoints"));
    let mut configuration = recovering();
    configuration["execution.checkpointing.savepoint-dir"] = json!(savepoints);
    let size = format!("{WINDOW} ms");
    let job = json!({
        "name": "windows",
        "vertices": [
            {"id": "numbers", "operator": "datagen-source", "parallelism": 1,
             "config": {"rate": 700, "keys": 1}},
            {"id": "count", "operator": "tumbling-window-count", "parallelism": 1,
             "config": {"size": size}},
            {"id": "out", "operator": "file-sink", "parallelism": 1, "config": {"path": out}}],
        "edges": [
            {"source": "numbers", "target": "count", "partitioning": "hash"},
            {"source": "count", "target": "out", "partitioning": "forward"}],
        "configuration": configuration});
    let job = cluster.rest.submit(&job);
    wait_for("a window to be published", || {
        let published = out.exists() && !committed(&out).is_empty();
        published.then_some(())
    });
    let body = json!({"drain": drain, "triggerId": "0123456789abcdef0123456789abcdef"});
    let savepoint = cluster.rest.trigger(&job, "stop", &body);
    let location = cluster.rest.outcome(&savepoint).unwrap();
    cluster.rest.wait_for_state(&job, "FINISHED");
    // Asked once more, when it is long done.
    assert_eq!(cluster.rest.trigger(&job, "stop", &body), savepoint);
    assert!(ended(&metadata(&location)).all(|ended| ended == drain));
    let count = |line: &String| line.rsplit('\t').next().unwrap().parse().unwrap();
    (
        committed(&out).iter().map(count).collect(),
        sent(&cluster, &job),
    )
}

#[test]
fn draining_closes_the_windows_and_suspending_leaves_them_open() {
    let (counts, sent) = windows(true);
    assert_eq!(counts.iter().sum::<u64>(), sent);
    let (counts, sent) = windows(false);
    assert!(counts.iter().all(|count| *count == WINDOW), "{counts:?}");
    assert!(counts.iter().sum::<u64>() <= sent);
}

#[test]
fn a_savepoint_that_cannot_be_written_fails_with_its_place_and_the_job_goes_on() {
    for (inline_threshold, problem) in [
        ("20 kb", "its metadata could not be written"),
        ("0 b", "the snapshot of a task failed"),
    ] {
        let run = Numbers::start(1, inline_threshold);
        let rest = &run.cluster.rest;
        // Below a file there is no folder, not even for root.
        let file = run.cluster.path("file");
        std::fs::write(&file, "").unwrap();
        for how in ["savepoints", "stop"] {
            let body = json!({"target-directory": file, "targetDirectory": file});
            let words = rest.outcome(&run.ask(how, &body)).unwrap_err();
            for part in [problem, file.to_str().unwrap(), "Not a directory"] {
                assert!(words.contains(part), "{part} in {words}");
            }
            rest.wait_for_new_checkpoint(&run.job);
        }
        assert_eq!(rest.get(&format!("/jobs/{}", run.job))["restarts"], 0);
        // What happened before is none of the affairs of who stops the job.
        let folder = run.savepoints.to_str().unwrap();
        let (code, out, error) = client(
            &rest.address,
            &["stop", &run.job, "--savepoint-path", folder],
        );
        assert_eq!(code, 0, "{error}");
        assert!(!out.contains("FAIL"), "{out}");
        assert_eq!(run.assert_prefix(), run.sent());
    }
}

#[test]
fn what_cannot_be_a_savepoint_is_refused_before_anything_is_accepted() {
    let run = Numbers::start(1, "20 kb");
    let rest = &run.cluster.rest;
    for (how, body, status, words) in [
        (
            "savepoints",
            "{}",
            400,
            "execution.checkpointing.savepoint-dir",
        ),
        ("stop", "", 400, "execution.checkpointing.savepoint-dir"),
        ("stop", r#"{"targetDirectory": "a/b"}"#, 400, "file:///"),
        (
            "savepoints",
            r#"{"target-directory": "hdfs:///a"}"#,
            400,
            "hdfs:///a",
        ),
        ("savepoints", r#"{"cancel-job": true}"#, 400, "/stop"),
        ("savepoints", r#"{"triggerId": "x"}"#, 400, "32 hex digits"),
        ("savepoints", r#"{"formatType": "OTHER"}"#, 400, "OTHER"),
        ("savepoints", "{", 400, "the body is not as expected"),
    ] {
        let path = format!("/jobs/{}/{how}", run.job);
        let (found, answer) = rest.ask("POST", &path, body.as_bytes()).unwrap();
        assert_eq!(found, status, "{answer}");
        assert!(
            answer["errors"][0].as_str().unwrap().contains(words),
            "{answer}"
        );
    }
    let unknown = "00000000000000000000000000000001";
    for path in [
        format!("/jobs/{unknown}/savepoints/{unknown}"),
        format!("/jobs/{}/savepoints/{unknown}", run.job),
    ] {
        assert_eq!(rest.ask("GET", &path, b"").unwrap().0, 404, "{path}");
    }
    assert!(!run.savepoints.exists());
    // Asked for twice, it is taken once.
    let body = json!({"target-directory": run.savepoints, "triggerId": unknown});
    let first = run.ask("savepoints", &body);
    assert_eq!(run.ask("savepoints", &body), first);
    rest.outcome(&first).unwrap();
    assert_eq!(run.ask("savepoints", &body), first);
    assert_eq!(std::fs::read_dir(&run.savepoints).unwrap().count(), 1);
}

#[test]
fn a_stop_that_was_accepted_is_carried_out_by_the_next_jobmanager() {
    let mut run = Numbers::start(2, "20 kb");
    let savepoint = run.stop();
    run.cluster.kill_and_restart_jobmanager();
    run.assert_stopped(&savepoint);
    run.assert_prefix();

    // The tasks of this one have stopped already, and go on until they stop again.
    let mut run = Numbers::start(2, "20 kb");
    run.hold_metadata_back();
    let savepoint = run.stop();
    run.wait_for_snapshots();
    run.cluster.kill_jobmanager();
    std::fs::remove_file(&run.savepoints).unwrap();
    run.cluster.start_jobmanager();
    run.assert_stopped(&savepoint);
    assert_eq!(run.assert_prefix(), run.sent());
}

#[test]
fn a_stop_that_was_accepted_is_carried_out_although_a_taskmanager_dies() {
    let mut run = Numbers::start(2, "20 kb");
    // Until it is dead, it does not take part.
    run.cluster.taskmanagers[0].signal(Signal::Stop);
    let savepoint = run.stop();
    wait_for("the savepoint to be under way", || {
        let shown = run.cluster.rest.checkpoints(&run.job);
        let mut history = shown["history"].as_array().unwrap().iter();
        history.find(|it| it["is_savepoint"] == true).map(|_| ())
    });
    run.cluster.kill_and_restart_taskmanager(0);
    run.assert_stopped(&savepoint);
    run.assert_prefix();
}

#[test]
fn what_a_savepoint_has_is_published_although_the_tasks_that_wrote_it_are_gone() {
    let mut run = Numbers::start(2, "20 kb");
    run.hold_metadata_back();
    let savepoint = run.stop();
    run.wait_for_snapshots();
    for taskmanager in &run.cluster.taskmanagers {
        taskmanager.signal(Signal::Stop);
    }
    std::fs::remove_file(&run.savepoints).unwrap();
    run.cluster.rest.outcome(&savepoint).unwrap();
    let before = run.assert_prefix();
    for number in [0, 1] {
        run.cluster.kill_and_restart_taskmanager(number);
    }
    run.assert_stopped(&savepoint);
    assert!(run.assert_prefix() > before);
}

#[test]
fn a_stop_that_was_accepted_is_carried_out_although_everything_is_killed() {
    // The savepoint takes some milliseconds.
    for moment in [0, 8, 16] {
        let mut run = Numbers::start(2, "0 b");
        let savepoint = run.stop();
        let_run(Duration::from_millis(moment));
        run.cluster.kill_everything();
        run.cluster.start_everything();
        run.assert_stopped(&savepoint);
        run.assert_prefix();
    }
}

#[test]
fn whoever_no_longer_waits_for_a_savepoint_can_look_later() {
    let run = Numbers::start(1, "20 kb");
    let address = run.cluster.rest.address.as_str();
    let dir = run.savepoints.to_str().unwrap();
    run.cluster.taskmanagers[0].signal(Signal::Stop);
    let mut command = jobmanager();
    command.args(["savepoint", &run.job, dir, "--jobmanager", address]);
    let mut waits = Process::start(&mut command, &run.cluster.path("savepoint.log"));
    wait_for("the wish to be accepted", || {
        waits.output().contains("is being taken").then_some(())
    });
    waits.signal(Signal::Interrupt);
    assert_eq!(waits.end().code(), Some(130), "{}", waits.output());
    let (code, out, error) = client(address, &["savepoint", &run.job, dir, "--detached"]);
    assert_eq!(code, 0, "{error}");
    run.cluster.taskmanagers[0].signal(Signal::Continue);
    for told in [waits.output(), out] {
        let (_, look) = told.split_once("`jobmanager ").unwrap();
        let (look, _) = look.split_once('`').unwrap();
        let look: Vec<_> = look.split(' ').collect();
        let (code, out, error) = client(address, &look);
        assert_eq!(code, 0, "{error}");
        assert!(out.contains("Savepoint completed. Path: file:///"), "{out}");
    }
    assert_eq!(std::fs::read_dir(&run.savepoints).unwrap().count(), 2);
}

#[test]
fn a_checkpoint_can_be_had_at_once() {
    let cluster = Cluster::start(1, 2, &[]);
    let address = cluster.rest.address.as_str();
    let graph = |configuration: Value| {
        json!({
            "name": "numbers",
            "vertices": [{"id": "numbers", "operator": "datagen-source", "config": {"rate": 10}}],
            "configuration": configuration})
    };
    let rests = json!({"execution.checkpointing.interval": "1 h", "execution.checkpointing.min-pause": "1 h"});
    let job = cluster.rest.submit(&graph(rests));
    cluster.rest.wait_for_all_running(&job);
    for id in 1..=3 {
        let (code, out, error) = client(address, &["checkpoint", &job]);
        assert_eq!((code, error.as_str()), (0, ""));
        assert!(
            out.ends_with(&format!("Checkpoint {id} completed.\n")),
            "{out}"
        );
    }
    let (code, out, error) = client(address, &["checkpoint", &job, "--detached"]);
    assert_eq!(code, 0, "{error}");
    let (_, look) = out.split_once("`jobmanager ").unwrap();
    let look: Vec<_> = look.split_once('`').unwrap().0.split(' ').collect();
    let (_, out, _) = client(address, &look);
    assert!(out.ends_with("Checkpoint 4 completed.\n"), "{out}");

    let never = "0123456789abcdef0123456789abcdef";
    let (code, _, error) = client(address, &["checkpoint", &job, "--trigger", never]);
    assert_eq!(code, 4);
    assert!(error.contains("nobody asked this leader for it"), "{error}");
    let without = cluster.rest.submit(&graph(json!({})));
    let (code, _, error) = client(address, &["checkpoint", &without]);
    assert_eq!(code, 4);
    assert!(
        error.contains("submit it with execution.checkpointing.interval"),
        "{error}"
    );
}

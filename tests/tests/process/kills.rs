//! A word count while processes are killed or stopped: the committed output must be that of a run
//! that nothing disturbs, no record lost and none doubled.

use crate::cluster::Cluster;
use crate::jobs::WordJob;
use crate::process::{Signal, let_run, wait_for};
use crate::text::{assert_same, below, committed, counted, seeded, words, write_files};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

/// A word count that reads slowly enough for faults.
struct Run {
    cluster: Cluster,
    job: String,
    text: String,
    out: PathBuf,
    copy: PathBuf,
}

impl Run {
    /// `lines` are read at `rate` lines per second by each of four readers.
    fn start(seed: u64, taskmanagers: usize, rate: u64, lines: u64, between: (&str, u64)) -> Self {
        let cluster = Cluster::start(taskmanagers, 2, &[("heartbeat.timeout", "1500 ms")]);
        let text = write_files(&cluster.path("input"), seed, lines);
        let (out, copy) = (cluster.path("out"), cluster.path("copy"));
        let input = cluster.path("input");
        let mut job = WordJob::new(&input, &out, &copy);
        job.rate = Some(rate);
        let (operator, number) = between;
        job.between = match operator {
            "throttle" => (operator, json!({"rate": number})),
            _ => (operator, json!({"contains": ""})),
        };
        let job = cluster.rest.submit(&job.json());
        cluster.rest.wait_for_all_running(&job);
        cluster.rest.wait_for_new_checkpoint(&job);
        Run {
            cluster,
            job,
            text,
            out,
            copy,
        }
    }

    fn assert_still_reading(&self) {
        let state = self.cluster.rest.state(&self.job);
        assert_eq!(state, "RUNNING", "the input is too short for this test");
    }

    fn finish(&self) {
        self.cluster.rest.wait_for_state(&self.job, "FINISHED");
        assert_same(&committed(&self.out), &counted(&self.text));
        let mut all: Vec<_> = words(&self.text).collect();
        all.sort();
        assert_same(&committed(&self.copy), &all);
    }
}

/// A moment within the next fraction of a second.
fn moment(random: &mut rand_chacha::ChaCha8Rng) -> Duration {
    Duration::from_millis(below(random, 300))
}

#[test]
fn no_record_is_lost_or_doubled_while_taskmanagers_are_killed() {
    let mut run = Run::start(11, 3, 60, 2_400, ("filter", 0));
    let mut random = seeded(12);
    for _ in 0..6 {
        let_run(moment(&mut random));
        run.assert_still_reading();
        let victim = usize::try_from(below(&mut random, 3)).unwrap();
        run.cluster.kill_and_restart_taskmanager(victim);
        run.cluster.wait_for_taskmanagers(3);
        run.cluster.rest.wait_for_all_running(&run.job);
        run.cluster.rest.wait_for_new_checkpoint(&run.job);
    }
    let restored = run.cluster.rest.checkpoint_count(&run.job, "restored");
    assert!(restored >= 1, "nothing was restored from a checkpoint");
    run.finish();
}

#[test]
fn no_record_is_lost_or_doubled_while_the_jobmanager_is_killed() {
    let mut run = Run::start(21, 3, 60, 2_400, ("throttle", 60));
    let mut random = seeded(22);
    for kill in 0..4 {
        let_run(moment(&mut random));
        run.assert_still_reading();
        if kill == 1 {
            kill_during_a_checkpoint(&mut run);
        } else {
            run.cluster.kill_and_restart_jobmanager();
        }
        run.cluster.wait_for_taskmanagers(3);
        run.cluster.rest.wait_for_all_running(&run.job);
        run.cluster.rest.wait_for_new_checkpoint(&run.job);
    }
    run.finish();
}

/// The tasks go on, so the checkpoint that was under way must not complete under the new JobManager.
fn kill_during_a_checkpoint(run: &mut Run) {
    let rest = &run.cluster.rest;
    let pending = wait_for("a checkpoint in flight", || {
        let checkpoints = rest.checkpoints(&run.job);
        let history = checkpoints["history"].as_array().unwrap();
        let pending = history.iter().find(|c| c["status"] == "IN_PROGRESS");
        pending.map(|checkpoint| checkpoint["id"].as_u64().unwrap())
    });
    run.cluster.kill_and_restart_jobmanager();
    run.cluster.wait_for_taskmanagers(3);
    run.cluster.rest.wait_for_new_checkpoint(&run.job);
    let latest = run.cluster.rest.latest_checkpoint(&run.job);
    assert!(
        latest >= pending,
        "checkpoint ids went back: {latest} after {pending}"
    );
}

#[test]
fn running_tasks_survive_the_death_of_the_jobmanager_without_a_restart() {
    let mut run = Run::start(31, 2, 100, 1_200, ("filter", 0));
    run.cluster.kill_and_restart_jobmanager();
    run.cluster.wait_for_taskmanagers(2);
    run.finish();
    let job = run.cluster.rest.get(&format!("/jobs/{}", run.job));
    assert_eq!(job["restarts"], 0, "{job}");
}

#[test]
fn a_taskmanager_that_wakes_up_too_late_changes_nothing() {
    let run = Run::start(41, 3, 60, 2_400, ("filter", 0));
    let rest = &run.cluster.rest;
    let sleeper = wait_for("a TaskManager with tasks", || {
        let answer = rest.get("/taskmanagers");
        let all = answer["taskmanagers"].as_array().unwrap();
        let busy = all.iter().find(|tm| tm["freeSlots"] != tm["slotsNumber"])?;
        let id = busy["id"].as_str().unwrap().strip_prefix("tm-").unwrap();
        Some(id.parse::<usize>().unwrap())
    });
    let process = &run.cluster.taskmanagers[sleeper];
    process.signal(Signal::Stop);
    run.cluster.wait_for_taskmanagers(2);
    rest.wait_for_all_running(&run.job);
    rest.wait_for_new_checkpoint(&run.job);
    process.signal(Signal::Continue);
    run.cluster.wait_for_taskmanagers(3);
    assert!(rest.checkpoint_count(&run.job, "restored") >= 1);
    run.finish();
}

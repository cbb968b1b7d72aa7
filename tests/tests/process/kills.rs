//! A word count while processes are killed or stopped: the committed output must be that of a run
//! that nothing disturbs, no record lost and none doubled.

use crate::process::{Signal, let_run, wait_for};
use crate::run::{Run, Setting, USUAL};
use crate::text::{below, seeded};
use std::time::Duration;

impl Run {
    /// The number of a TaskManager that runs tasks.
    fn busy_taskmanager(&self) -> usize {
        wait_for("a TaskManager with tasks", || {
            let answer = self.cluster.rest.get("/taskmanagers");
            let all = answer["taskmanagers"].as_array().unwrap();
            let busy = all.iter().find(|tm| tm["freeSlots"] != tm["slotsNumber"])?;
            let number = busy["id"].as_str().unwrap().strip_prefix("tm-").unwrap();
            Some(number.parse().unwrap())
        })
    }

    /// Waits until everything is as it was before a fault.
    fn wait_for_recovery(&self, taskmanagers: usize) {
        self.cluster.wait_for_taskmanagers(taskmanagers);
        self.wait_for_progress();
    }
}

/// A moment within the next fraction of a second.
fn moment(random: &mut rand_chacha::ChaCha8Rng) -> Duration {
    Duration::from_millis(below(random, 300))
}

#[test]
fn no_record_is_lost_or_doubled_while_taskmanagers_are_killed() {
    let mut run = Run::start(&USUAL);
    let mut random = seeded(USUAL.seed);
    for _ in 0..6 {
        let_run(moment(&mut random));
        run.assert_still_reading();
        let victim = usize::try_from(below(&mut random, 3)).unwrap();
        run.cluster.kill_and_restart_taskmanager(victim);
        run.wait_for_recovery(3);
    }
    let restored = run.cluster.rest.checkpoint_count(&run.job, "restored");
    assert!(restored >= 1, "nothing was restored from a checkpoint");
    run.finish();
}

#[test]
fn no_record_is_lost_or_doubled_while_the_jobmanager_is_killed() {
    let setting = Setting { seed: 2, ..USUAL };
    let mut run = Run::start(&setting);
    let mut random = seeded(setting.seed);
    for kill in 0..4 {
        let_run(moment(&mut random));
        run.assert_still_reading();
        if kill == 1 {
            kill_during_a_checkpoint(&mut run);
        } else {
            run.cluster.kill_and_restart_jobmanager();
        }
        run.wait_for_recovery(3);
    }
    run.finish();
}

/// Holds a TaskManager, so that no checkpoint can complete, and kills the JobManager once one is under
/// way. That checkpoint must never complete; one that still did before the kill was not meant.
fn kill_during_a_checkpoint(run: &mut Run) {
    let busy = run.busy_taskmanager();
    wait_for("a checkpoint that was in flight", || {
        run.cluster.taskmanagers[busy].signal(Signal::Stop);
        let rest = &run.cluster.rest;
        let pending = wait_for("a checkpoint in flight", || {
            let checkpoints = rest.checkpoints(&run.job);
            let history = checkpoints["history"].as_array().unwrap();
            let pending = history.iter().find(|c| c["status"] == "IN_PROGRESS");
            pending.map(|checkpoint| checkpoint["id"].as_u64().unwrap())
        });
        run.cluster.kill_jobmanager();
        run.cluster.taskmanagers[busy].signal(Signal::Continue);
        run.cluster.start_jobmanager();
        if run.cluster.rest.latest_checkpoint(&run.job) == pending {
            return None;
        }
        run.cluster.rest.wait_for_new_checkpoint(&run.job);
        let latest = run.cluster.rest.latest_checkpoint(&run.job);
        assert!(latest > pending, "checkpoint {latest} after {pending}");
        Some(())
    });
}

#[test]
fn no_record_is_lost_or_doubled_when_everything_is_killed_at_once() {
    // With checkpoints all the time, something is always between complete and committed.
    let setting = Setting {
        seed: 3,
        seconds: 11,
        interval: "10 ms",
        options: &[("jobmanager.failover.reconciliation-timeout", "200 ms")],
        ..USUAL
    };
    let mut run = Run::start(&setting);
    let mut random = seeded(setting.seed);
    for _ in 0..8 {
        let_run(moment(&mut random));
        run.assert_still_reading();
        run.cluster.kill_everything();
        run.cluster.start_everything();
        run.wait_for_recovery(3);
    }
    run.finish();
}

#[test]
fn running_tasks_survive_the_death_of_the_jobmanager_without_a_restart() {
    let mut run = Run::start(&Setting {
        seed: 4,
        seconds: 5,
        taskmanagers: 2,
        ..USUAL
    });
    run.cluster.kill_and_restart_jobmanager();
    run.cluster.wait_for_taskmanagers(2);
    run.finish();
    let job = run.cluster.rest.get(&format!("/jobs/{}", run.job));
    assert_eq!(job["restarts"], 0, "{job}");
}

#[test]
fn a_taskmanager_that_wakes_up_too_late_changes_nothing() {
    let run = Run::start(&Setting {
        seed: 5,
        options: &[("heartbeat.timeout", "1500 ms")],
        ..USUAL
    });
    let sleeper = &run.cluster.taskmanagers[run.busy_taskmanager()];
    sleeper.signal(Signal::Stop);
    run.wait_for_recovery(2);
    run.assert_still_reading();
    sleeper.signal(Signal::Continue);
    run.cluster.wait_for_taskmanagers(3);
    assert!(run.cluster.rest.checkpoint_count(&run.job, "restored") >= 1);
    run.finish();
}

//! Scenarios of TaskManagers that leave.

use super::script::Script;
use super::{JOB, running};
use jobmanager_core::jobmanager::Input;
use jobmanager_core::message::FromTaskManager;
use std::time::Duration;

impl Script {
    /// A TaskManager was told to end, and says how long it takes at most.
    pub(super) fn leave(&mut self, name: &str, seconds: u64) -> &mut Self {
        let within = Duration::from_secs(seconds);
        let session = self.sessions[name];
        let message = FromTaskManager::Leave { within };
        let what = format!("{name} leaves within {seconds} s");
        self.step(&what, Input::Message { session, message })
    }

    /// Whoever says hello next leaves.
    fn leaving(&mut self, seconds: u64) -> &mut Self {
        self.leaves_within = Some(Duration::from_secs(seconds));
        self
    }
}

/// The same job, as it never restarts after a failure.
fn without_restarts() -> String {
    JOB.replace("fixed-delay\"", "none\"")
}

/// A job that takes the slots that there are.
pub(super) fn adaptive() -> String {
    let adaptive =
        r#""jobmanager.scheduler": "Adaptive", "execution.checkpointing.interval": "1 s""#;
    JOB.replace(r#""execution.checkpointing.interval": "1 s""#, adaptive)
}

/// A job that needs one slot, under this number.
pub(super) fn of_one_slot(number: u32) -> String {
    JOB.replace("\"parallelism\": 2", "\"parallelism\": 1")
        .replace("hash", "forward")
        .replace("0000000000000001", &format!("{number:016x}"))
}

#[test]
fn who_has_no_tasks_can_go_at_once_and_gets_none() {
    let mut script = Script::new();
    script.connect("a", 2).cut().leave("a", 20);
    script.submit(JOB).stored("done").disconnect("a");
    insta::assert_snapshot!(script.text());
}

#[test]
fn tasks_take_a_checkpoint_and_go_on_elsewhere_and_nothing_has_failed() {
    let mut script = running(&["a", "b"], 2, &without_restarts());
    script.pass(200).cut().leave("a", 20);
    script.acknowledge_all().stored("done");
    script.canceled("a", 0).canceled("b", 0);
    script.all_running().disconnect("a");
    insta::assert_snapshot!(script.text());
}

#[test]
fn who_is_told_twice_asks_once() {
    let mut script = running(&["a", "b"], 2, JOB);
    script.pass(200).cut().leave("a", 20).leave("a", 20);
    insta::assert_snapshot!(script.text());
}

#[test]
fn only_what_is_there_moves() {
    let mut script = running(&["a", "b"], 1, &JOB.replace("hash", "forward"));
    script.connect("c", 1).pass(200).cut().leave("a", 20);
    script.acknowledge_all().stored("done").canceled("a", 0);
    insta::assert_snapshot!(script.text());
}

#[test]
fn nothing_stops_and_no_checkpoint_is_asked_for_before_there_are_slots() {
    let slow = JOB.replace("\"1 s\"", "\"1 min\"");
    let mut script = running(&["a", "b"], 1, &slow);
    script.pass(200).cut().leave("a", 20).pass(4_000);
    script.connect("c", 1).pass(1_000);
    script.acknowledge_all().stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn what_has_no_checkpoint_after_half_of_the_time_moves_without() {
    let mut script = running(&["a", "b"], 2, JOB);
    script.pass(200).leave("a", 20);
    script.pass(9_000).cut().pass(1_000);
    insta::assert_snapshot!(script.text());
}

#[test]
fn what_is_left_behind_starts_again_elsewhere_and_no_budget_is_asked() {
    let mut script = running(&["a", "b"], 1, &without_restarts());
    script.pass(1_000).acknowledge_all().stored("done");
    script.leave("a", 20).cut();
    script.disconnect("a").canceled("b", 0).connect("c", 1);
    insta::assert_snapshot!(script.text());
}

#[test]
fn the_next_leader_hears_that_it_leaves() {
    let mut script = running(&["a", "b"], 2, JOB);
    script.pass(1_000).acknowledge_all().stored("done");
    script.pass(100).leave("a", 20).cut().recover();
    script.leaving(15).connect_again("a", 2);
    script.connect_again("b", 2).pass(1_000).stored("done");
    script.acknowledge_all().stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn an_adaptive_job_gets_smaller_instead_of_waiting() {
    let mut script = running(&["a", "b"], 1, &adaptive());
    script.snapshots_have_parts();
    script.pass(200).cut().leave("a", 20);
    script.acknowledge_all().stored("done");
    script.canceled("a", 0).canceled("b", 0).stored("done");
    script.disconnect("a");
    insta::assert_snapshot!(script.text());
}

#[test]
fn two_jobs_do_not_stop_for_the_same_slot() {
    let (one, other) = (of_one_slot(1), of_one_slot(2));
    let mut script = Script::new();
    script.connect("a", 2).submit(&one).stored("done");
    script.submit(&other).stored("done").all_running();
    script.connect("b", 1).pass(200).cut().leave("a", 20);
    script.acknowledge_all().stored("done");
    script.canceled("a", 0).pass(3_000);
    script.connect("c", 1).pass(1_000).acknowledge_all();
    script.stored("done").canceled("a", 0);
    insta::assert_snapshot!(script.text());
}

#[test]
fn what_has_stopped_keeps_its_slots_until_all_of_it_has() {
    let other = of_one_slot(2);
    let mut script = Script::new();
    script.connect("a", 2).connect("b", 1);
    script
        .submit(&other)
        .stored("done")
        .submit(JOB)
        .stored("done");
    script.all_running().connect("c", 1).pass(200).cut();
    script.leave("a", 20).acknowledge_all().stored("done");
    script.canceled("a", 0).pass(1_000).canceled("b", 0);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_checkpoint_that_fails_is_taken_once_more_before_the_tasks_move() {
    let patient = r#""execution.checkpointing.tolerable-failed-checkpoints": 9,
        "execution.checkpointing.interval": "1 min""#;
    let job = JOB.replace(r#""execution.checkpointing.interval": "1 s""#, patient);
    let mut script = running(&["a", "b"], 2, &job);
    script
        .pass(200)
        .cut()
        .leave("a", 20)
        .declines(0)
        .pass(1_000);
    script.acknowledge_all().stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn who_is_canceled_before_it_moves_needs_no_slot_any_more() {
    let (one, other) = (of_one_slot(1), of_one_slot(2));
    let mut script = Script::new();
    script.connect("a", 2).submit(&other).stored("done");
    script.submit(&one).stored("done").all_running();
    script.connect("b", 1).pass(200).leave("a", 20).cut();
    script.cancel().stored("done").pass(1_000);
    insta::assert_snapshot!(script.text());
}

#[test]
fn who_leaves_sooner_and_has_ended_does_not_hurry_the_others() {
    let one = JOB.replace("hash", "forward");
    let mut script = running(&["a", "b"], 1, &one);
    script
        .pass(200)
        .leave("a", 2)
        .leave("b", 600)
        .disconnect("a");
    script.cut().pass(10_000).connect("c", 2).pass(1_000);
    insta::assert_snapshot!(script.text());
}

//! What whatever waits is said to wait for.

#![allow(clippy::unwrap_used)]

use super::script::Script;
use super::{JOB, TWO, running, without_fixed_delay};
use jobmanager_core::id::{JobId, TriggerId};
use jobmanager_core::jobmanager::{Command, Input, SavepointRequest, StorageOutcome};
use jobmanager_core::message::{AfterSavepoint, DeclineReason, FromTaskManager, TaskReport};
use jobmanager_core::time::Timestamp;
use serde_json::Value;
use std::fmt::Write;

const DONE: StorageOutcome = StorageOutcome::Done;

impl Script {
    /// Forgets what was told so far, and asks why the job is not further.
    pub(super) fn why(&mut self) -> &mut Self {
        let job = self.job.unwrap();
        self.why_not(job)
    }

    fn why_not(&mut self, job: JobId) -> &mut Self {
        let why = self.coordinator.why(job, Timestamp(self.now)).unwrap();
        let answer = serde_json::to_value(&why).unwrap();
        writeln!(
            self.text,
            "{:>6} ? why is {:x} {}",
            self.now, job.0, why.status
        )
        .unwrap();
        for cause in answer["causes"].as_array().unwrap() {
            self.tell(cause, 1);
        }
        if why.causes.is_empty() {
            self.text.push_str("         nothing is waited for\n");
        }
        let next = &answer["next-checkpoint"];
        if next.is_object() {
            self.tell(next, 1);
        }
        self
    }

    fn tell(&mut self, cause: &Value, depth: usize) {
        let mut fields = cause.as_object().unwrap().clone();
        let mut take = |key: &str| fields.remove(key).unwrap();
        let [kind, text, unblock, because] = ["kind", "text", "unblock", "because"].map(&mut take);
        let indent = " ".repeat(7 + 2 * depth);
        let kind = kind.as_str().unwrap();
        let text = text.as_str().unwrap();
        let unblock = unblock.as_str().unwrap();
        let fields = Value::from(fields);
        write!(
            self.text,
            "{indent}{kind} {fields}\n{indent}  {text}\n{indent}  → {unblock}\n"
        )
        .unwrap();
        for cause in because.as_array().unwrap() {
            self.tell(cause, depth + 1);
        }
    }

    /// A client wants a savepoint under this name.
    fn savepoint_as(&mut self, trigger: u128, after: AfterSavepoint) -> &mut Self {
        let (request, job) = (self.request(), self.job.unwrap());
        let wanted = SavepointRequest {
            job,
            trigger: TriggerId(trigger),
            directory: "file:///s".into(),
            after,
        };
        let command = Command::Savepoint(wanted);
        self.step(
            &format!("savepoint {trigger}, {after:?}"),
            Input::Command { request, command },
        )
    }

    /// The first tasks begin, and all others are silent.
    fn begin(&mut self, count: usize) -> &mut Self {
        for attempt in self.alive().into_iter().take(count) {
            self.report(attempt, TaskReport::Initializing);
        }
        self
    }

    /// A task cannot snapshot.
    pub(super) fn declines(&mut self, vertex: u32) -> &mut Self {
        let attempt = self.alive();
        let mut attempt = attempt.into_iter();
        let attempt = attempt.find(|it| it.task.vertex.0 == vertex).unwrap();
        let message = FromTaskManager::Decline {
            attempt,
            checkpoint: self.checkpoint.unwrap(),
            reason: DeclineReason::AsyncException,
            message: "the storage is full".to_owned(),
        };
        self.say(attempt, "a decline", message);
        self
    }

    /// Every TaskManager gives a sign of life.
    fn all_answer(&mut self) -> &mut Self {
        for session in self.sessions.values().copied().collect::<Vec<_>>() {
            let message = FromTaskManager::Heartbeat { sequence: 1 };
            self.step("an answer", Input::Message { session, message });
        }
        self
    }
}

/// The job with this id.
fn with_id(job: &str, id: u8) -> String {
    job.replace(
        "00000000000000000000000000000001",
        &format!("000000000000000000000000000000{id:02}"),
    )
}

/// The job with this option.
fn with_option(job: &str, key: &str, value: &str) -> String {
    let first = "\"configuration\": {";
    job.replace(first, &format!("{first}\"{key}\": \"{value}\", "))
}

#[test]
fn a_job_that_runs_waits_for_nothing() {
    let mut script = running(&["a"], 2, JOB);
    script.cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_job_without_checkpoints_waits_for_none() {
    let job = JOB.replace("\"execution.checkpointing.interval\": \"1 s\",", "");
    let mut script = running(&["a"], 2, &job);
    script.cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_submission_waits_for_the_store() {
    let mut script = Script::new();
    script.connect("a", 2).submit(JOB).cut().pass(40).why();
    script.stored("unavailable").why();
    script.pass(50).why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_submission_waits_behind_another_write() {
    let mut script = Script::new();
    script.connect("a", 2).submit(JOB);
    script.submit(&with_id(JOB, 2)).cut().why();
    script.stored("unknown").why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_cancellation_waits_for_the_store_while_the_job_goes_on() {
    let mut script = running(&["a"], 2, JOB);
    script.cancel().cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn without_taskmanagers_all_slots_are_missing() {
    let mut script = Script::new();
    script.submit(JOB).stored("done").pass(2_500).cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn slots_that_another_job_holds_are_counted_as_its() {
    let mut script = running(&["a", "b"], 1, JOB);
    script.connect("c", 1);
    script.submit(&with_id(JOB, 2)).stored("done").cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn slots_whose_tasks_stop_are_told_from_those_whose_tasks_run() {
    let mut script = running(&["a"], 2, JOB);
    script.cancel().stored("done");
    script.submit(&with_id(JOB, 2)).stored("done").cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_taskmanager_that_is_silent_for_an_interval_does_not_help() {
    let mut script = Script::new();
    script.connect("a", 2).pass(20_000);
    script.submit(JOB).stored("done").cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn who_was_submitted_before_is_served_first() {
    let mut script = running(&["a"], 2, JOB);
    script.submit(&with_id(JOB, 2)).stored("done").pass(10);
    script.submit(&with_id(JOB, 3)).stored("done").cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_taskmanager_that_has_only_said_hello_does_not_help_yet() {
    let mut script = Script::new();
    script.connect("a", 1).connect_mute("b", 1);
    script.submit(JOB).stored("done").pass(300).cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn an_operator_that_nobody_offers_is_named() {
    let mut script = Script::new();
    script.offering(&["datagen-source"]).connect("a", 4);
    script.submit(JOB).stored("done").cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn taskmanagers_without_the_operators_are_filtered() {
    let mut script = Script::new();
    script.offering(&["datagen-source"]).connect("a", 4);
    script.offering(&["datagen-source", "file-sink"]);
    script.connect("b", 1);
    script.submit(JOB).stored("done").cut().why();
    insta::assert_snapshot!(script.text());
}

/// The job with its sinks in a slot sharing group of their own.
fn apart() -> String {
    let alone = "\"file-sink\", \"slotSharingGroup\": \"sinks\"";
    JOB.replace("\"file-sink\"", alone)
}

#[test]
fn of_several_groups_the_one_without_slots_is_named() {
    let mut script = Script::new();
    script.offering(&["datagen-source"]).connect("a", 4);
    script.offering(&["file-sink"]).connect("b", 1);
    script.submit(&apart()).stored("done").cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn groups_that_want_the_same_slots_are_told_so() {
    let in_group = |job: String, id: &str, group: &str| {
        let id = format!("{{\"id\": \"{id}\",");
        job.replace(&id, &format!("{id} \"slotSharingGroup\": \"{group}\","))
    };
    let groups = [
        ("in", "a"),
        ("other-in", "b"),
        ("out", "c"),
        ("other-out", "c"),
    ];
    let job = groups
        .into_iter()
        .fold(TWO.to_owned(), |job, (id, group)| in_group(job, id, group));
    let mut script = Script::new();
    script.offering(&["datagen-source"]).connect("a", 1);
    script.offering(&["file-sink"]).connect("b", 2);
    script.submit(&job).stored("done").cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn slots_of_a_taskmanager_that_has_gone_are_missed() {
    let mut script = running(&["a", "b"], 1, JOB);
    script.disconnect("b").canceled("a", 0).pass(500);
    script.cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn tasks_that_were_deployed_wait_for_their_taskmanagers() {
    let mut script = Script::new();
    script.connect("a", 1).connect("b", 1);
    script.submit(JOB).stored("done").begin(2);
    script.pass(800).cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_taskmanager_that_owes_a_sign_of_life_is_named_first() {
    let mut script = Script::new();
    script.connect("a", 1).connect("b", 1);
    script.submit(JOB).stored("done").pass(9_000).answer("b");
    script.pass(3_000).cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_restart_waits_for_its_delay_and_for_tasks_that_stop() {
    let mut script = running(&["a", "b"], 1, JOB);
    script.failed("a", "disk full").pass(100).cut().why();
    script.canceled("a", 0).canceled("b", 0).why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_restart_waits_until_it_is_known_from_which_checkpoint() {
    let mut script = running(&["a"], 2, JOB);
    script.pass(1000).acknowledge_all();
    script.failed("a", "disk full").canceled("a", 0).pass(600);
    script.cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_cancellation_hangs_on_a_silent_taskmanager() {
    let mut script = running(&["a", "b"], 1, JOB);
    script.cancel().stored("done").canceled("a", 0);
    script.pass(12_000).cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_failure_waits_for_tasks_that_stop() {
    let job = without_fixed_delay(&JOB.replace("\"fixed-delay\",", "\"none\","));
    let mut script = running(&["a"], 2, &job);
    script.failed("a", "disk full").pass(70).cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_job_that_has_ended_waits_for_its_result_and_its_removal() {
    let mut script = running(&["a"], 2, JOB);
    script.cancel().stored("done").canceled("a", 0);
    script.cut().why();
    script.stored("done").why();
    script.not_discarded().why();
    script.pass(1000).discarded().why();
    script.stored("done").why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_recovered_job_waits_for_its_attempts() {
    let mut script = running(&["a", "b"], 1, JOB);
    script.pass(1000).acknowledge_all().stored("done");
    script.recover().cut().why();
    script.connect_again("a", 1).pass(2_000).why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_recovered_job_knows_what_failed_meanwhile() {
    let alone = "\"slotSharingGroup\": \"other\", \"parallelism\": 1}";
    let mut job = TWO.to_owned();
    for other in ["{\"id\": \"other-in\"", "{\"id\": \"other-out\""] {
        let (before, after) = job.split_once(other).unwrap();
        let after = after.replacen("\"parallelism\": 1}", alone, 1);
        job = format!("{before}{other}{after}");
    }
    let mut script = running(&["a", "b"], 1, &job);
    script.recover().connect_again("a", 1);
    script.failed("a", "disk full").cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_checkpoint_waits_for_sources_and_then_for_those_behind_them() {
    let mut script = running(&["a", "b"], 1, JOB);
    script.pass(1000).cut().why();
    script.acknowledge_of(&[0]).pass(200).why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn over_a_pointwise_edge_a_task_waits_for_its_own_input() {
    let mut script = running(&["a"], 1, TWO);
    script.pass(1000).acknowledge_of(&[0]).cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_checkpoint_that_all_have_acknowledged_waits_for_the_store() {
    let mut script = running(&["a"], 2, JOB);
    script.pass(1000).acknowledge_all().stored("unknown");
    script.cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn what_is_acknowledged_while_a_record_is_written_waits_for_the_next_one() {
    let mut script = running(&["a"], 1, TWO);
    script.pass(1000).acknowledge_all().cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_checkpoint_that_is_due_waits_for_the_one_under_way() {
    let mut script = running(&["a"], 2, JOB);
    script.pass(2000).cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_checkpoint_that_is_due_waits_for_the_end_of_the_pause() {
    let job = with_option(JOB, "execution.checkpointing.min-pause", "5 s");
    let mut script = running(&["a"], 2, &job);
    script.pass(1000).acknowledge_all().stored("done");
    script.pass(1000).cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_region_that_restarts_is_not_due_for_the_others_checkpoint() {
    let mut script = running(&["a"], 1, TWO);
    script.failed_of(0, "bad record").pass(1000).cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_checkpoint_waits_for_an_id_that_is_durably_used() {
    let timeout = with_option(JOB, "execution.checkpointing.timeout", "100 ms");
    let key = "execution.checkpointing.tolerable-failed-checkpoints";
    let mut script = running(&["a"], 2, &with_option(&timeout, key, "99"));
    script.all_answer().pass(9_000).all_answer().pass(9_500);
    script.cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn checkpoints_that_fail_are_told_before_they_fail_the_job() {
    let key = "execution.checkpointing.tolerable-failed-checkpoints";
    let mut script = running(&["a"], 2, &with_option(JOB, key, "3"));
    script.pass(1000).declines(1).pass(1000).declines(0);
    script.cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn the_last_checkpoint_is_tried_again_after_a_failure() {
    let key = "execution.checkpointing.tolerable-failed-checkpoints";
    let mut script = running(&["a"], 2, &with_option(JOB, key, "3"));
    script.all_at_end_of_data().declines(1).pass(300);
    script.cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_savepoint_waits_for_the_store_then_for_a_checkpoint_then_for_tasks() {
    let mut script = running(&["a"], 2, JOB);
    script.pass(1000).savepoint_as(7, AfterSavepoint::GoOn);
    script.cut().why();
    script.stored("done").why();
    script.acknowledge_all().stored("done").why();
    script.acknowledge_all().why();
    script.metadata(DONE).why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_savepoint_waits_for_the_one_before_it() {
    let mut script = running(&["a"], 2, JOB);
    script.savepoint_as(7, AfterSavepoint::GoOn);
    script.savepoint_as(8, AfterSavepoint::Suspend);
    script.cut().why();
    script.stored("done").stored("done").why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_savepoint_that_was_tried_in_vain_says_why() {
    let mut script = running(&["a"], 2, JOB);
    script.savepoint_as(7, AfterSavepoint::Drain).stored("done");
    script.failed("a", "disk full").pass(30).cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_savepoint_that_failed_waits_until_that_is_durable() {
    let mut script = running(&["a"], 2, JOB);
    script.savepoint_as(7, AfterSavepoint::GoOn).stored("done");
    let failed = StorageOutcome::Failed("the disk is full".to_owned());
    script.acknowledge_all().metadata(failed).cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_savepoint_is_not_given_up_while_its_job_waits_for_its_attempts() {
    let mut script = running(&["a"], 2, JOB);
    script.savepoint_as(7, AfterSavepoint::GoOn).stored("done");
    script.recover().cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_due_checkpoint_waits_for_a_savepoint() {
    let mut script = running(&["a"], 2, JOB);
    script.savepoint_as(7, AfterSavepoint::GoOn).stored("done");
    script.acknowledge_all().pass(1000).cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn nobody_knows_why_of_a_job_that_was_never_submitted() {
    let script = Script::new();
    assert_eq!(script.coordinator.why(JobId(1), Timestamp(0)), None);
}

/// The job with so many subtasks of each vertex.
fn wide(parallelism: u32) -> String {
    let wide = format!("\"parallelism\": {parallelism}");
    JOB.replace("\"parallelism\": 2", &wide)
}

#[test]
fn what_an_answer_leaves_out_is_counted() {
    let mut script = Script::new();
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"] {
        script.connect(name, 1);
    }
    script.submit(&wide(12)).stored("done").cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn of_many_tasks_in_one_place_the_first_are_named() {
    let mut script = running(&["a"], 12, &wide(12));
    script.failed("a", &"x".repeat(600)).cut().why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn tasks_on_a_taskmanager_that_leaves_wait_for_room_and_then_for_a_checkpoint() {
    let mut script = running(&["a", "b"], 1, JOB);
    script.pass(200).cut().leave("a", 20).why();
    script.connect("c", 1).pass(1_000).why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn slots_of_a_taskmanager_that_leaves_do_not_help() {
    let mut script = Script::new();
    script.connect("a", 2).leave("a", 20);
    script.submit(JOB).stored("done").cut().why();
    insta::assert_snapshot!(script.text());
}

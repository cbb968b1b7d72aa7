//! Scenarios of TaskManagers that are started for jobs.

#![allow(clippy::unwrap_used)]

use super::JOB;
use super::leaving::{adaptive, of_one_slot};
use super::script::Script;
use jobmanager_core::config::cluster_config;
use jobmanager_core::id::{Epoch, WorkerId};
use jobmanager_core::jobmanager::{Input, WorkerReport};
use std::collections::BTreeMap;

/// Of two slots each, in a cluster with these options besides.
pub(super) fn with_provider(options: &[(&str, &str)]) -> Script {
    let all = [
        ("resourcemanager.provider", "kubernetes"),
        ("taskmanager.numberOfTaskSlots", "2"),
    ];
    let all = all.iter().chain(options);
    let all: BTreeMap<String, String> = all
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    Script::of(cluster_config(&all, &[]).unwrap())
}

pub(super) fn worker(epoch: u64, number: u64) -> WorkerId {
    let epoch = Epoch(epoch);
    WorkerId { epoch, number }
}

impl Script {
    /// The provider tells which workers there are.
    pub(super) fn lists(&mut self, present: &[WorkerId]) -> &mut Self {
        let names: Vec<_> = present.iter().map(ToString::to_string).collect();
        let what = format!("the workers are [{}]", names.join(", "));
        let present = present.to_vec();
        self.step(&what, Input::Workers { present })
    }

    fn starts(&mut self, worker: WorkerId) -> &mut Self {
        self.tells(worker, WorkerReport::Started)
    }

    fn ends(&mut self, worker: WorkerId) -> &mut Self {
        self.tells(worker, WorkerReport::Gone("it has ended".to_owned()))
    }

    fn tells(&mut self, worker: WorkerId, report: WorkerReport) -> &mut Self {
        let what = format!("{worker}: {report:?}");
        self.step(&what, Input::Worker { worker, report })
    }

    /// A worker of two slots registers.
    pub(super) fn registers(&mut self, worker: WorkerId) -> &mut Self {
        self.connect(&worker.to_string(), 2)
    }
}

/// A job that is not seen to do much.
fn quiet() -> String {
    JOB.replace("\"1 s\"", "\"1 min\"")
}

/// One whose first job runs on two slots.
fn running(options: &[(&str, &str)]) -> Script {
    let mut script = with_provider(options);
    script.lists(&[]).submit(&quiet()).stored("done");
    script.starts(worker(1, 1)).registers(worker(1, 1));
    script.all_running().cut();
    script
}

#[test]
fn nothing_is_asked_for_before_it_is_known_which_workers_there_are() {
    let mut script = with_provider(&[]);
    script.submit(JOB).stored("done").cut().lists(&[]);
    script.starts(worker(1, 1)).registers(worker(1, 1));
    insta::assert_snapshot!(script.text());
}

#[test]
fn slots_that_are_there_or_on_their_way_are_not_asked_for() {
    let mut script = with_provider(&[]);
    script.lists(&[]).connect("a", 1);
    script.submit(JOB).stored("done");
    script.cut().submit(&of_one_slot(2)).stored("done");
    script.submit(&of_one_slot(3)).stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn who_has_no_task_for_a_while_is_released_and_goes_when_it_says_so() {
    let mut script = running(&[]);
    script.cancel().stored("done");
    script.canceled("taskmanager-1-1", 0).stored("done").cut();
    script.pass(30_000).leave("taskmanager-1-1", 20);
    script.disconnect("taskmanager-1-1").ends(worker(1, 1));
    insta::assert_snapshot!(script.text());
}

#[test]
fn what_is_not_needed_any_more_before_it_starts_is_withdrawn() {
    let mut script = with_provider(&[]);
    script.lists(&[]).submit(JOB).stored("done").cut();
    let report = WorkerReport::Pending("no node has room".to_owned());
    script.tells(worker(1, 1), report).cancel().stored("done");
    script.starts(worker(1, 1));
    insta::assert_snapshot!(script.text());
}

#[test]
fn who_ends_is_replaced_at_once_and_who_loses_its_session_may_come_back() {
    let mut script = running(&[]);
    script.disconnect("taskmanager-1-1").pass(1_000);
    script.ends(worker(1, 1));
    insta::assert_snapshot!(script.text());
}

#[test]
fn who_does_not_come_back_is_given_up_after_the_heartbeat_timeout() {
    let mut script = running(&[]);
    script.disconnect("taskmanager-1-1").pass(49_999).cut();
    script.pass(1);
    insta::assert_snapshot!(script.text());
}

#[test]
fn who_leaves_is_replaced_before_it_has_left() {
    let mut script = running(&[]);
    script.leave("taskmanager-1-1", 20).starts(worker(1, 2));
    script.registers(worker(1, 2)).pass(1_000);
    script.acknowledge_all().stored("done");
    script.canceled("taskmanager-1-1", 0);
    script.disconnect("taskmanager-1-1");
    insta::assert_snapshot!(script.text());
}

#[test]
fn after_too_many_failed_starts_there_is_a_pause() {
    let mut script = with_provider(&[("resourcemanager.start-worker.max-failure-rate", "2")]);
    script.lists(&[]).submit(JOB).stored("done").cut();
    script.ends(worker(1, 1)).ends(worker(1, 2)).pass(3_000);
    insta::assert_snapshot!(script.text());
}

#[test]
fn who_does_not_register_in_time_is_replaced() {
    let mut script = with_provider(&[]);
    script.lists(&[]).submit(&quiet());
    script
        .stored("done")
        .starts(worker(1, 1))
        .cut()
        .pass(299_999);
    script.pass(1);
    insta::assert_snapshot!(script.text());
}

#[test]
fn there_are_not_more_slots_than_allowed() {
    let mut script = with_provider(&[("slotmanager.number-of-slots.max", "3")]);
    script.lists(&[]).connect("a", 1).submit(JOB).stored("done");
    script.starts(worker(1, 1)).registers(worker(1, 1));
    script.submit(&of_one_slot(2)).stored("done").cut();
    script.submit(&of_one_slot(3)).stored("done").why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn the_next_leader_goes_on_with_the_workers_that_there_are() {
    let mut script = running(&[("resourcemanager.taskmanager-timeout", "5 s")]);
    script.recover().lists(&[worker(1, 1), worker(1, 7)]);
    script.connect_again("taskmanager-1-1", 2);
    script.registers(worker(1, 7)).pass(5_000);
    insta::assert_snapshot!(script.text());
}

#[test]
fn an_adaptive_job_asks_for_as_many_slots_as_it_may_have() {
    let mut script = with_provider(&[("taskmanager.numberOfTaskSlots", "1")]);
    script.lists(&[]).submit(&adaptive()).stored("done");
    script.starts(worker(1, 1)).connect("taskmanager-1-1", 1);
    script.pass(10_000);
    insta::assert_snapshot!(script.text());
}

#[test]
fn who_was_given_up_and_comes_after_all_is_sent_away() {
    let mut script = running(&[]);
    script.disconnect("taskmanager-1-1").pass(50_000).cut();
    script.registers(worker(1, 1));
    script.leave("taskmanager-1-1", 20);
    insta::assert_snapshot!(script.text());
}

#[test]
fn the_end_of_a_process_ends_its_session() {
    let mut script = running(&[]);
    script.ends(worker(1, 1));
    insta::assert_snapshot!(script.text());
}

#[test]
fn who_starts_again_and_again_is_given_up_at_its_first_deadline() {
    let mut script = with_provider(&[]);
    script.lists(&[]).submit(JOB).stored("done").cut();
    let report = || WorkerReport::Pending("it has crashed".to_owned());
    script.starts(worker(1, 1)).pass(299_000);
    script.tells(worker(1, 1), report()).starts(worker(1, 1));
    script.pass(1_000);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_worker_counts_once_it_has_answered() {
    let mut script = with_provider(&[]);
    script.lists(&[]).connect_mute("a", 2).cut();
    script.submit(JOB).stored("done");
    script.answer("a");
    insta::assert_snapshot!(script.text());
}

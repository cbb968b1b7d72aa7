//! Scenarios of jobs that compete for slots: those of a higher priority go first.

use super::leaving::of_one_slot;
use super::script::Script;
use super::workers::{with_provider, worker};
use jobmanager_core::id::JobId;
use jobmanager_core::jobmanager::{Command, Input};

/// A job that needs so many slots, under this number, with this priority, and is not seen to do much.
fn job(number: u32, slots: u32, priority: u32) -> String {
    let parallelism = format!("\"parallelism\": {slots}");
    let priority =
        format!("\"jobmanager.scheduler.priority\": {priority}, \"restart-strategy.type\"");
    of_one_slot(number)
        .replace("\"parallelism\": 1", &parallelism)
        .replace("\"restart-strategy.type\"", &priority)
        .replace("\"1 s\"", "\"1 min\"")
}

impl Script {
    /// A job is submitted, and that is durable.
    fn takes(&mut self, job: &str) -> &mut Self {
        self.submit(job).stored("done")
    }

    /// A task on `a` fails, and its region restarts.
    fn restarts(&mut self) -> &mut Self {
        self.failed("a", "a bad record")
            .canceled("a", 0)
            .pass(1_000)
    }

    fn cancel_number(&mut self, number: u128) -> &mut Self {
        let command = Command::Cancel(JobId(number));
        let request = self.request();
        let what = format!("cancel {number}");
        self.step(&what, Input::Command { request, command })
    }
}

/// One slot of two is taken, and a job of priority 5 waits for two.
fn contended() -> Script {
    let mut script = Script::new();
    script.connect("a", 2).takes(&job(1, 1, 0)).all_running();
    script.takes(&job(2, 2, 5)).cut();
    script
}

/// The first job, which takes the slots that there are, up to so many, with this priority.
fn adaptive(slots: u32, priority: u32) -> String {
    let adaptive = r#""jobmanager.scheduler": "Adaptive",
        "jobmanager.adaptive-scheduler.executing.cooldown-after-rescaling": "1 s", "restart-strategy.type""#;
    job(1, slots, priority).replace(r#""restart-strategy.type""#, adaptive)
}

#[test]
fn a_job_of_a_lower_priority_leaves_free_slots_to_one_that_waits() {
    let mut script = contended();
    script.takes(&job(3, 1, 4)).why();
    script.cancel_number(1).stored("done").canceled("a", 0);
    script.stored("done").all_running();
    script.cancel_number(2).stored("done").canceled("a", 0);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_job_that_has_waited_too_long_for_its_slots_keeps_those_that_it_lacks() {
    let mut script = Script::new();
    script.connect("a", 2).takes(&job(1, 1, 0)).all_running();
    let hasty = r#""slot.request.timeout": "5 s", "restart-strategy.type""#;
    let hasty = job(2, 2, 5).replace(r#""restart-strategy.type""#, hasty);
    script.takes(&hasty).takes(&job(3, 1, 4)).cut().pass(7_000);
    insta::assert_snapshot!(script.text());
}

#[test]
fn slots_of_a_job_that_restarts_are_left_to_it() {
    let mut script = Script::new();
    script.connect("a", 2).takes(&job(1, 2, 5)).all_running();
    script.takes(&job(2, 1, 4)).cut();
    script.restarts().cancel_number(1).stored("done");
    script.canceled("a", 0);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_job_of_the_same_priority_takes_what_does_not_suffice_for_the_first() {
    let mut script = contended();
    script.takes(&job(3, 1, 5));
    insta::assert_snapshot!(script.text());
}

#[test]
fn who_has_run_takes_free_slots_again_that_do_not_suffice_for_who_goes_first() {
    let mut script = Script::new();
    script.connect("a", 3).takes(&job(1, 1, 0));
    script.takes(&job(2, 1, 0)).all_running();
    script.takes(&job(3, 3, 5)).cut();
    script.failed("a", "a bad record").canceled("a", 0);
    script.pass(500);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_job_for_which_the_cluster_is_too_small_keeps_nobody_waiting() {
    let mut script = Script::new();
    script.connect("a", 1).takes(&job(1, 2, 5)).cut();
    script.takes(&job(2, 1, 0));
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_job_waits_no_more_for_one_that_the_cluster_has_become_too_small_for() {
    let mut script = Script::new();
    script.connect("a", 2).connect("b", 1);
    script.takes(&job(1, 1, 0)).takes(&job(2, 3, 5));
    script.takes(&job(3, 1, 0)).cut().disconnect("b");
    insta::assert_snapshot!(script.text());
}

/// The job needs this operator in place of the usual sink.
fn with_sink(job: &str, operator: &str) -> String {
    job.replace("file-sink", operator)
}

#[test]
fn slots_that_do_not_suit_the_first_job_are_not_left_to_it() {
    let mut script = Script::new();
    script.offering(&["datagen-source", "file-sink"]);
    script.connect("a", 2).takes(&job(1, 1, 0));
    script.offering(&["datagen-source", "other-sink"]);
    script.connect("b", 1).takes(&job(2, 2, 5)).cut();
    script.takes(&with_sink(&job(3, 1, 0), "other-sink"));
    script.takes(&job(4, 1, 0));
    script.takes(&with_sink(&job(5, 1, 0), "other-sink")).why();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_job_for_which_taskmanagers_that_suit_are_too_few_keeps_nobody_waiting() {
    let mut script = Script::new();
    script.offering(&["datagen-source", "file-sink"]);
    script.connect("a", 1).takes(&job(1, 2, 5)).cut();
    script.offering(&["datagen-source", "other-sink"]);
    script.connect("b", 1).takes(&job(2, 1, 0));
    insta::assert_snapshot!(script.text());
}

#[test]
fn taskmanagers_that_are_to_come_are_waited_for() {
    let mut script = with_provider(&[]);
    script.lists(&[]).takes(&job(1, 3, 5)).takes(&job(2, 1, 0));
    script.cut().registers(worker(1, 1)).registers(worker(1, 2));
    insta::assert_snapshot!(script.text());
}

#[test]
fn the_next_coordinator_knows_who_has_not_run() {
    let mut script = Script::new();
    script.connect("a", 2).takes(&job(1, 1, 0)).all_running();
    script.takes(&job(2, 2, 5)).takes(&job(3, 1, 4)).cut();
    script.recover().connect_again("a", 2).pass(10_000);
    insta::assert_snapshot!(script.text());
}

#[test]
fn an_adaptive_job_goes_on_as_it_was_in_slots_that_are_left_to_others() {
    let mut script = Script::new();
    script.connect("a", 3).takes(&adaptive(2, 0)).all_running();
    script.pass(30_000).takes(&job(2, 3, 1)).cut();
    script.restarts();
    insta::assert_snapshot!(script.text());
}

#[test]
fn an_adaptive_job_does_not_grow_while_a_job_of_a_higher_priority_waits() {
    let mut script = Script::new();
    script.connect("a", 1).takes(&adaptive(2, 0)).pass(10_000);
    script.stored("done").all_running();
    script.takes(&job(2, 2, 1)).connect("b", 1).cut();
    script.pass(10_000).cancel_number(2).stored("done");
    script.pass(10_000);
    insta::assert_snapshot!(script.text());
}

#[test]
fn an_adaptive_job_gets_back_what_it_had() {
    let mut script = Script::new();
    script.connect("a", 2).takes(&adaptive(2, 5)).all_running();
    script.pass(30_000).takes(&job(2, 1, 0)).cut();
    script.restarts();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_job_that_runs_keeps_its_slots_while_others_move_and_lack_some() {
    let mut script = Script::new();
    script.connect("a", 3).takes(&adaptive(4, 0)).pass(10_000);
    script.stored("done").all_running();
    script.connect("b", 1).takes(&job(2, 1, 0)).all_running();
    script.connect("c", 2).takes(&job(3, 5, 5)).cut();
    script.leave("b", 600).pass(20_000);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_job_that_changes_its_parallelism_is_not_overtaken() {
    let first = job(1, 2, 5).replace("forward", "hash");
    let mut script = Script::new();
    script.connect("a", 4).takes(&first).all_running().pass(500);
    script.snapshots_have_parts();
    script.rescale(&[("in", 4), ("out", 4)]).stored("done");
    script.acknowledge_all().stored("done").cut();
    script.takes(&job(2, 2, 0)).canceled("a", 0).stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn slots_go_to_those_groups_first_that_have_the_least_choice() {
    let apart = "\"file-sink\", \"slotSharingGroup\": \"alone\"";
    let apart = job(1, 2, 0).replace("\"file-sink\"", apart);
    let apart = apart.replace("forward", "hash");
    let mut script = Script::new();
    script.offering(&["datagen-source", "file-sink"]);
    script.connect("a", 2);
    script.offering(&["datagen-source"]).connect("b", 1);
    script.offering(&["file-sink"]).connect("c", 1);
    script.cut().takes(&apart);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_new_coordinator_leaves_slots_to_jobs_that_come_back() {
    let mut script = Script::new();
    script.connect("a", 1).connect("b", 1);
    script.takes(&job(1, 2, 5)).all_running().cut();
    script.recover().connect_again("a", 1).connect("c", 1);
    script.takes(&job(2, 1, 0)).pass(10_000);
    insta::assert_snapshot!(script.text());
}

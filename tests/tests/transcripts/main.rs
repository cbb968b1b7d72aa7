//! Scenarios of the coordinator as text: what went in and everything that came out, reviewed as a diff.
//! Each is named after what must hold.
//!
//! After a change of behaviour that is meant: `INSTA_UPDATE=always cargo test --test transcripts`.

mod demands;
mod leaving;
mod observe;
mod patience;
mod priorities;
mod quotas;
mod rescale;
mod restore;
mod retained;
mod savepoints;
mod script;
mod why;
mod workers;

use jobmanager_core::state::ExecutionState;
use script::Script;

/// One source feeding one sink, both with two subtasks, a checkpoint each second.
const JOB: &str = r#"{"name": "copy", "jobId": "00000000000000000000000000000001",
  "vertices": [{"id": "in", "operator": "datagen-source", "parallelism": 2},
               {"id": "out", "operator": "file-sink", "parallelism": 2}],
  "edges": [{"source": "in", "target": "out", "partitioning": "hash"}],
  "configuration": {"execution.checkpointing.interval": "1 s",
                    "restart-strategy.type": "fixed-delay",
                    "restart-strategy.fixed-delay.attempts": "3",
                    "restart-strategy.fixed-delay.delay": "500 ms"}}"#;

/// Two regions that exchange nothing.
const TWO: &str = r#"{"name": "two", "jobId": "00000000000000000000000000000001",
  "vertices": [{"id": "in", "operator": "datagen-source", "parallelism": 1},
               {"id": "out", "operator": "file-sink", "parallelism": 1},
               {"id": "other-in", "operator": "datagen-source", "parallelism": 1},
               {"id": "other-out", "operator": "file-sink", "parallelism": 1}],
  "edges": [{"source": "in", "target": "out", "partitioning": "forward"},
            {"source": "other-in", "target": "other-out", "partitioning": "forward"}],
  "configuration": {"execution.checkpointing.interval": "1 s",
                    "restart-strategy.type": "fixed-delay",
                    "restart-strategy.fixed-delay.attempts": "9",
                    "restart-strategy.fixed-delay.delay": "500 ms"}}"#;

#[test]
fn a_job_is_told_to_its_client_and_deployed_only_when_it_is_durable() {
    let mut script = Script::new();
    script.connect("a", 2);
    script.submit(JOB);
    script.stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_silent_taskmanager_gets_no_tasks_before_it_is_heard_again() {
    let mut script = Script::new();
    script.connect("a", 2).cut().pass(20_000);
    script.submit(JOB).stored("done").answer("a");
    insta::assert_snapshot!(script.text());
}

#[test]
fn tasks_go_to_who_answers_although_a_silent_one_has_more_slots() {
    let mut script = Script::new();
    script.connect("a", 4).connect("b", 2).cut();
    script.pass(10_000).answer("b").pass(10_000).answer("b");
    script.submit(JOB).stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_checkpoint_is_announced_only_after_it_is_durable() {
    let mut script = Script::new();
    script.connect("a", 2).submit(JOB).stored("done");
    script.all_running();
    script.cut().pass(1000);
    script.acknowledge_all();
    script.stored("unknown").pass(50).stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_lost_taskmanager_restarts_the_region_from_the_last_completed_checkpoint() {
    let mut script = Script::new();
    script.connect("a", 1).connect("b", 1).connect("c", 1);
    script.submit(JOB).stored("done").all_running();
    script.pass(1000).acknowledge_all().stored("done");
    script.cut().disconnect("b");
    script.canceled("a", 0).pass(500);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_job_that_cannot_get_all_its_slots_takes_none() {
    let mut script = Script::new();
    script.connect("a", 1).submit(JOB).stored("done");
    script.cut().connect("b", 1);
    insta::assert_snapshot!(script.text());
}

#[test]
fn when_all_input_has_ended_a_final_checkpoint_commits_and_then_the_tasks_finish() {
    let mut script = running(&["a"], 2, JOB);
    script
        .cut()
        .all_at_end_of_data()
        .acknowledge_all()
        .stored("done");
    script
        .all_finished()
        .stored("done")
        .discarded()
        .stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_task_that_has_finished_is_kept_whatever_is_heard_of_it_once_more() {
    let mut script = running(&["a"], 2, JOB);
    script.all_at_end_of_data().acknowledge_all().stored("done");
    script.cut().one_finished_and_repeated();
    insta::assert_snapshot!(script.text());
}

#[test]
fn who_comes_back_after_a_job_has_ended_is_told_to_forget_it() {
    let mut script = running(&["a"], 2, JOB);
    script.all_at_end_of_data().acknowledge_all().stored("done");
    let mut held = script.tasks_of("a");
    held.iter_mut()
        .for_each(|item| item.state = ExecutionState::Finished);
    script.all_finished().stored("done");
    script.cut().lose_sight_of("a").hello_with("a", 2, held);
    script.discarded().stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn what_is_written_after_a_job_has_ended_is_removed_too() {
    let mut script = running(&["a"], 2, JOB);
    let left_behind = script.tasks_of("a");
    script.all_at_end_of_data().acknowledge_all().stored("done");
    script.all_finished().stored("done");
    script.discarded().stored("done");
    script.lose_sight_of("a").cut();
    script.hello_with("a", 2, left_behind);
    script.canceled("a", 0).not_discarded().pass(1000);
    insta::assert_snapshot!(script.text());
}

#[test]
fn what_was_written_for_an_ended_job_while_nobody_could_be_told_is_removed_too() {
    let mut script = running(&["a"], 2, JOB);
    script.lose_sight_of("a").cancel().stored("done");
    script.stored("done").discarded().stored("done").cut();
    // Its tasks have ended meanwhile, in the grace period: only the job's name is left of them.
    script.hello_with("a", 2, Vec::new());
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_failure_beyond_the_restart_budget_fails_the_job_with_its_cause() {
    let job = without_fixed_delay(&JOB.replace("\"fixed-delay\",", "\"none\","));
    let mut script = running(&["a"], 2, &job);
    script.cut().failed("a", "disk full");
    script
        .canceled("a", 0)
        .stored("done")
        .discarded()
        .stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_coordinator_that_dies_restarts_no_task() {
    let mut script = running(&["a", "b"], 1, JOB);
    script.pass(1000).acknowledge_all().stored("done");
    script.cut().recover();
    script.connect_again("a", 1).connect_again("b", 1);
    script.pass(1000);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_canceled_job_stays_canceled_whatever_dies_in_between() {
    let mut script = running(&["a"], 2, JOB);
    script.cut().cancel().stored("done");
    script.recover().stored("done");
    script.connect_again("a", 2).discarded().stored("done");
    script.cancel();
    insta::assert_snapshot!(script.text());
}

#[test]
fn two_processes_of_one_name_do_not_register_together() {
    let mut script = Script::new();
    script.connect("a", 1);
    script.connect("a", 1);
    script.pass(3000);
    script.connect("a", 1);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_hello_that_was_long_on_its_way_does_not_end_a_later_session() {
    let mut script = running(&["a"], 2, JOB);
    let tasks = script.tasks_of("a");
    script.lose_sight_of("a").hello_with("a", 2, tasks.clone());
    script.cut().late().hello_with("a", 2, tasks);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_silent_taskmanager_is_lost_after_its_heartbeat_timeout() {
    let mut script = Script::new();
    script.connect("a", 1);
    for _ in 0..5 {
        script.pass(10_000);
    }
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_taskmanager_that_has_said_hello_only_is_given_no_task() {
    let mut script = Script::new();
    script.connect_mute("a", 2).submit(JOB).stored("done");
    script.cut().pass(1000).answer("a");
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_coordinator_that_stood_still_does_not_take_its_own_absence_for_silence() {
    let mut script = running(&["a"], 2, JOB);
    script.cut().stand_still(120_000).answer("a").pass(10_000);
    insta::assert_snapshot!(script.text());
}

#[test]
fn an_attempt_whose_successor_has_published_is_never_adopted() {
    let mut script = Script::new();
    script.connect("a", 2).connect("b", 2);
    script.submit(JOB).stored("done").all_running();
    let zombie = script.tasks_of("a");
    script
        .lose_sight_of("a")
        .canceled("b", 0)
        .pass(500)
        .all_running();
    script.pass(500).acknowledge_all().stored("done");
    script.cut().recover();
    script.hello_with("a", 2, zombie);
    script.connect_again("b", 2);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_later_attempt_that_an_old_leader_started_from_an_older_checkpoint_is_not_adopted() {
    let mut script = running(&["a"], 2, JOB);
    script.pass(1000).acknowledge_all().stored("done");
    let mut behind = script.tasks_of("a");
    for item in &mut behind {
        item.attempt.attempt.number = 5;
    }
    script.cut().recover();
    script.hello_with("a", 2, behind);
    insta::assert_snapshot!(script.text());
}

#[test]
fn the_failure_of_an_earlier_attempt_does_not_restart_a_later_one() {
    let mut script = running(&["a"], 1, TWO);
    let mut later = script.tasks_of("a");
    let failing = later[..2].to_vec();
    for item in &mut later[..2] {
        item.attempt.attempt.number = 1;
    }
    script.cut().recover().hello_with("a", 1, failing);
    script.failed("a", "disk").hello_with("c", 1, later);
    insta::assert_snapshot!(script.text());
}

#[test]
fn an_attempt_that_nobody_can_have_ordered_is_not_adopted() {
    let mut script = running(&["a"], 2, JOB);
    script.cut().recover();
    let mut forged = script.tasks_of("a");
    for item in &mut forged {
        item.attempt.attempt.epoch.0 = 7;
    }
    script.hello_with("a", 2, forged);
    insta::assert_snapshot!(script.text());
}

#[test]
fn tasks_that_wait_for_their_final_commit_are_told_to_finish_by_the_next_coordinator() {
    let mut script = running(&["a"], 2, JOB);
    script
        .all_at_end_of_data()
        .acknowledge_all()
        .durable_but_unheard();
    script.cut().recover();
    script.connect_again("a", 2);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_job_that_waits_too_long_for_slots_fails_with_what_was_missing() {
    let mut script = Script::new();
    let job = JOB.replace(
        "\"fixed-delay\",",
        "\"none\", \"slot.request.timeout\": \"5 s\",",
    );
    let job = without_fixed_delay(&job);
    script.connect("a", 1).submit(&job);
    script.pass(60_000).cut();
    script.stored("done").pass(5_000).stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_failure_while_attempts_are_being_reported_asks_the_restart_strategy() {
    let mut script = running(&["a", "b"], 1, JOB);
    script.cut().recover();
    script.connect_again("a", 1);
    script.failed("a", "disk full");
    script.canceled("a", 1).connect("b", 1).pass(500);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_region_that_fails_again_and_again_does_not_keep_checkpoints_from_being_taken() {
    let mut script = running(&["a"], 2, JOB);
    for _ in 0..2 {
        script
            .pass(700)
            .failed("a", "again")
            .canceled("a", 0)
            .pass(500)
            .cut()
            .all_running();
    }
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_region_that_restarts_does_not_hold_up_the_checkpoints_of_another_one() {
    let mut script = running(&["a"], 1, TWO);
    script
        .pass(1000)
        .failed_of(0, "bad record")
        .canceled("a", 0);
    script.cut().acknowledge_of(&[2, 3]).stored("done");
    script.pass(500).all_running().pass(500);
    script.acknowledge_all().stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn what_regions_complete_while_a_record_is_written_is_in_the_next_one() {
    let mut script = running(&["a"], 1, TWO);
    script.pass(1000).cut().acknowledge_of(&[0, 1]);
    script.acknowledge_of(&[2, 3]).stored("done").stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn each_region_goes_on_from_its_own_latest_checkpoint() {
    let mut script = running(&["a"], 1, TWO);
    script
        .pass(1000)
        .acknowledge_all()
        .stored("done")
        .stored("done");
    script.pass(1000).acknowledge_of(&[0, 1]).stored("done");
    script.cut().recover().connect_again("a", 1);
    script.failed_of(1, "full").failed_of(3, "full");
    script.canceled("a", 1).pass(500);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_leader_that_meets_a_later_epoch_asks_the_store_whether_it_still_leads() {
    let mut script = Script::new();
    script.after_epoch(2).connect("a", 2).stored("fenced");
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_job_is_submitted_twice_without_harm_but_another_one_is_not_taken_for_it() {
    let mut script = Script::new();
    script.connect("a", 2).submit(JOB).stored("done").cut();
    script.submit(JOB);
    script.submit(&JOB.replace("\"copy\"", "\"another\""));
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_job_is_in_the_way_of_another_one_only_once_it_is_durable() {
    let mut script = Script::new();
    script.connect("a", 2).submit(JOB).cut();
    script.submit(&JOB.replace("\"copy\"", "\"another\""));
    script.stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn another_job_is_not_taken_for_one_that_has_ended() {
    let mut script = running(&["a"], 2, JOB);
    script.cancel().stored("done").canceled("a", 0);
    script.stored("done").discarded().stored("done").recover();
    script.cut().submit(JOB);
    script.submit(&JOB.replace("\"copy\"", "\"another\""));
    insta::assert_snapshot!(script.text());
}

/// TaskManagers of these names, with this many slots each, run all tasks of a job.
fn running(taskmanagers: &[&str], slots: u32, job: &str) -> Script {
    let mut script = Script::new();
    for name in taskmanagers {
        script.connect(name, slots);
    }
    script.submit(job).stored("done").all_running();
    script
}

/// The job without the options of the fixed-delay strategy, which another strategy would refuse.
fn without_fixed_delay(job: &str) -> String {
    job.replace("\"restart-strategy.fixed-delay.attempts\": \"3\",", "")
        .replace(",\n                    \"restart-strategy.fixed-delay.delay\": \"500 ms\"", "")
        .replace(",\n                    \n                    \"restart-strategy.fixed-delay.delay\": \"500 ms\"", "")
}

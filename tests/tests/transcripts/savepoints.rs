//! Scenarios of savepoints.

use super::{JOB, TWO, running};
use jobmanager_core::jobmanager::StorageOutcome;
use jobmanager_core::message::AfterSavepoint;

const DONE: StorageOutcome = StorageOutcome::Done;

fn failed() -> StorageOutcome {
    StorageOutcome::Failed("the disk is full".to_owned())
}

#[test]
fn a_savepoint_is_accepted_when_that_is_durable_and_complete_when_its_metadata_is() {
    let mut script = running(&["a"], 2, JOB);
    script.cut().savepoint(AfterSavepoint::GoOn).stored("done");
    script.savepoint(AfterSavepoint::GoOn);
    script.acknowledge_all().metadata(DONE).stored("done");
    script.savepoint(AfterSavepoint::GoOn);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_savepoint_waits_for_a_checkpoint_under_way_and_the_next_one_waits_for_it() {
    let mut script = running(&["a"], 2, JOB);
    script.pass(1000).cut();
    script.savepoint(AfterSavepoint::GoOn).stored("done");
    script.acknowledge_all().stored("done").pass(1000);
    script.acknowledge_all().metadata(DONE).stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_savepoint_is_of_all_regions_at_one_time() {
    let mut script = running(&["a"], 1, TWO);
    script.cut().savepoint(AfterSavepoint::GoOn).stored("done");
    script.acknowledge_of(&[0, 1]).acknowledge_of(&[2, 3]);
    script.metadata(DONE).stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_savepoint_is_tried_again_when_a_task_fails_meanwhile() {
    let mut script = running(&["a"], 2, JOB);
    script.cut().savepoint(AfterSavepoint::GoOn).stored("done");
    script.failed("a", "disk full").canceled("a", 0);
    script.pass(500).all_running();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_savepoint_that_takes_too_long_fails_and_the_job_goes_on() {
    let job = JOB.replace(
        "\"execution.checkpointing.interval\": \"1 s\",",
        "\"execution.checkpointing.interval\": \"1 h\", \"execution.checkpointing.timeout\": \"2 s\",",
    );
    let mut script = running(&["a"], 2, &job);
    script
        .cut()
        .savepoint(AfterSavepoint::Suspend)
        .stored("done");
    script.pass(2000).stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_job_that_is_stopped_finishes_only_after_its_savepoint_is_durable() {
    let mut script = running(&["a"], 2, JOB);
    script
        .cut()
        .savepoint(AfterSavepoint::Suspend)
        .stored("done");
    script.acknowledge_all().metadata(DONE).stored("done");
    script.all_finished().stored("done");
    script.discarded().stored("done");
    script.savepoint(AfterSavepoint::Suspend);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_job_whose_savepoint_cannot_be_written_goes_on() {
    let mut script = running(&["a"], 2, JOB);
    script
        .cut()
        .savepoint(AfterSavepoint::Suspend)
        .stored("done");
    script.acknowledge_all().metadata(failed()).stored("done");
    script.pass(1000);
    insta::assert_snapshot!(script.text());
}

#[test]
fn what_was_drained_for_a_savepoint_that_failed_goes_on_from_its_latest_checkpoint() {
    let mut script = running(&["a"], 2, JOB);
    script.pass(1000).acknowledge_all().stored("done").cut();
    script.savepoint(AfterSavepoint::Drain).stored("done");
    script.all_at_end_of_data().acknowledge_all();
    script.metadata(failed()).stored("done");
    script.canceled("a", 0).pass(500);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_drained_job_does_not_finish_before_its_savepoint() {
    let mut script = running(&["a"], 2, JOB);
    script.cut().savepoint(AfterSavepoint::Drain).stored("done");
    script.all_at_end_of_data().pass(1500);
    script.acknowledge_all().metadata(DONE).stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn the_next_leader_takes_the_savepoint_that_was_accepted() {
    let mut script = running(&["a"], 2, JOB);
    script.savepoint(AfterSavepoint::Suspend).stored("done");
    script.cut().recover().connect_again("a", 2).stored("done");
    script.acknowledge_all().metadata(DONE).stored("done");
    script.all_finished().stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn the_next_leader_stops_the_job_whose_savepoint_became_durable() {
    let mut script = running(&["a"], 2, JOB);
    script.savepoint(AfterSavepoint::Suspend).stored("done");
    script.acknowledge_all().metadata(DONE);
    script.durable_but_unheard().cut().recover();
    script.connect_again("a", 2);
    script.all_finished().stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn what_fails_after_its_savepoint_is_durable_is_started_again_only_to_finish() {
    let mut script = running(&["a"], 2, JOB);
    script.savepoint(AfterSavepoint::Suspend).stored("done");
    script.acknowledge_all().metadata(DONE).cut();
    script.failed("a", "disk full").canceled("a", 0);
    script.pass(500).stored("done");
    script.all_running().all_finished();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_job_that_is_canceled_says_what_became_of_its_savepoint() {
    let mut script = running(&["a"], 2, JOB);
    script.savepoint(AfterSavepoint::GoOn).stored("done");
    script.cut().cancel().stored("done").canceled("a", 0);
    script.stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_job_without_checkpoints_or_about_to_end_has_no_savepoints() {
    let job = JOB.replace("\"execution.checkpointing.interval\": \"1 s\",", "");
    let mut script = running(&["a"], 2, &job);
    script.cut().savepoint(AfterSavepoint::GoOn);
    script
        .cancel()
        .stored("done")
        .savepoint(AfterSavepoint::GoOn);
    insta::assert_snapshot!(script.text());
}

#[test]
fn what_was_drained_is_not_started_again_if_nothing_comes_after_its_checkpoint() {
    let short = r#""execution.checkpointing.timeout": "2 s", "execution.checkpointing.interval""#;
    let job = JOB.replace(r#""execution.checkpointing.interval""#, short);
    let mut script = running(&["a"], 2, &job);
    script.all_at_end_of_data().acknowledge_all().stored("done");
    script.cut().savepoint(AfterSavepoint::Drain).stored("done");
    script.pass(2_000).stored("done").all_finished();
    insta::assert_snapshot!(script.text());
}

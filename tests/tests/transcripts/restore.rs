//! Scenarios of jobs that start from a savepoint.

use super::script::Script;
use super::{JOB, TWO, running};
use jobmanager_core::jobmanager::StorageOutcome;
use jobmanager_core::message::AfterSavepoint;

/// The second job of a scenario, with this as its first option.
pub(super) fn second(job: &str, option: &str) -> String {
    let job = job.replace("0001\",", "0002\",");
    job.replace(
        "\"configuration\": {",
        &format!("\"configuration\": {{{option},"),
    )
}

pub(super) const FROM: &str = r#""execution.state-recovery.path": "file:///s/moved""#;

/// A job stopped with a savepoint.
pub(super) fn stopped(job: &str, after: AfterSavepoint) -> Script {
    let mut script = running(&["a"], 2, job);
    taken(&mut script, after);
    script.all_finished().stored("done");
    script.discarded().stored("done").cut();
    script
}

fn taken(script: &mut Script, after: AfterSavepoint) {
    script.savepoint(after).stored("done");
    if after == AfterSavepoint::Drain {
        script.all_at_end_of_data();
    }
    script.acknowledge_all();
    script.metadata(StorageOutcome::Done).stored("done").cut();
}

#[test]
fn a_job_starts_from_a_savepoint_and_leaves_it_as_it_is() {
    let mut script = stopped(JOB, AfterSavepoint::Suspend);
    script
        .submit_from_savepoint(&second(JOB, FROM))
        .stored("done");
    script.all_running().pass(1000).acknowledge_all();
    script.stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_job_starts_from_a_savepoint_of_one_that_still_runs() {
    let mut script = running(&["a"], 2, JOB);
    taken(&mut script, AfterSavepoint::GoOn);
    script.connect("b", 2).cut();
    script
        .submit_from_savepoint(&second(JOB, FROM))
        .stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_job_that_fails_before_its_first_checkpoint_starts_from_the_savepoint_again() {
    let mut script = stopped(JOB, AfterSavepoint::Suspend);
    script
        .submit_from_savepoint(&second(JOB, FROM))
        .stored("done");
    script.all_running().cut();
    script.failed("a", "disk full").canceled("a", 0).pass(500);
    script.all_running().cut().recover();
    script.connect_again("a", 2).failed("a", "disk full");
    script.canceled("a", 1).pass(500);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_region_that_has_no_checkpoint_yet_starts_from_the_savepoint_beside_one_that_has() {
    let mut script = stopped(TWO, AfterSavepoint::Suspend);
    script
        .submit_from_savepoint(&second(TWO, FROM))
        .stored("done");
    script.all_running().pass(1000).acknowledge_of(&[0, 1]);
    script.stored("done").cut();
    script.failed_of(2, "disk full").canceled("a", 0).pass(500);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_job_that_starts_from_a_drained_one_has_nothing_left_to_do() {
    let mut script = stopped(JOB, AfterSavepoint::Drain);
    script
        .submit_from_savepoint(&second(JOB, FROM))
        .stored("done");
    script.all_running().all_at_end_of_data().all_finished();
    script.stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn state_is_divided_anew_among_another_number_of_subtasks() {
    let mut script = running(&["a"], 2, JOB);
    script.snapshots_have_parts();
    taken(&mut script, AfterSavepoint::GoOn);
    script.connect("b", 3).cut();
    let wider = second(JOB, FROM).replace("\"parallelism\": 2", "\"parallelism\": 3");
    script.submit_from_savepoint(&wider).stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_job_that_cannot_take_all_state_is_told_every_reason_and_is_not_there() {
    let mut script = stopped(TWO, AfterSavepoint::Suspend);
    let without = r#"{"name": "one", "jobId": "00000000000000000000000000000002",
        "vertices": [{"id": "in", "operator": "datagen-source", "parallelism": 2}], "configuration": {"a": "b"}}"#;
    let without = without.replace(r#""a": "b""#, FROM);
    script.submit_from_savepoint(&without);
    let ignored = without.replace(
        "\"configuration\": {",
        "\"configuration\": {\"execution.state-recovery.ignore-unclaimed-state\": \"true\",",
    );
    script.submit_from_savepoint(&ignored);
    script.submit_from_savepoint(&ignored.replace("\"parallelism\": 2", "\"parallelism\": 1"));
    script.submit(&second(JOB, FROM).replace("0002\"", "0003\""));
    insta::assert_snapshot!(script.text());
}

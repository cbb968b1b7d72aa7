//! Scenarios of what outlives a job, and of who deletes that.

use super::restore::{FROM, second, stopped};
use super::script::Script;
use super::{JOB, TWO, running};
use jobmanager_core::jobmanager::StorageOutcome;
use jobmanager_core::message::AfterSavepoint;

/// The job with this option.
fn with(job: &str, option: &str, value: &str) -> String {
    job.replace(
        "\"configuration\": {",
        &format!("\"configuration\": {{\"{option}\": \"{value}\","),
    )
}

fn retaining(job: &str, retention: &str) -> String {
    let option = "execution.checkpointing.externalized-checkpoint-retention";
    with(job, option, retention)
}

/// A job that has completed a checkpoint.
fn ahead(job: &str) -> Script {
    let mut script = running(&["a"], 2, job);
    script.pass(1000).acknowledge_all().stored("done").cut();
    script
}

fn is_canceled(script: &mut Script) -> &mut Script {
    script.cancel().stored("done").canceled("a", 0);
    script.stored("done")
}

fn busy() -> StorageOutcome {
    StorageOutcome::Failed("no route to the storage".into())
}

#[test]
fn the_last_checkpoint_of_a_canceled_job_gets_its_metadata_before_the_rest_goes() {
    let mut script = ahead(&retaining(JOB, "RETAIN_ON_CANCELLATION"));
    is_canceled(&mut script).metadata(busy());
    script.pass(1000).metadata(StorageOutcome::Done);
    script.discarded().stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn the_next_leader_gives_the_last_checkpoint_its_metadata_once_more() {
    let mut script = ahead(&retaining(JOB, "RETAIN_ON_CANCELLATION"));
    is_canceled(&mut script).metadata(StorageOutcome::Done);
    script.cut().recover().metadata(StorageOutcome::Done);
    script.discarded().stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn of_a_job_that_has_failed_the_last_checkpoint_stays_unless_that_is_not_wanted() {
    let no_restart = JOB.replace("\"fixed-delay\",", "\"none\",");
    let without_attempts = |job: &str| {
        let rest = r#""restart-strategy.fixed-delay.attempts": "3",
                    "restart-strategy.fixed-delay.delay": "500 ms""#;
        job.replace(rest, r#""slot.request.timeout": "10 s""#)
    };
    let mut text = String::new();
    for retention in ["DELETE_ON_CANCELLATION", "NO_EXTERNALIZED_CHECKPOINTS"] {
        let mut script = ahead(&retaining(&without_attempts(&no_restart), retention));
        script.failed("a", "disk full").canceled("a", 0);
        script.cut().stored("done");
        text.push_str(&format!("{retention}\n{}", script.text()));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn of_a_job_that_is_canceled_or_finishes_nothing_stays_unless_that_is_wanted() {
    let mut canceled = ahead(&retaining(JOB, "DELETE_ON_CANCELLATION"));
    canceled.cancel().stored("done").canceled("a", 0);
    canceled.cut().stored("done");
    let mut finished = running(&["a"], 2, &retaining(JOB, "RETAIN_ON_CANCELLATION"));
    finished.all_at_end_of_data().acknowledge_all();
    finished.stored("done").all_finished().cut().stored("done");
    insta::assert_snapshot!(format!("{}{}", canceled.text(), finished.text()));
}

#[test]
fn a_job_that_has_completed_no_checkpoint_leaves_none() {
    let mut script = running(&["a"], 2, &retaining(JOB, "RETAIN_ON_CANCELLATION"));
    script.cancel().stored("done").canceled("a", 0);
    script.cut().stored("done");
    insta::assert_snapshot!(script.text());
}

/// A job that has claimed the savepoint from which it starts.
fn claiming(job: &str) -> Script {
    let mut script = stopped(job, AfterSavepoint::Suspend);
    let claiming = with(
        &second(job, FROM),
        "execution.state-recovery.claim-mode",
        "CLAIM",
    );
    script.submit_from_savepoint(&claiming).stored("done");
    script.all_running();
    script
}

#[test]
fn a_claimed_savepoint_goes_only_when_no_region_would_go_back_to_it() {
    let mut script = claiming(TWO);
    script.cut().pass(1000).acknowledge_of(&[0, 1]);
    script.stored("done").acknowledge_of(&[2, 3]).pass(1000);
    script.acknowledge_all().stored("done").stored("done");
    script.not_discarded().pass(1000).acknowledge_all();
    script.stored("done").discarded();
    insta::assert_snapshot!(script.text());
}

#[test]
fn the_next_leader_deletes_a_claimed_savepoint_that_nobody_needs() {
    let mut script = claiming(JOB);
    script.pass(1000).acknowledge_all().stored("done");
    script.not_discarded().recover().connect_again("a", 2);
    script.pass(1000).stored("done").cut();
    script.acknowledge_all().stored("done").discarded();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_claimed_savepoint_that_a_job_has_not_outgrown_outlives_it() {
    let mut script = claiming(JOB);
    script.cancel().stored("done").canceled("a", 0);
    script.cut().stored("done").discarded().stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_claimed_savepoint_that_could_not_be_deleted_goes_with_its_job() {
    let mut script = claiming(JOB);
    script.pass(1000).acknowledge_all().stored("done");
    script
        .not_discarded()
        .cancel()
        .stored("done")
        .canceled("a", 0);
    script.cut().stored("done").not_discarded();
    script.pass(1000).discarded().discarded().stored("done");
    insta::assert_snapshot!(script.text());
}

//! Scenarios of checkpoints that acknowledgements give more time.

use super::script::Script;
use super::{TWO, running};
use jobmanager_core::jobmanager::StorageOutcome;
use jobmanager_core::message::AfterSavepoint;

/// A job of two regions that takes a checkpoint each 20 s, each within 5 s, or within 8 s as long as tasks
/// acknowledge.
fn patient() -> Script {
    let options = r#""execution.checkpointing.interval": "20 s", "execution.checkpointing.timeout": "5 s",
        "execution.checkpointing.max-timeout": "8 s",
        "execution.checkpointing.tolerable-failed-checkpoints": "9""#;
    let job = TWO.replace(r#""execution.checkpointing.interval": "1 s""#, options);
    running(&["a", "b"], 2, &job)
}

/// The same when all tasks have just been told to take a checkpoint.
fn triggered() -> Script {
    let mut script = patient();
    script.pass(20_000).cut();
    script
}

#[test]
fn a_region_has_time_while_its_tasks_acknowledge_and_the_other_one_has_not() {
    let mut script = triggered();
    script.pass(4_000).acknowledge_of(&[0]).pass(3_900);
    script.acknowledge_of(&[1]).stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn acknowledgements_give_a_checkpoint_no_more_time_than_it_may_take() {
    let mut script = triggered();
    script.pass(4_900).acknowledge_of(&[0, 2]).pass(3_100);
    insta::assert_snapshot!(script.text());
}

#[test]
fn an_acknowledgement_gives_a_savepoint_time_as_a_whole() {
    let mut script = patient();
    script.cut().savepoint(AfterSavepoint::GoOn).stored("done");
    script.pass(4_000).acknowledge_of(&[0, 1]).pass(3_900);
    script.acknowledge_of(&[2, 3]);
    script.metadata(StorageOutcome::Done).stored("done");
    insta::assert_snapshot!(script.text());
}

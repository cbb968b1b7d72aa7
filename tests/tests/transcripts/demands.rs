//! Scenarios of checkpoints that clients want at once.

use super::script::Script;
use super::{JOB, TWO, running};

/// A job of two regions that has a checkpoint, and rests for a minute after each.
fn resting() -> Script {
    let pause = r#""execution.checkpointing.interval": "1 s", "execution.checkpointing.min-pause": "1 min",
        "execution.checkpointing.timeout": "5 s", "execution.checkpointing.tolerable-failed-checkpoints": "9""#;
    let job = TWO.replace(r#""execution.checkpointing.interval": "1 s""#, pause);
    let mut script = running(&["a", "b"], 2, &job);
    script
        .pass(1000)
        .acknowledge_all()
        .stored("done")
        .stored("done");
    script
}

#[test]
fn a_demanded_checkpoint_is_taken_at_once_and_of_all_regions() {
    let mut script = resting();
    script.pass(5000).cut();
    script.demand(7).demanded(7);
    script.acknowledge_of(&[0, 1]).stored("done").demanded(7);
    script.acknowledge_of(&[2, 3]).stored("done").demanded(7);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_demand_is_made_once_however_often_it_arrives() {
    let mut script = resting();
    script.cut().demand(7).demand(7).demand(8);
    script.acknowledge_all().stored("done").stored("done");
    script.demanded(7).demanded(8).demand(7);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_region_that_restarts_owes_a_demanded_checkpoint_again() {
    let mut script = resting();
    script.cut().demand(7);
    script
        .failed_of(1, "disk")
        .canceled("a", 0)
        .canceled("b", 0);
    script.acknowledge_of(&[2, 3]).stored("done").demanded(7);
    script.pass(500).all_running();
    script.acknowledge_of(&[0, 1]).stored("done").demanded(7);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_failed_snapshot_fails_the_demand_and_not_the_job() {
    let mut script = resting();
    script.cut().demand(7).declines(1).demanded(7);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_demand_that_nobody_can_meet_ends_after_the_timeout() {
    let mut script = resting();
    script.disconnect("a").disconnect("b").cut();
    script
        .demand(7)
        .pass(4_900)
        .demanded(7)
        .pass(100)
        .demanded(7);
    insta::assert_snapshot!(script.text());
}

#[test]
fn only_so_many_demands_of_a_job_wait() {
    let mut script = resting();
    for trigger in 1..=16 {
        script.demand(trigger);
    }
    script.cut().demand(17);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_job_at_its_end_has_a_demanded_checkpoint_already() {
    let mut script = running(&["a"], 2, JOB);
    script.all_at_end_of_data().acknowledge_all().stored("done");
    script.cut().demand(7).demanded(7).all_finished();
    script.demand(8).stored("done").demand(8).demanded(7);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_demand_goes_on_with_another_parallelism() {
    let mut script = running(&["a", "b"], 2, JOB);
    script.snapshots_have_parts();
    script.pass(1000).acknowledge_all().stored("done");
    script
        .pass(500)
        .cut()
        .rescale(&[("in", 3), ("out", 3)])
        .stored("done");
    script.acknowledge_all().stored("done").demand(7);
    script.canceled("a", 0).canceled("b", 0).stored("done");
    script.demanded(7).all_running().acknowledge_all();
    script.stored("done").demanded(7);
    insta::assert_snapshot!(script.text());
}

#[test]
fn the_next_leader_knows_nothing_of_a_demand() {
    let mut script = resting();
    script.cut().demand(7).recover().demanded(7);
    insta::assert_snapshot!(script.text());
}

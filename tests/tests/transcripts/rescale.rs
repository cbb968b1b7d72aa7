//! Scenarios of jobs that get another parallelism while they run.

use super::script::Script;
use super::{JOB, TWO, running};

/// A job with two subtasks of each vertex, snapshots that can be divided, and room for a third one.
fn roomy(job: &str) -> Script {
    let mut script = running(&["a", "b"], 2, job);
    script.snapshots_have_parts();
    script.pass(1000).acknowledge_all().stored("done");
    script
}

#[test]
fn a_job_gets_another_parallelism_and_goes_on_from_a_new_checkpoint() {
    let mut script = roomy(JOB);
    script.pass(500).cut();
    script.rescale(&[("in", 3), ("out", 3)]).stored("done");
    script.acknowledge_all().stored("done");
    script.canceled("a", 0).canceled("b", 0).stored("done");
    script.all_running().pass(1000).acknowledge_all();
    script.stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn regions_that_are_not_concerned_go_on() {
    let mut script = roomy(TWO);
    script.stored("done").pass(500).cut();
    script.rescale(&[("in", 2), ("out", 2)]).stored("done");
    script.acknowledge_of(&[0, 1]).stored("done");
    script.canceled("a", 0).canceled("b", 0).stored("done");
    script.all_running().pass(1000).acknowledge_all();
    script.stored("done");
    insta::assert_snapshot!(script.text());
}

#[test]
fn whoever_leads_next_finds_the_old_parallelism_or_the_new_one() {
    let mut script = roomy(JOB);
    script.pass(500).cut();
    script.rescale(&[("in", 3), ("out", 3)]).stored("done");
    script.acknowledge_all().stored("done");
    script.canceled("a", 0).canceled("b", 0).cut();
    let mut before = script.clone();
    before.recover().connect_again("a", 2).connect_again("b", 2);
    before.pass(30_000);
    insta::assert_snapshot!("before", before.text());
    script.stored("done").cut();
    script.recover().connect_again("a", 2).connect_again("b", 2);
    script.pass(30_000);
    insta::assert_snapshot!("after", script.text());
}

#[test]
fn nothing_is_stopped_before_there_are_slots() {
    let mut script = roomy(JOB);
    script.pass(500).cut();
    script.rescale(&[("in", 5)]).stored("done").pass(6_000);
    script.connect("c", 1).pass(9_000);
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_parallelism_that_cannot_be_is_refused_with_every_reason() {
    let mut script = roomy(JOB);
    script.pass(500).cut();
    script.rescale(&[("in", 200), ("aut", 0)]);
    insta::assert_snapshot!(script.text());
}

//! Scenarios of clusters in which one job gets only so many slots.

#![allow(clippy::unwrap_used)]

use super::JOB;
use super::leaving::adaptive;
use super::script::Script;
use jobmanager_core::config::cluster_config;
use std::collections::BTreeMap;

/// A cluster in which one job gets so many slots.
fn limited(slots: u32) -> Script {
    let most = "jobmanager.scheduler.max-slots-per-job".to_owned();
    let options = BTreeMap::from([(most, slots.to_string())]);
    Script::of(cluster_config(&options, &[]).unwrap())
}

#[test]
fn who_cannot_do_with_so_few_is_refused() {
    let mut script = limited(1);
    script.connect("a", 2).cut().submit(JOB);
    insta::assert_snapshot!(script.text());
}

#[test]
fn who_can_do_with_fewer_gets_no_more() {
    let mut script = limited(1);
    script.connect("a", 4).cut().submit(&adaptive());
    script.stored("done").pass(1_000).why();
    script.stored("done").all_running();
    insta::assert_snapshot!(script.text());
}

#[test]
fn a_parallelism_that_needs_more_is_refused() {
    let mut script = limited(2);
    script
        .connect("a", 4)
        .submit(JOB)
        .stored("done")
        .all_running();
    script.cut().rescale(&[("in", 3), ("out", 3)]);
    insta::assert_snapshot!(script.text());
}

//! What the oracle sees, and what it lets pass.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::plan::job::{EdgePlan, VertexPlan};
use jobmanager_core::id::{SubtaskIndex, VertexIndex};

const SINK: TaskId = TaskId {
    vertex: VertexIndex(2),
    subtask: SubtaskIndex(0),
};

/// A source with one key and two rows → count → sink.
fn counting() -> JobOracle {
    let vertex = |operator| VertexPlan {
        operator,
        parallelism: 1,
        max_parallelism: None,
        group: 0,
    };
    let source = OperatorPlan::Source {
        splits: 1,
        count: Some(2),
        keys: 1,
        batch: 1,
        pause: 1,
    };
    let count = OperatorPlan::Count { at_end: false };
    let edge = |source, target| EdgePlan {
        source,
        target,
        partitioning: Partitioning::Hash,
    };
    let interval = ("execution.checkpointing.interval", "1 s");
    JobOracle::new(JobPlan {
        id: JobId(1),
        vertices: vec![vertex(source), vertex(count), vertex(OperatorPlan::Sink)],
        edges: vec![edge(0, 1), edge(1, 2)],
        configuration: [interval].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        survives: crate::plan::Survives::All,
        restart_delay: 0,
    })
}

fn counted(value: u64) -> [Row; 1] {
    [Row { key: 0, value }]
}

#[test]
fn a_row_published_twice_is_seen() {
    let mut oracle = counting();
    oracle.feed(0, 0, 2);
    oracle.publish(SINK, &counted(1)).unwrap();
    let failure = oracle.publish(SINK, &counted(1)).unwrap_err();
    assert_eq!(failure.name, "output_is_a_prefix_of_the_oracle");
}

#[test]
fn a_row_that_nobody_made_is_seen() {
    let mut oracle = counting();
    oracle.feed(0, 0, 1);
    let failure = oracle.publish(SINK, &counted(2)).unwrap_err();
    assert_eq!(failure.name, "output_is_a_prefix_of_the_oracle");
}

#[test]
fn rows_of_a_key_out_of_order_are_seen() {
    let mut oracle = counting();
    oracle.feed(0, 0, 2);
    oracle.publish(SINK, &counted(2)).unwrap();
    let failure = oracle.publish(SINK, &counted(1)).unwrap_err();
    assert_eq!(failure.name, "output_keeps_the_order_of_each_key");
}

#[test]
fn a_missing_row_is_seen_at_the_end_and_a_complete_output_is_right() {
    let mut oracle = counting();
    oracle.feed(0, 0, 2);
    oracle.publish(SINK, &counted(1)).unwrap();
    assert_eq!(
        oracle.finish().unwrap_err().name,
        "output_equals_the_oracle"
    );
    oracle.publish(SINK, &counted(2)).unwrap();
    assert_eq!(oracle.finish(), Ok(()));
}

#[test]
fn a_row_that_a_durable_checkpoint_covers_and_nobody_published_is_seen() {
    let mut oracle = counting();
    oracle.feed(0, 0, 2);
    oracle.publish(SINK, &counted(1)).unwrap();
    assert_eq!(oracle.contains_up_to(&[((0, 0), 1)].into()), Ok(()));
    let failure = oracle.contains_up_to(&[((0, 0), 2)].into()).unwrap_err();
    assert_eq!(failure.name, "output_is_complete_up_to_a_checkpoint");
}

#[test]
fn a_job_that_finishes_before_its_sources_is_seen() {
    let mut oracle = counting();
    oracle.feed(0, 0, 1);
    oracle.publish(SINK, &counted(1)).unwrap();
    assert_eq!(
        oracle.finish().unwrap_err().name,
        "output_equals_the_oracle"
    );
}

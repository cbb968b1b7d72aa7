//! JobGraphs that clients post.

use jobmanager_core::config::cluster_config;
use jobmanager_core::graph::JobGraph;
use jobmanager_core::id::{Epoch, JobId};
use jobmanager_core::jobmanager::{Coordinator, Input};
use jobmanager_core::record::{JobRecord, Record};
use jobmanager_core::time::Timestamp;
use jobmanager_proto::job_json::{MAX_PROBLEMS, parse, to_json};
use jobmanager_proto::{decode_record, encode_record};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A larger job is not given to a coordinator: checking all its invariants takes longer than an input
/// should.
const MOST_SUBTASKS: u32 = 1_000;

/// Reads the bytes as a JobGraph. One that is refused is refused with at least one problem. One that is
/// accepted is the same after its way through JSON and through the store, and a coordinator runs it.
///
/// # Panics
/// One of these does not hold.
pub fn job_graph(bytes: &[u8]) {
    let defaults = BTreeMap::new();
    let graph = match parse(bytes, JobId(1), &defaults) {
        Ok(graph) => graph,
        Err(problems) => {
            assert!((1..=MAX_PROBLEMS + 1).contains(&problems.len()));
            return;
        }
    };
    let text = to_json(&graph).to_string();
    let other = parse(text.as_bytes(), JobId(2), &defaults);
    assert_eq!(other.as_ref(), Ok(&graph));
    let submitted = Timestamp(1);
    let graph = Arc::new(graph);
    let record = Record::Job(JobRecord {
        graph: graph.clone(),
        submitted,
        scale: None,
        began: None,
    });
    assert_eq!(decode_record(&encode_record(&record)), Ok(record.clone()));
    if graph.subtasks() <= MOST_SUBTASKS {
        coordinate(&graph, record);
    }
}

/// A coordinator takes the job over and waits for TaskManagers until it runs out of time.
fn coordinate(graph: &JobGraph, record: Record) {
    let config = cluster_config(&BTreeMap::new(), &[]).expect("the defaults are right");
    let coordinator = Coordinator::recover(config, Epoch(2), vec![record], Timestamp(2));
    let mut coordinator = coordinator.expect("a job that was accepted can be taken over");
    let mut now = Timestamp(2);
    for _ in 0..4 {
        coordinator.step(now, Input::Wake, &mut Vec::new());
        if let Err(violation) = coordinator.check_invariants() {
            panic!("job {}: {violation}", graph.id());
        }
        let Some(next) = coordinator.next_deadline() else {
            return;
        };
        now = next;
    }
}

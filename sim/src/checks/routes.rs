//! Which subtask of a sink may publish a row, and in which order: what the edges promise beside the rows
//! themselves.

use super::oracle::Failure;
use crate::plan::job::{EdgePlan, JobPlan, OperatorPlan, Row};
use jobmanager_core::graph::Partitioning;
use jobmanager_core::id::TaskId;
use std::collections::BTreeMap;

/// What a sink is fed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Feed {
    /// By nothing but one source vertex: then a row says of which split it is, and when it was made.
    source: bool,
    /// Each subtask of that has the split of its own number.
    own_split: bool,
    /// Over forward edges only.
    forward: bool,
    /// Over edges to subtask 0 only.
    global: bool,
    /// Over broadcast edges only: each subtask gets each row.
    broadcast: bool,
}

/// The routes of one job.
#[derive(Default)]
pub(super) struct Routes {
    feeds: BTreeMap<u32, Feed>,
    parallelism: BTreeMap<u32, u64>,
    /// The last offset of each split that a sink's subtask published.
    last: BTreeMap<(TaskId, u64), u64>,
    /// How often each subtask published a row that each gets.
    times: BTreeMap<(TaskId, Row), u64>,
}

impl Routes {
    pub(super) fn new(plan: &JobPlan) -> Routes {
        let mut feeds = BTreeMap::new();
        let mut parallelism = BTreeMap::new();
        for (at, vertex) in (0..).zip(&plan.vertices) {
            if vertex.operator != OperatorPlan::Sink {
                continue;
            }
            let edges: Vec<_> = plan.edges.iter().filter(|edge| edge.target == at).collect();
            let over = |kind| edges.iter().all(|edge| edge.partitioning == kind);
            let producer = |edge: &EdgePlan| &plan.vertices[edge.source as usize];
            let splits = |edge: &EdgePlan| match producer(edge).operator {
                OperatorPlan::Source { splits, .. } => Some(splits),
                OperatorPlan::Map { .. } | OperatorPlan::Count { .. } | OperatorPlan::Sink => None,
            };
            let only = edges.first().filter(|_| edges.len() == 1);
            let splits = only.and_then(|edge| Some((splits(edge)?, producer(edge).parallelism)));
            let feed = Feed {
                source: splits.is_some(),
                own_split: splits.is_some_and(|(splits, parallelism)| splits == parallelism),
                forward: over(Partitioning::Forward),
                global: over(Partitioning::Global),
                broadcast: over(Partitioning::Broadcast),
            };
            feeds.insert(at, feed);
            parallelism.insert(at, u64::from(vertex.parallelism));
        }
        Routes {
            feeds,
            parallelism,
            last: BTreeMap::new(),
            times: BTreeMap::new(),
        }
    }

    /// A subtask publishes a row of an exactly-once job that all subtasks together may publish so often.
    pub(super) fn publish(&mut self, task: TaskId, row: Row, expected: u64) -> Result<(), Failure> {
        let vertex = task.vertex.0;
        let feed = self.feeds.get(&vertex).copied().unwrap_or_default();
        let (split, offset) = (row.value >> 40, row.value & ((1 << 40) - 1));
        let subtask = u64::from(task.subtask.0);
        let of_another = feed.own_split && feed.forward && split != subtask;
        if (feed.global && subtask != 0) || of_another {
            let detail = format!("{task:?} published {row:?} of split {split}");
            return Err(Failure::new("output_comes_over_the_edges", detail));
        }
        if feed.broadcast {
            let times = self.times.entry((task, row)).or_default();
            *times += 1;
            let each = expected / self.parallelism.get(&vertex).copied().unwrap_or(1);
            if *times > each {
                let detail = format!("{task:?} published {row:?} {times} times, expected {each}");
                return Err(Failure::new("output_comes_over_the_edges", detail));
            }
        }
        if feed.source {
            let last = self.last.insert((task, split), offset);
            if last.is_some_and(|last| last >= offset) {
                let detail = format!("{task:?} published {row:?} after offset {last:?}");
                return Err(Failure::new(
                    "output_keeps_the_order_of_each_source",
                    detail,
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::checks::forge::plan;
    use jobmanager_core::id::{SubtaskIndex, VertexIndex};

    fn sink(subtask: u32) -> TaskId {
        TaskId {
            vertex: VertexIndex(1),
            subtask: SubtaskIndex(subtask),
        }
    }

    fn row(producer: u64, offset: u64) -> Row {
        Row {
            key: 0,
            value: (producer << 40) | offset,
        }
    }

    fn routes(partitioning: Partitioning) -> Routes {
        let mut plan = plan();
        for vertex in &mut plan.vertices {
            vertex.parallelism = 2;
            vertex.operator = vertex.operator.split_for(2);
        }
        plan.edges[0].partitioning = partitioning;
        Routes::new(&plan)
    }

    #[test]
    fn rows_of_a_source_out_of_order_are_seen() {
        let mut routes = routes(Partitioning::Rebalance);
        routes.publish(sink(0), row(1, 7), 1).unwrap();
        routes.publish(sink(0), row(0, 3), 1).unwrap();
        let failure = routes.publish(sink(0), row(1, 6), 1).unwrap_err();
        assert_eq!(failure.name, "output_keeps_the_order_of_each_source");
    }

    #[test]
    fn a_row_on_the_wrong_subtask_is_seen() {
        let astray = routes(Partitioning::Forward).publish(sink(0), row(1, 0), 1);
        assert_eq!(astray.unwrap_err().name, "output_comes_over_the_edges");
        let astray = routes(Partitioning::Global).publish(sink(1), row(1, 0), 1);
        assert_eq!(astray.unwrap_err().name, "output_comes_over_the_edges");
    }

    #[test]
    fn a_broadcast_row_that_one_subtask_gets_twice_is_seen() {
        let mut plan = plan();
        plan.vertices[0].operator = OperatorPlan::Map { salt: 0 };
        plan.vertices[1].parallelism = 2;
        plan.edges[0].partitioning = Partitioning::Broadcast;
        let mut routes = Routes::new(&plan);
        routes.publish(sink(0), row(0, 0), 2).unwrap();
        let twice = routes.publish(sink(0), row(0, 0), 2);
        assert_eq!(twice.unwrap_err().name, "output_comes_over_the_edges");
    }
}

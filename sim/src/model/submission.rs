//! What the model foresees of submissions: who is told what, and from what a job starts.

use super::Model;
use super::checkpoints::Checkpoints;
use super::job::{Job, Life};
use super::orders::{Order, Write};
use super::shares::dealt;
use jobmanager_core::graph::JobGraph;
use jobmanager_core::id::RequestId;
use jobmanager_core::jobmanager::{Command, Input, Reply};
use jobmanager_core::message::SubtaskState;
use jobmanager_core::record::{CheckpointRecord, RegionSnapshot};
use jobmanager_core::savepoint::{OperatorSnapshots, Savepoint};
use jobmanager_core::time::Timestamp;
use std::sync::Arc;

/// So many clients wait for the durability of one thing, and no more.
const WAITERS: usize = 1_000;

impl Model {
    /// Whether every job that the input brings is among the plans.
    pub(super) fn knows(&self, input: &Input) -> bool {
        let Input::Command {
            command: Command::Submit { graph, .. },
            ..
        } = input
        else {
            return true;
        };
        self.plans.0.contains_key(&graph.id())
    }

    pub(super) fn submit(
        &mut self,
        request: RequestId,
        graph: &Arc<JobGraph>,
        from: Option<&Savepoint>,
    ) {
        let id = graph.id();
        let there = |same| match same {
            true => Reply::AlreadySubmitted(id),
            false => Reply::Conflict(id),
        };
        if let Some(job) = self.jobs.get_mut(&id) {
            let answer = there(job.graph.computes_like(graph));
            let Life::Submitting(waiters) = &mut job.life else {
                self.orders.push(Order::Reply(request, answer));
                return;
            };
            let alike = waiters
                .iter()
                .filter(|(_, other)| is_conflict(other) == is_conflict(&answer));
            if alike.count() < WAITERS {
                waiters.push((request, answer));
            } else {
                self.orders.push(Order::Reply(request, too_many()));
            }
            return;
        }
        if let Some(computation) = self.computations.get(&id) {
            let answer = there(*computation == graph.computation());
            self.orders.push(Order::Reply(request, answer));
            return;
        }
        let Some(plan) = self.plans.0.get(&id).cloned() else {
            return;
        };
        let life = Life::Submitting(vec![(request, Reply::Submitted(id))]);
        let mut job = Job::new(graph.clone(), plan, self.now, life);
        let restore = graph.config().restore.as_ref();
        let from = from.filter(|_| restore.is_some());
        let start = from.and_then(|savepoint| job.start(savepoint, self.now));
        let start = start.map(Arc::new);
        if let Some(start) = &start {
            let (regions, next) = (job.regions.len(), start.id.next());
            let retained = vec![start.clone()];
            job.checkpoints = Checkpoints::recovered(regions, next, retained, self.now);
            job.begins_with(Some(start.id));
        }
        let mut write = vec![Write::Job(id)];
        if job.plan.checkpoints.is_some() {
            write.push(Write::Mark(id, job.checkpoints.first_mark()));
        }
        write.extend(start.map(Write::Checkpoint));
        self.journal.queue(vec![write]);
        self.jobs.insert(id, job);
        self.touched.insert(id);
    }
}

impl Job {
    /// The record with which it begins: of each region what its operators have in the savepoint. There is none if
    /// that is nothing.
    fn start(&self, savepoint: &Savepoint, now: Timestamp) -> Option<CheckpointRecord> {
        let starts: Vec<Option<Vec<Start>>> = self
            .graph
            .vertices()
            .iter()
            .map(|vertex| {
                let mut operators = savepoint.operators.iter();
                let operator = operators.find(|it| it.operator_id == vertex.operator_id)?;
                Some(starts(operator, vertex.parallelism))
            })
            .collect();
        let start = |position: usize| -> Option<&Start> {
            let task = self.plan.tasks[position];
            let of_vertex = starts[task.vertex.0 as usize].as_ref()?;
            of_vertex.get(task.subtask.0 as usize)
        };
        let state = |position: usize| {
            start(position).map_or(SubtaskState::nothing(), |found| found.state.clone())
        };
        let region = |members: &Vec<usize>| {
            let found = members.iter().filter_map(|position| start(*position));
            let found = found.filter(|it| it.ended || !it.state.handles().is_empty());
            let ended: Vec<bool> = found.map(|subtask| subtask.ended).collect();
            (!ended.is_empty()).then(|| RegionSnapshot {
                checkpoint: savepoint.checkpoint,
                attempt: None,
                is_final: ended.contains(&true),
            })
        };
        let record = CheckpointRecord {
            job: self.id,
            id: savepoint.checkpoint,
            triggered: savepoint.triggered,
            completed: now,
            inherited: Vec::new(),
            regions: self.plan.regions.iter().map(region).collect(),
            states: (0..self.plan.tasks.len()).map(state).collect(),
        };
        record.regions.iter().any(Option::is_some).then_some(record)
    }
}

/// With what a subtask begins.
struct Start {
    state: SubtaskState,
    ended: bool,
}

/// With what the subtasks of a vertex begin.
fn starts(operator: &OperatorSnapshots, parallelism: u32) -> Vec<Start> {
    let subtasks = operator.subtasks.iter();
    if operator.subtasks.len() == parallelism as usize {
        let own = subtasks.map(|subtask| Start {
            state: subtask.state.clone(),
            ended: subtask.ended,
        });
        return own.collect();
    }
    let ended = subtasks.clone().all(|subtask| subtask.ended);
    let old: Vec<_> = subtasks.map(|it| it.state.handles().to_vec()).collect();
    let dealt = dealt(&old, operator.max_parallelism, parallelism);
    let state = |handles| Start {
        state: SubtaskState::Given(handles),
        ended,
    };
    dealt.into_iter().map(state).collect()
}

/// A client waits with others, if there are not too many of them.
pub(super) fn wait(waiters: &mut Vec<RequestId>, request: RequestId, orders: &mut Vec<Order>) {
    if waiters.len() < WAITERS {
        waiters.push(request);
    } else {
        orders.push(Order::Reply(request, too_many()));
    }
}

fn too_many() -> Reply {
    let reason = "too many clients wait for the metadata store to take this";
    Reply::Overloaded(reason.to_owned())
}

fn is_conflict(reply: &Reply) -> bool {
    matches!(reply, Reply::Conflict(_))
}

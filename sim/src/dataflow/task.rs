//! One attempt of one subtask: takes elements from its channels, aligns barriers, snapshots, ends.
//!
//! A task does not know where its peers are: it puts elements into the ends of its channels, and tells
//! what happened in an [`Outcome`].

use super::channels::Channels;
use super::contents::Contents;
use super::frame::{Element, key_bytes};
use super::operator::{Operator, StandIn};
use crate::plan::job::{OperatorPlan, Row};
use crate::storage::external::External;
use jobmanager_core::graph::{
    Partitioning, consumers_of, key_group, key_group_range, producers_of, subtask_of_key_group,
};
use jobmanager_core::id::{AttemptId, CheckpointId, SubtaskIndex};
use jobmanager_core::message::{
    AfterSavepoint, ChannelId, DeclineReason, JobTable, SavepointOrder, StateHandle, StateLocation,
};
use jobmanager_core::taskmanager::{Aligner, Barrier, TaskEvent, TaskStart};
use jobmanager_proto::records::key_hash;
use std::sync::Arc;

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Restoring,
    Running,
    /// Told to stop: it does nothing more.
    Stopping,
}

/// A task that was stopped with a savepoint reads nothing and makes nothing, until it hears what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Suspended {
    pub(crate) with: CheckpointId,
    /// It will not go on.
    is_durable: bool,
}

/// An edge out of a task.
#[derive(Debug)]
struct OutputEdge {
    partitioning: Partitioning,
    max_parallelism: u32,
    parallelism: u32,
    channels: Vec<ChannelId>,
    turn: usize,
}

/// A running attempt.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) start: TaskStart,
    pub(crate) phase: Phase,
    pub(crate) operator: Operator,
    pub(crate) inputs: Vec<ChannelId>,
    outputs: Vec<OutputEdge>,
    aligner: Option<Aligner>,
    cursor: usize,
    pub(crate) end_of_data: bool,
    pub(crate) suspended: Option<Suspended>,
    /// It will look for work without being told.
    pub(crate) wakes: bool,
    /// It waits for its consumers.
    pub(crate) blocked: bool,
    /// A keyed operator's key groups.
    key_groups: Option<(u32, u32, u32)>,
}

/// A snapshot that is to be stored.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) checkpoint: CheckpointId,
    pub(crate) state: Contents,
    pub(crate) end_of_data: bool,
    /// The folder of the savepoint, if it is for one.
    pub(crate) location: Option<String>,
}

impl Snapshot {
    /// None, if there is nothing to write down.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self.state.is_empty() {
            true => Vec::new(),
            false => self.state.encode(),
        }
    }

    /// What the coordinator is told of it, once it is at this place.
    pub(crate) fn handle(&self, location: StateLocation, size: u64) -> StateHandle {
        let end_of_data = self.end_of_data;
        let parts = (!self.state.is_empty() || end_of_data).then(|| Arc::new(self.state.shape()));
        StateHandle {
            location,
            size,
            end_of_data,
            parts,
        }
    }
}

/// What happened while a task worked.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) events: Vec<TaskEvent>,
    pub(crate) snapshots: Vec<Snapshot>,
    /// Channels from which an element was taken.
    pub(crate) taken: Vec<ChannelId>,
    /// Of which split a source made rows, and the offset after them.
    pub(crate) made: Option<(u32, u64)>,
    /// A row of a key that is not this subtask's.
    pub(crate) misplaced: Option<Row>,
    /// A checkpoint whose barrier would mean something if it came twice.
    pub(crate) repeated: Option<CheckpointId>,
    /// Whether there is more to do at once.
    pub(crate) more: bool,
    /// The task has ended by itself.
    pub(crate) finished: bool,
}

impl Task {
    /// A task that has yet to restore its state. `Err` if its operator is not known.
    pub(crate) fn new(start: TaskStart) -> Result<Task, String> {
        let attempt = start.attempt;
        let vertex = &start.table.vertices[attempt.task.vertex.0 as usize];
        let plan = OperatorPlan::parse(&vertex.operator, &vertex.config)
            .ok_or_else(|| format!("operator {} cannot be made", vertex.operator))?;
        let keyed = matches!(plan, OperatorPlan::Count { .. });
        let operator = Operator::new(
            plan,
            attempt,
            (vertex.parallelism, vertex.max_parallelism),
            vertex.since.unwrap_or_default(),
        );
        Ok(Task::of(start, operator, keyed))
    }

    /// A task whose operator is not simulated. If all that it restores was taken at the end of its data, it
    /// has ended.
    pub(crate) fn stand_in(start: TaskStart, ended: bool) -> Task {
        Task::of(start, Operator::StandIn(StandIn { ended }), false)
    }

    fn of(start: TaskStart, operator: Operator, keyed: bool) -> Task {
        let attempt = start.attempt;
        let vertex = &start.table.vertices[attempt.task.vertex.0 as usize];
        // Who only publishes and finishes has no channels.
        let connected = !start.finish;
        let inputs = connected.then(|| input_channels(&start.table, attempt));
        let inputs = inputs.unwrap_or_default();
        let outputs = connected.then(|| output_edges(&start.table, attempt));
        let mode = start.table.checkpoints.map(|checkpoints| checkpoints.mode);
        let channels = u32::try_from(inputs.len()).expect("channels are counted in 32 bits");
        let aligner = mode
            .filter(|_| channels > 0)
            .map(|mode| Aligner::new(channels, mode));
        let subtask = attempt.task.subtask.0;
        let range = key_group_range(vertex.max_parallelism, vertex.parallelism, subtask);
        let key_groups = keyed.then_some((vertex.max_parallelism, range.first, range.last));
        Task {
            outputs: outputs.unwrap_or_default(),
            operator,
            phase: Phase::Restoring,
            inputs,
            aligner,
            cursor: 0,
            end_of_data: false,
            suspended: None,
            wakes: false,
            blocked: false,
            key_groups,
            start,
        }
    }

    /// Every channel to a consumer.
    pub(crate) fn output_channels(&self) -> impl Iterator<Item = ChannelId> {
        self.outputs
            .iter()
            .flat_map(|edge| edge.channels.iter().copied())
    }

    fn has_checkpoints(&self) -> bool {
        self.start.table.checkpoints.is_some()
    }

    /// Does a little of whatever there is to do.
    pub(crate) fn work(&mut self, channels: &mut Channels, external: &mut External) -> Outcome {
        let mut outcome = Outcome::default();
        self.blocked = channels.is_full(self.output_channels());
        if self.phase != Phase::Running || self.blocked || self.suspended.is_some() {
            return outcome;
        }
        if let Operator::Source(source) = &mut self.operator {
            if self.end_of_data {
                return outcome;
            }
            let (made, rows, last) = source.next_rows();
            outcome.made = made;
            self.emit(rows, channels);
            if last {
                self.reach_end(channels, external, &mut outcome);
            }
            outcome.more = !last;
            return outcome;
        }
        self.take(channels, external, &mut outcome);
        outcome
    }

    /// Takes the next element of a channel that is not blocked, in turn.
    fn take(&mut self, channels: &mut Channels, external: &mut External, outcome: &mut Outcome) {
        let count = self.inputs.len();
        let ready = |at: &usize| {
            let index = u32::try_from(*at).expect("a handful of channels");
            let blocked = self.aligner.as_ref().is_some_and(|a| a.is_blocked(index));
            let end = channels.incoming.get(&self.inputs[*at]);
            !blocked && end.is_some_and(|end| !end.queue.is_empty())
        };
        let mut turn = (0..count).map(|step| (self.cursor + step) % count);
        let Some(at) = turn.find(ready) else {
            return;
        };
        self.cursor = (at + 1) % count;
        let id = self.inputs[at];
        let end = channels.incoming.get_mut(&id).expect("it was ready");
        let element = end.queue.pop_front().expect("it was ready");
        outcome.taken.push(id);
        outcome.more = true;
        match element {
            Element::Rows(rows) => {
                let mut made = Vec::new();
                for row in rows {
                    self.check_key(row, outcome);
                    made.extend(self.operator.process(row));
                }
                self.emit(made, channels);
            }
            Element::Barrier(checkpoint) => {
                let index = u32::try_from(at).expect("a handful of channels");
                self.barrier(index, checkpoint, None, channels, external, outcome);
            }
            Element::Savepoint(checkpoint, order) => {
                let index = u32::try_from(at).expect("a handful of channels");
                let order = Some(&order);
                self.barrier(index, checkpoint, order, channels, external, outcome);
            }
            Element::EndOfData => {
                end.ended = true;
                let ended = |id| channels.incoming.get(id).is_none_or(|end| end.ended);
                if self.inputs.iter().all(ended) {
                    self.reach_end(channels, external, outcome);
                }
            }
        }
    }

    fn barrier(
        &mut self,
        channel: u32,
        checkpoint: CheckpointId,
        order: Option<&SavepointOrder>,
        channels: &mut Channels,
        external: &mut External,
        outcome: &mut Outcome,
    ) {
        let Some(aligner) = &mut self.aligner else {
            return;
        };
        let arrival = aligner.barrier(channel, checkpoint);
        let mut again = aligner.clone();
        again.barrier(channel, checkpoint);
        if again != *aligner {
            outcome.repeated = Some(checkpoint);
        }
        for subsumed in arrival.subsumed {
            outcome.events.push(TaskEvent::Declined {
                checkpoint: subsumed,
                reason: DeclineReason::Subsumed,
                message: format!("the barrier of checkpoint {} came first", checkpoint.0),
            });
        }
        if arrival.barrier == Barrier::Aligned {
            let snapshot = self.snapshot(checkpoint, order, channels, external);
            outcome.snapshots.push(snapshot);
        }
    }

    /// Snapshots and sends the barrier on.
    pub(crate) fn snapshot(
        &mut self,
        checkpoint: CheckpointId,
        order: Option<&SavepointOrder>,
        channels: &mut Channels,
        external: &mut External,
    ) -> Snapshot {
        let barrier = match order {
            Some(order) => Element::Savepoint(checkpoint, order.clone()),
            None => Element::Barrier(checkpoint),
        };
        for id in self.output_channels() {
            channels.put(id, barrier.clone());
        }
        if order.is_some_and(|order| order.after == AfterSavepoint::Suspend) {
            self.suspended = Some(Suspended {
                with: checkpoint,
                is_durable: false,
            });
        }
        Snapshot {
            checkpoint,
            state: self.operator.snapshot(checkpoint, external),
            end_of_data: self.end_of_data,
            location: order.map(|order| order.location.clone()),
        }
    }

    /// A source that is drained comes to its end now.
    pub(crate) fn drain(&mut self, channels: &mut Channels, external: &mut External) -> Outcome {
        let mut outcome = Outcome::default();
        if !self.end_of_data {
            self.reach_end(channels, external, &mut outcome);
        }
        outcome
    }

    fn reach_end(
        &mut self,
        channels: &mut Channels,
        external: &mut External,
        outcome: &mut Outcome,
    ) {
        let rest = self.operator.finish();
        self.emit(rest, channels);
        for id in self.output_channels() {
            channels.put(id, Element::EndOfData);
        }
        self.end_of_data = true;
        if self.has_checkpoints() {
            outcome.events.push(TaskEvent::EndOfData);
        } else {
            self.operator.publish(external);
            outcome.finished = true;
        }
    }

    /// The JobManager gave checkpoints up: channels that wait for their barriers wait no longer.
    pub(crate) fn abort(&mut self, checkpoint: CheckpointId) {
        if let Some(aligner) = &mut self.aligner {
            aligner.abort(checkpoint);
        }
        self.go_on_unless(|with| with != checkpoint);
    }

    /// As [`Self::abort`], for every checkpoint below this one.
    pub(crate) fn abort_below(&mut self, next: CheckpointId) {
        if let Some(aligner) = &mut self.aligner {
            aligner.abort_below(next);
        }
        self.go_on_unless(|with| with >= next);
    }

    fn go_on_unless(&mut self, waits: impl FnOnce(CheckpointId) -> bool) {
        let waits = |it: Suspended| it.is_durable || waits(it.with);
        self.suspended = self.suspended.filter(|it| waits(*it));
    }

    /// A checkpoint is durable: whoever was stopped with it does not go on.
    pub(crate) fn is_told_complete(&mut self, checkpoint: CheckpointId) {
        if let Some(suspended) = &mut self.suspended {
            suspended.is_durable |= suspended.with == checkpoint;
        }
    }

    /// The earliest checkpoint whose barriers have come on some channels.
    pub(crate) fn aligning(&self) -> Option<CheckpointId> {
        self.aligner.as_ref()?.aligning()
    }

    fn check_key(&self, row: Row, outcome: &mut Outcome) {
        if let Some((max_parallelism, first, last)) = self.key_groups {
            let group = key_group(key_hash(&key_bytes(row.key)), max_parallelism);
            if !(first..=last).contains(&group) {
                outcome.misplaced = Some(row);
            }
        }
    }

    fn emit(&mut self, rows: Vec<Row>, channels: &mut Channels) {
        for edge in &mut self.outputs {
            let mut frames = vec![Vec::new(); edge.channels.len()];
            for row in &rows {
                for at in edge.choose(*row) {
                    frames[at].push(*row);
                }
            }
            for (id, frame) in edge.channels.iter().zip(frames) {
                if !frame.is_empty() {
                    channels.put(*id, Element::Rows(frame));
                }
            }
        }
    }
}

impl OutputEdge {
    /// Which of the channels a row takes.
    fn choose(&mut self, row: Row) -> std::ops::Range<usize> {
        let count = self.channels.len();
        let at = match self.partitioning {
            Partitioning::Broadcast => return 0..count,
            Partitioning::Forward | Partitioning::Global => 0,
            Partitioning::Rescale | Partitioning::Rebalance => {
                self.turn = (self.turn + 1) % count;
                self.turn
            }
            Partitioning::Hash => {
                let group = key_group(key_hash(&key_bytes(row.key)), self.max_parallelism);
                let subtask = subtask_of_key_group(group, self.max_parallelism, self.parallelism);
                subtask as usize
            }
        };
        at..at + 1
    }
}

/// The subtasks on the other side of a pointwise or all-to-all edge.
fn output_edges(table: &JobTable, attempt: AttemptId) -> Vec<OutputEdge> {
    let AttemptId { job, task, attempt } = attempt;
    let producers = table.vertices[task.vertex.0 as usize].parallelism;
    let edge = |(position, edge): (u32, &jobmanager_core::graph::JobEdge)| {
        let target = &table.vertices[edge.target.0 as usize];
        let consumers = if edge.partitioning.is_all_to_all() {
            0..target.parallelism
        } else {
            consumers_of(producers, target.parallelism, task.subtask.0)
        };
        let channel = |consumer| ChannelId {
            job,
            attempt,
            edge: position,
            producer: task.subtask,
            consumer: SubtaskIndex(consumer),
        };
        OutputEdge {
            partitioning: edge.partitioning,
            max_parallelism: target.max_parallelism,
            parallelism: target.parallelism,
            channels: consumers.map(channel).collect(),
            turn: 0,
        }
    };
    table.outputs(task.vertex).map(edge).collect()
}

fn input_channels(table: &JobTable, attempt: AttemptId) -> Vec<ChannelId> {
    let AttemptId { job, task, attempt } = attempt;
    let consumers = table.vertices[task.vertex.0 as usize].parallelism;
    let mut channels = Vec::new();
    for (position, edge) in table.inputs(task.vertex) {
        let source = &table.vertices[edge.source.0 as usize];
        let producers = if edge.partitioning.is_all_to_all() {
            0..source.parallelism
        } else {
            producers_of(source.parallelism, consumers, task.subtask.0)
        };
        channels.extend(producers.map(|producer| ChannelId {
            job,
            attempt,
            edge: position,
            producer: SubtaskIndex(producer),
            consumer: task.subtask,
        }));
    }
    channels
}

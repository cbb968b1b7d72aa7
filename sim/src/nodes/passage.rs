//! The control-plane tier's stand-in for the data exchange: there are no records, but what travels
//! between them does. Barriers and ends of input reach the tasks downstream after a while, over every
//! channel of the graph; a task snapshots when the barrier has come over all of its channels, and is at
//! the end of its data when the end has.

use crate::dataflow::task::{Phase, Task};
use crate::plan::options::{MS, Micros};
use crate::tape::Stream;
use crate::world::World;
use crate::world::event::{Event, Process};
use crate::world::network::Node;
use jobmanager_core::id::{AttemptId, CheckpointId, TaskId};
use jobmanager_core::message::ChannelId;
use jobmanager_core::taskmanager::TaskEvent;
use std::collections::BTreeMap;

/// What travels with the records that there are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Signal {
    Barrier(CheckpointId),
    EndOfData,
}

impl Signal {
    /// Whether it may still come when another one has come: a barrier that was overtaken never does.
    fn outlives(self, other: Signal) -> bool {
        match (self, other) {
            (Signal::Barrier(checkpoint), Signal::Barrier(came)) => checkpoint > came,
            (Signal::EndOfData, Signal::EndOfData) => false,
            (Signal::Barrier(_), Signal::EndOfData) | (Signal::EndOfData, Signal::Barrier(_)) => {
                true
            }
        }
    }
}

/// Where tasks are, and what has come to them over some of their channels.
#[derive(Default)]
pub(crate) struct Passage {
    places: BTreeMap<AttemptId, Place>,
}

/// An attempt, and perhaps what came for it before it was deployed.
#[derive(Default)]
struct Place {
    process: Option<Process>,
    /// How many channels it has.
    channels: usize,
    /// Over how many of them each signal has come.
    arrived: BTreeMap<Signal, usize>,
    /// Signals never overtake each other: when the last one will have come over all channels.
    busy_until: Micros,
    /// As long as one waits for the task, the others wait behind it.
    held_until: Micros,
}

impl Place {
    /// A signal that has come over all channels, if any, and where.
    fn complete(&mut self) -> Option<(Process, Signal)> {
        let process = self.process?;
        let complete = |(_, count): &(&Signal, &usize)| **count == self.channels;
        let signal = *self.arrived.iter().find(complete)?.0;
        self.arrived.retain(|other, _| other.outlives(signal));
        Some((process, signal))
    }
}

impl World {
    /// A task is there, and can be reached by those upstream.
    pub(crate) fn passage_opens(&mut self, process: Process, task: &Task) {
        let attempt = task.start.attempt;
        let place = self.passage.places.entry(attempt).or_default();
        place.process = Some(process);
        place.channels = task.inputs.len();
        self.signals_come(attempt);
    }

    pub(crate) fn passage_closes(&mut self, attempt: AttemptId) {
        self.passage.places.remove(&attempt);
    }

    /// A task runs: a source with an end will come to it.
    pub(crate) fn source_runs(&mut self, process: Process, attempt: AttemptId) {
        let Some(task) = self.running_task(process, attempt) else {
            return;
        };
        // A stand-in downstream hears of the end from those upstream.
        let left = task.operator.time_left();
        if let Some(left) = left.filter(|_| task.inputs.is_empty()) {
            let ends = Event::Passed(process, attempt, Signal::EndOfData);
            self.queue.push(self.now + left, ends);
        }
    }

    /// What a task sends over all of its channels.
    pub(crate) fn pass(&mut self, process: Process, attempt: AttemptId, signal: Signal) {
        let Some(task) = self.running_task(process, attempt) else {
            return;
        };
        let channels: Vec<ChannelId> = task.output_channels().collect();
        for id in channels {
            self.pass_over(process, attempt, id, signal);
        }
    }

    pub(crate) fn pass_over(
        &mut self,
        from: Process,
        producer: AttemptId,
        id: ChannelId,
        signal: Signal,
    ) {
        let Some(consumer) = self.consumer(from, producer, id) else {
            return;
        };
        let pace = self.options.task_pace.clone();
        let at = self.now + self.draw(Stream::Tasks, &pace);
        let place = self.passage.places.entry(consumer).or_default();
        let to = place.process.filter(|to| *to != from);
        let here = Node::TaskManager(from);
        if let Some(to) = to
            && self.network.is_blocked(here, Node::TaskManager(to))
        {
            match signal {
                // The checkpoint expires.
                Signal::Barrier(_) => {}
                Signal::EndOfData => {
                    self.task_fails(to, consumer, "the connection of a channel broke");
                }
            }
            return;
        }
        *place.arrived.entry(signal).or_default() += 1;
        place.busy_until = place.busy_until.max(at);
        self.signals_come(consumer);
    }

    /// Has a task act on every signal that has come over all of its channels.
    fn signals_come(&mut self, consumer: AttemptId) {
        while let Some(place) = self.passage.places.get_mut(&consumer) {
            let Some((process, signal)) = place.complete() else {
                return;
            };
            let at = place.busy_until.max(self.now);
            self.queue
                .push(at, Event::Passed(process, consumer, signal));
        }
    }

    /// The attempt at the other end of a channel: all attempts of a region have one number.
    pub(crate) fn consumer(
        &self,
        from: Process,
        producer: AttemptId,
        id: ChannelId,
    ) -> Option<AttemptId> {
        let task = self.taskmanagers[from.index].tasks.get(&producer)?;
        let edge = task.start.table.edges.get(id.edge as usize)?;
        Some(AttemptId {
            task: TaskId {
                vertex: edge.target,
                subtask: id.consumer,
            },
            ..producer
        })
    }

    /// A signal has come to a task over all of its channels.
    pub(crate) fn signal_arrives(&mut self, process: Process, attempt: AttemptId, signal: Signal) {
        let Some(node) = self.node(process) else {
            return;
        };
        let task = node.tasks.get(&attempt);
        let waits = match task.map(|task| (task.phase, task.suspended.is_some())) {
            Some((Phase::Running, false)) => false,
            // It waits in the channels until the task has restored its state, or goes on.
            Some((Phase::Restoring, _) | (Phase::Running, true)) => true,
            Some((Phase::Stopping, _)) | None => return,
        };
        let place = self.passage.places.entry(attempt).or_default();
        let held_until = place.held_until;
        if waits && held_until <= self.now {
            place.held_until = self.now + 50 * MS;
        }
        if waits || held_until > self.now {
            let later = Event::Passed(process, attempt, signal);
            let at = self.passage.places[&attempt].held_until;
            self.queue.push(at, later);
            return;
        }
        match signal {
            Signal::Barrier(checkpoint) => {
                let order = self
                    .savepoint_orders
                    .get(&(attempt.job, checkpoint))
                    .cloned();
                self.task_is_triggered(process, attempt, checkpoint, order.as_ref());
            }
            Signal::EndOfData => self.task_ends_its_data(process, attempt),
        }
    }

    pub(crate) fn task_ends_its_data(&mut self, process: Process, attempt: AttemptId) {
        let Some(task) = self.running_task(process, attempt) else {
            return;
        };
        if task.end_of_data {
            return;
        }
        task.operator.skip_to_end();
        task.end_of_data = true;
        let finishes = task.start.table.checkpoints.is_none();
        self.pass(process, attempt, Signal::EndOfData);
        if finishes {
            self.task_finishes(process, attempt);
        } else {
            self.tell_worker(process, attempt, TaskEvent::EndOfData);
        }
    }

    fn running_task(&mut self, process: Process, attempt: AttemptId) -> Option<&mut Task> {
        let task = self.node(process)?.tasks.get_mut(&attempt)?;
        (task.phase == Phase::Running).then_some(task)
    }
}

//! The lives of tasks on a TaskManager: start, work, snapshot, commit, end. How they come to their state is in
//! [`restoring`](super::restoring).

use crate::dataflow::operator::Operator;
use crate::dataflow::task::{Outcome, Phase, Snapshot, Task};
use crate::marks::Mark;
use crate::nodes::passage::Signal;
use crate::plan::Tier;
use crate::tape::Stream;
use crate::trace::{Lane, Parcel};
use crate::world::World;
use crate::world::event::{Event, Process};
use jobmanager_core::id::{AttemptId, CheckpointId};
use jobmanager_core::message::{AfterSavepoint, DeclineReason, SavepointOrder, StateLocation};
use jobmanager_core::taskmanager::{TaskEvent, TaskStart};

impl World {
    pub(crate) fn task_starts(&mut self, process: Process, start: TaskStart) {
        let attempt = start.attempt;
        match self.checks.started(process, &start) {
            Ok(true) => self.mark_zombie(attempt),
            Ok(false) => {}
            Err(failure) => {
                self.verdict(Err(failure));
                return;
            }
        }
        let task = match self.new_task(start) {
            Ok(task) => task,
            Err(cause) => {
                self.fail("a_deployment_can_be_run", cause);
                return;
            }
        };
        let connected = match self.options.tier {
            Tier::Dataflow => self.task_connects(process, task),
            Tier::ControlPlane => {
                self.passage_opens(process, &task);
                if let Some(node) = self.node(process) {
                    node.tasks.insert(attempt, task);
                }
                Ok(())
            }
        };
        if let Err(cause) = connected {
            self.task_fails(process, attempt, &cause);
            return;
        }
        let latency = self.blob_latency();
        let latency = self.slowed(process.index, latency);
        let failed = self.blob_fails();
        self.queue.push(
            self.now + latency,
            Event::Restored {
                process,
                attempt,
                failed,
            },
        );
    }

    fn new_task(&self, start: TaskStart) -> Result<Task, String> {
        match &self.sequel {
            None => Task::new(start),
            Some(_) => Ok(self.stand_in(start)),
        }
    }

    /// The task's ends of its channels are there.
    fn task_connects(&mut self, process: Process, task: Task) -> Result<(), String> {
        let attempt = task.start.attempt;
        let inputs = task.inputs.clone();
        let outputs: Vec<_> = task.output_channels().collect();
        let Some(node) = self.node(process) else {
            return Ok(());
        };
        node.tasks.insert(attempt, task);
        for id in outputs {
            node.channels.add_outgoing(id, attempt);
        }
        for id in inputs {
            let address = self.producer_address(process, attempt, id);
            self.connect_input(process, attempt, id, address)?;
        }
        Ok(())
    }

    /// The task of this attempt, if it is in this phase.
    pub(super) fn task(
        &mut self,
        process: Process,
        attempt: AttemptId,
        phase: Phase,
    ) -> Option<&mut Task> {
        let task = self.node(process)?.tasks.get_mut(&attempt)?;
        (task.phase == phase).then_some(task)
    }

    /// Has a task look for work soon.
    pub(crate) fn wake_task(&mut self, process: Process, attempt: AttemptId) {
        let pace = self.options.task_pace.clone();
        let Some(task) = self.task(process, attempt, Phase::Running) else {
            return;
        };
        if !std::mem::replace(&mut task.wakes, true) {
            let pace = self.draw(Stream::Tasks, &pace);
            let at = self.now + self.slowed(process.index, pace);
            self.queue.push(at, Event::TaskWake(process, attempt));
        }
    }

    /// Has a task look for work that waited for its consumers.
    pub(crate) fn wake_if_blocked(&mut self, process: Process, attempt: AttemptId) {
        let blocked = self
            .task(process, attempt, Phase::Running)
            .is_some_and(|task| task.blocked);
        if blocked {
            self.wake_task(process, attempt);
        }
    }

    pub(crate) fn task_wakes(&mut self, process: Process, attempt: AttemptId) {
        let node = self.taskmanagers.get_mut(process.index);
        let Some(node) = node.filter(|node| node.is(process)) else {
            return;
        };
        let Some(task) = node.tasks.get_mut(&attempt) else {
            return;
        };
        task.wakes = false;
        let outcome = task.work(&mut node.channels, &mut self.external);
        self.worked(process, attempt, outcome);
    }

    fn worked(&mut self, process: Process, attempt: AttemptId, outcome: Outcome) {
        if let (Some((split, until)), Some(oracle)) = (outcome.made, &mut self.oracle) {
            oracle.feed(attempt.job, attempt.task.vertex, split, until);
        }
        if let Some(row) = outcome.misplaced {
            let detail = format!("{attempt} got {row:?}");
            self.fail("a_row_reaches_the_subtask_of_its_key_group", detail);
        }
        if let Some(checkpoint) = outcome.repeated {
            let detail = format!("{attempt} {checkpoint:?}");
            self.fail("a_repeated_barrier_changes_nothing", detail);
        }
        self.look_outside();
        for snapshot in outcome.snapshots {
            self.store_snapshot(process, attempt, snapshot);
        }
        for id in outcome.taken {
            self.return_credit(process, id);
        }
        self.pump_outputs(process, attempt);
        for event in outcome.events {
            self.tell_worker(process, attempt, event);
        }
        if outcome.finished {
            self.task_finishes(process, attempt);
        } else if outcome.more {
            self.work_again(process, attempt);
        }
    }

    fn work_again(&mut self, process: Process, attempt: AttemptId) {
        let Some(task) = self.task(process, attempt, Phase::Running) else {
            return;
        };
        let Operator::Source(source) = &task.operator else {
            self.wake_task(process, attempt);
            return;
        };
        let pause = source.pause;
        if !std::mem::replace(&mut task.wakes, true) {
            let at = self.now + self.slowed(process.index, pause);
            self.queue.push(at, Event::TaskWake(process, attempt));
        }
    }

    fn pump_outputs(&mut self, process: Process, attempt: AttemptId) {
        let Some(node) = self.node(process) else {
            return;
        };
        let Some(task) = node.tasks.get(&attempt) else {
            return;
        };
        let outputs: Vec<_> = task.output_channels().collect();
        for id in outputs {
            self.pump(process, id);
        }
    }

    /// Shows the checkers what became visible outside.
    pub(super) fn look_outside(&mut self) {
        for published in std::mem::take(&mut self.external.published) {
            self.note_told(Lane::Outside, "publish", &published);
            let verdict = self.checks.published(&published);
            self.verdict(verdict);
            if let Some(oracle) = &mut self.oracle {
                let verdict = oracle.publish(&published);
                self.verdict(verdict);
            }
        }
        for refused in std::mem::take(&mut self.external.refused) {
            self.verdict(crate::checks::refused(refused));
        }
        if std::mem::take(&mut self.external.dropped) {
            self.marks.hit(Mark::LeftoversDropped);
        }
    }

    pub(crate) fn task_is_triggered(
        &mut self,
        process: Process,
        attempt: AttemptId,
        checkpoint: CheckpointId,
        order: Option<&SavepointOrder>,
    ) {
        if order.is_some_and(|order| order.after == AfterSavepoint::Drain) {
            self.task_is_drained(process, attempt);
        }
        let node = self.taskmanagers.get_mut(process.index);
        let Some(node) = node.filter(|node| node.is(process)) else {
            return;
        };
        let running = node
            .tasks
            .get_mut(&attempt)
            .filter(|task| task.phase == Phase::Running);
        let Some(task) = running else {
            let declined = TaskEvent::Declined {
                checkpoint,
                reason: DeclineReason::TaskNotReady,
                message: "the task does not run".to_owned(),
            };
            self.tell_worker(process, attempt, declined);
            return;
        };
        let snapshot = task.snapshot(checkpoint, order, &mut node.channels, &mut self.external);
        self.store_snapshot(process, attempt, snapshot);
        match self.options.tier {
            Tier::Dataflow => self.pump_outputs(process, attempt),
            Tier::ControlPlane => self.pass(process, attempt, Signal::Barrier(checkpoint)),
        }
    }

    /// A task is to come to the end of its data. It does if it is a source; the others hear of it.
    fn task_is_drained(&mut self, process: Process, attempt: AttemptId) {
        let tier = self.options.tier;
        let node = self.taskmanagers.get_mut(process.index);
        let Some(node) = node.filter(|node| node.is(process)) else {
            return;
        };
        let task = node.tasks.get_mut(&attempt);
        let source = |task: &&mut Task| task.phase == Phase::Running && task.inputs.is_empty();
        let Some(task) = task.filter(source).filter(|task| !task.end_of_data) else {
            return;
        };
        match tier {
            Tier::Dataflow => {
                let outcome = task.drain(&mut node.channels, &mut self.external);
                self.worked(process, attempt, outcome);
            }
            Tier::ControlPlane => self.task_ends_its_data(process, attempt),
        }
    }

    fn store_snapshot(&mut self, process: Process, attempt: AttemptId, snapshot: Snapshot) {
        let Some(task) = self.task(process, attempt, Phase::Running) else {
            return;
        };
        let threshold = task
            .start
            .table
            .checkpoints
            .map_or(0, |c| c.inline_threshold);
        let (checkpoint, state) = (snapshot.checkpoint, &snapshot.state);
        let verdict = self.checks.snapshotted(attempt, checkpoint, state);
        self.verdict(verdict);
        let bytes = snapshot.bytes();
        if bytes.len() as u64 <= threshold {
            let size = bytes.len() as u64;
            let state = snapshot.handle(StateLocation::Inline(bytes), size);
            let stored = TaskEvent::Snapshotted { checkpoint, state };
            self.tell_worker(process, attempt, stored);
            return;
        }
        if let Some(node) = self.node(process) {
            node.snapshots.insert((attempt, checkpoint), snapshot);
        }
        self.show_snapshot(process, attempt, checkpoint);
        let latency = self.blob_latency();
        let latency = self.slowed(process.index, latency);
        let failed = self.blob_fails();
        self.queue.push(
            self.now + latency,
            Event::SnapshotStored {
                process,
                attempt,
                checkpoint,
                failed,
            },
        );
    }

    /// The task may have been told to stop meanwhile: then the file is there, and nobody will refer to it.
    pub(crate) fn snapshot_stored(
        &mut self,
        process: Process,
        attempt: AttemptId,
        checkpoint: CheckpointId,
        failed: bool,
    ) {
        let snapshots = self.node(process).map(|node| &mut node.snapshots);
        let Some(snapshot) = snapshots.and_then(|all| all.remove(&(attempt, checkpoint))) else {
            self.gets_lost(|| Parcel::Snapshot(attempt, checkpoint));
            return;
        };
        self.show_stored(attempt, checkpoint, failed);
        let event = if failed {
            TaskEvent::Declined {
                checkpoint,
                reason: DeclineReason::AsyncException,
                message: "the storage is busy".to_owned(),
            }
        } else {
            self.marks.hit(Mark::StateInFile);
            let bytes = snapshot.bytes();
            let size = bytes.len() as u64;
            let (task, tried) = (attempt.task, attempt.attempt);
            let name = format!(
                "{}-{}-{}-{}",
                task.vertex.0, task.subtask.0, tried.epoch.0, tried.number
            );
            let location = match &snapshot.location {
                Some(folder) => {
                    let url = format!("{folder}/{name}");
                    self.blobs.write_url(url.clone(), bytes);
                    StateLocation::Url(url)
                }
                None => {
                    self.notes_file(process, attempt.job, checkpoint);
                    let blobs = &mut self.blobs;
                    let path = blobs.write(attempt.job, checkpoint, &name, bytes);
                    StateLocation::File(path)
                }
            };
            TaskEvent::Snapshotted {
                checkpoint,
                state: snapshot.handle(location, size),
            }
        };
        self.tell_worker(process, attempt, event);
        let node = self.node(process).filter(|node| !node.writes_for(attempt));
        if let Some(how) = node.and_then(|node| node.ended.remove(&attempt)) {
            self.tell_worker(process, attempt, how);
        }
    }

    pub(crate) fn task_completes(
        &mut self,
        process: Process,
        attempt: AttemptId,
        checkpoint: CheckpointId,
        finish: bool,
    ) {
        let node = self.taskmanagers.get_mut(process.index);
        let task = node.and_then(|node| node.tasks.get_mut(&attempt));
        let Some(task) = task.filter(|task| task.phase == Phase::Running) else {
            return;
        };
        task.is_told_complete(checkpoint);
        let stopped = task.suspended.is_some_and(|it| it.with == checkpoint);
        let at_end = task.end_of_data || stopped;
        task.operator.commit(checkpoint, &mut self.external);
        let verdict = self
            .checks
            .told_complete(attempt, checkpoint, finish, at_end);
        self.verdict(verdict);
        self.look_outside();
        if finish {
            self.task_finishes(process, attempt);
        }
    }

    /// A task gives checkpoints up: what it is aligning then is none of them.
    pub(crate) fn task_aborts(
        &mut self,
        process: Process,
        attempt: AttemptId,
        abort: impl FnOnce(&mut Task),
        aborted: impl FnOnce(CheckpointId) -> bool,
    ) {
        if let Some(task) = self.task(process, attempt, Phase::Running) {
            abort(task);
            let left = task.aligning().filter(|left| aborted(*left));
            if let Some(left) = left {
                let detail = format!("{attempt} aligns {left:?}");
                self.fail("an_aborted_checkpoint_blocks_nothing", detail);
            }
            if self.options.tier == Tier::Dataflow {
                // Channels that were blocked may be open now.
                self.wake_task(process, attempt);
            }
        }
    }

    pub(crate) fn task_is_canceled(&mut self, process: Process, attempt: AttemptId) {
        let delay = self.options.cancel_delay.clone();
        let task = self
            .node(process)
            .and_then(|node| node.tasks.get_mut(&attempt));
        let Some(task) = task.filter(|task| task.phase != Phase::Stopping) else {
            return;
        };
        task.phase = Phase::Stopping;
        self.checks.stopping(process, attempt);
        let stuck = self.options.stuck;
        if !self.calm && self.decisions.chance(Stream::Tasks, stuck) {
            return;
        }
        let delay = self.draw(Stream::Tasks, &delay);
        let at = self.now + self.slowed(process.index, delay);
        self.queue.push(at, Event::TaskStops(process, attempt));
    }

    pub(crate) fn task_stops(&mut self, process: Process, attempt: AttemptId) {
        if self.remove_task(process, attempt, false) {
            self.task_ended(process, attempt, TaskEvent::Canceled);
        }
    }

    pub(crate) fn task_finishes(&mut self, process: Process, attempt: AttemptId) {
        if self.remove_task(process, attempt, true) {
            self.look_outside();
            self.task_ended(process, attempt, TaskEvent::Finished);
        }
    }

    /// A task ends by an error. Nothing happens if it has ended already.
    pub(crate) fn task_fails(&mut self, process: Process, attempt: AttemptId, cause: &str) {
        if self.remove_task(process, attempt, false) {
            let cause = cause.to_owned();
            self.task_ended(process, attempt, TaskEvent::Failed { cause });
        }
    }

    /// A task is gone: that is said when nothing of it is written any more.
    fn task_ended(&mut self, process: Process, attempt: AttemptId, how: TaskEvent) {
        let node = self.node(process).filter(|node| node.writes_for(attempt));
        match node {
            Some(node) => {
                node.ended.insert(attempt, how);
            }
            None => self.tell_worker(process, attempt, how),
        }
    }

    /// Takes a task and its ends of channels away. Tells whether it was there.
    fn remove_task(&mut self, process: Process, attempt: AttemptId, finished: bool) -> bool {
        let removed = self
            .node(process)
            .and_then(|node| node.tasks.remove(&attempt));
        let Some(task) = removed else {
            return false;
        };
        self.checks.ended(process, attempt);
        self.passage_closes(attempt);
        for id in &task.inputs {
            self.remove_input(process, *id);
        }
        for id in task.output_channels() {
            self.remove_output(process, id, finished);
        }
        true
    }
}

//! Tasks without records: they start, put out segments between their snapshots, publish what a completed
//! checkpoint covers, and end. The names of segments are enough to see an output lost or published twice.

use super::promises;
use super::scope::Scope;
use super::state::{Item, Lineage, Prepared, Snapshot, Task, TaskPhase};
use super::step::Step;
use jobmanager_core::config::CheckpointMode;
use jobmanager_core::id::{AttemptId, CheckpointId, SubtaskIndex, TaskId};
use jobmanager_core::message::{DeclineReason, StateHandle, StateLocation};
use jobmanager_core::taskmanager::{Aligner, Barrier, Input, TaskEvent, TaskStart};
use std::collections::VecDeque;

impl Task {
    pub(super) fn new(start: TaskStart) -> Self {
        let inputs = start.table.inputs(start.attempt.task.vertex).count();
        let inputs = u32::try_from(inputs).expect("the explored job has one edge at most");
        Task {
            phase: TaskPhase::Restoring,
            lineage: Lineage::default(),
            end_of_data: false,
            snapshots: VecDeque::new(),
            aligner: (inputs > 0).then(|| Aligner::new(inputs, CheckpointMode::ExactlyOnce)),
            start,
        }
    }

    /// Ends the segment that is being filled, at the end of the input all that are left, and copies the
    /// state. A sink that missed a barrier has fewer and longer segments until then.
    fn snapshot(&mut self, scope: &Scope, checkpoint: CheckpointId) {
        let until = if self.end_of_data {
            scope.checkpoints
        } else {
            self.lineage.segment.min(scope.checkpoints)
        };
        while self.lineage.segment <= until {
            self.lineage.prepared.push(Prepared {
                segment: self.lineage.segment,
                by: self.start.attempt,
                checkpoint,
            });
            self.lineage.segment += 1;
        }
        self.snapshots.push_back(Snapshot {
            checkpoint,
            lineage: self.lineage.clone(),
            end_of_data: self.end_of_data,
        });
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.phase == TaskPhase::Stopping
    }

    /// The task that takes what this one puts out, in the same attempt.
    fn consumer(&self) -> Option<AttemptId> {
        let own = self.start.attempt;
        let (_, edge) = self.start.table.outputs(own.task.vertex).next()?;
        let task = TaskId {
            vertex: edge.target,
            subtask: SubtaskIndex(0),
        };
        Some(AttemptId { task, ..own })
    }
}

impl Step<'_> {
    fn running(&self, tm: usize, attempt: AttemptId) -> Option<&Task> {
        let task = self.state.taskmanagers[tm].tasks.get(&attempt)?;
        (task.phase == TaskPhase::Running).then_some(task)
    }

    fn change_task<R>(
        &mut self,
        tm: usize,
        attempt: AttemptId,
        change: impl FnOnce(&mut Task) -> R,
    ) -> Option<R> {
        self.state.taskmanagers[tm].change(|node| node.tasks.get_mut(&attempt).map(change))
    }

    fn task_tells(&mut self, tm: usize, attempt: AttemptId, event: TaskEvent) {
        self.tell_worker(tm, Input::Task { attempt, event });
    }

    /// The next thing that a task does by itself. A snapshot is stored before the task goes on.
    pub(super) fn task_goes_on(&mut self, tm: usize, attempt: AttemptId) {
        let Some(task) = self.state.taskmanagers[tm].tasks.get(&attempt) else {
            return;
        };
        match task.phase {
            TaskPhase::Restoring => self.task_restores(tm, attempt),
            TaskPhase::Stopping => self.task_ends(tm, attempt, TaskEvent::Canceled),
            TaskPhase::Running if !task.snapshots.is_empty() => self.store_snapshot(tm, attempt),
            TaskPhase::Running if task.is_exhausted(self.scope) => self.end_of_data(tm, attempt),
            TaskPhase::Running => self.take_item(tm, attempt),
        }
    }

    fn task_restores(&mut self, tm: usize, attempt: AttemptId) {
        let Some(task) = self.state.taskmanagers[tm].tasks.get(&attempt) else {
            return;
        };
        let handle = task.start.state.first().map(|state| state.location.clone());
        let lineage = match handle {
            None => Some(Lineage::default()),
            Some(StateLocation::File(path)) => self.state.blobs.get(&path).cloned(),
            Some(StateLocation::Inline(_) | StateLocation::Url(_)) => None,
        };
        let Some(mut lineage) = lineage else {
            self.check_missing_state(attempt);
            let cause = "the state is not there".to_owned();
            self.task_ends(tm, attempt, TaskEvent::Failed { cause });
            return;
        };
        // What a completed checkpoint covers is published, whether or not somebody came to it before.
        for prepared in std::mem::take(&mut lineage.prepared) {
            self.publish(prepared);
        }
        self.change_task(tm, attempt, |task| {
            task.lineage = lineage;
            task.phase = TaskPhase::Running;
        });
        self.task_tells(tm, attempt, TaskEvent::Running);
        let task = self.state.taskmanagers[tm].tasks.get(&attempt);
        if task.is_some_and(|task| task.start.finish) {
            self.task_ends(tm, attempt, TaskEvent::Finished);
        }
    }

    fn store_snapshot(&mut self, tm: usize, attempt: AttemptId) {
        let snapshot = self.change_task(tm, attempt, |task| task.snapshots.pop_front());
        let Some(snapshot) = snapshot.flatten() else {
            return;
        };
        let path = promises::path(snapshot.checkpoint, attempt);
        self.state.blobs.change(|blobs| {
            blobs.insert(path.clone(), snapshot.lineage);
        });
        let stored = TaskEvent::Snapshotted {
            checkpoint: snapshot.checkpoint,
            state: StateHandle {
                end_of_data: snapshot.end_of_data,
                ..StateHandle::whole(StateLocation::File(path), 1)
            },
        };
        self.task_tells(tm, attempt, stored);
    }

    fn end_of_data(&mut self, tm: usize, attempt: AttemptId) {
        self.change_task(tm, attempt, |task| task.end_of_data = true);
        self.put(tm, attempt, Item::End);
        self.task_tells(tm, attempt, TaskEvent::EndOfData);
    }

    /// Puts something on the way to the task's consumer, if it has one.
    fn put(&mut self, tm: usize, attempt: AttemptId, item: Item) {
        let consumer = self.running(tm, attempt).and_then(Task::consumer);
        if let Some(consumer) = consumer {
            self.state
                .channels
                .change(|channels| channels.entry(consumer).or_default().push_back(item));
        }
    }

    fn take_item(&mut self, tm: usize, attempt: AttemptId) {
        let item = self.state.channels.change(|channels| {
            let items = channels.get_mut(&attempt)?;
            items.pop_front()
        });
        match item {
            None => {}
            Some(Item::End) => self.end_of_data(tm, attempt),
            Some(Item::Barrier(checkpoint)) => {
                let scope = self.scope;
                self.change_task(tm, attempt, |task| {
                    let arrival = task
                        .aligner
                        .as_mut()
                        .map(|aligner| aligner.barrier(0, checkpoint));
                    if arrival.is_some_and(|arrival| arrival.barrier == Barrier::Aligned) {
                        task.snapshot(scope, checkpoint);
                    }
                });
            }
        }
    }

    pub(super) fn task_is_triggered(
        &mut self,
        tm: usize,
        attempt: AttemptId,
        checkpoint: CheckpointId,
    ) {
        if self.running(tm, attempt).is_none() {
            let declined = TaskEvent::Declined {
                checkpoint,
                reason: DeclineReason::TaskNotReady,
                message: String::new(),
            };
            self.task_tells(tm, attempt, declined);
            return;
        }
        let scope = self.scope;
        self.change_task(tm, attempt, |task| task.snapshot(scope, checkpoint));
        self.put(tm, attempt, Item::Barrier(checkpoint));
    }

    pub(super) fn task_completes(
        &mut self,
        tm: usize,
        attempt: AttemptId,
        checkpoint: CheckpointId,
        finish: bool,
    ) {
        if self.running(tm, attempt).is_none() {
            return;
        }
        self.check_complete(tm, attempt, checkpoint);
        let covered = self.change_task(tm, attempt, |task| {
            let prepared = std::mem::take(&mut task.lineage.prepared);
            let (covered, left): (Vec<_>, Vec<_>) = prepared
                .into_iter()
                .partition(|prepared| prepared.checkpoint <= checkpoint);
            task.lineage.prepared = left;
            covered
        });
        for prepared in covered.into_iter().flatten() {
            self.publish(prepared);
        }
        if finish {
            self.task_ends(tm, attempt, TaskEvent::Finished);
        }
    }

    pub(super) fn task_aborts(
        &mut self,
        tm: usize,
        attempt: AttemptId,
        abort: impl FnOnce(&mut Aligner),
    ) {
        self.change_task(tm, attempt, |task| task.aligner.as_mut().map(abort));
    }

    pub(super) fn task_is_canceled(&mut self, tm: usize, attempt: AttemptId) {
        self.change_task(tm, attempt, |task| {
            task.phase = TaskPhase::Stopping;
            task.snapshots.clear();
        });
    }

    pub(super) fn task_fails(&mut self, tm: usize, attempt: AttemptId) {
        let cause = "it was told to".to_owned();
        self.task_ends(tm, attempt, TaskEvent::Failed { cause });
    }

    fn task_ends(&mut self, tm: usize, attempt: AttemptId, event: TaskEvent) {
        self.state.taskmanagers[tm].change(|node| node.tasks.remove(&attempt));
        if self.state.channels.contains_key(&attempt) {
            self.state
                .channels
                .change(|channels| channels.remove(&attempt));
        }
        self.task_tells(tm, attempt, event);
    }
}

//! What becomes of a job's tasks: their reports, their end, and the order to stop.

use super::cx::Cx;
use super::execution::Phase;
use super::job::{Job, JobPhase};
use super::taskmanagers::{TaskManager, TmKey};
use crate::id::{AttemptId, RegionIndex};
use crate::message::{TaskReport, TaskStateChange, ToTaskManager};
use crate::state::ExecutionState;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

impl Job {
    /// The position of an attempt, if it is the current one of its task, has not ended, and is on this
    /// TaskManager. Whatever is said of another attempt changes nothing.
    pub(super) fn current(&self, attempt: AttemptId, tm: TmKey) -> Option<u32> {
        let position = self.execution.layout().position(attempt.task)?;
        let region = self.execution.region(self.execution.layout().of(position));
        let here = self
            .execution
            .location(position)
            .is_some_and(|at| at.tm == tm);
        let current = region.attempt == Some(attempt.attempt) && here && self.is_alive(position);
        current.then_some(position)
    }

    /// Whether this is the current attempt of a task, and it has finished. Its TaskManager keeps it until the
    /// job has ended, whatever of it is said once more.
    pub(super) fn has_finished(&self, attempt: AttemptId) -> bool {
        let Some(position) = self.execution.layout().position(attempt.task) else {
            return false;
        };
        let region = self.execution.region(self.execution.layout().of(position));
        let finished = self.execution.state(position) == ExecutionState::Finished;
        finished && region.attempt == Some(attempt.attempt)
    }

    /// A TaskManager says what a task is now.
    pub(super) fn task_reported(&mut self, cx: &mut Cx<'_>, tm: TmKey, change: TaskStateChange) {
        let Some(position) = self.current(change.attempt, tm) else {
            self.failed_before_adoption(cx, tm, &change);
            if !self.has_finished(change.attempt) {
                stop_stranger(cx, tm, &change);
            }
            return;
        };
        let state = self.execution.state(position);
        match change.report {
            TaskReport::Initializing => {
                if state == ExecutionState::Deploying {
                    self.execution
                        .change(position, ExecutionState::Initializing);
                }
            }
            TaskReport::Running => {
                if matches!(
                    state,
                    ExecutionState::Deploying | ExecutionState::Initializing
                ) {
                    self.execution.change(position, ExecutionState::Running);
                }
            }
            TaskReport::EndOfData => self.execution.put_end_of_data(position, true),
            TaskReport::Finished => self.end_task(cx, position, ExecutionState::Finished),
            TaskReport::Canceled if state == ExecutionState::Canceling => {
                self.end_task(cx, position, ExecutionState::Canceled);
            }
            TaskReport::Canceled => {
                let cause = String::from("its TaskManager canceled the task, or does not know it");
                self.task_failed(cx, position, cause);
            }
            TaskReport::Failed { .. } if state == ExecutionState::Canceling => {
                self.end_task(cx, position, ExecutionState::Failed);
            }
            TaskReport::Failed { cause } => self.task_failed(cx, position, cause),
        }
    }

    fn task_failed(&mut self, cx: &mut Cx<'_>, position: u32, cause: String) {
        let at = self.execution.location(position);
        let taskmanager = at.and_then(|at| cx.name(at.tm));
        self.remember(cx, Some(position), taskmanager, cause.clone());
        self.end_task(cx, position, ExecutionState::Failed);
        let region = self.execution.layout().of(position);
        self.fail_regions(cx, &BTreeSet::from([region]), cause);
    }

    /// A TaskManager is gone, and with it every task that was in these slots of the job.
    pub(super) fn taskmanager_lost(
        &mut self,
        cx: &mut Cx<'_>,
        job_slots: impl Iterator<Item = u32>,
        tm: &TaskManager,
        cause: &str,
    ) {
        let mut regions = BTreeSet::new();
        let mut first = None;
        let tasks = job_slots.flat_map(|slot| self.execution.tasks_in(slot));
        let mut lost: Vec<u32> = tasks.filter(|task| self.is_alive(*task)).collect();
        lost.sort_unstable();
        for position in lost {
            let canceled = self.execution.state(position) == ExecutionState::Canceling;
            self.end_task(cx, position, ExecutionState::Failed);
            if !canceled {
                first.get_or_insert(position);
                regions.insert(self.execution.layout().of(position));
            }
        }
        self.look_soon_for_moving(cx.now);
        // While the job's attempts are being reported, its TaskManager may come back with them.
        if let Some(position) = first.filter(|_| !matches!(self.phase, JobPhase::Reconciling(_))) {
            let name = tm.hello.taskmanager.clone();
            self.remember(cx, Some(position), Some(name), String::from(cause));
            match tm.leaves.is_some() {
                true => self.left_behind(cx, &regions, cause),
                false => self.fail_regions(cx, &regions, String::from(cause)),
            }
        }
    }

    /// A task has ended; its slot may become free and its region may be finished.
    pub(super) fn end_task(&mut self, cx: &mut Cx<'_>, position: u32, state: ExecutionState) {
        self.execution.change(position, state);
        if let Some(slot) = self.execution.vacate(position) {
            cx.tms.release(slot);
        }
        let index = self.execution.layout().of(position);
        let region = self.execution.region(index);
        let members = self.execution.layout().members(index).len();
        if region.phase == Phase::Active && region.finished as usize == members {
            self.execution.set_phase(index, Phase::Finished);
        }
    }

    /// Tells the tasks of a region to stop. Those that have not been deployed end at once.
    pub(super) fn stop_region(&mut self, cx: &mut Cx<'_>, index: RegionIndex) {
        let execution = &mut self.execution;
        let orders = execution.by_taskmanager(index, |position, task, _| {
            let stopped = when_stopped(execution.state(position));
            (stopped == Some(ExecutionState::Canceling)).then_some(task)
        });
        execution.change_region(index, when_stopped);
        let attempt = self.execution.region(index).attempt;
        for (tm, tasks) in orders {
            let attempt = attempt.expect("a region with deployed tasks has an attempt");
            cx.send(
                tm,
                ToTaskManager::Cancel {
                    job: self.id(),
                    attempt,
                    tasks,
                },
            );
        }
    }

    /// Whether the job's tasks may still do something.
    pub(super) fn is_active(&self) -> bool {
        matches!(self.phase, JobPhase::Running | JobPhase::Reconciling(_))
    }
}

/// What a task becomes that is told to stop, if that changes it.
fn when_stopped(state: ExecutionState) -> Option<ExecutionState> {
    match state {
        ExecutionState::Created | ExecutionState::Scheduled => Some(ExecutionState::Canceled),
        ExecutionState::Deploying | ExecutionState::Initializing | ExecutionState::Running => {
            Some(ExecutionState::Canceling)
        }
        ExecutionState::Canceling
        | ExecutionState::Finished
        | ExecutionState::Canceled
        | ExecutionState::Failed => None,
    }
}

/// A TaskManager has an attempt that is not wanted: if it has not ended, it is told to stop. Tells whether
/// it was.
pub(super) fn stop_stranger(cx: &mut Cx<'_>, tm: TmKey, change: &TaskStateChange) -> bool {
    match change.report {
        TaskReport::Initializing | TaskReport::Running | TaskReport::EndOfData => {
            let AttemptId { job, task, attempt } = change.attempt;
            let tasks = Vec::from([task]);
            cx.send(
                tm,
                ToTaskManager::Cancel {
                    job,
                    attempt,
                    tasks,
                },
            );
            true
        }
        TaskReport::Finished | TaskReport::Canceled | TaskReport::Failed { .. } => false,
    }
}

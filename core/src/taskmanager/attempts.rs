//! The attempts that a TaskManager has.
//!
//! Invariants: an attempt is started at most once; an earlier attempt of a task is told to stop before a
//! later one starts; a task is told that a checkpoint is complete only if this very attempt acknowledged it or
//! was restored from it, so a left-over attempt never publishes what its successor publishes again.

use super::contract::{Effect, TaskEvent, TaskStart};
use crate::id::{
    Attempt, AttemptId, CheckpointId, Epoch, JobId, SlotIndex, SubtaskIndex, TaskId, VertexIndex,
};
use crate::kept::Kept;
use crate::message::{
    Acknowledgement, DeclineReason, Deployment, FromTaskManager, InventoryItem, SavepointOrder,
    TaskDeployment, TaskReport, TaskStateChange,
};
use crate::state::ExecutionState;
use crate::time::Timestamp;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

/// How many acknowledged checkpoints of an attempt are remembered: more than can be under way.
const ACKNOWLEDGED: usize = 64;
/// How many failures are kept while nobody can be told: the causes that matter are the latest.
const UNSENT: usize = 1_000;

/// The attempts that run, and those that finished and were not released.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Attempts {
    slots: u32,
    held: BTreeMap<AttemptId, Kept<Held>>,
    /// The attempts that were told to stop and have not, by when they were told.
    stopping: BTreeSet<(Timestamp, AttemptId)>,
    now: Timestamp,
    /// Failures that nobody could be told about. At most one of an attempt that was held.
    unsent: Vec<TaskStateChange>,
    /// The jobs that had tasks here, until they are released: what their tasks wrote is there after they
    /// have ended.
    jobs: BTreeSet<JobId>,
}

/// An attempt that is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Held {
    slot: SlotIndex,
    /// INITIALIZING, RUNNING, CANCELING or FINISHED.
    state: ExecutionState,
    end_of_data: bool,
    has_inputs: bool,
    restored: Option<CheckpointId>,
    /// When it was told to stop.
    stopping_since: Option<Timestamp>,
    /// The last checkpoint that it was told to take. Ids only grow, so another one that is not later is a
    /// repetition: a second snapshot would take the place of the first one.
    triggered: Option<CheckpointId>,
    acknowledged: BTreeSet<CheckpointId>,
    /// The latest of them of which it is known that it is complete: may be told again, to finish.
    completed: Option<CheckpointId>,
}

/// The tasks that a message speaks of.
pub(super) struct Concerned {
    job: JobId,
    /// Those that are named, in order; empty if it is all of the job.
    tasks: Vec<TaskId>,
}

impl Concerned {
    pub(super) fn new(job: JobId, mut tasks: Vec<TaskId>) -> Self {
        tasks.sort_unstable();
        Concerned { job, tasks }
    }

    fn names(&self, task: TaskId) -> bool {
        self.tasks.is_empty() || self.tasks.binary_search(&task).is_ok()
    }
}

impl Attempts {
    /// None yet, for this many slots.
    pub(super) fn new(slots: u32) -> Self {
        Attempts {
            slots,
            held: BTreeMap::new(),
            stopping: BTreeSet::new(),
            now: Timestamp(0),
            unsent: Vec::new(),
            jobs: BTreeSet::new(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (AttemptId, SlotIndex, ExecutionState)> {
        self.held
            .iter()
            .map(|(attempt, held)| (*attempt, held.slot, held.state))
    }

    /// Whether any has not ended.
    pub(super) fn any_runs(&self) -> bool {
        let mut held = self.held.values();
        held.any(|held| held.state != ExecutionState::Finished)
    }

    /// What a hello says of them.
    pub(super) fn inventory(&self) -> Vec<InventoryItem> {
        let item = |(attempt, held): (&AttemptId, &Kept<Held>)| InventoryItem {
            attempt: *attempt,
            slot: held.slot,
            state: held.state,
            end_of_data: held.end_of_data,
            restored: held.restored,
        };
        self.held.iter().map(item).collect()
    }

    /// What a hello says of jobs.
    pub(super) fn jobs(&self) -> Vec<JobId> {
        self.jobs.iter().copied().collect()
    }

    /// What happens next happens at this time.
    pub(super) fn set_now(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    /// When the first task that was told to stop has had its time.
    pub(super) fn stop_deadline(&self, timeout: Option<Duration>) -> Option<Timestamp> {
        let (since, _) = self.stopping.first()?;
        Some(*since + timeout?)
    }

    /// Gives up on tasks that do not stop. Said once of each.
    pub(super) fn give_up(&mut self, timeout: Option<Duration>, effects: &mut Vec<Effect>) {
        while self.stop_deadline(timeout).is_some_and(|at| at <= self.now) {
            let (_, attempt) = self.stopping.pop_first().expect("there is a deadline");
            effects.push(Effect::GiveUp(attempt));
        }
    }

    /// An attempt has ended, or is of no interest any more.
    fn forget(&mut self, attempt: AttemptId) {
        let held = self.held.remove(&attempt);
        if let Some(since) = held.and_then(|held| held.stopping_since) {
            self.stopping.remove(&(since, attempt));
        }
    }

    /// Keeps what could not be said: a failure, so that its cause is not lost. The rest is in the
    /// inventory.
    pub(super) fn keep(&mut self, message: FromTaskManager) {
        if let FromTaskManager::TaskStates(changes) = message {
            let failed =
                |change: &TaskStateChange| matches!(change.report, TaskReport::Failed { .. });
            self.unsent.extend(changes.into_iter().filter(failed));
            let surplus = self.unsent.len().saturating_sub(UNSENT);
            self.unsent.drain(..surplus);
        }
    }

    /// What could not be said when it happened.
    pub(super) fn take_unsent(&mut self) -> Option<FromTaskManager> {
        let changes = core::mem::take(&mut self.unsent);
        (!changes.is_empty()).then_some(FromTaskManager::TaskStates(changes))
    }

    /// Stops everything.
    pub(super) fn cancel_all(&mut self, effects: &mut Vec<Effect>) {
        self.cancel_where(effects, |_| true);
    }

    /// A job has ended: what finished is forgotten, what still runs is stopped, and the job itself is
    /// forgotten when nothing of it runs any more and this is said again.
    pub(super) fn release(&mut self, job: JobId, effects: &mut Vec<Effect>) {
        self.held
            .retain(|id, held| id.job != job || held.state != ExecutionState::Finished);
        self.cancel_where(effects, |id| id.job == job);
        if self.of_job(job).next().is_none() {
            self.jobs.remove(&job);
        }
    }

    pub(super) fn deploy(&mut self, deployment: &Deployment, effects: &mut Vec<Effect>) {
        let mut changes = Vec::new();
        for task in &deployment.tasks {
            let attempt = AttemptId {
                job: deployment.job,
                task: task.task,
                attempt: deployment.attempt,
            };
            if let Some(report) = self.deploy_one(deployment, task, attempt, effects) {
                changes.push(TaskStateChange { attempt, report });
            }
        }
        if !changes.is_empty() {
            effects.push(Effect::Send(FromTaskManager::TaskStates(changes)));
        }
    }

    /// Starts one task, unless it is known or its successor is; tells what it is now.
    fn deploy_one(
        &mut self,
        deployment: &Deployment,
        task: &TaskDeployment,
        attempt: AttemptId,
        effects: &mut Vec<Effect>,
    ) -> Option<TaskReport> {
        if let Some(held) = self.held.get(&attempt) {
            return held.report();
        }
        let all = Attempt::default()..=Attempt {
            epoch: Epoch(u64::MAX),
            number: u32::MAX,
        };
        let of_task = AttemptId {
            attempt: *all.start(),
            ..attempt
        }..=AttemptId {
            attempt: *all.end(),
            ..attempt
        };
        let others: Vec<AttemptId> = self.held.range(of_task).map(|(id, _)| *id).collect();
        if others.iter().any(|other| other.attempt > attempt.attempt) {
            return Some(TaskReport::Canceled);
        }
        for earlier in others {
            self.cancel_one(earlier, effects);
        }
        if task.slot.0 >= self.slots {
            let cause = format!("there is no slot {} here, only {}", task.slot.0, self.slots);
            return Some(TaskReport::Failed { cause });
        }
        let held = Held {
            slot: task.slot,
            state: ExecutionState::Initializing,
            end_of_data: false,
            has_inputs: deployment.table.inputs(task.task.vertex).next().is_some(),
            restored: deployment.restore,
            stopping_since: None,
            triggered: None,
            acknowledged: BTreeSet::new(),
            completed: None,
        };
        self.held.insert(attempt, Kept::new(held));
        self.jobs.insert(attempt.job);
        effects.push(Effect::Start(TaskStart {
            attempt,
            slot: task.slot,
            table: deployment.table.clone(),
            restore: deployment.restore,
            end_of_data: task.end_of_data,
            state: task.state.clone(),
            finish: deployment.finish,
        }));
        Some(TaskReport::Initializing)
    }

    pub(super) fn cancel(
        &mut self,
        job: JobId,
        attempt: Attempt,
        tasks: Vec<TaskId>,
        effects: &mut Vec<Effect>,
    ) {
        let mut changes = Vec::new();
        for task in tasks {
            let id = AttemptId { job, task, attempt };
            if let Some(report) = self.cancel_one(id, effects) {
                changes.push(TaskStateChange {
                    attempt: id,
                    report,
                });
            }
        }
        if !changes.is_empty() {
            effects.push(Effect::Send(FromTaskManager::TaskStates(changes)));
        }
    }

    /// Stops one attempt; tells its terminal state if it has one already.
    fn cancel_one(&mut self, id: AttemptId, effects: &mut Vec<Effect>) -> Option<TaskReport> {
        let Some(held) = self.held.get_mut(&id) else {
            return Some(TaskReport::Canceled);
        };
        match held.state {
            ExecutionState::Finished => {
                self.held.remove(&id);
                Some(TaskReport::Finished)
            }
            ExecutionState::Canceling => None,
            ExecutionState::Created
            | ExecutionState::Scheduled
            | ExecutionState::Deploying
            | ExecutionState::Initializing
            | ExecutionState::Running
            | ExecutionState::Canceled
            | ExecutionState::Failed => {
                held.state = ExecutionState::Canceling;
                held.stopping_since = Some(self.now);
                self.stopping.insert((self.now, id));
                effects.push(Effect::Cancel(id));
                None
            }
        }
    }

    fn cancel_where(&mut self, effects: &mut Vec<Effect>, which: impl Fn(&AttemptId) -> bool) {
        let alive = |state| {
            matches!(
                state,
                ExecutionState::Initializing | ExecutionState::Running
            )
        };
        let held = self
            .held
            .iter()
            .filter(|(id, held)| alive(held.state) && which(id));
        let ids: Vec<AttemptId> = held.map(|(id, _)| *id).collect();
        for id in ids {
            self.cancel_one(id, effects);
        }
    }

    /// The attempts of the tasks that a message speaks of.
    fn concerned<'a>(
        &'a mut self,
        concerned: &'a Concerned,
    ) -> impl Iterator<Item = (AttemptId, &'a mut Kept<Held>)> {
        let named = |(id, _): &(AttemptId, _)| concerned.names(id.task);
        self.of_job(concerned.job).filter(named)
    }

    fn of_job(&mut self, job: JobId) -> impl Iterator<Item = (AttemptId, &mut Kept<Held>)> {
        let task = |index| TaskId {
            vertex: VertexIndex(index),
            subtask: SubtaskIndex(index),
        };
        let last = Attempt {
            epoch: Epoch(u64::MAX),
            number: u32::MAX,
        };
        let first = AttemptId {
            job,
            task: task(0),
            attempt: Attempt::default(),
        };
        let last = AttemptId {
            job,
            task: task(u32::MAX),
            attempt: last,
        };
        self.held
            .range_mut(first..=last)
            .map(|(id, held)| (*id, held))
    }

    pub(super) fn trigger(
        &mut self,
        concerned: &Concerned,
        checkpoint: CheckpointId,
        timestamp: Timestamp,
        savepoint: Option<SavepointOrder>,
        effects: &mut Vec<Effect>,
    ) {
        let concerned = self.concerned(concerned);
        for (attempt, held) in concerned.filter(|(_, held)| !held.has_inputs) {
            if held.triggered >= Some(checkpoint) {
                continue;
            }
            held.triggered = Some(checkpoint);
            if held.state == ExecutionState::Running {
                effects.push(Effect::Trigger {
                    attempt,
                    checkpoint,
                    timestamp,
                    savepoint: savepoint.clone(),
                });
            } else {
                let (reason, message) = (
                    DeclineReason::TaskNotReady,
                    format!("the task is {}", held.state),
                );
                effects.push(Effect::Send(FromTaskManager::Decline {
                    attempt,
                    checkpoint,
                    reason,
                    message,
                }));
            }
        }
    }

    pub(super) fn complete(
        &mut self,
        concerned: &Concerned,
        checkpoint: CheckpointId,
        finish: bool,
        effects: &mut Vec<Effect>,
    ) {
        for (attempt, held) in self.concerned(concerned) {
            let took_part = held.acknowledged.contains(&checkpoint)
                || held.restored == Some(checkpoint)
                || held.completed == Some(checkpoint);
            if held.state == ExecutionState::Running && took_part {
                held.acknowledged = held.acknowledged.split_off(&checkpoint.next());
                held.completed = Some(checkpoint);
                effects.push(Effect::Complete {
                    attempt,
                    checkpoint,
                    finish,
                });
            }
        }
    }

    pub(super) fn abort(
        &mut self,
        concerned: &Concerned,
        checkpoint: CheckpointId,
        effects: &mut Vec<Effect>,
    ) {
        for (attempt, held) in self.concerned(concerned) {
            if matches!(
                held.state,
                ExecutionState::Initializing | ExecutionState::Running
            ) {
                held.acknowledged.remove(&checkpoint);
                effects.push(Effect::Abort {
                    attempt,
                    checkpoint,
                });
            }
        }
    }

    pub(super) fn resume(
        &mut self,
        concerned: &Concerned,
        completed: Option<CheckpointId>,
        aborted_below: CheckpointId,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(checkpoint) = completed {
            self.complete(concerned, checkpoint, false, effects);
        }
        for (attempt, held) in self.concerned(concerned) {
            if matches!(
                held.state,
                ExecutionState::Initializing | ExecutionState::Running
            ) {
                held.acknowledged = held.acknowledged.split_off(&aborted_below);
                effects.push(Effect::AbortBelow {
                    attempt,
                    next: aborted_below,
                });
            }
        }
    }

    /// A task did something; tells what is to be said of it.
    pub(super) fn task(&mut self, attempt: AttemptId, event: TaskEvent) -> Option<FromTaskManager> {
        let held = self.held.get_mut(&attempt)?;
        let alive = matches!(
            held.state,
            ExecutionState::Initializing | ExecutionState::Running
        );
        Some(match event {
            TaskEvent::Running if held.state == ExecutionState::Initializing => {
                held.state = ExecutionState::Running;
                state_change(attempt, TaskReport::Running)
            }
            TaskEvent::EndOfData if alive => {
                held.end_of_data = true;
                state_change(attempt, TaskReport::EndOfData)
            }
            TaskEvent::Finished => {
                if alive {
                    held.state = ExecutionState::Finished;
                } else {
                    self.forget(attempt);
                }
                state_change(attempt, TaskReport::Finished)
            }
            TaskEvent::Canceled => {
                self.forget(attempt);
                state_change(attempt, TaskReport::Canceled)
            }
            TaskEvent::Failed { cause } => {
                self.forget(attempt);
                state_change(attempt, TaskReport::Failed { cause })
            }
            TaskEvent::Snapshotted { checkpoint, state } if alive => {
                held.acknowledged.insert(checkpoint);
                if held.acknowledged.len() > ACKNOWLEDGED {
                    held.acknowledged.pop_first();
                }
                FromTaskManager::Acknowledge(Acknowledgement {
                    attempt,
                    checkpoint,
                    state,
                })
            }
            TaskEvent::Declined {
                checkpoint,
                reason,
                message,
            } if alive => FromTaskManager::Decline {
                attempt,
                checkpoint,
                reason,
                message,
            },
            TaskEvent::Running
            | TaskEvent::EndOfData
            | TaskEvent::Snapshotted { .. }
            | TaskEvent::Declined { .. } => return None,
        })
    }
}

impl Held {
    /// What a repeated deployment is answered with.
    fn report(&self) -> Option<TaskReport> {
        match self.state {
            ExecutionState::Initializing => Some(TaskReport::Initializing),
            ExecutionState::Running if self.end_of_data => Some(TaskReport::EndOfData),
            ExecutionState::Running => Some(TaskReport::Running),
            ExecutionState::Finished => Some(TaskReport::Finished),
            ExecutionState::Created
            | ExecutionState::Scheduled
            | ExecutionState::Deploying
            | ExecutionState::Canceling
            | ExecutionState::Canceled
            | ExecutionState::Failed => None,
        }
    }
}

fn state_change(attempt: AttemptId, report: TaskReport) -> FromTaskManager {
    FromTaskManager::TaskStates(Vec::from([TaskStateChange { attempt, report }]))
}

//! What the model foresees a coordinator to order: effects without what only people read, and without
//! where tasks are placed.

use super::priorities::Line;
use jobmanager_core::id::{
    Attempt, AttemptId, CheckpointId, Epoch, JobId, RequestId, SessionId, TaskId, TriggerId,
    VertexIndex, WorkerId,
};
use jobmanager_core::jobmanager::{Coordinator, Discard, Effect, Reply};
use jobmanager_core::message::{
    AfterSavepoint, SavepointOrder, TaskReport, TaskStateChange, ToTaskManager,
};
use jobmanager_core::record::{Bounds, CheckpointRecord, Record, RecordKey, RecordOp, Scale};
use jobmanager_core::savepoint::SubtaskSnapshot;
use jobmanager_core::state::{ExecutionState, JobStatus};
use jobmanager_core::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Attempt numbers from here on are not adopted.
const MAX_ATTEMPT: u32 = 1 << 30;

/// An effect.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Order {
    Welcome(SessionId),
    Refuse(SessionId),
    Ask(SessionId),
    Disconnect(SessionId),
    Cancel(SessionId, JobId, Attempt, Vec<TaskId>),
    Trigger(SessionId, JobId, Vec<TaskId>, CheckpointId),
    Complete(SessionId, JobId, Vec<TaskId>, CheckpointId, bool),
    Aborted(SessionId, JobId, Vec<TaskId>, CheckpointId),
    Resume(
        SessionId,
        JobId,
        Vec<TaskId>,
        Option<CheckpointId>,
        CheckpointId,
    ),
    /// The trigger of a savepoint, with its location.
    Savepoint(
        SessionId,
        JobId,
        Vec<TaskId>,
        CheckpointId,
        String,
        AfterSavepoint,
    ),
    /// Where, and what each task has in it.
    WriteSavepoint(String, Vec<SubtaskSnapshot>),
    Release(SessionId, JobId),
    Dismiss(SessionId),
    Reply(RequestId, Reply),
    Store(Vec<Write>),
    Discard(Discard),
    StepDown,
    RequestWorkers(Vec<WorkerId>),
    ReleaseWorker(WorkerId),
}

/// One change of what is durable.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Write {
    Job(JobId),
    Cancel(JobId),
    Rescale(JobId, Vec<Bounds>),
    /// A job with another parallelism, from this attempt on.
    Rescaled(JobId, Scale),
    Mark(JobId, CheckpointId),
    Checkpoint(Arc<CheckpointRecord>),
    Savepoint(JobId, TriggerId, Fate),
    /// With where its last checkpoint is, if that is said to outlive it.
    Result(JobId, JobStatus, Option<String>),
    Delete(RecordKey),
}

/// What becomes of a savepoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Wanted,
    Completed(CheckpointId),
    Failed,
}

impl Order {
    /// The effect as the model would foresee it; nothing for a deployment, which is looked at apart.
    pub(super) fn of(effect: &Effect) -> Option<Order> {
        Some(match effect {
            Effect::Send { session, message } => Order::said(*session, &message.message)?,
            Effect::Disconnect { session } => Order::Disconnect(*session),
            Effect::Reply { request, reply } => Order::Reply(*request, reply.clone()),
            Effect::Store { ops, .. } => Order::Store(ops.iter().map(Write::of).collect()),
            Effect::WriteSavepoint {
                location,
                savepoint,
            } => {
                let subtasks = savepoint.operators.iter().flat_map(|it| &it.subtasks);
                Order::WriteSavepoint(location.clone(), subtasks.cloned().collect())
            }
            Effect::Discard(discard) => Order::Discard(discard.clone()),
            Effect::RequestWorkers { workers } => Order::RequestWorkers(workers.clone()),
            Effect::ReleaseWorker { worker } => Order::ReleaseWorker(*worker),
            Effect::StepDown { .. } => Order::StepDown,
        })
    }

    fn said(on: SessionId, message: &ToTaskManager) -> Option<Order> {
        Some(match message {
            ToTaskManager::Welcome(_) => Order::Welcome(on),
            ToTaskManager::Refused(_) => Order::Refuse(on),
            ToTaskManager::Heartbeat { .. } => Order::Ask(on),
            ToTaskManager::Deploy(_) => return None,
            ToTaskManager::Cancel {
                job,
                attempt,
                tasks,
            } => Order::Cancel(on, *job, *attempt, tasks.clone()),
            ToTaskManager::TriggerCheckpoint {
                job,
                tasks,
                checkpoint,
                savepoint,
                ..
            } => match savepoint {
                None => Order::Trigger(on, *job, tasks.clone(), *checkpoint),
                Some(SavepointOrder { location, after }) => {
                    let (tasks, location) = (tasks.clone(), location.clone());
                    Order::Savepoint(on, *job, tasks, *checkpoint, location, *after)
                }
            },
            ToTaskManager::NotifyComplete {
                job,
                tasks,
                checkpoint,
                finish,
            } => Order::Complete(on, *job, tasks.clone(), *checkpoint, *finish),
            ToTaskManager::NotifyAborted {
                job,
                tasks,
                checkpoint,
            } => Order::Aborted(on, *job, tasks.clone(), *checkpoint),
            ToTaskManager::Resume {
                job,
                tasks,
                completed,
                aborted_below,
            } => Order::Resume(on, *job, tasks.clone(), *completed, *aborted_below),
            ToTaskManager::ReleaseJob { job } => Order::Release(on, *job),
            ToTaskManager::Dismissed => Order::Dismiss(on),
        })
    }
}

impl Write {
    fn of(op: &RecordOp) -> Write {
        match op {
            RecordOp::Put(Record::Job(job)) => match &job.scale {
                None => Write::Job(job.graph.id()),
                Some(scale) => Write::Rescaled(job.graph.id(), scale.clone()),
            },
            RecordOp::Put(Record::Rescale(record)) => {
                Write::Rescale(record.job, record.bounds.clone())
            }
            RecordOp::Put(Record::Cancel(job)) => Write::Cancel(*job),
            RecordOp::Put(Record::CheckpointMark { job, next }) => Write::Mark(*job, *next),
            RecordOp::Put(Record::Checkpoint(record)) => Write::Checkpoint(record.clone()),
            RecordOp::Put(Record::Savepoint(record)) => {
                let fate = match record.outcome.as_ref().map(|outcome| &outcome.result) {
                    None => Fate::Wanted,
                    Some(Ok(completed)) => Fate::Completed(completed.checkpoint),
                    Some(Err(_)) => Fate::Failed,
                };
                Write::Savepoint(record.job, record.trigger, fate)
            }
            RecordOp::Put(Record::Result(result)) => {
                let retained = result.retained.as_ref();
                let location = retained.map(|retained| retained.location.clone());
                Write::Result(result.job, result.status, location)
            }
            RecordOp::Delete(key) => Write::Delete(*key),
        }
    }
}

/// What the model asks the coordinator about where only its random draw decides.
pub(super) struct Hints<'a>(pub(super) &'a Coordinator);

impl Hints<'_> {
    /// How many restarts it has counted; nothing if the job has ended.
    pub(super) fn restarts(&self, job: JobId) -> Option<u64> {
        let details = self.0.job(job)?;
        details.graph.is_some().then_some(details.restarts)
    }

    /// Whether it has given the job up: the failure that was too much is not among the restarts.
    pub(super) fn has_given_up(&self, job: JobId) -> bool {
        let status = self.0.job(job).map(|details| details.summary.status);
        matches!(status, Some(JobStatus::Failing | JobStatus::Failed))
    }

    /// Whether the task waits for a slot, or is beyond that.
    pub(super) fn is_scheduled(&self, job: JobId, task: TaskId) -> bool {
        let VertexIndex(vertex) = task.vertex;
        let subtasks = self.0.subtasks(job, VertexIndex(vertex));
        let state = subtasks.and_then(|all| Some(all.get(task.subtask.0 as usize)?.state));
        state.is_some_and(|state| {
            matches!(state, ExecutionState::Scheduled | ExecutionState::Deploying)
        })
    }
}

/// What a job of the model uses beside itself.
pub(super) struct Room<'a> {
    pub(super) now: Timestamp,
    pub(super) epoch: Epoch,
    /// How many slots can be given to tasks.
    pub(super) free_slots: usize,
    /// The sessions of TaskManagers that leave, and when these end.
    pub(super) leaving: BTreeMap<SessionId, Timestamp>,
    /// How many slots one job gets.
    pub(super) max_slots: u32,
    /// What is left to jobs of a higher priority.
    pub(super) line: &'a Line,
    pub(super) promised: &'a mut BTreeMap<JobId, usize>,
    pub(super) hints: Hints<'a>,
    pub(super) orders: &'a mut Vec<Order>,
    /// Writes to be queued, each all or nothing.
    pub(super) writes: &'a mut Vec<Vec<Write>>,
}

impl Room<'_> {
    /// How many slots are promised to other jobs than this one.
    pub(super) fn promised_to_others(&self, job: JobId) -> usize {
        let others = self.promised.iter().filter(|(other, _)| **other != job);
        others.map(|(_, slots)| slots).sum()
    }

    /// Whether an earlier coordinator may have minted the attempt.
    pub(super) fn is_earlier(&self, attempt: Attempt) -> bool {
        attempt.epoch < self.epoch && attempt.number < MAX_ATTEMPT
    }

    /// A task that is not wanted and still runs is told to stop.
    pub(super) fn stop_stranger(&mut self, on: SessionId, change: &TaskStateChange) {
        match change.report {
            TaskReport::Initializing | TaskReport::Running | TaskReport::EndOfData => {
                let AttemptId { job, task, attempt } = change.attempt;
                self.orders
                    .push(Order::Cancel(on, job, attempt, vec![task]));
            }
            TaskReport::Finished | TaskReport::Canceled | TaskReport::Failed { .. } => {}
        }
    }
}

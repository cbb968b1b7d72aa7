//! What is worth a mark, seen from outside: in what the current coordinator hears, orders and shows.

mod named;

use crate::marks::Mark;
use crate::plan::job::JobPlan;
use crate::world::World;
use crate::world::event::Instance;
use jobmanager_core::id::{CheckpointId, JobId, SubtaskIndex, TaskId, VertexIndex};
use jobmanager_core::jobmanager::{CheckpointOutcome, Effect, Input, JobLine};
use jobmanager_core::message::{
    Acknowledgement, FromTaskManager, TaskReport, TaskStateChange, ToTaskManager,
};
use jobmanager_core::record::{Record, RecordOp};
use jobmanager_core::state::{ExecutionState, JobStatus};
use std::collections::{BTreeMap, BTreeSet};

/// Acknowledgements of so many checkpoints are remembered per job: late ones come soon or never.
const REMEMBERED: usize = 8;

/// What was seen of a job.
#[derive(Default)]
struct Seen {
    slots: u32,
    tasks: BTreeSet<TaskId>,
    status: Option<JobStatus>,
    pending: BTreeSet<CheckpointId>,
    acknowledged: BTreeMap<CheckpointId, BTreeSet<TaskId>>,
    /// Tasks that failed and were not deployed again.
    failed: BTreeSet<TaskId>,
    /// These, and those that were told to stop because of them.
    restarting: BTreeSet<TaskId>,
}

/// What was seen of all jobs.
#[derive(Default)]
pub(crate) struct Sightings {
    jobs: BTreeMap<JobId, Seen>,
    by: Option<Instance>,
    /// Slots are missing that were there before.
    short: bool,
    had_enough: bool,
}

impl Sightings {
    pub(crate) fn new(plans: &[JobPlan]) -> Self {
        let seen = |plan: &JobPlan| {
            let mut tasks = BTreeSet::new();
            for (vertex, plan) in (0..).map(VertexIndex).zip(&plan.vertices) {
                let subtasks = (0..plan.parallelism).map(SubtaskIndex);
                tasks.extend(subtasks.map(|subtask| TaskId { vertex, subtask }));
            }
            let seen = Seen {
                slots: plan.slots(),
                tasks,
                ..Seen::default()
            };
            (plan.id, seen)
        };
        Sightings {
            jobs: plans.iter().map(seen).collect(),
            ..Sightings::default()
        }
    }
}

impl World {
    /// A coordinator is about to hear this.
    pub(crate) fn sight_input(&mut self, instance: Instance, input: &Input) {
        if self.current != Some(instance) {
            return;
        }
        if self.sightings.by.replace(instance) != Some(instance) {
            for seen in self.sightings.jobs.values_mut() {
                seen.pending.clear();
                seen.failed.clear();
                seen.restarting.clear();
            }
        }
        let Input::Message { message, .. } = input else {
            return;
        };
        match message {
            FromTaskManager::Acknowledge(ack) => self.sight_acknowledgement(ack),
            FromTaskManager::TaskStates(changes) => {
                for change in changes {
                    self.sight_change(change);
                }
            }
            FromTaskManager::Heartbeat { .. } | FromTaskManager::Decline { .. } => {}
        }
    }

    fn sight_acknowledgement(&mut self, ack: &Acknowledgement) {
        let aborted = !self.checks.is_completed(ack.attempt.job, ack.checkpoint);
        let Some(seen) = self.sightings.jobs.get_mut(&ack.attempt.job) else {
            return;
        };
        let acknowledged = seen.acknowledged.entry(ack.checkpoint).or_default();
        let new = acknowledged.insert(ack.attempt.task);
        if new && aborted && !seen.failed.is_empty() {
            let others = seen.failed.iter().filter(|t| !acknowledged.contains(t));
            if acknowledged.len() + others.count() == seen.tasks.len() {
                self.marks.hit(Mark::LastAckAfterMemberFailed);
            }
        }
        let one_is_missing = new && acknowledged.len() + 1 == seen.tasks.len();
        let missing = seen.tasks.difference(acknowledged).next().copied();
        if seen.acknowledged.len() > REMEMBERED {
            seen.acknowledged.pop_first();
        }
        if let Some(missing) = missing.filter(|_| one_is_missing) {
            self.one_acknowledgement_is_missing(ack.attempt.job, missing);
        }
    }

    fn sight_change(&mut self, change: &TaskStateChange) {
        if !self.checks.is_current(change.attempt) {
            return;
        }
        let Some(seen) = self.sightings.jobs.get_mut(&change.attempt.job) else {
            return;
        };
        let task = change.attempt.task;
        match &change.report {
            TaskReport::Failed { .. } => {
                if !seen.restarting.is_empty() && !seen.restarting.contains(&task) {
                    self.marks.hit(Mark::FailureDuringOtherRestart);
                }
                seen.failed.insert(task);
                seen.restarting.insert(task);
            }
            TaskReport::Finished => {
                let recovers = seen.status == Some(JobStatus::Reconciling);
                if recovers || (!seen.restarting.is_empty() && !seen.restarting.contains(&task)) {
                    self.marks.hit(Mark::FinishedDuringFailover);
                }
            }
            TaskReport::Initializing
            | TaskReport::Running
            | TaskReport::EndOfData
            | TaskReport::Canceled => {}
        }
    }

    /// A coordinator orders this.
    pub(crate) fn sight_effect(&mut self, instance: Instance, effect: &Effect) {
        if self.current != Some(instance) {
            return;
        }
        match effect {
            Effect::Send { message, .. } => self.sight_order(instance, &message.message),
            Effect::Store { ops, .. } => {
                for op in ops {
                    if let RecordOp::Put(Record::Checkpoint(record)) = op {
                        self.sight_completion(record.job, record.id);
                    }
                }
            }
            Effect::Reply { .. }
            | Effect::Disconnect { .. }
            | Effect::Discard(_)
            | Effect::StepDown { .. } => {}
        }
    }

    fn sight_order(&mut self, instance: Instance, message: &ToTaskManager) {
        let jobs = &mut self.sightings.jobs;
        match message {
            ToTaskManager::Deploy(deployment) => {
                if let Some(seen) = jobs.get_mut(&deployment.job) {
                    for task in &deployment.tasks {
                        seen.failed.remove(&task.task);
                        seen.restarting.remove(&task.task);
                    }
                }
            }
            ToTaskManager::Cancel { job, tasks, .. } => {
                if let Some(seen) = jobs.get_mut(job) {
                    seen.restarting.extend(tasks);
                }
            }
            ToTaskManager::TriggerCheckpoint {
                job, checkpoint, ..
            } => {
                if let Some(seen) = jobs.get_mut(job) {
                    seen.pending.insert(*checkpoint);
                }
            }
            ToTaskManager::NotifyAborted { job, checkpoint } => {
                let seen = jobs.get_mut(job);
                let ended = seen.is_some_and(|seen| seen.pending.remove(checkpoint));
                if ended {
                    self.sight_abort(instance, *job);
                }
            }
            ToTaskManager::Welcome(_)
            | ToTaskManager::Refused(_)
            | ToTaskManager::Heartbeat { .. }
            | ToTaskManager::NotifyComplete { .. }
            | ToTaskManager::Resume { .. }
            | ToTaskManager::ReleaseJob { .. } => {}
        }
    }

    fn sight_abort(&mut self, instance: Instance, job: JobId) {
        let node = self.jobmanagers.get(&instance);
        let coordinator = node.and_then(|node| node.coordinator.as_ref());
        let details = coordinator.and_then(|coordinator| coordinator.checkpoints(job));
        let failed = details.and_then(|details| details.latest_failed);
        if let Some(CheckpointOutcome::Failed { reason, .. }) = failed.map(|entry| entry.outcome)
            && reason.starts_with("CHECKPOINT_EXPIRED")
        {
            self.marks.hit(Mark::CheckpointExpired);
        }
    }

    fn sight_completion(&mut self, job: JobId, checkpoint: CheckpointId) {
        let Some(seen) = self.sightings.jobs.get_mut(&job) else {
            return;
        };
        if seen.pending.first().is_some_and(|id| *id < checkpoint) {
            self.marks.hit(Mark::CheckpointOvertaken);
        }
        seen.pending.retain(|id| *id > checkpoint);
    }

    /// What clients would see of the jobs, with so many slots registered.
    pub(crate) fn sight_jobs(&mut self, slots: u32, jobs: &[JobLine]) {
        let mut waiting = 0;
        let mut needed = 0;
        let mut changed = Vec::new();
        for job in jobs {
            let Some(seen) = self.sightings.jobs.get_mut(&job.id) else {
                continue;
            };
            waiting += u32::from(job.tasks.get(ExecutionState::Scheduled) > 0);
            if !job.status.is_terminal() {
                needed += seen.slots;
            }
            if seen.status.replace(job.status) != Some(job.status) {
                changed.push((job.id, job.status));
            }
        }
        if waiting >= 2 && slots > 0 {
            self.marks.hit(Mark::JobsContendForSlots);
        }
        let enough = slots >= needed;
        let sightings = &mut self.sightings;
        if needed > 0 {
            sightings.short |= sightings.had_enough && !enough;
            sightings.had_enough = enough;
        }
        if sightings.short && enough && waiting == 0 {
            sightings.short = false;
            self.marks.hit(Mark::SlotsReturned);
        }
        for (job, status) in changed {
            self.job_became(job, status);
        }
    }
}

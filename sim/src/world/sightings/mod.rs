//! What is worth a mark, seen from outside: in what the current coordinator hears, orders and shows.

mod named;

use crate::marks::Mark;
use crate::plan::Sight;
use crate::plan::job::JobPlan;
use crate::world::World;
use crate::world::event::Instance;
use jobmanager_core::id::{CheckpointId, JobId, TaskId};
use jobmanager_core::jobmanager::{CheckpointOutcome, Effect, Input, JobLine};
use jobmanager_core::message::{
    Acknowledgement, FromTaskManager, TaskReport, TaskStateChange, ToTaskManager,
};
use jobmanager_core::record::{CheckpointRecord, Record, RecordOp, RegionSnapshot};
use jobmanager_core::state::{ExecutionState, JobStatus};
use std::collections::{BTreeMap, BTreeSet};

/// Acknowledgements of so many checkpoints are remembered per job: late ones come soon or never.
const REMEMBERED: usize = 8;

/// What was seen of a job.
#[derive(Default)]
struct Seen {
    slots: u32,
    status: Option<JobStatus>,
    /// What regions have under way.
    pending: BTreeSet<(usize, CheckpointId)>,
    /// Those of them that go on although another region's part in the same checkpoint was lost.
    spared: BTreeSet<(usize, CheckpointId)>,
    acknowledged: BTreeMap<CheckpointId, BTreeSet<TaskId>>,
    /// Tasks that failed and were not deployed again.
    failed: BTreeSet<TaskId>,
    /// These, and those that were told to stop because of them.
    restarting: BTreeSet<TaskId>,
    /// As which checkpoints the savepoint was tried that has no outcome yet.
    tries: BTreeSet<CheckpointId>,
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
            let seen = Seen {
                slots: plan.slots(),
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

impl Seen {
    /// These regions have failed: what they had under way is over, what others have is not.
    fn loses(&mut self, regions: &BTreeSet<usize>) {
        let of = |(region, _): &&(usize, CheckpointId)| regions.contains(region);
        let lost: BTreeSet<CheckpointId> = self.pending.iter().filter(of).map(|it| it.1).collect();
        self.pending.retain(|part| !of(&part));
        self.spared.retain(|part| !of(&part));
        let spared = self.pending.iter().filter(|(_, id)| lost.contains(id));
        self.spared.extend(spared.copied());
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
                seen.spared.clear();
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
            FromTaskManager::Heartbeat { .. }
            | FromTaskManager::Leave { .. }
            | FromTaskManager::Decline { .. } => {}
        }
    }

    fn sight_acknowledgement(&mut self, ack: &Acknowledgement) {
        let (job, task) = (ack.attempt.job, ack.attempt.task);
        let aborted = !self.checks.is_completed(job, task, ack.checkpoint);
        let members = self.checks.region_of(job, task);
        let Some(seen) = self.sightings.jobs.get_mut(&job) else {
            return;
        };
        let acknowledged = seen.acknowledged.entry(ack.checkpoint).or_default();
        let new = acknowledged.insert(task);
        let missing: Vec<TaskId> = members.difference(acknowledged).copied().collect();
        let failed = |task: &TaskId| seen.failed.contains(task);
        if new && aborted && members.iter().any(failed) && missing.iter().all(failed) {
            self.marks.hit(Mark::LastAckAfterMemberFailed);
        }
        if seen.acknowledged.len() > REMEMBERED {
            seen.acknowledged.pop_first();
        }
        if let ([missing], true) = (missing.as_slice(), new) {
            self.one_acknowledgement_is_missing(job, *missing);
        }
    }

    fn sight_change(&mut self, change: &TaskStateChange) {
        if !self.checks.is_current(change.attempt) {
            return;
        }
        let task = change.attempt.task;
        let regions = self.checks.named(change.attempt.job, &[task]);
        let Some(seen) = self.sightings.jobs.get_mut(&change.attempt.job) else {
            return;
        };
        match &change.report {
            TaskReport::Failed { .. } => {
                if !seen.restarting.is_empty() && !seen.restarting.contains(&task) {
                    self.marks.hit(Mark::FailureDuringOtherRestart);
                }
                seen.failed.insert(task);
                seen.restarting.insert(task);
                seen.loses(&regions);
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
                        self.sight_completion(record);
                    }
                }
            }
            Effect::Reply { .. }
            | Effect::Disconnect { .. }
            | Effect::Discard(_)
            | Effect::WriteSavepoint { .. }
            | Effect::RequestWorkers { .. }
            | Effect::StepDown { .. } => {}
            Effect::ReleaseWorker { worker } => self.sight_release(*worker),
        }
    }

    fn sight_order(&mut self, instance: Instance, message: &ToTaskManager) {
        let checks = &self.checks;
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
                job,
                tasks,
                checkpoint,
                savepoint,
                ..
            } => {
                if let Some(seen) = jobs.get_mut(job) {
                    let regions = checks.named(*job, tasks).into_iter();
                    seen.pending.extend(regions.map(|it| (it, *checkpoint)));
                    seen.tries.extend(savepoint.as_ref().map(|_| *checkpoint));
                }
            }
            ToTaskManager::NotifyAborted {
                job,
                tasks,
                checkpoint,
            } => {
                let mut ended = false;
                if let Some(seen) = jobs.get_mut(job) {
                    for region in checks.named(*job, tasks) {
                        ended |= seen.pending.remove(&(region, *checkpoint));
                        seen.spared.remove(&(region, *checkpoint));
                    }
                }
                if ended {
                    self.sight_abort(instance, *job);
                }
            }
            ToTaskManager::Welcome(_)
            | ToTaskManager::Refused(_)
            | ToTaskManager::Heartbeat { .. }
            | ToTaskManager::NotifyComplete { .. }
            | ToTaskManager::Resume { .. }
            | ToTaskManager::ReleaseJob { .. }
            | ToTaskManager::Dismissed => {}
        }
    }

    fn sight_abort(&mut self, instance: Instance, job: JobId) {
        let node = self.jobmanagers.get(&instance);
        let coordinator = node.and_then(|node| node.coordinator.as_ref());
        let details = coordinator.and_then(|coordinator| coordinator.checkpoints(job));
        let Some(failed) = details.and_then(|details| details.latest_failed) else {
            return;
        };
        if let CheckpointOutcome::Failed { at, reason } = &failed.outcome
            && reason.starts_with("CHECKPOINT_EXPIRED")
        {
            self.marks.hit(Mark::CheckpointExpired);
            let timeout = self.checks.rules(job).map(|rules| rules.timeout);
            let last = failed.latest_ack.unwrap_or(failed.triggered);
            if timeout.is_some_and(|timeout| last + timeout > *at) {
                self.marks.hit(Mark::TimeRanOutAmidAcknowledgements);
            }
        }
    }

    fn sight_completion(&mut self, record: &CheckpointRecord) {
        if self.checks.is_written_again(record) {
            self.marks.hit(Mark::RecordWrittenAgain);
        }
        if self.checks.completes_later(record) {
            self.marks.hit(Mark::RegionsCompleteApart);
        }
        let rules = self.checks.rules(record.job);
        let patient = rules.filter(|rules| rules.longest > rules.timeout);
        let is_own = |region: &RegionSnapshot| region.checkpoint == record.id;
        if patient.is_some_and(|rules| record.triggered + rules.timeout < record.completed)
            && record.regions.iter().flatten().all(is_own)
        {
            self.marks.hit(Mark::AcknowledgementsGaveTime);
        }
        let Some(seen) = self.sightings.jobs.get_mut(&record.job) else {
            return;
        };
        let snapshot = |region: usize| record.regions.get(region).copied().flatten();
        let latest = |region| snapshot(region).map(|snapshot| snapshot.checkpoint);
        let mut pending = seen.pending.iter();
        if pending.any(|(region, id)| Some(*id) < latest(*region)) {
            self.marks.hit(Mark::CheckpointOvertaken);
        }
        let mut spared = seen.spared.iter();
        if spared.any(|(region, id)| Some(*id) == latest(*region)) {
            self.marks.hit(Mark::PartOutlivesAnother);
        }
        let stays = |(region, id): &(usize, CheckpointId)| Some(*id) > latest(*region);
        seen.pending.retain(stays);
        seen.spared.retain(stays);
    }

    /// A savepoint has its outcome.
    pub(crate) fn sight_savepoint(&mut self, job: JobId) {
        let Some(seen) = self.sightings.jobs.get_mut(&job) else {
            return;
        };
        if std::mem::take(&mut seen.tries).len() > 1 {
            self.marks.hit(Mark::SavepointTriedAgain);
        }
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
            self.clients_see(job, Sight::Status(status));
        }
    }
}

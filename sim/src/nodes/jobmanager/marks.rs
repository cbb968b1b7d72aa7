//! What a JobManager process shows to have been reached.

use super::terms::about;
use crate::marks::Mark;
use crate::plan::{JobPlan, Sight};
use crate::world::World;
use crate::world::event::Instance;
use jobmanager_core::id::{CheckpointId, JobId, TaskId};
use jobmanager_core::jobmanager::{Coordinator, Input, JobLine};
use jobmanager_core::message::{Deployment, FromTaskManager, Hello, ToTaskManager};
use jobmanager_core::state::{ExecutionState, JobStatus};

impl World {
    pub(super) fn mark_acknowledgement(&mut self, input: &Input) {
        let Input::Message { message, .. } = input else {
            return;
        };
        match message {
            FromTaskManager::Acknowledge(ack) => {
                if !self.checks.is_current(ack.attempt) {
                    self.marks.hit(Mark::StaleAcknowledgement);
                }
                if self
                    .checks
                    .is_aborted(ack.attempt.job, ack.attempt.task, ack.checkpoint)
                {
                    self.marks.hit(Mark::LateAcknowledgement);
                }
            }
            FromTaskManager::Decline { .. } => self.marks.hit(Mark::CheckpointDeclined),
            FromTaskManager::Heartbeat { .. }
            | FromTaskManager::Leave { .. }
            | FromTaskManager::TaskStates(_) => {}
        }
    }

    /// A TaskManager registers with what it has.
    pub(super) fn mark_inventory(&mut self, instance: Instance, hello: &Hello) {
        if hello.inventory.is_empty() {
            return;
        }
        self.marks.hit(Mark::ReconnectedWithInventory);
        if hello.leaves_within.is_some() {
            self.marks.hit(Mark::LeaveGoesOn);
        }
        let node = self.jobmanagers.get(&instance);
        let coordinator = node.and_then(|node| node.coordinator.as_ref());
        let left_behind = hello.inventory.iter().any(|item| {
            let job = coordinator.and_then(|coordinator| coordinator.job(item.attempt.job));
            let waits = job.is_some_and(|job| job.summary.status == JobStatus::Reconciling);
            waits && self.checks.is_left_behind(item.attempt)
        });
        if left_behind {
            self.marks.hit(Mark::LeftBehindAttemptReported);
        }
    }

    fn mark_resume(
        &mut self,
        job: JobId,
        tasks: &[TaskId],
        completed: Option<CheckpointId>,
        below: CheckpointId,
    ) {
        let mut regions = self.checks.named(job, tasks).into_iter();
        let announced = |region| self.election.announced.get(&(job, region)).copied();
        if regions.any(|region| completed > announced(region)) {
            self.marks.hit(Mark::CompletedByNextLeader);
        }
        let first = completed.map_or(CheckpointId(1), CheckpointId::next);
        if self.checks.last_triggered(job) >= Some(first) && first < below {
            self.marks.hit(Mark::AbortedByNextLeader);
        }
    }

    /// A new leader knows everything that is stored: what was the old one about?
    pub(super) fn mark_leader(&mut self, instance: Instance) {
        let mut left = std::mem::take(&mut self.election.left_behind);
        for (other, node) in &self.jobmanagers {
            let coordinator = node.coordinator.as_ref().filter(|_| *other != instance);
            if let Some(about) = coordinator.map(about) {
                left.statuses.extend(about.statuses);
                left.checkpoint_pending |= about.checkpoint_pending;
            }
        }
        if left.checkpoint_pending {
            self.marks.hit(Mark::ElectedDuringCheckpoint);
        }
        for status in left.statuses {
            if let Some(mark) = elected_while(status) {
                self.marks.hit(mark);
            }
        }
        if self.checks.has_rescaled() {
            self.marks.hit(Mark::ElectedAfterRescale);
        }
        let since = self.election.leaderless_since.take().unwrap_or(self.now);
        let timeout = self.options.cluster.heartbeat_timeout.as_micros();
        if u128::from(self.now - since) > timeout {
            self.marks.hit(Mark::NobodyLedForLong);
        }
    }

    /// A term has ended.
    pub(super) fn mark_end(&mut self, instance: Instance, coordinator: Option<&Coordinator>) {
        let mut writes = self.store.under_way();
        if writes.any(|write| write.instance == instance) {
            self.marks.hit(Mark::LeaderDiesDuringWrite);
        }
        if coordinator.is_some_and(|coordinator| about(coordinator).checkpoint_pending) {
            self.marks.hit(Mark::LeaderDiesWithCheckpointPending);
        }
    }

    /// Looks at what clients would see now.
    pub(super) fn look(&mut self, instance: Instance) {
        let Some(node) = self.jobmanagers.get_mut(&instance) else {
            return;
        };
        let Some(coordinator) = &node.coordinator else {
            return;
        };
        let jobs: Vec<_> = coordinator.lines().collect();
        let slots = coordinator.slots();
        let registered = slots.taskmanagers;
        let lost = node.had_taskmanagers && registered == 0;
        node.had_taskmanagers = registered > 0;
        if lost {
            self.marks.hit(Mark::AllTaskManagersLost);
        }
        self.sight_jobs(slots.total, &jobs);
        self.sight_priorities(slots.free, &jobs);
        for job in jobs {
            if job.tasks.get(ExecutionState::Scheduled) > 0 {
                self.marks.hit(Mark::WaitedForSlots);
            }
            if job.status == JobStatus::Failed && self.survives_some(job.id) {
                self.marks.hit(Mark::FailuresUsedUp);
            }
            let verdict = self.checks.status(instance, &job);
            self.verdict(verdict);
        }
    }

    /// A job that has not run waits although there are slots enough for it: others go first.
    fn sight_priorities(&mut self, free: u32, lines: &[JobLine]) {
        let waits = |id: JobId| {
            let line = lines.iter().find(|line| line.id == id);
            line.is_some_and(|line| line.tasks.get(ExecutionState::Scheduled) > 0)
        };
        let waiting = || self.options.jobs.iter().filter(|job| waits(job.id));
        let first = waiting().map(JobPlan::priority).max();
        let left = |job: &JobPlan| Some(job.priority()) < first && job.slots() <= free;
        if waiting().any(left) {
            self.marks.hit(Mark::LeftToHigherPriority);
        }
        let most = self.options.cluster.max_slots_per_job;
        let too_large = |line: &&JobLine| {
            let plan = self.options.jobs.iter().find(|job| job.id == line.id);
            plan.is_some_and(|plan| plan.slots() > most)
        };
        let runs = |line: &JobLine| line.tasks.get(ExecutionState::Running) > 0;
        if lines.iter().filter(too_large).any(runs) {
            self.marks.hit(Mark::RanWithinQuota);
        }
    }

    fn survives_some(&self, id: JobId) -> bool {
        let mut jobs = self.options.jobs.iter();
        let job = jobs.find(|job| job.id == id);
        job.and_then(|job| job.survives.fewest()) > Some(1)
    }

    pub(super) fn mark_message(&mut self, message: &ToTaskManager) {
        let mark = match message {
            ToTaskManager::Refused(_) => Mark::SessionRefused,
            ToTaskManager::Deploy(deployment) if deployment.restore.is_some() => {
                self.mark_start(deployment);
                if deployment.restore < self.checks.latest_record(deployment.job) {
                    self.marks.hit(Mark::OlderSnapshotRestored);
                }
                Mark::RegionRestored
            }
            ToTaskManager::Deploy(deployment) if deployment.attempt.number > 0 => {
                Mark::RestartedFromNothing
            }
            ToTaskManager::NotifyComplete {
                job,
                tasks,
                checkpoint,
                finish,
            } => {
                for region in self.checks.named(*job, tasks) {
                    self.election.announced.insert((*job, region), *checkpoint);
                }
                if !finish {
                    return;
                }
                self.clients_see(*job, Sight::PartEnds);
                Mark::FinalCheckpoint
            }
            ToTaskManager::NotifyAborted { .. } => Mark::CheckpointAborted,
            ToTaskManager::Resume {
                job,
                tasks,
                completed,
                aborted_below,
            } => {
                self.mark_resume(*job, tasks, *completed, *aborted_below);
                Mark::AttemptsAdopted
            }
            ToTaskManager::Welcome(_)
            | ToTaskManager::Heartbeat { .. }
            | ToTaskManager::Deploy(_)
            | ToTaskManager::Cancel { .. }
            | ToTaskManager::TriggerCheckpoint { .. }
            | ToTaskManager::ReleaseJob { .. }
            | ToTaskManager::Dismissed => return,
        };
        self.marks.hit(mark);
    }

    fn mark_start(&mut self, deployment: &Deployment) {
        let job = deployment.job;
        if !self.checks.is_inherited(job, deployment.restore) {
            return;
        }
        if self.checks.begins_at_its_end(job) {
            self.marks.hit(Mark::StartedAtItsEnd);
        }
        self.marks.hit(match deployment.attempt.number {
            0 => Mark::StartedFromSavepoint,
            _ => Mark::RestartedFromSavepoint,
        });
    }
}

/// The mark of an election while a job was in this state, if an election can fall into it: a job is
/// created within a step, and a suspended one is nobody's.
fn elected_while(status: JobStatus) -> Option<Mark> {
    match status {
        JobStatus::Initializing => Some(Mark::ElectedWhileInitializing),
        JobStatus::Running => Some(Mark::ElectedWhileRunning),
        JobStatus::Restarting => Some(Mark::ElectedWhileRestarting),
        JobStatus::Failing => Some(Mark::ElectedWhileFailing),
        JobStatus::Cancelling => Some(Mark::ElectedWhileCancelling),
        JobStatus::Reconciling => Some(Mark::ElectedWhileReconciling),
        JobStatus::Failed => Some(Mark::ElectedAfterFailed),
        JobStatus::Canceled => Some(Mark::ElectedAfterCanceled),
        JobStatus::Finished => Some(Mark::ElectedAfterFinished),
        JobStatus::Created | JobStatus::Suspended => None,
    }
}

//! Which parts of a job restart: those of which something was lost, after their delay, and no others; and
//! with a new leader none that it could have taken over.

use super::{Step, Verdict, ensure, who_leaves};
use crate::plan::job::JobPlan;
use jobmanager_core::id::{
    Attempt, AttemptId, JobId, SessionId, SlotIndex, SubtaskIndex, TaskId, TaskManagerId,
};
use jobmanager_core::jobmanager::{Discard, Effect, Input};
use jobmanager_core::message::{FromTaskManager, Hello, TaskReport, ToTaskManager};
use jobmanager_core::state::{ExecutionState, JobStatus};
use jobmanager_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What the plan of a job says about its restarts.
#[derive(Debug, Clone, Default)]
pub(super) struct Parts {
    /// What each task's restart takes with it: the tasks that it exchanges records with, directly or not.
    region: BTreeMap<TaskId, usize>,
    /// The pause before a restart, if it is always the same.
    delay: Duration,
    /// Failed checkpoints can take the whole job down.
    brittle: bool,
}

impl Parts {
    /// `regions` has the number of the region of each of these tasks.
    pub(super) fn new(plan: &JobPlan, tasks: &[TaskId], regions: &[usize]) -> Self {
        let region = tasks.iter().copied().zip(regions.iter().copied()).collect();
        let says = |key: &str| plan.configuration.get(key).map(String::as_str);
        let exponential = says("restart-strategy.type") == Some("exponential-delay");
        let tolerated = says("execution.checkpointing.tolerable-failed-checkpoints");
        Parts {
            region,
            delay: match exponential {
                true => Duration::ZERO,
                false => Duration::from_micros(plan.restart_delay),
            },
            brittle: tolerated.is_some_and(|tolerated| tolerated != "1000"),
        }
    }
}

/// What the observer knows beside what the coordinator is told.
pub(super) struct Known<'a> {
    pub(super) parts: &'a dyn Fn(JobId) -> Option<&'a Parts>,
    /// What the coordinator showed before this step.
    pub(super) before: &'a dyn Fn(JobId) -> Option<JobStatus>,
    /// Whether an attempt has no part in the latest checkpoint.
    pub(super) left_behind: &'a dyn Fn(AttemptId) -> bool,
    /// Whether the job is to be drained, or to get another parallelism.
    pub(super) drained: &'a dyn Fn(JobId) -> bool,
}

/// Attempts of a task, who has them in which slot, and whether they can be taken over.
type Reports = BTreeSet<(Attempt, SessionId, SlotIndex, bool)>;

/// What one coordinator was told of its tasks.
#[derive(Debug, Default)]
pub(super) struct Regions {
    names: BTreeMap<TaskManagerId, SessionId>,
    /// The tasks that were deployed or reported on each session.
    on: BTreeMap<SessionId, BTreeSet<(JobId, TaskId)>>,
    /// What TaskManagers reported while a job waits for its attempts.
    reported: BTreeMap<(JobId, TaskId), Reports>,
    /// The attempt that the coordinator deployed, or could take over.
    current: BTreeMap<(JobId, TaskId), Attempt>,
    /// When something of a region was lost first since it was deployed.
    trouble: BTreeMap<(JobId, usize), Timestamp>,
    /// The sessions on which a TaskManager has said that it leaves.
    leaving: BTreeSet<SessionId>,
    /// The regions of which something was lost with such a TaskManager, and not deployed since.
    left_behind: BTreeSet<(JobId, usize)>,
    /// The regions that this step deploys.
    starts: BTreeSet<(JobId, usize)>,
    now: Timestamp,
}

impl Regions {
    /// A coordinator took a step.
    pub(super) fn stepped(&mut self, step: &Step<'_>, known: &Known<'_>) -> Verdict {
        self.now = self.now.max(step.now);
        self.listen(step, known);
        for effect in step.effects {
            if let Effect::Disconnect { session } = effect {
                self.lose(*session, known);
            }
        }
        for effect in step.effects {
            if let Effect::Discard(Discard::Unreferenced { job, .. }) = effect
                && (known.before)(*job) == Some(JobStatus::Reconciling)
            {
                self.adopt(*job, known);
            }
        }
        for effect in step.effects {
            if let Effect::Send { session, message } = effect {
                self.orders(step, *session, &message.message, known)?;
            }
        }
        for started in std::mem::take(&mut self.starts) {
            self.trouble.remove(&started);
            self.left_behind.remove(&started);
        }
        Ok(())
    }

    fn listen(&mut self, step: &Step<'_>, known: &Known<'_>) {
        self.leaving.extend(who_leaves(step.input));
        match step.input {
            Input::Connected { session, hello } => {
                let welcome = |effect: &Effect| {
                    matches!(effect, Effect::Send { session: to, message }
                        if to == session && matches!(message.message, ToTaskManager::Welcome(_)))
                };
                if step.effects.iter().any(welcome) {
                    self.welcomes(*session, hello, known);
                }
            }
            Input::Disconnected { session } => self.lose(*session, known),
            Input::Message { message, .. } => {
                let FromTaskManager::TaskStates(changes) = message else {
                    return;
                };
                for change in changes {
                    let AttemptId { job, task, attempt } = change.attempt;
                    let ended = match change.report {
                        TaskReport::Canceled | TaskReport::Failed { .. } => true,
                        TaskReport::Initializing
                        | TaskReport::Running
                        | TaskReport::EndOfData
                        | TaskReport::Finished => false,
                    };
                    let current = self.current.get(&(job, task));
                    if ended && current.is_none_or(|current| *current == attempt) {
                        self.moves((job, task), known);
                        self.troubles((job, task), known);
                    }
                }
            }
            Input::Stored { .. }
            | Input::Discarded { .. }
            | Input::SavepointWritten { .. }
            | Input::Command { .. }
            | Input::Workers { .. }
            | Input::Worker { .. }
            | Input::Wake => {}
        }
    }

    fn welcomes(&mut self, session: SessionId, hello: &Hello, known: &Known<'_>) {
        if let Some(before) = self.names.insert(hello.taskmanager.clone(), session) {
            self.lose(before, known);
        }
        for item in &hello.inventory {
            let AttemptId { job, task, attempt } = item.attempt;
            if (known.before)(job) != Some(JobStatus::Reconciling) {
                continue;
            }
            let whole = match item.state {
                ExecutionState::Initializing
                | ExecutionState::Running
                | ExecutionState::Finished => !(known.left_behind)(item.attempt),
                ExecutionState::Created
                | ExecutionState::Scheduled
                | ExecutionState::Deploying
                | ExecutionState::Canceling
                | ExecutionState::Canceled
                | ExecutionState::Failed => false,
            };
            self.on.entry(session).or_default().insert((job, task));
            let reported = self.reported.entry((job, task)).or_default();
            reported.insert((attempt, session, item.slot, whole));
        }
    }

    fn lose(&mut self, session: SessionId, known: &Known<'_>) {
        let leaves = self.leaving.remove(&session);
        for of in self.on.remove(&session).unwrap_or_default() {
            if let Some(reported) = self.reported.get_mut(&of) {
                reported.retain(|(_, on, ..)| *on != session);
            }
            match leaves {
                true => self.left_behind.extend(self.region(of, known)),
                false => self.troubles(of, known),
            }
        }
    }

    fn region(&self, (job, task): (JobId, TaskId), known: &Known<'_>) -> Option<(JobId, usize)> {
        let parts = (known.parts)(job)?;
        Some((job, *parts.region.get(&task)?))
    }

    /// What happens to a region that begins again anyhow, since somebody leaves, is no news.
    fn troubles(&mut self, of: (JobId, TaskId), known: &Known<'_>) {
        let region = self.region(of, known);
        if let Some(region) = region.filter(|region| !self.left_behind.contains(region)) {
            self.trouble.entry(region).or_insert(self.now);
        }
    }

    /// A task was told to stop, or has: perhaps to go on elsewhere.
    fn moves(&mut self, of: (JobId, TaskId), known: &Known<'_>) {
        let region = self.region(of, known);
        let left = region.filter(|region| self.is_left(*region, known));
        self.left_behind.extend(left);
    }

    /// Whether a region may begin again though nothing has failed: it has, or had, tasks where somebody leaves.
    fn is_left(&self, region: (JobId, usize), known: &Known<'_>) -> bool {
        let leaving = self.leaving.iter().filter_map(|on| self.on.get(on));
        let mut tasks = leaving.flatten();
        self.left_behind.contains(&region)
            || tasks.any(|of| self.region(*of, known) == Some(region))
    }

    /// The waiting for a job's attempts is over: a region is taken over of which every task was reported,
    /// once, with one attempt, and nothing was lost.
    fn adopt(&mut self, job: JobId, known: &Known<'_>) {
        let Some(parts) = (known.parts)(job) else {
            return;
        };
        let regions: BTreeSet<usize> = parts.region.values().copied().collect();
        for region in regions {
            let shares =
                |(task, of): (&TaskId, &usize)| *of == region && self.is_torn(job, task.subtask);
            let lost = self.trouble.contains_key(&(job, region))
                || self.left_behind.contains(&(job, region));
            if lost || parts.region.iter().any(shares) {
                continue;
            }
            let tasks = parts.region.iter().filter(|(_, of)| **of == region);
            let tasks: Vec<TaskId> = tasks.map(|(task, _)| *task).collect();
            let attempt = |task: &TaskId| {
                let reported: Vec<_> = self.reported.get(&(job, *task))?.iter().collect();
                let [(attempt, _, _, true)] = reported[..] else {
                    return None;
                };
                Some(*attempt)
            };
            let attempts: Option<BTreeSet<Attempt>> = tasks.iter().map(attempt).collect();
            let Some(attempts) = attempts.filter(|attempts| attempts.len() == 1) else {
                continue;
            };
            for task in tasks {
                let attempt = attempts.first().copied().unwrap_or_default();
                self.current.insert((job, task), attempt);
            }
        }
        self.reported.retain(|(of, _), _| *of != job);
    }

    /// Whether tasks that may share a slot of the job were reported in several places: then only those in one
    /// of them can be taken over.
    fn is_torn(&self, job: JobId, subtask: SubtaskIndex) -> bool {
        let reported = self.reported.iter();
        let of = reported.filter(|((of, task), _)| *of == job && task.subtask == subtask);
        let places = of.flat_map(|(_, reports)| reports.iter().map(|(_, on, slot, _)| (on, slot)));
        places.collect::<BTreeSet<_>>().len() > 1
    }

    fn orders(
        &mut self,
        step: &Step<'_>,
        session: SessionId,
        message: &ToTaskManager,
        known: &Known<'_>,
    ) -> Verdict {
        match message {
            ToTaskManager::Cancel {
                job,
                attempt,
                tasks,
            } => {
                for task in tasks {
                    if self.current.get(&(*job, *task)) == Some(attempt) {
                        self.may_stop(step, *job, *task, known)?;
                        self.moves((*job, *task), known);
                    }
                }
                Ok(())
            }
            ToTaskManager::Deploy(deployment) => {
                let (job, attempt) = (deployment.job, deployment.attempt);
                for task in &deployment.tasks {
                    let of = (job, task.task);
                    if self.current.get(&of).is_some_and(|last| *last != attempt) {
                        self.may_stop(step, job, task.task, known)?;
                        self.has_waited(job, task.task, known)?;
                    }
                    let region = (known.parts)(job).and_then(|it| it.region.get(&task.task));
                    self.starts.extend(region.map(|region| (job, *region)));
                    self.current.insert(of, attempt);
                    self.on.values_mut().for_each(|tasks| {
                        tasks.remove(&of);
                    });
                    self.on.entry(session).or_default().insert(of);
                }
                Ok(())
            }
            ToTaskManager::Welcome(_)
            | ToTaskManager::Refused(_)
            | ToTaskManager::Heartbeat { .. }
            | ToTaskManager::TriggerCheckpoint { .. }
            | ToTaskManager::NotifyComplete { .. }
            | ToTaskManager::NotifyAborted { .. }
            | ToTaskManager::Resume { .. }
            | ToTaskManager::ReleaseJob { .. }
            | ToTaskManager::Dismissed => Ok(()),
        }
    }

    /// What is stopped or started anew belongs to a region of which something was lost, unless its job ends.
    fn may_stop(&self, step: &Step<'_>, job: JobId, task: TaskId, known: &Known<'_>) -> Verdict {
        let goes_on = |status: Option<JobStatus>| {
            let goes_on = [
                JobStatus::Running,
                JobStatus::Restarting,
                JobStatus::Reconciling,
            ];
            status.is_some_and(|status| goes_on.contains(&status))
        };
        let after = step.coordinator.job(job);
        let after = after.map(|details| details.summary.status);
        let parts = (known.parts)(job).filter(|parts| !parts.brittle);
        let region = parts.and_then(|parts| parts.region.get(&task));
        let Some(region) = region.filter(|_| goes_on((known.before)(job)) && goes_on(after)) else {
            return Ok(());
        };
        ensure(
            self.trouble.contains_key(&(job, *region))
                || self.is_left((job, *region), known)
                || (known.drained)(job),
            "a_region_that_did_not_fail_is_not_restarted",
            || format!("job {job} region {region} {task:?}"),
        )
    }

    fn has_waited(&self, job: JobId, task: TaskId, known: &Known<'_>) -> Verdict {
        // A failed checkpoint begins the delay, too, or a savepoint for which the job was drained, and is not seen
        // here.
        let parts = (known.parts)(job).filter(|parts| !parts.brittle);
        let Some(parts) = parts.filter(|_| !(known.drained)(job)) else {
            return Ok(());
        };
        let region = parts.region.get(&task).map(|region| (job, *region));
        let since = region.and_then(|region| self.trouble.get(&region).copied());
        ensure(
            since.is_none_or(|since| since + parts.delay <= self.now),
            "a_restart_waits_for_its_delay",
            || format!("job {job} {task:?} failed at {since:?}, now {:?}", self.now),
        )
    }
}

//! The removal of everything that jobs which have ended left in the checkpoint storage, each step tried until
//! it succeeds.
//!
//! ```text
//! Keep ──metadata written──► Release ──deleted──► Delete ──deleted──► (the records follow)
//! ```
//!
//! If the job's last checkpoint is to outlive it, that gets its metadata first: from then on the storage itself keeps
//! what the metadata names, whoever deletes the rest. What the job owned of others follows, and then all of its own.
//!
//! A job's end is not the last that its attempts write: an earlier leader may run it once more before it
//! learns that it leads no longer, and a task that is told to stop may be writing. So a job is removed
//! again whenever somebody shows up who may have written for it.

use super::Coordinator;
use super::effect::Effect;
use super::input::{Discard, StorageOutcome};
use super::job::{Cleanup, Ended, Job, JobPhase};
use super::view::Outliving;
use crate::id::{CheckpointId, JobId};
use crate::record::{CheckpointRecord, JobResult, RetainedCheckpoint};
use crate::savepoint::Savepoint;
use crate::time::Timestamp;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use serde::{Deserialize, Serialize};

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// Those that are under way, or to be tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Removals(BTreeMap<JobId, Removal>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Removal {
    step: Step,
    /// When it is ordered again; absent while it is under way.
    retry: Option<Timestamp>,
    /// If it fails: how long until the next try.
    pause: Duration,
}

/// What is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum Step {
    /// The job's last checkpoint gets its metadata.
    Keep,
    /// The savepoint that it owned is deleted.
    Release,
    /// The rest of the job is deleted.
    Delete,
}

impl Removals {
    /// The removal of a job's state begins with this step. One that is deleting does so once more, as it may have
    /// looked too early. Tells what is to be carried out now.
    fn begin(&mut self, job: JobId, first: Step) -> Option<Step> {
        let Some(removal) = self.0.get_mut(&job) else {
            self.0.insert(job, Removal::new(first, None));
            return Some(first);
        };
        let deletes = removal.step == Step::Delete;
        if deletes {
            removal.retry = None;
        }
        deletes.then_some(Step::Delete)
    }

    /// Orders the removal that an earlier coordinator did not live to see done.
    pub(super) fn resume(&mut self, job: JobId, step: Step) {
        self.0.insert(job, Removal::new(step, Some(Timestamp(0))));
    }

    /// Whether this step of a removal is under way.
    fn awaits(&self, job: JobId, step: Step) -> bool {
        let removal = self.0.get(&job);
        removal.is_some_and(|removal| removal.step == step && removal.retry.is_none())
    }

    /// A step has failed, or a deletion of which the removal knows nothing any more.
    fn failed(&mut self, now: Timestamp, job: JobId, step: Step, problem: &str) {
        tracing::warn!(%job, ?step, problem, "what the job left could not be removed");
        let removal = self.0.entry(job).or_insert(Removal::new(step, None));
        removal.retry = Some(now + removal.pause);
        removal.pause = LAST_RETRY.min(removal.pause * 2);
    }

    /// What is due is ordered again.
    fn take_due(&mut self, now: Timestamp) -> Vec<(JobId, Step)> {
        let mut due = Vec::new();
        for (job, removal) in &mut self.0 {
            if removal.retry.is_some_and(|at| at <= now) {
                removal.retry = None;
                due.push((*job, removal.step));
            }
        }
        due
    }

    /// Whether something of the job is still to be removed.
    pub(super) fn concerns(&self, job: JobId) -> bool {
        self.0.contains_key(&job)
    }

    /// How far the removal of a job is.
    pub(super) fn step(&self, job: JobId) -> Option<Step> {
        Some(self.0.get(&job)?.step)
    }

    /// When the removal of a job is ordered again; `None` while it is under way, or if there is none.
    pub(super) fn retry_of(&self, job: JobId) -> Option<Timestamp> {
        self.0.get(&job)?.retry
    }

    /// When something is to be ordered again.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.0.values().filter_map(|removal| removal.retry).min()
    }
}

impl Removal {
    fn new(step: Step, retry: Option<Timestamp>) -> Self {
        let pause = FIRST_RETRY;
        Removal { step, retry, pause }
    }
}

impl Coordinator {
    /// Everything that a job has left is removed, also if that is under way, or was done before.
    pub(super) fn remove(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        // Of one whose records are gone nothing is left but what somebody wrote late.
        let job = self.jobs.get(&id);
        let first = job.map_or(Step::Delete, |job| job.first_step());
        if let Some(step) = self.removals.begin(id, first) {
            self.carry_out(id, step, effects);
        }
    }

    /// Orders again what is due.
    pub(super) fn retry_removals(&mut self, effects: &mut Vec<Effect>) {
        for (id, step) in self.removals.take_due(self.now) {
            self.carry_out(id, step, effects);
        }
    }

    fn carry_out(&self, id: JobId, step: Step, effects: &mut Vec<Effect>) {
        let job = || {
            self.jobs
                .get(&id)
                .expect("its records are there until it is removed")
        };
        effects.push(match step {
            Step::Keep => job().keep(&self.config.checkpoint_storage),
            Step::Release => Effect::Discard(job().owned_order()),
            Step::Delete => Effect::Discard(Discard::Job(id)),
        });
    }

    /// The metadata of a checkpoint that is to outlive its job is written, or could not be. Tells whether it was that.
    pub(super) fn kept(
        &mut self,
        id: JobId,
        checkpoint: CheckpointId,
        outcome: &StorageOutcome,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let job = self.jobs.get_mut(&id);
        let retained = job.as_ref().and_then(|job| job.retained());
        let is_it = retained.is_some_and(|record| record.id == checkpoint);
        let Some(job) = job.filter(|_| is_it && self.removals.awaits(id, Step::Keep)) else {
            return false;
        };
        if *outcome == StorageOutcome::Done {
            job.is_kept(&self.config.checkpoint_storage);
        }
        self.step_ended(id, Step::Keep, outcome, effects);
        true
    }

    /// A step of a removal has succeeded or failed. Tells whether the removal is done by it.
    pub(super) fn step_ended(
        &mut self,
        id: JobId,
        step: Step,
        outcome: &StorageOutcome,
        effects: &mut Vec<Effect>,
    ) -> bool {
        if let StorageOutcome::Failed(problem) = outcome {
            self.removals.failed(self.now, id, step, problem);
            return false;
        }
        let job = self.jobs.get(&id);
        match job.and_then(|job| job.next_step(step)) {
            Some(next) => {
                self.removals.0.insert(id, Removal::new(next, None));
                self.carry_out(id, next, effects);
                false
            }
            None => self.removals.0.remove(&id).is_some(),
        }
    }

    /// Whether a savepoint that a job owned is deleted as a step of the job's removal.
    pub(super) fn releases(&self, id: JobId) -> bool {
        self.removals.awaits(id, Step::Release)
    }
}

impl Job {
    /// With what its removal begins, or, if only its records are left, is done once more.
    pub(super) fn first_step(&self) -> Step {
        let is_removed =
            matches!(&self.phase, JobPhase::Ended(ended) if ended.cleanup == Cleanup::Removing);
        if is_removed {
            Step::Delete
        } else if self.retained().is_some() {
            Step::Keep
        } else {
            self.step_after_keeping()
        }
    }

    /// What follows on a step of its removal.
    fn next_step(&self, step: Step) -> Option<Step> {
        match step {
            Step::Keep => Some(self.step_after_keeping()),
            Step::Release => Some(Step::Delete),
            Step::Delete => None,
        }
    }

    fn step_after_keeping(&self) -> Step {
        match self.leaves_owned() {
            true => Step::Release,
            false => Step::Delete,
        }
    }

    /// The checkpoint that is to outlive it, now that it has ended: its last one, if a job gets further with it than without.
    fn retained(&self) -> Option<&Arc<CheckpointRecord>> {
        let JobPhase::Ended(Ended { result, .. }) = &self.phase else {
            return None;
        };
        let config = self.graph.config().checkpointing.as_ref()?;
        let latest = self.checkpoints.latest()?;
        (latest.has_progress() && config.retention.keeps(result.status)).then_some(latest)
    }

    /// What clients are told of that.
    pub(super) fn outliving(&self, storage: &str) -> Option<Outliving> {
        let JobPhase::Ended(Ended { result, .. }) = &self.phase else {
            return None;
        };
        Some(Outliving {
            checkpoint: self.retained_in(storage)?,
            is_written: result.retained.is_some(),
        })
    }

    fn retained_in(&self, storage: &str) -> Option<RetainedCheckpoint> {
        let record = self.retained()?;
        Some(RetainedCheckpoint {
            checkpoint: record.id,
            location: Savepoint::retained_location(storage, record.job, record.id),
            triggered: record.triggered,
            completed: record.completed,
            size: record.size(),
        })
    }

    /// The order to write that one's metadata.
    fn keep(&self, storage: &str) -> Effect {
        let record = self.retained().expect("only what is to be kept is kept");
        let layout = self.execution.layout();
        let savepoint = Savepoint::retained(record, &self.graph, layout, storage);
        Effect::WriteSavepoint {
            location: Savepoint::retained_location(storage, record.job, record.id),
            savepoint: Arc::new(savepoint),
        }
    }

    /// That one has its metadata.
    fn is_kept(&mut self, storage: &str) {
        let retained = self.retained_in(storage);
        let retained = retained.expect("only what is to be kept is kept");
        tracing::info!(job = %self.id(), location = retained.location, "the last checkpoint is retained");
        if let JobPhase::Ended(ended) = &mut self.phase {
            ended.result = Arc::new(JobResult {
                retained: Some(retained),
                ..JobResult::clone(&ended.result)
            });
        }
    }
}

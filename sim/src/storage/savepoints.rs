//! How savepoints become complete, and what that means for a job's output.

use crate::marks::Mark;
use crate::plan::JobPlan;
use crate::storage::blobs::metadata_url;
use crate::world::World;
use crate::world::event::Instance;
use jobmanager_core::id::JobId;
use jobmanager_core::jobmanager::{Input, StorageOutcome};
use jobmanager_core::message::{AfterSavepoint, StateLocation};
use jobmanager_core::record::{Record, RecordOp, SavepointRecord};
use jobmanager_core::savepoint::{Savepoint, SubtaskSnapshot};
use jobmanager_proto::{decode_savepoint, encode_savepoint};
use std::collections::BTreeSet;
use std::sync::Arc;

impl World {
    /// The metadata of a savepoint arrives at the storage, or does not.
    pub(crate) fn savepoint_written(
        &mut self,
        instance: Instance,
        location: &str,
        savepoint: &Savepoint,
        done: bool,
    ) {
        let outcome = if done {
            self.write_metadata(location, savepoint);
            StorageOutcome::Done
        } else {
            StorageOutcome::Failed("the storage is busy".to_owned())
        };
        let written = Input::SavepointWritten {
            job: savepoint.job,
            checkpoint: savepoint.checkpoint,
            outcome,
        };
        self.jobmanager_input(instance, &written);
    }

    fn write_metadata(&mut self, location: &str, savepoint: &Savepoint) {
        let job = savepoint.job;
        if self.blobs.is_given_up(location) {
            // A leader that had been replaced long before: nobody looks there any more.
            return;
        }
        let bytes = encode_savepoint(savepoint, location);
        let same = decode_savepoint(&bytes, location).is_ok_and(|read| read == *savepoint);
        let missing = savepoint
            .states()
            .map(|state| &state.location)
            .find(|at| match at {
                StateLocation::Url(url) => self.blobs.read_url(url).is_err(),
                // A savepoint stands alone.
                StateLocation::File(_) => true,
                StateLocation::Inline(_) => false,
            });
        // What was written before a recording ended is not simulated, and what a fault has spoilt is not there.
        let past = Some(savepoint.checkpoint);
        let is_spoilt = self.blobs.has_spoiled(job);
        let missing = missing.filter(|_| !is_spoilt && !self.checks.is_unseen(job, past));
        if !same || missing.is_some() {
            let detail = format!("{location}: {missing:?}");
            self.fail("a_complete_savepoint_has_all_of_its_files", detail);
        }
        self.blobs.write_url(metadata_url(location), bytes);
        self.checks.savepoint_written(job, location);
    }

    /// A savepoint is in the store.
    pub(super) fn mark_savepoint(&mut self, record: &SavepointRecord) {
        let Some(outcome) = &record.outcome else {
            return;
        };
        self.marks.hit(match (&outcome.result, record.after) {
            (Err(_), _) => Mark::SavepointFailed,
            (Ok(_), AfterSavepoint::GoOn) => Mark::SavepointCompleted,
            (Ok(_), AfterSavepoint::Suspend) => Mark::StoppedWithSavepoint,
            (Ok(_), AfterSavepoint::Drain) => Mark::DrainedWithSavepoint,
        });
        self.sight_savepoint(record.job);
    }

    /// What is durable now may be the end of jobs.
    pub(super) fn jobs_are_stopped(&mut self, ops: &[RecordOp]) {
        for op in ops {
            match op {
                RecordOp::Put(Record::Savepoint(record)) => self.job_is_stopped(record.job),
                RecordOp::Put(Record::Result(result)) if result.retained.is_some() => {
                    self.job_is_outlived(result.job);
                }
                RecordOp::Put(_) | RecordOp::Delete(_) => {}
            }
        }
    }

    /// From now on nothing is published that is not in the savepoint with which the job stops.
    fn job_is_stopped(&mut self, job: JobId) {
        let Some((checkpoint, after)) = self.checks.stopped(job) else {
            return;
        };
        let offsets = self.checks.offsets_at(job, checkpoint);
        if let Some(oracle) = &mut self.oracle {
            let verdict = oracle.stop(job, &offsets, after);
            self.verdict(verdict);
        }
        if let Some(location) = self.checks.stopped_at(job) {
            self.job_is_followed(job, location);
        }
    }

    /// The last checkpoint of a job that was canceled, or has failed, is there for good. Nothing was published that is
    /// not in it.
    fn job_is_outlived(&mut self, job: JobId) {
        self.marks.hit(Mark::CheckpointOutlivesJob);
        let Some(location) = self.checks.outlived_at(job).map(str::to_owned) else {
            return;
        };
        let Some(savepoint) = self.blobs.savepoint(&location) else {
            let detail = format!("{location} of job {job}");
            return self.fail(
                "what_outlives_a_job_is_its_last_checkpoint_with_metadata",
                detail,
            );
        };
        let subtasks = savepoint.operators.iter().flat_map(|it| &it.subtasks);
        let is_missing = |it: &SubtaskSnapshot| it.state.handles().is_empty();
        let mut subtasks = subtasks.map(|it| (is_missing(it), it.ended));
        let whole = subtasks.clone().all(|(is_missing, _)| !is_missing);
        let goes_on = subtasks.any(|(_, ended)| !ended);
        if !whole {
            self.marks.hit(Mark::PartOfJobOutlivesIt);
        }
        // Rows of parts that start over may have been made, but none was published.
        if self.oracle.is_some() && !(whole && goes_on) {
            return;
        }
        let offsets = self.checks.offsets_of_outlived(job);
        if let Some(oracle) = &mut self.oracle {
            let verdict = oracle.stop(job, &offsets, AfterSavepoint::Suspend);
            self.verdict(verdict);
        }
        if goes_on && !self.blobs.has_spoiled(job) {
            self.job_is_followed(job, location);
        }
    }

    /// Another job may start where one ended. It is told so while there are faults yet, as what it promises is
    /// promised from their end on.
    fn job_is_followed(&mut self, job: JobId, location: String) {
        let savepoint = self.blobs.savepoint(&location);
        let Some(savepoint) = savepoint.filter(|_| !self.calm) else {
            return;
        };
        let Some((delay, mut plan)) = self.options.successor(job) else {
            return;
        };
        if self.options.jobs.iter().any(|known| known.id == plan.id) {
            return;
        }
        match fits(&plan, &savepoint) {
            Fit::AsItIs => {}
            Fit::Divided => self.marks.hit(Mark::StartedRescaled),
            Fit::Not => {
                self.marks.hit(Mark::PartlyAtItsEnd);
                return;
            }
        }
        let subtasks = savepoint.operators.iter().flat_map(|it| &it.subtasks);
        let ended: BTreeSet<bool> = subtasks.map(|subtask| subtask.ended).collect();
        if ended.len() == 2 {
            self.marks.hit(Mark::StartedPartlyEnded);
        }
        self.checks.follows(&plan, &savepoint);
        if self.options.is_claimed(job) {
            self.checks.claims(&plan, savepoint.checkpoint, &location);
            let mode = "execution.state-recovery.claim-mode".to_owned();
            plan.configuration.insert(mode, "CLAIM".to_owned());
        }
        let path = "execution.state-recovery.path".to_owned();
        plan.configuration.insert(path, location);
        self.external.inherits(plan.id, job);
        if let Some(oracle) = &mut self.oracle {
            oracle.follow(plan.id, job);
        }
        self.submit_from(self.now + delay, &plan, Arc::new(savepoint));
        self.options.jobs.push(plan);
    }
}

/// How a job can start from a savepoint of one with the same vertices.
enum Fit {
    AsItIs,
    /// Some vertices have another parallelism.
    Divided,
    /// Such a vertex had processed all of its input in some subtasks, and in others not.
    Not,
}

fn fits(plan: &JobPlan, savepoint: &Savepoint) -> Fit {
    let mut fit = Fit::AsItIs;
    for ((index, vertex), operator) in (0..).zip(&plan.vertices).zip(&savepoint.operators) {
        if operator.subtasks.len() == vertex.parallelism as usize {
            continue;
        }
        let subtasks = operator.subtasks.iter();
        let missing: BTreeSet<bool> = subtasks
            .clone()
            .map(|it| it.state.handles().is_empty())
            .collect();
        let at_end: BTreeSet<bool> = subtasks
            .map(|it| it.ended || it.state.is_at_end())
            .collect();
        let has_input = plan.edges.iter().any(|edge| edge.target == index);
        if missing.len() == 2 || at_end.len() == 2 && has_input {
            return Fit::Not;
        }
        fit = Fit::Divided;
    }
    fit
}

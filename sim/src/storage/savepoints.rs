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
use jobmanager_core::savepoint::Savepoint;
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
        // What was written before a recording ended is not simulated.
        let past = Some(savepoint.checkpoint);
        let missing = missing.filter(|_| !self.checks.is_unseen(savepoint.job, past));
        if !same || missing.is_some() {
            let detail = format!("{location}: {missing:?}");
            self.fail("a_complete_savepoint_has_all_of_its_files", detail);
        }
        self.blobs.write_url(metadata_url(location), bytes);
        self.checks.savepoint_written(savepoint.job, location);
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
            if let RecordOp::Put(Record::Savepoint(record)) = op {
                self.job_is_stopped(record.job);
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
        self.job_is_followed(job);
    }

    /// Another job may start where one stopped. It is told so while there are faults yet, as what it promises is
    /// promised from their end on.
    fn job_is_followed(&mut self, job: JobId) {
        let Some((location, savepoint)) = self.stopped_with(job).filter(|_| !self.calm) else {
            return;
        };
        let jobs = &self.options.jobs;
        let plans = self.options.savepoints.iter();
        let mut plans = plans.filter(|it| it.request.job == job);
        let plan = plans.find_map(|it| Some((it.successor?, it.successor(jobs)?)));
        let Some((delay, mut plan)) = plan else {
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
        let path = "execution.state-recovery.path".to_owned();
        plan.configuration.insert(path, location);
        let subtasks = savepoint.operators.iter().flat_map(|it| &it.subtasks);
        let ended: BTreeSet<bool> = subtasks.map(|subtask| subtask.ended).collect();
        if ended.len() == 2 {
            self.marks.hit(Mark::StartedPartlyEnded);
        }
        self.checks.follows(&plan, &savepoint);
        self.external.inherits(plan.id, job);
        if let Some(oracle) = &mut self.oracle {
            oracle.follow(plan.id, job);
        }
        self.submit_from(self.now + delay, &plan, Arc::new(savepoint));
        self.options.jobs.push(plan);
    }

    /// The savepoint with which a job stopped, as anybody would read it, and where it is.
    fn stopped_with(&self, job: JobId) -> Option<(String, Savepoint)> {
        let location = self.checks.stopped_at(job)?;
        let bytes = self.blobs.read_url(&metadata_url(&location)).ok()?;
        let savepoint = decode_savepoint(bytes, &location).ok()?;
        Some((location, savepoint))
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
        let at_end: BTreeSet<bool> = subtasks
            .map(|it| it.ended || it.state.end_of_data)
            .collect();
        if at_end.len() == 2 && plan.edges.iter().any(|edge| edge.target == index) {
            return Fit::Not;
        }
        fit = Fit::Divided;
    }
    fit
}

//! Rebuilding a coordinator from what is durable.

use super::Coordinator;
use super::archive::{Archive, Archived};
use super::job::{CancelIntent, Job};
use super::journal::Journal;
use super::taskmanagers::TaskManagers;
use super::timers::Timers;
use crate::config::ClusterConfig;
use crate::graph::regions;
use crate::id::{CheckpointId, Epoch, JobId};
use crate::record::{CheckpointRecord, JobRecord, JobResult, Record};
use crate::time::Timestamp;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Why a coordinator cannot be rebuilt from what is durable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// A record names a job of which there is no record.
    #[error("there is a {what} record of job {job}, but no record of the job itself")]
    Orphan {
        /// The kind of record.
        what: &'static str,
        /// The job.
        job: JobId,
    },
    /// A checkpoint does not fit its job: it has another number of subtasks or regions.
    #[error("checkpoint {} of job {job} is of [subtasks, regions] {found:?}, the job has {expected:?}", checkpoint.0)]
    Misfit {
        /// The job.
        job: JobId,
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The subtasks and regions of the job.
        expected: [usize; 2],
        /// The subtasks and regions of the checkpoint.
        found: [usize; 2],
    },
}

/// The records by job.
#[derive(Default)]
struct Sorted {
    jobs: BTreeMap<JobId, JobRecord>,
    cancels: BTreeSet<JobId>,
    marks: BTreeMap<JobId, CheckpointId>,
    checkpoints: BTreeMap<JobId, BTreeMap<CheckpointId, Arc<CheckpointRecord>>>,
    results: BTreeMap<JobId, Arc<JobResult>>,
}

impl Coordinator {
    /// Rebuilds a leading coordinator from what is durable.
    ///
    /// `epoch` must be later than that of every earlier coordinator, and the store must refuse writes of
    /// those from now on.
    ///
    /// # Errors
    /// The records contradict each other.
    pub fn recover(
        config: ClusterConfig,
        epoch: Epoch,
        records: Vec<Record>,
        now: Timestamp,
    ) -> Result<Self, RecoverError> {
        let mut sorted = Sorted::from(records);
        sorted.check()?;
        let mut archive = Archive::default();
        for result in sorted.results.values() {
            archive.put(Archived::recovered(result.clone()));
        }
        let deadline = now + config.reconciliation_timeout;
        let mut jobs = BTreeMap::new();
        for (id, record) in core::mem::take(&mut sorted.jobs) {
            jobs.insert(id, sorted.job(id, record, deadline, now));
        }
        Ok(Coordinator {
            config,
            epoch,
            now,
            tms: TaskManagers::default(),
            waiting: BTreeMap::new(),
            archive,
            journal: Journal::default(),
            timers: Timers::default(),
            dirty: jobs.keys().copied().collect(),
            jobs,
            stepped_down: false,
        })
    }
}

impl Sorted {
    fn from(records: Vec<Record>) -> Self {
        let mut sorted = Sorted::default();
        for record in records {
            match record {
                Record::Job(record) => {
                    sorted.jobs.insert(record.graph.id(), record);
                }
                Record::Cancel(job) => {
                    sorted.cancels.insert(job);
                }
                Record::CheckpointMark { job, next } => {
                    sorted.marks.insert(job, next);
                }
                Record::Checkpoint(record) => {
                    sorted
                        .checkpoints
                        .entry(record.job)
                        .or_default()
                        .insert(record.id, record);
                }
                Record::Result(result) => {
                    sorted.results.insert(result.job, result);
                }
            }
        }
        sorted
    }

    fn check(&self) -> Result<(), RecoverError> {
        let orphan = |what, job: &JobId| {
            let known = self.jobs.contains_key(job);
            if known {
                Ok(())
            } else {
                Err(RecoverError::Orphan { what, job: *job })
            }
        };
        self.cancels
            .iter()
            .try_for_each(|job| orphan("cancel", job))?;
        self.marks
            .keys()
            .try_for_each(|job| orphan("checkpoint mark", job))?;
        self.checkpoints
            .keys()
            .try_for_each(|job| orphan("checkpoint", job))?;
        for (job, checkpoints) in &self.checkpoints {
            let graph = &self.jobs[job].graph;
            let expected = [graph.subtasks() as usize, regions(graph).count() as usize];
            for record in checkpoints.values() {
                let found = [record.states.len(), record.attempts.len()];
                if found != expected {
                    return Err(RecoverError::Misfit {
                        job: *job,
                        checkpoint: record.id,
                        expected,
                        found,
                    });
                }
            }
        }
        Ok(())
    }

    fn job(&mut self, id: JobId, record: JobRecord, deadline: Timestamp, now: Timestamp) -> Job {
        let completed: VecDeque<_> = self
            .checkpoints
            .remove(&id)
            .unwrap_or_default()
            .into_values()
            .collect();
        let mark = self.marks.remove(&id).unwrap_or(CheckpointId(1));
        let mark = completed
            .back()
            .map_or(mark, |latest| mark.max(latest.id.next()));
        let mut job = Job::recovered(
            record.graph,
            record.submitted,
            mark,
            completed,
            deadline,
            now,
        );
        if let Some(result) = self.results.get(&id) {
            job.resume_removal(result.clone());
        } else if self.cancels.contains(&id) {
            job.resume_cancel();
        }
        job
    }
}

impl Job {
    /// The wish to cancel the job survived a coordinator; it is carried out now.
    fn resume_cancel(&mut self) {
        self.cancel = CancelIntent::Durable;
        self.phase = super::job::JobPhase::Ending(super::job::Ending::Cancelling);
    }
}

//! Rebuilding a coordinator from what is durable.

use super::Coordinator;
use super::archive::{Archive, Archived};
use super::claims::Claims;
use super::execution::{Execution, Phase};
use super::job::{CancelIntent, Job};
use super::journal::Journal;
use super::removals::Removals;
use super::rescaling::Rescaling;
use super::savepoints::Savepoints;
use super::taskmanagers::TaskManagers;
use super::timers::{Timer, Timers};
use super::waiting::Waiting;
use super::workers::Workers;
use crate::config::ClusterConfig;
use crate::id::{CheckpointId, Epoch, JobId};
use crate::kept::Kept;
use crate::record::{
    CheckpointRecord, JobRecord, JobResult, Record, RescaleRecord, SavepointRecord,
};
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
    /// The parallelism with which a job runs, or is to run, does not fit its graph.
    #[error("the parallelism that is stored for job {0} does not fit its graph")]
    Scale(JobId),
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
    rescales: BTreeMap<JobId, Arc<RescaleRecord>>,
    savepoints: BTreeMap<JobId, Vec<Arc<SavepointRecord>>>,
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
        for (job, result) in &sorted.results {
            let savepoints = sorted.savepoints.remove(job).unwrap_or_default();
            archive.put(Archived::recovered(result.clone(), savepoints));
        }
        let deadline = now + config.reconciliation_timeout;
        let (mut jobs, mut removals) = (BTreeMap::new(), Removals::default());
        let mut over = 0;
        for (id, record) in core::mem::take(&mut sorted.jobs) {
            let job = sorted.job(id, record, deadline, now)?;
            if job.is_over() {
                removals.resume(id, job.first_step());
                over += 1;
            }
            jobs.insert(id, Kept::new(job));
        }
        let mut timers = Timers::default();
        timers.set(Timer::Removals, removals.deadline());
        Ok(Coordinator {
            config: Kept::new(config),
            epoch,
            now,
            tms: TaskManagers::default(),
            waiting: Waiting::default(),
            claims: Claims::default(),
            workers: Workers::new(epoch),
            archive,
            removals,
            journal: Journal::default(),
            timers,
            dirty: jobs.keys().copied().collect(),
            jobs,
            over,
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
                Record::Rescale(record) => {
                    sorted.rescales.insert(record.job, record);
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
                Record::Savepoint(record) => {
                    sorted
                        .savepoints
                        .entry(record.job)
                        .or_default()
                        .push(record);
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
        self.rescales
            .keys()
            .try_for_each(|job| orphan("rescale", job))?;
        self.marks
            .keys()
            .try_for_each(|job| orphan("checkpoint mark", job))?;
        self.checkpoints
            .keys()
            .try_for_each(|job| orphan("checkpoint", job))?;
        let savepoints = self.savepoints.keys();
        let mut savepoints = savepoints.filter(|job| !self.results.contains_key(job));
        savepoints.try_for_each(|job| orphan("savepoint", job))?;
        Ok(())
    }

    fn job(
        &mut self,
        id: JobId,
        record: JobRecord,
        deadline: Timestamp,
        now: Timestamp,
    ) -> Result<Job, RecoverError> {
        let completed: VecDeque<_> = self
            .checkpoints
            .remove(&id)
            .unwrap_or_default()
            .into_values()
            .collect();
        let graph = match &record.scale {
            None => record.graph.clone(),
            Some(scale) => {
                let vertices = record.graph.vertices().len();
                let fits = [scale.parallelism.len(), scale.since.len()] == [vertices; 2];
                let graph = record.graph.rescaled(&scale.parallelism);
                let graph = graph.ok().filter(|_| fits);
                Arc::new(graph.ok_or(RecoverError::Scale(id))?)
            }
        };
        let wanted = self.rescales.remove(&id);
        if let Some(wanted) = &wanted {
            let most: Vec<u32> = wanted.bounds.iter().map(|bounds| bounds.upper).collect();
            let fits = most.len() == graph.vertices().len();
            let valid = fits && record.graph.rescaled(&most).is_ok();
            valid.then_some(()).ok_or(RecoverError::Scale(id))?;
        }
        let execution = Execution::new(&graph, Phase::Reconciling);
        check_fit(id, &execution, &completed)?;
        let mark = self.marks.remove(&id).unwrap_or(CheckpointId(1));
        let mark = completed
            .back()
            .map_or(mark, |latest| mark.max(latest.id.next()));
        let mut job = Job::recovered(
            graph,
            record.submitted,
            execution,
            mark,
            completed,
            deadline,
            now,
        );
        job.original = record.graph;
        job.scale = record.scale;
        job.begins_with(record.began);
        job.rescaling = Kept::new(Rescaling::new(wanted));
        let savepoints = self.savepoints.remove(&id).unwrap_or_default();
        let until = job.savepoint_timeout(now);
        job.savepoints = Kept::new(Savepoints::recovered(savepoints, until));
        if let Some(result) = self.results.get(&id) {
            job.resume_removal(result.clone());
        } else if self.cancels.contains(&id) {
            job.resume_cancel();
        }
        Ok(job)
    }
}

/// A checkpoint must have what every subtask and region of its job will ask it for.
fn check_fit(
    job: JobId,
    execution: &Execution,
    checkpoints: &VecDeque<Arc<CheckpointRecord>>,
) -> Result<(), RecoverError> {
    let layout = execution.layout();
    let expected = [layout.subtasks() as usize, layout.count() as usize];
    for record in checkpoints {
        let found = [record.states.len(), record.regions.len()];
        if found != expected {
            return Err(RecoverError::Misfit {
                job,
                checkpoint: record.id,
                expected,
                found,
            });
        }
    }
    Ok(())
}

impl Job {
    /// The wish to cancel the job survived a coordinator; it is carried out now.
    fn resume_cancel(&mut self) {
        self.cancel = CancelIntent::Durable;
        self.phase = super::job::JobPhase::Ending(super::job::Ending::Cancelling);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config::cluster_config;
    use crate::graph::{JobGraph, JobGraphSpec, VertexSpec};
    use crate::message::SubtaskState;
    use std::vec;

    fn job(parallelism: u32) -> Record {
        let vertex = VertexSpec {
            id: "in".into(),
            name: None,
            operator: "source".into(),
            parallelism,
            max_parallelism: None,
            slot_sharing_group: None,
            config: "{}".into(),
        };
        let spec = JobGraphSpec {
            id: JobId(1),
            name: "job".into(),
            vertices: vec![vertex],
            edges: Vec::new(),
            configuration: BTreeMap::new(),
        };
        let graph = Arc::new(JobGraph::validate(spec, &BTreeMap::new()).unwrap());
        let submitted = Timestamp(0);
        let scale = None;
        Record::Job(JobRecord {
            graph,
            submitted,
            scale,
            began: None,
        })
    }

    fn checkpoint(states: usize) -> Record {
        Record::Checkpoint(Arc::new(CheckpointRecord {
            job: JobId(1),
            id: CheckpointId(1),
            triggered: Timestamp(0),
            completed: Timestamp(0),
            regions: Vec::new(),
            inherited: Vec::new(),
            states: vec![SubtaskState::nothing(); states],
        }))
    }

    fn refusal(records: Vec<Record>) -> RecoverError {
        let config = cluster_config(&BTreeMap::new(), &[]).unwrap();
        Coordinator::recover(config, Epoch(1), records, Timestamp(0)).unwrap_err()
    }

    #[test]
    fn a_checkpoint_that_does_not_fit_its_job_is_refused() {
        let refused = RecoverError::Misfit {
            job: JobId(1),
            checkpoint: CheckpointId(1),
            expected: [2, 2],
            found: [3, 0],
        };
        assert_eq!(refusal(vec![job(2), checkpoint(3)]), refused);
    }

    #[test]
    fn a_record_of_a_job_that_is_not_there_is_refused() {
        let orphan = |what| RecoverError::Orphan {
            what,
            job: JobId(1),
        };
        assert_eq!(refusal(vec![checkpoint(1)]), orphan("checkpoint"));
        assert_eq!(refusal(vec![Record::Cancel(JobId(1))]), orphan("cancel"));
    }
}

//! Jobs that have ended: what clients may still ask about them. Bounded; the one that ended first is
//! forgotten first, durably.

use super::job::Job;
use super::view::{
    CheckpointEntry, CheckpointOutcome, CheckpointsDetails, ExceptionEntry, JobDetails, JobLine,
    JobSummary, Outliving, TaskCounts, VertexDetails,
};
use crate::id::{JobId, TriggerId};
use crate::kept::Kept;
use crate::record::{
    JobResult, RecordKey, RecordOp, RetainedCheckpoint, SavepointRecord, VertexResult,
};
use crate::state::{ExecutionState, JobStatus};
use crate::time::Timestamp;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::hash::{Hash, Hasher};
use core::ops::Deref;
use serde::{Deserialize, Serialize};

/// A job that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Archived {
    pub(super) result: Arc<JobResult>,
    pub(super) timestamps: [Option<Timestamp>; JobStatus::ALL.len()],
    pub(super) checkpoints: CheckpointsDetails,
    /// In the order in which they ended.
    pub(super) savepoints: Vec<Arc<SavepointRecord>>,
    pub(super) exceptions: Vec<ExceptionEntry>,
    /// By vertex: its tasks as they ended; absent if an earlier coordinator ended the job.
    pub(super) tasks: Option<Vec<TaskCounts>>,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Archive {
    jobs: BTreeMap<JobId, Kept<Archived>>,
    by_end: BTreeSet<(Timestamp, JobId)>,
    /// How many ended in each status.
    counts: [u32; JobStatus::ALL.len()],
}

// The counts follow from the jobs.
impl Hash for Archive {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.jobs, &self.by_end).hash(state);
    }
}

impl Archived {
    /// What is left of a job that an earlier coordinator ended.
    pub(super) fn recovered(result: Arc<JobResult>, savepoints: Vec<Arc<SavepointRecord>>) -> Self {
        let mut timestamps = [None; JobStatus::ALL.len()];
        timestamps[JobStatus::Initializing as usize] = Some(result.started);
        timestamps[result.status as usize] = Some(result.ended);
        let entry = |message| ExceptionEntry {
            at: result.ended,
            message,
            task: None,
            taskmanager: None,
        };
        Archived {
            timestamps,
            checkpoints: CheckpointsDetails {
                completed: result.completed_checkpoints,
                ..Default::default()
            },
            savepoints,
            exceptions: result.failure.clone().map(entry).into_iter().collect(),
            tasks: None,
            result,
        }
    }

    /// A job that this coordinator ended.
    pub(super) fn ended(job: &Job, result: Arc<JobResult>, history: u32) -> Self {
        let vertices = (0..)
            .map(crate::id::VertexIndex)
            .take(result.vertices.len());
        let mut timestamps = job.timestamps;
        timestamps[result.status as usize] = Some(result.ended);
        Archived {
            timestamps,
            checkpoints: job.checkpoints.details(history),
            savepoints: job.savepoints.records().cloned().collect(),
            exceptions: job.exceptions.iter().cloned().collect(),
            tasks: Some(
                vertices
                    .map(|vertex| job.execution.counts(vertex))
                    .collect(),
            ),
            result,
        }
    }

    /// A savepoint that a client asked for.
    pub(super) fn savepoint(&self, trigger: TriggerId) -> Option<&Arc<SavepointRecord>> {
        let mut savepoints = self.savepoints.iter();
        savepoints.find(|record| record.trigger == trigger)
    }

    /// The checkpoint that outlives it, once nothing else is left.
    pub(super) fn outliving(&self) -> Option<Outliving> {
        Some(Outliving {
            checkpoint: self.result.retained.clone()?,
            is_written: true,
        })
    }

    /// Its checkpoints. Of one that an earlier coordinator ended only the one that outlives it is known.
    pub(super) fn checkpoints(&self, outliving: Option<Outliving>) -> CheckpointsDetails {
        let mut details = self.checkpoints.clone();
        let known = |id| details.history.iter().any(|entry| entry.id == id);
        if let Some(retained) = outliving.filter(|it| !known(it.checkpoint.checkpoint)) {
            let entry = self.entry(&retained.checkpoint);
            details.latest_completed.get_or_insert(entry.clone());
            details.history.push(entry);
            details.history.sort_by_key(|entry| Reverse(entry.id));
        }
        details
    }

    fn entry(&self, retained: &RetainedCheckpoint) -> CheckpointEntry {
        let vertices = self.result.vertices.iter();
        let subtasks = vertices.map(|vertex| vertex.parallelism).sum();
        CheckpointEntry {
            id: retained.checkpoint,
            is_savepoint: false,
            outcome: CheckpointOutcome::Completed,
            triggered: retained.triggered,
            latest_ack: Some(retained.completed),
            subtasks,
            acknowledged: subtasks,
            size: retained.size,
        }
    }

    /// What is told of the job most often.
    pub(super) fn line(&self) -> JobLine {
        let mut tasks = TaskCounts::default();
        for vertex in 0..self.result.vertices.len() {
            let counts = self.vertex_tasks(vertex);
            tasks
                .0
                .iter_mut()
                .zip(counts.0)
                .for_each(|(sum, count)| *sum += count);
        }
        JobLine {
            id: self.result.job,
            status: self.result.status,
            tasks,
            restarts: self.result.restarts,
        }
    }

    /// The job in one line.
    pub(super) fn summary(&self) -> JobSummary {
        let JobLine {
            id, status, tasks, ..
        } = self.line();
        JobSummary {
            id,
            name: self.result.name.clone(),
            status,
            started: self.result.started,
            ended: Some(self.result.ended),
            last_modified: self.result.ended,
            tasks,
        }
    }

    /// The job.
    pub(super) fn details(&self) -> JobDetails {
        let vertex = |(index, vertex): (usize, &VertexResult)| VertexDetails {
            operator_id: vertex.operator_id,
            name: vertex.name.clone(),
            parallelism: vertex.parallelism,
            max_parallelism: vertex.max_parallelism,
            started: None,
            tasks: self.vertex_tasks(index),
        };
        JobDetails {
            summary: self.summary(),
            timestamps: self.timestamps,
            vertices: self
                .result
                .vertices
                .iter()
                .enumerate()
                .map(vertex)
                .collect(),
            graph: None,
            waiting: None,
            restarts: self.result.restarts,
            failure: self.result.failure.clone(),
        }
    }

    /// A finished job's tasks have finished; how those of another one ended, only its coordinator knew.
    fn vertex_tasks(&self, vertex: usize) -> TaskCounts {
        if let Some(tasks) = &self.tasks {
            return tasks[vertex];
        }
        let finished = self.result.status == JobStatus::Finished;
        let state = if finished {
            ExecutionState::Finished
        } else {
            ExecutionState::Canceled
        };
        let mut counts = TaskCounts::default();
        counts.0[state as usize] = self.result.vertices[vertex].parallelism;
        counts
    }
}

impl Archive {
    /// Forgets the oldest while there are more than `capacity`, except those whose removal still goes on:
    /// their result is what keeps them from being started again. What remains is to delete the results.
    pub(super) fn trim(
        &mut self,
        capacity: u32,
        is_removed: impl Fn(JobId) -> bool,
    ) -> Vec<RecordOp> {
        let mut deletes = Vec::new();
        while self.jobs.len() > capacity as usize {
            let mut by_end = self.by_end.iter();
            let oldest = by_end.find(|(_, job)| is_removed(*job)).copied();
            let Some(oldest) = oldest else {
                break;
            };
            self.by_end.remove(&oldest);
            let archived = self.remove(oldest.1);
            let savepoints = archived.iter().flat_map(|archived| &archived.savepoints);
            let key =
                |record: &Arc<SavepointRecord>| RecordKey::Savepoint(record.job, record.trigger);
            let keys = savepoints.map(key);
            deletes.extend(
                keys.chain([RecordKey::Result(oldest.1)])
                    .map(RecordOp::Delete),
            );
        }
        deletes
    }

    /// Adds a job whose result is durable.
    pub(super) fn put(&mut self, archived: Archived) {
        let id = archived.result.job;
        self.remove(id);
        self.by_end.insert((archived.result.ended, id));
        self.counts[archived.result.status as usize] += 1;
        self.jobs.insert(id, Kept::new(archived));
    }

    /// Nothing is left of a job but this, which may say what has outlived it.
    pub(super) fn is_cleaned(&mut self, result: &Arc<JobResult>) {
        if let Some(archived) = self.jobs.get_mut(&result.job) {
            archived.result = result.clone();
        }
    }

    fn remove(&mut self, job: JobId) -> Option<Kept<Archived>> {
        let archived = self.jobs.remove(&job)?;
        self.counts[archived.result.status as usize] -= 1;
        Some(archived)
    }

    pub(super) fn get(&self, id: JobId) -> Option<&Archived> {
        self.jobs.get(&id).map(Deref::deref)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Archived> {
        self.jobs.values().map(Deref::deref)
    }

    /// How many ended in this status.
    pub(super) fn count(&self, status: JobStatus) -> u32 {
        self.counts[status as usize]
    }
}

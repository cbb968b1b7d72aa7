//! Durable state: a small set of typed, keyed records, each written whole.
//!
//! There is no event log. What is not here (slots, attempts, pending checkpoints, timers) is rebuilt
//! when TaskManagers register again. The leader's epoch is not a record: the store itself holds it and
//! refuses writes of older ones.

use crate::graph::JobGraph;
use crate::id::{Attempt, CheckpointId, JobId, RegionIndex, TriggerId};
use crate::message::{AfterSavepoint, SubtaskState};
use crate::state::JobStatus;
use crate::time::Timestamp;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Something that survives the coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Record {
    /// A job that was accepted and has not been cleaned up.
    Job(JobRecord),
    /// A client asked to cancel the job. Stays until the job is cleaned up.
    Cancel(JobId),
    /// A client asked for another parallelism. Stays until the job is cleaned up.
    Rescale(Arc<RescaleRecord>),
    /// Every checkpoint id of the job below this one may have been used.
    CheckpointMark {
        /// The job.
        job: JobId,
        /// The first id that was never used.
        next: CheckpointId,
    },
    /// A completed checkpoint that is retained.
    Checkpoint(Arc<CheckpointRecord>),
    /// A savepoint that a client asked for, and what came of it. Stays as long as the job or its result.
    Savepoint(Arc<SavepointRecord>),
    /// How a job ended.
    Result(Arc<JobResult>),
}

impl Record {
    /// What it is stored under.
    #[must_use]
    pub fn key(&self) -> RecordKey {
        match self {
            Record::Job(record) => RecordKey::Job(record.graph.id()),
            Record::Cancel(job) => RecordKey::Cancel(*job),
            Record::Rescale(record) => RecordKey::Rescale(record.job),
            Record::CheckpointMark { job, .. } => RecordKey::CheckpointMark(*job),
            Record::Checkpoint(record) => RecordKey::Checkpoint(record.job, record.id),
            Record::Savepoint(record) => RecordKey::Savepoint(record.job, record.trigger),
            Record::Result(result) => RecordKey::Result(result.job),
        }
    }
}

/// What a record is stored under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RecordKey {
    /// See [`Record::Job`].
    Job(JobId),
    /// See [`Record::Cancel`].
    Cancel(JobId),
    /// See [`Record::Rescale`].
    Rescale(JobId),
    /// See [`Record::CheckpointMark`].
    CheckpointMark(JobId),
    /// See [`Record::Checkpoint`].
    Checkpoint(JobId, CheckpointId),
    /// See [`Record::Savepoint`].
    Savepoint(JobId, TriggerId),
    /// See [`Record::Result`].
    Result(JobId),
}

impl RecordKey {
    /// The job of which it is.
    #[must_use]
    pub fn job(self) -> JobId {
        match self {
            RecordKey::Job(job)
            | RecordKey::Cancel(job)
            | RecordKey::Rescale(job)
            | RecordKey::CheckpointMark(job)
            | RecordKey::Checkpoint(job, _)
            | RecordKey::Savepoint(job, _)
            | RecordKey::Result(job) => job,
        }
    }
}

/// One change of the durable state. Repeated, it changes nothing more.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RecordOp {
    /// Write it whole, whether or not it exists.
    Put(Record),
    /// Remove it, whether or not it exists.
    Delete(RecordKey),
}

/// A job that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JobRecord {
    /// What was submitted.
    pub graph: Arc<JobGraph>,
    /// When it was submitted.
    pub submitted: Timestamp,
    /// With which parallelism it runs, if that has changed since.
    pub scale: Option<Scale>,
    /// The checkpoint that it began with, if it took something from a savepoint.
    pub began: Option<CheckpointId>,
}

/// The parallelism with which a job runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scale {
    /// By vertex.
    pub parallelism: Vec<u32>,
    /// By vertex: attempts before this one had another parallelism, if any had.
    pub since: Vec<Option<Attempt>>,
}

/// The parallelism that a client wants.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RescaleRecord {
    /// Of this job.
    pub job: JobId,
    /// By vertex.
    pub bounds: Vec<Bounds>,
}

/// How many subtasks a vertex is to have: as many as there are slots for, within these bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bounds {
    /// At least so many, and at least 1.
    pub lower: u32,
    /// At most so many.
    pub upper: u32,
}

impl Bounds {
    /// This number and no other one.
    #[must_use]
    pub fn exactly(parallelism: u32) -> Self {
        Bounds {
            lower: parallelism,
            upper: parallelism,
        }
    }

    /// Whether a number is within them.
    #[must_use]
    pub fn contain(&self, parallelism: u32) -> bool {
        (self.lower..=self.upper).contains(&parallelism)
    }
}

/// A checkpoint of a job: of every region the latest snapshot that it has completed. There is no data path
/// between regions, so each may have its own time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CheckpointRecord {
    /// The job.
    pub job: JobId,
    /// Its id: that of the latest snapshot in it. Written again when a region completes a snapshot of this id,
    /// or an earlier one, after others did.
    pub id: CheckpointId,
    /// When that snapshot was triggered.
    pub triggered: Timestamp,
    /// When the last acknowledgement came.
    pub completed: Timestamp,
    /// Of every region; `None` for one that has not completed any.
    pub regions: Vec<Option<RegionSnapshot>>,
    /// The checkpoints to whose files regions refer that have completed none since the parallelism of the job changed.
    pub inherited: Vec<CheckpointId>,
    /// From what every subtask starts, by its position in the job; nothing if its region has no snapshot.
    pub states: Vec<SubtaskState>,
}

/// A snapshot that all tasks of a region have completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RegionSnapshot {
    /// The checkpoint for which it was taken.
    pub checkpoint: CheckpointId,
    /// The attempt that took it; `None` if the job began with it. No other is adopted by the next coordinator,
    /// unless it was restored from this snapshot: it would publish again what this one has published.
    pub attempt: Option<Attempt>,
    /// Nothing comes after it: every task of the region had processed the end of its input, or the job was
    /// stopped with it.
    pub is_final: bool,
}

/// A savepoint that a client asked for. It is tried, by one coordinator after the other, until it has an
/// outcome.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SavepointRecord {
    /// The job.
    pub job: JobId,
    /// The client's name for it.
    pub trigger: TriggerId,
    /// When it was asked for.
    pub requested: Timestamp,
    /// The URL of the folder in which it gets one of its own.
    pub directory: String,
    /// What becomes of the job.
    pub after: AfterSavepoint,
    /// What came of it; `None` as long as it is tried.
    pub outcome: Option<SavepointOutcome>,
}

/// What came of a savepoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SavepointOutcome {
    /// When that was known.
    pub at: Timestamp,
    /// What.
    pub result: Result<CompletedSavepoint, String>,
}

/// A savepoint that is complete.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CompletedSavepoint {
    /// The checkpoint as which it was taken.
    pub checkpoint: CheckpointId,
    /// The URL of its folder.
    pub location: String,
    /// The bytes of all its snapshots.
    pub size: u64,
}

impl CheckpointRecord {
    /// Whether some task completed a checkpoint in it: a job that was given another parallelism before that has a
    /// record, too.
    #[must_use]
    pub fn has_progress(&self) -> bool {
        let mut states = self.states.iter();
        let is_final = |region: &RegionSnapshot| region.is_final;
        states.any(|state| !state.handles().is_empty())
            || self.regions.iter().flatten().any(is_final)
    }

    /// The snapshot of a region.
    #[must_use]
    pub fn region(&self, region: RegionIndex) -> Option<RegionSnapshot> {
        self.regions.get(region.0 as usize).copied().flatten()
    }

    /// The checkpoints to whose files this refers, each once, ascending.
    #[must_use]
    pub fn references(&self) -> BTreeSet<CheckpointId> {
        let snapshots = self.regions.iter().flatten();
        let own = snapshots.map(|snapshot| snapshot.checkpoint);
        own.chain(self.inherited.iter().copied()).collect()
    }

    /// Whether this refers to files of a checkpoint.
    #[must_use]
    pub fn refers_to(&self, id: CheckpointId) -> bool {
        let mut snapshots = self.regions.iter().flatten();
        snapshots.any(|snapshot| snapshot.checkpoint == id) || self.inherited.contains(&id)
    }

    /// The bytes of all its snapshots.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.states.iter().map(SubtaskState::size).sum()
    }
}

/// How a job ended, with what clients may ask about it later.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JobResult {
    /// The job.
    pub job: JobId,
    /// Its name.
    pub name: String,
    /// FAILED, CANCELED or FINISHED.
    pub status: JobStatus,
    /// When it was submitted.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Why it failed.
    pub failure: Option<String>,
    /// Its vertices.
    pub vertices: Vec<VertexResult>,
    /// How many of its checkpoints completed, as far as the last coordinator knew.
    pub completed_checkpoints: u64,
    /// How often a region of it was restarted, as far as the last coordinator knew.
    pub restarts: u64,
    /// [`JobGraph::computation`]: another graph under its id is not taken for it.
    pub computation: u64,
    /// Its last checkpoint, if that outlived it: known once nothing else is left of the job.
    pub retained: Option<RetainedCheckpoint>,
}

/// A checkpoint that has outlived its job, and is to be used as a savepoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RetainedCheckpoint {
    /// Its id.
    pub checkpoint: CheckpointId,
    /// The URL of the folder with its metadata.
    pub location: String,
    /// When it was triggered.
    pub triggered: Timestamp,
    /// When it was completed.
    pub completed: Timestamp,
    /// The bytes of all its snapshots.
    pub size: u64,
}

/// A vertex of a job that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VertexResult {
    /// Its 128-bit id.
    pub operator_id: u128,
    /// Its name.
    pub name: String,
    /// How many subtasks it had.
    pub parallelism: u32,
    /// How many key groups it had.
    pub max_parallelism: u32,
}

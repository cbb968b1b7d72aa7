//! The coordinator: takes jobs, places their tasks, coordinates checkpoints, notices failures and
//! recovers from them.

mod effect;
mod input;
mod view;

pub use effect::{Effect, Reply};
pub use input::{Command, Discard, DiscardOutcome, Input, StoreOutcome};
pub use view::{
    CheckpointEntry, CheckpointOutcome, CheckpointsDetails, ExceptionEntry, JobDetails, JobSummary,
    Overview, Restore, SubtaskDetails, TaskCounts, TaskManagerDetails, VertexDetails,
};

use crate::config::ClusterConfig;
use crate::id::{Epoch, JobId, VertexIndex};
use crate::record::Record;
use crate::time::Timestamp;
use alloc::string::String;
use alloc::vec::Vec;

/// Why a coordinator cannot be rebuilt from what is durable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// A record names a job of which there is no record.
    #[error("a {what} record names job {job}, of which there is no record")]
    Orphan {
        /// The kind of record.
        what: &'static str,
        /// The job.
        job: JobId,
    },
}

/// A broken invariant: our own mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invariant `{name}` is broken: {detail}")]
pub struct Violation {
    /// The invariant's name.
    pub name: &'static str,
    /// What was seen.
    pub detail: String,
}

/// The coordinator of a cluster while it leads.
///
/// *Driving it*: [`recover`](Self::recover), then [`step`](Self::step) for every input and when
/// [`next_deadline`](Self::next_deadline) has passed. Losing leadership is dropping the value.
/// *Looking at it*: [`overview`](Self::overview) and its siblings.
/// *Checking it*: [`digest`](Self::digest), [`check_invariants`](Self::check_invariants).
pub struct Coordinator {}

impl Coordinator {
    /// Rebuilds a leading coordinator from what is durable.
    ///
    /// # Errors
    /// The records contradict each other.
    pub fn recover(
        config: ClusterConfig,
        epoch: Epoch,
        records: Vec<Record>,
        now: Timestamp,
    ) -> Result<Self, RecoverError> {
        let _ = (config, epoch, records, now);
        Ok(Coordinator {})
    }

    /// Fires due timers, takes one input, appends what must be done to `effects`, in order. Cannot fail.
    /// The first step should follow [`recover`](Self::recover) at once, with [`Input::Wake`].
    pub fn step(&mut self, now: Timestamp, input: Input, effects: &mut Vec<Effect>) {
        let _ = (now, input, effects);
    }

    /// When to call `step(Input::Wake)` if nothing else happens. Extra calls are harmless.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        None
    }

    /// The cluster in one line.
    #[must_use]
    pub fn overview(&self) -> Overview {
        unimplemented!()
    }

    /// Every job that is remembered, by id.
    pub fn jobs(&self) -> impl Iterator<Item = JobSummary> {
        core::iter::empty()
    }

    /// One job.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<JobDetails> {
        let _ = id;
        None
    }

    /// The subtasks of one vertex of a job that has not ended.
    #[must_use]
    pub fn subtasks(&self, id: JobId, vertex: VertexIndex) -> Option<Vec<SubtaskDetails>> {
        let _ = (id, vertex);
        None
    }

    /// The checkpoints of one job.
    #[must_use]
    pub fn checkpoints(&self, id: JobId) -> Option<CheckpointsDetails> {
        let _ = id;
        None
    }

    /// The failures that one job has seen, the newest first.
    #[must_use]
    pub fn exceptions(&self, id: JobId) -> Option<Vec<ExceptionEntry>> {
        let _ = id;
        None
    }

    /// Every registered TaskManager, by name.
    pub fn taskmanagers(&self) -> impl Iterator<Item = TaskManagerDetails> {
        core::iter::empty()
    }

    /// A 64-bit digest of the whole state; equal states, equal digests, on every platform.
    #[must_use]
    pub fn digest(&self) -> u64 {
        0
    }

    /// Cross-module truths.
    ///
    /// # Errors
    /// The first one that does not hold.
    pub fn check_invariants(&self) -> Result<(), Violation> {
        Ok(())
    }
}

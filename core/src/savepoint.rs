//! What a savepoint is made of: the snapshots of a whole job, by operator, kept apart from the job. Its metadata,
//! which `proto` gives its bytes, is the last file that is written of it: where it is, the savepoint is complete.
//!
//! A checkpoint that outlives its job becomes one by its metadata alone: its files stay where they are.
//!
//! Not here: when one is taken, which is the coordinator's, and where its files are, which is the shells'.

mod restore;
mod retained;

pub use restore::RestoreProblem;

use crate::graph::{JobGraph, Regions};
use crate::id::VertexIndex;
use crate::id::{CheckpointId, JobId};
use crate::message::{StateHandle, SubtaskState};
use crate::time::Timestamp;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// A savepoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Savepoint {
    /// The job of which it was taken.
    pub job: JobId,
    /// The checkpoint as which it was taken.
    pub checkpoint: CheckpointId,
    /// When it was triggered.
    pub triggered: Timestamp,
    /// By vertex.
    pub operators: Vec<OperatorSnapshots>,
}

/// The snapshots of an operator.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OperatorSnapshots {
    /// Its 128-bit id, by which an operator of another job finds them.
    pub operator_id: u128,
    /// Its name, for people.
    pub name: String,
    /// How many key groups it had.
    pub max_parallelism: u32,
    /// Of every subtask.
    pub subtasks: Vec<SubtaskSnapshot>,
}

/// The snapshot of a subtask.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SubtaskSnapshot {
    /// Its state: [`StateHandle::nothing`] if it had finished before, [`SubtaskState::nothing`] if it has never
    /// completed a checkpoint.
    pub state: SubtaskState,
    /// All that it exchanges records with had processed the end of their input: it is not to be run again.
    pub ended: bool,
}

impl Savepoint {
    /// The bytes of all its snapshots.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.states().map(|state| state.size).sum()
    }

    /// The states of all subtasks, in the order of the vertices.
    pub fn states(&self) -> impl Iterator<Item = &StateHandle> {
        let subtasks = self.operators.iter().flat_map(|it| &it.subtasks);
        subtasks.flat_map(|subtask| subtask.state.handles())
    }

    /// The URL of its folder, in the one that the client named. The name is used once: ids of checkpoints never
    /// repeat within a job, nor those of jobs.
    #[must_use]
    pub fn location(directory: &str, job: JobId, checkpoint: CheckpointId) -> String {
        let directory = directory.trim_end_matches('/');
        format!("{directory}/{}{}", Self::folder_prefix(job), checkpoint.0)
    }

    /// The URL of the folder of a checkpoint that outlives its job, in the checkpoint storage.
    #[must_use]
    pub fn retained_location(storage: &str, job: JobId, checkpoint: CheckpointId) -> String {
        format!("{}/chk-{}", retained::folder(storage, job), checkpoint.0)
    }

    /// What the names of the folders of a job's savepoints begin with; the number of the checkpoint follows.
    #[must_use]
    pub fn folder_prefix(job: JobId) -> String {
        format!("savepoint-{job}-")
    }
}

impl OperatorSnapshots {
    /// The snapshots of all subtasks of a job, given by position, by operator.
    pub(crate) fn of_job(
        graph: &JobGraph,
        layout: &Regions,
        subtasks: &[SubtaskSnapshot],
    ) -> Vec<OperatorSnapshots> {
        let vertices = (0..).map(VertexIndex).zip(graph.vertices());
        let operators = vertices.map(|(index, vertex)| {
            let positions = layout.positions(index);
            let positions = positions.start as usize..positions.end as usize;
            OperatorSnapshots {
                operator_id: vertex.operator_id,
                name: vertex.name.clone(),
                max_parallelism: vertex.max_parallelism,
                subtasks: subtasks[positions].to_vec(),
            }
        });
        operators.collect()
    }
}

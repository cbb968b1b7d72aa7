//! What clients may see. Views are made between steps, at a cost proportional to the answer.

use crate::graph::JobGraph;
use crate::id::{
    Attempt, CheckpointId, Incarnation, JobId, SessionId, SlotIndex, SubtaskIndex, TaskManagerId,
};
use crate::message::Hardware;
use crate::record::{Bounds, RetainedCheckpoint};
use crate::state::{ExecutionState, JobStatus};
use crate::time::Timestamp;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The cluster in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// Registered TaskManagers.
    pub taskmanagers: u32,
    /// Their slots.
    pub slots_total: u32,
    /// Those of them in which no task is.
    pub slots_free: u32,
    /// Jobs that have not ended.
    pub jobs_running: u32,
    /// Jobs that ended by themselves.
    pub jobs_finished: u32,
    /// Jobs that were canceled.
    pub jobs_canceled: u32,
    /// Jobs that failed.
    pub jobs_failed: u32,
    /// Why the last write to the store did not succeed; `None` once one does.
    pub store_problem: Option<String>,
}

/// How many subtasks are in each state, by the order of [`ExecutionState::ALL`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TaskCounts(pub [u32; ExecutionState::ALL.len()]);

impl TaskCounts {
    /// How many are in this state.
    #[must_use]
    pub fn get(&self, state: ExecutionState) -> u32 {
        self.0[state as usize]
    }

    /// How many there are.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }
}

/// Slots and whose they are, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotCounts {
    /// Registered TaskManagers.
    pub taskmanagers: u32,
    /// Their slots.
    pub total: u32,
    /// Those of them that can be given to tasks.
    pub free: u32,
    /// How many slots are kept for jobs whose tasks move from TaskManagers that leave.
    pub kept: u32,
}

/// What changes most often about a job. Cheap: for those who look at every job after every step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobLine {
    /// Its id.
    pub id: JobId,
    /// Its state.
    pub status: JobStatus,
    /// Its subtasks.
    pub tasks: TaskCounts,
    /// How often a region of it was restarted.
    pub restarts: u64,
}

/// A job in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSummary {
    /// Its id.
    pub id: JobId,
    /// Its name.
    pub name: String,
    /// Its state.
    pub status: JobStatus,
    /// When it was submitted.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// When its state changed last.
    pub last_modified: Timestamp,
    /// Its subtasks.
    pub tasks: TaskCounts,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobDetails {
    /// The line.
    pub summary: JobSummary,
    /// When it came into each state last, by the order of [`JobStatus::ALL`].
    pub timestamps: [Option<Timestamp>; JobStatus::ALL.len()],
    /// Its vertices, in the order of the graph.
    pub vertices: Vec<VertexDetails>,
    /// Its graph; absent once it has ended.
    pub graph: Option<Arc<JobGraph>>,
    /// What it waits for, in words, if it waits.
    pub waiting: Option<String>,
    /// How often a region of it was restarted.
    pub restarts: u64,
    /// Why it failed.
    pub failure: Option<String>,
}

/// A vertex of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VertexDetails {
    /// Its 128-bit id.
    pub operator_id: u128,
    /// Its name.
    pub name: String,
    /// How many subtasks.
    pub parallelism: u32,
    /// How many key groups.
    pub max_parallelism: u32,
    /// When its current tasks were deployed.
    pub started: Option<Timestamp>,
    /// Its subtasks.
    pub tasks: TaskCounts,
}

/// How many subtasks the vertices of a job have, and are to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parallelism {
    /// In the order of the graph.
    pub vertices: Vec<VertexParallelism>,
    /// Whether it is changing.
    pub is_changing: bool,
    /// Why it is not as it is to be, if it cannot be now.
    pub problem: Option<String>,
}

/// How many subtasks a vertex has, and is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VertexParallelism {
    /// Its id.
    pub id: String,
    /// Its 128-bit id.
    pub operator_id: u128,
    /// So many it has.
    pub current: u32,
    /// As many as there are slots for, within these.
    pub bounds: Bounds,
}

/// What changes most often about a subtask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubtaskLine {
    /// The state of its current attempt.
    pub state: ExecutionState,
    /// Its current attempt.
    pub attempt: Attempt,
    /// Whether it has processed the end of its input.
    pub end_of_data: bool,
    /// Which slot of its TaskManager it has, if it has one.
    pub slot: Option<SlotIndex>,
}

/// A subtask of a vertex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubtaskDetails {
    /// Which.
    pub subtask: SubtaskIndex,
    /// The state of its current attempt.
    pub state: ExecutionState,
    /// Its current attempt.
    pub attempt: Attempt,
    /// Whether it has processed the end of its input.
    pub end_of_data: bool,
    /// Where it is, if it has a slot.
    pub location: Option<(TaskManagerId, SlotIndex)>,
}

/// The checkpoints of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CheckpointsDetails {
    /// How many restores from a checkpoint there were.
    pub restored: u64,
    /// How many completed.
    pub completed: u64,
    /// How many failed.
    pub failed: u64,
    /// How many are under way.
    pub in_progress: u64,
    /// The last one that completed.
    pub latest_completed: Option<CheckpointEntry>,
    /// The savepoint that completed last.
    pub latest_savepoint: Option<CheckpointEntry>,
    /// The last one that failed.
    pub latest_failed: Option<CheckpointEntry>,
    /// The last restore.
    pub latest_restored: Option<Restore>,
    /// The last ones, the newest first; bounded by `web.checkpoints.history`.
    pub history: Vec<CheckpointEntry>,
}

/// The checkpoint that outlives a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outliving {
    /// It.
    pub checkpoint: RetainedCheckpoint,
    /// Whether its metadata is there: another job can start from it.
    pub is_written: bool,
}

/// A restore from a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Restore {
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// When.
    pub at: Timestamp,
}

/// One checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CheckpointEntry {
    /// Its id.
    pub id: CheckpointId,
    /// Whether it is a savepoint.
    pub is_savepoint: bool,
    /// What became of it.
    pub outcome: CheckpointOutcome,
    /// When it was triggered.
    pub triggered: Timestamp,
    /// When the last acknowledgement came.
    pub latest_ack: Option<Timestamp>,
    /// How many subtasks take part.
    pub subtasks: u32,
    /// How many of them have acknowledged.
    pub acknowledged: u32,
    /// The bytes of the snapshots acknowledged so far.
    pub size: u64,
}

/// What became of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CheckpointOutcome {
    /// Under way.
    InProgress,
    /// Durable.
    Completed,
    /// Given up.
    Failed {
        /// When.
        at: Timestamp,
        /// Why: the reason's name in Flink's words, and the message.
        reason: String,
    },
}

/// What has become of a checkpoint that a client asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DemandState {
    /// Not all of the job has completed one since.
    UnderWay,
    /// All of it has, in this checkpoint or earlier.
    Completed(CheckpointId),
    /// It was given up, for this reason.
    Failed(String),
}

/// A failure that a job has seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ExceptionEntry {
    /// When.
    pub at: Timestamp,
    /// What the system said.
    pub message: String,
    /// The task that failed, in Flink's form `name (1/4) - execution #0`; absent for a failure of the
    /// whole job.
    pub task: Option<String>,
    /// Where the task was.
    pub taskmanager: Option<TaskManagerId>,
}

/// A registered TaskManager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskManagerDetails {
    /// Its name.
    pub id: TaskManagerId,
    /// Its session.
    pub session: SessionId,
    /// This life of its process.
    pub incarnation: Incarnation,
    /// Its data exchange address.
    pub data_address: String,
    /// When it was heard last.
    pub last_heard: Timestamp,
    /// Its slots.
    pub slots: u32,
    /// Those of them that can be given to tasks: none before it has answered, and none if it leaves.
    pub free_slots: u32,
    /// Whether it has said anything since its hello, and owes no answer for an interval of heartbeats.
    pub answers: bool,
    /// Whether it ends as soon as its tasks go on elsewhere.
    pub leaves: bool,
    /// How many tasks are in its slots.
    pub tasks: u32,
    /// What it runs on.
    pub hardware: Hardware,
    /// The jobs in its slots that are taken: `(slot, job, tasks)`.
    pub allocations: Vec<(SlotIndex, JobId, u32)>,
}

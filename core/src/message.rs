//! What JobManager and TaskManager tell each other, as plain values. `proto/` gives them their bytes.
//!
//! Every message to a TaskManager travels with the epoch of its sender; a TaskManager that has seen a
//! later epoch ignores it. Every message from a TaskManager travels on a session, which belongs to one
//! incarnation, and names the attempt it speaks of.

mod state;

pub use state::{ListPart, StateHandle, StateLocation, StateParts, SubtaskState};

use crate::config::CheckpointMode;
use crate::graph::JobEdge;
use crate::id::{
    Attempt, AttemptId, CheckpointId, Epoch, Incarnation, JobId, SlotIndex, SubtaskIndex, TaskId,
    TaskManagerId, VertexIndex,
};
use crate::state::ExecutionState;
use crate::time::Timestamp;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// The first message of a session: who the TaskManager is and what it has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hello {
    /// Its name.
    pub taskmanager: TaskManagerId,
    /// This life of its process.
    pub incarnation: Incarnation,
    /// The highest epoch it has obeyed, zero if none. A JobManager with a lower one is not its leader.
    pub seen_epoch: Epoch,
    /// How many times this process has said hello, this one included: one that was long on its way is not
    /// taken for a new one. Zero for one that does not count.
    pub hellos: u64,
    /// How many slots it has.
    pub slots: u32,
    /// Where other TaskManagers reach its data exchange, `host:port`.
    pub data_address: String,
    /// What it runs on, for people.
    pub hardware: Hardware,
    /// The operators it offers, sorted.
    pub operators: Vec<String>,
    /// Every attempt that it runs, and those that finished and were not yet released.
    pub inventory: Vec<InventoryItem>,
    /// The jobs that may have left something here or in the checkpoint storage: it has run tasks of them, and
    /// was not told since the last one ended that the job is of no interest any more. Sorted.
    pub jobs: Vec<JobId>,
    /// It leaves, and ends after this time at the latest, as if it had said [`FromTaskManager::Leave`].
    pub leaves_within: Option<Duration>,
}

/// What a TaskManager runs on, for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hardware {
    /// Logical processors.
    pub cpu_cores: u32,
    /// Bytes of memory.
    pub memory: u64,
}

/// An attempt that a TaskManager has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InventoryItem {
    /// Which.
    pub attempt: AttemptId,
    /// In which slot.
    pub slot: SlotIndex,
    /// In which state: INITIALIZING, RUNNING, CANCELING or FINISHED.
    pub state: ExecutionState,
    /// Whether it has processed the end of its input.
    pub end_of_data: bool,
    /// The checkpoint from which it was started, if any.
    pub restored: Option<CheckpointId>,
}

/// From the JobManager. See [`Envelope`] for the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ToTaskManager {
    /// The session is accepted.
    Welcome(Welcome),
    /// The session is not accepted; the stream ends after this.
    Refused(Refusal),
    /// Asks for a [`FromTaskManager::Heartbeat`] with the same number.
    Heartbeat {
        /// Counts up within the session.
        sequence: u64,
    },
    /// Run these tasks. Repeated, it is ignored: an attempt that is known is not started again.
    Deploy(Deployment),
    /// Stop these tasks. Every one that is known answers with its terminal state; of one that is not
    /// known, the JobManager is told that it is canceled.
    Cancel {
        /// The job.
        job: JobId,
        /// The attempt that shall stop; another attempt of these tasks is not touched.
        attempt: Attempt,
        /// The tasks.
        tasks: Vec<TaskId>,
    },
    /// Snapshot: the tasks without inputs send the barrier now.
    TriggerCheckpoint {
        /// The job.
        job: JobId,
        /// Which of its tasks; none are named if it is all of them.
        tasks: Vec<TaskId>,
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// When it was triggered.
        timestamp: Timestamp,
        /// If it is a savepoint: what is different then.
        savepoint: Option<SavepointOrder>,
    },
    /// The checkpoint is durable as far as these tasks are concerned: they commit what they prepared up to it.
    NotifyComplete {
        /// The job.
        job: JobId,
        /// Which of its tasks; none are named if it is all of them.
        tasks: Vec<TaskId>,
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Nothing comes after it, as they had all processed the end of their input, or were stopped with it:
        /// after the commit they finish.
        finish: bool,
    },
    /// The checkpoint will not complete as far as these tasks are concerned. What was prepared for it is
    /// committed with a later one.
    NotifyAborted {
        /// The job.
        job: JobId,
        /// Which of its tasks; none are named if it is all of them.
        tasks: Vec<TaskId>,
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// A new leader has adopted tasks of the job on this TaskManager.
    Resume {
        /// The job.
        job: JobId,
        /// Which of its tasks; none are named if it is all of them.
        tasks: Vec<TaskId>,
        /// Their latest completed checkpoint: to be committed if that was missed.
        completed: Option<CheckpointId>,
        /// Every checkpoint below this one that is later than `completed` is aborted.
        aborted_below: CheckpointId,
    },
    /// The job has ended for good: what is kept about it can be forgotten.
    ReleaseJob {
        /// The job.
        job: JobId,
    },
    /// A TaskManager that leaves has no task any more that is wanted, and gets none: it can end.
    Dismissed,
}

/// A message to a TaskManager with its fence.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Envelope {
    /// The sender's epoch.
    pub epoch: Epoch,
    /// What it says.
    pub message: ToTaskManager,
}

/// What is different with a savepoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SavepointOrder {
    /// The URL of its folder: what is not inside of an acknowledgement is written there.
    pub location: String,
    /// What becomes of the tasks.
    pub after: AfterSavepoint,
}

/// What becomes of a job with a savepoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AfterSavepoint {
    /// It goes on.
    GoOn,
    /// Sources read nothing after the barrier, unless the savepoint is given up. When it is complete, the tasks
    /// finish as they are: windows stay open.
    Suspend,
    /// Sources end, with all that follows from the end of data, before the barrier.
    Drain,
}

impl AfterSavepoint {
    /// Whether the job ends with it.
    #[must_use]
    pub fn stops(self) -> bool {
        self != AfterSavepoint::GoOn
    }
}

/// The answer to a [`Hello`] that is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Welcome {
    /// A peer that hears nothing for one interval may expect a heartbeat.
    pub heartbeat_interval: Duration,
    /// A peer that hears nothing for this long gives the session up.
    pub heartbeat_timeout: Duration,
    /// How long the TaskManager keeps its tasks without a JobManager.
    pub grace_period: Duration,
    /// How long a task may take to stop before the TaskManager's process ends; zero for without limit.
    pub cancellation_timeout: Duration,
    /// The first pause between two tries to register after the session is lost; it doubles.
    pub registration_initial: Duration,
    /// The longest pause between two tries to register.
    pub registration_max: Duration,
    /// The URL of the checkpoint storage.
    pub checkpoint_storage: String,
}

/// The answer to a [`Hello`] that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Refusal {
    /// Why, for people.
    pub reason: String,
    /// When to try again.
    pub retry_after: Duration,
}

/// Tasks to run, all of one attempt, with what they have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Deployment {
    /// The job.
    pub job: JobId,
    /// The attempt of all tasks.
    pub attempt: Attempt,
    /// What all tasks share; one for all TaskManagers.
    pub table: Arc<JobTable>,
    /// The checkpoint that the tasks restore, if any.
    pub restore: Option<CheckpointId>,
    /// Nothing comes after that checkpoint: the tasks publish what it has, and finish without reading.
    pub finish: bool,
    /// The tasks for this TaskManager.
    pub tasks: Vec<TaskDeployment>,
}

/// What all tasks of a deployment share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JobTable {
    /// The job's name.
    pub name: String,
    /// The job's vertices; a [`VertexIndex`] points here.
    pub vertices: Vec<TableVertex>,
    /// The job's edges. A channel is named by an edge's position here and the two subtasks.
    pub edges: Vec<JobEdge>,
    /// Where each slot of the job is: an index into [`Self::addresses`], or [`JobTable::NOWHERE`].
    /// Subtask i of a vertex is in slot `first_slot + i`.
    pub slots: Vec<u32>,
    /// Data exchange addresses of TaskManagers.
    pub addresses: Vec<String>,
    /// Whether and how the job takes checkpoints.
    pub checkpoints: Option<TableCheckpoints>,
}

impl JobTable {
    /// In [`JobTable::slots`]: the slot belongs to no TaskManager at present.
    pub const NOWHERE: u32 = u32::MAX;

    /// The data exchange address of a task of the deployed region.
    #[must_use]
    pub fn address(&self, task: TaskId) -> Option<&str> {
        let vertex = self.vertices.get(task.vertex.0 as usize)?;
        let slot = vertex.first_slot.checked_add(task.subtask.0)?;
        let index = *self.slots.get(slot as usize)?;
        self.addresses.get(index as usize).map(String::as_str)
    }
}

/// A vertex, as its tasks need it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableVertex {
    /// Its name.
    pub name: String,
    /// Stable over submissions.
    pub operator_id: u128,
    /// Which operator to run.
    pub operator: String,
    /// The operator's configuration: a JSON object as text.
    pub config: String,
    /// How many subtasks.
    pub parallelism: u32,
    /// How many key groups.
    pub max_parallelism: u32,
    /// The slot of subtask 0 in [`JobTable::slots`].
    pub first_slot: u32,
    /// Attempts before this one had another parallelism, if any had: what such a one left behind is the affair of who
    /// was given its state.
    pub since: Option<Attempt>,
}

/// How the job takes checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TableCheckpoints {
    /// What a barrier promises.
    pub mode: CheckpointMode,
    /// A snapshot of at most this many bytes travels inside its acknowledgement. Bytes.
    pub inline_threshold: u64,
}

/// One task to run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TaskDeployment {
    /// Which.
    pub task: TaskId,
    /// In which slot of this TaskManager.
    pub slot: SlotIndex,
    /// It starts after the end of its input: it reads nothing, and what it emitted at the end is not emitted again.
    pub end_of_data: bool,
    /// The state to start from; empty without a checkpoint, or if there is none of this operator in it. An operator
    /// of which there is some gives each of its subtasks something, be it a snapshot of which no part is meant.
    pub state: Vec<StateHandle>,
}

/// From a TaskManager, on a session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FromTaskManager {
    /// Answers [`ToTaskManager::Heartbeat`].
    Heartbeat {
        /// The number that was asked for.
        sequence: u64,
    },
    /// Tasks changed their state.
    TaskStates(Vec<TaskStateChange>),
    /// A task has snapshotted.
    Acknowledge(Acknowledgement),
    /// It wants to end, and does so after this time at the latest: it takes no more tasks, and those that it has
    /// are to go on elsewhere. Said once on a session at most.
    Leave {
        /// What is still in it then is lost.
        within: Duration,
    },
    /// A task cannot take part in a checkpoint.
    Decline {
        /// Who.
        attempt: AttemptId,
        /// In which checkpoint.
        checkpoint: CheckpointId,
        /// Why.
        reason: DeclineReason,
        /// Why, for people.
        message: String,
    },
}

/// A task changed its state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TaskStateChange {
    /// Which.
    pub attempt: AttemptId,
    /// What it is now.
    pub report: TaskReport,
}

/// What a task is now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TaskReport {
    /// The deployment was accepted; state is being restored.
    Initializing,
    /// Records flow.
    Running,
    /// All input is processed and all output sent; the task waits for its final checkpoint.
    EndOfData,
    /// Ended by itself. Terminal.
    Finished,
    /// Ended because it was told to, or not known here. Terminal.
    Canceled,
    /// Ended by an error. Terminal.
    Failed {
        /// The system's own words, with the path or peer they are about.
        cause: String,
    },
}

/// A task has snapshotted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Acknowledgement {
    /// Who.
    pub attempt: AttemptId,
    /// For which checkpoint.
    pub checkpoint: CheckpointId,
    /// The snapshot.
    pub state: StateHandle,
}

/// Why a task cannot take part in a checkpoint (Flink's `CheckpointFailureReason`, the task's part).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeclineReason {
    /// The task does not run yet, or no more.
    TaskNotReady,
    /// The snapshot could not be taken or stored. Counted against the tolerable failures.
    AsyncException,
    /// The barrier of a later checkpoint came first.
    Subsumed,
}

/// Identifies a channel between two tasks of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId {
    /// The job.
    pub job: JobId,
    /// The attempt of both tasks.
    pub attempt: Attempt,
    /// The edge's position in [`JobTable::edges`].
    pub edge: u32,
    /// The producer, a subtask of the edge's source.
    pub producer: SubtaskIndex,
    /// The consumer, a subtask of the edge's target.
    pub consumer: SubtaskIndex,
}

impl JobTable {
    /// The edges into a vertex with their positions.
    pub fn inputs(&self, vertex: VertexIndex) -> impl Iterator<Item = (u32, &JobEdge)> {
        (0..)
            .zip(&self.edges)
            .filter(move |(_, edge)| edge.target == vertex)
    }

    /// The edges out of a vertex with their positions.
    pub fn outputs(&self, vertex: VertexIndex) -> impl Iterator<Item = (u32, &JobEdge)> {
        (0..)
            .zip(&self.edges)
            .filter(move |(_, edge)| edge.source == vertex)
    }
}

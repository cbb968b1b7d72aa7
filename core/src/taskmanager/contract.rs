//! The facts and orders of [`Worker`](super::Worker).

use crate::id::{AttemptId, CheckpointId, Incarnation, SlotIndex, TaskManagerId};
use crate::message::{
    DeclineReason, Envelope, FromTaskManager, Hardware, Hello, JobTable, SavepointOrder,
    StateHandle,
};
use crate::time::Timestamp;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

/// Who a worker is and how it behaves without a JobManager.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkerConfig {
    /// Its name.
    pub taskmanager: TaskManagerId,
    /// This life of its process.
    pub incarnation: Incarnation,
    /// How many slots it has.
    pub slots: u32,
    /// Where other TaskManagers reach its data exchange, `host:port`.
    pub data_address: String,
    /// What it runs on.
    pub hardware: Hardware,
    /// The operators it offers.
    pub operators: Vec<String>,
    /// The first pause between two tries to register; it doubles.
    pub registration_initial: Duration,
    /// The longest pause between two tries to register.
    pub registration_max: Duration,
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Input {
    /// The connection that was ordered is open: hello is said by an effect of this step.
    Connected,
    /// The connection is gone, or could not be opened.
    Disconnected,
    /// The JobManager said something on the open connection.
    Message(Envelope),
    /// A task that was started did something.
    Task {
        /// Which.
        attempt: AttemptId,
        /// What.
        event: TaskEvent,
    },
    /// The process is to end as soon as its tasks go on elsewhere, and after this time at the latest. Of several
    /// such wishes the earliest end counts.
    Leave {
        /// Zero for at once.
        within: Duration,
    },
    /// Nothing but time has passed.
    Wake,
}

/// What a running task tells.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TaskEvent {
    /// Its state is restored; records flow.
    Running,
    /// It has processed the end of its input.
    EndOfData,
    /// It ended by itself. Nothing comes after this, and nothing is written.
    Finished,
    /// It ended because it was told to. Nothing comes after this, and nothing is written.
    Canceled,
    /// It ended by an error. Nothing comes after this, and nothing is written.
    Failed {
        /// The system's own words.
        cause: String,
    },
    /// It has snapshotted, and the snapshot is stored.
    Snapshotted {
        /// For which checkpoint.
        checkpoint: CheckpointId,
        /// The snapshot.
        state: StateHandle,
    },
    /// It cannot take part in a checkpoint.
    Declined {
        /// In which.
        checkpoint: CheckpointId,
        /// Why.
        reason: DeclineReason,
        /// Why, for people.
        message: String,
    },
}

/// One order to the shell.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Open a connection; answered by [`Input::Connected`] or [`Input::Disconnected`].
    Connect,
    /// Close the connection, or stop opening it. Not answered.
    Close,
    /// Say hello: the first message on a connection.
    SendHello(Hello),
    /// Say this, in order with everything else on the connection.
    Send(FromTaskManager),
    /// Start a task.
    Start(TaskStart),
    /// Stop a task; it tells when it has ended.
    Cancel(AttemptId),
    /// A task was told to stop and did not within the cancellation timeout: end the process, and so
    /// everything in it.
    GiveUp(AttemptId),
    /// End the process: it was to leave, and no task keeps it, or its time is over. Said once.
    End,
    /// Have a task without inputs snapshot and send the barrier.
    Trigger {
        /// Which task.
        attempt: AttemptId,
        /// For which checkpoint.
        checkpoint: CheckpointId,
        /// When the JobManager triggered it.
        timestamp: Timestamp,
        /// If it is a savepoint: what is different then.
        savepoint: Option<SavepointOrder>,
    },
    /// Tell a task that a checkpoint is durable.
    Complete {
        /// Which task.
        attempt: AttemptId,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Whether the task shall finish after its commit.
        finish: bool,
    },
    /// Tell a task that a checkpoint will not complete.
    Abort {
        /// Which task.
        attempt: AttemptId,
        /// Which checkpoint.
        checkpoint: CheckpointId,
    },
    /// Tell a task that no checkpoint below this one that has not completed will complete.
    AbortBelow {
        /// Which task.
        attempt: AttemptId,
        /// Which checkpoint.
        next: CheckpointId,
    },
}

/// A task to start.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TaskStart {
    /// Which attempt.
    pub attempt: AttemptId,
    /// In which slot.
    pub slot: SlotIndex,
    /// What it shares with the other tasks of its job.
    pub table: Arc<JobTable>,
    /// The checkpoint to restore, if any.
    pub restore: Option<CheckpointId>,
    /// It starts after the end of its input.
    pub end_of_data: bool,
    /// The state of that checkpoint.
    pub state: Vec<StateHandle>,
    /// Nothing comes after it: publish what it has, and finish without reading.
    pub finish: bool,
}

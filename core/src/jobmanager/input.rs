//! What can happen to a coordinator. Inputs are facts, not requests for permission.

use super::workers::WorkerReport;
use crate::graph::JobGraph;
use crate::id::{CheckpointId, CommitId, JobId, RequestId, SessionId, TriggerId, WorkerId};
use crate::message::{AfterSavepoint, FromTaskManager, Hello};
use crate::record::Bounds;
use crate::savepoint::Savepoint;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Input {
    /// A TaskManager opened a session and said hello.
    Connected {
        /// The new session.
        session: SessionId,
        /// Who it is.
        hello: Hello,
    },
    /// A TaskManager said something.
    Message {
        /// On which session.
        session: SessionId,
        /// What.
        message: FromTaskManager,
    },
    /// A session ended, whoever ended it.
    Disconnected {
        /// Which.
        session: SessionId,
    },
    /// A write ended.
    Stored {
        /// Which.
        commit: CommitId,
        /// How.
        outcome: StoreOutcome,
    },
    /// State was deleted from the checkpoint storage, or could not be.
    Discarded {
        /// What was to be deleted.
        discard: Discard,
        /// Whether it is gone now.
        outcome: StorageOutcome,
    },
    /// The metadata of a savepoint was written, or could not be.
    SavepointWritten {
        /// Of which job.
        job: JobId,
        /// As which checkpoint it was taken.
        checkpoint: CheckpointId,
        /// Whether it is complete now.
        outcome: StorageOutcome,
    },
    /// A client wants something.
    Command {
        /// Its call; exactly one reply is sent to it.
        request: RequestId,
        /// What it wants.
        command: Command,
    },
    /// The resource provider tells which workers there are: those that earlier coordinators have asked for. Said to
    /// each coordinator once, and before anything else about workers.
    Workers {
        /// Those whose processes run or are about to.
        present: Vec<WorkerId>,
    },
    /// The resource provider tells something about a worker.
    Worker {
        /// Which.
        worker: WorkerId,
        /// What.
        report: WorkerReport,
    },
    /// Nothing but time has passed.
    Wake,
}

/// How a write ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StoreOutcome {
    /// Every operation is durable.
    Done,
    /// The store has seen a later epoch; nothing was written.
    Fenced,
    /// Nothing was written; it can be tried again. The text is for people.
    Unavailable(String),
    /// The write may or may not have happened. The text is for people.
    Unknown(String),
}

/// Whether the checkpoint storage did what it was told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StorageOutcome {
    /// What was to be deleted is gone, or was never there; what was to be written is there, whole.
    Done,
    /// Some of it is still there, or is not there. The text is for people.
    Failed(String),
}

/// State that nothing refers to any more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Discard {
    /// All files of one checkpoint, late ones included.
    Checkpoint(JobId, CheckpointId),
    /// All files of a job, apart from its savepoints, and from what the metadata of a checkpoint names that was to
    /// outlive it.
    Job(JobId),
    /// A savepoint that the job owns, which has claimed it, and has no more use for.
    Owned {
        /// The job.
        job: JobId,
        /// The URL of its folder.
        location: String,
    },
    /// A savepoint that did not become complete.
    Savepoint {
        /// Of which job.
        job: JobId,
        /// The URL of its folder.
        location: String,
    },
    /// The files of every checkpoint of the job below `next` other than `keep`: what a coordinator
    /// that died left behind.
    Unreferenced {
        /// The job.
        job: JobId,
        /// The checkpoints that are retained.
        keep: Vec<CheckpointId>,
        /// The first checkpoint id that was never used.
        next: CheckpointId,
    },
}

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Command {
    /// Run a job. Repeated with the same job id, it is answered as the first one was.
    Submit {
        /// What it runs.
        graph: Arc<JobGraph>,
        /// The savepoint that its options name, if they do.
        from: Option<Arc<Savepoint>>,
    },
    /// Stop this job without regard to its output.
    Cancel(JobId),
    /// Change the parallelism of a job.
    Rescale {
        /// Of this job.
        job: JobId,
        /// Of these vertices, by their ids; that of the others stays as it was wanted last.
        bounds: BTreeMap<String, Bounds>,
    },
    /// Take a checkpoint now. Repeated with the same trigger id, it is answered as the first one was.
    Checkpoint {
        /// Of this job.
        job: JobId,
        /// Under which name the client will ask what came of it.
        trigger: TriggerId,
    },
    /// Take a savepoint. Repeated with the same trigger id, it is answered as the first one was.
    Savepoint(SavepointRequest),
}

/// A savepoint that a client wants.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SavepointRequest {
    /// Of which job.
    pub job: JobId,
    /// Under which name the client will ask what came of it.
    pub trigger: TriggerId,
    /// The URL of the folder in which it gets one of its own.
    pub directory: String,
    /// What becomes of the job.
    pub after: AfterSavepoint,
}

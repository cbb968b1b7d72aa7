//! What a coordinator orders. An effect that has been emitted may be carried out at once.

use super::input::Discard;
use crate::graph::Problem;
use crate::id::{CommitId, JobId, RequestId, SessionId, TriggerId, WorkerId};
use crate::message::Envelope;
use crate::record::{Bounds, RecordOp};
use crate::savepoint::{RestoreProblem, Savepoint};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// One order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Say this to a TaskManager, in order with everything else on the session.
    Send {
        /// On which session.
        session: SessionId,
        /// What.
        message: Envelope,
    },
    /// End the session after everything that was said on it.
    Disconnect {
        /// Which.
        session: SessionId,
    },
    /// Answer a client.
    Reply {
        /// Its call.
        request: RequestId,
        /// The answer.
        reply: Reply,
    },
    /// Write these in one transaction, fenced by the coordinator's epoch. At most one write is under
    /// way at any time; it is answered by [`super::Input::Stored`].
    Store {
        /// Names the write in its answer.
        commit: CommitId,
        /// What changes.
        ops: Vec<RecordOp>,
    },
    /// Write the metadata of a savepoint into its folder; answered by [`super::Input::SavepointWritten`].
    WriteSavepoint {
        /// The URL of the folder.
        location: String,
        /// What it is made of.
        savepoint: Arc<Savepoint>,
    },
    /// Delete this state; answered by [`super::Input::Discarded`].
    Discard(Discard),
    /// Start TaskManagers of these names; what becomes of each is told by [`super::Input::Worker`].
    RequestWorkers {
        /// Which: never one that was asked for before.
        workers: Vec<WorkerId>,
    },
    /// End a TaskManager that was asked for, or do not start it: it is to leave, as no job needs it, or was given up.
    ReleaseWorker {
        /// Which; its end is told, as that of any.
        worker: WorkerId,
    },
    /// This coordinator no longer leads. Drop it; nothing it emits later counts.
    StepDown {
        /// Why, for people.
        reason: String,
    },
}

/// Why a job cannot have a parallelism.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RescaleProblem {
    /// There is no such vertex.
    #[error("the job has no vertex `{0}`")]
    UnknownVertex(String),
    /// No number is within its bounds.
    #[error(
        "vertex `{vertex}`: the lower bound must be at least 1 and at most the upper one, not {}..{}",
        bounds.lower, bounds.upper
    )]
    Bounds {
        /// The vertex.
        vertex: String,
        /// What it was to have.
        bounds: Bounds,
    },
    /// The upper bound is not valid in the job's graph.
    #[error("{0}")]
    Graph(Problem),
    /// It needs more slots than one job gets.
    #[error("{0}")]
    TooManySlots(TooManySlots),
}

/// A job needs more slots than one job gets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[error(
    "at least {needed} slots are needed, and one job gets at most {most}: lower the parallelism, or raise jobmanager.scheduler.max-slots-per-job of the cluster"
)]
pub struct TooManySlots {
    /// How many it needs at least.
    pub needed: u32,
    /// How many it would get.
    pub most: u32,
}

/// The answer to a client's command.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reply {
    /// The job is durable and will run.
    Submitted(JobId),
    /// A job of this id is known already, as it was submitted before or has ended; nothing changed.
    AlreadySubmitted(JobId),
    /// A job of this id exists, or has ended, with another graph; nothing changed.
    Conflict(JobId),
    /// The job cannot start from its savepoint, for all these reasons; nothing changed.
    CannotRestore(JobId, Vec<RestoreProblem>),
    /// The job needs more slots than one job gets; nothing changed.
    TooManySlots(JobId, TooManySlots),
    /// The cancellation is durable and will be carried out.
    CancelAccepted(JobId),
    /// The wish for another parallelism is durable; it is carried out as soon as it can.
    RescaleAccepted(JobId),
    /// The job cannot have that parallelism, for all these reasons; nothing changed.
    CannotRescale(JobId, Vec<RescaleProblem>),
    /// The wish for a savepoint is durable; it is tried until it has an outcome.
    SavepointAccepted(JobId, TriggerId),
    /// The job takes a checkpoint as soon as it can. A later coordinator knows nothing of it.
    CheckpointAccepted(JobId, TriggerId),
    /// The job takes no checkpoints, and so no savepoints.
    WithoutCheckpoints(JobId),
    /// The job is about to end: nothing can be done with it any more.
    IsEnding(JobId),
    /// The job has already ended, in this state.
    AlreadyEnded(JobId, crate::state::JobStatus),
    /// There is no such job.
    UnknownJob(JobId),
    /// Too much is waiting; try again later. The text says for what.
    Overloaded(String),
}

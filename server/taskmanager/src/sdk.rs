//! What users write: sources, operators and sinks, registered by name.
//!
//! Each subtask of a vertex is one value of one of these traits, called from one thread. Calls come in
//! this order: the factory (with the restored state, if any), then any mixture of the data calls and
//! `snapshot`, then `finish` once at the end of the input: never in a job that is stopped with a savepoint and
//! not drained. A call that returns an error fails the task; the coordinator then restarts the task's region
//! from the last completed checkpoint.
//!
//! Exactly once: whatever a source or operator keeps between records must be in its snapshot. A sink
//! writes into a transaction; `snapshot` closes the transaction, `commit` publishes every transaction
//! up to a checkpoint, and must tolerate being called again for what is already published.
//!
//! A job may start from a savepoint with another parallelism, or get one while it runs. So a snapshot is a [`State`], which is made of parts,
//! and a subtask may be given parts that several others wrote, or none:
//!
//! | what is kept | goes into | another number of subtasks gets |
//! |---|---|---|
//! | something for each key | a key group, see [`KeyGroups`] | each group where a hash edge sends its keys |
//! | things of which each must be somewhere, such as positions to go on from | a [`Split`] list | each partition once, in equal shares |
//! | something that everybody has to know of everybody | a [`Union`] list | all partitions, each of them |
//! | something that all have in common | a [`Broadcast`] list | the copy of one, each of them |
//!
//! A subtask reads the whole of every snapshot of which it gets a part: keep what is in a [`Union`] list small, and do
//! not use one beside much other state without need.
//!
//! [`Split`]: DistributionMode::Split
//! [`Union`]: DistributionMode::Union
//! [`Broadcast`]: DistributionMode::Broadcast

pub use crate::state::{KeyGroups, State};
pub use jobmanager_core::redistribute::DistributionMode;

use crate::folders::Folders;
use jobmanager_core::id::{Attempt, AttemptId, CheckpointId, JobId};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Why a task fails: the system's own words, with the path or peer they are about.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OperatorError(pub String);

impl OperatorError {
    /// An error about something named, such as a path: `what: problem`.
    pub fn about(what: impl std::fmt::Display, problem: impl std::fmt::Display) -> Self {
        OperatorError(format!("{what}: {problem}"))
    }
}

/// A record, borrowed from the frame it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// What a hash edge partitions by, and what keyed operators count by.
    pub key: Option<&'a [u8]>,
    /// The payload.
    pub value: &'a [u8],
    /// Event time in milliseconds since the Unix epoch; 0 if the source has none.
    pub time: i64,
}

/// Where a source or operator puts its records. Records are partitioned and batched behind it.
pub trait Output {
    /// Sends a record over every outgoing edge. Waits while consumers are slow.
    ///
    /// # Errors
    /// The task is being canceled, or a consumer is lost: return the error at once.
    fn record(&mut self, record: Record<'_>) -> Result<(), OperatorError>;

    /// Promises that no record with an event time up to this one follows.
    ///
    /// # Errors
    /// As for [`Output::record`].
    fn watermark(&mut self, time: i64) -> Result<(), OperatorError>;
}

/// What a source has after a call of [`Source::poll`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceStatus {
    /// More, at once.
    Ready,
    /// Nothing before this time has passed. The task answers barriers meanwhile.
    Idle(Duration),
    /// Nothing ever again.
    Ended,
}

/// Makes records.
pub trait Source: Send {
    /// Emits a few records, at most some hundreds, and returns: barriers wait for the return.
    ///
    /// # Errors
    /// The task fails.
    fn poll(&mut self, output: &mut dyn Output) -> Result<SourceStatus, OperatorError>;

    /// Writes the position after the last record emitted. One that has come to its end writes that, too, be it as an
    /// empty list: from no state it would start from the beginning.
    ///
    /// # Errors
    /// The checkpoint is declined.
    fn snapshot(
        &mut self,
        checkpoint: CheckpointId,
        state: &mut State,
    ) -> Result<(), OperatorError>;
}

/// Makes records from records.
pub trait Operator: Send {
    /// Takes one record.
    ///
    /// # Errors
    /// The task fails.
    fn process(&mut self, record: Record<'_>, output: &mut dyn Output)
    -> Result<(), OperatorError>;

    /// No record with an event time up to this one follows. The watermark is passed on afterwards.
    ///
    /// # Errors
    /// The task fails.
    fn watermark(&mut self, time: i64, output: &mut dyn Output) -> Result<(), OperatorError> {
        let _ = (time, output);
        Ok(())
    }

    /// The input has ended: emit what is left. Not called again after a restore from a snapshot that
    /// was taken after it.
    ///
    /// # Errors
    /// The task fails.
    fn finish(&mut self, output: &mut dyn Output) -> Result<(), OperatorError> {
        let _ = output;
        Ok(())
    }

    /// Writes everything that must survive.
    ///
    /// # Errors
    /// The checkpoint is declined.
    fn snapshot(
        &mut self,
        checkpoint: CheckpointId,
        state: &mut State,
    ) -> Result<(), OperatorError>;
}

/// Takes records out of the system.
pub trait Sink: Send {
    /// Takes one record into the open transaction.
    ///
    /// # Errors
    /// The task fails.
    fn process(&mut self, record: Record<'_>) -> Result<(), OperatorError>;

    /// Closes the open transaction under this checkpoint (first phase) and writes which transactions are
    /// closed but not committed. What a closed transaction holds must survive a crash.
    ///
    /// # Errors
    /// The checkpoint is declined; the transaction stays open.
    fn snapshot(
        &mut self,
        checkpoint: CheckpointId,
        state: &mut State,
    ) -> Result<(), OperatorError>;

    /// Publishes every closed transaction up to this checkpoint (second phase). May be repeated, also
    /// by a later attempt that was restored from the checkpoint, whose factory must publish what the
    /// restored state describes.
    ///
    /// What other attempts closed and did not publish may be thrown away here, once a checkpoint is
    /// committed for which this attempt has snapshotted; never earlier, and never in the factory: a
    /// leader that was replaced may have ordered this attempt while another one is the job's. Those of attempts
    /// before [`OperatorContext::since`] are the affair of whoever was given their state, which need not be the
    /// subtask of the same number.
    ///
    /// # Errors
    /// The task fails.
    fn commit(&mut self, checkpoint: CheckpointId) -> Result<(), OperatorError>;

    /// The input has ended in a job without checkpoints: publish everything now. With checkpoints it is
    /// not called; the final checkpoint publishes.
    ///
    /// # Errors
    /// The task fails.
    fn finish(&mut self) -> Result<(), OperatorError>;
}

/// What a subtask is told when it is made.
#[derive(Debug, Clone)]
pub struct OperatorContext {
    /// The job's name.
    pub job_name: String,
    /// Which attempt of which task.
    pub attempt: AttemptId,
    /// The vertex's name.
    pub vertex: String,
    /// This subtask, from 0.
    pub subtask: u32,
    /// How many subtasks there are.
    pub parallelism: u32,
    /// How many key groups there are.
    pub max_parallelism: u32,
    /// Attempts of the job before this one had another parallelism, if any had: what was this subtask's then may be
    /// another one's now.
    pub since: Option<Attempt>,
    /// The vertex's `config` from the JobGraph: a JSON object.
    pub config: serde_json::Value,
    /// Whether the job takes checkpoints.
    pub checkpoints: bool,
    /// The checkpoint that is restored, if any.
    pub restored: Option<CheckpointId>,
    /// Where jobs may have files here; paths in `config` go through [`OperatorContext::path`].
    pub folders: Folders,
    /// What to go on from, even if nothing is in it: there may be more subtasks now than things to do. `None`
    /// without a checkpoint, or if this operator has no state in it: the subtask starts from the beginning.
    pub state: Option<State>,
}

impl OperatorContext {
    /// The job.
    #[must_use]
    pub fn job(&self) -> JobId {
        self.attempt.job
    }

    /// A path that the job names, as it may be used here.
    ///
    /// # Errors
    /// Jobs may have no files there.
    pub fn path(&self, path: impl AsRef<Path>) -> Result<PathBuf, OperatorError> {
        let path = path.as_ref();
        let admitted = self.folders.admit(path);
        admitted.map_err(|problem| OperatorError::about(path.display(), problem))
    }

    /// The key groups of the vertex.
    #[must_use]
    pub fn key_groups(&self) -> KeyGroups {
        KeyGroups::new(self.max_parallelism, self.parallelism, self.subtask)
    }
}

/// What a vertex's operator name stands for.
pub enum Behaviour {
    /// A source.
    Source(Box<dyn Source>),
    /// An operator.
    Operator(Box<dyn Operator>),
    /// A sink.
    Sink(Box<dyn Sink>),
}

type Factory = Arc<dyn Fn(&OperatorContext) -> Result<Behaviour, OperatorError> + Send + Sync>;

/// Operators by name.
#[derive(Clone, Default)]
pub struct Registry {
    factories: BTreeMap<String, Factory>,
}

impl Registry {
    /// A registry without operators.
    #[must_use]
    pub fn new() -> Self {
        Registry::default()
    }

    /// Registers a source. A name that is registered already is replaced.
    #[must_use]
    pub fn source<S: Source + 'static>(
        self,
        name: &str,
        make: impl Fn(&OperatorContext) -> Result<S, OperatorError> + Send + Sync + 'static,
    ) -> Self {
        self.register(name, move |cx| Ok(Behaviour::Source(Box::new(make(cx)?))))
    }

    /// Registers an operator. A name that is registered already is replaced.
    #[must_use]
    pub fn operator<O: Operator + 'static>(
        self,
        name: &str,
        make: impl Fn(&OperatorContext) -> Result<O, OperatorError> + Send + Sync + 'static,
    ) -> Self {
        self.register(name, move |cx| Ok(Behaviour::Operator(Box::new(make(cx)?))))
    }

    /// Registers a sink. A name that is registered already is replaced.
    #[must_use]
    pub fn sink<S: Sink + 'static>(
        self,
        name: &str,
        make: impl Fn(&OperatorContext) -> Result<S, OperatorError> + Send + Sync + 'static,
    ) -> Self {
        self.register(name, move |cx| Ok(Behaviour::Sink(Box::new(make(cx)?))))
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.factories.keys().map(String::as_str)
    }

    /// Makes a subtask.
    ///
    /// # Errors
    /// The name is not registered, or the factory refuses.
    pub fn make(&self, name: &str, cx: &OperatorContext) -> Result<Behaviour, OperatorError> {
        let Some(factory) = self.factories.get(name) else {
            return Err(OperatorError::about(
                name,
                "this TaskManager has no such operator",
            ));
        };
        factory(cx)
    }

    fn register(
        mut self,
        name: &str,
        make: impl Fn(&OperatorContext) -> Result<Behaviour, OperatorError> + Send + Sync + 'static,
    ) -> Self {
        self.factories.insert(name.to_owned(), Arc::new(make));
        self
    }
}

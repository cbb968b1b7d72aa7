//! Snapshots of a task: storing them, and reading them back.
//!
//! A small one travels with its acknowledgement, a large one is a file: of a checkpoint in the checkpoint storage, of a
//! savepoint in the folder that its order names. An operator without state, amid its data, has nothing to snapshot, so
//! that a job may go on without it. What the bytes are is the affair of [`State`].

use super::{Shared, Stop, Task};
use crate::channel::Barrier;
use crate::sdk::{KeyGroups, OperatorError, State};
use crate::storage::StorageError;
use jobmanager_core::id::{AttemptId, CheckpointId, JobId};
use jobmanager_core::message::{DeclineReason, JobTable, StateHandle, StateLocation};
use jobmanager_core::taskmanager::TaskEvent;
use std::convert::Infallible;
use std::sync::{Arc, mpsc};

/// Reads what the deployment says the task starts from; `None` if it starts from the beginning.
pub(crate) fn restore(task: &Task, key_groups: KeyGroups) -> Result<Option<State>, Stop> {
    if task.start.state.is_empty() {
        return Ok(None);
    }
    let mut state = State::new(key_groups);
    for handle in &task.start.state {
        let (bytes, place) = match &handle.location {
            StateLocation::Inline(bytes) => (bytes.clone(), "an inline snapshot"),
            StateLocation::File(name) => {
                let storage = task.shared.storage().of_job(task.start.attempt.job);
                let read = storage.read(name, handle.size);
                (wait_for(task, read)?, name.as_str())
            }
            StateLocation::Url(url) => {
                let storage = task.shared.storage();
                let read = storage.read_url(url, handle.size, &task.shared.folders);
                (wait_for(task, read)?, url.as_str())
            }
        };
        let taken = state.take(&bytes, handle.parts.as_deref());
        taken.map_err(|problem| Stop::Failed(format!("restore: {place}: {problem}")))?;
    }
    Ok(Some(state))
}

fn wait_for(
    task: &Task,
    read: impl Future<Output = Result<Vec<u8>, StorageError>>,
) -> Result<Vec<u8>, Stop> {
    let unreadable = |problem: StorageError| Stop::Failed(format!("restore: {problem}"));
    task.shared.runtime.block_on(read).map_err(unreadable)
}

/// Stores the snapshots of one task and reports them. Goes when all are stored: a task has ended only when
/// nothing of it is written any more, because what its job left is removed after that.
pub(crate) struct Snapshots {
    attempt: AttemptId,
    key_groups: KeyGroups,
    inline_threshold: u64,
    shared: Shared,
    /// Every write under way has a copy of the sender. Nothing is sent: it tells when there is none any more.
    writing: Option<mpsc::Sender<Infallible>>,
    written: mpsc::Receiver<Infallible>,
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        self.writing = None;
        let _ = self.written.recv();
    }
}

impl Snapshots {
    pub(crate) fn new(
        attempt: AttemptId,
        key_groups: KeyGroups,
        table: &JobTable,
        shared: Shared,
    ) -> Snapshots {
        let (writing, written) = mpsc::channel();
        Snapshots {
            writing: Some(writing),
            written,
            attempt,
            key_groups,
            inline_threshold: table.checkpoints.map_or(0, |how| how.inline_threshold),
            shared,
        }
    }

    /// Has the operator write its snapshot. A small one is reported at once, a large one when it is stored.
    pub(crate) fn take(
        &self,
        barrier: &Barrier,
        end_of_data: bool,
        write: impl FnOnce(&mut State) -> Result<(), OperatorError>,
    ) {
        let checkpoint = barrier.checkpoint;
        let mut state = State::new(self.key_groups);
        if let Err(OperatorError(problem)) = write(&mut state) {
            return self.decline(checkpoint, DeclineReason::AsyncException, problem);
        }
        if state.is_nothing() && !end_of_data {
            return self.report(snapshotted(checkpoint, StateHandle::nothing()));
        }
        let (bytes, parts) = (state.to_bytes(), state.parts());
        let size = bytes.len() as u64;
        let handle = move |location| StateHandle {
            location,
            size,
            end_of_data,
            parts: Some(Arc::new(parts)),
        };
        if size <= self.inline_threshold {
            let location = StateLocation::Inline(bytes);
            return self.report(snapshotted(checkpoint, handle(location)));
        }
        let file = SnapshotFile::new(self.attempt, barrier);
        let (attempt, shared) = (self.attempt, self.shared.clone());
        let writing = self.writing.clone();
        self.shared.runtime.spawn(async move {
            let _writing = writing;
            let event = match file.write(&shared, bytes).await {
                Ok(location) => snapshotted(checkpoint, handle(location)),
                Err(problem) => TaskEvent::Declined {
                    checkpoint,
                    reason: DeclineReason::AsyncException,
                    message: problem.to_string(),
                },
            };
            // Without a session nobody is left to tell.
            let _ = shared.reports.send((attempt, event)).await;
        });
    }

    /// The barrier of a later checkpoint came first.
    pub(crate) fn subsumed(&self, checkpoint: CheckpointId) {
        let message = "the barrier of a later checkpoint came first".to_owned();
        self.decline(checkpoint, DeclineReason::Subsumed, message);
    }

    fn decline(&self, checkpoint: CheckpointId, reason: DeclineReason, message: String) {
        self.report(TaskEvent::Declined {
            checkpoint,
            reason,
            message,
        });
    }

    fn report(&self, event: TaskEvent) {
        // Without a session nobody is left to tell.
        let _ = self.shared.reports.blocking_send((self.attempt, event));
    }
}

fn snapshotted(checkpoint: CheckpointId, state: StateHandle) -> TaskEvent {
    TaskEvent::Snapshotted { checkpoint, state }
}

/// Where a snapshot is written.
enum SnapshotFile {
    /// Under this path in the folder of the job.
    Checkpoint { job: JobId, path: String },
    /// Under this name in the folder at this URL.
    Savepoint { folder: String, name: String },
}

impl SnapshotFile {
    /// No other attempt has this file: a late write cannot replace what a later attempt wrote.
    fn new(attempt: AttemptId, barrier: &Barrier) -> SnapshotFile {
        let (vertex, subtask) = (attempt.task.vertex.0, attempt.task.subtask.0);
        let (epoch, number) = (attempt.attempt.epoch.0, attempt.attempt.number);
        let name = format!("{vertex}-{subtask}-{epoch}.{number}");
        match &barrier.savepoint {
            None => SnapshotFile::Checkpoint {
                job: attempt.job,
                path: format!("chk-{}/{name}", barrier.checkpoint.0),
            },
            Some(order) => SnapshotFile::Savepoint {
                folder: order.location.clone(),
                name,
            },
        }
    }

    async fn write(self, shared: &Shared, bytes: Vec<u8>) -> Result<StateLocation, StorageError> {
        match self {
            SnapshotFile::Checkpoint { job, path } => {
                let storage = shared.storage().of_job(job);
                storage.write(&path, bytes).await?;
                Ok(StateLocation::File(path))
            }
            SnapshotFile::Savepoint { folder, name } => {
                let storage = shared.storage().open_beside(&folder, &shared.folders)?;
                storage.write(&name, bytes).await?;
                Ok(StateLocation::Url(format!("{folder}/{name}")))
            }
        }
    }
}

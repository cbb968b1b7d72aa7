//! Snapshots of a task: their envelope, storing them, and reading them back.
//!
//! Around the operator's bytes there is one byte of version, [`VERSION`], and one byte that is 1 if the
//! snapshot was taken after the end of the task's data, else 0. A large one is a file: of a checkpoint in the
//! checkpoint storage, of a savepoint in the folder that its order names. An operator without state, amid its data,
//! has nothing to snapshot, so that a job may go on without it.

use super::{Shared, Stop, Task};
use crate::channel::Barrier;
use crate::sdk::OperatorError;
use crate::storage::{Storage, StorageError};
use jobmanager_core::id::{AttemptId, CheckpointId, JobId};
use jobmanager_core::message::{DeclineReason, JobTable, StateHandle, StateLocation};
use jobmanager_core::taskmanager::TaskEvent;
use std::convert::Infallible;
use std::sync::mpsc;

/// The version of the envelope.
const VERSION: u8 = 1;

/// What a task is restored from.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Restored {
    /// The operator's bytes, one per handle.
    pub(crate) state: Vec<Vec<u8>>,
    /// Whether each of them was taken after the end of its task's data; false without any.
    pub(crate) end_of_data: bool,
}

/// Reads what the deployment says the task starts from.
pub(crate) fn restore(task: &Task) -> Result<Restored, Stop> {
    let mut restored = Restored {
        state: Vec::new(),
        end_of_data: !task.start.state.is_empty(),
    };
    for handle in &task.start.state {
        let (bytes, place) = match &handle.location {
            StateLocation::Inline(bytes) => (bytes.clone(), "an inline snapshot"),
            StateLocation::File(name) => {
                let storage = task.shared.storage().of_job(task.start.attempt.job);
                (read(task, &storage, name, handle.size)?, name.as_str())
            }
            StateLocation::Url(url) => {
                let (folder, name) = url.rsplit_once('/').unwrap_or(("", url));
                let storage = Storage::open(folder).map_err(unreadable)?;
                (read(task, &storage, name, handle.size)?, url.as_str())
            }
        };
        let (end_of_data, state) =
            open(bytes).map_err(|problem| Stop::Failed(format!("restore: {place}: {problem}")))?;
        restored.end_of_data &= end_of_data;
        restored.state.push(state);
    }
    Ok(restored)
}

fn read(task: &Task, storage: &Storage, name: &str, size: u64) -> Result<Vec<u8>, Stop> {
    let read = storage.read(name, size);
    task.shared.runtime.block_on(read).map_err(unreadable)
}

fn unreadable(problem: StorageError) -> Stop {
    Stop::Failed(format!("restore: {problem}"))
}

/// Stores the snapshots of one task and reports them. Goes when all are stored: a task has ended only when
/// nothing of it is written any more, because what its job left is removed after that.
pub(crate) struct Snapshots {
    attempt: AttemptId,
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
    pub(crate) fn new(attempt: AttemptId, table: &JobTable, shared: Shared) -> Snapshots {
        let (writing, written) = mpsc::channel();
        Snapshots {
            writing: Some(writing),
            written,
            attempt,
            inline_threshold: table.checkpoints.map_or(0, |how| how.inline_threshold),
            shared,
        }
    }

    /// Takes over what the operator answered. A small snapshot is reported at once, a large one when it
    /// is stored.
    pub(crate) fn taken(
        &self,
        barrier: &Barrier,
        end_of_data: bool,
        snapshot: Result<Vec<u8>, OperatorError>,
    ) {
        let checkpoint = barrier.checkpoint;
        let bytes = match snapshot {
            Ok(bytes) if bytes.is_empty() && !end_of_data => {
                return self.report(snapshotted(checkpoint, end_of_data, StateHandle::nothing()));
            }
            Ok(bytes) => seal(end_of_data, &bytes),
            Err(OperatorError(problem)) => {
                let reason = DeclineReason::AsyncException;
                return self.decline(checkpoint, reason, problem);
            }
        };
        let size = bytes.len() as u64;
        if size <= self.inline_threshold {
            let location = StateLocation::Inline(bytes);
            let state = StateHandle { location, size };
            return self.report(snapshotted(checkpoint, end_of_data, state));
        }
        let file = SnapshotFile::new(self.attempt, barrier);
        let (attempt, shared) = (self.attempt, self.shared.clone());
        let writing = self.writing.clone();
        self.shared.runtime.spawn(async move {
            let _writing = writing;
            let event = match file.write(&shared, bytes).await {
                Ok(location) => {
                    snapshotted(checkpoint, end_of_data, StateHandle { location, size })
                }
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

fn snapshotted(checkpoint: CheckpointId, end_of_data: bool, state: StateHandle) -> TaskEvent {
    TaskEvent::Snapshotted {
        checkpoint,
        state,
        end_of_data,
    }
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
                Storage::open(&folder)?.write(&name, bytes).await?;
                Ok(StateLocation::Url(format!("{folder}/{name}")))
            }
        }
    }
}

fn seal(end_of_data: bool, state: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(state.len() + 2);
    bytes.extend([VERSION, u8::from(end_of_data)]);
    bytes.extend_from_slice(state);
    bytes
}

fn open(mut bytes: Vec<u8>) -> Result<(bool, Vec<u8>), String> {
    match bytes.as_slice() {
        [VERSION, end_of_data @ (0 | 1), ..] => {
            let end_of_data = *end_of_data == 1;
            bytes.drain(..2);
            Ok((end_of_data, bytes))
        }
        [VERSION, ..] | [] => Err("the snapshot is damaged".to_owned()),
        [version, ..] => Err(format!(
            "the snapshot has version {version}, this TaskManager reads version {VERSION}"
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_envelope_gives_back_what_was_put_in() {
        for end_of_data in [false, true] {
            let sealed = seal(end_of_data, b"state");
            assert_eq!(open(sealed).unwrap(), (end_of_data, b"state".to_vec()));
        }
    }

    #[test]
    fn a_snapshot_that_is_not_ours_is_refused() {
        assert!(open(vec![]).is_err());
        assert!(open(vec![VERSION]).is_err());
        assert!(open(vec![VERSION, 2]).is_err());
        assert!(open(vec![9, 0]).unwrap_err().contains("version 9"));
    }
}

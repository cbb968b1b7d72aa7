//! Deletes what no checkpoint refers to any more from the checkpoint storage, and what did not become a
//! savepoint from wherever that was to be.
//!
//! The storage has one folder per job, named by its 32 hex digits, and in it one folder `chk-<id>` per
//! checkpoint. A deletion that fails is reported to the coordinator, which tries again later; nothing
//! here ends the process.

use crate::driver::Driver;
use crate::savepoints;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use jobmanager_core::id::{CheckpointId, JobId};
use jobmanager_core::jobmanager::{Discard, Input, StorageOutcome};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use prometheus_client::metrics::gauge::Gauge;
use std::io;
use std::path::PathBuf;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tracing::warn;

/// How many deletions may wait. The coordinator orders one or two per completed checkpoint, and is told
/// at once when there is no room.
const WAITING: usize = 1024;

/// A checkpoint storage that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageProblem {
    /// Not a URL of a kind that is built in.
    #[error(
        "checkpoint storage `{0}` cannot be used: an absolute file URL is expected, such as file:///var/lib/checkpoints (execution.checkpointing.dir, --checkpoint-dir)"
    )]
    Unsupported(String),
    /// Its folder cannot be made, or no file can be made and deleted in it.
    #[error(
        "checkpoint storage {path} cannot be used: {problem}; give it a folder that can be written, or choose another one with --checkpoint-dir (execution.checkpointing.dir)"
    )]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// The system's words.
        problem: String,
    },
}

/// The storage that TaskManagers write their snapshots to, as the JobManager sees it.
#[derive(Debug, Clone)]
pub struct CheckpointStorage {
    root: PathBuf,
}

impl CheckpointStorage {
    /// The storage behind a URL. Its folder is made if it does not exist, and tried with a small file.
    /// If it goes away later, that fails the checkpoints that need it, not the JobManager.
    ///
    /// # Errors
    /// The URL is of a kind that is not built in, or the folder cannot be written.
    pub fn open(url: &str) -> Result<CheckpointStorage, StorageProblem> {
        let path = url.strip_prefix("file://").or(url.strip_prefix("file:"));
        let root = path
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .ok_or_else(|| StorageProblem::Unsupported(url.to_owned()))?;
        match probe(&root) {
            Ok(()) => Ok(CheckpointStorage { root }),
            Err(error) => Err(StorageProblem::Unusable {
                path: root,
                problem: error.to_string(),
            }),
        }
    }

    fn objects(&self) -> object_store::Result<LocalFileSystem> {
        Ok(LocalFileSystem::new_with_prefix(&self.root)?.with_automatic_cleanup(true))
    }

    /// Deletes it; what is not there is deleted.
    async fn discard(&self, discard: &Discard) -> object_store::Result<()> {
        let (prefix, keep) = match discard {
            Discard::Checkpoint(job, id) => (checkpoint_folder(*job, *id), None),
            Discard::Job(job) => (job_folder(*job), None),
            Discard::Unreferenced { job, keep, next } => (job_folder(*job), Some((keep, *next))),
            Discard::Savepoint { location, .. } => return savepoints::discard(location).await,
        };
        // Opened each time, so that a folder that was away for a while is found again.
        let objects = self.objects()?;
        let found: BoxStream<'_, object_store::Result<ObjectMeta>> = objects.list(Some(&prefix));
        found
            .try_for_each_concurrent(Some(CONCURRENT_DELETIONS), |object| {
                let wanted = keep.is_none_or(|(keep, next)| {
                    checkpoint_of(&prefix, &object.location)
                        .is_some_and(|id| id < next && !keep.contains(&id))
                });
                let objects = &objects;
                async move {
                    if wanted {
                        delete(objects, &object.location).await?;
                    }
                    Ok(())
                }
            })
            .await
    }
}

/// The file that shows whether a storage can be used. Not the name of any job's folder.
const PROBE: &str = ".probe";

/// Makes the folder, and a file in it, and deletes the file.
fn probe(folder: &std::path::Path) -> io::Result<()> {
    if folder.exists() && !folder.is_dir() {
        let words = "it is not a folder";
        return Err(io::Error::new(io::ErrorKind::NotADirectory, words));
    }
    std::fs::create_dir_all(folder)?;
    let file = folder.join(PROBE);
    std::fs::write(&file, "this folder can be written\n")?;
    match std::fs::remove_file(&file) {
        // Another JobManager that tries the same folder may have been faster.
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// How many files of one deletion are deleted at the same time.
const CONCURRENT_DELETIONS: usize = 8;

async fn delete(objects: &LocalFileSystem, location: &Path) -> object_store::Result<()> {
    match objects.delete(location).await {
        Err(object_store::Error::NotFound { .. }) => Ok(()),
        other => other,
    }
}

fn job_folder(job: JobId) -> Path {
    Path::from(job.to_string())
}

fn checkpoint_folder(job: JobId, id: CheckpointId) -> Path {
    job_folder(job).join(format!("chk-{}", id.0).as_str())
}

/// To which checkpoint of the job with this folder a file belongs.
fn checkpoint_of(job: &Path, file: &Path) -> Option<CheckpointId> {
    let folder = file.prefix_match(job)?.next()?;
    let id = folder.as_ref().strip_prefix("chk-")?.parse().ok()?;
    Some(CheckpointId(id))
}

/// Deletions that wait for their turn. With this they are given up: whoever leads next orders what is left.
#[derive(Debug)]
pub(crate) struct DiscardQueue {
    orders: mpsc::Sender<Discard>,
    task: AbortHandle,
    /// How many there are, for whoever scrapes.
    waiting: Gauge,
}

impl Drop for DiscardQueue {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl DiscardQueue {
    /// Starts the task that deletes, one order after the other, and reports to the driver.
    pub(crate) fn start(storage: CheckpointStorage, driver: Driver) -> DiscardQueue {
        let (orders, mut ordered) = mpsc::channel(WAITING);
        let waiting = driver.telemetry().deletions.clone();
        let deletes = tokio::spawn(async move {
            while let Some(discard) = ordered.recv().await {
                let outcome = match storage.discard(&discard).await {
                    Ok(()) => StorageOutcome::Done,
                    Err(error) => {
                        warn!(?discard, %error, "checkpoint state was not deleted");
                        StorageOutcome::Failed(error.to_string())
                    }
                };
                driver.telemetry().deletions.dec();
                driver.input(Input::Discarded { discard, outcome }).await;
            }
        });
        let task = deletes.abort_handle();
        DiscardQueue {
            orders,
            task,
            waiting,
        }
    }

    /// Queues an order; returns what to tell the coordinator if there is no room.
    pub(crate) fn push(&self, discard: Discard) -> Option<Input> {
        self.waiting.inc();
        let discard = self.orders.try_send(discard).err()?.into_inner();
        self.waiting.dec();
        let outcome = StorageOutcome::Failed("too many deletions wait".to_owned());
        Some(Input::Discarded { discard, outcome })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    const JOB: JobId = JobId(7);

    fn storage_with(checkpoints: &[u64]) -> (tempfile::TempDir, CheckpointStorage) {
        let folder = tempfile::tempdir().unwrap();
        for id in checkpoints {
            let folder = folder
                .path()
                .join(JOB.to_string())
                .join(format!("chk-{id}"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("a"), "state").unwrap();
            fs::write(folder.join("b"), "state").unwrap();
        }
        let url = format!("file://{}", folder.path().display());
        let storage = CheckpointStorage::open(&url).unwrap();
        (folder, storage)
    }

    fn left(folder: &tempfile::TempDir) -> Vec<String> {
        let Ok(entries) = fs::read_dir(folder.path().join(JOB.to_string())) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_checkpoint_is_deleted_with_its_folder_and_nothing_else() {
        let (folder, storage) = storage_with(&[1, 10]);
        let discard = Discard::Checkpoint(JOB, CheckpointId(1));
        storage.discard(&discard).await.unwrap();
        assert_eq!(left(&folder), ["chk-10"]);
        storage.discard(&discard).await.unwrap();
        assert_eq!(left(&folder), ["chk-10"]);
    }

    #[tokio::test]
    async fn unreferenced_checkpoints_are_those_below_the_mark_that_are_not_kept() {
        let (folder, storage) = storage_with(&[1, 2, 3, 4, 5]);
        let discard = Discard::Unreferenced {
            job: JOB,
            keep: vec![CheckpointId(2)],
            next: CheckpointId(4),
        };
        storage.discard(&discard).await.unwrap();
        assert_eq!(left(&folder), ["chk-2", "chk-4", "chk-5"]);
    }

    #[tokio::test]
    async fn a_job_is_deleted_whole() {
        let (folder, storage) = storage_with(&[1, 2]);
        storage.discard(&Discard::Job(JOB)).await.unwrap();
        assert!(left(&folder).is_empty());
    }

    #[tokio::test]
    async fn a_storage_that_is_gone_is_a_failure_with_its_path() {
        let (folder, storage) = storage_with(&[1]);
        let path = folder.path().to_owned();
        drop(folder);
        let error = storage.discard(&Discard::Job(JOB)).await.unwrap_err();
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
    }

    #[test]
    fn a_storage_that_cannot_be_written_is_refused_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "in the way").unwrap();
        // Where a folder stands, nobody can write a file, not even the superuser.
        let unwritable = folder.path().join("unwritable");
        fs::create_dir_all(unwritable.join(PROBE)).unwrap();
        for path in [file.clone(), file.join("below"), unwritable] {
            let url = format!("file://{}", path.display());
            let words = CheckpointStorage::open(&url).unwrap_err().to_string();
            for part in [path.to_str().unwrap(), "--checkpoint-dir"] {
                assert!(words.contains(part), "{part} in {words}");
            }
        }
        let usable = folder.path().join("a/b");
        CheckpointStorage::open(&format!("file://{}", usable.display())).unwrap();
        assert_eq!(fs::read_dir(usable).unwrap().count(), 0);
    }

    #[test]
    fn a_storage_that_is_not_built_in_is_refused_by_name() {
        for url in ["s3://bucket/x", "file://relative", "/no/scheme", ""] {
            let error = CheckpointStorage::open(url).unwrap_err();
            assert_eq!(error, StorageProblem::Unsupported(url.to_owned()));
        }
    }
}

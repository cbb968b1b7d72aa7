//! Deletes what no checkpoint refers to any more from the checkpoint storage, and what did not become a
//! savepoint, or belongs to a job that has no more use for it, from wherever that is.
//!
//! The storage is a folder, or a prefix in object storage. It has one folder per job, named by its 32 hex
//! digits, and in it one folder `chk-<id>` per checkpoint. What the metadata in one of these names outlives the job.
//! A deletion that fails is reported to the
//! coordinator, which tries again later; nothing here ends the process.

use crate::driver::Driver;
use crate::election::random;
use crate::objects::{Bucket, Files, Found, Place, shown};
use crate::savepoints;
use futures::StreamExt;
use jobmanager_core::id::{CheckpointId, JobId};
use jobmanager_core::jobmanager::{Discard, Input, StorageOutcome};
use prometheus_client::metrics::gauge::Gauge;
use std::io;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_stream::wrappers::ReceiverStream;
use tracing::warn;

/// How many deletions may wait. The coordinator orders one or two per completed checkpoint, and is told
/// at once when there is no room.
const WAITING: usize = 1024;

/// How many are carried out at the same time: each waits for a few answers of the storage.
const AT_A_TIME: usize = 8;

/// A checkpoint storage that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageProblem {
    /// Not a URL of a kind that is built in, or without what it takes to open it.
    #[error(
        "checkpoint storage `{url}` cannot be used: {problem} (execution.checkpointing.dir, --checkpoint-dir)"
    )]
    Unsupported {
        /// What was given for a URL, without credentials.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
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
    /// No object can be made, read and deleted in it.
    #[error(
        "checkpoint storage {url} cannot be used: {problem}; see that the bucket is there and lets this JobManager in, by what the environment says in {variables}, or choose another one with --checkpoint-dir (execution.checkpointing.dir)"
    )]
    Unreachable {
        /// The bucket and prefix.
        url: String,
        /// The server's words, or the system's.
        problem: String,
        /// The environment variables that credentials are in.
        variables: &'static str,
    },
}

/// The storage that TaskManagers write their snapshots to, as the JobManager sees it.
#[derive(Debug, Clone)]
pub struct CheckpointStorage {
    place: Place,
}

impl CheckpointStorage {
    /// The storage behind a URL. A bucket is tried with a small object; nothing is done to a folder before
    /// [`CheckpointStorage::make_folder`]. If it goes away later, that fails the checkpoints that need it, not the
    /// JobManager.
    ///
    /// # Errors
    /// The URL is of a kind that is not built in, or the bucket does not let itself be used.
    pub async fn open(url: &str) -> Result<CheckpointStorage, StorageProblem> {
        let place = Place::parse(url).map_err(|problem| StorageProblem::Unsupported {
            url: shown(url),
            problem,
        })?;
        if let Place::Bucket(bucket) = &place {
            let tried = try_out(&Files::of(bucket)).await;
            tried.map_err(|problem| unreachable(bucket, problem))?;
        }
        Ok(CheckpointStorage { place })
    }

    /// Makes its folder, if it is one that does not exist, and tries it with a small file.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn make_folder(&self) -> Result<(), StorageProblem> {
        let Place::Folder(path) = &self.place else {
            return Ok(());
        };
        probe(path).map_err(|error| StorageProblem::Unusable {
            path: path.clone(),
            problem: error.to_string(),
        })
    }

    /// Deletes it; what is not there is deleted.
    async fn discard(&self, discard: &Discard) -> Result<(), String> {
        // Opened each time, so that a folder that was away for a while is found again.
        discard_in(|| self.place.contents(), discard).await
    }
}

/// Deletes what is ordered, of a checkpoint storage that opens like this.
async fn discard_in(
    storage: impl FnOnce() -> Result<Files, String>,
    discard: &Discard,
) -> Result<(), String> {
    match discard {
        Discard::Checkpoint(job, id) => {
            let files = storage()?.below(&checkpoint_folder(*job, *id));
            files.delete_all(|_| true).await
        }
        Discard::Job(job) => {
            let files = storage()?.below(&job.to_string());
            let retained = savepoints::retained(*job, &files).await?;
            files.delete_all(|name| !retained.contains(name)).await
        }
        Discard::Owned { location, .. } => savepoints::delete_owned(location).await,
        Discard::Unreferenced { job, keep, next } => {
            let files = storage()?.below(&job.to_string());
            let is_unreferenced = |name: &str| {
                checkpoint_of(name).is_some_and(|id| id < *next && !keep.contains(&id))
            };
            files.delete_all(is_unreferenced).await
        }
        Discard::Savepoint { location, .. } => savepoints::discard(location).await,
    }
}

fn unreachable(bucket: &Bucket, problem: String) -> StorageProblem {
    StorageProblem::Unreachable {
        url: bucket.to_string(),
        problem,
        variables: bucket.variables(),
    }
}

/// The file that shows whether a storage can be used. Not the name of any job's folder.
const PROBE: &str = ".probe";
/// What is in it.
const PROBE_TEXT: &[u8] = b"this can be written\n";

/// Makes an object, reads and deletes it. Its name is its own: another JobManager may try the same bucket.
async fn try_out(files: &Files) -> Result<(), String> {
    let name = format!("{PROBE}-{:016x}", random());
    files.put(&name, PROBE_TEXT.to_vec()).await?;
    let read = files.get(&name, PROBE_TEXT.len() as u64).await;
    files.delete([name.as_str()]).await?;
    match read? {
        Found::File(bytes) if bytes == PROBE_TEXT => Ok(()),
        Found::File(_) | Found::Nothing | Found::TooLong(_) => {
            Err("it does not give back what was written".to_owned())
        }
    }
}

/// Makes the folder, and a file in it, and deletes the file.
fn probe(folder: &Path) -> io::Result<()> {
    if folder.exists() && !folder.is_dir() {
        let words = "it is not a folder";
        return Err(io::Error::new(io::ErrorKind::NotADirectory, words));
    }
    std::fs::create_dir_all(folder)?;
    let file = folder.join(PROBE);
    std::fs::write(&file, PROBE_TEXT)?;
    match std::fs::remove_file(&file) {
        // Another JobManager that tries the same folder may have been faster.
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn checkpoint_folder(job: JobId, id: CheckpointId) -> String {
    format!("{job}/chk-{}", id.0)
}

/// To which checkpoint a file of this name in the folder of its job belongs.
fn checkpoint_of(name: &str) -> Option<CheckpointId> {
    let (folder, _) = name.split_once('/')?;
    let id = folder.strip_prefix("chk-")?.parse().ok()?;
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
    /// Starts the task that deletes, some orders at a time, and reports to the driver.
    pub(crate) fn start(storage: CheckpointStorage, driver: Driver) -> DiscardQueue {
        let (orders, ordered) = mpsc::channel(WAITING);
        let waiting = driver.telemetry().deletions.clone();
        let deletes = tokio::spawn(async move {
            let (storage, driver) = (&storage, &driver);
            let one = async |discard: Discard| {
                let outcome = match storage.discard(&discard).await {
                    Ok(()) => StorageOutcome::Done,
                    Err(problem) => {
                        warn!(?discard, problem, "checkpoint state was not deleted");
                        StorageOutcome::Failed(problem)
                    }
                };
                driver.telemetry().deletions.dec();
                driver.input(Input::Discarded { discard, outcome }).await;
            };
            let ordered = ReceiverStream::new(ordered);
            ordered.for_each_concurrent(AT_A_TIME, one).await;
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
    use futures::TryStreamExt;
    use jobmanager_core::message::{StateHandle, StateLocation, SubtaskState};
    use jobmanager_core::savepoint::{OperatorSnapshots, Savepoint, SubtaskSnapshot};
    use jobmanager_core::time::Timestamp;
    use jobmanager_proto::encode_savepoint;
    use object_store::memory::InMemory;
    use object_store::path::Path as ObjectPath;
    use object_store::{ObjectStore, ObjectStoreExt};
    use std::fs;
    use std::sync::Arc;

    const JOB: JobId = JobId(7);

    async fn storage_with(checkpoints: &[u64]) -> (tempfile::TempDir, CheckpointStorage) {
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
        let storage = CheckpointStorage::open(&url).await.unwrap();
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
    async fn what_is_retained_of_a_job_outlives_it() {
        let (folder, storage) = storage_with(&[1, 2]).await;
        let location = format!("file://{}/{JOB}/chk-2", folder.path().display());
        let handle = StateHandle::whole(StateLocation::Url(format!("{location}/a")), 5);
        let subtask = SubtaskSnapshot {
            state: SubtaskState::Own(handle),
            ended: false,
        };
        let savepoint = Savepoint {
            job: JOB,
            checkpoint: CheckpointId(2),
            triggered: Timestamp(0),
            operators: vec![OperatorSnapshots {
                operator_id: 1,
                name: "in".to_owned(),
                max_parallelism: 1,
                subtasks: vec![subtask],
            }],
        };
        let bytes = encode_savepoint(&savepoint, &location);
        let checkpoint = folder.path().join(JOB.to_string()).join("chk-2");
        fs::write(checkpoint.join("_metadata"), bytes).unwrap();
        for _ in 0..2 {
            storage.discard(&Discard::Job(JOB)).await.unwrap();
            assert_eq!(left(&folder), ["chk-2"]);
            assert!(checkpoint.join("a").exists() && !checkpoint.join("b").exists());
        }
        let job = JOB;
        let owned = Discard::Owned { job, location };
        storage.discard(&owned).await.unwrap();
        assert!(left(&folder).is_empty());
    }

    #[tokio::test]
    async fn a_checkpoint_is_deleted_with_its_folder_and_nothing_else() {
        let (folder, storage) = storage_with(&[1, 10]).await;
        let discard = Discard::Checkpoint(JOB, CheckpointId(1));
        storage.discard(&discard).await.unwrap();
        assert_eq!(left(&folder), ["chk-10"]);
        storage.discard(&discard).await.unwrap();
        assert_eq!(left(&folder), ["chk-10"]);
    }

    #[tokio::test]
    async fn unreferenced_checkpoints_are_those_below_the_mark_that_are_not_kept() {
        let (folder, storage) = storage_with(&[1, 2, 3, 4, 5]).await;
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
        let (folder, storage) = storage_with(&[1, 2]).await;
        storage.discard(&Discard::Job(JOB)).await.unwrap();
        assert!(left(&folder).is_empty());
    }

    #[tokio::test]
    async fn a_storage_that_is_gone_is_a_failure_with_its_path() {
        let (folder, storage) = storage_with(&[1]).await;
        let path = folder.path().to_owned();
        drop(folder);
        let error = storage.discard(&Discard::Job(JOB)).await.unwrap_err();
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_storage_that_cannot_be_written_is_refused_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "in the way").unwrap();
        // Where a folder stands, nobody can write a file, not even the superuser.
        let unwritable = folder.path().join("unwritable");
        fs::create_dir_all(unwritable.join(PROBE)).unwrap();
        let make = async |path: &Path| {
            let url = format!("file://{}", path.display());
            let storage = CheckpointStorage::open(&url).await.unwrap();
            storage.make_folder()
        };
        for path in [file.clone(), file.join("below"), unwritable] {
            let words = make(&path).await.unwrap_err().to_string();
            for part in [path.to_str().unwrap(), "--checkpoint-dir"] {
                assert!(words.contains(part), "{part} in {words}");
            }
        }
        let usable = folder.path().join("a/b");
        make(&usable).await.unwrap();
        assert_eq!(fs::read_dir(usable).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_is_no_storage_is_refused_by_name_and_without_credentials() {
        for (url, shown, problem) in [
            ("file://relative", "file://relative", "absolute path"),
            ("relative", "relative", "absolute path"),
            ("", "``", "absolute path"),
            ("hdfs://host/a", "hdfs://host/a", "s3://BUCKET/PREFIX"),
            ("s3://key:hush@bucket/a", "s3://bucket/a", "nothing else"),
            ("s3://bucket/a?token=hush", "s3://bucket/a", "nothing else"),
        ] {
            let words = CheckpointStorage::open(url).await.unwrap_err().to_string();
            for part in [shown, problem, "--checkpoint-dir"] {
                assert!(words.contains(part), "{part} in {words}");
            }
            assert!(!words.contains("hush"), "{words}");
        }
        let is_built = [
            ("s3://bucket/a", cfg!(feature = "s3")),
            ("azure://container/a", cfg!(feature = "azure")),
            ("gs://bucket/a", cfg!(feature = "gcs")),
        ];
        for (url, _) in is_built.into_iter().filter(|(_, is_built)| !is_built) {
            let words = CheckpointStorage::open(url).await.unwrap_err().to_string();
            assert!(words.contains("was built without"), "{words}");
            assert!(words.contains("--features"), "{words}");
        }
    }

    /// Objects with these names, below a prefix, beside those of others.
    async fn bucket_with(names: &[String]) -> (Arc<InMemory>, Files) {
        let objects = Arc::new(InMemory::new());
        let others = ["chk-1/a", "other/chk-1/a", &format!("{JOB}/chk-1/a")];
        let ours = names.iter().map(|name| format!("prefix/{name}"));
        for name in ours.chain(others.map(str::to_owned)) {
            let path = ObjectPath::from(name);
            objects.put(&path, "state".into()).await.unwrap();
        }
        let files = Files::new(objects.clone(), ObjectPath::from("prefix"), None);
        (objects, files)
    }

    async fn left_in(objects: &InMemory) -> Vec<String> {
        let listed = objects
            .list(None)
            .map_ok(|object| object.location.to_string());
        let mut names: Vec<String> = listed.try_collect().await.unwrap();
        names.retain(|name| name.starts_with("prefix/"));
        names.sort();
        names
    }

    #[tokio::test]
    async fn in_a_bucket_the_same_is_deleted_as_in_a_folder() {
        let names: Vec<String> = [1, 2, 3, 10]
            .into_iter()
            .flat_map(|id| ["a", "b"].map(|file| format!("{JOB}/chk-{id}/{file}")))
            .chain([format!("{JOB}/stranger")])
            .collect();
        for (discard, deleted) in [
            (Discard::Checkpoint(JOB, CheckpointId(1)), vec![0, 1]),
            (
                Discard::Unreferenced {
                    job: JOB,
                    keep: vec![CheckpointId(2)],
                    next: CheckpointId(10),
                },
                vec![0, 1, 4, 5],
            ),
            (Discard::Job(JOB), (0..9).collect()),
            (Discard::Job(JobId(8)), vec![]),
        ] {
            let (objects, files) = bucket_with(&names).await;
            discard_in(|| Ok(files), &discard).await.unwrap();
            let mut expected: Vec<String> = (0..names.len())
                .filter(|number| !deleted.contains(number))
                .map(|number| format!("prefix/{}", names[number]))
                .collect();
            expected.sort();
            assert_eq!(left_in(&objects).await, expected, "{discard:?}");
            let all = objects.list(None).count().await;
            assert_eq!(all, expected.len() + 3, "{discard:?}");
        }
    }

    #[tokio::test]
    async fn nothing_is_left_of_the_object_that_a_bucket_is_tried_with() {
        let (objects, files) = bucket_with(&[]).await;
        try_out(&files).await.unwrap();
        assert!(left_in(&objects).await.is_empty());
    }
}

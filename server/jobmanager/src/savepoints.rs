//! The folders of savepoints, wherever clients want them: writes their metadata, and deletes what did not
//! become complete.
//!
//! Invariant: the metadata is there whole or not at all, and survives a loss of power once it is said to be
//! there. Invariant: nothing is deleted of a folder that has metadata.

use crate::driver::Driver;
use futures::TryStreamExt;
use jobmanager_core::jobmanager::{Input, StorageOutcome};
use jobmanager_core::message::StateLocation;
use jobmanager_core::savepoint::Savepoint;
use jobmanager_proto::{decode_savepoint, encode_savepoint};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// The file that makes a savepoint complete.
const METADATA: &str = "_metadata";
/// How often the metadata is tried to be written.
const TRIES: u32 = 5;
/// The pause after the first try that failed; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A URL that cannot name a folder for savepoints.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` cannot hold savepoints: an absolute path or a file URL is expected, such as file:///var/lib/savepoints, which every TaskManager has to reach"
)]
pub(crate) struct NoFolder(String);

impl From<NoFolder> for object_store::Error {
    fn from(problem: NoFolder) -> Self {
        let source = problem.into();
        object_store::Error::NotSupported { source }
    }
}

/// The URL of a folder as TaskManagers understand it, from what a client wrote.
///
/// # Errors
/// It is of a kind that is not built in, or not absolute.
pub(crate) fn folder_url(text: &str) -> Result<String, NoFolder> {
    let path = path_of(text.trim())?;
    Ok(format!("file://{}", path.display()))
}

fn path_of(url: &str) -> Result<PathBuf, NoFolder> {
    let path = url.strip_prefix("file://").or(url.strip_prefix("file:"));
    let path = Path::new(path.unwrap_or(url));
    // As the store takes it: without a step upwards.
    let is_usable = path.is_absolute() && ObjectPath::from_absolute_path(path).is_ok();
    let path = is_usable.then(|| path.to_path_buf());
    path.ok_or_else(|| NoFolder(url.escape_debug().to_string()))
}

/// Writes the metadata of a savepoint, and tells the coordinator.
pub(crate) async fn write(driver: Driver, location: String, savepoint: Arc<Savepoint>) {
    let mut pause = FIRST_PAUSE;
    let mut tried = 1;
    let outcome = loop {
        match write_metadata(&location, &savepoint).await {
            Ok(()) => break StorageOutcome::Done,
            Err(problem) if tried == TRIES => {
                break StorageOutcome::Failed(problem.to_string());
            }
            Err(problem) => warn!(location, %problem, "metadata not written; tried again"),
        }
        tokio::time::sleep(pause).await;
        (tried, pause) = (tried + 1, pause * 2);
    };
    let (job, checkpoint) = (savepoint.job, savepoint.checkpoint);
    driver
        .input(Input::SavepointWritten {
            job,
            checkpoint,
            outcome,
        })
        .await;
}

async fn write_metadata(location: &str, savepoint: &Savepoint) -> object_store::Result<()> {
    let file = path_of(location)?.join(METADATA);
    let file = ObjectPath::from_absolute_path(file)?;
    let bytes = encode_savepoint(savepoint, location);
    let objects = LocalFileSystem::new().with_fsync(true);
    objects.put(&file, bytes.into()).await?;
    Ok(())
}

/// Deletes the folder of a savepoint that did not become complete; what is not there is deleted.
pub(crate) async fn discard(location: &str) -> object_store::Result<()> {
    let path = path_of(location)?;
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(NoFolder(location.to_owned()).into());
    };
    if !path.exists() {
        return Ok(());
    }
    let objects = LocalFileSystem::new_with_prefix(directory)?.with_automatic_cleanup(true);
    let folder = ObjectPath::from(name.to_string_lossy().as_ref());
    if objects.head(&folder.clone().join(METADATA)).await.is_ok() {
        warn!(location, "the savepoint has metadata after all: it stays");
        return Ok(());
    }
    let files = objects.list(Some(&folder));
    files
        .try_for_each(|file| {
            let objects = &objects;
            async move {
                match objects.delete(&file.location).await {
                    Err(object_store::Error::NotFound { .. }) => Ok(()),
                    other => other,
                }
            }
        })
        .await
}

/// A savepoint that is not disposed of, with the reason.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotDisposed {
    /// There is no savepoint.
    #[error("{0} holds no savepoint that can be disposed of: {1}")]
    NoSavepoint(String, String),
    /// It cannot be deleted.
    #[error("{0} is not deleted completely: {1}")]
    Storage(String, object_store::Error),
}

/// Deletes a savepoint: its metadata first, so that no part of it looks complete, then the files that it names. The
/// folder goes with its last file; what else is in it stays.
pub(crate) async fn dispose(location: &str) -> Result<(), NotDisposed> {
    let named = location.trim().trim_end_matches('/');
    let named = named.strip_suffix(METADATA).unwrap_or(named);
    let url = named.trim_end_matches('/');
    let none = |problem: String| NotDisposed::NoSavepoint(url.to_owned(), problem);
    let url = folder_url(url).map_err(|problem| none(problem.to_string()))?;
    let path = path_of(&url).map_err(|problem| none(problem.to_string()))?;
    let name = path.file_name().map(|name| name.to_string_lossy());
    let (Some(directory), Some(name)) = (path.parent(), name) else {
        return Err(none("it has no name".to_owned()));
    };
    // Metadata that is not there is nothing to dispose of; the store's words name the file.
    let objects = LocalFileSystem::new_with_prefix(directory);
    let objects = objects.map_err(|problem| none(problem.to_string()))?;
    let objects = objects.with_automatic_cleanup(true);
    let folder = ObjectPath::from(name.as_ref());
    let metadata = folder.clone().join(METADATA);
    let read = async { objects.get(&metadata).await?.bytes().await };
    let bytes = read.await.map_err(|problem| none(problem.to_string()))?;
    let savepoint = decode_savepoint(&bytes, &url).map_err(|problem| none(problem.to_string()))?;
    let files = files_in(&savepoint, &url).map(|file| folder.clone().join(file));
    for file in std::iter::once(metadata).chain(files) {
        match objects.delete(&file).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(problem) => return Err(NotDisposed::Storage(url.clone(), problem)),
        }
    }
    Ok(())
}

/// The names of the savepoint's files in its folder.
fn files_in<'a>(savepoint: &'a Savepoint, folder: &'a str) -> impl Iterator<Item = &'a str> {
    let operators = savepoint.operators.iter();
    let states = operators.flat_map(|operator| &operator.subtasks);
    let names = states.filter_map(move |state| match &state.location {
        StateLocation::Url(url) => url.strip_prefix(folder)?.strip_prefix('/'),
        StateLocation::Inline(_) | StateLocation::File(_) => None,
    });
    names.filter(|name| !name.contains('/'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use jobmanager_core::id::{CheckpointId, JobId};
    use jobmanager_core::message::StateHandle;
    use jobmanager_core::savepoint::OperatorSnapshots;
    use jobmanager_core::time::Timestamp;
    use std::fs;

    fn savepoint() -> Savepoint {
        Savepoint {
            job: JobId(7),
            checkpoint: CheckpointId(3),
            triggered: Timestamp(9),
            operators: Vec::new(),
        }
    }

    /// A folder with a file of a snapshot, and its URL.
    fn begun(directory: &Path) -> (PathBuf, String) {
        let folder = directory.join("savepoint-7-3");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("0-0-1.0"), "state").unwrap();
        let url = format!("file://{}", folder.display());
        (folder, url)
    }

    #[tokio::test]
    async fn what_is_written_is_the_metadata_of_the_savepoint_and_replaces_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("a/b");
        let url = format!("file://{}", folder.display());
        for _ in 0..2 {
            write_metadata(&url, &savepoint()).await.unwrap();
            let bytes = fs::read(folder.join(METADATA)).unwrap();
            assert_eq!(decode_savepoint(&bytes, &url).unwrap(), savepoint());
        }
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_is_named_with_the_systems_words() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let url = format!("file://{}/below", file.path().display());
        let problem = write_metadata(&url, &savepoint()).await.unwrap_err();
        let words = problem.to_string();
        for part in [file.path().to_str().unwrap(), "Not a directory"] {
            assert!(words.contains(part), "{part} in {words}");
        }
        discard(&url).await.unwrap();
    }

    #[tokio::test]
    async fn only_what_did_not_become_complete_is_deleted_and_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let other = directory.path().join("other");
        fs::write(&other, "").unwrap();
        let (folder, url) = begun(directory.path());
        write_metadata(&url, &savepoint()).await.unwrap();
        discard(&url).await.unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        fs::remove_file(folder.join(METADATA)).unwrap();
        for _ in 0..2 {
            discard(&url).await.unwrap();
            assert!(!folder.exists() && other.exists());
        }
    }

    #[tokio::test]
    async fn the_directory_of_the_client_stays_even_if_it_is_empty() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("savepoints");
        let (folder, url) = begun(&inner);
        discard(&url).await.unwrap();
        assert!(!folder.exists() && inner.exists());
    }

    #[tokio::test]
    async fn a_savepoint_is_disposed_of_with_its_files_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let (folder, url) = begun(directory.path());
        let state = StateHandle {
            location: StateLocation::Url(format!("{url}/0-0-1.0")),
            size: 5,
        };
        let operator = OperatorSnapshots {
            operator_id: 1,
            name: "a".to_owned(),
            max_parallelism: 1,
            ended: false,
            subtasks: vec![state],
        };
        let whole = Savepoint {
            operators: vec![operator],
            ..savepoint()
        };
        let missing = dispose(&url).await.unwrap_err().to_string();
        assert!(missing.contains("_metadata"), "{missing}");
        fs::write(folder.join("stranger"), "").unwrap();
        write_metadata(&url, &whole).await.unwrap();
        dispose(&format!("{url}/")).await.unwrap();
        let left: Vec<_> = fs::read_dir(&folder).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        fs::remove_file(folder.join("stranger")).unwrap();
        fs::write(folder.join("0-0-1.0"), "state").unwrap();
        write_metadata(&url, &whole).await.unwrap();
        dispose(folder.join(METADATA).to_str().unwrap())
            .await
            .unwrap();
        assert!(!folder.exists() && directory.path().exists());
    }

    #[tokio::test]
    async fn a_folder_without_a_savepoint_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (folder, url) = begun(directory.path());
        fs::write(folder.join(METADATA), "of something else").unwrap();
        for place in [&*url, "relative", "", "/", "/no/such/place"] {
            let words = dispose(place).await.unwrap_err().to_string();
            assert!(words.contains("holds no savepoint"), "{words}");
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    }

    #[test]
    fn a_folder_is_named_by_an_absolute_path_or_a_file_url() {
        for text in ["/a/b", "file:///a/b", "file:/a/b", " /a/b "] {
            assert_eq!(folder_url(text).unwrap(), "file:///a/b", "{text}");
        }
        for text in [
            "",
            "a/b",
            "./a",
            "file://a/b",
            "s3://a/b",
            "/a/../b",
            "hdfs:/a",
        ] {
            let words = folder_url(text).unwrap_err().to_string();
            assert!(
                words.contains(text) && words.contains("file:///"),
                "{words}"
            );
        }
    }
}

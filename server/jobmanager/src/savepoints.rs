//! The folders of savepoints, wherever clients want them, in object storage too: writes their metadata, reads
//! it for jobs that start from one, and deletes what did not become complete, or what a client wants to be
//! rid of.
//!
//! Invariant: the metadata is there whole or not at all, and survives a loss of power once it is said to be
//! there. Invariant: nothing is deleted of a folder that has metadata, unless a client says so.

use crate::driver::Driver;
use crate::objects::{Files, Found, Place, shown};
use jobmanager_core::jobmanager::{Input, StorageOutcome};
use jobmanager_core::message::StateLocation;
use jobmanager_core::savepoint::Savepoint;
use jobmanager_proto::{decode_savepoint, encode_savepoint};
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// The file that makes a savepoint complete.
const METADATA: &str = "_metadata";
/// The largest metadata that is read, in bytes: what a message of protobuf can have.
const MAX_METADATA: u64 = i32::MAX as u64;
/// How often the metadata is tried to be written, and what did not become complete to be deleted.
const TRIES: u32 = 5;
/// The pause after the first try that failed; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A URL that cannot name a folder for savepoints.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{url}` cannot hold savepoints: {problem}")]
pub(crate) struct NoFolder {
    url: String,
    problem: String,
}

/// The URL of a folder as TaskManagers understand it, from what a client wrote. Every TaskManager has to reach it.
///
/// # Errors
/// It is of a kind that is not built in, or not absolute, or what it takes to reach it is missing.
pub(crate) fn folder_url(text: &str) -> Result<String, NoFolder> {
    Ok(match place_of(text.trim())? {
        Place::Folder(path) => format!("file://{}", path.display()),
        Place::Bucket(bucket) => bucket.to_string(),
    })
}

fn place_of(url: &str) -> Result<Place, NoFolder> {
    let place = Place::parse(url);
    // A folder has to be one as the storage takes it: without a step upwards.
    let place = place.and_then(|place| place.files().map(|_| place));
    place.map_err(|problem| NoFolder {
        url: shown(url),
        problem,
    })
}

/// The files in the folder of a savepoint, to write and read them.
fn files_at(location: &str) -> Result<Files, String> {
    place_of(location)
        .map_err(|problem| problem.to_string())?
        .files()
}

/// The same to delete them, and the folder with the last one, but no folder around it. Nothing if there is no such
/// folder.
fn contents_at(location: &str) -> Result<Option<Files>, String> {
    let place = place_of(location).map_err(|problem| problem.to_string())?;
    let Place::Folder(path) = &place else {
        return place.contents().map(Some);
    };
    let (Some(around), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(format!("`{location}` is no folder for a savepoint"));
    };
    if !path.exists() {
        return Ok(None);
    }
    let around = Place::Folder(around.to_path_buf()).contents()?;
    Ok(Some(around.below(&name.to_string_lossy())))
}

/// Writes the metadata of a savepoint, and tells the coordinator.
pub(crate) async fn write(driver: Driver, location: String, savepoint: Arc<Savepoint>) {
    let written = repeated(&location, || write_metadata(&location, &savepoint)).await;
    let outcome = match written {
        Ok(()) => StorageOutcome::Done,
        Err(problem) => StorageOutcome::Failed(problem),
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

/// Does something until it succeeds, a few times.
async fn repeated<R: Future<Output = Result<(), String>>>(
    location: &str,
    work: impl Fn() -> R,
) -> Result<(), String> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        let Err(problem) = work().await else {
            return Ok(());
        };
        warn!(location, problem, "the savepoint's folder is tried again");
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    work().await
}

async fn write_metadata(location: &str, savepoint: &Savepoint) -> Result<(), String> {
    let bytes = encode_savepoint(savepoint, location);
    files_at(location)?.put(METADATA, bytes).await
}

/// Why there is no savepoint where a client says that one is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error(transparent)]
    NoFolder(#[from] NoFolder),
    #[error("there is no savepoint in {0}: it has no file `_metadata`")]
    Missing(String),
    #[error("the savepoint in {0} cannot be read: {1}")]
    Storage(String, String),
    #[error("the metadata in {0} has {1} bytes, and that of a savepoint at most {MAX_METADATA}")]
    TooLarge(String, u64),
    #[error("the savepoint in {0} cannot be used: {1}")]
    Damaged(String, jobmanager_proto::BadMessage),
}

/// The URL of the folder that a client names, itself or by the metadata in it.
fn named(url: &str) -> Result<String, NoFolder> {
    let url = url.trim().trim_end_matches('/');
    let url = url.strip_suffix(METADATA).unwrap_or(url);
    folder_url(url.trim_end_matches('/'))
}

/// The savepoint in a folder, which may also be named by its metadata.
pub(crate) async fn read(url: &str) -> Result<Savepoint, Unreadable> {
    read_in(named(url)?).await
}

async fn read_in(location: String) -> Result<Savepoint, Unreadable> {
    let read = async { files_at(&location)?.get(METADATA, MAX_METADATA).await };
    match read.await {
        Ok(Found::File(bytes)) => decode_savepoint(&bytes, &location)
            .map_err(|problem| Unreadable::Damaged(location, problem)),
        Ok(Found::TooLong(size)) => Err(Unreadable::TooLarge(location, size)),
        Ok(Found::Nothing) => Err(Unreadable::Missing(location)),
        Err(problem) => Err(Unreadable::Storage(location, problem)),
    }
}

/// Deletes the folder of a savepoint that did not become complete; what is not there is deleted. The coordinator orders
/// that once.
///
/// # Errors
/// Something of it is left, or may be: the words for people.
pub(crate) async fn discard(location: &str) -> Result<(), String> {
    repeated(location, || discard_now(location)).await
}

async fn discard_now(location: &str) -> Result<(), String> {
    match contents_at(location)? {
        Some(files) => discard_files(location, &files).await,
        None => Ok(()),
    }
}

async fn discard_files(location: &str, files: &Files) -> Result<(), String> {
    if files.has(METADATA).await? {
        warn!(location, "the savepoint has metadata after all: it stays");
        return Ok(());
    }
    files.delete_all(|_| true).await
}

/// Why a savepoint is not disposed of.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotDisposed {
    #[error(transparent)]
    NoSavepoint(#[from] Unreadable),
    #[error("{0} is not deleted completely: {1}")]
    Storage(String, String),
}

/// Deletes a savepoint: its metadata first, so that no part of it looks complete, then the files that it names. The
/// folder goes with its last file; what else is in it stays.
pub(crate) async fn dispose(url: &str) -> Result<(), NotDisposed> {
    let location = named(url).map_err(Unreadable::NoFolder)?;
    let savepoint = read_in(location.clone()).await?;
    delete(&location, &savepoint)
        .await
        .map_err(|problem| NotDisposed::Storage(location, problem))
}

async fn delete(location: &str, savepoint: &Savepoint) -> Result<(), String> {
    let Some(files) = contents_at(location)? else {
        return Ok(());
    };
    delete_files(location, &files, savepoint).await
}

async fn delete_files(location: &str, files: &Files, savepoint: &Savepoint) -> Result<(), String> {
    files.delete([METADATA]).await?;
    files.delete(files_in(savepoint, location)).await
}

/// The names of the savepoint's files in its folder.
fn files_in<'a>(savepoint: &'a Savepoint, folder: &'a str) -> impl Iterator<Item = &'a str> {
    let names = savepoint.states();
    let names = names.filter_map(move |state| match &state.location {
        StateLocation::Url(url) => url.strip_prefix(folder)?.strip_prefix('/'),
        StateLocation::Inline(_) | StateLocation::File(_) => None,
    });
    names.filter(|name| !name.contains('/'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::objects::tests::{Server, Way};
    use jobmanager_core::id::{CheckpointId, JobId};
    use jobmanager_core::message::StateHandle;
    use jobmanager_core::savepoint::{OperatorSnapshots, SubtaskSnapshot};
    use jobmanager_core::time::Timestamp;
    use object_store::ObjectStoreExt;
    use std::fs;
    use std::path::{Path, PathBuf};

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
    async fn a_savepoint_is_read_from_where_it_was_moved_to() {
        let directory = tempfile::tempdir().unwrap();
        let (folder, url) = begun(directory.path());
        write_metadata(&url, &savepoint()).await.unwrap();
        let moved = directory.path().join("moved");
        fs::rename(folder, &moved).unwrap();
        let moved = moved.display();
        for url in [
            format!("{moved}"),
            format!("file://{moved}/"),
            format!("{moved}/_metadata"),
        ] {
            assert_eq!(read(&url).await.unwrap(), savepoint(), "{url}");
        }
    }

    #[tokio::test]
    async fn where_no_savepoint_is_the_reason_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let (folder, url) = begun(directory.path());
        let reason = async |url: &str| read(url).await.unwrap_err().to_string();
        assert!(reason(&url).await.contains("no file `_metadata`"));
        assert!(reason("hdfs://host/a").await.contains("hdfs://host/a"));
        fs::write(folder.join(METADATA), "something else").unwrap();
        assert!(reason(&url).await.contains("cannot be used"));
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
        let whole = Savepoint {
            operators: vec![operator(&url)],
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
        for (place, reason) in [
            (&*url, "cannot be used"),
            ("relative", "absolute path"),
            ("", "absolute path"),
            ("/", "absolute path"),
            ("/no/such/place", "no file `_metadata`"),
        ] {
            let words = dispose(place).await.unwrap_err().to_string();
            assert!(words.contains(reason), "{place}: {words}");
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
            "/a/../b",
            "hdfs:/a",
            "hdfs://host/a",
        ] {
            let words = folder_url(text).unwrap_err().to_string();
            assert!(
                words.contains(text) && words.contains("file:///"),
                "{words}"
            );
        }
    }

    #[test]
    fn a_prefix_in_object_storage_is_named_by_its_url_if_it_is_built_in() {
        for (text, is_built) in [
            ("s3://bucket/a/", cfg!(feature = "s3")),
            ("gs://bucket/a", cfg!(feature = "gcs")),
        ] {
            match folder_url(text) {
                Ok(url) => assert!(is_built && url == text.trim_end_matches('/'), "{url}"),
                Err(problem) => {
                    let words = problem.to_string();
                    assert!(!is_built && words.contains("was built without"), "{words}");
                }
            }
        }
    }

    /// A server with a file of a snapshot, and maybe metadata, and the way to them.
    async fn begun_on(server: Server, has_metadata: bool) -> (Arc<Server>, Files) {
        let names = [Some("0-0-1.0"), has_metadata.then_some(METADATA)];
        for name in names.into_iter().flatten() {
            let path = format!("a/savepoint-7-3/{name}").into();
            server.objects.put(&path, "state".into()).await.unwrap();
        }
        let server = Arc::new(server);
        (Arc::clone(&server), server.files("a/savepoint-7-3"))
    }

    #[tokio::test]
    async fn nothing_is_deleted_before_it_is_known_that_there_is_no_metadata() {
        for (gets, has_metadata, left) in [
            (Way::Obeys, true, 2),
            (Way::Obeys, false, 0),
            (Way::Fails, false, 1),
            (Way::Hangs, false, 1),
        ] {
            let server = Server {
                gets,
                ..Server::default()
            };
            let (server, files) = begun_on(server, has_metadata).await;
            let discarded = discard_files("test://a/savepoint-7-3", &files).await;
            assert_eq!(discarded.is_ok(), gets == Way::Obeys, "{discarded:?}");
            assert_eq!(server.count().await, left, "{gets:?}");
        }
    }

    #[tokio::test]
    async fn what_fails_once_is_tried_again_and_what_always_fails_is_told() {
        use std::sync::atomic::{AtomicU32, Ordering};
        for (failures, tried) in [(0, 1), (1, 2), (u32::MAX, TRIES)] {
            let tries = AtomicU32::new(0);
            let work = || async {
                let number = tries.fetch_add(1, Ordering::Relaxed);
                (number >= failures)
                    .then_some(())
                    .ok_or(format!("{number}"))
            };
            let done = repeated("a", work).await;
            assert_eq!(tries.into_inner(), tried);
            let told = (failures > TRIES).then(|| (TRIES - 1).to_string());
            assert_eq!(done.err(), told);
        }
    }

    #[tokio::test]
    async fn a_savepoint_looks_complete_no_more_before_anything_else_of_it_is_deleted() {
        let (url, operator) = ("test://a/savepoint-7-3", operator("test://a/savepoint-7-3"));
        let whole = Savepoint {
            operators: vec![operator],
            ..savepoint()
        };
        for locked in ["_metadata", "0-0-1.0"] {
            let server = Server {
                locked: Some(format!("a/savepoint-7-3/{locked}").into()),
                ..Server::default()
            };
            let (server, files) = begun_on(server, true).await;
            delete_files(url, &files, &whole).await.unwrap_err();
            let all_is_left = server.count().await == 2;
            assert_eq!(all_is_left, locked == METADATA);
        }
    }

    /// An operator with a file in this folder.
    fn operator(folder: &str) -> OperatorSnapshots {
        let state = StateHandle::whole(StateLocation::Url(format!("{folder}/0-0-1.0")), 5);
        OperatorSnapshots {
            operator_id: 1,
            name: "a".to_owned(),
            max_parallelism: 1,
            subtasks: vec![SubtaskSnapshot {
                state,
                ended: false,
            }],
        }
    }
}

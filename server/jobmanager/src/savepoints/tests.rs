//! Folders as clients name them, and object storage that fails.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::objects::tests::{Server, Way};
use jobmanager_core::id::{CheckpointId, JobId};
use jobmanager_core::message::{StateHandle, StateLocation, SubtaskState};
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
        delete_files(&Home::of(url), &files, &whole)
            .await
            .unwrap_err();
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
            state: SubtaskState::Own(state),
            ended: false,
        }],
    }
}

/// The folder of a job with files of two checkpoints and of one that nobody needs, the URL of the later one, which
/// outlived the job, and what it is made of.
fn outlived(storage: &Path) -> (PathBuf, String, Savepoint) {
    let folder = storage.join(JobId(7).to_string());
    for name in ["chk-2", "chk-3", "chk-4"] {
        fs::create_dir_all(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("0-0-1.0"), "state").unwrap();
    }
    let url = format!("file://{}", folder.display());
    let operators = ["chk-2", "chk-3"].map(|name| operator(&format!("{url}/{name}")));
    let savepoint = Savepoint {
        operators: operators
            .into_iter()
            .zip(1..)
            .map(|(operator, operator_id)| OperatorSnapshots {
                operator_id,
                ..operator
            })
            .collect(),
        ..savepoint()
    };
    (folder, format!("{url}/chk-3"), savepoint)
}

#[tokio::test]
async fn what_outlives_a_job_is_what_the_metadata_names_and_that() {
    let storage = tempfile::tempdir().unwrap();
    let (folder, url, savepoint) = outlived(storage.path());
    let files = contents_at(&format!("file://{}", folder.display()));
    let files = files.unwrap().unwrap();
    let found = async || retained(JobId(7), &files).await;
    assert_eq!(found().await.unwrap().len(), 0);
    write_metadata(&url, &savepoint).await.unwrap();
    let kept = ["chk-2/0-0-1.0", "chk-3/0-0-1.0", "chk-3/_metadata"];
    assert!(found().await.unwrap().iter().eq(&kept));
    fs::write(folder.join("chk-3").join(METADATA), "damaged").unwrap();
    let problem = found().await.unwrap_err();
    assert!(problem.contains("chk-3/_metadata"), "{problem}");
}

#[tokio::test]
async fn a_checkpoint_that_a_job_owns_goes_with_all_of_its_files_and_nothing_else() {
    let storage = tempfile::tempdir().unwrap();
    let (folder, url, savepoint) = outlived(storage.path());
    write_metadata(&url, &savepoint).await.unwrap();
    for _ in 0..2 {
        delete_owned(&format!("{url}/_metadata")).await.unwrap();
        let left: Vec<_> = fs::read_dir(&folder).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }
    assert!(folder.join("chk-4/0-0-1.0").exists());
    fs::create_dir_all(folder.join("chk-3")).unwrap();
    write_metadata(&url, &savepoint).await.unwrap();
    fs::remove_dir_all(folder.join("chk-4")).unwrap();
    dispose(&url).await.unwrap();
    assert!(!folder.exists() && storage.path().exists());
}

#[tokio::test]
async fn a_savepoint_that_a_job_owns_keeps_its_metadata_until_its_files_are_gone() {
    let directory = tempfile::tempdir().unwrap();
    let (folder, url) = begun(directory.path());
    let whole = Savepoint {
        operators: vec![operator(&url)],
        ..savepoint()
    };
    write_metadata(&url, &whole).await.unwrap();
    // A folder in the place of the file cannot be deleted as one.
    fs::remove_file(folder.join("0-0-1.0")).unwrap();
    fs::create_dir_all(folder.join("0-0-1.0/below")).unwrap();
    delete_owned(&url).await.unwrap_err();
    assert!(folder.join(METADATA).exists());
    fs::remove_dir_all(folder.join("0-0-1.0")).unwrap();
    delete_owned(&url).await.unwrap();
    assert!(!folder.exists());
}

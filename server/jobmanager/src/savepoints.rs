//! The folders of savepoints, wherever clients want them, in object storage too: writes their metadata, reads
//! it for jobs that start from one, and deletes what did not become complete, what the job that claimed it has no
//! more use for, and what a client wants to be rid of.
//!
//! The last checkpoint of a job that outlives it is one of them, whose files are in several folders beside each
//! other, each the part that a checkpoint of the job has.
//!
//! Invariant: the metadata is there whole or not at all, and survives a loss of power once it is said to be
//! there. Invariant: nothing is deleted of a folder that has metadata, unless a client says so, or gave it to a job.

mod home;

pub(crate) use home::retained;

use crate::driver::Driver;
use crate::objects::{Files, Found, Place, shown};
use home::Home;
use jobmanager_core::jobmanager::{Input, StorageOutcome};
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
    let home = Home::of(location);
    let Some(files) = contents_at(home.url)? else {
        return Ok(());
    };
    delete_files(&home, &files, savepoint).await
}

async fn delete_files(home: &Home<'_>, files: &Files, savepoint: &Savepoint) -> Result<(), String> {
    files.delete([&*home.metadata]).await?;
    files.delete(home.files(savepoint)).await
}

/// Deletes a savepoint that a job owns; what is not there is deleted. Its metadata goes last: where it is, there may be
/// something left.
///
/// # Errors
/// Something of it is left, or may be: the words for people.
pub(crate) async fn delete_owned(url: &str) -> Result<(), String> {
    let location = named(url).map_err(|problem| problem.to_string())?;
    let savepoint = match read_in(location.clone()).await {
        Ok(savepoint) => savepoint,
        Err(Unreadable::Missing(_)) => return Ok(()),
        Err(problem) => return Err(problem.to_string()),
    };
    let home = Home::of(&location);
    let Some(files) = contents_at(home.url)? else {
        return Ok(());
    };
    files.delete(home.files(&savepoint)).await?;
    files.delete([&*home.metadata]).await
}

#[cfg(test)]
mod tests;

//! The checkpoint storage: files in a folder per job, written by tasks, deleted on the JobManager's order.
//!
//! Each file carries a checksum of what was written, so that a task that reads it sees any damage. What the metadata of
//! a checkpoint names is not deleted with its job.

use jobmanager_core::digest::Digest;
use jobmanager_core::id::{CheckpointId, JobId};
use jobmanager_core::jobmanager::Discard;
use jobmanager_core::message::{StateHandle, StateLocation};
use jobmanager_core::savepoint::Savepoint;
use jobmanager_proto::decode_savepoint;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The URL of the storage.
pub(crate) const ROOT: &str = "blobs:///";

struct File {
    bytes: Vec<u8>,
    checksum: u64,
}

/// Why a file cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    Missing,
    Damaged,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unreadable::Missing => "no such file",
            Unreadable::Damaged => "the file is damaged",
        })
    }
}

/// Every file.
pub(crate) struct Blobs {
    files: BTreeMap<(JobId, String), File>,
    /// Those of savepoints, by their URL.
    urls: BTreeMap<String, File>,
    /// The folders of savepoints that their owners have deleted.
    given_up: BTreeSet<String>,
    /// Those that a fault has lost or damaged.
    spoiled: BTreeSet<(JobId, String)>,
    /// Every call fails.
    pub(crate) outage: bool,
    /// How many times slower than usual it is.
    pub(crate) slowness: u64,
}

impl Default for Blobs {
    fn default() -> Self {
        Blobs {
            files: BTreeMap::new(),
            urls: BTreeMap::new(),
            given_up: BTreeSet::new(),
            spoiled: BTreeSet::new(),
            outage: false,
            slowness: 1,
        }
    }
}

impl File {
    fn new(bytes: Vec<u8>) -> File {
        let checksum = Digest::of(&bytes);
        File { bytes, checksum }
    }

    fn read(&self) -> Result<&[u8], Unreadable> {
        if Digest::of(&self.bytes) == self.checksum {
            Ok(&self.bytes)
        } else {
            Err(Unreadable::Damaged)
        }
    }
}

/// The file that makes the savepoint in this folder complete.
pub(crate) fn metadata_url(location: &str) -> String {
    format!("{location}/_metadata")
}

/// The file in the checkpoint storage that has this URL.
fn file_of(url: &str) -> Option<(JobId, &str)> {
    let (job, path) = url.strip_prefix(ROOT)?.split_once('/')?;
    Some((job.parse().ok()?, path))
}

/// The URLs of the files that a savepoint names.
fn urls_in(savepoint: &Savepoint) -> Vec<String> {
    let url = |state: &StateHandle| match &state.location {
        StateLocation::Url(url) => Some(url.clone()),
        StateLocation::File(_) | StateLocation::Inline(_) => None,
    };
    savepoint.states().filter_map(url).collect()
}

/// The folder of a checkpoint within its job's folder.
fn folder(checkpoint: CheckpointId) -> String {
    format!("chk-{}/", checkpoint.0)
}

/// The checkpoint that a file belongs to.
fn checkpoint_of(path: &str) -> Option<CheckpointId> {
    let (number, _) = path.strip_prefix("chk-")?.split_once('/')?;
    number.parse().ok().map(CheckpointId)
}

impl Blobs {
    /// Writes a new file and tells its path. `name` is one that no other attempt uses.
    pub(crate) fn write(
        &mut self,
        job: JobId,
        checkpoint: CheckpointId,
        name: &str,
        bytes: Vec<u8>,
    ) -> String {
        let path = folder(checkpoint) + name;
        self.files.insert((job, path.clone()), File::new(bytes));
        path
    }

    /// Writes a file of a savepoint.
    pub(crate) fn write_url(&mut self, url: String, bytes: Vec<u8>) {
        self.urls.insert(url, File::new(bytes));
    }

    /// Reads a file of a savepoint, or of a checkpoint that outlives its job.
    pub(crate) fn read_url(&self, url: &str) -> Result<&[u8], Unreadable> {
        match (self.urls.get(url), file_of(url)) {
            (Some(file), _) => file.read(),
            (None, Some((job, path))) => self.read(job, path),
            (None, None) => Err(Unreadable::Missing),
        }
    }

    /// The savepoint in this folder, as anybody would read it.
    pub(crate) fn savepoint(&self, location: &str) -> Option<Savepoint> {
        let bytes = self.read_url(&metadata_url(location)).ok()?;
        decode_savepoint(bytes, location).ok()
    }

    /// The files of a job that outlive it.
    fn outliving(&self, job: JobId) -> BTreeSet<String> {
        let folder = format!("{ROOT}{job}/");
        let urls = self.urls.range(folder.clone()..);
        let urls = urls.map(|(url, _)| url);
        let urls = urls.take_while(|url| url.starts_with(&folder));
        let locations = urls.filter_map(|url| url.strip_suffix("/_metadata"));
        let savepoints = locations.filter_map(|location| self.savepoint(location));
        let files = |savepoint: Savepoint| {
            let urls = urls_in(&savepoint).into_iter();
            let files = urls.filter_map(|url| url.strip_prefix(&folder).map(str::to_owned));
            files.collect::<Vec<_>>()
        };
        savepoints.flat_map(files).collect()
    }

    /// Deletes a savepoint that its owner has no more use for: of a checkpoint, what its own job wrote.
    fn delete_owned(&mut self, location: &str) {
        let Some(savepoint) = self.savepoint(location) else {
            return;
        };
        for url in urls_in(&savepoint) {
            match file_of(&url) {
                Some((job, path)) if job == savepoint.job => {
                    self.files.remove(&(job, path.to_owned()));
                }
                None if url.starts_with(location) => {
                    self.urls.remove(&url);
                }
                Some(_) | None => {}
            }
        }
        self.urls.remove(&metadata_url(location));
        self.given_up.insert(location.to_owned());
    }

    /// Whether the savepoint in this folder can be read with all of its files.
    pub(crate) fn is_whole(&self, location: &str) -> bool {
        let savepoint = self.savepoint(location);
        savepoint.is_some_and(|savepoint| {
            let mut urls = urls_in(&savepoint).into_iter();
            urls.all(|url| self.read_url(&url).is_ok())
        })
    }

    /// Whether the owner of the savepoint in this folder has deleted it.
    pub(crate) fn is_given_up(&self, location: &str) -> bool {
        self.given_up.contains(location)
    }

    /// Whether the savepoint in this folder is complete.
    pub(crate) fn has_savepoint(&self, location: &str) -> bool {
        self.urls.contains_key(&metadata_url(location))
    }

    /// The checkpoints of a job that have files which do not outlive it, once for each file.
    pub(crate) fn checkpoints(&self, job: JobId) -> impl Iterator<Item = CheckpointId> {
        let outliving = self.outliving(job);
        let files = self.files.range((job, String::new())..);
        let files = files.take_while(move |((owner, _), _)| *owner == job);
        let files = files.filter(move |((_, path), _)| !outliving.contains(path));
        files.filter_map(|((_, path), _)| checkpoint_of(path))
    }

    pub(crate) fn read(&self, job: JobId, path: &str) -> Result<&[u8], Unreadable> {
        let file = self.files.get(&(job, path.to_owned()));
        file.ok_or(Unreadable::Missing)?.read()
    }

    /// A file is lost, or comes back with other bytes from now on.
    pub(crate) fn spoil(&mut self, job: JobId, path: String, lost: bool) {
        let key = (job, path);
        if lost {
            self.files.remove(&key);
        } else if let Some(byte) = self.files.get_mut(&key).and_then(|f| f.bytes.last_mut()) {
            *byte ^= 1;
        }
        self.spoiled.insert(key);
    }

    /// Whether a fault has lost or damaged any file of this job.
    pub(crate) fn has_spoiled(&self, job: JobId) -> bool {
        self.spoiled.iter().any(|(owner, _)| *owner == job)
    }

    /// Whether a fault has lost or damaged this file.
    pub(crate) fn is_spoiled(&self, job: JobId, path: &str) -> bool {
        self.spoiled.contains(&(job, path.to_owned()))
    }

    /// Deletes what was ordered; tells which files that were.
    pub(crate) fn delete(&mut self, discard: &Discard) -> Vec<(JobId, String)> {
        if let Discard::Savepoint { location, .. } = discard
            && !self.has_savepoint(location)
        {
            let folder = format!("{location}/");
            self.urls.retain(|url, _| !url.starts_with(&folder));
        }
        let mut outliving = BTreeSet::new();
        match discard {
            Discard::Owned { location, .. } => self.delete_owned(location),
            Discard::Job(job) => outliving = self.outliving(*job),
            Discard::Checkpoint(..) | Discard::Savepoint { .. } | Discard::Unreferenced { .. } => {}
        }
        let mut deleted = Vec::new();
        self.files.retain(|(job, path), _| {
            let goes = matches(discard, *job, path) && !outliving.contains(path);
            if goes {
                deleted.push((*job, path.clone()));
            }
            !goes
        });
        deleted
    }
}

fn matches(discard: &Discard, owner: JobId, path: &str) -> bool {
    match discard {
        Discard::Job(job) => owner == *job,
        Discard::Savepoint { .. } | Discard::Owned { .. } => false,
        Discard::Checkpoint(job, checkpoint) => {
            owner == *job && path.starts_with(&folder(*checkpoint))
        }
        Discard::Unreferenced { job, keep, next } => {
            let unreferenced = |id: CheckpointId| id < *next && !keep.contains(&id);
            owner == *job && checkpoint_of(path).is_some_and(unreferenced)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: JobId = JobId(1);

    #[test]
    fn what_is_unreferenced_goes_and_what_is_kept_or_new_stays() {
        let mut blobs = Blobs::default();
        for id in [1, 2, 11] {
            blobs.write(JOB, CheckpointId(id), "a", vec![]);
        }
        let deleted = blobs.delete(&Discard::Unreferenced {
            job: JOB,
            keep: vec![CheckpointId(2)],
            next: CheckpointId(11),
        });
        assert_eq!(deleted, [(JOB, "chk-1/a".to_owned())]);
    }

    #[test]
    fn a_checkpoint_is_not_taken_for_another_one_that_starts_alike() {
        let mut blobs = Blobs::default();
        let path = blobs.write(JOB, CheckpointId(11), "a", vec![]);
        blobs.delete(&Discard::Checkpoint(JOB, CheckpointId(1)));
        assert!(blobs.read(JOB, &path).is_ok());
    }

    #[test]
    fn a_lost_or_damaged_file_is_seen_by_whoever_reads_it() {
        let mut blobs = Blobs::default();
        let damaged = blobs.write(JOB, CheckpointId(1), "a", vec![1, 2]);
        let lost = blobs.write(JOB, CheckpointId(1), "b", vec![1, 2]);
        blobs.spoil(JOB, damaged.clone(), false);
        blobs.spoil(JOB, lost.clone(), true);
        assert_eq!(blobs.read(JOB, &damaged), Err(Unreadable::Damaged));
        assert_eq!(blobs.read(JOB, &lost), Err(Unreadable::Missing));
        assert!(blobs.is_spoiled(JOB, &lost));
    }
}

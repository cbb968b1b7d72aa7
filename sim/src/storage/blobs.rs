//! The checkpoint storage: files in a folder per job, written by tasks, deleted on the JobManager's order.

use jobmanager_core::id::{CheckpointId, JobId};
use jobmanager_core::jobmanager::Discard;
use std::collections::{BTreeMap, BTreeSet};

/// Every file.
#[derive(Default)]
pub(crate) struct Blobs {
    files: BTreeMap<(JobId, String), Vec<u8>>,
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
        self.files.insert((job, path.clone()), bytes);
        path
    }

    /// The checkpoints of a job that have files.
    pub(crate) fn checkpoints(&self, job: JobId) -> BTreeSet<CheckpointId> {
        let files = self.files.keys().filter(|(owner, _)| *owner == job);
        files.filter_map(|(_, path)| checkpoint_of(path)).collect()
    }

    pub(crate) fn read(&self, job: JobId, path: &str) -> Option<&[u8]> {
        let file = self.files.get(&(job, path.to_owned()));
        file.map(Vec::as_slice)
    }

    /// Deletes what was ordered; tells which files that were.
    pub(crate) fn delete(&mut self, discard: &Discard) -> Vec<(JobId, String)> {
        let mut deleted = Vec::new();
        self.files.retain(|(job, path), _| {
            let goes = matches(discard, *job, path);
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
        assert!(blobs.read(JOB, &path).is_some());
    }
}

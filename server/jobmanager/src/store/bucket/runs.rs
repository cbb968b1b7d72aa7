//! Runs: objects with the changes of entries that are to leave the log. They are written once, under a name that
//! has never been used, and deleted when no entry can ever name them again.
//!
//! A new run takes those before it in that are not much larger than itself, so there are few, and a change is
//! copied a number of times that grows with the logarithm of what is stored.

use super::format::{Base, Change, Run, RunChanges, decode, encode};
use super::place::{Expected, Prefix};
use super::ring::ReadFailure;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as MapEntry;
use std::sync::Arc;
use tracing::warn;

/// The folder of the runs.
pub(super) const FOLDER: &str = "runs";
/// How many times as large as what is new a run may be that is taken in.
const TAKEN_IN: u64 = 2;
/// The digits of the epoch, with which names begin.
const EPOCH_DIGITS: usize = 16;

/// What is to leave the log.
#[derive(Debug)]
pub(super) struct Merge {
    /// In which epoch.
    pub(super) epoch: u64,
    /// Whose work it is.
    pub(super) writer: u64,
    /// The runs that there are, and up to where they reach.
    pub(super) base: Base,
    /// The changes of each entry after that, in order.
    pub(super) tail: Vec<Arc<Vec<Change>>>,
}

/// What has come of it. Nothing names the new run yet.
#[derive(Debug)]
pub(super) struct Merged {
    /// What the next entry is to say.
    pub(super) base: Base,
    /// The runs that are not needed any more once it has said so.
    pub(super) obsolete: Vec<Run>,
}

impl Merge {
    /// Writes what it takes.
    ///
    /// # Errors
    /// The words for people; the runs that there are stay as they are.
    pub(super) async fn carry_out(self, prefix: &Prefix) -> Result<Merged, String> {
        let mut newest = BTreeMap::new();
        for change in self.tail.iter().flat_map(|changes| changes.iter()) {
            newest.insert(change.key.clone(), change.record.clone());
        }
        let Base { merged, mut runs } = self.base;
        let merged = merged + self.tail.len() as u64;
        let mut obsolete = Vec::new();
        while let Some(run) = runs.pop_if(|run| run.bytes <= TAKEN_IN * size(&newest)) {
            let found = read(prefix, &run).await.map_err(words)?;
            // A later leader may have deleted it; then nothing that is made of it would count anyway.
            let changes = found.ok_or_else(|| format!("{} is missing", run.name))?;
            for change in changes {
                if let MapEntry::Vacant(place) = newest.entry(change.key) {
                    place.insert(change.record);
                }
            }
            obsolete.push(run);
        }
        if runs.is_empty() {
            // There is nothing that they could delete.
            newest.retain(|_, record| record.is_some());
        }
        if !newest.is_empty() {
            let epoch = self.epoch;
            let name = format!("{FOLDER}/{epoch:016x}-{merged:016x}-{:016x}", self.writer);
            runs.push(write(prefix, name, newest).await?);
        }
        let base = Base { merged, runs };
        Ok(Merged { base, obsolete })
    }
}

/// About how long a run of these is.
fn size(changes: &BTreeMap<String, Option<Vec<u8>>>) -> u64 {
    let sizes = changes.iter().map(|(key, record)| {
        let record = record.as_ref().map_or(0, Vec::len);
        key.len() + record
    });
    sizes.sum::<usize>() as u64
}

async fn write(
    prefix: &Prefix,
    name: String,
    changes: BTreeMap<String, Option<Vec<u8>>>,
) -> Result<Run, String> {
    let changes = changes
        .into_iter()
        .map(|(key, record)| Change { key, record });
    let changes = RunChanges {
        changes: changes.collect(),
    };
    let bytes = encode(&name, &changes);
    let run = Run {
        bytes: bytes.len() as u64,
        name,
    };
    let written = prefix.put(&run.name, Expected::Anything, bytes).await;
    written.map_err(|failure| format!("{}: {}", run.name, failure.words()))?;
    Ok(run)
}

/// What is in a run; nothing if it is not there.
///
/// # Errors
/// It cannot be read.
pub(super) async fn read(prefix: &Prefix, run: &Run) -> Result<Option<Vec<Change>>, ReadFailure> {
    let found = prefix.get(&run.name).await.map_err(ReadFailure::Away)?;
    let Some((bytes, _)) = found else {
        return Ok(None);
    };
    let run: RunChanges = decode(&run.name, &bytes).map_err(ReadFailure::Unusable)?;
    Ok(Some(run.changes))
}

/// Deletes runs that nothing names, and never will. What cannot be deleted now, a later leader deletes.
pub(super) async fn delete(prefix: Prefix, runs: Vec<String>) {
    for name in runs {
        if let Err(problem) = prefix.delete(&name).await {
            warn!(store = %prefix, name, problem, "a run that is not needed was not deleted");
        }
    }
}

/// Deletes what earlier epochs have left and the leader of this one did not find named. None of that can be named
/// again: whoever leads later goes on from what this one has found. Runs of later epochs are not touched, in case
/// that this leader has been followed without knowing.
pub(super) async fn delete_left_overs(prefix: Prefix, epoch: u64, named: Vec<Run>) {
    match prefix.list(FOLDER).await {
        Ok(names) => {
            let names = names.into_iter().filter(|name| is_before(name, epoch));
            let names = names.map(|name| format!("{FOLDER}/{name}"));
            let left = names.filter(|name| named.iter().all(|run| run.name != *name));
            delete(prefix, left.collect()).await;
        }
        Err(problem) => {
            warn!(store = %prefix, problem, "runs that are not needed were not looked for");
        }
    }
}

/// Whether the name of a run is of an epoch before this one.
fn is_before(name: &str, epoch: u64) -> bool {
    let digits = name.get(..EPOCH_DIGITS);
    let of = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    of.is_some_and(|of| of < epoch)
}

fn words(failure: ReadFailure) -> String {
    match failure {
        ReadFailure::Away(words) | ReadFailure::Unusable(words) => words,
    }
}

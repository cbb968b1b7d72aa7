//! The files of a `file-sink`, and the folder they are in.
//!
//! A part is written as `.part-<job>-<vertex>-<subtask>-<sequence>-<epoch>.<attempt>.inprogress`; it is
//! published by a rename to the same name without the dot in front and the ending. The attempt in the
//! name is the one that wrote the part, so no two attempts ever write, or publish, one file.

use crate::sdk::{OperatorContext, OperatorError};
use jobmanager_core::id::{Attempt, Epoch};
use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The ending of a part that is not published.
const IN_PROGRESS: &str = ".inprogress";
/// How much is collected before it is written. Bytes.
const BUFFER: usize = 64 * 1024;

/// A folder, as one attempt of one subtask sees it.
pub(super) struct PartFolder {
    path: PathBuf,
    /// What the names of all parts of this vertex start with.
    of_vertex: String,
    /// What the names of all parts of this subtask start with.
    prefix: String,
    attempt: Attempt,
}

/// A part that was found in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    path: PathBuf,
    attempt: Attempt,
    published: bool,
}

impl PartFolder {
    /// Makes the folder if there is none.
    pub(super) fn open(path: &str, cx: &OperatorContext) -> Result<Self, OperatorError> {
        let path = cx.path(path)?;
        fs::create_dir_all(&path).map_err(|error| OperatorError::about(path.display(), error))?;
        let (job, vertex) = (cx.job(), cx.attempt.task.vertex.0);
        let of_vertex = format!("part-{job}-{vertex}-");
        Ok(PartFolder {
            path,
            prefix: format!("{of_vertex}{}-", cx.subtask),
            of_vertex,
            attempt: cx.attempt.attempt,
        })
    }

    /// Starts the part with this number.
    pub(super) fn create(&self, sequence: u64) -> Result<OpenPart, OperatorError> {
        let Attempt { epoch, number } = self.attempt;
        let name = format!("{}{sequence:06}-{}.{number}", self.prefix, epoch.0);
        let path = self.hidden(&name);
        let file = File::create_new(&path);
        let file = file.map_err(|error| OperatorError::about(path.display(), error))?;
        Ok(OpenPart {
            name,
            path,
            file: BufWriter::with_capacity(BUFFER, file),
        })
    }

    /// Gives a closed part its final name. One that has it already is left as it is.
    pub(super) fn publish(&self, name: &str) -> Result<(), OperatorError> {
        let (hidden, published) = (self.hidden(name), self.path.join(name));
        match fs::rename(&hidden, &published) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound && published.exists() => Ok(()),
            Err(error) => Err(OperatorError::about(hidden.display(), error)),
        }
    }

    /// Makes the names in the folder survive a loss of power.
    pub(super) fn sync(&self) -> Result<(), OperatorError> {
        let synced = File::open(&self.path).and_then(|folder| folder.sync_all());
        synced.map_err(|error| OperatorError::about(self.path.display(), error))
    }

    /// What the names of all parts of this subtask start with.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether that is what the names of a subtask of this vertex start with, and not those of another job, which may
    /// still go on where its savepoint was taken.
    pub(super) fn is_of_vertex(&self, prefix: &str) -> bool {
        prefix.starts_with(&self.of_vertex)
    }

    /// Refuses to go on if a later attempt has been here.
    pub(super) fn refuse_later(&self) -> Result<(), OperatorError> {
        let found = self.found(&self.prefix)?;
        if let Some(later) = found.iter().find(|part| part.attempt > self.attempt) {
            let problem = "a later attempt of this subtask wrote this; \
                 if it is of an earlier life of the job, delete it or choose another folder";
            return Err(OperatorError::about(later.path.display(), problem));
        }
        Ok(())
    }

    /// Deletes everything that earlier attempts wrote.
    pub(super) fn clear(&self) -> Result<(), OperatorError> {
        let found = self.found(&self.prefix)?.into_iter();
        delete(found.filter(|part| part.attempt < self.attempt))
    }

    /// Deletes what these attempts of the subtask with this prefix left, and did not publish.
    pub(super) fn delete_unpublished(
        &self,
        prefix: &str,
        of: Range<Attempt>,
    ) -> Result<(), OperatorError> {
        let found = self.found(prefix)?.into_iter();
        delete(found.filter(|part| !part.published && of.contains(&part.attempt)))
    }

    fn found(&self, prefix: &str) -> Result<Vec<Found>, OperatorError> {
        let about = |error| OperatorError::about(self.path.display(), error);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(about)? {
            let path = entry.map_err(about)?.path();
            found.extend(recognize(path, prefix));
        }
        Ok(found)
    }

    fn hidden(&self, name: &str) -> PathBuf {
        self.path.join(format!(".{name}{IN_PROGRESS}"))
    }
}

/// Takes a path apart, if it is a part of the subtask with this prefix.
fn recognize(path: PathBuf, prefix: &str) -> Option<Found> {
    let name = path.file_name()?.to_str()?;
    let hidden = name.strip_prefix('.');
    let hidden = hidden.and_then(|name| name.strip_suffix(IN_PROGRESS));
    let rest = hidden.unwrap_or(name).strip_prefix(prefix)?;
    let published = hidden.is_none();
    let (_, attempt) = rest.split_once('-')?;
    let (epoch, number) = attempt.split_once('.')?;
    let attempt = Attempt {
        epoch: Epoch(epoch.parse().ok()?),
        number: number.parse().ok()?,
    };
    Some(Found {
        path,
        attempt,
        published,
    })
}

fn delete(parts: impl Iterator<Item = Found>) -> Result<(), OperatorError> {
    for Found { path, .. } in parts {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(OperatorError::about(path.display(), error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// A part that records are written to.
pub(super) struct OpenPart {
    name: String,
    path: PathBuf,
    file: BufWriter<File>,
}

impl OpenPart {
    /// Appends a line.
    pub(super) fn write_line(&mut self, line: &[u8]) -> Result<(), OperatorError> {
        let written = self.file.write_all(line);
        let written = written.and_then(|()| self.file.write_all(b"\n"));
        written.map_err(|error| self.about(error))
    }

    /// Hands everything to the system. May be tried again.
    pub(super) fn flush(&mut self) -> Result<(), OperatorError> {
        self.file.flush().map_err(|error| self.about(error))
    }

    /// Makes everything survive a loss of power. Must not be tried again: after a failure the system
    /// may have forgotten what it could not write.
    pub(super) fn sync(&self) -> Result<(), OperatorError> {
        let synced = self.file.get_ref().sync_all();
        synced.map_err(|error| self.about(error))
    }

    /// Its final name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where it is now.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what follows to another file, such as one that is full.
    #[cfg(test)]
    pub(super) fn redirect(&mut self, file: File) {
        self.file = BufWriter::with_capacity(BUFFER, file);
    }

    fn about(&self, error: std::io::Error) -> OperatorError {
        OperatorError::about(self.path.display(), error)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::harness::context;
    use super::*;

    #[test]
    fn a_part_is_recognized_by_its_subtask_alone() {
        let folder = tempfile::tempdir().unwrap();
        let cx = context(serde_json::json!({}));
        let mine = PartFolder::open(folder.path().to_str().unwrap(), &cx).unwrap();
        let part = mine.create(7).unwrap();
        let found = recognize(part.path().to_owned(), mine.prefix()).unwrap();
        assert!(!found.published);
        assert_eq!(found.attempt, cx.attempt.attempt);
        let published = recognize(folder.path().join(part.name()), mine.prefix());
        assert!(published.unwrap().published);

        let mut other = cx.clone();
        other.subtask = 1;
        let other = PartFolder::open(folder.path().to_str().unwrap(), &other).unwrap();
        assert_eq!(recognize(part.path().to_owned(), other.prefix()), None);
        assert!(mine.is_of_vertex(other.prefix()));
        for stranger in ["notes.txt", ".part-x", "part-", ".hidden.inprogress"] {
            let path = folder.path().join(stranger);
            assert_eq!(recognize(path, mine.prefix()), None);
        }
    }
}

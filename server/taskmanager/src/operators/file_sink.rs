//! `file-sink`: one line per record, exactly once.
//!
//! A transaction is a file. A checkpoint closes it under a hidden name; when the checkpoint has
//! completed, the file gets its final name by a rename. The state is the list of closed files that are
//! not published, so that whoever restores it can publish them, be it another subtask: the names say who wrote them.
//!
//! ```text
//! first record: create hidden file ─► snapshot(C): flush, fsync, close ─► commit(≥ C): rename
//!                     │                          │
//!                     ▼ attempt lost             ▼ attempt lost
//!               deleted later           C restored: published by the next one; else deleted later
//! ```
//!
//! What lost attempts left is deleted when a checkpoint in which this attempt took part has completed:
//! only then is it certain that nobody goes on from there. A leader that was replaced may have ordered
//! this attempt, while another one is the job's.
//!
//! When the job gets another parallelism, what a subtask knows of its files stays in one piece: the one that is given
//! it publishes them, and deletes what else is left of the attempts with the old parallelism. Nobody else does, be it
//! the subtask of the same number: whoever has to publish them may not have come to it yet. So what a subtask leaves
//! that had no checkpoint before such a change stays there, under hidden names.
//!
//! The folder must be the same for every TaskManager that may run the subtask.

use super::config::Config;
use super::part_file::{OpenPart, PartFolder};
use crate::sdk::DistributionMode::Split;
use crate::sdk::{OperatorContext, OperatorError, Record, Sink, State};
use crate::state::compact::{StateReader, StateWriter, damaged};
use jobmanager_core::id::{Attempt, CheckpointId, Epoch};
use std::collections::VecDeque;

/// The list of what subtasks know of their files.
const FILES: &str = "files";
/// The list of the numbers from which subtasks number their files on.
const SEQUENCE: &str = "next-sequence";
/// The most closed files that wait for a checkpoint to complete. They are part of every snapshot; a
/// job that aborts this many checkpoints in a row is restarted instead.
const MAX_CLOSED: usize = 10_000;

/// A part that is complete and durable, but not published.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ClosedPart {
    checkpoint: CheckpointId,
    name: String,
}

/// What is known of the files of a subtask, be it one of an earlier parallelism.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Files {
    /// What their names start with.
    prefix: String,
    /// Attempts before this one had another parallelism, and theirs are not meant.
    since: Attempt,
    /// So had this one and those after it. Not known to the subtask that writes the files; to whoever inherits them it
    /// is, and has published all that are closed.
    until: Option<Attempt>,
    closed: Vec<ClosedPart>,
}

impl Files {
    fn to_bytes(&self) -> Vec<u8> {
        let mut writer = StateWriter::new();
        writer.bytes(self.prefix.as_bytes());
        // No attempt is before the first one.
        for attempt in [self.since, self.until.unwrap_or_default()] {
            writer.number(attempt.epoch.0);
            writer.number(attempt.number.into());
        }
        for part in &self.closed {
            writer.number(part.checkpoint.0);
            writer.bytes(part.name.as_bytes());
        }
        writer.into_bytes()
    }

    fn read(bytes: &[u8]) -> Result<Self, OperatorError> {
        let mut reader = StateReader::new(bytes)?;
        let prefix = reader.text()?.to_owned();
        let [since, until] = [read_attempt(&mut reader)?, read_attempt(&mut reader)?];
        let mut closed = Vec::new();
        while !reader.is_at_end() {
            let checkpoint = CheckpointId(reader.number()?);
            let name = reader.text()?.to_owned();
            // Whoever gives a savepoint could move files of others by it.
            if name.contains('/') {
                return Err(OperatorError::about(name, "is not the name of a file"));
            }
            closed.push(ClosedPart { checkpoint, name });
        }
        Ok(Files {
            prefix,
            since,
            until: (until != Attempt::default()).then_some(until),
            closed,
        })
    }
}

fn read_attempt(reader: &mut StateReader<'_>) -> Result<Attempt, OperatorError> {
    let (epoch, number) = (reader.number()?, reader.number()?);
    Ok(Attempt {
        epoch: Epoch(epoch),
        number: u32::try_from(number).map_err(damaged)?,
    })
}

/// One subtask's files.
pub(super) struct FileSink {
    folder: PartFolder,
    attempt: Attempt,
    /// Attempts before this one had another parallelism.
    since: Attempt,
    open: Option<OpenPart>,
    /// In the order of their checkpoints.
    closed: VecDeque<ClosedPart>,
    /// Whose files were given to this subtask: what else is left of them is to be deleted.
    inherited: Vec<Files>,
    next_sequence: u64,
    /// The first checkpoint that this attempt has snapshotted for.
    first_snapshot: Option<CheckpointId>,
    /// Nothing is left of earlier attempts.
    clean: bool,
    /// Why the open part can no longer be trusted, once it cannot.
    broken: Option<String>,
}

impl FileSink {
    /// Publishes what the restored state describes.
    pub(super) fn new(cx: &OperatorContext) -> Result<Self, OperatorError> {
        let path = Config::read(cx, &["path"])?.required_text("path")?;
        let mut sink = FileSink {
            folder: PartFolder::open(path, cx)?,
            attempt: cx.attempt.attempt,
            since: cx.since.unwrap_or_default(),
            open: None,
            closed: VecDeque::new(),
            inherited: Vec::new(),
            next_sequence: 0,
            first_snapshot: None,
            clean: false,
            broken: None,
        };
        if let Some(state) = &cx.state {
            sink.restore(state)?;
        }
        sink.folder.refuse_later()?;
        if !cx.checkpoints {
            // The job starts again from the beginning, and this attempt writes everything anew.
            sink.folder.clear()?;
        }
        Ok(sink)
    }

    fn restore(&mut self, state: &State) -> Result<(), OperatorError> {
        for partition in state.list(SEQUENCE) {
            let mut reader = StateReader::new(partition)?;
            self.next_sequence = self.next_sequence.max(reader.number()?);
            reader.end()?;
        }
        for partition in state.list(FILES) {
            let mut files = Files::read(partition)?;
            self.closed.extend(std::mem::take(&mut files.closed));
            let is_own = files.until.is_none() && files.since == self.since;
            if !is_own && self.folder.is_of_vertex(&files.prefix) {
                files.until.get_or_insert(self.since);
                self.inherited.push(files);
            }
        }
        self.publish_all()
    }

    /// Closes the open part, if there is one: from now on it survives a crash.
    fn close(&mut self, checkpoint: CheckpointId) -> Result<(), OperatorError> {
        let Some(part) = &mut self.open else {
            return Ok(());
        };
        part.flush()?;
        if let Err(error) = part.sync().and_then(|()| self.folder.sync()) {
            self.broken = Some(error.to_string());
            return Err(error);
        }
        let name = part.name().to_owned();
        self.closed.push_back(ClosedPart { checkpoint, name });
        self.open = None;
        self.next_sequence += 1;
        Ok(())
    }

    fn publish_all(&mut self) -> Result<(), OperatorError> {
        self.publish_up_to(CheckpointId(u64::MAX))
    }

    fn publish_up_to(&mut self, checkpoint: CheckpointId) -> Result<(), OperatorError> {
        let mut published = false;
        while let Some(part) = self.closed.front() {
            if part.checkpoint > checkpoint {
                break;
            }
            self.folder.publish(&part.name)?;
            self.closed.pop_front();
            published = true;
        }
        if published {
            self.folder.sync()?;
        }
        Ok(())
    }

    /// What a snapshot says of the files.
    fn files(&self) -> impl Iterator<Item = Vec<u8>> {
        let own = Files {
            prefix: self.folder.prefix().to_owned(),
            since: self.since,
            until: None,
            closed: self.closed.iter().cloned().collect(),
        };
        let inherited = self.inherited.iter().map(Files::to_bytes);
        [own.to_bytes()].into_iter().chain(inherited)
    }

    /// Deletes what nobody goes on from any more.
    fn delete_leftovers(&mut self) -> Result<(), OperatorError> {
        let own = self.since..self.attempt;
        self.folder.delete_unpublished(self.folder.prefix(), own)?;
        for files in std::mem::take(&mut self.inherited) {
            let until = files.until.unwrap_or(self.since);
            self.folder
                .delete_unpublished(&files.prefix, files.since..until)?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), OperatorError> {
        match &self.broken {
            Some(problem) => Err(OperatorError(problem.clone())),
            None => Ok(()),
        }
    }
}

impl Sink for FileSink {
    fn process(&mut self, record: Record<'_>) -> Result<(), OperatorError> {
        self.check()?;
        let part = match &mut self.open {
            Some(part) => part,
            none => none.insert(self.folder.create(self.next_sequence)?),
        };
        part.write_line(record.value)
    }

    fn snapshot(
        &mut self,
        checkpoint: CheckpointId,
        state: &mut State,
    ) -> Result<(), OperatorError> {
        self.check()?;
        self.close(checkpoint)?;
        self.first_snapshot.get_or_insert(checkpoint);
        if self.closed.len() > MAX_CLOSED {
            let problem = format!("{MAX_CLOSED} files wait for a checkpoint to complete");
            self.broken = Some(problem);
        }
        self.check()?;
        let mut sequence = StateWriter::new();
        sequence.number(self.next_sequence);
        state.append(SEQUENCE, Split, [sequence.into_bytes()])?;
        state.append(FILES, Split, self.files())
    }

    fn commit(&mut self, checkpoint: CheckpointId) -> Result<(), OperatorError> {
        self.publish_up_to(checkpoint)?;
        let took_part = self.first_snapshot.is_some_and(|first| first <= checkpoint);
        if took_part && !self.clean {
            self.delete_leftovers()?;
            self.clean = true;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), OperatorError> {
        self.check()?;
        self.close(CheckpointId(u64::MAX))?;
        self.publish_all()
    }
}

impl Drop for FileSink {
    /// Nobody will ever need a part that was not closed. What a crash leaves, a later attempt deletes.
    fn drop(&mut self) {
        if let Some(part) = &self.open
            && let Err(error) = std::fs::remove_file(part.path())
        {
            tracing::debug!(path = %part.path().display(), %error, "not deleted");
        }
    }
}

#[cfg(test)]
mod tests;

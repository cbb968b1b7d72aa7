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
//! The folder must be the same for every TaskManager that may run the subtask.

use super::config::Config;
use super::part_file::{OpenPart, PartFolder};
use crate::sdk::DistributionMode::Split;
use crate::sdk::{OperatorContext, OperatorError, Record, Sink, State};
use crate::state::compact::{StateReader, StateWriter};
use jobmanager_core::id::CheckpointId;
use std::collections::VecDeque;

/// The list of the closed files.
const CLOSED: &str = "closed-parts";
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

impl ClosedPart {
    fn to_bytes(&self) -> Vec<u8> {
        let mut writer = StateWriter::new();
        writer.number(self.checkpoint.0);
        writer.bytes(self.name.as_bytes());
        writer.into_bytes()
    }

    fn read(bytes: &[u8]) -> Result<Self, OperatorError> {
        let mut reader = StateReader::new(bytes)?;
        let part = ClosedPart {
            checkpoint: CheckpointId(reader.number()?),
            name: reader.text()?.to_owned(),
        };
        reader.end()?;
        Ok(part)
    }
}

/// One subtask's files.
pub(super) struct FileSink {
    folder: PartFolder,
    open: Option<OpenPart>,
    /// In the order of their checkpoints.
    closed: VecDeque<ClosedPart>,
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
            open: None,
            closed: VecDeque::new(),
            next_sequence: 0,
            first_snapshot: None,
            clean: false,
            broken: None,
        };
        if let Some(state) = &cx.state {
            sink.restore(state)?;
        }
        sink.publish_up_to(CheckpointId(u64::MAX))?;
        sink.folder.refuse_later()?;
        if !cx.checkpoints {
            // The job starts again from the beginning, and this attempt writes everything anew.
            sink.folder.clean(true)?;
        }
        Ok(sink)
    }

    fn restore(&mut self, state: &State) -> Result<(), OperatorError> {
        for partition in state.list(SEQUENCE) {
            let mut reader = StateReader::new(partition)?;
            self.next_sequence = self.next_sequence.max(reader.number()?);
            reader.end()?;
        }
        let closed = state.list(CLOSED).iter();
        let closed = closed.map(|partition| ClosedPart::read(partition));
        self.closed = closed.collect::<Result<_, OperatorError>>()?;
        Ok(())
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
        state.append(CLOSED, Split, self.closed.iter().map(ClosedPart::to_bytes))
    }

    fn commit(&mut self, checkpoint: CheckpointId) -> Result<(), OperatorError> {
        self.publish_up_to(checkpoint)?;
        let took_part = self.first_snapshot.is_some_and(|first| first <= checkpoint);
        if took_part && !self.clean {
            self.folder.clean(false)?;
            self.clean = true;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), OperatorError> {
        self.check()?;
        let end = CheckpointId(u64::MAX);
        self.close(end)?;
        self.publish_up_to(end)
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

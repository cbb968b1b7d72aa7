//! What keyed operators share: which key a record counts under, and whose keys a snapshot holds.

use super::state::{StateReader, StateWriter};
use crate::sdk::{OperatorContext, OperatorError, Record};
use jobmanager_core::graph::{key_group, subtask_of_key_group};
use jobmanager_proto::records::key_hash;

/// The key of a record; its value, if it has none.
pub(super) fn key_of<'a>(record: &Record<'a>) -> &'a [u8] {
    record.key.unwrap_or(record.value)
}

/// A subtask's place among the key groups. It stands in front of every keyed snapshot: whoever
/// restores its own takes all of it, and whoever restores that of a job with another parallelism takes
/// what is in its key groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyRange {
    subtask: u32,
    parallelism: u32,
    max_parallelism: u32,
}

impl KeyRange {
    pub(super) fn of(cx: &OperatorContext) -> Self {
        KeyRange {
            subtask: cx.subtask,
            parallelism: cx.parallelism,
            max_parallelism: cx.max_parallelism,
        }
    }

    pub(super) fn write(self, state: &mut StateWriter) {
        for number in [self.subtask, self.parallelism, self.max_parallelism] {
            state.number(u64::from(number));
        }
    }

    /// Reads the range of a snapshot's writer; answers whether all its keys are ours.
    pub(super) fn is_written_by(self, state: &mut StateReader<'_>) -> Result<bool, OperatorError> {
        let mut same = true;
        for number in [self.subtask, self.parallelism, self.max_parallelism] {
            same &= state.number()? == u64::from(number);
        }
        Ok(same)
    }

    /// Whether a hash edge sends this key here.
    pub(super) fn contains(self, key: &[u8]) -> bool {
        let group = key_group(key_hash(key), self.max_parallelism);
        subtask_of_key_group(group, self.max_parallelism, self.parallelism) == self.subtask
    }
}

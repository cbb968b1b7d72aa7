//! What keyed operators share: which key a record counts under, and how keys get into a snapshot and out of it.
//!
//! Keys that a hash edge brought here are in the subtask's key groups. An edge of another kind brings any keys. Those
//! of other subtasks' groups are partitions of a list, one for each group, and each of them goes to some subtask: as
//! before, what a key has is then in several places, and nothing of it is lost or doubled.

use crate::sdk::{DistributionMode, KeyGroups, OperatorError, Record, State};
use crate::state::compact::StateWriter;
use std::collections::BTreeMap;

/// The list of the keys that no hash edge brought here.
const ELSEWHERE: &str = "keys-of-other-subtasks";

/// The key of a record; its value, if it has none.
pub(super) fn key_of<'a>(record: &Record<'a>) -> &'a [u8] {
    record.key.unwrap_or(record.value)
}

/// Collects what a snapshot has of each key.
pub(super) struct KeyedWriter {
    key_groups: KeyGroups,
    /// With what each part begins.
    beginning: StateWriter,
    parts: BTreeMap<u32, StateWriter>,
}

impl KeyedWriter {
    pub(super) fn new(key_groups: KeyGroups) -> Self {
        KeyedWriter {
            key_groups,
            beginning: StateWriter::new(),
            parts: BTreeMap::new(),
        }
    }

    /// There is a part of every key group of the subtask, and each begins with this.
    pub(super) fn in_every_group(key_groups: KeyGroups, beginning: StateWriter) -> Self {
        let part = |group| (group, beginning.clone());
        KeyedWriter {
            key_groups,
            parts: key_groups.own().map(part).collect(),
            beginning,
        }
    }

    /// Where to write what a key has.
    pub(super) fn part_of(&mut self, key: &[u8]) -> &mut StateWriter {
        let group = self.key_groups.of(key);
        let fresh = || self.beginning.clone();
        self.parts.entry(group).or_insert_with(fresh)
    }

    pub(super) fn put_into(self, state: &mut State) -> Result<(), OperatorError> {
        for (group, part) in self.parts {
            let part = part.into_bytes();
            if self.key_groups.contains(group) {
                state.put_key_group(group, part)?;
            } else {
                state.append(ELSEWHERE, DistributionMode::Split, [part])?;
            }
        }
        Ok(())
    }
}

/// What was written by [`KeyedWriter`]s, each part from its first key to its end.
pub(super) fn parts(state: &State) -> impl Iterator<Item = &[u8]> {
    let owned = state.key_groups().map(|(_, part)| part);
    owned.chain(state.list(ELSEWHERE).iter().map(Vec::as_slice))
}

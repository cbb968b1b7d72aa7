//! The bytes of a snapshot, in the [compact](super::compact) form: an index, then the parts.
//!
//! ```text
//! key groups: how many, then of each its number and length, ascending
//! lists:      how many, then of each its name, mode, how many partitions, and their lengths, ascending by name
//! bytes:      of the key groups, then of the partitions, in that order
//! ```
//!
//! Whoever is given a part of a snapshot finds it by the index. **Invariant:** what is given and not there is damage,
//! but for a key group, which may have no keys.

use super::compact::{StateReader, StateWriter, damaged};
use super::{List, State};
use crate::sdk::OperatorError;
use jobmanager_core::message::{ListPart, StateParts};
use jobmanager_core::redistribute::DistributionMode;
use std::collections::BTreeMap;

impl State {
    /// Whether nothing at all was written.
    pub(crate) fn is_nothing(&self) -> bool {
        self.key_groups.is_empty() && self.lists.is_empty()
    }

    /// What the snapshot has. A subtask that has any keyed state has that of all its key groups.
    pub(crate) fn parts(&self) -> StateParts {
        let part = |(name, list): (&String, &List)| {
            let partitions = u32::try_from(list.partitions.len());
            ListPart {
                name: name.clone(),
                mode: list.mode,
                partitions: 0..partitions.expect("memory ends before 32 bits of partitions do"),
            }
        };
        StateParts {
            key_groups: (!self.key_groups.is_empty()).then_some(self.owned.own),
            lists: self.lists.iter().map(part).collect(),
        }
    }

    /// The snapshot.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut writer = StateWriter::new();
        writer.number(self.key_groups.len() as u64);
        for (group, bytes) in &self.key_groups {
            writer.number(u64::from(*group));
            writer.number(bytes.len() as u64);
        }
        writer.number(self.lists.len() as u64);
        for (name, list) in &self.lists {
            writer.bytes(name.as_bytes());
            writer.number(mode_number(list.mode));
            writer.number(list.partitions.len() as u64);
            for partition in &list.partitions {
                writer.number(partition.len() as u64);
            }
        }
        let partitions = self.lists.values().flat_map(|list| &list.partitions);
        for bytes in self.key_groups.values().chain(partitions) {
            writer.raw(bytes);
        }
        writer.into_bytes()
    }

    /// Adds what is meant of a snapshot; all of it, if that is not said.
    ///
    /// # Errors
    /// It is damaged, does not have what is meant, or has what is here already.
    pub(crate) fn take(
        &mut self,
        snapshot: &[u8],
        meant: Option<&StateParts>,
    ) -> Result<(), OperatorError> {
        let found = Found::read(snapshot)?;
        let Some(meant) = meant else {
            for (group, bytes) in found.key_groups {
                self.put_key_group(group, bytes.to_vec())?;
            }
            for (name, list) in found.lists {
                self.append(name, list.mode, owned(&list.partitions))?;
            }
            return Ok(());
        };
        if let Some(range) = meant.key_groups {
            for (group, bytes) in found.key_groups.range(range.first..=range.last) {
                self.put_key_group(*group, bytes.to_vec())?;
            }
        }
        for part in &meant.lists {
            let run = part.partitions.start as usize..part.partitions.end as usize;
            let list = found.lists.get(part.name.as_str());
            let list = list.filter(|list| list.mode == part.mode);
            let Some(partitions) = list.and_then(|list| list.partitions.get(run)) else {
                let ListPart {
                    name, partitions, ..
                } = part;
                let problem = format_args!("it lacks partitions {partitions:?} of list `{name}`");
                return Err(damaged(problem));
            };
            self.append(&part.name, part.mode, owned(partitions))?;
        }
        Ok(())
    }
}

/// What is in a snapshot.
struct Found<'a> {
    key_groups: BTreeMap<u32, &'a [u8]>,
    lists: BTreeMap<&'a str, FoundList<'a>>,
}

struct FoundList<'a> {
    mode: DistributionMode,
    partitions: Vec<&'a [u8]>,
}

impl<'a> Found<'a> {
    fn read(snapshot: &'a [u8]) -> Result<Self, OperatorError> {
        let mut reader = StateReader::new(snapshot)?;
        let mut groups = Vec::new();
        for _ in 0..reader.number()? {
            let group = u32::try_from(reader.number()?).map_err(damaged)?;
            groups.push((group, reader.number()?));
        }
        let mut lists = Vec::new();
        for _ in 0..reader.number()? {
            let (name, mode) = (reader.text()?, mode_of(reader.number()?)?);
            let mut lengths = Vec::new();
            for _ in 0..reader.number()? {
                lengths.push(reader.number()?);
            }
            lists.push((name, mode, lengths));
        }
        let mut found = Found {
            key_groups: BTreeMap::new(),
            lists: BTreeMap::new(),
        };
        for (group, length) in groups {
            let twice = found.key_groups.insert(group, reader.raw(length)?);
            once(twice.is_none())?;
        }
        for (name, mode, lengths) in lists {
            let partitions = lengths.into_iter().map(|length| reader.raw(length));
            let partitions = partitions.collect::<Result<_, OperatorError>>()?;
            let twice = found.lists.insert(name, FoundList { mode, partitions });
            once(twice.is_none())?;
        }
        reader.end()?;
        Ok(found)
    }
}

fn owned(partitions: &[&[u8]]) -> impl Iterator<Item = Vec<u8>> {
    partitions.iter().map(|partition| partition.to_vec())
}

fn once(is_new: bool) -> Result<(), OperatorError> {
    is_new
        .then_some(())
        .ok_or_else(|| damaged("it has a part twice"))
}

fn mode_number(mode: DistributionMode) -> u64 {
    match mode {
        DistributionMode::Split => 0,
        DistributionMode::Union => 1,
        DistributionMode::Broadcast => 2,
    }
}

fn mode_of(number: u64) -> Result<DistributionMode, OperatorError> {
    match number {
        0 => Ok(DistributionMode::Split),
        1 => Ok(DistributionMode::Union),
        2 => Ok(DistributionMode::Broadcast),
        other => Err(damaged(format_args!("mode {other} of a list is not known"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::state::KeyGroups;
    use DistributionMode::{Broadcast, Split, Union};
    use jobmanager_core::graph::KeyGroupRange;

    fn owned_by(parallelism: u32, subtask: u32) -> State {
        State::new(KeyGroups::new(128, parallelism, subtask))
    }

    fn written() -> State {
        let mut state = owned_by(1, 0);
        for group in [0, 5, 100, 127] {
            let bytes = vec![7; group as usize];
            state.put_key_group(group, bytes).unwrap();
        }
        state
            .append("split", Split, [vec![1], vec![], vec![2; 300]])
            .unwrap();
        state.append("union", Union, [vec![3]]).unwrap();
        state.append("all", Broadcast, []).unwrap();
        state
    }

    fn taken(snapshot: &[u8], meant: Option<&StateParts>) -> Result<State, OperatorError> {
        let mut state = owned_by(1, 0);
        state.take(snapshot, meant)?;
        Ok(state)
    }

    fn list(name: &str, mode: DistributionMode, partitions: std::ops::Range<u32>) -> StateParts {
        let name = name.to_owned();
        StateParts {
            key_groups: None,
            lists: vec![ListPart {
                name,
                mode,
                partitions,
            }],
        }
    }

    #[test]
    fn a_snapshot_gives_back_what_was_put_in() {
        let state = written();
        let bytes = state.to_bytes();
        assert_eq!(taken(&bytes, None).unwrap(), state);
        assert_eq!(taken(&bytes, Some(&state.parts())).unwrap(), state);
        let nothing = owned_by(1, 0);
        assert!(nothing.is_nothing());
        assert_eq!(taken(&nothing.to_bytes(), None).unwrap(), nothing);
    }

    #[test]
    fn a_snapshot_says_which_parts_it_has() {
        let mut state = owned_by(2, 1);
        assert_eq!(state.parts(), StateParts::default());
        state.append("split", Split, [vec![1], vec![2]]).unwrap();
        assert_eq!(state.parts(), list("split", Split, 0..2));
        state.put_key_group(99, vec![]).unwrap();
        let (first, last) = (64, 127);
        assert_eq!(
            state.parts().key_groups,
            Some(KeyGroupRange { first, last })
        );
        state.append("empty", Union, []).unwrap();
        assert!(
            state
                .parts()
                .lists
                .is_sorted_by_key(|list| list.name.clone())
        );
    }

    #[test]
    fn only_what_is_meant_is_taken() {
        let bytes = written().to_bytes();
        let mut meant = list("split", Split, 1..3);
        let (first, last) = (5, 126);
        meant.key_groups = Some(KeyGroupRange { first, last });
        let state = taken(&bytes, Some(&meant)).unwrap();
        assert!(state.key_groups().map(|(group, _)| group).eq([5, 100]));
        assert_eq!(state.list("split"), [vec![], vec![2; 300]]);
        assert!(state.list("union").is_empty());
        let nothing = taken(&bytes, Some(&StateParts::default())).unwrap();
        assert!(nothing.is_nothing());
    }

    #[test]
    fn what_comes_of_several_snapshots_is_merged_in_their_order() {
        let (mut one, mut other) = (owned_by(2, 0), owned_by(2, 1));
        one.put_key_group(63, vec![1]).unwrap();
        one.append("list", Split, [vec![1], vec![2]]).unwrap();
        other.put_key_group(64, vec![2]).unwrap();
        other.append("list", Split, [vec![3]]).unwrap();
        let mut merged = owned_by(1, 0);
        for state in [&other, &one] {
            merged
                .take(&state.to_bytes(), Some(&state.parts()))
                .unwrap();
        }
        assert!(merged.key_groups().eq([(63, &[1][..]), (64, &[2][..])]));
        assert_eq!(merged.list("list"), [[3], [1], [2]]);
        let again = merged.take(&one.to_bytes(), None).unwrap_err().to_string();
        assert!(again.contains("key group 63 is there twice"), "{again}");
    }

    #[test]
    fn what_is_meant_and_not_there_is_damage() {
        let bytes = written().to_bytes();
        for meant in [
            list("split", Split, 0..4),
            list("split", Split, 4..4),
            list("split", Union, 0..1),
            list("other", Split, 0..0),
        ] {
            let words = taken(&bytes, Some(&meant)).unwrap_err().to_string();
            let name = &meant.lists[0].name;
            assert!(words.starts_with("restored state: it lacks"), "{words}");
            assert!(words.ends_with(&format!("list `{name}`")), "{words}");
        }
    }

    #[test]
    fn the_key_groups_of_another_subtask_are_not_taken() {
        let state = written();
        let refused = owned_by(2, 0).take(&state.to_bytes(), None).unwrap_err();
        let expected = "key group 100 belongs to another subtask";
        assert!(refused.to_string().contains(expected), "{refused}");
    }

    #[test]
    fn a_snapshot_that_is_cut_or_longer_or_of_another_version_is_refused() {
        let mut bytes = written().to_bytes();
        for length in 0..bytes.len() {
            assert!(taken(&bytes[..length], None).is_err(), "{length}");
        }
        bytes.push(0);
        assert!(taken(&bytes, None).is_err());
        bytes[0] = 1;
        let refused = taken(&bytes, None).unwrap_err().to_string();
        assert!(refused.contains("version 1 is not known"), "{refused}");
    }

    #[test]
    fn a_part_that_is_there_twice_or_of_an_unknown_mode_is_refused() {
        let refused = |numbers: &[u64]| {
            let mut writer = StateWriter::new();
            numbers.iter().for_each(|number| writer.number(*number));
            taken(&writer.into_bytes(), None).unwrap_err().to_string()
        };
        let (a, empty) = (u64::from(b'a'), 0);
        let twice = "restored state: it has a part twice";
        assert_eq!(refused(&[2, 5, empty, 5, empty, 0]), twice);
        assert_eq!(refused(&[0, 2, 1, a, 0, empty, 1, a, 0, empty]), twice);
        let unknown = "restored state: mode 3 of a list is not known";
        assert_eq!(refused(&[0, 1, 1, a, 3, empty]), unknown);
    }
}

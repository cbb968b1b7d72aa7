//! The state of a subtask, in the parts into which it can be divided when its vertex gets another number of subtasks.
//!
//! Keyed state is in key groups, which go to whoever has their keys. Everything else is in lists of partitions, and
//! their mode says who gets them. What a part holds is the operator's affair; how all of it becomes the bytes of a
//! snapshot is told in [`layout`].
//!
//! **Invariant:** it holds no part that a peer would refuse: no list without a proper name, none with two modes, no key
//! group that belongs to another subtask.

pub(crate) mod compact;
mod layout;

use crate::sdk::OperatorError;
use jobmanager_core::graph::{KeyGroupRange, key_group, key_group_range};
use jobmanager_core::redistribute::DistributionMode;
use jobmanager_proto::limits;
use jobmanager_proto::records::key_hash;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::RangeInclusive;

/// The key groups of a vertex, as one of its subtasks sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyGroups {
    count: u32,
    own: KeyGroupRange,
}

impl KeyGroups {
    /// Those of a subtask. `subtask` < `parallelism` ≤ `max_parallelism` must hold.
    #[must_use]
    pub fn new(max_parallelism: u32, parallelism: u32, subtask: u32) -> Self {
        KeyGroups {
            count: max_parallelism,
            own: key_group_range(max_parallelism, parallelism, subtask),
        }
    }

    /// The group of a key. A hash edge sends the key to the subtask that has the group.
    #[must_use]
    pub fn of(self, key: &[u8]) -> u32 {
        key_group(key_hash(key), self.count)
    }

    /// The groups that are this subtask's.
    pub fn own(self) -> RangeInclusive<u32> {
        self.own.first..=self.own.last
    }

    /// Whether a group is this subtask's.
    #[must_use]
    pub fn contains(self, group: u32) -> bool {
        self.own().contains(&group)
    }
}

/// What a subtask keeps: written at a checkpoint, read when it starts again, possibly with another parallelism.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    owned: KeyGroups,
    key_groups: BTreeMap<u32, Vec<u8>>,
    lists: BTreeMap<String, List>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct List {
    mode: DistributionMode,
    partitions: Vec<Vec<u8>>,
}

impl State {
    /// Nothing yet, for a subtask that has these key groups.
    #[must_use]
    pub fn new(owned: KeyGroups) -> Self {
        State {
            owned,
            key_groups: BTreeMap::new(),
            lists: BTreeMap::new(),
        }
    }

    /// Writes the state of the keys in a group. One without keys needs none.
    ///
    /// # Errors
    /// The group belongs to another subtask, or is written already.
    pub fn put_key_group(&mut self, group: u32, bytes: Vec<u8>) -> Result<(), OperatorError> {
        if !self.owned.contains(group) {
            let KeyGroupRange { first, last } = self.owned.own;
            return Err(misused(format_args!(
                "key group {group} belongs to another subtask, this one has {first} to {last}; \
                 put keys that no hash edge brought here into a list"
            )));
        }
        match self.key_groups.entry(group) {
            Entry::Vacant(vacant) => {
                vacant.insert(bytes);
                Ok(())
            }
            Entry::Occupied(_) => Err(misused(format_args!(
                "key group {group} is there twice; put all of its keys into it at once"
            ))),
        }
    }

    /// Writes partitions behind those that a list has. From then on the list is part of the snapshot, even if there
    /// are none: whoever has nothing left writes an empty list, and does not start from the beginning.
    ///
    /// # Errors
    /// The name is empty, longer than 200 characters or has control characters; the list has another mode; or there
    /// are too many lists.
    pub fn append(
        &mut self,
        list: &str,
        mode: DistributionMode,
        partitions: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<(), OperatorError> {
        if let Some(list) = self.lists.get_mut(list).filter(|it| it.mode == mode) {
            list.partitions.extend(partitions);
            return Ok(());
        }
        self.check_new_list(list)?;
        let partitions = partitions.into_iter().collect();
        self.lists
            .insert(list.to_owned(), List { mode, partitions });
        Ok(())
    }

    /// The groups that have something, ascending.
    pub fn key_groups(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let groups = self.key_groups.iter();
        groups.map(|(group, bytes)| (*group, bytes.as_slice()))
    }

    /// The partitions of a list; none if there is no such list.
    #[must_use]
    pub fn list(&self, name: &str) -> &[Vec<u8>] {
        self.lists.get(name).map_or(&[], |list| &list.partitions)
    }

    /// A list of this name may be made.
    fn check_new_list(&self, name: &str) -> Result<(), OperatorError> {
        if let Some(List { mode, .. }) = self.lists.get(name) {
            let problem = format_args!("list `{name}` has mode {mode:?}; keep to one mode");
            return Err(misused(problem));
        }
        let most = limits::MAX_NAME;
        if !(1..=most).contains(&name.chars().count()) || name.chars().any(char::is_control) {
            return Err(misused(format_args!(
                "list {name:?} needs a name of 1 to {most} characters, none of them a control character"
            )));
        }
        let most = limits::MAX_LISTS;
        if self.lists.len() == most {
            return Err(misused(format_args!(
                "list `{name}` is one too many, {most} are allowed; use partitions instead"
            )));
        }
        Ok(())
    }
}

fn misused(problem: impl std::fmt::Display) -> OperatorError {
    OperatorError::about("state", problem)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use DistributionMode::{Split, Union};
    use jobmanager_core::graph::subtask_of_key_group;

    fn state() -> State {
        State::new(KeyGroups::new(128, 2, 1))
    }

    fn refused(result: Result<(), OperatorError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn what_was_written_is_there() {
        let mut state = state();
        state.put_key_group(127, vec![2]).unwrap();
        state.put_key_group(64, vec![1]).unwrap();
        state.append("list", Split, [vec![3], vec![]]).unwrap();
        state.append("list", Split, [vec![4]]).unwrap();
        let groups: Vec<_> = state.key_groups().collect();
        assert_eq!(groups, [(64, &[1][..]), (127, &[2][..])]);
        assert_eq!(state.list("list"), [vec![3], vec![], vec![4]]);
        assert_eq!(state.list("other"), [[0_u8; 0]; 0]);
    }

    #[test]
    fn a_key_is_in_the_group_that_leads_a_hash_edge_to_its_subtask() {
        for parallelism in [1, 2, 3, 128] {
            for key in 0..100_u32 {
                let key = key.to_le_bytes();
                let group = key_group(key_hash(&key), 128);
                let owner = subtask_of_key_group(group, 128, parallelism);
                for subtask in 0..parallelism {
                    let groups = KeyGroups::new(128, parallelism, subtask);
                    assert_eq!(groups.of(&key), group);
                    assert_eq!(groups.contains(group), subtask == owner);
                }
            }
        }
    }

    #[test]
    fn the_key_group_of_another_subtask_is_refused_and_so_is_a_second_one() {
        let mut state = state();
        for group in [0, 63, 128] {
            let words = refused(state.put_key_group(group, vec![]));
            let expected = format!("key group {group} belongs to another subtask");
            assert!(words.contains(&expected), "{words}");
            assert!(words.contains("this one has 64 to 127"), "{words}");
        }
        state.put_key_group(64, vec![1]).unwrap();
        let words = refused(state.put_key_group(64, vec![2]));
        assert!(words.contains("key group 64 is there twice"), "{words}");
        assert!(state.key_groups().eq([(64, &[1][..])]));
    }

    #[test]
    fn a_list_with_two_modes_or_without_a_proper_name_is_refused() {
        let mut state = state();
        state.append("list", Split, [vec![1]]).unwrap();
        let words = refused(state.append("list", Union, [vec![2]]));
        assert!(words.contains("list `list` has mode Split"), "{words}");
        assert_eq!(state.list("list"), [[1]]);
        let long = "ä".repeat(limits::MAX_NAME);
        state.append(&long, Split, []).unwrap();
        for name in ["", "a\nb", &format!("{long}ä")] {
            let words = refused(state.append(name, Split, []));
            assert!(words.contains("needs a name of 1 to 200"), "{words}");
        }
    }

    #[test]
    fn there_are_not_more_lists_than_a_peer_takes() {
        let mut state = state();
        for number in 0..limits::MAX_LISTS {
            state.append(&number.to_string(), Split, []).unwrap();
        }
        state.append("0", Split, [vec![1]]).unwrap();
        let words = refused(state.append("more", Split, []));
        assert!(words.contains("list `more` is one too many"), "{words}");
    }
}

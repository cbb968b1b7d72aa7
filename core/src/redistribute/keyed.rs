//! Keyed state: whoever owns a key group gets all state of it.
//!
//! A handle of an old snapshot holds a range of key groups. A new subtask reads of every old handle the
//! key groups that lie in its own range, so the plan is an intersection of ranges. That works as long as
//! both sides count the same key groups: [`adopt_max_parallelism`] says how many those are.

use crate::graph::{KeyGroupRange, key_group_range, subtask_of_key_group};
use crate::id::SubtaskIndex;
use alloc::vec::Vec;

/// How many key groups a vertex shall have, and who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MaxParallelism {
    /// The user set it: it holds, or the restore is refused.
    Set(u32),
    /// It follows from the parallelism: it gives way to what the state has.
    Derived(u32),
}

/// Why a vertex cannot take the state that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum MaxParallelismConflict {
    /// Some subtasks would own no key group.
    #[error(
        "the state has {state} key groups, too few for parallelism {parallelism}: \
         lower the parallelism to at most {state}"
    )]
    TooFewKeyGroups {
        /// The key groups of the state.
        state: u32,
        /// The parallelism that wants to restore it.
        parallelism: u32,
    },
    /// The user wants another number of key groups than the state has.
    #[error(
        "the max parallelism is set to {set}, but the state has {state} key groups: \
         set it to {state}, or leave it unset"
    )]
    Differs {
        /// What the user set.
        set: u32,
        /// The key groups of the state.
        state: u32,
    },
}

/// How many key groups a vertex of this parallelism has once it has restored state with `state` key
/// groups: those of the state, because keys cannot change their group.
///
/// The parallelism may not exceed them. If the vertex was to have another number, that gives way unless the
/// user set it.
///
/// # Errors
///
/// If the vertex cannot have the key groups of the state.
pub fn adopt_max_parallelism(
    vertex: MaxParallelism,
    parallelism: u32,
    state: u32,
) -> Result<u32, MaxParallelismConflict> {
    if parallelism > state {
        return Err(MaxParallelismConflict::TooFewKeyGroups { state, parallelism });
    }
    match vertex {
        MaxParallelism::Set(set) if set != state => {
            Err(MaxParallelismConflict::Differs { set, state })
        }
        MaxParallelism::Set(_) | MaxParallelism::Derived(_) => Ok(state),
    }
}

/// What one new subtask reads of one old handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyedPart {
    /// The new subtask.
    pub subtask: SubtaskIndex,
    /// The position of the old handle among those that were given.
    pub handle: u32,
    /// The key groups to read.
    pub range: KeyGroupRange,
}

/// Who reads what of a vertex's keyed handles.
///
/// Making it costs as much as it has parts, and no comparison of every handle with every subtask: the
/// owners of a handle's first and last key group are known by formula, and those between are neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedShares {
    /// By subtask, then in the order of the handles.
    parts: Vec<KeyedPart>,
}

impl KeyedShares {
    /// Shares out handles, each given by its key groups. They may overlap and come in any order: a vertex has
    /// managed and raw state, and an old subtask may itself have had several handles.
    ///
    /// `parallelism` ≤ `max_parallelism` must hold, and every key group be less than `max_parallelism`.
    #[must_use]
    pub fn new(handles: &[KeyGroupRange], max_parallelism: u32, parallelism: u32) -> Self {
        assert!(
            parallelism <= max_parallelism,
            "every subtask has a key group"
        );
        let mut parts = Vec::with_capacity(handles.len().max(parallelism as usize));
        for (handle, held) in (0..).zip(handles) {
            assert!(held.first <= held.last, "a handle has key groups");
            assert!(held.last < max_parallelism, "key groups are counted alike");
            let owner = |group| subtask_of_key_group(group, max_parallelism, parallelism);
            for subtask in owner(held.first)..=owner(held.last) {
                let owned = key_group_range(max_parallelism, parallelism, subtask);
                parts.push(KeyedPart {
                    subtask: SubtaskIndex(subtask),
                    handle,
                    range: KeyGroupRange {
                        first: held.first.max(owned.first),
                        last: held.last.min(owned.last),
                    },
                });
            }
        }
        parts.sort_by_key(|part| part.subtask);
        KeyedShares { parts }
    }

    /// What a subtask reads, in the order of the handles.
    #[must_use]
    pub fn of(&self, subtask: SubtaskIndex) -> &[KeyedPart] {
        let first = self.parts.partition_point(|part| part.subtask < subtask);
        let end = self.parts.partition_point(|part| part.subtask <= subtask);
        &self.parts[first..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::MAX_PARALLELISM;
    use proptest::prelude::*;
    use std::vec;

    fn ranges(max: u32, parallelism: u32) -> Vec<KeyGroupRange> {
        (0..parallelism)
            .map(|subtask| key_group_range(max, parallelism, subtask))
            .collect()
    }

    fn range(first: u32, last: u32) -> KeyGroupRange {
        KeyGroupRange { first, last }
    }

    fn part(subtask: u32, handle: u32, range: KeyGroupRange) -> KeyedPart {
        KeyedPart {
            subtask: SubtaskIndex(subtask),
            handle,
            range,
        }
    }

    #[test]
    fn a_subtask_reads_of_each_handle_what_it_owns() {
        let shares = KeyedShares::new(&ranges(128, 3), 128, 2);
        let first = [part(0, 0, range(0, 42)), part(0, 1, range(43, 63))];
        let second = [part(1, 1, range(64, 85)), part(1, 2, range(86, 127))];
        assert_eq!(shares.of(SubtaskIndex(0)), first);
        assert_eq!(shares.of(SubtaskIndex(1)), second);
        assert_eq!(shares.of(SubtaskIndex(2)), []);
    }

    #[test]
    fn handles_may_overlap_and_leave_gaps() {
        let handles = [range(6, 7), range(0, 7), range(1, 1)];
        let shares = KeyedShares::new(&handles, 8, 4);
        let of = |subtask| shares.of(SubtaskIndex(subtask)).to_vec();
        let shared = part(0, 1, range(0, 1));
        assert_eq!(of(0), vec![shared, part(0, 2, range(1, 1))]);
        assert_eq!(of(1), vec![part(1, 1, range(2, 3))]);
        let last = vec![part(3, 0, range(6, 7)), part(3, 1, range(6, 7))];
        assert_eq!(of(3), last);
    }

    #[test]
    fn key_groups_are_those_of_the_state_unless_the_user_says_otherwise() {
        let adopt = adopt_max_parallelism;
        assert_eq!(adopt(MaxParallelism::Derived(256), 100, 128), Ok(128));
        assert_eq!(adopt(MaxParallelism::Derived(128), 100, 256), Ok(256));
        assert_eq!(adopt(MaxParallelism::Set(128), 128, 128), Ok(128));
        let differs = MaxParallelismConflict::Differs {
            set: 256,
            state: 128,
        };
        assert_eq!(adopt(MaxParallelism::Set(256), 100, 128), Err(differs));
    }

    #[test]
    fn every_subtask_needs_a_key_group() {
        let too_few = MaxParallelismConflict::TooFewKeyGroups {
            state: 128,
            parallelism: 129,
        };
        for vertex in [
            MaxParallelism::Derived(256),
            MaxParallelism::Set(128),
            MaxParallelism::Set(256),
        ] {
            assert_eq!(adopt_max_parallelism(vertex, 129, 128), Err(too_few));
        }
    }

    /// A number of key groups, and two parallelisms that it allows.
    fn rescales() -> impl Strategy<Value = (u32, u32, u32)> {
        let of_max = |max: u32| (Just(max), 1..=max.min(300), 1..=max.min(300));
        prop_oneof![1_u32..400, Just(MAX_PARALLELISM)].prop_flat_map(of_max)
    }

    proptest! {
        #[test]
        fn every_key_group_has_one_reader_and_it_is_its_owner((max, old, new) in rescales()) {
            let handles = ranges(max, old);
            let shares = KeyedShares::new(&handles, max, new);
            let mut next = 0;
            for subtask in 0..new {
                let owned = key_group_range(max, new, subtask);
                prop_assert_eq!(owned.first, next);
                for part in shares.of(SubtaskIndex(subtask)) {
                    let held = handles[part.handle as usize];
                    prop_assert!(held.first <= part.range.first && part.range.last <= held.last);
                    prop_assert_eq!(part.range.first, next);
                    next = part.range.last + 1;
                }
                prop_assert_eq!(next, owned.last + 1);
            }
            prop_assert_eq!(next, max);
        }

        #[test]
        fn there_and_back_again_every_subtask_has_what_it_had((max, old, new) in rescales()) {
            let there = KeyedShares::new(&ranges(max, old), max, new);
            let parts: Vec<_> = there.parts.iter().map(|part| part.range).collect();
            let back = KeyedShares::new(&parts, max, old);
            for (subtask, had) in (0..).zip(ranges(max, old)) {
                let has = back.of(SubtaskIndex(subtask));
                let whole = has.iter().all(|part| part.range == parts[part.handle as usize]);
                prop_assert!(whole, "a part of one old handle has one reader");
                prop_assert_eq!(has[0].range.first, had.first);
                prop_assert_eq!(has[has.len() - 1].range.last, had.last);
            }
        }
    }
}

//! Key groups: the units in which keyed state is split among subtasks (Flink's
//! `KeyGroupRangeAssignment`).
//!
//! A key's group depends on the key's hash and the max parallelism alone, so state finds its owner
//! again at any parallelism. The ranges of a vertex's subtasks are contiguous, in order, disjoint, and
//! cover every group.

use super::MAX_PARALLELISM;
use serde::{Deserialize, Serialize};

/// The smallest max parallelism that is chosen by default: room to grow for a small job.
const SMALLEST_DEFAULT: u32 = 128;

/// The key groups of one subtask, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyGroupRange {
    /// The first one.
    pub first: u32,
    /// The last one.
    pub last: u32,
}

/// The max parallelism of a vertex that names none: one and a half times its parallelism, rounded up
/// to a power of two, between 128 and [`MAX_PARALLELISM`].
#[must_use]
pub fn default_max_parallelism(parallelism: u32) -> u32 {
    let bounded = parallelism.min(MAX_PARALLELISM);
    (bounded + bounded / 2)
        .next_power_of_two()
        .clamp(SMALLEST_DEFAULT, MAX_PARALLELISM)
}

/// Spreads the bits of a key's hash (MurmurHash 3 over one word); the result is below 2³¹.
#[must_use]
pub fn murmur(hash: u32) -> u32 {
    const LENGTH: u32 = 4;
    let mut code = hash
        .wrapping_mul(0xcc9e_2d51)
        .rotate_left(15)
        .wrapping_mul(0x1b87_3593)
        .rotate_left(13)
        .wrapping_mul(5)
        .wrapping_add(0xe654_6b64);
    code ^= LENGTH;
    code = (code ^ (code >> 16)).wrapping_mul(0x85eb_ca6b);
    code = (code ^ (code >> 13)).wrapping_mul(0xc2b2_ae35);
    code ^= code >> 16;
    magnitude(code.cast_signed())
}

/// The absolute value, and 0 for the one number that has none.
fn magnitude(number: i32) -> u32 {
    number.checked_abs().unwrap_or(0).unsigned_abs()
}

/// The key group of a key with this hash. `max_parallelism` is at least 1.
#[must_use]
pub fn key_group(hash: u32, max_parallelism: u32) -> u32 {
    murmur(hash) % max_parallelism
}

/// The key groups of one subtask. `subtask` < `parallelism` ≤ `max_parallelism` must hold.
#[must_use]
pub fn key_group_range(max_parallelism: u32, parallelism: u32, subtask: u32) -> KeyGroupRange {
    assert!(subtask < parallelism, "the subtask is one of the vertex");
    assert!(
        parallelism <= max_parallelism,
        "every subtask has a key group"
    );
    let (groups, subtasks, index) = (
        u64::from(max_parallelism),
        u64::from(parallelism),
        u64::from(subtask),
    );
    KeyGroupRange {
        first: narrow((index * groups).div_ceil(subtasks)),
        last: narrow(((index + 1) * groups - 1) / subtasks),
    }
}

/// The subtask that owns a key group. `key_group` < `max_parallelism` must hold.
#[must_use]
pub fn subtask_of_key_group(key_group: u32, max_parallelism: u32, parallelism: u32) -> u32 {
    narrow(u64::from(key_group) * u64::from(parallelism) / u64::from(max_parallelism))
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).expect("a part of a 32-bit number fits 32 bits")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::golden;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_hash_is_the_one_that_existing_state_was_written_with() {
        for words in golden::vectors("murmur") {
            let hash: i32 = words[0].parse().unwrap();
            let expected: u32 = words[1].parse().unwrap();
            assert_eq!(murmur(hash.cast_unsigned()), expected, "{hash}");
        }
    }

    #[test]
    fn a_hash_without_absolute_value_counts_as_zero() {
        assert_eq!(magnitude(i32::MIN), 0);
        assert_eq!(magnitude(-7), 7);
    }

    #[test]
    fn default_max_parallelism_leaves_room_to_grow() {
        for words in golden::vectors("defmax") {
            let parallelism = words[0].parse().unwrap();
            let expected: u32 = words[1].parse().unwrap();
            assert_eq!(default_max_parallelism(parallelism), expected);
        }
        assert_eq!(default_max_parallelism(0), 128);
        assert_eq!(default_max_parallelism(u32::MAX), 32_768);
    }

    #[test]
    fn ranges_are_those_of_existing_state() {
        for words in golden::vectors("kgr") {
            let max = words[0].parse().unwrap();
            let parallelism = words[1].parse().unwrap();
            for entry in &words[2..] {
                let (subtask, first, last) = golden::indexed_range(entry);
                let range = key_group_range(max, parallelism, subtask);
                assert_eq!(range, KeyGroupRange { first, last }, "{max} {parallelism}");
            }
        }
    }

    proptest! {
        #[test]
        fn ranges_cover_every_group_once_and_each_group_finds_its_owner(
            (max, parallelism) in (1..=MAX_PARALLELISM).prop_flat_map(|max| (Just(max), 1..=max))
        ) {
            let mut next = 0;
            for subtask in 0..parallelism {
                let range = key_group_range(max, parallelism, subtask);
                prop_assert_eq!(range.first, next);
                prop_assert!(range.first <= range.last);
                for group in [range.first, range.last] {
                    prop_assert_eq!(subtask_of_key_group(group, max, parallelism), subtask);
                }
                next = range.last + 1;
            }
            prop_assert_eq!(next, max);
        }
    }
}

//! Key groups (SEMANTICS: Flink's `KeyGroupRangeAssignment`).

/// The key groups of one subtask, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyGroupRange {
    /// The first one.
    pub first: u32,
    /// The last one.
    pub last: u32,
}

/// Stub.
#[must_use]
pub fn default_max_parallelism(parallelism: u32) -> u32 {
    let _ = parallelism;
    unimplemented!()
}

/// Stub.
#[must_use]
pub fn murmur(hash: u32) -> u32 {
    let _ = hash;
    unimplemented!()
}

/// Stub.
#[must_use]
pub fn key_group(hash: u32, max_parallelism: u32) -> u32 {
    murmur(hash) % max_parallelism
}

/// Stub.
#[must_use]
pub fn key_group_range(max_parallelism: u32, parallelism: u32, subtask: u32) -> KeyGroupRange {
    let _ = (max_parallelism, parallelism, subtask);
    unimplemented!()
}

/// Stub.
#[must_use]
pub fn subtask_of_key_group(key_group: u32, max_parallelism: u32, parallelism: u32) -> u32 {
    key_group * parallelism / max_parallelism
}

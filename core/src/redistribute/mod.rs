//! Which state goes to which new subtask when a vertex is rescaled (what Flink's
//! `StateAssignmentOperation` decides), as pure functions over dense indices.
//!
//! Each kind of state has its own rule, and each rule has a file: [keyed](KeyedShares) state follows its
//! key groups, [operator list](ListPlan) state is dealt, united or copied, and the records
//! [in flight](ChannelMapper) on an edge follow the edge.
//!
//! [`redistribute`] applies the first two to the snapshots of a vertex.
//!
//! Nothing here reads or moves state. A part of a snapshot is named by its position, and a plan says who
//! gets it; the plan is made once, and asking it what one subtask gets costs about as much as the answer.
//!
//! **Invariant:** the same snapshot and the same parallelism give the same plan: no answer depends on a
//! hash order.

mod channel;
mod keyed;
mod list;
mod snapshots;

pub use channel::{ChannelMapper, EdgeMappers, OldSubtasks, RescaledInFlight};
pub use keyed::{
    KeyedPart, KeyedShares, MaxParallelism, MaxParallelismConflict, adopt_max_parallelism,
};
pub use list::{DistributionMode, ListPlan, ListState, Report, Run, Split};
pub use snapshots::{Indivisible, United, redistribute, united};

/// How many subtasks a vertex had when its state was taken, and how many it gets. Both are at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rescale {
    /// The parallelism of the snapshot.
    pub old: u32,
    /// The parallelism that restores it.
    pub new: u32,
}

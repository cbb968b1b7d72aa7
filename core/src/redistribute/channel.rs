//! Channel state: the records that were in flight on an edge when an unaligned checkpoint was taken (what
//! Flink's `SubtaskStateMapper` decides).
//!
//! The mapper of an edge says from which old subtasks a new one takes the records that they had in their
//! channels. It is asked only if one of the edge's two vertices was rescaled; otherwise every channel is
//! there again, and its records are put back into it, on any edge.
//!
//! **Invariant:** every record in flight is taken by at least one new subtask, and by the one to which the edge
//! leads it. Where a mapper cannot tell which one that is, several take it and
//! [filter](ChannelMapper::needs_filter).

use super::Rescale;
use crate::graph::{Partitioning, key_group_range, subtask_of_key_group};
use crate::id::SubtaskIndex;
use core::iter::StepBy;
use core::ops::Range;

/// Ascending numbers of old subtasks.
pub type OldSubtasks = StepBy<Range<u32>>;

/// From which old subtasks a new one takes records in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChannelMapper {
    /// New i takes those of old i, i + new, i + 2 · new, …: any subtask may have any record. Flink's
    /// ARBITRARY is the same.
    RoundRobin,
    /// New i takes those of the old subtasks whose key groups overlap with its own.
    Range {
        /// The key groups of the consuming vertex. Flink always calculates with 32,768, whatever the vertex
        /// has, and can then miss a narrow overlap, unless the vertex has a power of two.
        max_parallelism: u32,
    },
    /// Each takes those of all.
    Full,
    /// The first one takes those of all.
    First,
    /// Records belong to one pair of subtasks, and nobody else can take them.
    Unsupported,
}

/// An edge whose records in flight cannot be taken by other subtasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "records were in flight on an edge that cannot be rescaled: \
     restore an aligned checkpoint or a savepoint, or keep the parallelism"
)]
pub struct RescaledInFlight;

impl ChannelMapper {
    /// The old subtasks whose records a new one takes. `subtask` is less than `rescale.new`; of a
    /// [range](Self::Range), no parallelism exceeds the max parallelism.
    ///
    /// # Errors
    ///
    /// If the edge cannot be rescaled.
    pub fn old_subtasks(
        self,
        rescale: Rescale,
        subtask: SubtaskIndex,
    ) -> Result<OldSubtasks, RescaledInFlight> {
        let Rescale { old, new } = rescale;
        let index = subtask.0;
        assert!(index < new, "the subtask is one of the vertex");
        let contiguous = |range: Range<u32>| Ok(range.step_by(1));
        match self {
            ChannelMapper::RoundRobin => Ok((index..old).step_by(new as usize)),
            ChannelMapper::Range { max_parallelism } => {
                let owned = key_group_range(max_parallelism, new, index);
                let owner = |group| subtask_of_key_group(group, max_parallelism, old);
                contiguous(owner(owned.first)..owner(owned.last) + 1)
            }
            ChannelMapper::First if index > 0 => contiguous(0..0),
            ChannelMapper::First | ChannelMapper::Full => contiguous(0..old),
            ChannelMapper::Unsupported => Err(RescaledInFlight),
        }
    }

    /// Whether several new subtasks may take the same records, so that each must drop what is not its own.
    #[must_use]
    pub fn needs_filter(self) -> bool {
        match self {
            ChannelMapper::Range { .. } | ChannelMapper::Full => true,
            ChannelMapper::RoundRobin | ChannelMapper::First | ChannelMapper::Unsupported => false,
        }
    }
}

/// The mappers of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EdgeMappers {
    /// For the subtasks of the producing vertex.
    pub producers: ChannelMapper,
    /// For the subtasks of the consuming vertex.
    pub consumers: ChannelMapper,
}

impl EdgeMappers {
    /// The mappers of an edge with this partitioning, whose consuming vertex has `max_parallelism` key groups.
    ///
    /// A record may leave by any producer, and must reach the consumer that the partitioning gives it. Of pointwise
    /// edges and broadcasts nothing can be moved: a record belongs to one pair, or each consumer has its own copy.
    #[must_use]
    pub fn of(partitioning: Partitioning, max_parallelism: u32) -> Self {
        let all_to_all = |consumers| EdgeMappers {
            producers: ChannelMapper::RoundRobin,
            consumers,
        };
        match partitioning {
            Partitioning::Rebalance => all_to_all(ChannelMapper::RoundRobin),
            Partitioning::Hash => all_to_all(ChannelMapper::Range { max_parallelism }),
            Partitioning::Global => all_to_all(ChannelMapper::First),
            Partitioning::Forward | Partitioning::Rescale | Partitioning::Broadcast => {
                EdgeMappers {
                    producers: ChannelMapper::Unsupported,
                    consumers: ChannelMapper::Unsupported,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;
    use std::vec;

    const RANGE: ChannelMapper = ChannelMapper::Range {
        max_parallelism: 128,
    };

    fn taken(mapper: ChannelMapper, old: u32, new: u32) -> Vec<Vec<u32>> {
        let rescale = Rescale { old, new };
        let of = |subtask| mapper.old_subtasks(rescale, SubtaskIndex(subtask));
        (0..new)
            .map(|subtask| of(subtask).unwrap().collect())
            .collect()
    }

    #[test]
    fn each_mapper_keeps_its_rule() {
        let round_robin = ChannelMapper::RoundRobin;
        assert_eq!(taken(round_robin, 3, 2), vec![vec![0, 2], vec![1]]);
        assert_eq!(taken(round_robin, 2, 3), vec![vec![0], vec![1], vec![]]);
        assert_eq!(taken(RANGE, 3, 2), vec![vec![0, 1], vec![1, 2]]);
        assert_eq!(taken(RANGE, 2, 3), vec![vec![0], vec![0, 1], vec![1]]);
        assert_eq!(taken(ChannelMapper::Full, 2, 2), vec![vec![0, 1]; 2]);
        assert_eq!(taken(ChannelMapper::First, 2, 2), vec![vec![0, 1], vec![]]);
    }

    #[test]
    fn what_belongs_to_a_pair_cannot_be_moved() {
        let rescale = Rescale { old: 2, new: 3 };
        for partitioning in [
            Partitioning::Forward,
            Partitioning::Rescale,
            Partitioning::Broadcast,
        ] {
            let EdgeMappers {
                producers,
                consumers,
            } = EdgeMappers::of(partitioning, 128);
            for mapper in [producers, consumers] {
                let old = mapper.old_subtasks(rescale, SubtaskIndex(0));
                assert_eq!(old.unwrap_err(), RescaledInFlight);
            }
        }
    }

    #[test]
    fn a_consumer_takes_what_the_partitioning_leads_to_it() {
        let consumers = |partitioning| EdgeMappers::of(partitioning, 128).consumers;
        assert_eq!(consumers(Partitioning::Hash), RANGE);
        assert_eq!(consumers(Partitioning::Global), ChannelMapper::First);
        assert_eq!(
            consumers(Partitioning::Rebalance),
            ChannelMapper::RoundRobin
        );
        for partitioning in [
            Partitioning::Hash,
            Partitioning::Global,
            Partitioning::Rebalance,
        ] {
            let producers = EdgeMappers::of(partitioning, 128).producers;
            assert_eq!(producers, ChannelMapper::RoundRobin);
        }
    }

    #[test]
    fn a_narrow_overlap_is_seen_only_with_the_key_groups_of_the_vertex() {
        const KEY_GROUPS: u32 = 4_602;
        let rescale = Rescale {
            old: 517,
            new: 2_090,
        };
        let takes_all = |max_parallelism| {
            (0..KEY_GROUPS).all(|group| {
                let owner = |parallelism| subtask_of_key_group(group, KEY_GROUPS, parallelism);
                let mapper = ChannelMapper::Range { max_parallelism };
                let taken = mapper.old_subtasks(rescale, SubtaskIndex(owner(rescale.new)));
                taken.unwrap().any(|old| old == owner(rescale.old))
            })
        };
        assert!(takes_all(KEY_GROUPS));
        assert!(!takes_all(crate::graph::MAX_PARALLELISM));
    }

    proptest! {
        #[test]
        fn every_record_is_taken_and_only_where_there_is_a_filter_more_than_once(
            old in 1_u32..128,
            new in 1_u32..128,
        ) {
            let full = ChannelMapper::Full;
            for mapper in [ChannelMapper::RoundRobin, RANGE, full, ChannelMapper::First] {
                let mut takers = vec![0; old as usize];
                for subtask in taken(mapper, old, new).concat() {
                    takers[subtask as usize] += 1;
                }
                prop_assert!(takers.iter().all(|&takers| takers > 0));
                let once = takers.iter().all(|&takers| takers == 1);
                prop_assert!(once || mapper.needs_filter());
            }
        }
    }
}

//! Which consumers a record of an edge goes to, and who is connected to whom.

use crate::sdk::Record;
use jobmanager_core::graph::{
    Partitioning, consumers_of, key_group, producers_of, subtask_of_key_group,
};
use jobmanager_proto::records::key_hash;
use std::ops::Range;

/// The parallelisms at the two ends of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) producers: u32,
    pub(crate) consumers: u32,
}

/// The consumers to which a producer is connected. Barriers and ends of data go to each of them.
pub(crate) fn consumers(partitioning: Partitioning, ends: Ends, producer: u32) -> Range<u32> {
    match partitioning {
        Partitioning::Forward => producer..producer + 1,
        Partitioning::Rescale => consumers_of(ends.producers, ends.consumers, producer),
        Partitioning::Rebalance
        | Partitioning::Hash
        | Partitioning::Broadcast
        | Partitioning::Global => 0..ends.consumers,
    }
}

/// The producers to which a consumer is connected.
pub(crate) fn producers(partitioning: Partitioning, ends: Ends, consumer: u32) -> Range<u32> {
    match partitioning {
        Partitioning::Forward => consumer..consumer + 1,
        Partitioning::Rescale => producers_of(ends.producers, ends.consumers, consumer),
        Partitioning::Rebalance
        | Partitioning::Hash
        | Partitioning::Broadcast
        | Partitioning::Global => 0..ends.producers,
    }
}

/// Where one record goes, among the channels of its edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    One(usize),
    All,
}

/// Chooses for one producer and one edge.
#[derive(Debug)]
pub(crate) enum Partitioner {
    First,
    InTurn {
        next: usize,
        channels: usize,
    },
    Hash {
        max_parallelism: u32,
        consumers: u32,
    },
    All,
}

impl Partitioner {
    /// `channels` is the number of consumers that the producer is connected to.
    pub(crate) fn new(
        partitioning: Partitioning,
        producer: u32,
        channels: usize,
        max_parallelism: u32,
    ) -> Partitioner {
        match partitioning {
            Partitioning::Forward | Partitioning::Global => Partitioner::First,
            // Producers begin at different consumers: few records are spread, too.
            Partitioning::Rescale | Partitioning::Rebalance => Partitioner::InTurn {
                next: producer as usize % channels.max(1),
                channels,
            },
            Partitioning::Hash => Partitioner::Hash {
                max_parallelism,
                consumers: u32::try_from(channels).expect("bounded by the largest parallelism"),
            },
            Partitioning::Broadcast => Partitioner::All,
        }
    }

    /// A record without a key is its own key.
    #[inline]
    pub(crate) fn choose(&mut self, record: &Record<'_>) -> Choice {
        match self {
            Partitioner::First => Choice::One(0),
            Partitioner::All => Choice::All,
            Partitioner::InTurn { next, channels } => {
                let chosen = *next;
                *next = if chosen + 1 == *channels {
                    0
                } else {
                    chosen + 1
                };
                Choice::One(chosen)
            }
            Partitioner::Hash {
                max_parallelism,
                consumers,
            } => {
                let hash = key_hash(record.key.unwrap_or(record.value));
                let group = key_group(hash, *max_parallelism);
                let subtask = subtask_of_key_group(group, *max_parallelism, *consumers);
                Choice::One(subtask as usize)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobmanager_core::graph::key_group_range;

    fn record(key: Option<&'static [u8]>, value: &'static [u8]) -> Record<'static> {
        let time = 0;
        Record { key, value, time }
    }

    #[test]
    fn both_ends_of_every_edge_name_the_same_pairs() {
        for (partitioning, _) in Partitioning::NAMES {
            for producers_count in 1..9 {
                for consumers_count in 1..9 {
                    let ends = Ends {
                        producers: producers_count,
                        consumers: consumers_count,
                    };
                    if partitioning == Partitioning::Forward && producers_count != consumers_count {
                        continue;
                    }
                    for p in 0..producers_count {
                        for c in 0..consumers_count {
                            let down = consumers(partitioning, ends, p).contains(&c);
                            let up = producers(partitioning, ends, c).contains(&p);
                            assert_eq!(down, up, "{partitioning:?} {ends:?} {p} {c}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_hashed_record_goes_to_the_subtask_that_owns_its_key_group() {
        let mut partitioner = Partitioner::new(Partitioning::Hash, 0, 3, 128);
        for key in [&b"to"[..], b"be", b"or", b"not", b"\xc3\xa4", b""] {
            let Choice::One(subtask) = partitioner.choose(&record(Some(key), b"")) else {
                panic!("one consumer per key");
            };
            let group = key_group(key_hash(key), 128);
            let subtask = u32::try_from(subtask).expect("one of three");
            let range = key_group_range(128, 3, subtask);
            assert!((range.first..=range.last).contains(&group), "{key:?}");
        }
    }

    #[test]
    fn a_record_without_a_key_is_its_own_key() {
        let mut partitioner = Partitioner::new(Partitioning::Hash, 0, 7, 128);
        let by_key = partitioner.choose(&record(Some(b"word"), b""));
        assert_eq!(partitioner.choose(&record(None, b"word")), by_key);
    }

    #[test]
    fn rebalance_visits_every_consumer_in_turn_from_a_place_of_its_own() {
        let mut partitioner = Partitioner::new(Partitioning::Rebalance, 1, 3, 128);
        let chosen: Vec<_> = (0..4)
            .map(|_| partitioner.choose(&record(None, b"")))
            .collect();
        assert_eq!(chosen, [1, 2, 0, 1].map(Choice::One));
    }

    #[test]
    fn global_goes_to_the_first_and_broadcast_to_all() {
        let mut global = Partitioner::new(Partitioning::Global, 2, 3, 128);
        assert_eq!(global.choose(&record(None, b"")), Choice::One(0));
        let mut broadcast = Partitioner::new(Partitioning::Broadcast, 2, 3, 128);
        assert_eq!(broadcast.choose(&record(None, b"")), Choice::All);
    }
}

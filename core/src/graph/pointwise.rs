//! Who is connected to whom over a pointwise edge: neighbours in proportion, so that the side with
//! fewer subtasks has nearly equally many partners each.
//!
//! Both functions describe one relation from its two sides. The side with more subtasks has exactly
//! one partner each.

use core::ops::Range;

/// The producers from which this consumer reads. `consumer` < `consumers` and `producers` ≥ 1 must
/// hold.
#[must_use]
pub fn producers_of(producers: u32, consumers: u32, consumer: u32) -> Range<u32> {
    assert!(consumer < consumers, "the consumer is one of the vertex");
    assert!(producers > 0, "a vertex has subtasks");
    let (p, c, index) = wide(producers, consumers, consumer);
    let first = index * p / c;
    let end = if p >= c {
        (index + 1) * p / c
    } else {
        first + 1
    };
    narrow(first)..narrow(end)
}

/// The consumers to which this producer writes. `producer` < `producers` and `consumers` ≥ 1 must
/// hold.
#[must_use]
pub fn consumers_of(producers: u32, consumers: u32, producer: u32) -> Range<u32> {
    assert!(producer < producers, "the producer is one of the vertex");
    assert!(consumers > 0, "a vertex has subtasks");
    let (p, c, index) = wide(producers, consumers, producer);
    let end = ((index + 1) * c).div_ceil(p);
    let first = if p >= c {
        end - 1
    } else {
        (index * c).div_ceil(p)
    };
    narrow(first)..narrow(end)
}

fn wide(producers: u32, consumers: u32, index: u32) -> (u64, u64, u64) {
    (producers.into(), consumers.into(), index.into())
}

fn narrow(index: u64) -> u32 {
    u32::try_from(index).expect("an index of a subtask fits 32 bits")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::golden;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn consumers_read_the_producers_that_they_always_did() {
        for words in golden::vectors("pointwise") {
            let producers = words[0].parse().unwrap();
            let consumers = words[1].parse().unwrap();
            for entry in &words[2..] {
                let (consumer, first, last) = golden::indexed_range(entry);
                let range = producers_of(producers, consumers, consumer);
                assert_eq!(range, first..last + 1, "{producers} {consumers} {consumer}");
            }
        }
    }

    #[test]
    fn equal_sides_are_connected_one_to_one() {
        for index in 0..100 {
            assert_eq!(producers_of(100, 100, index), index..index + 1);
            assert_eq!(consumers_of(100, 100, index), index..index + 1);
        }
    }

    #[test]
    fn the_largest_sides_do_not_overflow() {
        assert_eq!(producers_of(32_768, 32_767, 32_766), 32_766..32_768);
        assert_eq!(consumers_of(32_767, 32_768, 32_766), 32_767..32_768);
        let last = u32::MAX - 1;
        assert_eq!(producers_of(u32::MAX, u32::MAX, last), last..u32::MAX);
    }

    proptest! {
        #[test]
        fn both_sides_see_the_same_connections(producers in 1_u32..200, consumers in 1_u32..200) {
            for producer in 0..producers {
                for consumer in 0..consumers {
                    let reads = producers_of(producers, consumers, consumer).contains(&producer);
                    let writes = consumers_of(producers, consumers, producer).contains(&consumer);
                    prop_assert_eq!(reads, writes, "{} {}", producer, consumer);
                }
                prop_assert!(!consumers_of(producers, consumers, producer).is_empty());
            }
        }

        #[test]
        fn every_consumer_is_covered_in_order(
            producers in 1..=super::super::MAX_PARALLELISM,
            consumers in 1..=super::super::MAX_PARALLELISM,
        ) {
            let mut reached = 0;
            for producer in 0..producers {
                let range = consumers_of(producers, consumers, producer);
                prop_assert!(range.start <= reached && range.end >= reached);
                reached = range.end;
            }
            prop_assert_eq!(reached, consumers);
        }
    }
}

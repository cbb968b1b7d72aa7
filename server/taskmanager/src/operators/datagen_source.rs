//! `datagen-source`: records that anyone can compute again.
//!
//! The record with sequence number `n` has the key `key-<k>`, where `k` follows from the seed and `n`,
//! the value `n` and the event time `n` milliseconds.
//!
//! Numbers that leave the same remainder by the max parallelism are a class. A subtask has some classes, at the start
//! those of every p-th remainder if there are p subtasks, so the union over the subtasks does not depend on their
//! number. It makes the lowest number next, so that its event times ascend. The state is the next number of each
//! class: with another parallelism, classes go to other subtasks.

use super::config::Config;
use super::decimal::push_decimal;
use super::pacer::{Pacer, SystemClock};
use crate::sdk::{
    DistributionMode, OperatorContext, OperatorError, Output, Record, Source, SourceStatus, State,
};
use crate::state::compact::{StateReader, StateWriter};
use jobmanager_core::id::CheckpointId;
use std::collections::VecDeque;

/// The list of the next numbers.
const NEXT: &str = "next-numbers";
/// The most records of one poll, followed by a watermark.
const BATCH: u32 = 256;
/// How many different keys there are if `keys` is not given.
const DEFAULT_KEYS: u64 = 1_000;
/// The lowest rate, one record in about three hours.
const LEAST_RATE: f64 = 0.0001;
/// The last sequence number: event times are signed.
const LAST_SEQUENCE: u64 = i64::MAX as u64;

/// One subtask's share of the sequence.
pub(super) struct DatagenSource {
    seed: u64,
    keys: u64,
    /// The sequence ends before this number.
    end: u64,
    classes: Classes,
    pacer: Option<Pacer>,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl DatagenSource {
    /// Reads `count`, `keys`, `rate` and `seed`.
    pub(super) fn new(cx: &OperatorContext) -> Result<Self, OperatorError> {
        let config = Config::read(cx, &["count", "keys", "rate", "seed"])?;
        let rate = config.rate("rate", LEAST_RATE)?;
        let classes = match &cx.state {
            None => Classes::share(cx),
            Some(state) => Classes::restored(cx, state.list(NEXT))?,
        };
        let rate = rate.map(|rate| rate * classes.part_of_average(cx));
        Ok(DatagenSource {
            seed: config.integer("seed", 0..=u64::MAX)?.unwrap_or(0),
            keys: config
                .integer("keys", 1..=u64::MAX)?
                .unwrap_or(DEFAULT_KEYS),
            end: config
                .integer("count", 0..=LAST_SEQUENCE)?
                .unwrap_or(LAST_SEQUENCE),
            // Without classes there is nothing to make.
            pacer: rate
                .filter(|rate| *rate > 0.0)
                .map(|rate| Pacer::new(rate, SystemClock::new())),
            classes,
            key: Vec::new(),
            value: Vec::new(),
        })
    }

    /// The next sequence number of this subtask, or none at the end.
    fn sequence(&self) -> Option<u64> {
        self.classes.lowest().filter(|lowest| *lowest < self.end)
    }

    fn emit(&mut self, sequence: u64, output: &mut dyn Output) -> Result<i64, OperatorError> {
        self.key.clear();
        self.key.extend_from_slice(b"key-");
        push_decimal(&mut self.key, mix(self.seed, sequence) % self.keys);
        self.value.clear();
        push_decimal(&mut self.value, sequence);
        let time = sequence.cast_signed();
        output.record(Record {
            key: Some(&self.key),
            value: &self.value,
            time,
        })?;
        self.classes.advance();
        Ok(time)
    }
}

impl Source for DatagenSource {
    fn poll(&mut self, output: &mut dyn Output) -> Result<SourceStatus, OperatorError> {
        if self.sequence().is_none() {
            return Ok(SourceStatus::Ended);
        }
        let granted = self.pacer.as_mut().map(|pacer| pacer.take(BATCH));
        let most = match granted.unwrap_or(Ok(BATCH)) {
            Ok(most) => most,
            Err(wait) => return Ok(SourceStatus::Idle(wait)),
        };
        let mut last = None;
        for _ in 0..most {
            let Some(sequence) = self.sequence() else {
                break;
            };
            last = Some(self.emit(sequence, output)?);
        }
        if let Some(time) = last {
            output.watermark(time)?;
        }
        Ok(SourceStatus::Ready)
    }

    fn snapshot(&mut self, _: CheckpointId, state: &mut State) -> Result<(), OperatorError> {
        let next = self.classes.next.iter().map(|number| {
            let mut partition = StateWriter::new();
            partition.number(*number);
            partition.into_bytes()
        });
        state.append(NEXT, DistributionMode::Split, next)
    }
}

/// The classes of one subtask.
struct Classes {
    /// How many there are in all: the step from one number of a class to the next.
    count: u64,
    /// The next number of each, ascending.
    next: VecDeque<u64>,
}

impl Classes {
    /// Those of a subtask that starts from the beginning.
    fn share(cx: &OperatorContext) -> Self {
        let remainders = u64::from(cx.subtask)..u64::from(cx.max_parallelism);
        Classes {
            count: u64::from(cx.max_parallelism),
            next: remainders.step_by(cx.parallelism as usize).collect(),
        }
    }

    fn restored(cx: &OperatorContext, partitions: &[Vec<u8>]) -> Result<Self, OperatorError> {
        let mut next = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let mut reader = StateReader::new(partition)?;
            next.push(reader.number()?);
            reader.end()?;
        }
        next.sort_unstable();
        Ok(Classes {
            count: u64::from(cx.max_parallelism),
            next: next.into(),
        })
    }

    fn lowest(&self) -> Option<u64> {
        self.next.front().copied()
    }

    /// The lowest number is made. Its class goes to the end, unless others are far ahead of it.
    fn advance(&mut self) {
        let Some(lowest) = self.next.pop_front() else {
            return;
        };
        let next = lowest.saturating_add(self.count);
        if self.next.back().is_none_or(|last| *last <= next) {
            self.next.push_back(next);
        } else {
            let at = self.next.partition_point(|other| *other < next);
            self.next.insert(at, next);
        }
    }

    /// How many classes there are here for each that a subtask has on average. The rate follows it, so that event
    /// time passes equally fast in all subtasks.
    fn part_of_average(&self, cx: &OperatorContext) -> f64 {
        let here = self.next.len() as f64 * f64::from(cx.parallelism);
        here / f64::from(cx.max_parallelism)
    }
}

/// A hash of two numbers, with the finalizer of splitmix64: every bit of the result depends on every
/// bit of both.
fn mix(seed: u64, number: u64) -> u64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = seed;
    for part in [number, STEP] {
        hash = hash.wrapping_add(STEP) ^ part;
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^= hash >> 31;
    }
    hash
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::harness::{
        Collected, OwnedRecord, RESCALED, context, rescaled, restored, subtask, subtasks, written,
    };
    use super::*;
    use serde_json::json;
    use std::collections::BTreeSet;

    fn run(cx: &OperatorContext) -> Collected {
        let mut source = DatagenSource::new(cx).unwrap();
        let mut output = Collected::default();
        while source.poll(&mut output).unwrap() != SourceStatus::Ended {}
        output
    }

    fn sorted(mut records: Vec<OwnedRecord>) -> Vec<OwnedRecord> {
        records.sort_by_key(|record| record.time);
        records
    }

    #[test]
    fn the_records_do_not_depend_on_the_parallelism() {
        let config = json!({ "count": 1_000, "keys": 7, "seed": 42 });
        let alone = run(&context(config.clone())).records;
        assert_eq!(alone.len(), 1_000);
        for parallelism in [2, 3, 8, 1_500] {
            let part = |index| run(&subtask(config.clone(), index, parallelism)).records;
            let together = (0..parallelism).flat_map(part).collect();
            assert_eq!(sorted(together), alone, "{parallelism}");
        }
    }

    #[test]
    fn a_record_has_a_key_among_keys_its_number_and_its_time() {
        let output = run(&context(json!({ "count": 500, "keys": 5 })));
        let mut keys = BTreeSet::new();
        for (sequence, record) in (0_i64..).zip(&output.records) {
            assert_eq!(record.value, sequence.to_string().as_bytes());
            assert_eq!(record.time, sequence);
            keys.insert(String::from_utf8(record.key.clone().unwrap()).unwrap());
        }
        let expected = (0..5).map(|key| format!("key-{key}"));
        assert_eq!(keys, expected.collect());
    }

    #[test]
    fn another_seed_gives_other_keys() {
        let records = |seed| run(&context(json!({ "count": 50, "seed": seed }))).records;
        assert_eq!(records(1), records(1));
        assert_ne!(records(1), records(2));
    }

    #[test]
    fn a_watermark_is_the_time_of_the_last_record_before_it() {
        let output = run(&context(json!({ "count": 600 })));
        assert_eq!(output.watermarks, [255, 511, 599]);
    }

    #[test]
    fn a_source_restored_at_any_position_makes_the_rest() {
        let cx = subtask(json!({ "count": 100, "keys": 3 }), 1, 3);
        let all = run(&cx).records;
        for position in 0..=all.len() {
            let mut source = DatagenSource::new(&cx).unwrap();
            let mut output = Collected::default();
            for _ in 0..position {
                let sequence = source.sequence().unwrap();
                source.emit(sequence, &mut output).unwrap();
            }
            let state = snapshot(&cx, &mut source);
            let rest = run(&restored(&cx, Some(&state))).records;
            assert_eq!(rest, all[position..], "{position}");
        }
    }

    fn snapshot(cx: &OperatorContext, source: &mut DatagenSource) -> State {
        written(cx, |state| source.snapshot(CheckpointId(1), state))
    }

    #[test]
    fn with_another_parallelism_the_records_are_the_same_and_their_times_ascend() {
        let config = json!({ "count": 3_000, "keys": 7 });
        let alone = run(&context(config.clone())).records;
        for (old, new) in RESCALED {
            let (mut states, mut output) = (Vec::new(), Collected::default());
            for cx in subtasks(&config, old) {
                let mut source = DatagenSource::new(&cx).unwrap();
                // The first ones are far ahead of the others, some at their end.
                for _ in 0..(old - 1 - cx.subtask) * 300 {
                    let Some(sequence) = source.sequence() else {
                        break;
                    };
                    source.emit(sequence, &mut output).unwrap();
                }
                states.push(snapshot(&cx, &mut source));
            }
            for cx in rescaled(&config, &states, new) {
                let rest = run(&cx);
                assert!(rest.records.is_sorted_by_key(|record| record.time));
                assert!(rest.watermarks.is_sorted());
                output.records.extend(rest.records);
            }
            assert!(sorted(output.records) == alone, "{old} to {new}");
        }
    }

    #[test]
    fn the_rate_of_all_subtasks_is_the_same_with_any_shares() {
        let config = json!({});
        let mut part = 0.0;
        for cx in subtasks(&config, 3) {
            let classes = Classes::share(&cx);
            let own = classes.part_of_average(&cx);
            assert!((0.98..1.02).contains(&own), "{own}");
            assert_eq!(own > 1.0, classes.next.len() == 43, "{own}");
            part += own;
        }
        assert!((part - 3.0).abs() < 1e-9, "{part}");
    }

    #[test]
    fn a_subtask_that_got_no_class_ends() {
        let cx = subtask(json!({ "rate": 5 }), 0, 2);
        let nothing = State::new(cx.key_groups());
        let output = run(&restored(&cx, Some(&nothing)));
        assert!(output.records.is_empty());
    }

    #[test]
    fn without_a_count_it_goes_on() {
        let mut source = DatagenSource::new(&context(json!({}))).unwrap();
        let mut output = Collected::default();
        for _ in 0..100 {
            assert_eq!(source.poll(&mut output).unwrap(), SourceStatus::Ready);
        }
        assert_eq!(output.records.len(), 25_600);
    }

    #[test]
    fn a_rate_is_waited_for() {
        let mut source = DatagenSource::new(&context(json!({ "rate": 2 }))).unwrap();
        let first = source.poll(&mut Collected::default()).unwrap();
        assert!(matches!(first, SourceStatus::Idle(_)));
    }
}

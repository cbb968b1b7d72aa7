//! `datagen-source`: records that anyone can compute again.
//!
//! The record with sequence number `n` has the key `key-<k>`, where `k` follows from the seed and `n`,
//! the value `n` and the event time `n` milliseconds. Subtask `s` of `p` makes `s`, `s + p`, `s + 2p`…,
//! so the union over the subtasks does not depend on `p`. The state is how many it has made.

use super::config::Config;
use super::decimal::push_decimal;
use super::pacer::{Pacer, SystemClock};
use super::state::{StateReader, StateWriter};
use crate::sdk::{OperatorContext, OperatorError, Output, Record, Source, SourceStatus};
use jobmanager_core::id::CheckpointId;

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
    subtask: u64,
    parallelism: u64,
    made: u64,
    pacer: Option<Pacer>,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl DatagenSource {
    /// Reads `count`, `keys`, `rate` and `seed`.
    pub(super) fn new(cx: &OperatorContext) -> Result<Self, OperatorError> {
        let config = Config::read(cx, &["count", "keys", "rate", "seed"])?;
        let rate = config.rate("rate", LEAST_RATE)?;
        Ok(DatagenSource {
            seed: config.integer("seed", 0..=u64::MAX)?.unwrap_or(0),
            keys: config
                .integer("keys", 1..=u64::MAX)?
                .unwrap_or(DEFAULT_KEYS),
            end: config
                .integer("count", 0..=LAST_SEQUENCE)?
                .unwrap_or(LAST_SEQUENCE),
            subtask: u64::from(cx.subtask),
            parallelism: u64::from(cx.parallelism),
            made: restore(&cx.state)?,
            pacer: rate.map(|rate| Pacer::new(rate, SystemClock::new())),
            key: Vec::new(),
            value: Vec::new(),
        })
    }

    /// The next sequence number of this subtask, or none at the end.
    fn sequence(&self) -> Option<u64> {
        let sequence = self.made.checked_mul(self.parallelism)?;
        let sequence = sequence.checked_add(self.subtask)?;
        (sequence < self.end).then_some(sequence)
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
        self.made += 1;
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

    fn snapshot(&mut self, _: CheckpointId) -> Result<Vec<u8>, OperatorError> {
        let mut state = StateWriter::new();
        state.number(self.made);
        Ok(state.into_bytes())
    }
}

fn restore(snapshots: &[Vec<u8>]) -> Result<u64, OperatorError> {
    match snapshots {
        [] => Ok(0),
        [snapshot] => {
            let mut state = StateReader::new(snapshot)?;
            let made = state.number()?;
            state.end()?;
            Ok(made)
        }
        _ => Err(OperatorError::about(
            "restored state",
            "datagen-source cannot change its parallelism",
        )),
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

    use super::super::harness::{Collected, OwnedRecord, context, restored, subtask};
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
            let state = source.snapshot(CheckpointId(1)).unwrap();
            let rest = run(&restored(&cx, &[state])).records;
            assert_eq!(rest, all[position..], "{position}");
        }
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

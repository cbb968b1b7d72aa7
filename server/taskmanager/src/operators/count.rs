//! `count`: how many records each key has.
//!
//! With `emit: final` it emits `key<TAB>count` for every key at the end of the input, sorted by key;
//! with `emit: updates` it does so for the record's key at every record. A record without a key counts
//! under its value.

use super::config::{Config, wrong};
use super::decimal::push_decimal;
use super::keyed::{KeyRange, key_of};
use super::state::{StateReader, StateWriter};
use crate::sdk::{Operator, OperatorContext, OperatorError, Output, Record};
use jobmanager_core::id::CheckpointId;
use std::collections::HashMap;

/// When counts are emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Emit {
    Final,
    Updates,
}

/// The counts of one subtask. The map's own order is random and never shows.
pub(super) struct Count {
    emit: Emit,
    range: KeyRange,
    counts: HashMap<Box<[u8]>, u64>,
    line: Vec<u8>,
}

impl Count {
    /// Reads `emit`, and the counts of the restored checkpoint.
    pub(super) fn new(cx: &OperatorContext) -> Result<Self, OperatorError> {
        let emit = match Config::read(cx, &["emit"])?.text("emit")? {
            None | Some("final") => Emit::Final,
            Some("updates") => Emit::Updates,
            Some(_) => return Err(wrong("emit", "`final` or `updates` is expected")),
        };
        let mut count = Count {
            emit,
            range: KeyRange::of(cx),
            counts: HashMap::new(),
            line: Vec::new(),
        };
        for snapshot in &cx.state {
            count.restore(snapshot)?;
        }
        Ok(count)
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), OperatorError> {
        let mut state = StateReader::new(snapshot)?;
        let ours = self.range.is_written_by(&mut state)?;
        for _ in 0..state.number()? {
            let (key, count) = (state.bytes()?, state.number()?);
            if ours || self.range.contains(key) {
                self.add(key, count);
            }
        }
        state.end()
    }

    /// Adds to a key's count and returns the sum.
    fn add(&mut self, key: &[u8], more: u64) -> u64 {
        if let Some(count) = self.counts.get_mut(key) {
            *count = count.saturating_add(more);
            return *count;
        }
        self.counts.insert(key.into(), more);
        more
    }

    fn sorted(&self) -> Vec<(&[u8], u64)> {
        let counts = self.counts.iter();
        let mut sorted: Vec<_> = counts.map(|(key, count)| (&**key, *count)).collect();
        sorted.sort_unstable();
        sorted
    }
}

impl Operator for Count {
    fn process(
        &mut self,
        record: Record<'_>,
        output: &mut dyn Output,
    ) -> Result<(), OperatorError> {
        let key = key_of(&record);
        let count = self.add(key, 1);
        match self.emit {
            Emit::Final => Ok(()),
            Emit::Updates => emit(key, count, record.time, &mut self.line, output),
        }
    }

    fn finish(&mut self, output: &mut dyn Output) -> Result<(), OperatorError> {
        if self.emit == Emit::Updates {
            return Ok(());
        }
        let mut line = std::mem::take(&mut self.line);
        for (key, count) in self.sorted() {
            emit(key, count, 0, &mut line, output)?;
        }
        Ok(())
    }

    fn snapshot(&mut self, _: CheckpointId) -> Result<Vec<u8>, OperatorError> {
        let mut state = StateWriter::new();
        self.range.write(&mut state);
        state.number(self.counts.len() as u64);
        for (key, count) in self.sorted() {
            state.bytes(key);
            state.number(count);
        }
        Ok(state.into_bytes())
    }
}

fn emit(
    key: &[u8],
    count: u64,
    time: i64,
    line: &mut Vec<u8>,
    output: &mut dyn Output,
) -> Result<(), OperatorError> {
    line.clear();
    line.extend_from_slice(key);
    line.push(b'\t');
    push_decimal(line, count);
    output.record(Record {
        key: Some(key),
        value: line,
        time,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::harness::{Collected, context, keyed, restored, subtask, value};
    use super::*;
    use serde_json::json;

    const CHECKPOINT: CheckpointId = CheckpointId(1);

    fn fed(cx: &OperatorContext, keys: &[&str]) -> (Count, Collected) {
        let mut count = Count::new(cx).unwrap();
        let mut output = Collected::default();
        for (time, key) in (0..).zip(keys) {
            count.process(keyed(key, time), &mut output).unwrap();
        }
        (count, output)
    }

    fn finished(mut count: Count) -> Vec<String> {
        let mut output = Collected::default();
        count.finish(&mut output).unwrap();
        output.values()
    }

    #[test]
    fn final_counts_come_at_the_end_in_the_order_of_keys() {
        let (mut count, output) = fed(&context(json!({})), &["b", "a", "b", "ä", "", "b"]);
        assert!(output.records.is_empty());
        let mut output = Collected::default();
        count.finish(&mut output).unwrap();
        assert_eq!(output.values(), ["\t1", "a\t1", "b\t3", "ä\t1"]);
        assert_eq!(output.records[2].key.as_deref(), Some(&b"b"[..]));
    }

    #[test]
    fn updates_come_with_every_record_and_not_again_at_the_end() {
        let cx = context(json!({ "emit": "updates" }));
        let (count, output) = fed(&cx, &["b", "a", "b"]);
        assert_eq!(output.values(), ["b\t1", "a\t1", "b\t2"]);
        assert_eq!(output.records[2].time, 2);
        assert!(finished(count).is_empty());
    }

    #[test]
    fn a_record_without_a_key_counts_under_its_value() {
        let (mut count, mut output) = fed(&context(json!({})), &["a"]);
        count.process(value("a"), &mut output).unwrap();
        assert_eq!(finished(count), ["a\t2"]);
    }

    #[test]
    fn a_restored_count_goes_on_from_any_position() {
        let cx = context(json!({}));
        let keys = ["x", "y", "x", "z", "x", "y"];
        let expected = finished(fed(&cx, &keys).0);
        for position in 0..=keys.len() {
            let (mut count, mut output) = fed(&cx, &keys[..position]);
            let state = count.snapshot(CHECKPOINT).unwrap();
            let mut again = Count::new(&restored(&cx, &[state])).unwrap();
            for key in &keys[position..] {
                again.process(keyed(key, 0), &mut output).unwrap();
            }
            assert_eq!(finished(again), expected, "{position}");
        }
    }

    #[test]
    fn equal_counts_have_equal_snapshots() {
        let cx = context(json!({}));
        let (mut one, _) = fed(&cx, &["a", "b", "c", "a"]);
        let (mut other, _) = fed(&cx, &["c", "a", "a", "b"]);
        assert_eq!(
            one.snapshot(CHECKPOINT).unwrap(),
            other.snapshot(CHECKPOINT).unwrap()
        );
    }

    #[test]
    fn keys_that_no_hash_edge_brought_here_survive_a_restore() {
        for index in 0..4 {
            let cx = subtask(json!({}), index, 4);
            let (mut count, _) = fed(&cx, &["a", "b", "c", "d", "e"]);
            let state = count.snapshot(CHECKPOINT).unwrap();
            let again = Count::new(&restored(&cx, &[state])).unwrap();
            assert_eq!(finished(again).len(), 5);
        }
    }

    #[test]
    fn with_another_parallelism_every_key_is_restored_in_one_place() {
        let keys: Vec<String> = (0..200).map(|key| format!("key-{key}")).collect();
        let mut states = Vec::new();
        for index in 0..2 {
            let cx = subtask(json!({}), index, 2);
            let here = |key: &&str| KeyRange::of(&cx).contains(key.as_bytes());
            let here: Vec<&str> = keys.iter().map(String::as_str).filter(here).collect();
            states.push(fed(&cx, &here).0.snapshot(CHECKPOINT).unwrap());
        }
        for parallelism in [1, 3, 7] {
            let part = |index| {
                let cx = subtask(json!({}), index, parallelism);
                finished(Count::new(&restored(&cx, &states)).unwrap())
            };
            let mut all: Vec<String> = (0..parallelism).flat_map(part).collect();
            all.sort_unstable();
            let mut expected: Vec<String> = keys.iter().map(|key| format!("{key}\t1")).collect();
            expected.sort_unstable();
            assert_eq!(all, expected, "{parallelism}");
        }
    }

    #[test]
    fn a_wrong_emit_or_a_damaged_state_is_refused() {
        let refused = |cx: &OperatorContext| Count::new(cx).err().unwrap().to_string();
        assert_eq!(
            refused(&context(json!({ "emit": "always" }))),
            "config.emit: `final` or `updates` is expected"
        );
        let cx = restored(&context(json!({})), &[vec![1, 0]]);
        assert_eq!(refused(&cx), "restored state: it ends too early");
    }
}

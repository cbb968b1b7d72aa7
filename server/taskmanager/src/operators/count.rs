//! `count`: how many records each key has.
//!
//! With `emit: final` it emits `key<TAB>count` for every key at the end of the input, sorted by key;
//! with `emit: updates` it does so for the record's key at every record. A record without a key counts
//! under its value. The counts are keyed state.

use super::config::{Config, wrong};
use super::decimal::push_decimal;
use super::keyed::{self, KeyedWriter, key_of};
use crate::sdk::{KeyGroups, Operator, OperatorContext, OperatorError, Output, Record, State};
use crate::state::compact::StateReader;
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
    key_groups: KeyGroups,
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
            key_groups: cx.key_groups(),
            counts: HashMap::new(),
            line: Vec::new(),
        };
        for part in cx.state.iter().flat_map(keyed::parts) {
            count.restore(part)?;
        }
        Ok(count)
    }

    fn restore(&mut self, part: &[u8]) -> Result<(), OperatorError> {
        let mut reader = StateReader::new(part)?;
        while !reader.is_at_end() {
            let (key, count) = (reader.bytes()?, reader.number()?);
            self.add(key, count);
        }
        Ok(())
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

    fn snapshot(&mut self, _: CheckpointId, state: &mut State) -> Result<(), OperatorError> {
        let mut keyed = KeyedWriter::new(self.key_groups);
        for (key, count) in self.sorted() {
            let part = keyed.part_of(key);
            part.bytes(key);
            part.number(count);
        }
        keyed.put_into(state)
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

    use super::super::harness::{
        Collected, RESCALED, context, keyed, rescaled, restored, subtask, subtasks, value, written,
    };
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn snapshot(cx: &OperatorContext, count: &mut Count) -> State {
        written(cx, |state| count.snapshot(CheckpointId(1), state))
    }

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
            let mut again = Count::new(&restored(&cx, Some(&snapshot(&cx, &mut count)))).unwrap();
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
        let (one, other) = (snapshot(&cx, &mut one), snapshot(&cx, &mut other));
        assert_eq!(one.to_bytes(), other.to_bytes());
    }

    #[test]
    fn keys_that_no_hash_edge_brought_here_survive_a_restore() {
        for index in 0..4 {
            let cx = subtask(json!({}), index, 4);
            let (mut count, _) = fed(&cx, &["a", "b", "c", "d", "e"]);
            let state = snapshot(&cx, &mut count);
            let again = Count::new(&restored(&cx, Some(&state))).unwrap();
            assert_eq!(finished(again).len(), 5);
        }
    }

    /// The sum of each key over all lines.
    fn sums(lines: &[String]) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for line in lines {
            let (key, count) = line.split_once('\t').unwrap();
            *sums.entry(key.to_owned()).or_default() += count.parse::<u64>().unwrap();
        }
        sums
    }

    #[test]
    fn with_another_parallelism_every_key_is_counted_on_in_one_place() {
        let keys: Vec<String> = (0..200).map(|key| format!("key-{key}")).collect();
        let config = json!({});
        for (old, new) in RESCALED {
            let here = |cx: &OperatorContext| -> Vec<&str> {
                let own = |key: &&str| cx.key_groups().contains(cx.key_groups().of(key.as_bytes()));
                keys.iter().map(String::as_str).filter(own).collect()
            };
            let mut states = Vec::new();
            for cx in subtasks(&config, old) {
                let (mut count, _) = fed(&cx, &here(&cx));
                states.push(snapshot(&cx, &mut count));
            }
            let mut lines = Vec::new();
            for cx in rescaled(&config, &states, new) {
                lines.extend(finished(fed(&cx, &here(&cx)).0));
            }
            lines.sort_unstable();
            let mut expected: Vec<String> = keys.iter().map(|key| format!("{key}\t2")).collect();
            expected.sort_unstable();
            assert_eq!(lines, expected, "{old} to {new}");
        }
    }

    #[test]
    fn with_another_parallelism_nothing_is_lost_of_what_no_hash_edge_brought() {
        let config = json!({});
        for (old, new) in RESCALED {
            let mut states = Vec::new();
            for cx in subtasks(&config, old) {
                let (mut count, _) = fed(&cx, &["a", "b", "c", "d", "a"]);
                states.push(snapshot(&cx, &mut count));
            }
            let contexts = rescaled(&config, &states, new);
            let finished = contexts
                .iter()
                .flat_map(|cx| finished(Count::new(cx).unwrap()));
            let old = u64::from(old);
            let expected = [("a", 2), ("b", 1), ("c", 1), ("d", 1)];
            let expected = expected.map(|(key, count)| (key.to_owned(), count * old));
            assert_eq!(
                sums(&finished.collect::<Vec<_>>()),
                expected.into(),
                "{old} to {new}"
            );
        }
    }

    #[test]
    fn a_wrong_emit_or_a_damaged_state_is_refused() {
        let refused = |cx: &OperatorContext| Count::new(cx).err().unwrap().to_string();
        assert_eq!(
            refused(&context(json!({ "emit": "always" }))),
            "config.emit: `final` or `updates` is expected"
        );
        let cx = context(json!({}));
        let damaged = written(&cx, |state| state.put_key_group(7, vec![2, 0]));
        let cx = restored(&cx, Some(&damaged));
        assert_eq!(refused(&cx), "restored state: it ends too early");
    }
}

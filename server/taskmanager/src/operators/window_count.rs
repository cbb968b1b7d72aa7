//! `tumbling-window-count`: how many records each key has in each window of event time.
//!
//! Window `k` holds the times from `k * size` to `(k + 1) * size - 1`. It fires when the watermark
//! reaches its last millisecond: `key<TAB>window start<TAB>count` for each key, sorted. A record that
//! comes later than that, but within the allowed lateness, fires its key again with the new count; one
//! that comes later still is dropped and counted. At the end of the input all that is left fires.
//!
//! The windows are keyed state. With another parallelism, a subtask gets keys from several others. Each entry knows
//! whether it has fired, so none fires twice. The watermark is in every key group, with keys or without, and a subtask
//! begins with the lowest one of those that it gets: with a higher one, it would take records for late that are not.

use super::config::{Config, wrong};
use super::decimal::{push_decimal, push_signed};
use super::keyed::{self, KeyedWriter, key_of};
use crate::sdk::DistributionMode::Split;
use crate::sdk::{KeyGroups, Operator, OperatorContext, OperatorError, Output, Record, State};
use crate::state::compact::{StateReader, StateWriter};
use jobmanager_core::id::CheckpointId;
use std::collections::{BTreeMap, HashMap};

/// The list of how many records each subtask dropped.
const DROPPED: &str = "dropped";

/// The records of one key in one window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Entry {
    count: u64,
    /// Whether this count has been emitted.
    fired: bool,
}

type Window = HashMap<Box<[u8]>, Entry>;

/// The windows of one subtask that can still change, by their start.
pub(super) struct WindowCount {
    /// Milliseconds, more than 0.
    size: i64,
    /// How long after its end a window is kept. Milliseconds.
    lateness: i64,
    key_groups: KeyGroups,
    windows: BTreeMap<i64, Window>,
    watermark: i64,
    dropped: u64,
    line: Vec<u8>,
}

impl WindowCount {
    /// Reads `size` and `allowedLateness`, and the windows of the restored checkpoint.
    pub(super) fn new(cx: &OperatorContext) -> Result<Self, OperatorError> {
        let config = Config::read(cx, &["size", "allowedLateness"])?;
        let size = config.duration_ms("size")?.unwrap_or(0);
        if size < 1 {
            return Err(wrong("size", "a duration of at least 1 ms is expected"));
        }
        let mut operator = WindowCount {
            size,
            lateness: config.duration_ms("allowedLateness")?.unwrap_or(0),
            key_groups: cx.key_groups(),
            windows: BTreeMap::new(),
            watermark: i64::MIN,
            dropped: 0,
            line: Vec::new(),
        };
        if let Some(state) = &cx.state {
            operator.restore(state)?;
        }
        Ok(operator)
    }

    fn restore(&mut self, state: &State) -> Result<(), OperatorError> {
        for partition in state.list(DROPPED) {
            let mut reader = StateReader::new(partition)?;
            self.dropped = self.dropped.saturating_add(reader.number()?);
            reader.end()?;
        }
        let mut lowest: Option<i64> = None;
        for part in keyed::parts(state) {
            let watermark = self.restore_windows(part)?;
            lowest = Some(lowest.map_or(watermark, |lowest| lowest.min(watermark)));
        }
        self.watermark = lowest.unwrap_or(i64::MIN);
        Ok(())
    }

    /// Takes over the windows of some keys; tells the watermark with which they were written.
    fn restore_windows(&mut self, part: &[u8]) -> Result<i64, OperatorError> {
        let mut reader = StateReader::new(part)?;
        let watermark = reader.signed()?;
        while !reader.is_at_end() {
            let (start, key) = (reader.signed()?, reader.bytes()?);
            let (count, fired) = (reader.number()?, reader.number()? != 0);
            let entry = entry(self.windows.entry(start).or_default(), key);
            entry.count = entry.count.saturating_add(count);
            entry.fired |= fired;
        }
        Ok(watermark)
    }

    /// The last millisecond of a window.
    fn last(&self, start: i64) -> i64 {
        start.saturating_add(self.size - 1)
    }

    /// Whether a window will not be touched again.
    fn is_over(&self, start: i64) -> bool {
        self.last(start).saturating_add(self.lateness) <= self.watermark
    }

    /// Fires, of every window that ends at or before `time`, what has not fired.
    fn fire_up_to(&mut self, time: i64, output: &mut dyn Output) -> Result<(), OperatorError> {
        // Older windows have fired, and late records in them fired at once.
        let not_older = self.watermark.saturating_sub(self.size);
        let (size, line) = (self.size, &mut self.line);
        for (start, window) in self.windows.range_mut(not_older..) {
            let last = start.saturating_add(size - 1);
            if last > time {
                break;
            }
            let mut waiting: Vec<_> = window.iter_mut().filter(|(_, e)| !e.fired).collect();
            waiting.sort_unstable_by(|one, other| one.0.cmp(other.0));
            for (key, entry) in waiting {
                entry.fired = true;
                fire(key, *start, last, entry.count, line, output)?;
            }
        }
        Ok(())
    }
}

impl Operator for WindowCount {
    fn process(
        &mut self,
        record: Record<'_>,
        output: &mut dyn Output,
    ) -> Result<(), OperatorError> {
        let start = record
            .time
            .saturating_sub(record.time.rem_euclid(self.size));
        if self.is_over(start) {
            self.dropped += 1;
            return Ok(());
        }
        let key = key_of(&record);
        let last = self.last(start);
        let late = last <= self.watermark;
        let entry = entry(self.windows.entry(start).or_default(), key);
        entry.count += 1;
        entry.fired = late;
        if late {
            let count = entry.count;
            fire(key, start, last, count, &mut self.line, output)?;
        }
        Ok(())
    }

    fn watermark(&mut self, time: i64, output: &mut dyn Output) -> Result<(), OperatorError> {
        if time <= self.watermark {
            return Ok(());
        }
        self.fire_up_to(time, output)?;
        self.watermark = time;
        while let Some(first) = self.windows.first_entry() {
            let last = first.key().saturating_add(self.size - 1);
            if last.saturating_add(self.lateness) > time {
                break;
            }
            first.remove();
        }
        Ok(())
    }

    fn finish(&mut self, output: &mut dyn Output) -> Result<(), OperatorError> {
        self.fire_up_to(i64::MAX, output)?;
        self.windows.clear();
        self.watermark = i64::MAX;
        if self.dropped > 0 {
            tracing::info!(
                dropped = self.dropped,
                "records came too late for their window"
            );
        }
        Ok(())
    }

    fn snapshot(&mut self, _: CheckpointId, state: &mut State) -> Result<(), OperatorError> {
        let mut watermark = StateWriter::new();
        watermark.signed(self.watermark);
        let mut keyed = KeyedWriter::in_every_group(self.key_groups, watermark);
        for (start, window) in &self.windows {
            let mut sorted: Vec<_> = window.iter().collect();
            sorted.sort_unstable_by(|one, other| one.0.cmp(other.0));
            for (key, entry) in sorted {
                let part = keyed.part_of(key);
                part.signed(*start);
                part.bytes(key);
                part.number(entry.count);
                part.number(u64::from(entry.fired));
            }
        }
        keyed.put_into(state)?;
        let mut dropped = StateWriter::new();
        dropped.number(self.dropped);
        state.append(DROPPED, Split, [dropped.into_bytes()])
    }
}

/// The entry of a key, which is copied only if the key is new.
fn entry<'a>(window: &'a mut Window, key: &[u8]) -> &'a mut Entry {
    if !window.contains_key(key) {
        window.insert(key.into(), Entry::default());
    }
    window.get_mut(key).expect("it is there or was just put in")
}

/// Emits one count. Its event time is the window's last millisecond.
fn fire(
    key: &[u8],
    start: i64,
    last: i64,
    count: u64,
    line: &mut Vec<u8>,
    output: &mut dyn Output,
) -> Result<(), OperatorError> {
    line.clear();
    line.extend_from_slice(key);
    line.push(b'\t');
    push_signed(line, start);
    line.push(b'\t');
    push_decimal(line, count);
    output.record(Record {
        key: Some(key),
        value: line,
        time: last,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::harness::{
        Collected, RESCALED, context, keyed, rescaled, restored, subtasks, written,
    };
    use super::*;
    use serde_json::json;

    fn windows(size: i64, lateness: i64) -> WindowCount {
        WindowCount::new(&context(
            json!({ "size": size, "allowedLateness": lateness }),
        ))
        .unwrap()
    }

    fn snapshot(cx: &OperatorContext, operator: &mut WindowCount) -> State {
        written(cx, |state| operator.snapshot(CheckpointId(1), state))
    }

    fn feed(operator: &mut WindowCount, records: &[(&str, i64)]) -> Vec<String> {
        let mut output = Collected::default();
        for (key, time) in records {
            operator.process(keyed(key, *time), &mut output).unwrap();
        }
        output.values()
    }

    fn advance(operator: &mut WindowCount, time: i64) -> Vec<String> {
        let mut output = Collected::default();
        operator.watermark(time, &mut output).unwrap();
        output.values()
    }

    fn finish(operator: &mut WindowCount) -> Vec<String> {
        let mut output = Collected::default();
        operator.finish(&mut output).unwrap();
        output.values()
    }

    #[test]
    fn a_window_fires_when_the_watermark_reaches_its_last_millisecond() {
        let mut operator = windows(10, 0);
        let early = feed(&mut operator, &[("b", 0), ("a", 9), ("b", 3), ("a", 10)]);
        assert!(early.is_empty());
        assert!(advance(&mut operator, 8).is_empty());
        assert_eq!(advance(&mut operator, 9), ["a\t0\t1", "b\t0\t2"]);
        assert!(advance(&mut operator, 18).is_empty(), "nothing fires twice");
        assert_eq!(advance(&mut operator, 19), ["a\t10\t1"]);
        assert!(finish(&mut operator).is_empty());
    }

    #[test]
    fn a_fired_record_has_its_key_and_the_windows_last_millisecond() {
        let mut operator = windows(10, 0);
        feed(&mut operator, &[("a", 3)]);
        let mut output = Collected::default();
        operator.watermark(100, &mut output).unwrap();
        assert_eq!(output.records[0].key.as_deref(), Some(&b"a"[..]));
        assert_eq!(output.records[0].time, 9);
    }

    #[test]
    fn times_before_the_epoch_floor_to_their_window() {
        let mut operator = windows(10, 0);
        feed(
            &mut operator,
            &[("a", -1), ("a", -10), ("a", -11), ("a", 0)],
        );
        assert_eq!(advance(&mut operator, -11), ["a\t-20\t1"]);
        assert_eq!(advance(&mut operator, -1), ["a\t-10\t2"]);
        assert_eq!(finish(&mut operator), ["a\t0\t1"]);
    }

    #[test]
    fn the_ends_of_time_are_in_windows_too() {
        let mut operator = windows(1_000, 500);
        feed(&mut operator, &[("a", i64::MIN), ("b", i64::MAX)]);
        let fired = finish(&mut operator);
        assert_eq!(fired.len(), 2);
        assert!(fired[1].starts_with("b\t92233720368547750"), "{fired:?}");
    }

    #[test]
    fn a_late_record_fires_again_and_a_later_one_is_dropped_and_counted() {
        let mut operator = windows(10, 5);
        feed(&mut operator, &[("a", 1), ("b", 1)]);
        assert_eq!(advance(&mut operator, 13), ["a\t0\t1", "b\t0\t1"]);
        let late = feed(&mut operator, &[("a", 2), ("a", 3), ("c", 4)]);
        assert_eq!(late, ["a\t0\t2", "a\t0\t3", "c\t0\t1"]);
        assert!(advance(&mut operator, 14).is_empty());
        assert!(operator.windows.is_empty());
        assert!(feed(&mut operator, &[("a", 5)]).is_empty());
        assert_eq!(operator.dropped, 1);
    }

    #[test]
    fn a_record_is_late_as_soon_as_its_window_has_fired() {
        let mut operator = windows(10, 5);
        assert!(advance(&mut operator, 9).is_empty());
        assert_eq!(feed(&mut operator, &[("a", 9)]), ["a\t0\t1"]);
    }

    #[test]
    fn a_watermark_that_goes_back_is_ignored() {
        let mut operator = windows(10, 0);
        advance(&mut operator, 20);
        advance(&mut operator, 5);
        assert!(feed(&mut operator, &[("a", 3)]).is_empty());
        assert!(finish(&mut operator).is_empty());
        assert_eq!(operator.dropped, 1);
    }

    #[test]
    fn the_end_of_the_input_fires_every_window_in_order() {
        let mut operator = windows(10, 100);
        feed(&mut operator, &[("b", 25), ("a", 15), ("a", 5), ("a", 26)]);
        advance(&mut operator, 9);
        assert_eq!(finish(&mut operator), ["a\t10\t1", "a\t20\t1", "b\t20\t1"]);
    }

    /// Records and watermarks with something late, something too late and several windows.
    const STEPS: [Result<(&str, i64), i64>; 12] = [
        Ok(("a", 1)),
        Ok(("b", 12)),
        Err(9),
        Ok(("a", 3)),
        Ok(("a", 13)),
        Err(14),
        Ok(("c", 4)),
        Err(15),
        Ok(("c", 25)),
        Ok(("a", -3)),
        Err(21),
        Ok(("b", 22)),
    ];

    fn step(operator: &mut WindowCount, step: &Result<(&str, i64), i64>) -> Vec<String> {
        match step {
            Ok(record) => feed(operator, &[*record]),
            Err(watermark) => advance(operator, *watermark),
        }
    }

    #[test]
    fn a_restored_operator_goes_on_from_any_position() {
        let cx = context(json!({ "size": 10, "allowedLateness": 5 }));
        let run = |operator: &mut WindowCount, steps: &[_]| -> Vec<String> {
            steps.iter().flat_map(|s| step(operator, s)).collect()
        };
        let mut whole = WindowCount::new(&cx).unwrap();
        let mut expected = run(&mut whole, &STEPS);
        expected.extend(finish(&mut whole));
        for position in 0..=STEPS.len() {
            let mut operator = WindowCount::new(&cx).unwrap();
            let mut output = run(&mut operator, &STEPS[..position]);
            let state = snapshot(&cx, &mut operator);
            let mut again = WindowCount::new(&restored(&cx, Some(&state))).unwrap();
            output.extend(run(&mut again, &STEPS[position..]));
            output.extend(finish(&mut again));
            assert_eq!(output, expected, "{position}");
            assert_eq!(again.dropped, whole.dropped);
        }
    }

    const KEYS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

    /// Those of the keys that a hash edge brings to a subtask.
    fn keys_of(cx: &OperatorContext) -> Vec<&'static str> {
        let groups = cx.key_groups();
        let here = |key: &&str| groups.contains(groups.of(key.as_bytes()));
        KEYS.into_iter().filter(here).collect()
    }

    /// Each key once in the windows that start at 0 and 10.
    fn in_two_windows(cx: &OperatorContext, watermark: i64) -> (WindowCount, Vec<String>) {
        let records: Vec<_> = keys_of(cx)
            .into_iter()
            .flat_map(|key| [(key, 1), (key, 11)])
            .collect();
        let mut operator = WindowCount::new(cx).unwrap();
        feed(&mut operator, &records);
        let fired = advance(&mut operator, watermark);
        (operator, fired)
    }

    #[test]
    fn with_another_parallelism_what_has_not_fired_fires_once() {
        let config = json!({ "size": 10, "allowedLateness": 100 });
        for (old, new) in RESCALED {
            let (mut states, mut fired) = (Vec::new(), Vec::new());
            for cx in subtasks(&config, old) {
                let (mut operator, early) = in_two_windows(&cx, 9);
                fired.extend(early);
                states.push(snapshot(&cx, &mut operator));
            }
            assert_eq!(fired.len(), KEYS.len());
            for cx in rescaled(&config, &states, new) {
                fired.extend(finish(&mut WindowCount::new(&cx).unwrap()));
            }
            fired.sort_unstable();
            let expected = KEYS
                .iter()
                .flat_map(|key| [format!("{key}\t0\t1"), format!("{key}\t10\t1")]);
            assert_eq!(fired, expected.collect::<Vec<_>>(), "{old} to {new}");
        }
    }

    #[test]
    fn every_subtask_goes_on_with_the_lowest_watermark_of_its_keys_and_none_fires_again() {
        let config = json!({ "size": 10, "allowedLateness": 100 });
        for parallelism in 1..5 {
            let mut states = Vec::new();
            for (cx, watermark) in subtasks(&config, 2).iter().zip([9, 25]) {
                let (mut operator, fired) = in_two_windows(cx, watermark);
                let windows = if watermark == 9 { 1 } else { 2 };
                assert_eq!(fired.len(), windows * keys_of(cx).len());
                states.push(snapshot(cx, &mut operator));
            }
            let mut fired = Vec::new();
            for cx in rescaled(&config, &states, parallelism) {
                // A record for a window that one of the two had fired changes its count again.
                let mut operator = WindowCount::new(&cx).unwrap();
                let from_the_first = cx.key_groups().own().start() < &64;
                assert_eq!(operator.watermark, if from_the_first { 9 } else { 25 });
                let records: Vec<_> = keys_of(&cx).into_iter().map(|key| (key, 12)).collect();
                fired.extend(feed(&mut operator, &records));
                fired.extend(advance(&mut operator, 19));
            }
            fired.sort_unstable();
            assert_eq!(fired, KEYS.map(|key| format!("{key}\t10\t2")));
        }
    }

    #[test]
    fn what_was_dropped_is_counted_once_with_any_parallelism() {
        let config = json!({ "size": 10 });
        for (old, new) in RESCALED {
            let mut states = Vec::new();
            for cx in subtasks(&config, old) {
                let mut operator = WindowCount::new(&cx).unwrap();
                advance(&mut operator, 9);
                feed(&mut operator, &[("a", 1), ("b", 2)]);
                states.push(snapshot(&cx, &mut operator));
            }
            let contexts = rescaled(&config, &states, new);
            let dropped = contexts
                .iter()
                .map(|cx| WindowCount::new(cx).unwrap().dropped);
            assert_eq!(dropped.sum::<u64>(), u64::from(old) * 2, "{old} to {new}");
        }
    }

    #[test]
    fn a_size_is_required() {
        for config in [json!({}), json!({ "size": 0 })] {
            let refused = WindowCount::new(&context(config)).err().unwrap();
            assert!(
                refused.to_string().starts_with("config.size: "),
                "{refused}"
            );
        }
    }
}

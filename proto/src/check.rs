//! The limits of what a peer may say, and the checks that all conversions share.
//!
//! The core counts on them: with them no sum or increment in it overflows, and nothing grows with a
//! peer's fantasy.

use crate::bad_message::{BadMessage, Problem};
use jobmanager_core::graph::{MAX_PARALLELISM, MAX_VERTICES};
use jobmanager_core::id::{CheckpointId, Epoch};
use std::ops::RangeInclusive;
use std::time::Duration;

/// The most slots of one TaskManager: far above the cores of any machine.
pub const MAX_SLOTS: u32 = 10_000;
/// The longest name of a TaskManager or operator, in characters: names are shown in tables.
pub const MAX_NAME: usize = 200;
/// The most operators that a TaskManager offers: they are written by people.
pub const MAX_OPERATORS: usize = 10_000;
/// The most attempts, or jobs, that one message of a TaskManager speaks of: each of [`MAX_SLOTS`] slots holds one
/// subtask of every vertex that shares it, which are some hundred at worst.
pub const MAX_ATTEMPTS: usize = 1 << 20;
/// The most subtasks, and therefore slots, of one job.
pub const MAX_SUBTASKS: usize = MAX_VERTICES * MAX_PARALLELISM as usize;
/// The largest snapshot of one subtask in bytes, 256 GiB: [`MAX_SUBTASKS`] of them still add up in 63
/// bits.
pub const MAX_STATE_BYTES: u64 = 1 << 38;
/// The most snapshots from which a task starts: of each old subtask one, and a few more where snapshots that had
/// been divided were divided again.
pub(crate) const MAX_HANDLES: usize = 4 * MAX_PARALLELISM as usize;
/// The most lists of one snapshot: they are named by people.
pub const MAX_LISTS: usize = 1_000;
/// The longest path or URL in bytes, that of the usual file systems.
pub const MAX_PATH: usize = 4_096;
/// The longest text for people in bytes; what is longer is cut. A stack trace fits.
pub const MAX_PROSE: usize = 16 * 1_024;
/// The largest epoch and checkpoint id: none is ever counted to, and the next one always exists.
pub const MAX_COUNTER: u64 = i64::MAX as u64;
/// The largest number of an attempt within its epoch: as [`MAX_COUNTER`].
pub const MAX_ATTEMPT_NUMBER: u32 = i32::MAX as u32;

pub(crate) fn required<T>(value: Option<T>, field: &'static str) -> Result<T, BadMessage> {
    value.ok_or(Problem::Missing.at(field))
}

pub(crate) fn in_range(
    value: u64,
    range: RangeInclusive<u64>,
    field: &'static str,
) -> Result<u64, BadMessage> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (min, max) = range.into_inner();
    Err(Problem::OutOfRange { value, min, max }.at(field))
}

pub(crate) fn in_range_u32(
    value: u32,
    range: RangeInclusive<u32>,
    field: &'static str,
) -> Result<u32, BadMessage> {
    let (min, max) = range.into_inner();
    in_range(value.into(), min.into()..=max.into(), field)?;
    Ok(value)
}

/// For the length of a list or text.
pub(crate) fn at_most(length: usize, max: usize, field: &'static str) -> Result<(), BadMessage> {
    in_range(length as u64, 0..=max as u64, field).map(drop)
}

/// For a position in a list.
pub(crate) fn index(value: u32, length: usize, field: &'static str) -> Result<u32, BadMessage> {
    if (value as usize) < length {
        return Ok(value);
    }
    let out_of_range = Problem::OutOfRange {
        value: value.into(),
        min: 0,
        max: (length as u64).saturating_sub(1),
    };
    Err(out_of_range.at(field))
}

pub(crate) fn name(text: String, field: &'static str) -> Result<String, BadMessage> {
    in_range(text.chars().count() as u64, 1..=MAX_NAME as u64, field)?;
    no_control_characters(&text, field)?;
    Ok(text)
}

/// For the address of a data exchange. Whether anybody answers there shows when it is called.
pub(crate) fn address(text: String, field: &'static str) -> Result<String, BadMessage> {
    in_range(text.len() as u64, 1..=MAX_PATH as u64, field)?;
    locator(text, field)
}

/// For a URL or a path; empty for none.
pub(crate) fn locator(text: String, field: &'static str) -> Result<String, BadMessage> {
    at_most(text.len(), MAX_PATH, field)?;
    no_control_characters(&text, field)?;
    Ok(text)
}

fn no_control_characters(text: &str, field: &'static str) -> Result<(), BadMessage> {
    if text.chars().any(char::is_control) {
        return Err(Problem::ControlCharacter.at(field));
    }
    Ok(())
}

/// Cuts a text for people to [`MAX_PROSE`] bytes: its length is no reason to lose what it is about.
pub(crate) fn prose(mut text: String) -> String {
    if text.len() > MAX_PROSE {
        let cut = (0..=MAX_PROSE).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(cut.unwrap_or(0));
    }
    text
}

/// An epoch that some JobManager has.
pub(crate) fn epoch(value: u64, field: &'static str) -> Result<Epoch, BadMessage> {
    in_range(value, 1..=MAX_COUNTER, field).map(Epoch)
}

/// An epoch, or zero for none.
pub(crate) fn epoch_or_zero(value: u64, field: &'static str) -> Result<Epoch, BadMessage> {
    in_range(value, 0..=MAX_COUNTER, field).map(Epoch)
}

pub(crate) fn checkpoint(value: u64, field: &'static str) -> Result<CheckpointId, BadMessage> {
    in_range(value, 1..=MAX_COUNTER, field).map(CheckpointId)
}

/// A checkpoint, where zero says that there is none.
pub(crate) fn optional_checkpoint(
    value: u64,
    field: &'static str,
) -> Result<Option<CheckpointId>, BadMessage> {
    match value {
        0 => Ok(None),
        value => checkpoint(value, field).map(Some),
    }
}

/// Checks that a vertex has subtasks and at least as many key groups.
pub(crate) fn parallelism(
    parallelism: u32,
    max_parallelism: u32,
    fields: [&'static str; 2],
) -> Result<(), BadMessage> {
    in_range_u32(max_parallelism, 1..=MAX_PARALLELISM, fields[1])?;
    in_range_u32(parallelism, 1..=max_parallelism, fields[0])?;
    Ok(())
}

/// Whole milliseconds; what is beyond the range of the wire is as good as for ever.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_cut_between_characters() {
        let text = format!("a{}", "ü".repeat(MAX_PROSE));
        let cut = prose(text.clone());
        assert_eq!(cut.len(), MAX_PROSE - 1);
        assert!(text.starts_with(&cut));
        assert_eq!(prose("short".into()), "short");
    }

    #[test]
    fn a_duration_beyond_the_wire_saturates() {
        assert_eq!(millis(Duration::MAX), u64::MAX);
        assert_eq!(millis(Duration::from_micros(1_999)), 1);
    }
}

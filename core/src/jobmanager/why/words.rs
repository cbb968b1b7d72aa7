//! The words of which causes are told, and how their values are written down.

use crate::id::{Attempt, TaskId, TaskManagerId};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use serde::{Serialize, Serializer};

use crate::time::Timestamp;

/// A subtask of the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Subtask {
    /// The vertex, as the client wrote it.
    pub vertex: String,
    /// Which of the vertex, from 0.
    #[serde(rename = "subtask", serialize_with = "index")]
    pub task: TaskId,
    /// How many the vertex has.
    pub parallelism: u32,
    /// Its current attempt, or the last one; `None` before the first.
    #[serde(serialize_with = "number")]
    pub attempt: Option<Attempt>,
}

impl fmt::Display for Subtask {
    /// `vertex (2/4)`, as Flink counts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.task.subtask.0 + 1;
        write!(f, "{} ({number}/{})", self.vertex, self.parallelism)
    }
}

/// As people see it.
pub(super) fn shown<S: Serializer>(
    value: &impl fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Milliseconds.
pub(super) fn millis<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    u64::try_from(value.as_millis())
        .unwrap_or(u64::MAX)
        .serialize(serializer)
}

fn index<S: Serializer>(task: &TaskId, serializer: S) -> Result<S::Ok, S::Error> {
    task.subtask.0.serialize(serializer)
}

fn number<S: Serializer>(attempt: &Option<Attempt>, serializer: S) -> Result<S::Ok, S::Error> {
    attempt.map(|attempt| attempt.number).serialize(serializer)
}

/// `50 ms`, `2.5 s`, `3 min 4 s`, `2 h 5 min`.
pub(super) fn span(duration: Duration) -> String {
    let millis = duration.as_millis();
    let seconds = millis / 1_000;
    match (seconds, seconds / 60, seconds / 3_600) {
        (0, ..) => format!("{millis} ms"),
        (_, 0, _) => format!("{seconds}.{} s", millis % 1_000 / 100),
        (_, minutes, 0) => format!("{minutes} min {} s", seconds % 60),
        (_, minutes, hours) => format!("{hours} h {} min", minutes % 60),
    }
}

/// How far ahead a time lies: `in 2.5 s`.
pub(super) fn ahead(now: Timestamp, at: Timestamp) -> String {
    match at > now {
        true => format!("in {}", span(at.since(now))),
        false => String::from("now"),
    }
}

/// How long ago a time was: `for 2.5 s`.
pub(super) fn lasting(now: Timestamp, since: Timestamp) -> String {
    format!("for {}", span(now.since(since)))
}

/// The longest text of others that is told in full. Characters.
const TOLD: usize = 500;

/// What a task, a store or a storage says, which may be as long as it likes: its beginning, and how much is
/// left out.
pub(super) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(TOLD) {
        None => String::from(text),
        Some((end, _)) => {
            let more = text[end..].chars().count();
            format!("{}… and {more} more characters", &text[..end])
        }
    }
}

/// `1 slot`, `4 slots`.
pub(super) fn counted(number: u32, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{ending}")
}

/// `has` or `have`, and so on.
pub(super) fn verb(number: u32, one: &'static str, many: &'static str) -> &'static str {
    if number == 1 { one } else { many }
}

/// `a, b and 3 more`: those that are shown of so many.
pub(super) fn listed<T: fmt::Display>(shown: &[T], count: u32) -> String {
    let names: Vec<String> = shown.iter().map(ToString::to_string).collect();
    let rest = (count as usize).saturating_sub(names.len());
    match rest {
        0 => names.join(", "),
        rest => format!("{} and {rest} more", names.join(", ")),
    }
}

/// As [`listed`], in brackets, or nothing if nobody is named.
pub(super) fn in_brackets(shown: &[TaskManagerId], count: u32) -> String {
    match shown {
        [] => String::new(),
        shown => format!(" ({})", listed(shown, count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_lists_are_for_people() {
        let spans = [0, 999, 2_540, 61_000, 3_723_000].map(|ms| span(Duration::from_millis(ms)));
        assert_eq!(spans, ["0 ms", "999 ms", "2.5 s", "1 min 1 s", "1 h 2 min"]);
        assert_eq!(ahead(Timestamp(7), Timestamp(7)), "now");
        assert_eq!(ahead(Timestamp(7), Timestamp(57)), "in 50 ms");
        assert_eq!(listed(&["a", "b"], 5), "a, b and 3 more");
        assert_eq!(listed(&["a", "b"], 2), "a, b");
    }

    #[test]
    fn what_others_say_is_cut_and_says_so() {
        assert_eq!(excerpt(&"é".repeat(TOLD)), "é".repeat(TOLD));
        let cut = excerpt(&"é".repeat(TOLD + 7));
        assert_eq!(cut, format!("{}… and 7 more characters", "é".repeat(TOLD)));
    }
}

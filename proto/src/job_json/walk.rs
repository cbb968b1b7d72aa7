//! Reads values out of a JSON document and keeps every problem with its path.

use super::MAX_PROBLEMS;
use jobmanager_core::config::nearest;
use jobmanager_core::graph::{MAX_PARALLELISM, Problem};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// How much of a text a problem repeats. Characters.
const SHOWN: usize = 60;

/// The problems that were found so far. Only the first ones are written out, the others are counted, so
/// that megabytes of garbage cost little.
#[derive(Default)]
pub(super) struct Walk {
    problems: Vec<Problem>,
    more: usize,
    /// Where a value could not be read, and so was replaced.
    replaced: BTreeSet<String>,
}

/// An object and where it is.
pub(super) struct Fields<'a> {
    path: String,
    entries: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(super) fn get(&self, field: &str) -> Option<&'a Value> {
        self.entries.get(field)
    }

    /// The path of a field, whether or not it is there.
    pub(super) fn path(&self, field: &str) -> String {
        if self.path.is_empty() {
            field.to_string()
        } else {
            format!("{}.{field}", self.path)
        }
    }
}

impl Walk {
    pub(super) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// A value that cannot be read and is replaced.
    pub(super) fn problem(&mut self, path: String, problem: impl FnOnce() -> String) {
        self.replaced.insert(path.clone());
        self.list(|| path, problem);
    }

    pub(super) fn wrong_type(&mut self, path: String, expected: &str, found: &Value) {
        self.problem(path, || {
            format!("{expected} is expected, but it is {}", described(found))
        });
    }

    /// Reads an object and reports the fields that do not exist.
    pub(super) fn object<'a>(
        &mut self,
        path: String,
        value: &'a Value,
        known: &[&'static str],
    ) -> Option<Fields<'a>> {
        let Some(entries) = value.as_object() else {
            self.wrong_type(path, "an object", value);
            return None;
        };
        let fields = Fields { path, entries };
        let unknown = entries.keys().filter(|key| !known.contains(&key.as_str()));
        for key in unknown {
            let problem = || {
                let meant = nearest(key, known.iter().copied());
                let hint = meant.map(|name| format!("; did you mean `{name}`?"));
                format!("there is no such field{}", hint.unwrap_or_default())
            };
            self.list(|| fields.path(&shortened(key)), problem);
        }
        Some(fields)
    }

    /// Reads an array of at most `most` values.
    pub(super) fn array<'a>(
        &mut self,
        fields: &Fields<'a>,
        field: &str,
        required: bool,
        most: usize,
    ) -> Option<&'a [Value]> {
        let value = self.field(fields, field, required, "an array")?;
        let Some(values) = value.as_array() else {
            self.wrong_type(fields.path(field), "an array", value);
            return None;
        };
        if values.len() > most {
            let problem = || format!("{} are too many: at most {most}", values.len());
            self.problem(fields.path(field), problem);
            return None;
        }
        Some(values)
    }

    pub(super) fn text(
        &mut self,
        fields: &Fields<'_>,
        field: &str,
        required: bool,
    ) -> Option<String> {
        let value = self.field(fields, field, required, "a text")?;
        if value.is_string() {
            return value.as_str().map(str::to_string);
        }
        self.wrong_type(fields.path(field), "a text", value);
        None
    }

    /// Reads a parallelism. Whether it is in range is for the graph's validation to say, as far as it
    /// can be said there.
    pub(super) fn parallelism(&mut self, fields: &Fields<'_>, field: &str) -> Option<u32> {
        let value = fields.get(field)?;
        let whole = value.is_i64() || value.is_u64();
        if !whole {
            self.wrong_type(fields.path(field), "a whole number", value);
            return None;
        }
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        if number.is_none() {
            self.problem(fields.path(field), || {
                format!("{value} is out of range: from 1 to {MAX_PARALLELISM} is expected")
            });
        }
        number
    }

    /// All problems: those found here, and of the later ones those that are not about something that
    /// was replaced.
    pub(super) fn finish(mut self, later: Vec<Problem>) -> Vec<Problem> {
        for problem in later {
            if !self.is_replaced(&problem.path) {
                self.list(|| problem.path, || problem.problem);
            }
        }
        if self.more > 0 {
            self.problems.push(Problem {
                path: String::new(),
                problem: format!("… and {} more", self.more),
            });
        }
        self.problems
    }

    /// Whether the value at this path, or one that contains it, was replaced.
    fn is_replaced(&self, path: &str) -> bool {
        let mut path = path;
        loop {
            if self.replaced.contains(path) {
                return true;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return false,
            }
        }
    }

    fn field<'a>(
        &mut self,
        fields: &Fields<'a>,
        field: &str,
        required: bool,
        expected: &str,
    ) -> Option<&'a Value> {
        let value = fields.get(field);
        if value.is_none() && required {
            let problem = || format!("is missing: {expected} is expected");
            self.problem(fields.path(field), problem);
        }
        value
    }

    fn list(&mut self, path: impl FnOnce() -> String, problem: impl FnOnce() -> String) {
        if self.problems.len() < MAX_PROBLEMS {
            let (path, problem) = (path(), problem());
            self.problems.push(Problem { path, problem });
        } else {
            self.more += 1;
        }
    }
}

/// The kind of a value, and the value itself where it is short.
fn described(value: &Value) -> String {
    match value {
        Value::Null => "null".to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text {}", shown(text)),
        Value::Array(_) => "an array".to_string(),
        Value::Object(_) => "an object".to_string(),
    }
}

pub(super) fn shown(text: &str) -> String {
    format!("`{}`", shortened(text))
}

pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

//! The shape of JSON, learned from recorded answers: which fields there are, always or sometimes, of which types, and
//! which words a text may be.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What stands for the key of a map that is keyed by ids.
const ID: &str = "<id>";

/// What is known of the values at one place.
#[derive(Debug, Default)]
pub(crate) struct Shape {
    /// How many values were seen.
    seen: usize,
    kinds: BTreeSet<Kind>,
    /// With how many values each field was there.
    fields: BTreeMap<String, (usize, Shape)>,
    elements: Option<Box<Shape>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Null,
    Bool,
    Whole,
    Float,
    Text,
    List,
    Object,
}

fn kind(value: &Value) -> Kind {
    match value {
        Value::Null => Kind::Null,
        Value::Bool(_) => Kind::Bool,
        Value::Number(number) if number.is_f64() => Kind::Float,
        Value::Number(_) => Kind::Whole,
        // As which Flink shows a number that there is not.
        Value::String(text) if text == "NaN" => Kind::Float,
        Value::String(_) => Kind::Text,
        Value::Array(_) => Kind::List,
        Value::Object(_) => Kind::Object,
    }
}

fn key(name: &str) -> &str {
    let is_id = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { ID } else { name }
}

/// Maps whose keys depend on what there is to show.
const MAPS: [&str; 3] = ["user-config", "accumulator-results", "applications[].jobs"];

/// Whether a place is, or ends with, what is called so.
fn is_called(place: &str, name: &str) -> bool {
    let rest = place.strip_suffix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

const JOB: [&str; 11] = [
    "INITIALIZING",
    "CREATED",
    "RUNNING",
    "FAILING",
    "FAILED",
    "CANCELLING",
    "CANCELED",
    "FINISHED",
    "RESTARTING",
    "SUSPENDED",
    "RECONCILING",
];
const EXECUTION: [&str; 10] = [
    "CREATED",
    "SCHEDULED",
    "DEPLOYING",
    "RUNNING",
    "FINISHED",
    "CANCELING",
    "CANCELED",
    "FAILED",
    "RECONCILING",
    "INITIALIZING",
];
const APPLICATION: [&str; 7] = [
    "CREATED",
    "RUNNING",
    "FAILING",
    "FAILED",
    "CANCELING",
    "CANCELED",
    "FINISHED",
];
const CHECKPOINT: [&str; 6] = [
    "IN_PROGRESS",
    "COMPLETED",
    "FAILED",
    "completed",
    "pending_or_failed",
    "failed",
];
/// At which places which words stand.
const WORDS: [(&str, &[&str]); 23] = [
    ("checkpoint.subtasks[].status", &CHECKPOINT),
    ("checkpoint.status", &CHECKPOINT),
    ("history[].status", &CHECKPOINT),
    ("completed.status", &CHECKPOINT),
    ("savepoint.status", &CHECKPOINT),
    ("failed.status", &CHECKPOINT),
    ("tasks.<id>.status", &CHECKPOINT),
    ("job.state", &JOB),
    ("job.status", &JOB),
    ("jobs[].state", &JOB),
    ("jobs[].status", &JOB),
    ("vertices[].status", &EXECUTION),
    ("subtasks[].status", &EXECUTION),
    ("taskmanagers[].status", &EXECUTION),
    ("subtask.status", &EXECUTION),
    ("application.status", &APPLICATION),
    ("applications[].status", &APPLICATION),
    (
        "checkpoint_type",
        &["CHECKPOINT", "SAVEPOINT", "SYNC_SAVEPOINT"],
    ),
    ("jobType", &["BATCH", "STREAMING"]),
    ("job-type", &["BATCH", "STREAMING"]),
    ("schedulerType", &["Default", "Adaptive", "AdaptiveBatch"]),
    (
        "application-status",
        &["SUCCEEDED", "FAILED", "CANCELED", "UNKNOWN"],
    ),
    ("status.id", &["IN_PROGRESS", "COMPLETED"]),
];

/// The texts that Flink has at fields of this name, if they are of a fixed set; `None` if any text will do.
fn words(place: &str) -> Option<&'static [&'static str]> {
    let found = WORDS.iter().find(|(name, _)| is_called(place, name));
    found.map(|(_, words)| *words)
}

impl Shape {
    /// The shape of all these together.
    pub(crate) fn of(values: &[Value]) -> Shape {
        let mut shape = Shape::default();
        values.iter().for_each(|value| shape.learn(value));
        shape
    }

    fn learn(&mut self, value: &Value) {
        self.seen += 1;
        self.kinds.insert(kind(value));
        if let Value::Array(elements) = value {
            let shape = self.elements.get_or_insert_default();
            elements.iter().for_each(|element| shape.learn(element));
        }
        if let Value::Object(fields) = value {
            let mut here = BTreeSet::new();
            for (name, value) in fields {
                let (times, shape) = self.fields.entry(key(name).to_owned()).or_default();
                // Several ids are one field.
                *times += usize::from(here.insert(key(name)));
                shape.learn(value);
            }
        }
    }

    /// How often an object was seen.
    fn objects(&self) -> usize {
        let most = self.fields.values().map(|(times, _)| *times).max();
        most.unwrap_or(0)
    }

    /// Where `value` does not have this shape, each place once. `name` is what the whole is called in [`words`].
    pub(crate) fn differences(&self, value: &Value, name: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        self.compare(value, name, "", &mut found);
        found
    }

    fn compare(&self, value: &Value, name: &str, path: &str, found: &mut BTreeSet<String>) {
        let place = |path: &str| if path.is_empty() { "." } else { path }.to_owned();
        // An empty list teaches nothing about its elements, and a null nothing about what else may be there.
        let teaches_nothing = self.kinds.iter().all(|kind| *kind == Kind::Null);
        if teaches_nothing {
            return;
        }
        let ours = kind(value);
        if !self.kinds.contains(&ours) {
            found.insert(format!("{}: {ours:?}, not {:?}", place(path), self.kinds));
            return;
        }
        match value {
            Value::String(text) => {
                let known = words(name);
                if known.is_some_and(|known| !known.contains(&text.as_str())) {
                    found.insert(format!("{}: unknown word {text}", place(path)));
                }
            }
            Value::Array(elements) => {
                let shape = self.elements.as_ref().filter(|shape| shape.seen > 0);
                for element in elements {
                    if let Some(shape) = shape {
                        shape.compare(element, &format!("{name}[]"), &format!("{path}[]"), found);
                    }
                }
            }
            Value::Object(fields) => self.compare_fields(fields, name, path, found),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn compare_fields(
        &self,
        fields: &serde_json::Map<String, Value>,
        name: &str,
        path: &str,
        found: &mut BTreeSet<String>,
    ) {
        if MAPS.iter().any(|map| is_called(name, map)) {
            return;
        }
        let here: BTreeSet<&str> = fields.keys().map(|name| key(name)).collect();
        for (field, (times, _)) in &self.fields {
            let always = *times == self.objects() && field != ID;
            if always && !here.contains(field.as_str()) {
                found.insert(format!("{path}.{field}: missing"));
            }
        }
        for (field, value) in fields {
            let field = key(field);
            match self.fields.get(field) {
                Some((_, shape)) => {
                    shape.compare(
                        value,
                        &format!("{name}.{field}"),
                        &format!("{path}.{field}"),
                        found,
                    );
                }
                None if self.fields.is_empty() => {}
                None => {
                    found.insert(format!("{path}.{field}: ours alone"));
                }
            }
        }
    }
}

#[test]
fn every_kind_of_difference_is_found() {
    let recorded = serde_json::json!({
        "state": "RUNNING", "n": 1, "ratio": 0.5, "list": [{ "a": 1 }, { "a": null, "b": "x" }],
        "tasks": { "00000000000000000000000000000001": { "x": true } }, "nothing": null,
    });
    let shape = Shape::of(std::slice::from_ref(&recorded));
    assert_eq!(shape.differences(&recorded, "job"), BTreeSet::new());
    let ours = serde_json::json!({
        "state": "SLEEPING", "n": 0.5, "list": [{ "b": 1 }, { "a": null, "c": 1 }], "nothing": {},
        "tasks": { "0000000000000000000000000000000f": { "x": 1 } }, "more": 1,
    });
    let found: Vec<String> = shape.differences(&ours, "job").into_iter().collect();
    let expected = [
        ".list[].a: missing",
        ".list[].b: Whole, not {Text}",
        ".list[].c: ours alone",
        ".more: ours alone",
        ".n: Float, not {Whole}",
        ".ratio: missing",
        ".state: unknown word SLEEPING",
        ".tasks.<id>.x: Whole, not {Bool}",
    ];
    assert_eq!(found, expected);
}

//! What requests may name: the parts of paths, and what stands behind the `?`.

use serde_json::{Value, json};

/// Something behind the `?`.
#[derive(Debug)]
pub(in crate::rest) struct Query {
    name: &'static str,
    kind: Kind,
    about: &'static str,
    example: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Number,
    Text,
}

impl Kind {
    fn schema(self) -> Value {
        match self {
            Kind::Number => json!({ "type": "integer", "minimum": 0 }),
            Kind::Text => json!({ "type": "string" }),
        }
    }
}

const fn text(name: &'static str, about: &'static str, example: &'static str) -> Query {
    let kind = Kind::Text;
    Query {
        name,
        kind,
        about,
        example,
    }
}

const fn number(name: &'static str, about: &'static str, example: &'static str) -> Query {
    let kind = Kind::Number;
    Query {
        name,
        kind,
        about,
        example,
    }
}

#[rustfmt::skip]
mod queries {
    use super::{Query, number, text};
    const JOB: &str = "7f33cc341a0ccd8f1312e04dd86817c3";
    pub(in crate::rest) const OFFSET: Query = number("offset", "How many are left out at the beginning", "0");
    pub(in crate::rest) const LINES: Query = number("lines", "How many of the last lines", "100");
    pub(in crate::rest) const LOG_AFTER: Query = text("after", "Only what was logged after the place that the header log-position of an earlier answer has", "1700000000000000-0");
    pub(in crate::rest) const LIMIT: Query = number("limit", "How many are shown", "50");
    pub(in crate::rest) const MAX_EXCEPTIONS: Query = number("maxExceptions", "How many are shown", "1");
    pub(in crate::rest) const GET: Query = text("get", "The metrics whose values are wanted, with commas; their names come without it", "numRestarts");
    pub(in crate::rest) const AGG: Query = text("agg", "Some of min, max, avg, sum, skew, with commas", "min,max");
    pub(in crate::rest) const CHOSEN_JOBS: Query = text("jobs", "Of which jobs, with commas", JOB);
    pub(in crate::rest) const CHOSEN_SUBTASKS: Query = text("subtasks", "Of which subtasks, with commas or as ranges", "0-3");
    pub(in crate::rest) const MODE: Query = text("mode", "How: `cancel`", "cancel");
    pub(in crate::rest) const AFTER: Query = text("after", "Begin after the event of this id", "3-17");
    pub(in crate::rest) const JOBS: Query = text("jobs", "Only what happens to these jobs, with commas", JOB);
}
pub(in crate::rest) use queries::*;

impl Query {
    pub(super) fn json(&self) -> Value {
        parameter("query", self)
    }
}

/// What the parts of paths may be called.
#[rustfmt::skip]
const NAMES: [Query; 12] = [
    text("job", "The job's id: 32 hex digits", "7f33cc341a0ccd8f1312e04dd86817c3"),
    text("vertex", "The vertex's id: 32 hex digits", "0123456789abcdef0123456789abcdef"),
    number("subtask", "The subtask's number, from 0", "0"),
    number("attempt", "The attempt's number, from 0", "0"),
    number("checkpoint", "The checkpoint's number", "1"),
    text("trigger", "The `request-id` that was answered: 32 hex digits", "0123456789abcdef0123456789abcdef"),
    text("taskmanager", "The TaskManager's name", "tm-1"),
    text("file", "The name of a file", "log"),
    text("jar", "The id of a jar", "jar"),
    text("dataset", "The id of a data set", "0123456789abcdef0123456789abcdef"),
    text("operator", "The id of an operator", "operator"),
    text("rescale", "The id of a change of parallelism", "rescale"),
];

/// The part of a path with this name.
pub(super) fn of_path(name: &str) -> Value {
    let named = NAMES.iter().find(|named| named.name == name);
    let named = named.expect("the names in the routes are those above");
    let mut parameter = parameter("path", named);
    parameter["required"] = true.into();
    parameter
}

fn parameter(place: &str, query: &Query) -> Value {
    let example = match query.kind {
        Kind::Number => serde_json::from_str(query.example).unwrap_or(Value::Null),
        Kind::Text => query.example.into(),
    };
    json!({
        "name": query.name,
        "in": place,
        "description": query.about,
        "schema": query.kind.schema(),
        "example": example,
    })
}

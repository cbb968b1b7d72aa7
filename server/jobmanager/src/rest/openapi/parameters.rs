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

/// What it looks like.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A whole number from 0 to this one.
    UpTo(u64),
    /// Text that this regular expression of JavaScript describes.
    Like(&'static str),
    /// Any text.
    Text,
}

/// The longest number of a subtask or an attempt.
const NARROW: Kind = Kind::UpTo(u32::MAX as u64);
/// The largest number of a checkpoint, or of lines.
const WIDE: Kind = Kind::UpTo(u64::MAX);
/// An id of 128 bits.
const ID: Kind = Kind::Like("^[0-9a-fA-F]{32}$");
/// Such ids.
const IDS: Kind = Kind::Like("^[0-9a-fA-F]{32}(,[0-9a-fA-F]{32})*$");
/// A place in what goes on: of which leader or process, and where there.
const PLACE: Kind = Kind::Like("^[0-9]{1,19}-[0-9]{1,19}$");
/// How values are put together.
const AGGREGATES: Kind = Kind::Like("^(min|max|avg|sum|skew)(,(min|max|avg|sum|skew))*$");
/// Numbers of subtasks, and ranges of them.
const SUBTASKS: Kind = Kind::Like("^[0-9]{1,9}(-[0-9]{1,9})?(,[0-9]{1,9}(-[0-9]{1,9})?)*$");

impl Kind {
    fn schema(self) -> Value {
        match self {
            Kind::UpTo(most) => json!({ "type": "integer", "minimum": 0, "maximum": most }),
            Kind::Like(pattern) => json!({ "type": "string", "pattern": pattern }),
            Kind::Text => json!({ "type": "string" }),
        }
    }
}

const fn query(
    name: &'static str,
    kind: Kind,
    about: &'static str,
    example: &'static str,
) -> Query {
    Query {
        name,
        kind,
        about,
        example,
    }
}

#[rustfmt::skip]
mod queries {
    use super::{AGGREGATES, IDS, Kind, PLACE, Query, SUBTASKS, WIDE, query};
    const JOB: &str = "7f33cc341a0ccd8f1312e04dd86817c3";
    pub(in crate::rest) const OFFSET: Query = query("offset", WIDE, "How many are left out at the beginning", "0");
    pub(in crate::rest) const LINES: Query = query("lines", WIDE, "How many of the last lines", "100");
    pub(in crate::rest) const LOG_AFTER: Query = query("after", PLACE, "Only what was logged after the place that the header log-position of an earlier answer has", "1700000000000000-0");
    pub(in crate::rest) const LIMIT: Query = query("limit", WIDE, "How many are shown", "50");
    pub(in crate::rest) const MAX_EXCEPTIONS: Query = query("maxExceptions", WIDE, "How many are shown", "1");
    pub(in crate::rest) const GET: Query = query("get", Kind::Text, "The metrics whose values are wanted, with commas; their names come without it", "numRestarts");
    pub(in crate::rest) const AGG: Query = query("agg", AGGREGATES, "Some of min, max, avg, sum, skew, with commas", "min,max");
    pub(in crate::rest) const CHOSEN_JOBS: Query = query("jobs", IDS, "Of which jobs, with commas", JOB);
    pub(in crate::rest) const CHOSEN_SUBTASKS: Query = query("subtasks", SUBTASKS, "Of which subtasks, with commas or as ranges", "0-3");
    pub(in crate::rest) const MODE: Query = query("mode", Kind::Like("^[cC][aA][nN][cC][eE][lL]$"), "How: `cancel`", "cancel");
    pub(in crate::rest) const AFTER: Query = query("after", PLACE, "Begin after the event of this id", "3-17");
    pub(in crate::rest) const JOBS: Query = query("jobs", IDS, "Only what happens to these jobs, with commas", JOB);
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
    query("job", ID, "The job's id: 32 hex digits", "7f33cc341a0ccd8f1312e04dd86817c3"),
    query("vertex", ID, "The vertex's id: 32 hex digits", "0123456789abcdef0123456789abcdef"),
    query("subtask", NARROW, "The subtask's number, from 0", "0"),
    query("attempt", NARROW, "The attempt's number, from 0", "0"),
    query("checkpoint", WIDE, "The checkpoint's number", "1"),
    query("trigger", ID, "The `request-id` that was answered: 32 hex digits", "0123456789abcdef0123456789abcdef"),
    query("taskmanager", Kind::Text, "The TaskManager's name", "tm-1"),
    query("file", Kind::Text, "The name of a file", "log"),
    query("jar", Kind::Text, "The id of a jar", "jar"),
    query("dataset", ID, "The id of a data set", "0123456789abcdef0123456789abcdef"),
    query("operator", Kind::Text, "The id of an operator", "operator"),
    query("rescale", Kind::Text, "The id of a change of parallelism", "rescale"),
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
        Kind::UpTo(_) => serde_json::from_str(query.example).unwrap_or(Value::Null),
        Kind::Like(_) | Kind::Text => query.example.into(),
    };
    json!({
        "name": query.name,
        "in": place,
        "description": query.about,
        "schema": query.kind.schema(),
        "example": example,
    })
}

//! What requests send: an example of each, and what else may be sent.

use jobmanager_core::graph::{MAX_EDGES, MAX_PARALLELISM, MAX_VERTICES, Partitioning};
use serde_json::{Value, json};

/// What a request sends.
#[derive(Debug, Clone, Copy)]
pub(in crate::rest) struct Body {
    /// In JSON.
    pub(in crate::rest) example: &'static str,
    pub(super) schema: fn() -> Value,
    /// Whether nothing will not do.
    pub(super) is_required: bool,
}

pub(in crate::rest) const GRAPH: Body = Body {
    example: r#"{"name": "numbers",
 "vertices": [
   {"id": "from", "operator": "datagen-source", "parallelism": 1, "config": {"count": 1000, "rate": 100}},
   {"id": "to", "operator": "blackhole-sink", "parallelism": 1}],
 "edges": [{"source": "from", "target": "to", "partitioning": "hash"}],
 "configuration": {"execution.checkpointing.interval": "500 ms"}}"#,
    schema: graph,
    is_required: true,
};

pub(in crate::rest) const BOUNDS: Body = Body {
    example: r#"{"0123456789abcdef0123456789abcdef": {"parallelism": {"lowerBound": 1, "upperBound": 4}}}"#,
    schema: bounds,
    is_required: true,
};

pub(in crate::rest) const CHECKPOINT: Body = Body {
    example: r#"{"checkpointType": "FULL"}"#,
    schema: checkpoint,
    is_required: false,
};

pub(in crate::rest) const SAVEPOINT: Body = Body {
    example: r#"{"target-directory": "/var/lib/savepoints", "cancel-job": false}"#,
    schema: savepoint,
    is_required: false,
};

pub(in crate::rest) const STOP: Body = Body {
    example: r#"{"targetDirectory": "/var/lib/savepoints", "drain": false}"#,
    schema: stop,
    is_required: false,
};

pub(in crate::rest) const DISPOSAL: Body = Body {
    example: r#"{"savepoint-path": "file:///var/lib/savepoints/savepoint-7f33cc-0123456789ab"}"#,
    schema: disposal,
    is_required: true,
};

/// One of these, or nothing.
fn one_of(names: &[&str]) -> Value {
    let names = names.iter().map(|name| Value::from(*name));
    json!({ "enum": names.chain([Value::Null]).collect::<Vec<_>>() })
}

fn optional(kind: &str) -> Value {
    json!({ "type": [kind, "null"] })
}

/// By which a client that asks twice is answered once.
fn trigger() -> Value {
    json!({ "type": ["string", "null"], "pattern": "^[0-9a-fA-F]{32}$" })
}

fn parallelism() -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": MAX_PARALLELISM })
}

fn graph() -> Value {
    let name = json!({ "type": "string", "minLength": 1, "maxLength": 1024 });
    let partitionings = Partitioning::NAMES.map(|(_, name)| name);
    let vertex = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["id", "operator"],
        "properties": {
            "id": name,
            "name": name,
            "operator": name,
            "parallelism": parallelism(),
            "maxParallelism": parallelism(),
            "slotSharingGroup": name,
            "config": { "type": "object" },
        },
    });
    let edge = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["source", "target"],
        "properties": {
            "source": name,
            "target": name,
            "partitioning": { "enum": partitionings },
        },
    });
    let option = json!({ "type": ["string", "number", "boolean"] });
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["name", "vertices"],
        "properties": {
            "jobId": { "type": "string", "pattern": "^[0-9a-fA-F]{32}$" },
            "name": name,
            "vertices": { "type": "array", "items": vertex, "minItems": 1, "maxItems": MAX_VERTICES },
            "edges": { "type": "array", "items": edge, "maxItems": MAX_EDGES },
            "configuration": { "type": "object", "additionalProperties": option },
        },
    })
}

fn bounds() -> Value {
    let range = json!({
        "type": "object",
        "required": ["lowerBound", "upperBound"],
        "properties": { "lowerBound": parallelism(), "upperBound": parallelism() },
    });
    json!({
        "type": "object",
        "propertyNames": { "pattern": "^[0-9a-fA-F]{32}$" },
        "additionalProperties": {
            "type": "object",
            "required": ["parallelism"],
            "properties": { "parallelism": range },
        },
    })
}

fn checkpoint() -> Value {
    json!({
        "type": "object",
        "properties": {
            "checkpointType": one_of(&["CONFIGURED", "FULL"]),
            "triggerId": trigger(),
        },
    })
}

fn savepoint() -> Value {
    json!({
        "type": "object",
        "properties": {
            "target-directory": optional("string"),
            "cancel-job": { "enum": [false, null] },
            "triggerId": trigger(),
            "formatType": one_of(&["CANONICAL", "NATIVE"]),
        },
    })
}

fn stop() -> Value {
    json!({
        "type": "object",
        "properties": {
            "targetDirectory": optional("string"),
            "drain": optional("boolean"),
            "triggerId": trigger(),
            "formatType": one_of(&["CANONICAL", "NATIVE"]),
        },
    })
}

fn disposal() -> Value {
    json!({
        "type": "object",
        "required": ["savepoint-path"],
        "properties": { "savepoint-path": { "type": "string" } },
    })
}

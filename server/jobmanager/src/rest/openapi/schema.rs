//! The schema of an example: what is in it has its type, and there may be more.

use serde_json::{Map, Value, json};

pub(super) fn schema_of(example: &Value) -> Value {
    match example {
        // Whatever it may be when it is there.
        Value::Null => json!({}),
        Value::Bool(_) => json!({ "type": "boolean" }),
        // Flink's word for what cannot be computed, as JSON has no number for that.
        Value::Number(number) if number.is_f64() => {
            json!({ "anyOf": [{ "type": "number" }, { "const": "NaN" }] })
        }
        Value::Number(_) => json!({ "type": "integer" }),
        Value::String(_) => json!({ "type": "string" }),
        Value::Array(items) => {
            let items = items.iter().map(schema_of).reduce(either);
            let items = items.unwrap_or_else(|| json!({}));
            json!({ "type": "array", "items": items })
        }
        Value::Object(fields) => {
            let property = |(name, value): (&String, &Value)| (name.clone(), property_of(value));
            let properties: Map<String, Value> = fields.iter().map(property).collect();
            json!({ "type": "object", "properties": properties })
        }
    }
}

/// What has one of two schemas: what is null in one example only may be null.
fn either(mut one: Value, mut other: Value) -> Value {
    let nothing = json!({});
    if one == other {
        return one;
    }
    if other == nothing {
        std::mem::swap(&mut one, &mut other);
    }
    if one == nothing && other["type"].is_string() {
        other["type"] = json!([other["type"], "null"]);
        return other;
    }
    let theirs = other.get_mut("properties").map(Value::take);
    let (Some(Value::Object(ours)), Some(Value::Object(theirs))) =
        (one.get_mut("properties"), theirs)
    else {
        return nothing;
    };
    for (name, theirs) in theirs {
        let both = match ours.remove(&name) {
            Some(ours) => either(ours, theirs),
            None => theirs,
        };
        ours.insert(name, both);
    }
    one
}

/// An object may be there or not.
fn property_of(example: &Value) -> Value {
    let mut schema = schema_of(example);
    if example.is_object() {
        schema["type"] = json!(["object", "null"]);
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_has_the_types_of_its_example() {
        let example = json!({"a": [{"b": 1, "i": null}, {"i": "y"}], "c": null, "d": 0.5, "e": [], "f": true, "g": "x", "h": {}});
        let integer = json!({"type": "integer"});
        let text = json!({"type": ["string", "null"]});
        let item = json!({"type": "object", "properties": {"b": integer, "i": text}});
        let wanted = json!({"type": "object", "properties": {
            "a": {"type": "array", "items": item},
            "c": {},
            "d": {"anyOf": [{"type": "number"}, {"const": "NaN"}]},
            "e": {"type": "array", "items": {}},
            "f": {"type": "boolean"},
            "g": {"type": "string"},
            "h": {"type": ["object", "null"], "properties": {}},
        }});
        assert_eq!(schema_of(&example), wanted);
    }
}

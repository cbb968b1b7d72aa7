//! The schema of an example: what is in it has its type, and there may be more.

use serde_json::{Map, Value, json};

pub(super) fn schema_of(example: &Value) -> Value {
    match example {
        // Whatever it may be when it is there.
        Value::Null => json!({}),
        Value::Bool(_) => json!({ "type": "boolean" }),
        Value::Number(number) if number.is_f64() => json!({ "type": "number" }),
        Value::Number(_) => json!({ "type": "integer" }),
        Value::String(_) => json!({ "type": "string" }),
        Value::Array(items) => {
            // Lists are of one kind; the first item shows it.
            let items = items.first().map_or_else(|| json!({}), schema_of);
            json!({ "type": "array", "items": items })
        }
        Value::Object(fields) => {
            let property = |(name, value): (&String, &Value)| (name.clone(), schema_of(value));
            let properties: Map<String, Value> = fields.iter().map(property).collect();
            json!({ "type": "object", "properties": properties })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_has_the_types_of_its_example() {
        let example =
            json!({"a": [{"b": 1}, {}], "c": null, "d": 0.5, "e": [], "f": true, "g": "x"});
        let integer = json!({"type": "integer"});
        let item = json!({"type": "object", "properties": {"b": integer}});
        let wanted = json!({"type": "object", "properties": {
            "a": {"type": "array", "items": item},
            "c": {},
            "d": {"type": "number"},
            "e": {"type": "array", "items": {}},
            "f": {"type": "boolean"},
            "g": {"type": "string"},
        }});
        assert_eq!(schema_of(&example), wanted);
    }
}

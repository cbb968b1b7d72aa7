//! Reads a vertex's `config`: every field is known and has the right type, or the task fails with the
//! field's name and what is expected of it.

use crate::sdk::{OperatorContext, OperatorError};
use jobmanager_core::config::parse_duration;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// The most records per second that can be asked for; beyond it a pacer's arithmetic is not exact.
const MAX_RATE: f64 = 1e9;

/// The fields of one vertex's `config`.
pub(super) struct Config<'a> {
    fields: Option<&'a Map<String, Value>>,
}

impl<'a> Config<'a> {
    /// Accepts a JSON object whose fields are all among `known`; null stands for an empty one.
    pub(super) fn read(cx: &'a OperatorContext, known: &[&str]) -> Result<Self, OperatorError> {
        if cx.config.is_null() {
            return Ok(Config { fields: None });
        }
        let Some(fields) = cx.config.as_object() else {
            return Err(OperatorError::about("config", "an object is expected"));
        };
        let Some(unknown) = fields.keys().find(|name| !known.contains(&name.as_str())) else {
            return Ok(Config {
                fields: Some(fields),
            });
        };
        let expected = match known {
            [] => "this operator has none".to_owned(),
            known => format!("expected among {}", known.join(", ")),
        };
        Err(wrong(unknown, format!("unknown field, {expected}")))
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, OperatorError> {
        let expected = "a text is expected";
        self.field(name)
            .map(|value| value.as_str().ok_or_else(|| wrong(name, expected)))
            .transpose()
    }

    /// A text that must be there.
    pub(super) fn required_text(&self, name: &str) -> Result<&'a str, OperatorError> {
        self.text(name)?
            .ok_or_else(|| wrong(name, "missing, a text is expected"))
    }

    /// A whole number within a range.
    pub(super) fn integer(
        &self,
        name: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, OperatorError> {
        let Some(value) = self.field(name) else {
            return Ok(None);
        };
        let number = value.as_u64().filter(|number| range.contains(number));
        let (least, most) = (range.start(), range.end());
        number.map(Some).ok_or_else(|| {
            let expected = format!("a whole number from {least} to {most} is expected");
            wrong(name, expected)
        })
    }

    /// A number of records per second, at least `least`.
    pub(super) fn rate(&self, name: &str, least: f64) -> Result<Option<f64>, OperatorError> {
        let Some(value) = self.field(name) else {
            return Ok(None);
        };
        let rate = value.as_f64();
        let rate = rate.filter(|rate| (least..=MAX_RATE).contains(rate));
        rate.map(Some).ok_or_else(|| {
            let expected = format!(
                "a number of records per second, at least {least} and at most {MAX_RATE}, is expected"
            );
            wrong(name, expected)
        })
    }

    /// A duration as Flink writes them (`5 s`), or a number of milliseconds. In milliseconds.
    pub(super) fn duration_ms(&self, name: &str) -> Result<Option<i64>, OperatorError> {
        let Some(value) = self.field(name) else {
            return Ok(None);
        };
        let ms = match value.as_str() {
            Some(text) => {
                let duration = parse_duration(text).map_err(|error| wrong(name, error))?;
                i64::try_from(duration.as_millis()).ok()
            }
            None => value.as_i64().filter(|ms| *ms >= 0),
        };
        let expected = "a duration such as \"5 s\", or milliseconds as a number, is expected";
        ms.map(Some).ok_or_else(|| wrong(name, expected))
    }

    fn field(&self, name: &str) -> Option<&'a Value> {
        self.fields?.get(name)
    }
}

/// The error about one field.
pub(super) fn wrong(field: &str, problem: impl std::fmt::Display) -> OperatorError {
    OperatorError::about(format_args!("config.{field}"), problem)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::harness::context;
    use super::*;
    use serde_json::json;

    const KNOWN: &[&str] = &["path", "count", "rate", "size"];

    #[test]
    fn absent_fields_are_none_and_a_null_config_is_empty() {
        for empty in [json!({}), json!(null)] {
            let cx = context(empty);
            let config = Config::read(&cx, KNOWN).unwrap();
            assert_eq!(config.text("path").unwrap(), None);
            assert_eq!(config.integer("count", 0..=9).unwrap(), None);
            assert_eq!(config.rate("rate", 1.0).unwrap(), None);
            assert_eq!(config.duration_ms("size").unwrap(), None);
        }
    }

    #[test]
    fn fields_of_the_right_type_are_read() {
        let cx = context(json!({ "path": "in", "count": 9, "rate": 1.5, "size": 250 }));
        let config = Config::read(&cx, KNOWN).unwrap();
        assert_eq!(config.required_text("path").unwrap(), "in");
        assert_eq!(config.integer("count", 0..=9).unwrap(), Some(9));
        assert_eq!(config.rate("rate", 1.0).unwrap(), Some(1.5));
        assert_eq!(config.duration_ms("size").unwrap(), Some(250));
    }

    #[test]
    fn a_duration_is_read_in_flinks_format() {
        let cx = context(json!({ "size": "5 s" }));
        let config = Config::read(&cx, KNOWN).unwrap();
        assert_eq!(config.duration_ms("size").unwrap(), Some(5_000));
    }

    #[test]
    fn a_wrong_field_is_named_with_what_is_expected() {
        let cx = context(json!({ "path": 1, "count": 10, "rate": 0, "size": -1 }));
        let config = Config::read(&cx, KNOWN).unwrap();
        let problem = |problem: Result<(), OperatorError>| problem.unwrap_err().to_string();
        assert_eq!(
            problem(config.text("path").map(drop)),
            "config.path: a text is expected"
        );
        assert_eq!(
            problem(config.integer("count", 0..=9).map(drop)),
            "config.count: a whole number from 0 to 9 is expected"
        );
        assert!(problem(config.rate("rate", 1.0).map(drop)).starts_with("config.rate: a number"));
        assert!(
            problem(config.duration_ms("size").map(drop)).starts_with("config.size: a duration")
        );
    }

    #[test]
    fn what_is_not_an_object_or_not_known_is_refused() {
        let cx = context(json!([]));
        let refused = Config::read(&cx, KNOWN).err().unwrap();
        assert_eq!(refused.to_string(), "config: an object is expected");
        let cx = context(json!({ "pth": "in" }));
        let refused = Config::read(&cx, &["path", "rate"]).err().unwrap();
        assert_eq!(
            refused.to_string(),
            "config.pth: unknown field, expected among path, rate"
        );
        let cx = context(json!({}));
        let missing = Config::read(&cx, KNOWN).unwrap().required_text("path");
        assert_eq!(
            missing.unwrap_err().to_string(),
            "config.path: missing, a text is expected"
        );
    }
}

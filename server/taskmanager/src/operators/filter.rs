//! `filter`: keeps the records whose value contains a text.

use super::config::Config;
use super::lines::find_byte;
use crate::sdk::{Operator, OperatorContext, OperatorError, Output, Record, State};
use jobmanager_core::id::CheckpointId;

/// Has no state.
pub(super) struct Filter {
    contains: Vec<u8>,
}

impl Filter {
    /// Reads `contains`.
    pub(super) fn new(cx: &OperatorContext) -> Result<Self, OperatorError> {
        let config = Config::read(cx, &["contains"])?;
        let contains = config.required_text("contains")?.as_bytes().to_vec();
        Ok(Filter { contains })
    }
}

impl Operator for Filter {
    fn process(
        &mut self,
        record: Record<'_>,
        output: &mut dyn Output,
    ) -> Result<(), OperatorError> {
        if contains(record.value, &self.contains) {
            output.record(record)?;
        }
        Ok(())
    }

    fn snapshot(&mut self, _: CheckpointId, _: &mut State) -> Result<(), OperatorError> {
        Ok(())
    }
}

/// Jumps from one occurrence of the first byte to the next. Values are lines, texts are short.
fn contains(mut value: &[u8], text: &[u8]) -> bool {
    let Some(first) = text.first() else {
        return true;
    };
    while let Some(at) = find_byte(value, *first) {
        if value[at..].starts_with(text) {
            return true;
        }
        value = &value[at + 1..];
    }
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::harness::{Collected, context, value};
    use super::*;
    use serde_json::json;

    #[test]
    fn only_records_that_contain_the_text_pass_and_they_pass_unchanged() {
        let mut filter = Filter::new(&context(json!({ "contains": "äb" }))).unwrap();
        let mut output = Collected::default();
        for text in ["äb", "xxäb", "ääb", "ä b", "", "aäbc", "Äb", "ä"] {
            filter.process(value(text), &mut output).unwrap();
        }
        assert_eq!(output.values(), ["äb", "xxäb", "ääb", "aäbc"]);
        let record = Record {
            key: Some(b"key"),
            value: "äb".as_bytes(),
            time: 9,
        };
        filter.process(record, &mut output).unwrap();
        let last = output.records.last().unwrap();
        assert_eq!((last.key.as_deref(), last.time), (Some(&b"key"[..]), 9));
    }

    #[test]
    fn an_empty_text_is_everywhere() {
        assert!(contains(b"", b""));
        assert!(contains(b"x", b""));
    }

    #[test]
    fn the_text_is_required() {
        let refused = Filter::new(&context(json!({}))).err().unwrap().to_string();
        assert_eq!(refused, "config.contains: missing, a text is expected");
    }
}

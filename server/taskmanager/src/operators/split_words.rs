//! `split-words`: the lower-cased words of each value, as records keyed by the word.
//!
//! A word is a run of alphanumeric characters in the sense of Unicode, as long as possible. Bytes that
//! are not UTF-8 separate words.

use super::config::Config;
use crate::sdk::{Operator, OperatorContext, OperatorError, Output, Record, State};
use jobmanager_core::id::CheckpointId;

/// Has no state but a buffer that is used again for every word.
pub(super) struct SplitWords {
    word: Vec<u8>,
}

impl SplitWords {
    /// There is nothing to configure.
    pub(super) fn new(cx: &OperatorContext) -> Result<Self, OperatorError> {
        Config::read(cx, &[])?;
        Ok(SplitWords { word: Vec::new() })
    }

    fn ascii(&mut self, record: Record<'_>, output: &mut dyn Output) -> Result<(), OperatorError> {
        let words = record.value.split(|byte| !byte.is_ascii_alphanumeric());
        for word in words.filter(|word| !word.is_empty()) {
            if word.iter().any(u8::is_ascii_uppercase) {
                self.word.clear();
                self.word.extend(word.iter().map(u8::to_ascii_lowercase));
                emit(&self.word, record.time, output)?;
            } else {
                emit(word, record.time, output)?;
            }
        }
        Ok(())
    }

    fn unicode(
        &mut self,
        record: Record<'_>,
        output: &mut dyn Output,
    ) -> Result<(), OperatorError> {
        for chunk in record.value.utf8_chunks() {
            let words = chunk.valid().split(|c: char| !c.is_alphanumeric());
            for word in words.filter(|word| !word.is_empty()) {
                self.word.clear();
                for lower in word.chars().flat_map(char::to_lowercase) {
                    let mut bytes = [0; 4];
                    let lower = lower.encode_utf8(&mut bytes);
                    self.word.extend_from_slice(lower.as_bytes());
                }
                emit(&self.word, record.time, output)?;
            }
        }
        Ok(())
    }
}

impl Operator for SplitWords {
    fn process(
        &mut self,
        record: Record<'_>,
        output: &mut dyn Output,
    ) -> Result<(), OperatorError> {
        if record.value.is_ascii() {
            self.ascii(record, output)
        } else {
            self.unicode(record, output)
        }
    }

    fn snapshot(&mut self, _: CheckpointId, _: &mut State) -> Result<(), OperatorError> {
        Ok(())
    }
}

fn emit(word: &[u8], time: i64, output: &mut dyn Output) -> Result<(), OperatorError> {
    output.record(Record {
        key: Some(word),
        value: word,
        time,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::harness::{Collected, context};
    use super::*;

    fn words(value: &[u8]) -> Vec<String> {
        let mut operator = SplitWords::new(&context(serde_json::json!({}))).unwrap();
        let mut output = Collected::default();
        let record = Record {
            key: Some(b"ignored"),
            value,
            time: 7,
        };
        operator.process(record, &mut output).unwrap();
        for record in &output.records {
            assert_eq!(record.key.as_ref(), Some(&record.value));
            assert_eq!(record.time, 7);
        }
        output.values()
    }

    #[test]
    fn words_are_runs_of_alphanumeric_characters_in_lower_case() {
        assert_eq!(
            words(b"To be, or not 2B -- that's the Question!"),
            [
                "to", "be", "or", "not", "2b", "that", "s", "the", "question"
            ]
        );
        assert!(words(b"").is_empty());
        assert!(words(b" ,.-\t").is_empty());
    }

    #[test]
    fn words_of_other_scripts_are_words() {
        assert_eq!(
            words("ÄRGER über Straße, ΟΔΟΣ и МИР 東京2020 ½".as_bytes()),
            [
                "ärger",
                "über",
                "straße",
                "οδοσ",
                "и",
                "мир",
                "東京2020",
                "½"
            ]
        );
    }

    #[test]
    fn both_paths_agree_on_ascii() {
        let line = "The quick-brown Fox, 2x ÷";
        let mut with = words(line.as_bytes());
        let without = words(line.trim_end_matches('÷').as_bytes());
        assert_eq!(with, without);
        with.dedup();
        assert_eq!(with, ["the", "quick", "brown", "fox", "2x"]);
    }

    #[test]
    fn bytes_that_are_not_utf8_separate_words() {
        assert_eq!(words(b"One\xffTWO \xc3(three"), ["one", "two", "three"]);
    }
}

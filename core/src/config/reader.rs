//! Reads options one by one out of what was given, and keeps every problem.

use super::table::known_options;
use super::value::{
    ValueError, parse_duration_from, parse_integer, parse_memory_within, parse_permille, parse_word,
};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::time::Duration;

/// An option that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionProblem {
    /// Its key.
    pub key: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// Options with a second layer under them; the table's defaults are the third.
pub(super) struct Reader<'a> {
    options: &'a BTreeMap<String, String>,
    defaults: &'a BTreeMap<String, String>,
    problems: Vec<OptionProblem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        options: &'a BTreeMap<String, String>,
        defaults: &'a BTreeMap<String, String>,
    ) -> Self {
        Reader {
            options,
            defaults,
            problems: Vec::new(),
        }
    }

    pub(super) fn problems(self) -> Vec<OptionProblem> {
        self.problems
    }

    pub(super) fn problem(&mut self, key: &str, problem: String) {
        let inherited = !self.options.contains_key(key) && self.defaults.contains_key(key);
        let origin = if inherited {
            " (it comes from the cluster's configuration)"
        } else {
            ""
        };
        self.problems.push(OptionProblem {
            key: key.to_string(),
            problem: format!("{problem}{origin}"),
        });
    }

    /// A duration that is at least `least`.
    pub(super) fn duration(&mut self, key: &str, least: Duration) -> Duration {
        self.read(key, |text| parse_duration_from(text, least))
    }

    pub(super) fn integer(&mut self, key: &str, range: RangeInclusive<u32>) -> u32 {
        self.read(key, |text| parse_integer(text, range.clone()))
    }

    /// A decimal number, in thousandths.
    pub(super) fn permille(&mut self, key: &str, range: RangeInclusive<u32>) -> u32 {
        self.read(key, |text| parse_permille(text, range.clone()))
    }

    /// A size within a range of bytes.
    pub(super) fn memory(&mut self, key: &str, range: RangeInclusive<u64>) -> u64 {
        self.read(key, |text| parse_memory_within(text, &range))
    }

    pub(super) fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> T {
        self.read(key, |text| parse_word(text, words))
    }

    pub(super) fn text(&mut self, key: &str) -> String {
        self.read(key, |text| Ok(text.trim().to_string()))
    }

    /// An option that has a default. A value that cannot be read counts as not given, so that the
    /// other options are still looked at.
    fn read<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, ValueError>) -> T {
        match self.read_optional(key, &parse) {
            Some(value) => value,
            None => parse(default_of(key)).expect("the defaults in the table can be read"),
        }
    }

    /// An option that may be absent.
    pub(super) fn read_optional<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, ValueError>,
    ) -> Option<T> {
        let text = self.options.get(key).or_else(|| self.defaults.get(key))?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(key, error.0);
                None
            }
        }
    }
}

fn default_of(key: &str) -> &'static str {
    let option = known_options().iter().find(|option| option.key == key);
    option
        .expect("every option that is read is in the table")
        .default
}

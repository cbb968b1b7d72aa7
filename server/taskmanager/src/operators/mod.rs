//! The built-in operators, registered by name in [`builtin`].
//!
//! | name | kind | `config` |
//! |---|---|---|
//! | `file-source` | source | `path`, `rate` |
//! | `datagen-source` | source | `count`, `keys`, `rate`, `seed` |
//! | `split-words` | operator | |
//! | `filter` | operator | `contains` |
//! | `count` | keyed operator | `emit`: `final` or `updates` |
//! | `tumbling-window-count` | keyed operator | `size`, `allowedLateness` |
//! | `fail-once` | operator | `afterRecords`, `subtask` |
//! | `throttle` | operator | `rate` |
//! | `file-sink` | sink | `path` |
//! | `print-sink`, `blackhole-sink` | sink | |
//!
//! They use nothing that a user's own operators could not. A field of `config` that is not in the
//! table, or has the wrong type, fails the task with the field's name. Rates are records per second
//! and subtask. A relative `path` starts at the TaskManager's working directory. What is not in the folders that jobs may
//! have files in is refused, see [`folders`](crate::folders).
//!
//! All of them go on with another parallelism, and nothing is lost or doubled by that.

mod config;
mod count;
mod datagen_source;
mod decimal;
mod fail_once;
mod file_sink;
mod file_source;
mod filter;
mod input_plan;
mod keyed;
mod lines;
mod pacer;
mod part_file;
mod print_sink;
mod split_words;
mod throttle;
mod window_count;

#[cfg(test)]
mod harness;

use crate::sdk::Registry;

/// A registry with every built-in operator.
#[must_use]
pub fn builtin() -> Registry {
    Registry::new()
        .source("file-source", file_source::FileSource::new)
        .source("datagen-source", datagen_source::DatagenSource::new)
        .operator("split-words", split_words::SplitWords::new)
        .operator("filter", filter::Filter::new)
        .operator("count", count::Count::new)
        .operator("tumbling-window-count", window_count::WindowCount::new)
        .operator("fail-once", fail_once::FailOnce::new)
        .operator("throttle", throttle::Throttle::new)
        .sink("file-sink", file_sink::FileSink::new)
        .sink("print-sink", print_sink::PrintSink::new)
        .sink("blackhole-sink", print_sink::BlackholeSink::new)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::sdk::Behaviour;

    #[test]
    fn the_table_names_every_registered_operator() {
        let names: Vec<_> = builtin().names().map(str::to_owned).collect();
        let mut expected = [
            "file-source",
            "datagen-source",
            "split-words",
            "filter",
            "count",
            "tumbling-window-count",
            "fail-once",
            "throttle",
            "file-sink",
            "print-sink",
            "blackhole-sink",
        ];
        expected.sort_unstable();
        assert_eq!(names, expected);
    }

    #[test]
    fn an_operator_is_made_by_its_name() {
        let cx = harness::context(serde_json::json!({ "contains": "x" }));
        let made = builtin().make("filter", &cx).unwrap();
        assert!(matches!(made, Behaviour::Operator(_)));
    }

    #[test]
    fn every_operator_refuses_a_field_it_does_not_know() {
        let registry = builtin();
        for name in registry.names() {
            let cx = harness::context(serde_json::json!({ "colour": 1 }));
            let refused = registry.make(name, &cx).err().unwrap().to_string();
            assert!(
                refused.starts_with("config.colour: unknown field"),
                "{name}: {refused}"
            );
        }
    }
}

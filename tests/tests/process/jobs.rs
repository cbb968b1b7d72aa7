//! The JobGraphs that the tests run.

use serde_json::{Value, json};
use std::path::Path;

/// Counts words, and beside that writes every word on its own, so that each checkpoint has
/// something to commit. `rate` is in lines per second and reader.
pub(crate) struct WordJob<'a> {
    pub(crate) input: &'a Path,
    pub(crate) counted: &'a Path,
    pub(crate) copied: &'a Path,
    pub(crate) parallelism: u32,
    pub(crate) rate: Option<u64>,
    /// An operator between the reader and the splitter, with its configuration.
    pub(crate) between: (&'a str, Value),
}

impl WordJob<'_> {
    /// A job without anything special.
    pub(crate) fn new<'a>(input: &'a Path, counted: &'a Path, copied: &'a Path) -> WordJob<'a> {
        WordJob {
            input,
            counted,
            copied,
            parallelism: 4,
            rate: None,
            between: ("filter", json!({"contains": ""})),
        }
    }

    pub(crate) fn json(&self) -> Value {
        let mut source = json!({"path": self.input});
        if let Some(rate) = self.rate {
            source["rate"] = json!(rate);
        }
        let p = self.parallelism;
        let (between, config) = &self.between;
        json!({
            "name": "words",
            "vertices": [
                {"id": "lines", "operator": "file-source", "parallelism": p, "config": source},
                {"id": "between", "operator": between, "parallelism": p, "config": config},
                {"id": "words", "operator": "split-words", "parallelism": p},
                {"id": "count", "operator": "count", "parallelism": p,
                 "config": {"emit": "final"}},
                {"id": "counted", "operator": "file-sink", "parallelism": 2,
                 "config": {"path": self.counted}},
                {"id": "copied", "operator": "file-sink", "parallelism": p,
                 "config": {"path": self.copied}}],
            "edges": [
                {"source": "lines", "target": "between", "partitioning": "forward"},
                {"source": "between", "target": "words", "partitioning": "rebalance"},
                {"source": "words", "target": "count", "partitioning": "hash"},
                {"source": "count", "target": "counted", "partitioning": "rebalance"},
                {"source": "words", "target": "copied", "partitioning": "forward"}],
            "configuration": recovering()})
    }
}

/// Frequent checkpoints, quick restarts, and as many as it takes.
pub(crate) fn recovering() -> Value {
    json!({
        "execution.checkpointing.interval": "150 ms",
        "execution.checkpointing.tolerable-failed-checkpoints": "1000",
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": "1000",
        "restart-strategy.fixed-delay.delay": "50 ms"})
}

/// A job that goes on until it is canceled.
pub(crate) fn endless(name: &str) -> Value {
    json!({
        "name": name,
        "vertices": [
            {"id": "numbers", "operator": "datagen-source", "parallelism": 2,
             "config": {"rate": 100}},
            {"id": "out", "operator": "blackhole-sink", "parallelism": 2}],
        "edges": [{"source": "numbers", "target": "out", "partitioning": "hash"}],
        "configuration": recovering()})
}

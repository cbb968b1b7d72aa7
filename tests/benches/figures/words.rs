//! How many words or records a cluster counts in a second, with a checkpoint each second and a sink that
//! commits exactly once.

use crate::Effort;
use crate::cluster::Cluster;
use crate::measure::{Table, time_until};
use crate::text::{below, committed, seeded};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

const PARALLELISM: u32 = 2;
/// How many different words or keys there are.
const DIFFERENT: u64 = 10_000;
/// How many files the text has.
const COPIES: u64 = 10;

/// `file-source` → `split-words` → `count` → `file-sink`.
pub(crate) fn of_text(table: &Table, effort: &Effort) {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("text");
    write_text(&input, effort.words);
    let sources = json!([
        {"id": "lines", "operator": "file-source", "parallelism": PARALLELISM,
         "config": {"path": input}},
        {"id": "words", "operator": "split-words", "parallelism": PARALLELISM}]);
    let edges = json!([
        {"source": "lines", "target": "words", "partitioning": "forward"},
        {"source": "words", "target": "count", "partitioning": "hash"}]);
    let rates = rates(effort, &sources, &edges);
    table.row(
        "words, file → split → hash → count → sink, millions/s",
        rates,
        2,
        "0.5",
    );
}

/// `datagen-source` → `count` → `file-sink`.
pub(crate) fn of_datagen(table: &Table, effort: &Effort) {
    let sources = json!([
        {"id": "numbers", "operator": "datagen-source", "parallelism": PARALLELISM,
         "config": {"count": effort.words, "keys": DIFFERENT}}]);
    let edges = json!([{"source": "numbers", "target": "count", "partitioning": "hash"}]);
    let rates = rates(effort, &sources, &edges);
    table.row(
        "records, datagen → hash → count → sink, millions/s",
        rates,
        2,
        "0.5",
    );
}

/// Runs the job to its end, again and again. A run lasts from sending the job until it is FINISHED, so
/// deployment and the final checkpoint are included. Millions per second.
fn rates(effort: &Effort, sources: &Value, edges: &Value) -> Vec<f64> {
    let cluster = Cluster::start(2, PARALLELISM.div_ceil(2), &[]);
    let mut rates = Vec::new();
    for run in 0..effort.long_runs {
        let output = cluster.path(&format!("out-{run}"));
        let job = counting(sources, edges, &output);
        let start = Instant::now();
        let id = cluster.rest.submit(&job);
        let time = time_until(start, "the end of the job", || {
            cluster.rest.state(&id) == "FINISHED"
        });
        assert_eq!(total(&output), effort.words, "the count is wrong");
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        rates.push(effort.words as f64 / 1e6 / time.as_secs_f64());
    }
    rates
}

fn counting(sources: &Value, edges: &Value, output: &Path) -> Value {
    let mut vertices = sources.as_array().unwrap().clone();
    vertices.push(
        json!({"id": "count", "operator": "count", "parallelism": PARALLELISM,
        "config": {"emit": "final"}}),
    );
    vertices.push(
        json!({"id": "out", "operator": "file-sink", "parallelism": PARALLELISM,
        "config": {"path": output}}),
    );
    let mut edges = edges.as_array().unwrap().clone();
    edges.push(json!({"source": "count", "target": "out", "partitioning": "forward"}));
    json!({
        "name": "counting",
        "vertices": vertices,
        "edges": edges,
        "configuration": {"execution.checkpointing.interval": "1 s"}})
}

/// The sum of all counts that were written.
fn total(output: &Path) -> u64 {
    let lines = committed(output);
    let count = |line: &String| line.split('\t').nth(1).unwrap().parse::<u64>().unwrap();
    lines.iter().map(count).sum()
}

/// A folder with the same file [`COPIES`] times: it is only once on the disk.
fn write_text(folder: &Path, words: u64) {
    std::fs::create_dir(folder).unwrap();
    let first = folder.join("0");
    write_file(&first, words / COPIES);
    for number in 1..COPIES {
        std::fs::hard_link(&first, folder.join(number.to_string())).unwrap();
    }
}

/// Ten words a line; low-numbered ones are frequent, as in a language.
fn write_file(path: &Path, words: u64) {
    let mut random = seeded(1);
    let vocabulary: Vec<String> = (0..DIFFERENT).map(|_| word(&mut random)).collect();
    let mut file = BufWriter::new(File::create(path).unwrap());
    for number in 1..=words {
        let bound = 1 + below(&mut random, DIFFERENT);
        let index = usize::try_from(below(&mut random, bound)).unwrap();
        file.write_all(vocabulary[index].as_bytes()).unwrap();
        let gap = if number % 10 == 0 { b"\n" } else { b" " };
        file.write_all(gap).unwrap();
    }
    file.flush().unwrap();
}

/// Two to nine letters.
fn word(random: &mut ChaCha8Rng) -> String {
    let letters = 2 + below(random, 8);
    let letter = |_| char::from(b'a' + u8::try_from(below(random, 26)).unwrap());
    (0..letters).map(letter).collect()
}

//! The word count that `local` runs unless it is given another job: over the project's own
//! documentation, paced so that there is something to watch, or over any input at full speed.

use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

/// The texts that are counted without `--input`: whatever explains this project to its users.
const DOCUMENTS: [(&str, &str); 12] = [
    ("README.md", include_str!("../../../../README.md")),
    ("LICENSE", include_str!("../../../../LICENSE")),
    (
        "session.proto",
        include_str!("../../../../proto/v1/session.proto"),
    ),
    (
        "exchange.proto",
        include_str!("../../../../proto/v1/exchange.proto"),
    ),
    (
        "record.proto",
        include_str!("../../../../proto/v1/record.proto"),
    ),
    ("core.rs", include_str!("../../../../core/src/lib.rs")),
    ("state.rs", include_str!("../../../../core/src/state.rs")),
    (
        "message.rs",
        include_str!("../../../../core/src/message.rs"),
    ),
    (
        "graph.rs",
        include_str!("../../../../core/src/graph/mod.rs"),
    ),
    ("id.rs", include_str!("../../../../core/src/id.rs")),
    (
        "view.rs",
        include_str!("../../../../core/src/jobmanager/view.rs"),
    ),
    ("sdk.rs", include_str!("../../../taskmanager/src/sdk.rs")),
];
/// How long the paced word count should read: time enough to kill a process or two.
const PACED_SECONDS: usize = 9;
/// How many words are shown.
const SHOWN: usize = 10;

/// Writes the documents into a folder, one file each.
///
/// # Errors
/// The folder cannot be written.
pub(super) fn write_documents(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (name, text) in DOCUMENTS {
        std::fs::write(folder.join(name), prose(name, text))?;
    }
    Ok(())
}

/// What is written for people: of sources, the comments.
fn prose(name: &str, text: &str) -> String {
    let is_source = name.ends_with(".rs") || name.ends_with(".proto");
    let lines = text.lines().filter_map(|line| match is_source {
        true => line.trim_start().strip_prefix("//"),
        false => Some(line),
    });
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// How many lines there are to count.
fn lines() -> usize {
    let lines = |(name, text)| prose(name, text).lines().count();
    DOCUMENTS.into_iter().map(lines).sum()
}

/// How many lines each of `readers` reads in a second so that the documents last.
pub(super) fn paced_rate(readers: u32) -> usize {
    (lines() / (readers as usize * PACED_SECONDS)).max(1)
}

/// The word count as a JobGraph.
pub(super) struct WordCount {
    pub(super) input: PathBuf,
    pub(super) output: PathBuf,
    pub(super) parallelism: u32,
    /// Lines per second and reader; `None` is as fast as it goes.
    pub(super) rate: Option<usize>,
}

impl WordCount {
    /// The JobGraph in JSON.
    pub(super) fn job(&self) -> Value {
        let mut source = json!({"path": self.input});
        if let Some(rate) = self.rate {
            source["rate"] = json!(rate);
        }
        let parallelism = self.parallelism;
        json!({
            "name": "word-count",
            "vertices": [
                {"id": "lines", "operator": "file-source", "parallelism": parallelism,
                 "config": source},
                {"id": "words", "operator": "split-words", "parallelism": parallelism},
                {"id": "count", "operator": "count", "parallelism": parallelism,
                 "config": {"emit": "final"}},
                {"id": "out", "operator": "file-sink", "parallelism": 1,
                 "config": {"path": self.output}}],
            "edges": [
                {"source": "lines", "target": "words", "partitioning": "forward"},
                {"source": "words", "target": "count", "partitioning": "hash"},
                {"source": "count", "target": "out", "partitioning": "rebalance"}],
            "configuration": {
                "execution.checkpointing.interval": "500 ms",
                // Enough for whoever kills TaskManagers by hand; what stays wrong is not tried for ever.
                "restart-strategy.type": "fixed-delay",
                "restart-strategy.fixed-delay.attempts": "10",
                "restart-strategy.fixed-delay.delay": "100 ms"}
        })
    }
}

/// What a word count has written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// The most frequent words, the most frequent one first; equals in the order of the alphabet.
    pub(super) top: Vec<(u64, String)>,
    /// How many different words there are.
    pub(super) different: u64,
    /// How many words there are.
    pub(super) words: u64,
}

impl Counts {
    /// Reads the committed output: lines `word<TAB>count` in every file that is not hidden.
    ///
    /// # Errors
    /// The folder or a file cannot be read, or a line is not of this form.
    pub(super) fn read(output: &Path) -> io::Result<Self> {
        let mut counts = Counts::default();
        for entry in std::fs::read_dir(output)? {
            let entry = entry?;
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if hidden || !entry.file_type()?.is_file() {
                continue;
            }
            for line in BufReader::new(std::fs::File::open(entry.path())?).lines() {
                counts.add(&line?)?;
            }
        }
        Ok(counts)
    }

    fn add(&mut self, line: &str) -> io::Result<()> {
        let parsed = line
            .rsplit_once('\t')
            .and_then(|(word, count)| Some((word, count.parse::<u64>().ok()?)));
        let Some((word, count)) = parsed else {
            return Err(io::Error::other(format!("`{line}` is not a counted word")));
        };
        self.different += 1;
        self.words += count;
        let place = self
            .top
            .partition_point(|(n, w)| *n > count || (*n == count && w.as_str() < word));
        if place < SHOWN {
            self.top.insert(place, (count, word.to_owned()));
            self.top.truncate(SHOWN);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_most_frequent_words_come_first_and_equals_in_order() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("part-1"), "b\t3\nz\t9\nc\t3\n").unwrap();
        std::fs::write(folder.path().join("part-2"), "a\t3\nrare\t1\n").unwrap();
        std::fs::write(folder.path().join(".part-3"), "not committed").unwrap();
        let counts = Counts::read(folder.path()).unwrap();
        let top: Vec<_> = counts.top.iter().map(|(_, word)| word.as_str()).collect();
        assert_eq!(top, ["z", "a", "b", "c", "rare"]);
        assert_eq!((counts.different, counts.words), (5, 19));
    }

    #[test]
    fn only_the_most_frequent_words_are_kept() {
        let mut counts = Counts::default();
        for n in 0..100 {
            counts.add(&format!("w{n:02}\t{n}")).unwrap();
        }
        assert_eq!(counts.top.len(), SHOWN);
        assert_eq!(counts.top[0], (99, "w99".to_owned()));
        assert_eq!(counts.top[9], (90, "w90".to_owned()));
        assert!(counts.add("no tab").is_err());
    }

    #[test]
    fn of_sources_only_the_comments_are_counted() {
        let source = "//! What it is.\nuse a;\n    /// Why.\n    b(); // not this\n";
        assert_eq!(prose("a.rs", source), "! What it is.\n/ Why.\n");
        assert_eq!(prose("a.md", "text\n"), "text\n");
    }

    #[test]
    fn the_documents_last_about_ten_seconds() {
        for readers in [1, 2, 4] {
            let seconds = lines() / (paced_rate(readers) * readers as usize);
            assert!(
                (9..=11).contains(&seconds),
                "{readers} readers: {seconds} s"
            );
        }
    }
}

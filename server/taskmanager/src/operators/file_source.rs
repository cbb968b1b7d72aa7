//! `file-source`: the lines of a file, or of all files below a folder, as records.
//!
//! The input is split among the subtasks by byte range (see [`super::input_plan`]). The state is what
//! is left to read, with the sizes that the files had at the start, so that a restored source follows
//! the same plan. With another parallelism the spans that are left are shared out anew; none is cut. The files must not change meanwhile: one that vanished or shrank is an error, and
//! what is appended is not read.

use super::config::Config;
use super::input_plan::{self, Span};
use super::lines::LineReader;
use super::pacer::{Pacer, SystemClock};
use crate::folders::Folders;
use crate::sdk::{
    DistributionMode, OperatorContext, OperatorError, Output, Record, Source, SourceStatus, State,
};
use jobmanager_core::id::CheckpointId;
use std::collections::VecDeque;
use std::path::Path;

/// The list of what is left to read.
const SPANS: &str = "spans";
/// The longest line. A record travels in one frame and is held in memory several times.
const LONGEST_LINE: usize = 64 * 1024 * 1024;
/// The most records of one poll: barriers wait for its end.
const BATCH_RECORDS: u32 = 256;
/// A poll with long lines ends after this many bytes.
const BATCH_BYTES: usize = 1024 * 1024;
/// The lowest rate, one record in about three hours.
const LEAST_RATE: f64 = 0.0001;

/// One subtask's part of the input.
pub(super) struct FileSource {
    /// What is left to read. The first one is being read if there is a reader.
    spans: VecDeque<Span>,
    reader: Option<LineReader>,
    pacer: Option<Pacer>,
    /// Where they may be.
    folders: Folders,
}

impl FileSource {
    /// Makes the plan, or goes on with what is left of it.
    pub(super) fn new(cx: &OperatorContext) -> Result<Self, OperatorError> {
        let config = Config::read(cx, &["path", "rate"])?;
        let path = config.required_text("path")?;
        let rate = config.rate("rate", LEAST_RATE)?;
        let spans = match &cx.state {
            None => input_plan::plan(&cx.path(path)?, cx.subtask, cx.parallelism)?,
            Some(state) => {
                let spans = state.list(SPANS).iter().map(|bytes| Span::read(bytes));
                spans.collect::<Result<_, OperatorError>>()?
            }
        };
        Ok(FileSource {
            spans,
            reader: None,
            pacer: rate.map(|rate| Pacer::new(rate, SystemClock::new())),
            folders: cx.folders.clone(),
        })
    }

    /// Emits up to `most` lines of the first span; ends the span if it has no more.
    fn emit(&mut self, most: u32, output: &mut dyn Output) -> Result<(), OperatorError> {
        let Some(span) = self.spans.front_mut() else {
            return Ok(());
        };
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => {
                // It may be a link, or come from a savepoint.
                let admitted = self.folders.admit(Path::new(&span.path));
                admitted.map_err(|problem| OperatorError::about(&span.path, problem))?;
                none.insert(LineReader::open(span.clone(), LONGEST_LINE)?)
            }
        };
        let mut bytes = 0;
        for _ in 0..most {
            let Some(line) = reader.next_line()? else {
                self.reader = None;
                self.spans.pop_front();
                return Ok(());
            };
            bytes += line.len();
            output.record(Record {
                key: None,
                value: line,
                time: 0,
            })?;
            span.from = reader.position();
            if bytes > BATCH_BYTES {
                break;
            }
        }
        Ok(())
    }
}

impl Source for FileSource {
    fn poll(&mut self, output: &mut dyn Output) -> Result<SourceStatus, OperatorError> {
        if self.spans.is_empty() {
            return Ok(SourceStatus::Ended);
        }
        let granted = self.pacer.as_mut().map(|pacer| pacer.take(BATCH_RECORDS));
        match granted.unwrap_or(Ok(BATCH_RECORDS)) {
            Ok(most) => self.emit(most, output)?,
            Err(wait) => return Ok(SourceStatus::Idle(wait)),
        }
        Ok(SourceStatus::Ready)
    }

    fn snapshot(&mut self, _: CheckpointId, state: &mut State) -> Result<(), OperatorError> {
        let spans = self.spans.iter().map(Span::to_bytes);
        state.append(SPANS, DistributionMode::Split, spans)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::harness::{
        Collected, RESCALED, rescaled, restored, subtask, subtasks, written,
    };
    use super::super::pacer::tests::ManualClock;
    use super::*;
    use serde_json::json;
    use std::fs;
    use std::time::Duration;

    /// Contents of files that have been trouble somewhere.
    fn odd_files() -> Vec<Vec<u8>> {
        vec![
            b"".to_vec(),
            b"\n".to_vec(),
            b"\n\n\n".to_vec(),
            b"no end".to_vec(),
            b"one\r\ntwo\r\n\r\nthree\r".to_vec(),
            "äöü\n€€€€\n😀😀\nß".as_bytes().to_vec(),
            b"\xff\xfe\n\x80bad\n".to_vec(),
            [b"long ".repeat(200), b"\nshort\n".to_vec()].concat(),
            (0..40_u32)
                .flat_map(|n| format!("{n}\n").into_bytes())
                .collect(),
        ]
    }

    fn folder_of(files: &[Vec<u8>]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (number, bytes) in files.iter().enumerate() {
            fs::write(folder.path().join(format!("{number:03}")), bytes).unwrap();
        }
        folder
    }

    /// The lines as a naive reader sees them.
    fn naive(files: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        for file in files {
            for line in file.split_inclusive(|byte| *byte == b'\n') {
                let line = match line {
                    [line @ .., b'\r', b'\n'] | [line @ .., b'\n'] => line,
                    line => line,
                };
                lines.push(line.to_vec());
            }
        }
        lines
    }

    fn context_of(path: &Path, index: u32, parallelism: u32) -> OperatorContext {
        subtask(
            json!({ "path": path.to_str().unwrap() }),
            index,
            parallelism,
        )
    }

    fn run(source: &mut FileSource) -> Vec<Vec<u8>> {
        let mut output = Collected::default();
        while source.poll(&mut output).unwrap() != SourceStatus::Ended {}
        output
            .records
            .into_iter()
            .map(|record| record.value)
            .collect()
    }

    fn run_all(path: &Path, parallelism: u32) -> Vec<Vec<u8>> {
        let part =
            |index| run(&mut FileSource::new(&context_of(path, index, parallelism)).unwrap());
        (0..parallelism).flat_map(part).collect()
    }

    #[test]
    fn subtasks_together_read_every_line_once_and_in_order() {
        let files = odd_files();
        let folder = folder_of(&files);
        let expected = naive(&files);
        for parallelism in (1..70).chain([1_000, 5_000]) {
            assert_eq!(
                run_all(folder.path(), parallelism),
                expected,
                "{parallelism}"
            );
        }
    }

    #[test]
    fn each_odd_file_alone_is_split_at_every_byte() {
        for bytes in odd_files() {
            let folder = folder_of(std::slice::from_ref(&bytes));
            let file = folder.path().join("000");
            let expected = naive(std::slice::from_ref(&bytes));
            for parallelism in [1, 2, 3, u32::try_from(bytes.len() + 1).unwrap()] {
                assert_eq!(run_all(&file, parallelism), expected, "{parallelism}");
            }
        }
    }

    #[test]
    fn a_source_restored_at_any_position_reads_the_rest() {
        let folder = folder_of(&odd_files());
        for parallelism in [1, 2, 5, 40] {
            for index in 0..parallelism {
                restore_everywhere(&context_of(folder.path(), index, parallelism));
            }
        }
    }

    fn restore_everywhere(cx: &OperatorContext) {
        let expected = run(&mut FileSource::new(cx).unwrap());
        for position in 0..=expected.len() {
            let mut source = FileSource::new(cx).unwrap();
            let mut output = Collected::default();
            while output.records.len() < position {
                source.emit(1, &mut output).unwrap();
            }
            let state = snapshot(cx, &mut source);
            let mut again = FileSource::new(&restored(cx, Some(&state))).unwrap();
            assert_eq!(run(&mut again), expected[position..], "{position}");
        }
    }

    fn snapshot(cx: &OperatorContext, source: &mut FileSource) -> State {
        written(cx, |state| source.snapshot(CheckpointId(1), state))
    }

    #[test]
    fn with_another_parallelism_every_line_is_read_once() {
        let files = odd_files();
        let folder = folder_of(&files);
        let mut expected = naive(&files);
        expected.sort_unstable();
        let config = json!({ "path": folder.path().to_str().unwrap() });
        // How many lines each subtask reads before; in the end all of them.
        for before in [0, 1, 5, 1_000] {
            for (old, new) in RESCALED {
                let (mut states, mut lines) = (Vec::new(), Vec::new());
                for cx in subtasks(&config, old) {
                    let mut source = FileSource::new(&cx).unwrap();
                    let mut output = Collected::default();
                    while output.records.len() < before && !source.spans.is_empty() {
                        source.emit(1, &mut output).unwrap();
                    }
                    lines.extend(output.records.into_iter().map(|record| record.value));
                    states.push(snapshot(&cx, &mut source));
                }
                for cx in rescaled(&config, &states, new) {
                    lines.extend(run(&mut FileSource::new(&cx).unwrap()));
                }
                lines.sort_unstable();
                assert_eq!(lines, expected, "{old} to {new} after {before}");
            }
        }
    }

    #[test]
    fn a_source_restored_before_its_first_poll_reads_its_part() {
        let files = odd_files();
        let folder = folder_of(&files);
        let read = |index| {
            let cx = context_of(folder.path(), index, 7);
            let state = snapshot(&cx, &mut FileSource::new(&cx).unwrap());
            run(&mut FileSource::new(&restored(&cx, Some(&state))).unwrap())
        };
        assert_eq!((0..7).flat_map(read).collect::<Vec<_>>(), naive(&files));
    }

    #[test]
    fn a_restored_source_keeps_to_the_files_it_started_with() {
        let folder = folder_of(&[b"one\ntwo\n".to_vec(), b"three\n".to_vec()]);
        let cx = context_of(folder.path(), 0, 1);
        let state = snapshot(&cx, &mut FileSource::new(&cx).unwrap());
        fs::write(folder.path().join("new"), "not planned\n").unwrap();
        let mut again = FileSource::new(&restored(&cx, Some(&state))).unwrap();
        assert_eq!(run(&mut again).len(), 3);

        fs::remove_file(folder.path().join("001")).unwrap();
        let mut again = FileSource::new(&restored(&cx, Some(&state))).unwrap();
        let mut output = Collected::default();
        let error = loop {
            match again.poll(&mut output) {
                Ok(status) => assert_ne!(status, SourceStatus::Ended),
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains("001: No such file"), "{error}");
    }

    #[test]
    fn a_poll_ends_early_enough_for_barriers() {
        let many = b"x\n".repeat(10_000);
        let folder = folder_of(&[many]);
        let mut source = FileSource::new(&context_of(folder.path(), 0, 1)).unwrap();
        let mut output = Collected::default();
        source.poll(&mut output).unwrap();
        assert_eq!(output.records.len(), 256);

        let long = [b"y".repeat(300_000), b"\n".to_vec()].concat().repeat(20);
        let folder = folder_of(&[long]);
        let mut source = FileSource::new(&context_of(folder.path(), 0, 1)).unwrap();
        let mut output = Collected::default();
        source.poll(&mut output).unwrap();
        assert_eq!(output.records.len(), 4);
    }

    #[test]
    fn a_rate_makes_the_source_idle_between_records() {
        let folder = folder_of(&[b"a\nb\nc\n".to_vec()]);
        let mut source = FileSource::new(&context_of(folder.path(), 0, 1)).unwrap();
        let clock = ManualClock::default();
        source.pacer = Some(Pacer::new(2.0, clock.clone()));
        let mut output = Collected::default();
        let mut idle = Duration::ZERO;
        loop {
            match source.poll(&mut output).unwrap() {
                SourceStatus::Idle(wait) => {
                    clock.advance(wait);
                    idle += wait;
                }
                SourceStatus::Ready => {}
                SourceStatus::Ended => break,
            }
        }
        assert_eq!(output.values(), ["a", "b", "c"]);
        assert!(idle >= Duration::from_millis(1_500), "{idle:?}");
    }

    #[test]
    fn a_missing_path_or_field_is_named() {
        let error = FileSource::new(&context_of(Path::new("/not/there"), 0, 1));
        let error = error.err().unwrap().to_string();
        assert!(error.starts_with("/not/there: No such file"), "{error}");
        let error = FileSource::new(&subtask(json!({}), 0, 1)).err().unwrap();
        assert!(error.to_string().starts_with("config.path: missing"));
    }
}

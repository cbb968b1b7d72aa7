//! `print-sink` and `blackhole-sink`: for looking at records, and for not looking at them.
//!
//! Neither has transactions: what is printed before a failure is printed again after it.

use super::config::Config;
use crate::sdk::{OperatorContext, OperatorError, Record, Sink, State};
use jobmanager_core::id::CheckpointId;
use std::io::{self, Write};

/// Prints each value on standard output, with the subtask in front.
pub(super) struct PrintSink {
    prefix: String,
    to: Box<dyn Write + Send>,
    line: Vec<u8>,
}

impl PrintSink {
    /// There is nothing to configure.
    pub(super) fn new(cx: &OperatorContext) -> Result<Self, OperatorError> {
        Self::printing_to(cx, io::stdout())
    }

    fn printing_to(
        cx: &OperatorContext,
        to: impl Write + Send + 'static,
    ) -> Result<Self, OperatorError> {
        Config::read(cx, &[])?;
        Ok(PrintSink {
            prefix: format!("{}> ", cx.subtask),
            to: Box::new(to),
            line: Vec::new(),
        })
    }
}

impl Sink for PrintSink {
    /// Writes the line in one piece, so that subtasks do not cut each other's lines.
    fn process(&mut self, record: Record<'_>) -> Result<(), OperatorError> {
        self.line.clear();
        self.line.extend_from_slice(self.prefix.as_bytes());
        self.line.extend_from_slice(record.value);
        self.line.push(b'\n');
        let printed = self.to.write_all(&self.line);
        printed.map_err(|error| OperatorError::about("standard output", error))
    }

    fn snapshot(&mut self, _: CheckpointId, _: &mut State) -> Result<(), OperatorError> {
        Ok(())
    }

    fn commit(&mut self, _: CheckpointId) -> Result<(), OperatorError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), OperatorError> {
        Ok(())
    }
}

/// Takes records and forgets them.
pub(super) struct BlackholeSink;

impl BlackholeSink {
    /// There is nothing to configure.
    pub(super) fn new(cx: &OperatorContext) -> Result<Self, OperatorError> {
        Config::read(cx, &[])?;
        Ok(BlackholeSink)
    }
}

impl Sink for BlackholeSink {
    fn process(&mut self, _: Record<'_>) -> Result<(), OperatorError> {
        Ok(())
    }

    fn snapshot(&mut self, _: CheckpointId, _: &mut State) -> Result<(), OperatorError> {
        Ok(())
    }

    fn commit(&mut self, _: CheckpointId) -> Result<(), OperatorError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), OperatorError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::harness::{subtask, value};
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    struct Piece(Sender<Vec<u8>>);

    impl Write for Piece {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let sent = self.0.send(bytes.to_vec());
            sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_record_is_printed_in_one_piece_behind_its_subtask() {
        let (send, pieces) = channel();
        let cx = subtask(serde_json::json!({}), 2, 4);
        let mut sink = PrintSink::printing_to(&cx, Piece(send)).unwrap();
        sink.process(value("hello")).unwrap();
        sink.process(value("")).unwrap();
        drop(sink);
        let printed: Vec<_> = pieces.iter().collect();
        assert_eq!(printed, [b"2> hello\n".to_vec(), b"2> \n".to_vec()]);
    }

    #[test]
    fn an_output_that_is_closed_fails_the_task() {
        let (send, pieces) = channel();
        drop(pieces);
        let cx = subtask(serde_json::json!({}), 0, 1);
        let mut sink = PrintSink::printing_to(&cx, Piece(send)).unwrap();
        let error = sink.process(value("hello")).unwrap_err().to_string();
        assert!(error.starts_with("standard output: "), "{error}");
    }
}

//! Reads the lines of a part of a file, in large pieces and without an allocation per line.

use super::input_plan::Span;
use crate::sdk::OperatorError;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// How much is read at once. Bytes.
const PIECE: usize = 128 * 1024;

/// The lines of one [`Span`].
pub(super) struct LineReader {
    span: Span,
    file: File,
    /// The longest line that is accepted. Bytes.
    longest: usize,
    buffer: Vec<u8>,
    /// What is read and not yet returned: `buffer[start..end]`.
    start: usize,
    end: usize,
    /// Where `buffer[start]` is in the file.
    offset: u64,
}

impl LineReader {
    /// Opens the file and goes to the first line that begins at or after `span.from`.
    pub(super) fn open(span: Span, longest: usize) -> Result<Self, OperatorError> {
        let about = |error| OperatorError::about(&span.path, error);
        let mut file = File::open(&span.path).map_err(about)?;
        let size = file.metadata().map_err(about)?.len();
        if size < span.size {
            return Err(shrank(&span, size));
        }
        // A line begins at `from` if a newline stands before it.
        let offset = span.from.saturating_sub(1);
        file.seek(SeekFrom::Start(offset)).map_err(about)?;
        let mut reader = LineReader {
            buffer: vec![0; PIECE],
            span,
            file,
            longest,
            start: 0,
            end: 0,
            offset,
        };
        if reader.span.from > 0 {
            reader.skip_line()?;
        }
        Ok(reader)
    }

    /// Where the next line begins; the end of the file after the last one.
    pub(super) fn position(&self) -> u64 {
        self.offset
    }

    /// The next line without its end (`\n` or `\r\n`); the last line of a file needs none.
    pub(super) fn next_line(&mut self) -> Result<Option<&[u8]>, OperatorError> {
        if self.offset >= self.span.to {
            return Ok(None);
        }
        let mut searched = 0;
        let (length, consumed) = loop {
            let unread = &self.buffer[self.start..self.end];
            if let Some(at) = find_byte(&unread[searched..], b'\n') {
                break (searched + at, searched + at + 1);
            }
            searched = unread.len();
            if searched > self.longest {
                break (searched, searched);
            }
            if !self.read_more()? {
                break (searched, searched);
            }
        };
        if length > self.longest {
            return Err(self.too_long());
        }
        let line = self.start..self.start + length;
        self.consume(consumed);
        let line = &self.buffer[line];
        // A carriage return belongs to the line's end only in front of a newline.
        let line_end = if consumed > length {
            line.strip_suffix(b"\r")
        } else {
            None
        };
        Ok(Some(line_end.unwrap_or(line)))
    }

    /// Passes the line that began before this part, however long it is; its reader judges that.
    fn skip_line(&mut self) -> Result<(), OperatorError> {
        while self.offset < self.span.to {
            let unread = &self.buffer[self.start..self.end];
            if let Some(at) = find_byte(unread, b'\n') {
                self.consume(at + 1);
                return Ok(());
            }
            self.consume(unread.len());
            if !self.read_more()? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Reads on, up to the size that the file had at the start. False at the end.
    fn read_more(&mut self) -> Result<bool, OperatorError> {
        let unread = self.end - self.start;
        let read_up_to = self.offset + unread as u64;
        if read_up_to >= self.span.size {
            return Ok(false);
        }
        self.make_room(unread);
        let left = usize::try_from(self.span.size - read_up_to).unwrap_or(usize::MAX);
        let room = (self.buffer.len() - self.end).min(left);
        let read = loop {
            match self.file.read(&mut self.buffer[self.end..self.end + room]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => {
                    break read.map_err(|error| OperatorError::about(&self.span.path, error))?;
                }
            }
        };
        if read == 0 {
            return Err(shrank(&self.span, read_up_to));
        }
        self.end += read;
        Ok(true)
    }

    /// Moves what is not yet returned to the front, into a larger buffer if it fills this one.
    fn make_room(&mut self, unread: usize) {
        if self.end < self.buffer.len() {
            return;
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.start = 0;
        self.end = unread;
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
    }

    fn too_long(&self) -> OperatorError {
        let LineReader {
            offset, longest, ..
        } = self;
        let problem = format_args!("the line at byte {offset} is longer than {longest} bytes");
        OperatorError::about(&self.span.path, problem)
    }
}

fn shrank(span: &Span, size: u64) -> OperatorError {
    let before = span.size;
    let problem = format_args!("the file had {before} bytes when the job started, now {size}");
    OperatorError::about(&span.path, problem)
}

/// The first position of a byte. Looks at blocks that the compiler turns into vector instructions.
pub(super) fn find_byte(bytes: &[u8], wanted: u8) -> Option<usize> {
    const BLOCK: usize = 32;
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let has = |block: &[u8; BLOCK]| block.iter().fold(false, |has, b| has | (*b == wanted));
    let exact = |bytes: &[u8]| bytes.iter().position(|b| *b == wanted);
    match blocks.iter().position(has) {
        Some(block) => exact(&blocks[block]).map(|at| block * BLOCK + at),
        None => exact(rest).map(|at| bytes.len() - rest.len() + at),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::io::Write;

    fn file(bytes: &[u8]) -> (tempfile::NamedTempFile, Span) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let size = bytes.len() as u64;
        let span = Span {
            path,
            size,
            from: 0,
            to: size,
        };
        (file, span)
    }

    fn lines(span: Span) -> Vec<Vec<u8>> {
        let mut reader = LineReader::open(span, 1 << 30).unwrap();
        let mut lines = Vec::new();
        while let Some(line) = reader.next_line().unwrap() {
            lines.push(line.to_vec());
        }
        lines
    }

    #[test]
    fn a_byte_is_found_where_it_first_stands() {
        for length in 0..100 {
            for at in 0..length {
                let mut bytes = vec![b'x'; length];
                bytes[at..].fill(b'\n');
                assert_eq!(find_byte(&bytes, b'\n'), Some(at));
            }
            assert_eq!(find_byte(&vec![b'x'; length], b'\n'), None);
        }
    }

    #[test]
    fn line_ends_are_taken_off_and_nothing_else() {
        let (_file, span) = file(b"a\r\n\n\r\n\r\r\nb\rc\n\xff\xfe\nlast\r");
        let expected: [&[u8]; 7] = [b"a", b"", b"", b"\r", b"b\rc", b"\xff\xfe", b"last\r"];
        assert_eq!(lines(span), expected);
    }

    #[test]
    fn a_line_may_be_longer_than_the_buffer() {
        for length in [PIECE - 1, PIECE, PIECE + 1, 5 * PIECE] {
            let long = "y".repeat(length);
            let (_file, span) = file(format!("a\n{long}\nb\n{long}").as_bytes());
            let lines = lines(span);
            let lengths: Vec<_> = lines.iter().map(Vec::len).collect();
            assert_eq!(lengths, [1, length, 1, length]);
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_an_error_with_file_and_offset() {
        for text in ["ok\n12345678901\n", "ok\n12345678901"] {
            let (_file, span) = file(text.as_bytes());
            let path = span.path.clone();
            let mut reader = LineReader::open(span, 10).unwrap();
            assert_eq!(reader.next_line().unwrap(), Some(&b"ok"[..]));
            let error = reader.next_line().unwrap_err().to_string();
            assert_eq!(
                error,
                format!("{path}: the line at byte 3 is longer than 10 bytes")
            );
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_not_read_to_its_end() {
        let (_file, span) = file("x".repeat(8 * PIECE).as_bytes());
        let mut reader = LineReader::open(span, 10).unwrap();
        assert!(reader.next_line().is_err());
        assert_eq!(reader.end, PIECE);
    }

    #[test]
    fn a_part_inside_a_long_line_has_no_lines_and_does_not_read_on() {
        let (_file, mut span) = file(format!("{}\nend\n", "z".repeat(4 * PIECE)).as_bytes());
        (span.from, span.to) = (10, 20);
        let reader = LineReader::open(span.clone(), 100).unwrap();
        assert!(reader.position() >= span.to);
        assert!(reader.position() <= PIECE as u64 + 10);
        assert!(lines(span).is_empty());
    }

    #[test]
    fn a_file_that_shrank_is_an_error_and_one_that_grew_is_read_as_it_was() {
        let (mut file, span) = file(b"one\ntwo");
        file.write_all(b"more\nlines\n").unwrap();
        assert_eq!(lines(span.clone()), [b"one", b"two"]);
        file.as_file().set_len(6).unwrap();
        let error = LineReader::open(span.clone(), 100)
            .err()
            .unwrap()
            .to_string();
        let path = &span.path;
        assert_eq!(
            error,
            format!("{path}: the file had 7 bytes when the job started, now 6")
        );
    }

    #[test]
    fn a_file_that_shrinks_while_it_is_read_is_an_error() {
        let text = "line\n".repeat(PIECE);
        let (file, span) = file(text.as_bytes());
        let mut reader = LineReader::open(span, 100).unwrap();
        reader.next_line().unwrap();
        file.as_file().set_len(PIECE as u64).unwrap();
        let error = loop {
            match reader.next_line() {
                Ok(line) => assert!(line.is_some()),
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains("when the job started"), "{error}");
    }
}

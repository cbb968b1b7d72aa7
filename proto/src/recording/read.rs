//! Reading a recording: frame by frame, with a name for everything that can be wrong with a file.

use super::frame::{FRAME_HEAD, checksum, parse};
use super::{Entry, Frame, Header, MAGIC, START_BYTES, VERSION};
use crate::bad_message::BadMessage;

/// Why a file cannot be read, or not any further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    /// There is nothing in it.
    #[error("the file is empty: no recording was written to it")]
    Empty,
    /// It is something else.
    #[error(
        "the file is not a flight recording: take one from the JobManager's GET /flight-recording"
    )]
    NotARecording,
    /// A transfer changed its line ends.
    #[error("the file was changed as if it were text: transfer it again, as binary")]
    ChangedAsText,
    /// It is of another version of the format.
    #[error(
        "the recording has format {0}, this program reads format {VERSION}: use the version that wrote it"
    )]
    OtherVersion(u32),
    /// It was cut off before its first input could be replayed.
    #[error(
        "the recording is cut off at byte {0}, before anything that can be replayed: take it again"
    )]
    CutOff(u64),
    /// A checksum does not fit.
    #[error("the recording is damaged at byte {offset}: the checksum of {what} does not fit")]
    Damaged {
        /// Where the frame begins.
        offset: u64,
        /// What was changed.
        what: &'static str,
    },
    /// A frame is whole, but cannot be.
    #[error("the frame at byte {offset} is none that this program could have written: {problem}")]
    BadFrame {
        /// Where the frame begins.
        offset: u64,
        /// What is wrong with it.
        problem: BadMessage,
    },
    /// A frame is in a place where it cannot be.
    #[error("the frame at byte {offset} is not in its place: {expected} is expected there")]
    Misplaced {
        /// Where the frame begins.
        offset: u64,
        /// What should be there.
        expected: &'static str,
    },
}

/// The frames of a file after its header, in order. Nothing comes after the first error.
#[derive(Debug)]
pub struct Reader<'a> {
    file: &'a [u8],
    header: Header,
    offset: usize,
    cut_off: Option<u64>,
    ended: bool,
}

impl<'a> Reader<'a> {
    /// Whether a file claims to be a recording, of whatever version.
    #[must_use]
    pub fn recognizes(file: &[u8]) -> bool {
        file.starts_with(&MAGIC)
    }

    /// Looks at the start of a file.
    ///
    /// # Errors
    /// It is none of a recording of this version, with its header.
    pub fn new(file: &'a [u8]) -> Result<Reader<'a>, RecordingError> {
        check_start(file)?;
        let Some((frame, offset)) = read_frame(file, START_BYTES)? else {
            return Err(RecordingError::CutOff(START_BYTES as u64));
        };
        let Entry::Header(header) = frame.entry else {
            return Err(RecordingError::Misplaced {
                offset: START_BYTES as u64,
                expected: "the header",
            });
        };
        Ok(Reader {
            file,
            header,
            offset,
            cut_off: None,
            ended: false,
        })
    }

    /// Whose recording it is.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The byte at which the next frame begins.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset as u64
    }

    /// At which byte the file was cut off, once all frames before that have been read.
    #[must_use]
    pub fn cut_off(&self) -> Option<u64> {
        self.cut_off
    }
}

impl Iterator for Reader<'_> {
    type Item = Result<Frame, RecordingError>;

    fn next(&mut self) -> Option<Result<Frame, RecordingError>> {
        if self.ended || self.offset == self.file.len() {
            return None;
        }
        match read_frame(self.file, self.offset) {
            Ok(Some((frame, next))) => {
                self.offset = next;
                Some(Ok(frame))
            }
            Ok(None) => {
                self.ended = true;
                self.cut_off = Some(self.offset());
                None
            }
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
        }
    }
}

fn check_start(file: &[u8]) -> Result<(), RecordingError> {
    if file.is_empty() {
        return Err(RecordingError::Empty);
    }
    let Some(rest) = file.strip_prefix(&MAGIC) else {
        // Everything up to the line end is ours: "\x89JMFLIGHT".
        let name = MAGIC.len() - 3;
        return Err(match file.get(..name) {
            Some(start) if start == &MAGIC[..name] => RecordingError::ChangedAsText,
            Some(_) | None if MAGIC.starts_with(file) => RecordingError::CutOff(file.len() as u64),
            Some(_) | None => RecordingError::NotARecording,
        });
    };
    let Some(version) = rest.first_chunk::<4>() else {
        return Err(RecordingError::CutOff(file.len() as u64));
    };
    match u32::from_le_bytes(*version) {
        VERSION => Ok(()),
        other => Err(RecordingError::OtherVersion(other)),
    }
}

/// The frame at an offset, and the offset after it; nothing if the file ends within it.
fn read_frame(file: &[u8], offset: usize) -> Result<Option<(Frame, usize)>, RecordingError> {
    let damaged = |what| RecordingError::Damaged {
        offset: offset as u64,
        what,
    };
    let rest = &file[offset..];
    let Some((head, rest)) = rest.split_first_chunk::<FRAME_HEAD>() else {
        return Ok(None);
    };
    let [l0, l1, l2, l3, c0, c1, c2, c3, sum @ ..] = *head;
    let length = [l0, l1, l2, l3];
    if checksum(&length) != [c0, c1, c2, c3] {
        return Err(damaged("a frame's length"));
    }
    let Some(body) = rest.get(..u32::from_le_bytes(length) as usize) else {
        return Ok(None);
    };
    if checksum(body) != sum {
        return Err(damaged("a frame"));
    }
    let frame = parse(body).map_err(|problem| RecordingError::BadFrame {
        offset: offset as u64,
        problem,
    })?;
    Ok(Some((frame, offset + FRAME_HEAD + body.len())))
}

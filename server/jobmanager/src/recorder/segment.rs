//! A base and the inputs after it, in chunks: what is full is shared, not copied.

use bytes::Bytes;
use jobmanager_proto::recording::{Frame, append};

/// The size of a chunk in bytes: the most that is copied when a recording is taken, give or take a frame.
const CHUNK: usize = 256 << 10;

/// A part of a recording that can be replayed by itself.
#[derive(Debug)]
pub(super) struct Segment {
    base: Bytes,
    full: Vec<Bytes>,
    open: Vec<u8>,
    /// The bytes in [`Self::full`].
    full_size: usize,
}

impl Segment {
    pub(super) fn new(base: &Frame) -> Segment {
        let mut file = Vec::new();
        append(&mut file, base);
        Segment {
            base: file.into(),
            full: Vec::new(),
            open: Vec::new(),
            full_size: 0,
        }
    }

    /// Appends a frame.
    pub(super) fn write(&mut self, append: impl FnOnce(&mut Vec<u8>)) {
        if self.open.capacity() == 0 {
            self.open.reserve_exact(CHUNK);
        }
        append(&mut self.open);
        if self.open.len() > CHUNK / 8 * 7 {
            let chunk = std::mem::take(&mut self.open);
            self.full_size += chunk.len();
            self.full.push(chunk.into());
        }
    }

    /// The bytes after the base.
    pub(super) fn inputs(&self) -> usize {
        self.full_size + self.open.len()
    }

    /// All bytes.
    pub(super) fn size(&self) -> usize {
        self.base.len() + self.inputs()
    }

    /// Adds the pieces of the file that it is.
    pub(super) fn pieces(&self, pieces: &mut Vec<Bytes>) {
        pieces.push(self.base.clone());
        pieces.extend(self.full.iter().cloned());
        pieces.push(Bytes::copy_from_slice(&self.open));
    }
}

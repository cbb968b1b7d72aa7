//! The records of an exchange frame: written and read without an allocation per record.
//!
//! The format is at the top of `exchange.proto`. [`RecordWriter`] fills one frame after the other,
//! [`RecordReader`] lends the records of a frame, [`key_hash`] is the hash that a hash edge needs.

use prost::bytes::Bytes;

/// What a frame should not grow beyond, in bytes; one larger record goes alone.
pub const FRAME_BYTES: usize = 1 << 20;

/// The 32-bit hash of a key, from which its key group follows.
#[inline]
#[must_use]
pub fn key_hash(key: &[u8]) -> u32 {
    key.iter().fold(0, |hash: u32, &byte| {
        hash.wrapping_mul(31).wrapping_add(byte.into())
    })
}

/// Collects records into a frame.
#[derive(Debug, Default)]
pub struct RecordWriter {
    bytes: Vec<u8>,
    records: u32,
    /// Event time of the last record, 0 before the first one.
    time: i64,
}

impl RecordWriter {
    /// A writer whose frame has no record yet.
    #[must_use]
    pub fn new() -> Self {
        RecordWriter::default()
    }

    /// Adds a record. `time` is its event time in milliseconds since the Unix epoch.
    #[inline]
    pub fn push(&mut self, key: Option<&[u8]>, value: &[u8], time: i64) {
        match key {
            Some(key) => {
                self.varint(key.len() as u64 + 1);
                self.bytes.extend_from_slice(key);
            }
            None => self.bytes.push(0),
        }
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
        self.varint(zigzag(time.wrapping_sub(self.time)));
        self.time = time;
        self.records += 1;
    }

    /// The frame so far; the next record starts another one.
    #[must_use]
    pub fn take(&mut self) -> Bytes {
        // Frames of one writer are about as long as each other; a single long record is not remembered.
        let capacity = self.bytes.len() + self.bytes.len() / 8;
        let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(capacity));
        self.records = 0;
        self.time = 0;
        bytes.into()
    }

    /// The bytes of the frame so far.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the frame has no record yet.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many records the frame has so far.
    #[inline]
    #[must_use]
    pub fn records(&self) -> u32 {
        self.records
    }

    #[inline]
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

/// A frame that is not a sequence of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRecords {
    /// It ends within a record.
    #[error("the frame ends within a record")]
    Truncated,
    /// A varint has more than 64 bits.
    #[error("a number in the frame has more than 64 bits")]
    Overlong,
}

/// A record of a frame: its key, its value, and its event time in milliseconds since the Unix epoch.
pub type FrameRecord<'a> = (Option<&'a [u8]>, &'a [u8], i64);

/// The records of a frame, in order. Ends after an error.
#[derive(Debug, Clone)]
pub struct RecordReader<'a> {
    rest: &'a [u8],
    time: i64,
}

impl<'a> RecordReader<'a> {
    /// Reads the bytes of a frame.
    #[inline]
    #[must_use]
    pub fn new(frame: &'a [u8]) -> Self {
        RecordReader {
            rest: frame,
            time: 0,
        }
    }

    #[inline]
    fn record(&mut self) -> Result<FrameRecord<'a>, BadRecords> {
        let key = match self.varint()?.checked_sub(1) {
            Some(length) => Some(self.bytes(length)?),
            None => None,
        };
        let length = self.varint()?;
        let value = self.bytes(length)?;
        self.time = self.time.wrapping_add(unzigzag(self.varint()?));
        Ok((key, value, self.time))
    }

    #[inline]
    fn bytes(&mut self, length: u64) -> Result<&'a [u8], BadRecords> {
        let length = usize::try_from(length).map_err(|_| BadRecords::Truncated)?;
        let (bytes, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(BadRecords::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, BadRecords> {
        let (&first, rest) = self.rest.split_first().ok_or(BadRecords::Truncated)?;
        if first < 0x80 {
            self.rest = rest;
            return Ok(first.into());
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, BadRecords> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(BadRecords::Truncated)?;
            self.rest = rest;
            if shift == 63 && byte > 1 {
                return Err(BadRecords::Overlong);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(BadRecords::Overlong)
    }
}

impl<'a> Iterator for RecordReader<'a> {
    type Item = Result<FrameRecord<'a>, BadRecords>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = self.record();
        if record.is_err() {
            self.rest = &[];
        }
        Some(record)
    }
}

impl std::iter::FusedIterator for RecordReader<'_> {}

#[inline]
fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

#[inline]
fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The example of `exchange.proto`.
    const EXAMPLE: [u8; 13] = [
        0x03, b'h', b'i', 0x01, b'1', 0xd0, 0x0f, // key hi, value 1, time 1000
        0x00, 0x02, b'o', b'k', 0x01, // no key, value ok, time 999
        0x01, // begins a record with an empty key
    ];

    #[test]
    fn the_example_of_the_specification_has_these_bytes() {
        let mut writer = RecordWriter::new();
        writer.push(Some(b"hi"), b"1", 1_000);
        writer.push(None, b"ok", 999);
        assert_eq!(writer.records(), 2);
        assert_eq!(writer.take(), EXAMPLE[..12]);
        assert!(writer.is_empty());
    }

    #[test]
    fn each_frame_starts_its_times_from_zero() {
        let mut writer = RecordWriter::new();
        writer.push(None, b"", 5);
        let first = writer.take();
        writer.push(None, b"", 5);
        assert_eq!(first, writer.take());
    }

    #[test]
    fn a_frame_cut_anywhere_within_a_record_yields_what_came_before_and_one_error() {
        let whole: Vec<_> = RecordReader::new(&EXAMPLE[..12])
            .map(Result::unwrap)
            .collect();
        for cut in 0..EXAMPLE.len() {
            let read: Vec<_> = RecordReader::new(&EXAMPLE[..cut]).collect();
            let complete = [7, 12].iter().filter(|&&end| end <= cut).count();
            let expected = whole[..complete].iter().copied().map(Ok);
            let truncated = (![0, 7, 12].contains(&cut)).then_some(Err(BadRecords::Truncated));
            assert_eq!(read, expected.chain(truncated).collect::<Vec<_>>(), "{cut}");
        }
    }

    #[test]
    fn lengths_and_numbers_beyond_the_frame_are_errors_and_end_it() {
        let huge = [0xff; 9].into_iter().chain([0x01]);
        let no_value = [vec![0], huge.clone().collect()].concat();
        let too_long = [vec![0xff; 9], vec![0x02]].concat();
        let endless = vec![0x80; 11];
        let cases = [
            (huge.collect(), BadRecords::Truncated),
            (no_value, BadRecords::Truncated),
            (too_long, BadRecords::Overlong),
            (endless, BadRecords::Overlong),
        ];
        for (bytes, problem) in cases {
            let read: Vec<_> = RecordReader::new(&bytes).collect();
            assert_eq!(read, [Err(problem)], "{bytes:02x?}");
        }
    }

    #[test]
    fn the_key_hash_is_that_of_the_specification() {
        assert_eq!(key_hash(b""), 0);
        assert_eq!(key_hash(b"hi"), 31 * 104 + 105);
        // Java's "polygenelubricants".hashCode(), whose value is known to be the least of all.
        assert_eq!(key_hash(b"polygenelubricants"), 0x8000_0000);
        assert_eq!(key_hash(&[0xff]), 255);
    }
}

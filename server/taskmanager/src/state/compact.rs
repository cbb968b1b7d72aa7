//! The compact form of a snapshot, and of the parts that the built-in operators put into it: a version byte, then
//! numbers as base-128 varints and byte strings with their length in front.

use crate::sdk::OperatorError;

/// The first byte. A reader that finds another one refuses the rest.
const VERSION: u8 = 2;
/// A varint of 64 bits has at most this many bytes.
const MAX_VARINT: u32 = 10;

/// Builds a snapshot or a part of one.
#[derive(Clone)]
pub(crate) struct StateWriter(Vec<u8>);

impl StateWriter {
    pub(crate) fn new() -> Self {
        StateWriter(vec![VERSION])
    }

    pub(crate) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    pub(crate) fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)).cast_unsigned());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Bytes whose length is known to the reader.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Takes one apart.
pub(crate) struct StateReader<'a> {
    rest: &'a [u8],
}

impl<'a> StateReader<'a> {
    pub(crate) fn new(snapshot: &'a [u8]) -> Result<Self, OperatorError> {
        match snapshot.split_first() {
            Some((&VERSION, rest)) => Ok(StateReader { rest }),
            Some((version, _)) => Err(damaged(format_args!(
                "version {version} is not known, this TaskManager writes {VERSION}"
            ))),
            None => Err(damaged("it is empty")),
        }
    }

    pub(crate) fn number(&mut self) -> Result<u64, OperatorError> {
        let mut number = 0_u64;
        for position in 0..MAX_VARINT {
            let [byte] = *self.raw(1)? else { break };
            let part = u64::from(byte & 0x7f);
            if position == MAX_VARINT - 1 && part > 1 {
                break;
            }
            number |= part << (7 * position);
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(damaged("a number in it is too long"))
    }

    pub(crate) fn signed(&mut self) -> Result<i64, OperatorError> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], OperatorError> {
        let length = self.number()?;
        self.raw(length)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, OperatorError> {
        std::str::from_utf8(self.bytes()?).map_err(damaged)
    }

    /// Bytes of which there are so many.
    pub(crate) fn raw(&mut self, length: u64) -> Result<&'a [u8], OperatorError> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(damaged("it ends too early"));
        };
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Result<(), OperatorError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(damaged(format_args!("{left} bytes too many"))),
        }
    }
}

/// What was written is not what is read.
pub(crate) fn damaged(problem: impl std::fmt::Display) -> OperatorError {
    OperatorError::about("restored state", problem)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const NUMBERS: [u64; 7] = [0, 1, 127, 128, 300, 1 << 63, u64::MAX];
    const SIGNED: [i64; 7] = [0, -1, 1, 63, -64, i64::MIN, i64::MAX];

    fn written() -> Vec<u8> {
        let mut writer = StateWriter::new();
        NUMBERS.iter().for_each(|number| writer.number(*number));
        SIGNED.iter().for_each(|number| writer.signed(*number));
        writer.bytes("wört".as_bytes());
        writer.into_bytes()
    }

    fn read(snapshot: &[u8]) -> Result<(), OperatorError> {
        let mut reader = StateReader::new(snapshot)?;
        for number in NUMBERS {
            assert_eq!(reader.number()?, number);
        }
        for number in SIGNED {
            assert_eq!(reader.signed()?, number);
        }
        assert_eq!(reader.text()?, "wört");
        reader.end()
    }

    #[test]
    fn what_was_written_is_read() {
        read(&written()).unwrap();
    }

    #[test]
    fn a_snapshot_that_is_cut_or_longer_or_of_another_version_is_refused() {
        let mut snapshot = written();
        for length in 0..snapshot.len() {
            assert!(read(&snapshot[..length]).is_err(), "{length}");
        }
        snapshot.push(0);
        assert!(read(&snapshot).is_err());
        snapshot[0] = 9;
        let refused = read(&snapshot).unwrap_err().to_string();
        assert!(refused.contains("version 9"), "{refused}");
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_refused() {
        let mut snapshot = vec![VERSION];
        snapshot.extend([0xff; 9]);
        snapshot.push(0x02);
        assert!(StateReader::new(&snapshot).unwrap().number().is_err());
    }
}

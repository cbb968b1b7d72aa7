//! What is in the objects of the store, and how it is told from what is foreign or damaged.
//!
//! An object is a line that says whose it is, a message of protobuf, and a checksum of the object's name and that
//! message. So an object that was copied under another name is not taken for what should be there.

use jobmanager_core::digest::Digest;
use jobmanager_core::record::RecordOp;
use jobmanager_proto::{encode_record, key_text};
use prost::Message;
use std::hash::Hasher;

/// How every object of ours begins, of whatever version.
const OURS: &[u8] = b"jobmanager metadata ";
/// How those begin that this version reads.
const FIRST_LINE: &[u8] = b"jobmanager metadata 1\n";
/// The length of the checksum at the end. Bytes.
const CHECKSUM: usize = 8;

/// An entry of the log: one write, or the beginning of an epoch.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Entry {
    /// 1 for the first; no number is left out.
    #[prost(uint64, tag = "1")]
    pub(super) number: u64,
    /// The epoch in which it was written, or which it begins.
    #[prost(uint64, tag = "2")]
    pub(super) epoch: u64,
    /// Who wrote it: another number for each process.
    #[prost(fixed64, tag = "3")]
    pub(super) writer: u64,
    /// What is known of all the entries before it.
    #[prost(message, required, tag = "4")]
    pub(super) base: Base,
    /// What it changes, in order.
    #[prost(message, repeated, tag = "5")]
    pub(super) changes: Vec<Change>,
}

/// Where the changes of earlier entries are.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Base {
    /// The last entry whose changes are in the runs, as those of all before it are.
    #[prost(uint64, tag = "1")]
    pub(super) merged: u64,
    /// Later ones cover earlier ones.
    #[prost(message, repeated, tag = "2")]
    pub(super) runs: Vec<Run>,
}

/// An object with the changes of many entries.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Run {
    /// Its name, which no other run has ever had.
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// How long it is.
    #[prost(uint64, tag = "2")]
    pub(super) bytes: u64,
}

/// What is in a run.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RunChanges {
    /// At most one per key.
    #[prost(message, repeated, tag = "1")]
    pub(super) changes: Vec<Change>,
}

/// What becomes of a record.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Change {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    /// The record; nothing if it is deleted.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(super) record: Option<Vec<u8>>,
}

impl Change {
    /// What these operations change.
    pub(super) fn of(ops: &[RecordOp]) -> Vec<Change> {
        ops.iter()
            .map(|op| match op {
                RecordOp::Put(record) => Change {
                    key: key_text(&record.key()),
                    record: Some(encode_record(record)),
                },
                RecordOp::Delete(key) => Change {
                    key: key_text(key),
                    record: None,
                },
            })
            .collect()
    }
}

/// The bytes of the object that has this name.
pub(super) fn encode(name: &str, message: &impl Message) -> Vec<u8> {
    let mut bytes = FIRST_LINE.to_vec();
    bytes.reserve(message.encoded_len() + CHECKSUM);
    let room = message.encode(&mut bytes);
    room.expect("a vector grows as it must");
    let checksum = checksum(name, &bytes[FIRST_LINE.len()..]);
    bytes.extend(checksum);
    bytes
}

/// What is in the object that has this name.
///
/// # Errors
/// Nothing of ours, or not what was written: the words for people, after the name.
pub(super) fn decode<M: Message + Default>(name: &str, bytes: &[u8]) -> Result<M, String> {
    let Some(rest) = bytes.strip_prefix(FIRST_LINE) else {
        let words = match bytes.starts_with(OURS) {
            true => "was written by a later JobManager: run that one, or choose another prefix",
            false => "was not written by a JobManager: choose another prefix, or remove it",
        };
        return Err(format!("{name} {words}"));
    };
    let damaged = || format!("{name} is damaged: restore it from a copy of the whole prefix");
    let (body, found) = rest.split_last_chunk::<CHECKSUM>().ok_or_else(damaged)?;
    if *found != checksum(name, body) {
        return Err(damaged());
    }
    M::decode(body).map_err(|_| damaged())
}

fn checksum(name: &str, body: &[u8]) -> [u8; CHECKSUM] {
    let mut digest = Digest::default();
    // The length keeps a byte of the name from being taken for one of the message.
    digest.write_usize(name.len());
    digest.write(name.as_bytes());
    digest.write(body);
    digest.finish().to_le_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn run() -> RunChanges {
        let change = |key: &str, record: Option<&[u8]>| Change {
            key: key.to_owned(),
            record: record.map(<[u8]>::to_vec),
        };
        RunChanges {
            changes: vec![change("a", Some(b"")), change("b", None)],
        }
    }

    #[test]
    fn an_object_in_which_any_byte_was_changed_is_refused_by_its_name() {
        let whole = encode("runs/a", &run());
        assert_eq!(decode::<RunChanges>("runs/a", &whole).unwrap(), run());
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            let words = decode::<RunChanges>("runs/a", &changed).unwrap_err();
            assert!(words.starts_with("runs/a "), "byte {at}: {words}");
            let cut = decode::<RunChanges>("runs/a", &whole[..at]).unwrap_err();
            assert!(cut.starts_with("runs/a "), "{at} bytes: {cut}");
        }
    }

    #[test]
    fn the_object_of_another_name_a_later_version_and_a_stranger_are_told_apart() {
        let whole = encode("runs/a", &run());
        for (name, bytes, expected) in [
            ("runs/b", whole.as_slice(), "is damaged"),
            ("log/1", b"jobmanager metadata 2\n...", "a later JobManager"),
            ("log/1", b"<html>", "not written by a JobManager"),
            ("log/1", b"", "not written by a JobManager"),
        ] {
            let words = decode::<RunChanges>(name, bytes).unwrap_err();
            assert!(words.contains(expected), "{words}");
        }
    }
}
